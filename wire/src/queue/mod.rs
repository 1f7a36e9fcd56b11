//! The queue between coordinator and workers: dispatch only, never the truth.
//!
//! The store knows every job; the queue may lose everything and is filled again from it. So each side promises little,
//! and [`conformance`] holds every adapter to exactly this:
//!
//! - An entry goes to one claimer at a time, urgent ones first, otherwise in the order of publication, and never to a
//!   worker that it excludes. It may come twice after a restart: the coordinator grants one and cancels the other.
//! - An input is there before its entry can be claimed, and until the job is removed.
//! - Events come in the order in which they were written, and come again to a coordinator that connects before they
//!   were acknowledged. What cannot be decoded is counted and passed over, so that no worker can wedge the stream.
//! - A control reaches the worker it is for, in order, at most once. One that is lost costs a lease, not a job.
//! - Everything is bounded: a full queue makes writers wait or fails with `Full`, it never grows.
//!
//! Every call that waits takes the time it may wait and returns empty-handed after it, so that a caller can look at its
//! shutdown signal. Blocking readers in an adapter need a connection of their own without a response timeout.

use std::time::Duration;

use async_trait::async_trait;
use circuits::shape::Shape;

use crate::{
    codec::CodecError,
    event::{Control, WorkerEvent},
    job::{Attempt, JobEntry, JobId, WorkerId},
};

pub mod conformance;
pub mod memory;
pub mod redis;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    #[error(
        "PM-QUEUE-001: the {what} of the queue are full at {limit}; start workers or look why none reads them"
    )]
    Full { what: &'static str, limit: usize },
    #[error("PM-QUEUE-002: there is no input for job {0}; it was proved already or the queue was wiped")]
    NoInput(JobId),
    #[error("PM-QUEUE-003: the queue cannot be reached ({0}); check that it runs")]
    Unreachable(String),
    #[error("PM-QUEUE-004: the queue refuses this process ({0}); check user, password and rights")]
    Refused(String),
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// Urgent entries are claimed before normal ones: retries, and batches that others wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    Normal,
    Urgent,
}

/// A place in the stream of events, ordered. Two numbers, since a Redis stream id is two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventCursor(pub u64, pub u64);

/// Events in the order in which they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventBatch {
    pub events: Vec<WorkerEvent>,
    /// Messages passed over because they could not be decoded.
    pub malformed: usize,
    /// Acknowledge this once all of them are dealt with; nothing if the batch is empty.
    pub up_to: Option<EventCursor>,
    /// The queue lost what it held since the last batch (it was wiped, or replaced by an empty one): what was published is
    /// to be published again.
    pub lost: bool,
}

/// How much work of a circuit lies in the queue. Autoscaling needs both numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Entries nobody has claimed (Redis: lag).
    pub waiting: u64,
    /// Entries claimed whose attempt has not ended (Redis: pending).
    pub claimed: u64,
}

/// The coordinator's side. One coordinator reads the events at a time: the leader.
#[async_trait]
pub trait CoordinatorQueue: Send + Sync {
    /// Lays the encoded input down, then makes the entry claimable.
    ///
    /// # Errors
    /// `Full`, `Unreachable`, `Codec` for an input over its limit.
    async fn publish(&self, entry: &JobEntry, input: &[u8], priority: Priority) -> Result<(), QueueError>;

    /// The next events after those this connection already returned, or an empty batch after `wait`.
    ///
    /// # Errors
    /// `Unreachable`.
    async fn next_events(&self, wait: Duration) -> Result<EventBatch, QueueError>;

    /// Forgets the events up to and including `up_to`: their effects are durable.
    ///
    /// # Errors
    /// `Unreachable`.
    async fn acknowledge(&self, up_to: EventCursor) -> Result<(), QueueError>;

    /// # Errors
    /// `Full`, `Unreachable`. A worker that never reads is not an error.
    async fn control(&self, worker: &WorkerId, control: Control) -> Result<(), QueueError>;

    /// # Errors
    /// `Unreachable`.
    async fn depth(&self, shape: Shape) -> Result<Depth, QueueError>;

    /// The attempt is over without an event of its own (its lease ran out): it no longer counts as claimed.
    ///
    /// # Errors
    /// `Unreachable`.
    async fn retire(&self, job: JobId, attempt: Attempt) -> Result<(), QueueError>;

    /// The job is over: drops its input and retires its claimed attempts. An entry nobody claimed yet may still be
    /// claimed, and is cancelled then.
    ///
    /// # Errors
    /// `Unreachable`.
    async fn remove(&self, job: JobId) -> Result<(), QueueError>;
}

/// The side of one worker, bound to its name.
#[async_trait]
pub trait WorkerQueue: Send + Sync {
    /// The next entry of one of these circuits, or nothing after `wait`.
    ///
    /// # Errors
    /// `Unreachable`.
    async fn claim(&self, shapes: &[Shape], wait: Duration) -> Result<Option<JobEntry>, QueueError>;

    /// The encoded input of a job.
    ///
    /// # Errors
    /// `NoInput`, `Unreachable`.
    async fn input(&self, job: JobId) -> Result<Vec<u8>, QueueError>;

    /// Writes an event; waits while the stream is full. One that ends an attempt also releases its entry.
    ///
    /// # Errors
    /// `Unreachable`, `Codec` for an event over its limit.
    async fn emit(&self, event: &WorkerEvent) -> Result<(), QueueError>;

    /// The next control for this worker, or nothing after `wait`.
    ///
    /// # Errors
    /// `Unreachable`.
    async fn next_control(&self, wait: Duration) -> Result<Option<Control>, QueueError>;

    /// A second way in for heartbeats, for a thread that has nothing to do with the async runtime.
    ///
    /// # Errors
    /// `Unreachable`.
    fn liveness(&self) -> Result<Box<dyn Liveness>, QueueError>;
}

/// Writes heartbeats from a plain thread: a starved runtime must not make a live worker look dead.
pub trait Liveness: Send {
    /// Never waits for room: a heartbeat that finds no place is worth nothing later.
    ///
    /// # Errors
    /// `Full`, `Unreachable`.
    fn beat(&mut self, heartbeat: &WorkerEvent) -> Result<(), QueueError>;
}
