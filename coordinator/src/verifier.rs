//! Which proofs are believed: those that verify under the pinned key of their circuit, for the public inputs that the
//! coordinator computed itself.

use std::sync::Arc;

use bn254::Fr;
use circuits::shape::Shape;

mod groth16;

pub use groth16::Groth16Verifier;

/// Verifies proofs; called from a pool, outside the driver.
pub trait ProofVerifier: Send + Sync {
    /// The digest of a circuit's matrices; nothing for a circuit without a key.
    fn digest(&self, shape: Shape) -> Option<[u8; 32]>;

    /// Whether the proof verifies for (h, c, e).
    fn verify(&self, shape: Shape, public_inputs: &[Fr; 3], proof: &[u8; 256]) -> bool;
}

/// Verifies in the blocking pool; on the spot where there is no runtime, which is the simulator.
pub(crate) async fn verify_in_pool(
    verifier: &Arc<dyn ProofVerifier>,
    shape: Shape,
    public_inputs: [Fr; 3],
    proof: [u8; 256],
) -> bool {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => {
            let verifier = Arc::clone(verifier);
            let verified = runtime.spawn_blocking(move || verifier.verify(shape, &public_inputs, &proof));
            verified.await.unwrap_or(false)
        }
        Err(_) => verifier.verify(shape, &public_inputs, &proof),
    }
}
