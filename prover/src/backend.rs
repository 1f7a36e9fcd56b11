//! Who does the heavy sums of a proof.
//!
//! A backend gets a witness and returns five *unblinded* sums. Blinding, assembly and verification happen in
//! [`crate::groth16`], so a wrong or hostile backend can waste time but not produce a bad proof.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bn254::{G1, G2};

use crate::key::Key;
use crate::matrices::Matrices;
use crate::witness::Witness;

/// A key that a backend holds ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub u64);

/// A wish to stop, shared between who proves and who has changed their mind. Looked at between stages.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the work to stop at its next stage.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// # Errors
    /// [`BackendError::Cancelled`] when somebody asked.
    pub fn check(&self) -> Result<(), BackendError> {
        if self.is_cancelled() { Err(BackendError::Cancelled) } else { Ok(()) }
    }
}

/// The sums of a proof before blinding, with z the witness.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sums {
    /// sum z_i * A_i.
    pub a: G1,
    /// sum z_i * B_i in G1.
    pub b1: G1,
    /// sum z_i * B_i in G2.
    pub b2: G2,
    /// sum z_i * L_i over the private variables.
    pub l: G1,
    /// sum (A*B - C)(x_j) * H_j over the odd coset.
    pub h: G1,
}

/// Wall time of the stages of a proof. Stages that a backend runs at once overlap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Sparse products A*z, B*z, C*z.
    pub sparse: Duration,
    /// Transforms to the coset and the values of A*B - C there.
    pub ntt: Duration,
    /// Sum A.
    pub msm_a: Duration,
    /// Sum B in G1.
    pub msm_b1: Duration,
    /// Sum B in G2.
    pub msm_b2: Duration,
    /// Sum L.
    pub msm_l: Duration,
    /// Sum H.
    pub msm_h: Duration,
    /// All of the above.
    pub total: Duration,
}

/// Why a backend did not prove.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// No such key is prepared.
    #[error("PM-BACKEND-001: key {0:?} is not prepared; prepare it first")]
    UnknownKey(KeyId),
    /// Key and matrices are of different circuits.
    #[error("PM-BACKEND-002: key and matrices belong to different circuits; use the key of this circuit")]
    OtherCircuit,
    /// The witness has the wrong number of values, or does not begin with one.
    #[error(
        "PM-BACKEND-003: the witness has {inputs} inputs and {aux} private values and does not fit the circuit \
         (or its first input is not one); synthesise it from the same circuit"
    )]
    WitnessShape {
        /// Inputs of the witness, the constant one included.
        inputs: usize,
        /// Its private values.
        aux: usize,
    },
    /// The witness breaks a constraint.
    #[error(
        "PM-BACKEND-004: the witness breaks constraint {0}; the statement is false or the circuit is wrong"
    )]
    Unsatisfied(usize),
    /// Somebody cancelled.
    #[error("PM-BACKEND-005: the proof was cancelled")]
    Cancelled,
    /// The device failed.
    #[error("PM-BACKEND-006: {backend}: {reason}; check the device, then try again")]
    Device {
        /// The backend.
        backend: &'static str,
        /// What it says.
        reason: String,
    },
}

/// Does the heavy sums. Object-safe; called from several threads.
pub trait Backend: Send + Sync {
    /// Short name, such as `cpu`.
    fn name(&self) -> &'static str;

    /// Makes a key ready for many proofs. Costs time and memory until [`Backend::release`].
    ///
    /// # Errors
    /// [`BackendError::OtherCircuit`], [`BackendError::Device`].
    fn prepare(&self, key: Arc<Key>, matrices: Arc<Matrices>) -> Result<KeyId, BackendError>;

    /// The sums of a proof of `witness`.
    ///
    /// # Errors
    /// Any [`BackendError`]; the key stays prepared.
    fn prove(&self, key: KeyId, witness: &Witness, cancel: &Cancel) -> Result<(Sums, Timings), BackendError>;

    /// Forgets a key. Proofs that are under way finish; an unknown key is ignored.
    fn release(&self, key: KeyId);
}
