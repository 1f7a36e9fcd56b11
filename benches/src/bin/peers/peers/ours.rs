//! This project.

use std::sync::Arc;

use bn254::msm::{Bases, Engine, MsmCurve, NoControl};
use bn254::ntt::Generator;
use bn254::{Domain, Fr, G1Affine, G2Affine};
use eyre::bail;
use prover::{
    Cancel, CpuBackend, DevTrapdoor, Key, Matrices, NoProgress, Prover as Groth16, generate_for,
    synthesize_witness,
};

use crate::child::{Prover, Work};
use crate::dense::{self, Dense};

pub struct Ours;

impl Prover for Ours {
    fn version(&self) -> String {
        format!("{} ({:?})", env!("CARGO_PKG_VERSION"), Engine::best())
    }

    fn prepare(&mut self, work: &str, size: u32) -> eyre::Result<Work> {
        Ok(match work {
            "msm-g1" => msm::<G1Affine>(size),
            "msm-g2" => msm::<G2Affine>(size),
            "ntt" => {
                let (domain, mut values) = (Domain::new(size)?, dense::random(size));
                Box::new(move || {
                    domain.ntt_to_reversed(&mut values);
                    Ok(())
                })
            }
            "prove" => prove(size)?,
            _ => bail!("does no {work}"),
        })
    }
}

fn msm<C: MsmCurve>(size: u32) -> Work {
    let (bases, scalars) = (Bases::new(&dense::points::<C>(size)), dense::random(size));
    Box::new(move || Ok(bases.msm(&scalars, &NoControl).map(drop)?))
}

/// With a real key; every proof is verified as it is made.
fn prove(size: u32) -> eyre::Result<Work> {
    let circuit = move || Dense { steps: dense::steps(size), start: Fr::from(3) };
    let matrices = Matrices::synthesize(circuit())?;
    let trapdoor = DevTrapdoor::from_seed("benchmark");
    let key = Key::from_parts(&generate_for(Generator::Five, &matrices, &trapdoor, &NoProgress)?)?;
    let prover = Groth16::new(Arc::new(CpuBackend::new()), Arc::new(key), Arc::new(matrices))?;
    Ok(Box::new(move || {
        // Its solver is part of what gnark does, too.
        let witness = synthesize_witness(circuit())?;
        prover.prove(&witness, &Cancel::new())?;
        Ok(())
    }))
}
