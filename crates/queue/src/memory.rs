//! The queue inside one process, for the demo and for tests.
//!
//! Messages are kept encoded, so that a demo exercises the same encoding as a farm. One mutex, never held across an
//! await; two signals wake the two kinds of waiters.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};
use tokio::{sync::Notify, time::Instant};
use wire::{Control, Directive, JobId, PoolName, ProcessId, Report, WorkerEvent, WorkerId, codec::Message};

use super::{
    CoordinatorQueue, Cursors, EventBatch, EventCursor, Liveness, PoolEvent, QueueError, QueueWrite,
    Replaced, Trouble, WorkerQueue,
};

/// What the queue holds at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Events of one pool that were not acknowledged; one more, and they are replaced by none.
    pub events: usize,
    /// Directives of one worker; the oldest give way.
    pub directives: usize,
    /// Events in one batch.
    pub batch: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { events: 4096, directives: 64, batch: 256 }
    }
}

#[derive(Default)]
struct State {
    pools: BTreeSet<PoolName>,
    /// What is written to these is dropped.
    closed: BTreeSet<PoolName>,
    events: BTreeMap<PoolName, VecDeque<(u64, Vec<u8>)>>,
    directives: BTreeMap<WorkerId, VecDeque<(u64, Vec<u8>)>>,
    inputs: BTreeMap<(PoolName, JobId), Arc<[u8]>>,
    last_id: u64,
}

impl State {
    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

struct Shared {
    limits: Limits,
    state: Mutex<State>,
    event_came: Notify,
    directive_came: Notify,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock leaves the state half changed when it panics.
        self.state.lock()
    }

    fn emit(&self, pool: &PoolName, report: &Report) -> Result<(), QueueError> {
        let bytes = report.encode()?;
        let mut state = self.state();
        if state.closed.contains(pool) {
            return Ok(());
        }
        let id = state.next_id();
        state.events.entry(pool.clone()).or_default().push_back((id, bytes));
        drop(state);
        self.event_came.notify_waiters();
        Ok(())
    }

