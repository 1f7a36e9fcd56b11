//! The dense circuit, and inputs that all provers take alike.

use bellman::{Circuit, ConstraintSystem, SynthesisError};
use bn254::fixed_base::{FixedBase, FixedBaseCurve};
use bn254::{Field, Fr};
use rand_chacha::ChaCha8Rng;
use rand_core::{OsRng, RngCore, SeedableRng};
use rayon::prelude::*;

/// Elements for which the operating system is asked for randomness once.
const CHUNK: usize = 1 << 12;

/// Steps of the circuit of a size.
pub fn steps(size: u32) -> usize {
    (1 << size) - 8
}

/// x -> x^2 + 7, again and again; the last one is public.
pub struct Dense {
    pub steps: usize,
    pub start: Fr,
}

impl Circuit<Fr> for Dense {
    fn synthesize<CS: ConstraintSystem<Fr>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
        let mut value = self.start;
        let mut x = cs.alloc(|| "start", || Ok(value))?;
        for step in 1..=self.steps {
            value = value.square() + Fr::from(7);
            let next = if step == self.steps {
                cs.alloc_input(|| "end", || Ok(value))?
            } else {
                cs.alloc(|| "next", || Ok(value))?
            };
            cs.enforce(|| "step", |lc| lc + x, |lc| lc + x, |lc| lc + next - (Fr::from(7), CS::one()));
            x = next;
        }
        Ok(())
    }
}

pub fn random(size: u32) -> Vec<Fr> {
    let mut values = vec![Fr::ZERO; 1 << size];
    values.par_chunks_mut(CHUNK).for_each(|chunk| {
        let mut seed = [0; 32];
        OsRng.fill_bytes(&mut seed);
        let mut rng = ChaCha8Rng::from_seed(seed);
        chunk.fill_with(|| Fr::random(&mut rng));
    });
    values
}

/// Consecutive multiples of the generator from a random one on: distinct points.
pub fn points<C: FixedBaseCurve>(size: u32) -> Vec<C> {
    let first = Fr::random(OsRng);
    let scalars: Vec<Fr> = (0..1_usize << size).into_par_iter().map(|i| first + Fr::from(i as u64)).collect();
    FixedBase::new(C::generator(), scalars.len()).multiples(&scalars, |_| ())
}
