//! Who does the heavy sums of a proof.
//!
//! A backend gets a witness and returns five *unblinded* sums. Blinding, assembly and verification happen in
//! [`crate::groth16`], so a wrong or hostile backend can waste time but not produce a bad proof.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bn254::{G1, G2};

use crate::key::Key;
use crate::matrices::Matrices;
use crate::witness::Witness;

/// A key that a backend holds ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub u64);

/// A wish to stop, and how far the work is: shared between who proves and who watches or has changed their mind. Looked at between
/// stages, and within the sums on the processor.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<Watched>);

#[derive(Debug, Default)]
struct Watched {
    cancelled: AtomicBool,
    /// Shares of the sums that are done, above those that there are.
    shares: AtomicU64,
}

impl Cancel {
    /// Not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the work to stop at its next stage.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Relaxed)
    }

    /// How much of the sums is done, which are nearly all of a proof: from 0 to 1. Stays 0 for backends that do not tell.
    pub fn progress(&self) -> f64 {
        let shares = self.0.shares.load(Ordering::Relaxed);
        let (done, all) = (shares >> 32, shares & u64::from(u32::MAX));
        if all == 0 { 0.0 } else { done as f64 / all as f64 }
    }

    /// Tells watchers that so many shares of the sums are done. Never goes back, whatever the order of threads.
    pub(crate) fn shares_done(&self, done: usize, all: usize) {
        self.0.shares.fetch_max((done as u64) << 32 | all as u64, Ordering::Relaxed);
    }

    /// The flag behind it, for code in other languages that looks at it while it works.
    pub fn flag(&self) -> &AtomicBool {
        &self.0.cancelled
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

/// Wall time of the stages of a proof. Stages that a backend runs at once overlap, or, where all threads are busy with several
/// of them, share the time between them as the threads' time is shared.
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
    /// The device, or what this process has of it, is lost: nothing more can be done with it here.
    #[error("PM-BACKEND-007: {backend}: {reason}; the process that drives the device must start again")]
    Lost {
        /// The backend.
        backend: &'static str,
        /// What it says.
        reason: String,
    },
}

/// The device that a backend computes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its model, such as `NVIDIA H200`.
    pub name: String,
    /// Its identity in the form of NVML, `GPU-xxxxxxxx-xxxx-…`; empty when it has none.
    pub uuid: String,
    /// Bytes of its memory.
    pub memory: u64,
    /// Versions of driver and library, for people.
    pub versions: String,
}

/// A witness on its way to the device: made by [`Backend::stage`], used up by [`Backend::prove_staged`].
pub struct Staged {
    /// The key it is for.
    pub key: KeyId,
    /// The witness.
    pub witness: Arc<Witness>,
    /// What the backend made of it; dropping it gives the place back.
    pub place: Option<Box<dyn Any + Send + Sync>>,
}

/// Does the heavy sums. Object-safe; called from several threads.
pub trait Backend: Send + Sync {
    /// Short name, such as `cpu`.
    fn name(&self) -> &'static str;

    /// The device it computes on; `None` for the processor.
    fn device(&self) -> Option<DeviceInfo> {
        None
    }

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

    /// Moves a witness to the device, which may happen while another proof is computed there. A backend without a device
    /// keeps the witness where it is.
    ///
    /// # Errors
    /// [`BackendError::UnknownKey`], [`BackendError::WitnessShape`], [`BackendError::Device`].
    fn stage(&self, key: KeyId, witness: Arc<Witness>) -> Result<Staged, BackendError> {
        Ok(Staged { key, witness, place: None })
    }

    /// As [`Backend::prove`], for a witness that [`Backend::stage`] of this backend took.
    ///
    /// # Errors
    /// Any [`BackendError`]; the key stays prepared.
    fn prove_staged(&self, staged: Staged, cancel: &Cancel) -> Result<(Sums, Timings), BackendError> {
        self.prove(staged.key, &staged.witness, cancel)
    }

    /// Forgets a key. Proofs that are under way finish; an unknown key is ignored.
    fn release(&self, key: KeyId);
}
