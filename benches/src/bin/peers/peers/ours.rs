//! This project.

use std::sync::Arc;

use bn254::fixed_base::FixedBaseCurve;
use bn254::msm::{Bases, MsmCurve, NoControl};
use bn254::ntt::Generator;
use bn254::{Domain, Fr, G1Affine, G2Affine, Isa};
use circuits::shape::Shape;
use eyre::bail;
use prover::{
    Cancel, CpuBackend, DevTrapdoor, Key, Matrices, NoProgress, Prover as Groth16, generate_for,
    synthesize_witness,
};

use crate::child::{Prover, Work};
use crate::dense::{self, Dense};
use crate::files::Files;
use crate::size::Size;

pub struct Ours;

impl Prover for Ours {
    fn version(&self) -> String {
        format!("{} ({:?})", env!("CARGO_PKG_VERSION"), Isa::detect())
    }

    fn prepare(&mut self, work: &str, size: Size) -> eyre::Result<Work> {
        Ok(match (work, size) {
            ("msm-g1", Size::Log(log)) => msm::<G1Affine>(log),
            ("msm-g2", Size::Log(log)) => msm::<G2Affine>(log),
            ("ntt", Size::Log(log)) => {
                let (domain, mut values) = (Domain::new(log)?, dense::random(log));
                Work::here(move || {
                    domain.ntt_to_reversed(&mut values);
                    Ok(())
                })
            }
            ("prove", Size::Log(log)) => prove(log)?,
            ("batch", Size::Circuit(shape)) => batch(shape)?,
            _ => bail!("does no {work}"),
        })
    }
}

fn msm<C: MsmCurve + FixedBaseCurve>(size: u32) -> Work {
    let (bases, scalars) = (Bases::new(&dense::points::<C>(size)), dense::random(size));
    Work::here(move || Ok(bases.msm(&scalars, &NoControl).map(drop)?))
}

/// With a real key; every proof is verified as it is made.
fn prove(size: u32) -> eyre::Result<Work> {
    let circuit = move || Dense { steps: dense::steps(size), start: Fr::from(3) };
    let matrices = Matrices::synthesize(circuit())?;
    let trapdoor = DevTrapdoor::from_seed("benchmark");
    let key = Key::from_parts(&generate_for(Generator::Five, &matrices, &trapdoor, &NoProgress)?)?;
    let prover = Groth16::new(Arc::new(CpuBackend::new()), Arc::new(key), Arc::new(matrices))?;
    Ok(Work::here(move || {
        // Its solver is part of what gnark does, too.
        let witness = synthesize_witness(circuit())?;
        prover.prove(&witness, &Cancel::new())?;
        Ok(())
    }))
}

/// From what the files hold, which is in memory before.
fn batch(shape: Shape) -> eyre::Result<Work> {
    let (key, witness) = Files::of(shape)?.read()?;
    let (parts, matrices) = (Key::from_parts(&key.parts)?, key.matrices);
    let prover = Groth16::new(Arc::new(CpuBackend::new()), Arc::new(parts), Arc::new(matrices))?;
    Ok(Work::here(move || {
        prover.prove(&witness, &Cancel::new())?;
        Ok(())
    }))
}
