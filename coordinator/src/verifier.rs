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

    /// Whether the proof verifies for (h, c, e).
    fn verify(&self, shape: Shape, public_inputs: &[Fr; 3], proof: &[u8; 256]) -> bool;
}
