//! What comes to the driver, and what it lets out to queue and chain.

use api::service::OperationView;
use context::trace::TraceId;
use protocol::l1::{Fees, Logs, SignedTx, SubmitBatch};
use queue::{Cursors, QueueWrite};
use sequencer::{
    ledger::Verified,
    rejection::Rejection,
    settlement::{ChainView, SettlementRecord, Tried},
    state::{
        State,
        event::{Cursor, IntakeRecord, KeyRegistered, OpsRecord},
        intake::IntakeError,
        rows::Line,
    },
};
use tokio::sync::oneshot;
use wire::{Attempt, JobId, PoolName, ProcessId, ProofBytes, Timings, WorkerEvent, WorkerId};

use crate::explain::Evidence;

/// Something from the queue, proofs already verified.
#[derive(Clone, Debug)]
pub enum FromQueue {
    Report {
        worker: WorkerId,
        process: ProcessId,
        event: Box<WorkerEvent>,
    },
    Proof {
        worker: WorkerId,
        process: ProcessId,
        job: JobId,
        attempt: Attempt,
        proof: Box<ProofBytes>,
        timings: Timings,
        valid: bool,
    },
    /// A proof of a batch that is proven already, or of an attempt that the worker never had.
    Late {
        worker: WorkerId,
        process: ProcessId,
        job: JobId,
        attempt: Attempt,
    },
    /// So many entries of the pool's stream could not be read.
    Trouble {
        pool: PoolName,
        entries: u64,
    },
    /// The queue holds nothing of what was written to it.
    Wiped,
    /// The input of a batch was replayed here: why it cannot be proved, if so.
    Replayed {
        batch_no: u32,
        unprovable: Option<String>,
    },
}

/// Something to be done on L1, with all it takes.
pub enum OnChain {
    Submit(Box<Submit>),
    /// Transactions of one nonce, newest first.
    Send(Vec<SignedTx>),
    Alarm(String),
    /// No batch can be settled.
    Halt(String),
}

/// Batches for one transaction.
pub struct Submit {
    /// In order, each with the public inputs of its proof.
    pub batches: Vec<(SubmitBatch, [bn254::Fr; 3])>,
    pub nonce: u64,
    pub fees: Fees,
    pub tried: Tried,
    /// Fees and gas limit of the transaction that this one replaces.
    pub replaces: Option<(Fees, u64)>,
}

type Question = Box<dyn FnOnce(&State) + Send>;

pub enum Message {
    /// With the id of its request, if it has one.
    Submit(Box<Verified>, Option<TraceId>, oneshot::Sender<Result<OperationView, Rejection>>),
    Register(Box<KeyRegistered>, oneshot::Sender<Result<(), Rejection>>),
    Ask(Question),
    TakeIn {
        to: Cursor,
        logs: Box<Logs>,
        reply: oneshot::Sender<Result<(), IntakeError>>,
    },
    /// Final blocks were replaced: everything behind `kept` as it is now.
    ReadAgain {
        kept: Option<Cursor>,
        to: Cursor,
        logs: Box<Logs>,
        reply: oneshot::Sender<Result<(), IntakeError>>,
    },
    Intake(IntakeRecord),
    Observed {
        view: Box<ChainView>,
        reply: oneshot::Sender<Vec<OnChain>>,
    },
    /// A transaction was signed, or a gate refused.
    Settled {
        record: Box<SettlementRecord>,
        reply: oneshot::Sender<()>,
    },
    /// A call on what is pending was refused while the contract stood at this batch.
    Hold {
        contract_at: u32,
    },
    FromQueue {
        events: Vec<FromQueue>,
        up_to: Option<Cursors>,
    },
    /// An operator pauses or resumes.
    Ops(OpsRecord, oneshot::Sender<()>),
    Requeue(u32, oneshot::Sender<()>),
    Drain(WorkerId, oneshot::Sender<()>),
    /// Answers whether there was room.
    AddPool(PoolName, oneshot::Sender<bool>),
    RemovePool(PoolName, oneshot::Sender<()>),
    /// The lines about a batch; the error in words.
    Lines(u32, oneshot::Sender<Result<Vec<Line>, String>>),
    /// Seals the open batch.
    Seal(oneshot::Sender<()>),
    Stop,
}

impl Message {
    /// Whether its answer depends on what was accepted before.
    pub fn is_request(&self) -> bool {
        matches!(self, Self::Submit(..) | Self::Register(..) | Self::Ask(_))
    }
}

/// Something for the queue, in order.
pub enum ToQueue {
    Write(QueueWrite),
    /// Replay the input of a batch, and say what comes of it.
    Replay {
        batch_no: u32,
        evidence: Evidence,
    },
}
