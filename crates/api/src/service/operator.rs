//! What operators ask of a running coordinator and tell it to do. Each call answers when its decision is durable, and may be
//! repeated.

use std::ops::Range;

use async_trait::async_trait;
use circuits::shape::Shape;
use protocol::{OperationId, OperationKind, Stage, history::OperationView};
use sequencer::{farm::Pool, rejection::Rejection, state::rows::Line};
use wire::{PoolName, WorkerId};

use super::{SystemView, WorkerView};

/// Promises of operations that are not final yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deadlines {
    /// Due within ten minutes.
    pub near: u64,
    pub missed: u64,
}

/// An operation of a batch and its slots there; a mint has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    pub id: OperationId,
    pub kind: OperationKind,
    pub slots: Range<usize>,
}

/// What the state knows about a batch.
#[derive(Clone, Debug)]
pub struct BatchFacts {
    pub batch_no: u32,
    /// None while it is open.
    pub shape: Option<Shape>,
    pub stage: Stage,
    /// What it waits for now.
    pub waits_for: String,
    pub operations: Vec<Placed>,
}

/// A job that waits for a proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobFacts {
    pub batch_no: u32,
    pub shape: Shape,
    /// One of [`Phase::NAMES`].
    pub phase: &'static str,
    pub attempt: u32,
    /// Attempts that ended badly.
    pub failures: u32,
    pub worker: Option<String>,
    pub waits_for: String,
}

/// Something that cannot be proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// Its slot; nothing if it is no single slot's fault.
    pub slot: Option<usize>,
    pub reason: String,
}

/// All that is known about a batch.
#[derive(Clone, Debug)]
pub struct Explanation {
    pub facts: BatchFacts,
    /// In the order of time.
    pub lines: Vec<Line>,
    /// Of a poisoned batch: what of it cannot be proved; empty if all of it can.
    pub suspects: Option<Vec<Suspect>>,
}

/// All that is known about an operation.
#[derive(Clone, Debug)]
pub struct OperationExplanation {
    pub operation: OperationView,
    pub placed: Placed,
    /// When its promise is due; nothing without one.
    pub deadline: Option<String>,
    pub batch: Explanation,
}

/// How the whole service is.
#[derive(Clone, Debug)]
pub struct Overview {
    pub system: SystemView,
    pub term: u64,
    pub paused: bool,
    /// What is wrong, in words.
    pub alarms: Vec<String>,
    pub deadlines: Deadlines,
    /// Operations in the open batch.
    pub open_operations: usize,
    /// The oldest jobs, and how many there are.
    pub jobs: Vec<JobFacts>,
    pub job_count: usize,
    pub pools: Vec<(PoolName, Pool)>,
    pub draining: Vec<String>,
    pub workers: Vec<WorkerView>,
}

/// The coordinator as its operators see it.
#[async_trait]
pub trait Operator: Send + Sync {
    /// New operations are refused with `PAUSED` from now on; what was accepted goes on.
    ///
    /// # Errors
    /// `UNAVAILABLE`.
    async fn pause(&self) -> Result<(), Rejection>;

    /// # Errors
    /// `UNAVAILABLE`.
    async fn resume(&self) -> Result<(), Rejection>;

    /// Opens a pool of workers. False if there are as many as there may be.
    ///
    /// # Errors
    /// `UNAVAILABLE`.
    async fn add_pool(&self, pool: PoolName) -> Result<bool, Rejection>;

    /// Closes a pool of workers: its events are deleted unread from now on.
    ///
    /// # Errors
    /// `UNAVAILABLE`.
    async fn remove_pool(&self, pool: PoolName) -> Result<(), Rejection>;

    /// Sends a poisoned or parked batch out again; any other is left as it is.
    ///
    /// # Errors
    /// `UNAVAILABLE`.
    async fn requeue(&self, batch_no: u32) -> Result<(), Rejection>;

    /// The worker finishes what it proves, hands the rest back, gets nothing more and leaves.
    ///
    /// # Errors
    /// `UNAVAILABLE`.
    async fn drain_worker(&self, worker: WorkerId) -> Result<(), Rejection>;

    /// What happened to a batch and what it waits for; nothing for one that never was.
    ///
    /// # Errors
    /// `UNAVAILABLE`.
    async fn explain_batch(&self, batch_no: u32) -> Result<Option<Explanation>, Rejection>;

    /// An operation, its place, its promise and what happened to its batch; nothing for one that never was.
    ///
    /// # Errors
    /// `UNAVAILABLE`.
    async fn explain_operation(&self, id: OperationId) -> Result<Option<OperationExplanation>, Rejection>;

    /// How everything is.
    ///
    /// # Errors
    /// `UNAVAILABLE`.
    async fn overview(&self) -> Result<Overview, Rejection>;

    /// How far a batch is; nothing before it is sealed.
    async fn stage(&self, batch_no: u32) -> Result<Option<Stage>, Rejection>;

    /// Whether a worker of this name was here, or was told to drain.
    async fn knows_worker(&self, id: WorkerId) -> Result<bool, Rejection>;
}
