//! bellman's prover over halo2curves, with a key of ours.

use bellman::groth16::create_random_proof;
use bn254::Fr;
use eyre::bail;
use prover::{DevTrapdoor, Key, Matrices, NoProgress, generate};
use rand_core::OsRng;

use crate::child::{Prover, Work};
use crate::dense::{self, Dense};
use crate::size::Size;

/// Its form of a key takes a transform of points to make.
const LARGEST: u32 = 16;

pub struct Bellman;

impl Prover for Bellman {
    fn version(&self) -> String {
        "0.14 over halo2curves 0.10".to_owned()
    }

    fn prepare(&mut self, work: &str, size: Size) -> eyre::Result<Work> {
        let ("prove", Size::Log(size @ 0..=LARGEST)) = (work, size) else {
            bail!("does no {work} of this size");
        };
        let circuit = move || Dense { steps: dense::steps(size), start: Fr::from(3) };
        let matrices = Matrices::synthesize(circuit())?;
        let parts = generate(&matrices, &DevTrapdoor::from_seed("benchmark"), &NoProgress)?;
        let parameters = Key::from_parts(&parts)?.to_bellman_parameters()?;
        Ok(Work::here(move || {
            create_random_proof(circuit(), &parameters, &mut OsRng)?;
            Ok(())
        }))
    }
}
