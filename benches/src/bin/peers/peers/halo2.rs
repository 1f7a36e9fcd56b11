//! halo2curves' own multi-scalar multiplication and transform, with its assembly.

use bn254::{Domain, G1Affine, G2Affine};
use eyre::bail;

use crate::child::{Prover, Work};
use crate::dense;
use crate::size::Size;

pub struct Halo2;

impl Prover for Halo2 {
    fn version(&self) -> String {
        "0.10, asm".to_owned()
    }

    fn prepare(&mut self, work: &str, size: Size) -> eyre::Result<Work> {
        Ok(match (work, size) {
            ("msm-g1", Size::Log(log)) => {
                let (points, scalars) = (dense::points::<G1Affine>(log), dense::random(log));
                Work::here(move || {
                    std::hint::black_box(halo2curves::msm::msm_best(&scalars, &points));
                    Ok(())
                })
            }
            ("msm-g2", Size::Log(log)) => {
                let (points, scalars) = (dense::points::<G2Affine>(log), dense::random(log));
                Work::here(move || {
                    std::hint::black_box(halo2curves::msm::msm_best(&scalars, &points));
                    Ok(())
                })
            }
            ("ntt", Size::Log(log)) => {
                let (root, mut values) = (Domain::new(log)?.root(), dense::random(log));
                Work::here(move || {
                    halo2curves::fft::best_fft(&mut values, root, log);
                    Ok(())
                })
            }
            _ => bail!("does no {work}"),
        })
    }
}
