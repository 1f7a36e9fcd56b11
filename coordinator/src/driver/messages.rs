//! What comes to the driver, and what it lets out to queue and chain.

use std::sync::Arc;

use tokio::sync::oneshot;
use wire::{
    Attempt, Control, JobEntry, JobId, ProofBytes, Timings, WorkerEvent, WorkerId,
    queue::{EventCursor, Priority},
};

use crate::{
    chain::{Fees, Logs, SignedTx, SubmitBatch},
    ledger::Verified,
    service::{OperationView, UserError},
    settlement::{ChainView, SettlementRecord, Tried},
    state::{
        State,
        event::{Cursor, IntakeRecord, KeyRegistered, OpsRecord},
        intake::IntakeError,
        rows::Line,
    },
    trace::TraceId,
};

/// Something from the queue, proofs already verified.
#[derive(Clone, Debug)]
pub(crate) enum FromQueue {
    Event(Box<WorkerEvent>),
    Proof {
        worker: WorkerId,
        job: JobId,
        attempt: Attempt,
        proof: Box<ProofBytes>,
        timings: Timings,
        valid: bool,
    },
    /// A proof that nobody waits for any more.
    Late {
        worker: WorkerId,
        job: JobId,
        attempt: Attempt,
    },
    /// The queue was wiped.
    Lost,
}

/// Something to be done on L1, with all it takes.
pub(crate) enum OnChain {
    Submit(Box<Submit>),
    /// Transactions of one nonce, newest first.
    Send(Vec<SignedTx>),
    Alarm(String),
    /// No batch can be settled.
    Halt(String),
}

/// Batches for one transaction.
pub(crate) struct Submit {
    /// In order, each with the public inputs of its proof.
    pub batches: Vec<(SubmitBatch, [bn254::Fr; 3])>,
    pub nonce: u64,
    pub fees: Fees,
    pub tried: Tried,
    /// Fees and gas limit of the transaction that this one replaces.
    pub replaces: Option<(Fees, u64)>,
}

type Question = Box<dyn FnOnce(&State) + Send>;

pub(crate) enum Message {
    /// With the id of its request, if it has one.
    Submit(Box<Verified>, Option<TraceId>, oneshot::Sender<Result<OperationView, UserError>>),
    Register(Box<KeyRegistered>, oneshot::Sender<Result<(), UserError>>),
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
        up_to: Option<EventCursor>,
    },
    /// An operator pauses or resumes.
    Ops(OpsRecord, oneshot::Sender<()>),
    Requeue(u32, oneshot::Sender<()>),
    Drain(WorkerId, oneshot::Sender<()>),
    /// The lines about a batch; the error in words.
    Lines(u32, oneshot::Sender<Result<Vec<Line>, String>>),
    /// Seals the open batch.
    Seal(oneshot::Sender<()>),
    Stop,
}

/// Something for the queue, in order.
pub(crate) enum ToQueue {
    Publish { entry: JobEntry, input: Arc<[u8]>, priority: Priority },
    Control { worker: WorkerId, control: Control },
    Retire { job: JobId, attempt: Attempt },
    Remove { job: JobId },
    Acknowledge(EventCursor),
}