    fn apply(&self, write: &QueueWrite) -> Result<(), QueueError> {
        let mut state = self.state();
        match write {
            QueueWrite::Pools { open, closed } => {
                state.closed = closed.clone();
                state.events.retain(|pool, _| open.contains(pool));
                state.inputs.retain(|(pool, _), _| open.contains(pool));
                state.directives.retain(|worker, _| open.contains(&worker.pool));
                state.pools = open.clone();
            }
            QueueWrite::Input { pool, job, input } => {
                state.inputs.insert((pool.clone(), *job), Arc::clone(input));
            }
            QueueWrite::Directive { worker, directive } => {
                let bytes = directive.encode()?;
                let id = state.next_id();
                let stream = state.directives.entry(worker.clone()).or_default();
                stream.push_back((id, bytes));
                while stream.len() > self.limits.directives {
                    stream.pop_front();
                }
            }
            QueueWrite::RemoveInput { pool, job } => {
                state.inputs.remove(&(pool.clone(), *job));
            }
            QueueWrite::Forget { worker } => {
                state.directives.remove(worker);
            }
            QueueWrite::Acknowledge(cursors) => {
                for (pool, cursor) in &cursors.0 {
                    if let Some(events) = state.events.get_mut(pool) {
                        events.retain(|(id, _)| *id > cursor.0);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Runs `attempt` until it yields something, each time after `signal`, for at most `wait`.
async fn wait_for<T>(signal: &Notify, wait: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + wait;
    loop {
        // Made before looking, so that a signal between the look and the wait is not missed.
        let signalled = signal.notified();
        if let Some(found) = attempt() {
            return Some(found);
        }
        if tokio::time::timeout_at(deadline, signalled).await.is_err() {
            return attempt();
        }
    }
}

/// The queue itself; both sides connect to it.
#[derive(Clone)]
pub struct MemoryQueue {
    shared: Arc<Shared>,
}

impl Default for MemoryQueue {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl MemoryQueue {
    pub fn new(limits: Limits) -> Self {
        let shared = Shared {
            limits,
            state: Mutex::default(),
            event_came: Notify::new(),
            directive_came: Notify::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Connects the coordinator; its first batch starts with the oldest event not acknowledged.
    pub fn coordinator(&self) -> MemoryCoordinator {
        MemoryCoordinator { shared: Arc::clone(&self.shared), returned: Mutex::default() }
    }

    pub fn worker(&self, id: WorkerId, process: ProcessId) -> MemoryWorker {
        MemoryWorker { shared: Arc::clone(&self.shared), id, process, read: Mutex::new(0) }
    }
}

pub struct MemoryCoordinator {
    shared: Arc<Shared>,
    /// The last event of each pool that this connection returned.
    returned: Mutex<BTreeMap<PoolName, u64>>,
}

impl MemoryCoordinator {
    fn read(&self) -> Option<EventBatch> {
        let limits = self.shared.limits;
        let mut state = self.shared.state();
        let mut returned = self.returned.lock();
        let mut batch = EventBatch::default();
        let mut cursors = Cursors::default();
        let State { pools, events, .. } = &mut *state;
        for pool in pools.iter() {
            let Some(stream) = events.get_mut(pool) else { continue };
            if stream.len() > limits.events {
                stream.clear();
                batch.troubles.push((pool.clone(), Trouble::Replaced(Replaced::Oversized)));
                continue;
            }
            let returned = returned.entry(pool.clone()).or_default();
            let mut malformed = None;
            for (id, bytes) in stream.iter().filter(|(id, _)| *id > *returned).take(limits.batch) {
                match Report::decode(bytes) {
                    Ok(Report { instance, process, mut event }) => {
                        event.clip();
                        let worker = WorkerId::new(pool.clone(), instance);
                        batch.events.push(PoolEvent { worker, process, event });
                    }
                    Err(error) => {
                        let known = malformed.get_or_insert((0, error.to_string()));
                        known.0 += 1;
                    }
                }
                cursors.0.insert(pool.clone(), EventCursor(*id, 0));
            }
            if let Some(cursor) = cursors.0.get(pool) {
                *returned = cursor.0;
            }
            batch.troubles.extend(
                malformed.map(|(count, reason)| (pool.clone(), Trouble::Malformed { count, reason })),
            );
        }
        batch.up_to = (!cursors.0.is_empty()).then_some(cursors);
        (!batch.is_empty()).then_some(batch)
    }
}

#[async_trait]
impl CoordinatorQueue for MemoryCoordinator {
    async fn next_events(&self, wait: Duration) -> Result<EventBatch, QueueError> {
        Ok(wait_for(&self.shared.event_came, wait, || self.read()).await.unwrap_or_default())
    }

    async fn write(&self, writes: &[QueueWrite]) -> Result<(), QueueError> {
        for write in writes {
            self.shared.apply(write)?;
        }
        self.shared.directive_came.notify_waiters();
        self.shared.event_came.notify_waiters();
        Ok(())
    }
}

pub struct MemoryWorker {
    shared: Arc<Shared>,
    id: WorkerId,
    process: ProcessId,
    /// The last directive that was read.
    read: Mutex<u64>,
}

impl MemoryWorker {
    fn report(&self, event: &WorkerEvent) -> Report {
        Report { instance: self.id.instance.clone(), process: self.process, event: event.clone() }
    }

    fn next(&self) -> Option<Control> {
        let state = self.shared.state();
        let mut read = self.read.lock();
        let stream = state.directives.get(&self.id)?;
        for (id, bytes) in stream.iter().filter(|(id, _)| *id > *read).collect::<Vec<_>>() {
            *read = *id;
            if let Ok(Directive { process, control }) = Directive::decode(bytes)
                && process == self.process
            {
                return Some(control);
            }
        }
        None
    }
}

#[async_trait]
impl WorkerQueue for MemoryWorker {
    fn id(&self) -> &WorkerId {
        &self.id
    }

    async fn next_control(&self, wait: Duration) -> Result<Option<Control>, QueueError> {
        Ok(wait_for(&self.shared.directive_came, wait, || self.next()).await)
    }

    fn rewind(&self) {
        *self.read.lock() = 0;
    }

    async fn input(&self, job: JobId) -> Result<Vec<u8>, QueueError> {
        let input = self.shared.state().inputs.get(&(self.id.pool.clone(), job)).cloned();
        input.map(|bytes| bytes.to_vec()).ok_or(QueueError::NoInput(job))
    }

    async fn emit(&self, event: &WorkerEvent) -> Result<(), QueueError> {
        self.shared.emit(&self.id.pool, &self.report(event))
    }

    fn liveness(&self) -> Result<Box<dyn Liveness>, QueueError> {
        let worker = MemoryWorker {
            shared: Arc::clone(&self.shared),
            id: self.id.clone(),
            process: self.process,
            read: Mutex::new(0),
        };
        Ok(Box::new(worker))
    }
}

impl Liveness for MemoryWorker {
    fn beat(&mut self, heartbeat: &WorkerEvent) -> Result<(), QueueError> {
        self.shared.emit(&self.id.pool, &self.report(heartbeat))
    }
}
