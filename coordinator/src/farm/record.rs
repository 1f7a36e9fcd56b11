//! What the farm must know after a restart; each record is a line of `explain` too, if it is about a batch.

use wire::job::WorkerId;

/// What must survive a restart.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum FarmRecord {
    Published {
        batch_no: u32,
        attempt: u32,
    },
    Granted {
        batch_no: u32,
        attempt: u32,
        worker: WorkerId,
    },
    /// `charged`: whether it counts towards poisoning.
    Ended {
        batch_no: u32,
        attempt: u32,
        worker: Option<WorkerId>,
        charged: bool,
        message: String,
    },
    Poisoned {
        batch_no: u32,
        message: String,
    },
    /// An operator sent the poisoned job out again.
    Requeued {
        batch_no: u32,
    },
    /// An operator told the worker to drain.
    Draining {
        worker: WorkerId,
    },
    /// The worker that drained has started again and takes work.
    Admitted {
        worker: WorkerId,
    },
    /// A proof came when another worker's was accepted already.
    Late {
        batch_no: u32,
        attempt: u32,
        worker: WorkerId,
    },
}

impl FarmRecord {
    /// The batch it is about, if it is about one.
    pub fn batch_no(&self) -> Option<u32> {
        match self {
            Self::Published { batch_no, .. }
            | Self::Granted { batch_no, .. }
            | Self::Ended { batch_no, .. }
            | Self::Poisoned { batch_no, .. }
            | Self::Requeued { batch_no }
            | Self::Late { batch_no, .. } => Some(*batch_no),
            Self::Draining { .. } | Self::Admitted { .. } => None,
        }
    }
}
