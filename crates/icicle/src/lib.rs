//! Proving on NVIDIA cards with the user's ICICLE, loaded at run time.
//!
//! The host multiplies with the sparse matrices; ICICLE transforms and sums. Nothing of ICICLE is needed to build.
//!
//! | module | purpose |
//! |---|---|
//! | `abi` | ICICLE's C structures and functions, offsets asserted |
//! | `library` | finding and loading it |
//! | `driver` | the NVIDIA driver, asked first |
//! | `session` | the device as its one thread sees it: every call checked |
//! | `curve` | points in ICICLE's form |
//! | `query` | points on the device, scalars masked |
//! | `circuit` | one circuit on the device, the sums of a proof |
//! | `self_test` | known answers |
//! | `owner` | the one thread that talks to ICICLE |
//!
//! Invariant: what ICICLE says is believed only after a check: return codes, the active device, points on the curve, the
//! self-test at [`IcicleBackend::open`]. That the sums are right shows when the proof is verified.
//!
//! # One process per card, and not this one
//! Some faults ICICLE reports as C++ exceptions that leave its C functions, and those end the process: no Rust code can
//! catch them. A CUDA error can also spoil the context for good. A worker therefore opens this backend in a child process
//! (`proofmill prove-child`), where both are one failed request. A process has at most one [`IcicleBackend`].

mod abi;
mod circuit;
mod curve;
mod driver;
mod error;
mod library;
mod owner;
mod query;
mod self_test;
mod session;

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bn254::{Fr, G1, G1Affine, G2, G2Affine};
use circuit::{Plan, Task};
use error::NAME;
use owner::{Command, Owner};
use parking_lot::RwLock;
use prover::{
    Backend, BackendError, Cancel, DeviceInfo, Key, KeyId, Matrices, Staged, Sums, Timings, Witness,
};

pub use error::Error;

/// What ICICLE computes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// An NVIDIA card.
    #[default]
    Cuda,
    /// The processor, slower than the backend `cpu`: for tests of a build.
    Cpu,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Cuda => "CUDA",
            Self::Cpu => "CPU",
        }
    }
}

/// Where the library is and which card to use.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The folder with `libicicle_device.so`; searched for when `None`.
    pub library: Option<PathBuf>,
    /// Ordinal of the card in CUDA's order.
    pub device: u32,
    /// What to compute on.
    pub kind: Kind,
    /// Terms of the largest sum given to ICICLE at once; by the free memory of the card when `None`.
    pub chunk: Option<NonZeroUsize>,
}

/// The backend `icicle`.
pub struct IcicleBackend {
    owner: Owner,
    device: Option<DeviceInfo>,
    plans: RwLock<HashMap<KeyId, Arc<Plan>>>,
    next: AtomicU64,
}

/// What [`Backend::stage`] keeps for [`Backend::prove_staged`].
struct Place(Box<Task>);

impl IcicleBackend {
    /// Loads ICICLE, selects the device and runs the self-test.
    ///
    /// # Errors
    /// [`BackendError::Device`] without library, driver or card, and when a known answer is not met.
    pub fn open(settings: &Settings) -> Result<Self, BackendError> {
        let (owner, device) = Owner::start(settings.clone())?;
        Ok(Self { owner, device, plans: RwLock::default(), next: AtomicU64::default() })
    }

    /// Sum of `scalars[i] * points[i]` in G1, masked as in proofs: for tests and one-off sums.
    ///
    /// # Errors
    /// [`BackendError::Device`].
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn msm_g1(&self, points: &[G1Affine], scalars: &[Fr]) -> Result<G1, BackendError> {
        assert_eq!(points.len(), scalars.len(), "one scalar per point");
        Ok(self.owner.ask(|reply| Command::SumG1(points.to_vec(), scalars.to_vec(), reply))?)
    }

    /// Sum of `scalars[i] * points[i]` in G2, masked as in proofs: for tests and one-off sums.
    ///
    /// # Errors
    /// [`BackendError::Device`].
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn msm_g2(&self, points: &[G2Affine], scalars: &[Fr]) -> Result<G2, BackendError> {
        assert_eq!(points.len(), scalars.len(), "one scalar per point");
        Ok(self.owner.ask(|reply| Command::SumG2(points.to_vec(), scalars.to_vec(), reply))?)
    }

    /// Evaluations on the domain → evaluations on the odd coset, as [`bn254::Domain::shift_to_coset`]: for benchmarks
    /// and tests.
    ///
    /// # Errors
    /// [`BackendError::Device`].
    ///
    /// # Panics
    /// When the number of values is not a power of two.
    pub fn shift_to_coset(&self, values: &[Fr]) -> Result<Vec<Fr>, BackendError> {
        assert!(values.len().is_power_of_two(), "one value per element of a domain");
        Ok(self.owner.ask(|reply| Command::ToCoset(values.to_vec(), reply))?)
    }

    fn plan(&self, key: KeyId) -> Result<Arc<Plan>, BackendError> {
        let plans = self.plans.read();
        plans.get(&key).cloned().ok_or(BackendError::UnknownKey(key))
    }

    fn run(&self, key: KeyId, task: Box<Task>, cancel: &Cancel) -> Result<(Sums, Timings), BackendError> {
        self.owner.ask(|reply| Command::Prove(key, task, cancel.clone(), reply))
    }
}

impl Backend for IcicleBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    fn device(&self) -> Option<DeviceInfo> {
        self.device.clone()
    }

    fn prepare(&self, key: Arc<Key>, matrices: Arc<Matrices>) -> Result<KeyId, BackendError> {
        let plan = Arc::new(Plan::new(key, matrices)?);
        let id = KeyId(self.next.fetch_add(1, Ordering::Relaxed));
        self.owner.ask(|reply| Command::Prepare(id, Arc::clone(&plan), reply))?;
        self.plans.write().insert(id, plan);
        Ok(id)
    }

    fn prove(&self, key: KeyId, witness: &Witness, cancel: &Cancel) -> Result<(Sums, Timings), BackendError> {
        let plan = self.plan(key)?;
        cancel.check()?;
        self.run(key, Box::new(plan.task(witness)?), cancel)
    }

    /// Does the host's part of the proof, which is what can be done while the card is busy.
    fn stage(&self, key: KeyId, witness: Arc<Witness>) -> Result<Staged, BackendError> {
        let task = self.plan(key)?.task(&witness)?;
        Ok(Staged { key, witness, place: Some(Box::new(Place(Box::new(task)))) })
    }

    fn prove_staged(&self, staged: Staged, cancel: &Cancel) -> Result<(Sums, Timings), BackendError> {
        match staged.place.map(|place| place.downcast::<Place>()) {
            Some(Ok(place)) => self.run(staged.key, place.0, cancel),
            _ => self.prove(staged.key, &staged.witness, cancel),
        }
    }

    fn release(&self, key: KeyId) {
        self.plans.write().remove(&key);
        self.owner.tell(Command::Release(key));
    }
}
