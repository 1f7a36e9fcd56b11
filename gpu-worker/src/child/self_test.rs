//! A small proof that a backend must get right before it may say that it is ready.

use std::sync::Arc;

use bellman::{Circuit, ConstraintSystem, SynthesisError};
use bn254::Fr;
use prover::{Backend, Cancel, DevTrapdoor, Key, Matrices, NoProgress, Prover, generate, synthesize_witness};

/// Enough rows for several levels of the transforms and more than one block of threads.
const STEPS: u64 = 700;

/// A bit and a full field element per step: short and long scalars, as in real witnesses.
struct Steps;

impl Circuit<Fr> for Steps {
    fn synthesize<CS: ConstraintSystem<Fr>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
        let mut value = Fr::from(5);
        let mut last = cs.alloc_input(|| "start", || Ok(value))?;
        for step in 0..STEPS {
            let odd = Fr::from(step % 2);
            let bit = cs.alloc(|| "bit", || Ok(odd))?;
            cs.enforce(|| "boolean", |lc| lc + bit, |lc| lc + CS::one() - bit, |lc| lc);
            value = value * value + odd;
            let next = cs.alloc(|| "next", || Ok(value))?;
            cs.enforce(|| "step", |lc| lc + last, |lc| lc + last, |lc| lc + next - bit);
            last = next;
        }
        Ok(())
    }
}

/// # Errors
/// A sentence that says what the backend got wrong.
pub fn self_test(backend: &Arc<dyn Backend>) -> Result<(), String> {
    let prove = || -> Result<(), Box<dyn std::error::Error>> {
        let matrices = Matrices::synthesize(Steps)?;
        let parts = generate(&matrices, &DevTrapdoor::from_seed("self-test"), &NoProgress)?;
        let key = Arc::new(Key::from_parts(&parts)?);
        let prover = Prover::new(Arc::clone(backend), key, Arc::new(matrices))?;
        prover.prove(&synthesize_witness(Steps)?, &Cancel::new())?;
        Ok(())
    };
    prove().map_err(|error| format!("PM-CHILD-010: the self-test failed: {error}"))
}
