//! The development setup: a trapdoor that everybody knows, and what can be done with it.
//!
//! **Never for real money.** [`DevTrapdoor`] derives the secrets of a Groth16 setup from a public seed, so that every
//! developer gets the same key in seconds and tests are reproducible. Whoever knows the seed proves anything. Keys made
//! from it carry [`crate::Origin::UnsafeDev`] in their file, and contracts take them on dev chains only.
//!
//! Derivation: `ChaCha20(key = BLAKE2b-256("proofmill.devkey.v1" || seed), nonce 0)` gives 64 bytes per secret, read as
//! a little-endian number modulo r, for tau, alpha, beta, gamma, delta in this order.

use blake2::Digest;
use bn254::{Curve, Field, Fr, G1Affine, G2Affine, PrimeCurveAffine};
use rand_chacha::ChaCha20Rng;
use rand_core::{OsRng, SeedableRng};

use crate::hash::tagged;
use crate::proof::{Proof, ProofError};
use crate::verifying_key::VerifyingKey;

/// The secrets of a setup, known to everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevTrapdoor {
    seed: String,
    /// The point at which the polynomials are evaluated.
    pub tau: Fr,
    /// alpha.
    pub alpha: Fr,
    /// beta.
    pub beta: Fr,
    /// gamma.
    pub gamma: Fr,
    /// delta.
    pub delta: Fr,
}

impl DevTrapdoor {
    /// The trapdoor of a public seed, of which at most [`crate::key::MAX_ORIGIN_BYTES`] bytes fit a key file.
    pub fn from_seed(seed: &str) -> Self {
        let mut hasher = tagged("proofmill.devkey.v1");
        hasher.update(seed.as_bytes());
        let mut rng = ChaCha20Rng::from_seed(hasher.finalize().into());
        let [tau, alpha, beta, gamma, delta] = std::array::from_fn(|_| Fr::random(&mut rng));
        Self { seed: seed.to_owned(), tau, alpha, beta, gamma, delta }
    }

    /// The seed.
    pub fn seed(&self) -> &str {
        &self.seed
    }
}

/// A proof of anything for a dev key, without a witness and in milliseconds.
///
/// For tests of what happens *after* proving (contracts, settlement). With a = A, b = B chosen freely,
/// C = (a*b - alpha*beta)/delta - gamma/delta * IC(x) makes the equation hold.
///
/// # Errors
/// [`ProofError::Infinity`] when the random choice gives C = 0, which practically does not happen.
///
/// # Panics
/// When `public_inputs` has more elements than the key.
pub fn simulate_proof(
    trapdoor: &DevTrapdoor,
    key: &VerifyingKey,
    public_inputs: &[Fr],
) -> Result<Proof, ProofError> {
    assert_eq!(public_inputs.len() + 1, key.ic.len(), "one value per public input of the key");
    let (a, b) = (Fr::random(OsRng), Fr::random(OsRng));
    let delta_inverse = trapdoor.delta.invert().unwrap_or(Fr::ZERO);
    let inputs =
        key.ic[1..].iter().zip(public_inputs).fold(key.ic[0].to_curve(), |sum, (point, x)| sum + *point * x);
    let c = G1Affine::generator() * ((a * b - trapdoor.alpha * trapdoor.beta) * delta_inverse)
        - inputs * (trapdoor.gamma * delta_inverse);
    Proof::new(
        (G1Affine::generator() * a).to_affine(),
        (G2Affine::generator() * b).to_affine(),
        c.to_affine(),
    )
}
