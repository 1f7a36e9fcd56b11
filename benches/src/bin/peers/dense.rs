//! The dense circuit, and inputs that all provers take alike.

use bellman::{Circuit, ConstraintSystem, SynthesisError};
use bn254::fixed_base::FixedBase;
use bn254::msm::MsmCurve;
use bn254::{Field, Fr, PrimeField};
use rand_core::OsRng;

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
    (0..1 << size).map(|_| Fr::random(OsRng)).collect()
}

/// Consecutive multiples of the generator from a random one on: distinct points.
pub fn points<C: MsmCurve>(size: u32) -> Vec<C> {
    let first = Fr::random(OsRng);
    let scalars: Vec<Fr> = (0..1_u128 << size).map(|i| first + Fr::from_u128(i)).collect();
    FixedBase::new(C::generator(), scalars.len()).multiples(&scalars, |_| ())
}
