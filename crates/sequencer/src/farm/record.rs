//! What the log keeps of the farm.

use wire::job::{PoolName, WorkerId};

/// How an attempt ended without a proof that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum AttemptEnd {
    /// The worker gave it back, or left in order.
    HandedBack,
    /// The worker fell silent.
    Died,
    /// It took too long.
    TimedOut,
    /// The worker could not do its work.
    Failed,
    /// The worker blames the input or the proofs made of it.
    Blamed,
    /// Its proof does not verify.
    Refused,
    /// Another worker was free.
    Moved,
}

impl AttemptEnd {
    /// Whether it counts against the job, the worker and its pool.
    pub fn is_bad(self) -> bool {
        match self {
            Self::Died | Self::TimedOut | Self::Failed | Self::Blamed | Self::Refused => true,
            Self::HandedBack | Self::Moved => false,
        }
    }

    /// As metrics and lines name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::HandedBack => "handed_back",
            Self::Died => "died",
            Self::TimedOut => "timed_out",
            Self::Failed => "failed",
            Self::Blamed => "blamed",
            Self::Refused => "refused",
            Self::Moved => "moved",
        }
    }
}

/// What must survive a restart.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum FarmRecord {
    /// Not written any more: an attempt was laid out for claiming.
    Published {
        batch_no: u32,
        attempt: u32,
    },
    /// The attempt was handed to this worker.
    Granted {
        batch_no: u32,
        attempt: u32,
        worker: WorkerId,
    },
    /// Not written any more: see `AttemptEnded`.
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
    /// An operator sent the job out again.
    Requeued {
        batch_no: u32,
    },
    /// An operator told the worker to drain.
    Draining {
        worker: WorkerId,
    },
    /// The worker that drained is gone.
    Admitted {
        worker: WorkerId,
    },
    /// A proof came when another worker's was accepted already.
    Late {
        batch_no: u32,
        attempt: u32,
        worker: WorkerId,
    },
    AttemptEnded {
        batch_no: u32,
        attempt: u32,
        worker: WorkerId,
        end: AttemptEnd,
        message: String,
    },
    /// It ended badly on several workers and is tried alone from now on.
    Quarantined {
        batch_no: u32,
    },
    /// It ended badly alone, too.
    Parked {
        batch_no: u32,
        message: String,
    },
    /// The parked job is tried again.
    Unparked {
        batch_no: u32,
    },
    PoolAdded {
        pool: PoolName,
    },
    PoolRemoved {
        pool: PoolName,
    },
}

impl FarmRecord {
    /// The batch it is about, if it is about one.
    pub fn batch_no(&self) -> Option<u32> {
        match self {
            Self::Published { batch_no, .. }
            | Self::Granted { batch_no, .. }
            | Self::Ended { batch_no, .. }
            | Self::AttemptEnded { batch_no, .. }
            | Self::Quarantined { batch_no }
            | Self::Parked { batch_no, .. }
            | Self::Unparked { batch_no }
            | Self::Poisoned { batch_no, .. }
            | Self::Requeued { batch_no }
            | Self::Late { batch_no, .. } => Some(*batch_no),
            Self::Draining { .. }
            | Self::Admitted { .. }
            | Self::PoolAdded { .. }
            | Self::PoolRemoved { .. } => None,
        }
    }
}
