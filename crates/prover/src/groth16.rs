//! From unblinded sums to a proof: blinding, assembly, and verification before the proof leaves.
//!
//! With r, s random: A = alpha + a + r*delta, B = beta + b + s*delta, C = l + h + s*A + r*B1 - r*s*delta (Groth 2016,
//! section 3.2).

use std::sync::Arc;
use std::time::{Duration, Instant};

use bn254::{Curve, Field, Fr};
use rand_core::OsRng;

use crate::backend::{Backend, BackendError, Cancel, KeyId, Staged, Sums, Timings};
use crate::key::Key;
use crate::matrices::Matrices;
use crate::proof::{PreparedVerifyingKey, Proof, ProofError, verify};
use crate::verifying_key::{VerifyingKey, VerifyingKeyError};
use crate::witness::Witness;

/// Why there is no proof.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProveError {
    /// The backend did not deliver.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The verifying key is not fit for use.
    #[error(transparent)]
    VerifyingKey(#[from] VerifyingKeyError),
    /// What the backend delivered is not a valid proof.
    #[error(
        "PM-PROVE-001: backend {backend} delivered sums that give no valid proof; check the device, then try again"
    )]
    Invalid {
        /// The backend.
        backend: &'static str,
    },
}

/// A verified proof and how long its parts took.
#[derive(Clone, Copy, Debug)]
pub struct Proven {
    /// The proof.
    pub proof: Proof,
    /// Times of the backend.
    pub timings: Timings,
    /// Blinding, assembly and verification.
    pub finish: Duration,
}

/// Proves one circuit on one backend. Releases its key when dropped.
pub struct Prover {
    backend: Arc<dyn Backend>,
    key: Arc<Key>,
    id: KeyId,
    prepared: PreparedVerifyingKey,
}

impl Prover {
    /// Prepares the key on the backend.
    ///
    /// # Errors
    /// [`ProveError::Backend`] when the backend refuses the key.
    pub fn new(
        backend: Arc<dyn Backend>,
        key: Arc<Key>,
        matrices: Arc<Matrices>,
    ) -> Result<Self, ProveError> {
        let prepared = PreparedVerifyingKey::new(key.verifying_key())?;
        let id = backend.prepare(Arc::clone(&key), matrices)?;
        Ok(Self { backend, key, id, prepared })
    }

    /// The key.
    pub fn key(&self) -> &Arc<Key> {
        &self.key
    }

    /// The key for [`verify`].
    pub fn verifying_key(&self) -> &PreparedVerifyingKey {
        &self.prepared
    }

    /// The backend.
    pub fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    /// Proves a witness with fresh blinding from the operating system, and verifies the proof.
    ///
    /// # Errors
    /// [`ProveError`]; nothing is kept.
    pub fn prove(&self, witness: &Witness, cancel: &Cancel) -> Result<Proven, ProveError> {
        let (sums, timings) = self.backend.prove(self.id, witness, cancel)?;
        self.finish(&sums, timings, witness)
    }

    /// Moves a witness to the device ahead of [`Prover::prove_staged`], while another proof may be computed there.
    ///
    /// # Errors
    /// [`ProveError::Backend`].
    pub fn stage(&self, witness: Arc<Witness>) -> Result<Staged, ProveError> {
        Ok(self.backend.stage(self.id, witness)?)
    }

    /// As [`Prover::prove`], for a witness that [`Prover::stage`] took.
    ///
    /// # Errors
    /// [`ProveError`]; nothing is kept.
    pub fn prove_staged(&self, staged: Staged, cancel: &Cancel) -> Result<Proven, ProveError> {
        let witness = Arc::clone(&staged.witness);
        let (sums, timings) = self.backend.prove_staged(staged, cancel)?;
        self.finish(&sums, timings, &witness)
    }

    fn finish(&self, sums: &Sums, timings: Timings, witness: &Witness) -> Result<Proven, ProveError> {
        let start = Instant::now();
        let invalid = ProveError::Invalid { backend: self.backend.name() };
        let (r, s) = (Fr::random(OsRng), Fr::random(OsRng));
        let proof = assemble(self.key.verifying_key(), sums, r, s).map_err(|_| invalid.clone())?;
        verify(&self.prepared, &proof, witness.public_inputs()).map_err(|_| invalid)?;
        Ok(Proven { proof, timings, finish: start.elapsed() })
    }
}

impl Drop for Prover {
    fn drop(&mut self) {
        self.backend.release(self.id);
    }
}

/// Blinds the sums with r and s.
fn assemble(key: &VerifyingKey, sums: &Sums, r: Fr, s: Fr) -> Result<Proof, ProofError> {
    let a = sums.a + key.alpha_g1 + key.delta_g1 * r;
    let b1 = sums.b1 + key.beta_g1 + key.delta_g1 * s;
    let b2 = sums.b2 + key.beta_g2 + key.delta_g2 * s;
    let c = sums.l + sums.h + a * s + b1 * r - key.delta_g1 * (r * s);
    Proof::new(a.to_affine(), b2.to_affine(), c.to_affine())
}
