//! halo2curves' own multi-scalar multiplication and transform, with its assembly.

use bn254::{Domain, G1Affine, G2Affine};
use eyre::bail;

use crate::child::{Prover, Work};
use crate::dense;

pub struct Halo2;

impl Prover for Halo2 {
    fn version(&self) -> String {
        "0.10, asm".to_owned()
    }

    fn prepare(&mut self, work: &str, size: u32) -> eyre::Result<Work> {
        Ok(match work {
            "msm-g1" => {
                let (points, scalars) = (dense::points::<G1Affine>(size), dense::random(size));
                Box::new(move || {
                    std::hint::black_box(halo2curves::msm::msm_best(&scalars, &points));
                    Ok(())
                })
            }
            "msm-g2" => {
                let (points, scalars) = (dense::points::<G2Affine>(size), dense::random(size));
                Box::new(move || {
                    std::hint::black_box(halo2curves::msm::msm_best(&scalars, &points));
                    Ok(())
                })
            }
            "ntt" => {
                let (root, mut values) = (Domain::new(size)?.root(), dense::random(size));
                Box::new(move || {
                    halo2curves::fft::best_fft(&mut values, root, size);
                    Ok(())
                })
            }
            _ => bail!("does no {work}"),
        })
    }
}
