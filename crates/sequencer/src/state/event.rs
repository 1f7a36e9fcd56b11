//! The event log: everything that was decided, in order. It is the truth; all else can be computed from it again.
//!
//! The layout is part of the store's format: variants and fields are only ever added at the end, with a new `VERSION`.

use std::sync::Arc;

use bn254::Fr;
use circuits::{
    baby_jubjub::Point,
    message::SignedKind,
    shape::Shape,
    slot::{SignedSpend, SlotEffect},
};
use protocol::{
    Address, DirectoryEntry, OperationId,
    l1::{Deposit, ForcedRequest, Hash32},
};
use serde::{Deserialize, Serialize};
use wire::WorkerId;

use super::sealing::Sealing;
use crate::{batcher::SealReason, farm::FarmRecord, settlement::SettlementRecord};

/// Layout of the events in a store.
pub const VERSION: u32 = 3;

/// What was worked out to decide an event, so that applying it need not do it again. It is no part of the log: an event that was
/// read from there comes without, and whoever applies it works it out.
#[derive(Clone, Debug)]
pub struct Computed<T>(Option<Arc<T>>);

impl<T> Computed<T> {
    pub fn new(value: T) -> Self {
        Self(Some(Arc::new(value)))
    }

    pub fn get(&self) -> Option<&T> {
        self.0.as_deref()
    }
}

impl<T> Default for Computed<T> {
    /// Not worked out.
    fn default() -> Self {
        Self(None)
    }
}

/// All are equal: it follows from the rest of the event.
impl<T> PartialEq for Computed<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// A signed operation that was accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    pub id: OperationId,
    pub idempotency_key: String,
    pub request_hash: [u8; 32],
    pub kind: SignedKind,
    pub sender: Address,
    pub recipient: Option<Address>,
    pub batch_no: u32,
    /// The first slot's place; the others follow.
    pub place: u64,
    pub spends: Vec<SignedSpend>,
    /// Of the promises, Unix seconds.
    pub deadline: u64,
    /// What each spend does.
    #[serde(skip)]
    pub effects: Computed<Vec<SlotEffect>>,
}

/// A directory entry that was registered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyRegistered {
    pub owner: Address,
    pub key: Point,
    pub key_epoch: u32,
    pub signature: Vec<u8>,
    pub idempotency_key: String,
    pub request_hash: [u8; 32],
}

impl KeyRegistered {
    pub fn entry(&self) -> DirectoryEntry {
        DirectoryEntry {
            owner: self.owner,
            key: self.key,
            key_epoch: self.key_epoch,
            signature: self.signature.clone(),
        }
    }
}

/// A batch was sealed, with what came out; a replay must come to the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sealed {
    pub batch_no: u32,
    pub shape: Shape,
    pub mints: u32,
    pub forced: u32,
    #[serde(with = "bn254::serde_fr")]
    pub mid_root: Fr,
    #[serde(with = "bn254::serde_fr")]
    pub new_root: Fr,
    /// (h, c, e).
    #[serde(with = "bn254::serde_fr_array")]
    pub public_inputs: [Fr; 3],
    pub input_hash: [u8; 32],
    pub reason: SealReason,
    #[serde(skip)]
    pub work: Computed<Sealing>,
}

/// A proof of the batch was verified here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProofAccepted {
    pub batch_no: u32,
    pub attempt: u32,
    pub worker: WorkerId,
    pub proof: Vec<u8>,
    pub prove_ms: u64,
    pub witness_ms: u64,
}

/// A final block of L1, up to which logs were taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    pub number: u64,
    pub hash: Hash32,
}

/// The queues of L1 as they are after a reorganisation of blocks that were taken in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadAgain {
    /// The last block taken in before, which is another one now.
    pub replaced: Cursor,
    /// The last recorded block that is still there; nothing: none is, and the queues were read from the first block.
    pub kept: Option<Cursor>,
    pub to: Cursor,
    pub deposits: Vec<Deposit>,
    pub forced: Vec<ForcedRequest>,
}

/// Why deposits and forced requests are not taken in, or that they are again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IntakeRecord {
    Stopped {
        /// The batch it concerns, if one.
        batch_no: Option<u32>,
        reason: String,
    },
    Resumed,
}

/// What was decided about the whole service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OpsRecord {
    /// By an operator: no new operations; what was accepted goes on.
    Paused,
    Resumed,
    /// A coordinator leads in this term; the batch is the one that was open then.
    Led {
        term: u64,
        batch_no: u32,
    },
    /// The store takes what is written again, after a time in which it refused it; the batch is the one that was open then.
    StoreBack {
        batch_no: u32,
    },
    /// By an operator: what was promised behind event `found`, up to event `known`, is lost for good.
    LossAccepted {
        batch_no: u32,
        known: u64,
        found: u64,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    KeyRegistered(Box<KeyRegistered>),
    Accepted(Box<Accepted>),
    /// The next batch (or the empty open one again) was opened in the class with this many places.
    Opened {
        batch_no: u32,
        places: u32,
    },
    Sealed(Box<Sealed>),
    /// All logs up to this block were taken in.
    TakenIn {
        to: Cursor,
        deposits: Vec<Deposit>,
        forced: Vec<ForcedRequest>,
    },
    Farm(FarmRecord),
    Proven(Box<ProofAccepted>),
    Settlement(SettlementRecord),
    /// Final blocks were replaced: everything behind `kept` was read again.
    ReadAgain(Box<ReadAgain>),
    Intake(IntakeRecord),
    Ops(OpsRecord),
}

impl Event {
    pub fn accepted(&self) -> Option<&Accepted> {
        match self {
            Self::Accepted(accepted) => Some(accepted),
            _ => None,
        }
    }
}

/// An event and when it happened, in Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stamped {
    pub at: u64,
    pub event: Event,
}
