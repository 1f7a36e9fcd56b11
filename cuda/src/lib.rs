//! Proving on NVIDIA cards with our own kernels, loaded at run time.

use std::{path::PathBuf, sync::Arc};

use prover::{Backend, BackendError, Cancel, DeviceInfo, Key, KeyId, Matrices, Sums, Timings, Witness};

/// Where the library is and which card to use.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `libproofmill_cuda.so`; searched for when `None`.
    pub library: Option<PathBuf>,
    /// Ordinal of the card in CUDA's order.
    pub device: u32,
}

/// The backend `cuda`.
pub struct CudaBackend;

impl CudaBackend {
    /// # Errors
    /// [`BackendError::Device`] without library, driver or card.
    pub fn open(_settings: &Settings) -> Result<Self, BackendError> {
        Err(BackendError::Device { backend: "cuda", reason: "not in this build".to_owned() })
    }
}

impl Backend for CudaBackend {
    fn name(&self) -> &'static str {
        "cuda"
    }

    fn device(&self) -> Option<DeviceInfo> {
        None
    }

    fn prepare(&self, _key: Arc<Key>, _matrices: Arc<Matrices>) -> Result<KeyId, BackendError> {
        Err(BackendError::OtherCircuit)
    }

    fn prove(&self, key: KeyId, _: &Witness, _: &Cancel) -> Result<(Sums, Timings), BackendError> {
        Err(BackendError::UnknownKey(key))
    }

    fn release(&self, _key: KeyId) {}
}
