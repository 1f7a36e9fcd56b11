//! Which proofs are believed: those that verify under the pinned key of their circuit, for the public inputs that the
//! coordinator computed itself.

use bn254::Fr;
use circuits::shape::Shape;

mod groth16;

pub use groth16::Groth16Verifier;

/// Verifies proofs; called from a pool, outside the driver.
pub trait ProofVerifier: Send + Sync {
    /// The digest of a circuit's matrices; nothing for a circuit without a key.
    fn digest(&self, shape: Shape) -> Option<[u8; 32]>;

    /// The digest of a circuit's verifying key; nothing for a circuit without a key.
    fn key_digest(&self, shape: Shape) -> Option<[u8; 32]>;

    /// Whether the proof verifies for (h, c, e).
    fn verify(&self, shape: Shape, public_inputs: &[Fr; 3], proof: &[u8; 256]) -> bool;
}

/// Does costly work in the blocking pool; on the spot where there is no runtime, which is the simulator. Nothing if it
/// panicked.
pub(crate) async fn pooled<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => runtime.spawn_blocking(work).await.ok(),
        Err(_) => Some(work()),
    }
}
