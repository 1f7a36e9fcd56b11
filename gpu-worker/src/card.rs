//! Watches the graphics card through NVML, which is loaded at run time: without a driver there is a message and no card.
//!
//! Invariant: nothing here can stop a worker. What the driver does not tell is `None`, a driver that hangs hangs a thread of
//! its own, and the one thing that reaches the worker's decisions is a [`Condition`]. The card is found by what names it in
//! CUDA and NVML alike, its UUID or its PCI bus id, never by an ordinal: the two count differently.
//!
//! | file | purpose |
//! |---|---|
//! | `nvml` | the library: which cards there are, one look at one of them |
//! | `health` | from looks to a condition; pure |
//! | `energy` | what a proof cost |
//! | `monitor` | the thread that looks, and what others get to see |

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use prover::DeviceInfo;
use wire::CardReading;

mod energy;
pub mod health;
mod monitor;
mod nvml;

pub use energy::EnergyMeter;
pub use monitor::{Card, Monitor};

/// Names the NVML library, when it is not where the loader finds it.
pub const LIBRARY_VARIABLE: &str = "PROOFMILL_NVML_LIBRARY";

/// Whether the card should get work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    #[default]
    Well,
    /// No new work, and why.
    Sick(String),
}

/// What one look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    Seen(Box<CardReading>),
    /// The card does not answer any more, and what the driver says instead.
    Lost(String),
}

/// Which card, how often, and what makes it sick.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The NVML library; else [`LIBRARY_VARIABLE`], else the loader's search path.
    pub library: Option<PathBuf>,
    /// `GPU-…` or `MIG-…`, as CUDA gives it.
    pub uuid: Option<String>,
    /// `domain:bus:device.function`, when the UUID is not known.
    pub pci_bus: Option<String>,
    /// Between two looks. NVML answers from the driver's own samples: more often than once a second tells no more.
    pub every: Duration,
    pub limits: health::Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            library: None,
            uuid: None,
            pci_bus: None,
            every: Duration::from_secs(1),
            limits: health::Limits::default(),
        }
    }
}

impl Settings {
    /// For the device that a backend computes on.
    pub fn for_device(device: &DeviceInfo) -> Self {
        let uuid = Some(device.uuid.clone()).filter(|uuid| !uuid.is_empty());
        Self { uuid, ..Self::default() }
    }
}

/// Why no card is watched. The worker works on without.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CardError {
    #[error("PM-CARD-001: no NVIDIA driver ({0}); install the driver to use a card")]
    NoDriver(String),
    #[error("PM-CARD-002: the NVIDIA driver refuses this user; give the process access to /dev/nvidia*")]
    NoPermission,
    #[error("PM-CARD-003: NVML: {0}; check that driver and libnvidia-ml are of one version")]
    Nvml(String),
    #[error(
        "PM-CARD-004: there is no card {wanted} among {have}; check the device number and CUDA_VISIBLE_DEVICES"
    )]
    NoSuchCard { wanted: String, have: String },
    #[error("PM-CARD-005: there are several cards ({have}) and none was named; name one by its UUID")]
    Ambiguous { have: String },
    #[error("PM-CARD-006: the thread that watches the card cannot start: {0}")]
    Thread(String),
}

/// One look at every card of the machine, with what makes it sick at first sight.
///
/// # Errors
/// `NoDriver`, `NoPermission`, `Nvml`.
pub fn survey(library: Option<&Path>) -> Result<Vec<CardReading>, CardError> {
    let limits = health::Limits::default();
    let looks = nvml::look_at_all(library)?.into_iter().map(|look| {
        let health = health::judge(&health::Health::default(), &look, &limits, Duration::ZERO);
        let reading = match look {
            Look::Seen(reading) => *reading,
            Look::Lost(_) => CardReading::default(),
        };
        CardReading { sick: health.reason().map(str::to_owned), ..reading }
    });
    Ok(looks.collect())
}
