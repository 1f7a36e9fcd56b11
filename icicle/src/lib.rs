//! Proving on NVIDIA cards with the user's ICICLE, loaded at run time.

use std::{path::PathBuf, sync::Arc};

use prover::{Backend, BackendError, Cancel, DeviceInfo, Key, KeyId, Matrices, Sums, Timings, Witness};

/// Where the library is and which card to use.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The folder with `libicicle_device.so`; searched for when `None`.
    pub library: Option<PathBuf>,
    /// Ordinal of the card in CUDA's order.
    pub device: u32,
}

/// The backend `icicle`.
pub struct IcicleBackend;

impl IcicleBackend {
    /// # Errors
    /// [`BackendError::Device`] without library, driver or card.
    pub fn open(_settings: &Settings) -> Result<Self, BackendError> {
        Err(BackendError::Device { backend: "icicle", reason: "not in this build".to_owned() })
    }
}

impl Backend for IcicleBackend {
    fn name(&self) -> &'static str {
        "icicle"
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
