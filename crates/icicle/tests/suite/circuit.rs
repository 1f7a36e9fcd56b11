//! A circuit whose witness has what real ones have: mostly zeros, ones and repeated values, some full-size ones.

use std::sync::Arc;

use bellman::{Circuit, ConstraintSystem, SynthesisError};
use bn254::{Field, Fr};
use prover::{DevTrapdoor, Key, Matrices, NoProgress, Witness, generate, synthesize_witness};

/// `slots` times six bits, a value that is the same in every slot, and a step x -> x^2 + 7 whose last value is public.
#[derive(Clone, Copy)]
pub struct Slots {
    pub slots: usize,
    pub start: Option<u64>,
}

impl Circuit<Fr> for Slots {
    fn synthesize<CS: ConstraintSystem<Fr>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
        let missing = SynthesisError::AssignmentMissing;
        let mut value = self.start.map(Fr::from);
        let mut x = cs.alloc(|| "start", || value.ok_or(missing))?;
        let mut last = x;
        for slot in 0..self.slots {
            for i in 0..6 {
                let bit = cs.alloc(|| "bit", || Ok(Fr::from(((slot + i) % 3 == 0) as u64)))?;
                cs.enforce(|| "boolean", |lc| lc + bit, |lc| lc + CS::one() - bit, |lc| lc);
            }
            let idle = -Fr::from(1234);
            let same = cs.alloc(|| "idle", || Ok(idle))?;
            cs.enforce(|| "idle", |lc| lc + same, |lc| lc + CS::one(), |lc| lc + (idle, CS::one()));
            value = value.map(|x| x.square() + Fr::from(7));
            let next = cs.alloc(|| "next", || value.ok_or(SynthesisError::AssignmentMissing))?;
            cs.enforce(|| "step", |lc| lc + x, |lc| lc + x, |lc| lc + next - (Fr::from(7), CS::one()));
            (x, last) = (next, next);
        }
        let end = cs.alloc_input(|| "end", || value.ok_or(SynthesisError::AssignmentMissing))?;
        cs.enforce(|| "end", |lc| lc + last, |lc| lc + CS::one(), |lc| lc + end);
        Ok(())
    }
}

pub fn key_of(slots: usize) -> (Arc<Key>, Arc<Matrices>) {
    let matrices = Matrices::synthesize(Slots { slots, start: None }).unwrap();
    let parts = generate(&matrices, &DevTrapdoor::from_seed("icicle tests"), &NoProgress).unwrap();
    (Arc::new(Key::from_parts(&parts).unwrap()), Arc::new(matrices))
}

pub fn witness_of(slots: usize, start: u64) -> Witness {
    synthesize_witness(Slots { slots, start: Some(start) }).unwrap()
}

/// A witness of the right shape for a false statement.
pub fn false_witness(slots: usize) -> Witness {
    let witness = witness_of(slots, 3);
    let mut inputs = witness.inputs().to_vec();
    inputs[1] += Fr::ONE;
    Witness::new(inputs, witness.aux().to_vec())
}
