//! The queue between coordinator and workers: it carries messages, and is never the truth.
//!
//! The store knows every job; the queue may lose anything, alone or all at once, and what it lost is sent again. Workers
//! are less trusted than the queue and the coordinator: each belongs to a *pool*, and a pool's credential can write only
//! that pool's events and read only that pool's jobs and inputs. Both sides rely on exactly this, which the conformance
//! suite (`tests/queue/conformance.rs`) holds every adapter to:
//!
//! - **Events** of a pool come in the order in which they were written, and come again to a coordinator that connects
//!   before they were acknowledged. The pool of an event is the stream it came from, whatever it says. What cannot be
//!   decoded is counted and skipped. A stream that is oversized, unwritable or no stream is replaced by an empty one.
//! - **Directives** reach the worker they are for, in order. They may be lost with their stream; the coordinator sends what
//!   still holds again when heartbeats show that it is missing, and all of it at once when the queue says that it was wiped.
//! - An **input** is there before the job that needs it, until it is removed or its time to live is over.
//! - Everything is bounded: streams in entries and bytes, directives per worker, the bytes of one poll.
//!
//! Every call that waits takes the time it may wait and returns empty-handed after it, so that a caller can look at its
//! shutdown signal.
//!
//! | module | purpose |
//! |---|---|
//! | [`memory`] | the queue inside one process |
//! | [`redis`] | the queue on Redis Streams |

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use wire::{Control, Directive, JobId, PoolName, ProcessId, WorkerEvent, WorkerId, codec::CodecError};

pub mod memory;
pub mod redis;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    #[error("PM-QUEUE-002: there is no input for job {0}; it was proved already or the queue was wiped")]
    NoInput(JobId),
    #[error("PM-QUEUE-003: the queue cannot be reached ({0}); check that it runs")]
    Unreachable(String),
    #[error("PM-QUEUE-004: the queue refuses this process ({0}); check user, password and rights")]
    Refused(String),
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// A position in a pool's stream of events, ordered. Two numbers, since a Redis stream id is two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventCursor(pub u64, pub u64);

/// How far the events of each pool were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursors(pub BTreeMap<PoolName, EventCursor>);

/// An event and who wrote it. The instance and process are as the writer says; the pool is certain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolEvent {
    pub worker: WorkerId,
    pub process: ProcessId,
    pub event: WorkerEvent,
}

/// Why a pool's stream of events was replaced by an empty one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Replaced {
    /// It held more entries or bytes than the limits allow.
    Oversized,
    /// Its last id lies in the far future, so that soon nothing could be added to it.
    Unwritable,
    /// Another type of value stood in its place.
    Foreign,
}

impl Replaced {
    pub fn name(self) -> &'static str {
        match self {
            Self::Oversized => "oversized",
            Self::Unwritable => "unwritable",
            Self::Foreign => "foreign",
        }
    }
}

/// What was wrong with a pool's events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// So many entries could not be decoded; why the first could not.
    Malformed {
        count: usize,
        reason: String,
    },
    Replaced(Replaced),
}

/// What one poll read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventBatch {
    /// Of each pool in the order in which they were written.
    pub events: Vec<PoolEvent>,
    pub troubles: Vec<(PoolName, Trouble)>,
    /// Acknowledge this once the effects of all events are durable; nothing if there are none.
    pub up_to: Option<Cursors>,
    /// Whether everything written before this poll may be gone: what still holds is to be written again. Said once, and not
    /// of what was gone when this side connected.
    pub wiped: bool,
}

impl EventBatch {
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.troubles.is_empty() && self.up_to.is_none() && !self.wiped
    }
}

/// One change of the queue. Each may be carried out twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueWrite {
    /// Read the events of the open pools. What is written to a closed one is deleted unread: its credential may live on.
    Pools {
        open: BTreeSet<PoolName>,
        closed: BTreeSet<PoolName>,
    },
    /// The encoded input of a job, for the workers of one pool.
    Input {
        pool: PoolName,
        job: JobId,
        input: Arc<[u8]>,
    },
    Directive {
        worker: WorkerId,
        directive: Directive,
    },
    /// No worker of the pool works on the job any more.
    RemoveInput {
        pool: PoolName,
        job: JobId,
    },
    /// The worker is gone: its directives are deleted.
    Forget {
        worker: WorkerId,
    },
    /// The effects of these events are durable.
    Acknowledge(Cursors),
}

/// The coordinator's side. One coordinator reads the events at a time: the leader.
#[async_trait]
pub trait CoordinatorQueue: Send + Sync {
    /// The next events after those this connection already returned, or an empty batch after `wait`.
    ///
    /// # Errors
    /// `Unreachable`, `Refused`.
    async fn next_events(&self, wait: Duration) -> Result<EventBatch, QueueError>;

    /// Carries the writes out in order. After an error any of them may have happened; repeat all.
    ///
    /// # Errors
    /// `Unreachable`, `Refused`; `Codec` for a message over its limit, which repeating does not help.
    async fn write(&self, writes: &[QueueWrite]) -> Result<(), QueueError>;
}

/// The side of one worker process.
#[async_trait]
pub trait WorkerQueue: Send + Sync {
    /// Who it reads and writes for.
    fn id(&self) -> &WorkerId;

    /// The next directive for this process, or nothing after `wait`.
    ///
    /// # Errors
    /// `Unreachable`, `Refused`.
    async fn next_control(&self, wait: Duration) -> Result<Option<Control>, QueueError>;

    /// Reads the directives from the start of the stream again: it may have been replaced by one with smaller ids.
    fn rewind(&self);

    /// The encoded input of a job.
    ///
    /// # Errors
    /// `NoInput`, `Unreachable`, `Refused`.
    async fn input(&self, job: JobId) -> Result<Vec<u8>, QueueError>;

    /// Writes an event. It may be lost later, like everything in the queue: what must arrive is repeated until it is
    /// answered.
    ///
    /// # Errors
    /// `Unreachable`, `Refused`, `Codec` for an event over its limit.
    async fn emit(&self, event: &WorkerEvent) -> Result<(), QueueError>;

    /// A second connection for heartbeats, for a thread that has nothing to do with the async runtime.
    ///
    /// # Errors
    /// `Unreachable`.
    fn liveness(&self) -> Result<Box<dyn Liveness>, QueueError>;
}

/// Writes heartbeats from a plain thread: a starved runtime must not make a live worker look dead.
pub trait Liveness: Send {
    /// # Errors
    /// `Unreachable`, `Refused`.
    fn beat(&mut self, heartbeat: &WorkerEvent) -> Result<(), QueueError>;
}
