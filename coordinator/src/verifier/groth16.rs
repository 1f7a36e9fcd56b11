//! Groth16 over BN254, with one pinned key per circuit.

use std::collections::BTreeMap;

use bn254::Fr;
use circuits::shape::Shape;
use prover::{PreparedVerifyingKey, Proof, VerifyingKey, VerifyingKeyError, verify};

use super::ProofVerifier;

pub struct Groth16Verifier {
    keys: BTreeMap<Shape, Pinned>,
}

struct Pinned {
    circuit: [u8; 32],
    digest: [u8; 32],
    key: PreparedVerifyingKey,
}

impl Groth16Verifier {
    /// Pins keys: (circuit, digest of its matrices, key).
    ///
    /// # Errors
    /// `VerifyingKeyError` for a key under which proofs could be forged.
    pub fn new<'a>(
        keys: impl IntoIterator<Item = (Shape, [u8; 32], &'a VerifyingKey)>,
    ) -> Result<Self, VerifyingKeyError> {
        let keys = keys.into_iter().map(|(shape, circuit, key)| {
            let pinned = Pinned { circuit, digest: key.digest(), key: PreparedVerifyingKey::new(key)? };
            Ok((shape, pinned))
        });
        Ok(Self { keys: keys.collect::<Result<_, VerifyingKeyError>>()? })
    }
}

impl ProofVerifier for Groth16Verifier {
    fn digest(&self, shape: Shape) -> Option<[u8; 32]> {
        self.keys.get(&shape).map(|pinned| pinned.circuit)
    }

    fn key_digest(&self, shape: Shape) -> Option<[u8; 32]> {
        self.keys.get(&shape).map(|pinned| pinned.digest)
    }

    fn verify(&self, shape: Shape, public_inputs: &[Fr; 3], proof: &[u8; 256]) -> bool {
        let Some(Pinned { key, .. }) = self.keys.get(&shape) else { return false };
        Proof::from_bytes(proof).is_ok_and(|proof| verify(key, &proof, public_inputs).is_ok())
    }
}
