//! The queue inside one process, for the demo and for tests.
//!
//! Messages are kept encoded, so that a demo exercises the same encoding as a farm. One mutex, never held across an
//! await; three signals wake the three kinds of waiters.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use circuits::shape::Shape;
use tokio::{sync::Notify, time::Instant};

use super::{CoordinatorQueue, Depth, EventBatch, EventCursor, Liveness, Priority, QueueError, WorkerQueue};
use crate::{
    codec::{CodecError, MAX_INPUT, Message},
    event::{Control, WorkerEvent},
    job::{Attempt, JobEntry, JobId, WorkerId},
};

/// What the queue holds at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entries nobody claimed.
    pub entries: usize,
    /// Events nobody acknowledged.
    pub events: usize,
    /// Unread controls of one worker.
    pub controls: usize,
    /// Workers with unread controls.
    pub workers: usize,
    /// Events in one batch.
    pub batch: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 256, events: 4096, controls: 64, workers: 256, batch: 256 }
    }
}

#[derive(Default)]
struct State {
    urgent: VecDeque<JobEntry>,
    normal: VecDeque<JobEntry>,
    inputs: HashMap<JobId, Arc<[u8]>>,
    claimed: HashMap<Shape, HashSet<(JobId, Attempt)>>,
    events: VecDeque<(u64, Vec<u8>)>,
    last_event: u64,
    controls: HashMap<WorkerId, VecDeque<Control>>,
}

struct Shared {
    limits: Limits,
    state: Mutex<State>,
    entry_came: Notify,
    event_came: Notify,
    event_left: Notify,
    control_came: Notify,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock leaves the state half changed when it panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes an event if there is room.
    fn try_emit(&self, event: &WorkerEvent) -> Result<(), QueueError> {
        let bytes = event.encode()?;
        {
            let mut state = self.state();
            if state.events.len() >= self.limits.events {
                return Err(QueueError::Full { what: "events", limit: self.limits.events });
            }
            state.last_event += 1;
            let id = state.last_event;
            state.events.push_back((id, bytes));
            if let Some(attempt) = event.ends() {
                state.retire(|other| *other == attempt);
            }
        }
        self.event_came.notify_waiters();
        Ok(())
    }
}

impl State {
    fn retire(&mut self, over: impl Fn(&(JobId, Attempt)) -> bool) {
        for claimed in self.claimed.values_mut() {
            claimed.retain(|attempt| !over(attempt));
        }
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
            entry_came: Notify::new(),
            event_came: Notify::new(),
            event_left: Notify::new(),
            control_came: Notify::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Connects the coordinator; its first batch starts with the oldest event not acknowledged.
    pub fn coordinator(&self) -> MemoryCoordinator {
        MemoryCoordinator { shared: Arc::clone(&self.shared), returned: Mutex::new(0) }
    }

    pub fn worker(&self, id: WorkerId) -> MemoryWorker {
        MemoryWorker { shared: Arc::clone(&self.shared), id }
    }
}

pub struct MemoryCoordinator {
    shared: Arc<Shared>,
    /// The last event that this connection returned.
    returned: Mutex<u64>,
}

#[async_trait]
impl CoordinatorQueue for MemoryCoordinator {
    async fn publish(&self, entry: &JobEntry, input: &[u8], priority: Priority) -> Result<(), QueueError> {
        entry.encode()?;
        if input.len() > MAX_INPUT {
            return Err(CodecError::TooLong { length: input.len(), limit: MAX_INPUT }.into());
        }
        {
            let mut state = self.shared.state();
            let limit = self.shared.limits.entries;
            if state.urgent.len() + state.normal.len() >= limit {
                return Err(QueueError::Full { what: "entries", limit });
            }
            state.inputs.insert(entry.job, input.into());
            match priority {
                Priority::Urgent => state.urgent.push_back(entry.clone()),
                Priority::Normal => state.normal.push_back(entry.clone()),
            }
        }
        self.shared.entry_came.notify_waiters();
        Ok(())
    }

    async fn next_events(&self, wait: Duration) -> Result<EventBatch, QueueError> {
        let batch = wait_for(&self.shared.event_came, wait, || {
            let state = self.shared.state();
            let mut returned = self.returned.lock().unwrap_or_else(PoisonError::into_inner);
            let mut batch = EventBatch::default();
            let fresh = state.events.iter().filter(|(id, _)| *id > *returned).take(self.shared.limits.batch);
            for (id, bytes) in fresh {
                match WorkerEvent::decode(bytes) {
                    Ok(event) => batch.events.push(event),
                    Err(_) => batch.malformed += 1,
                }
                batch.up_to = Some(EventCursor(*id, 0));
            }
            *returned = batch.up_to?.0;
            Some(batch)
        });
        Ok(batch.await.unwrap_or_default())
    }

    async fn acknowledge(&self, up_to: EventCursor) -> Result<(), QueueError> {
        self.shared.state().events.retain(|(id, _)| *id > up_to.0);
        self.shared.event_left.notify_waiters();
        Ok(())
    }

    async fn control(&self, worker: &WorkerId, control: Control) -> Result<(), QueueError> {
        {
            let mut state = self.shared.state();
            let limits = &self.shared.limits;
            if !state.controls.contains_key(worker) && state.controls.len() >= limits.workers {
                return Err(QueueError::Full { what: "mailboxes", limit: limits.workers });
            }
            let mailbox = state.controls.entry(worker.clone()).or_default();
            if mailbox.len() >= limits.controls {
                return Err(QueueError::Full { what: "controls", limit: limits.controls });
            }
            mailbox.push_back(control);
        }
        self.shared.control_came.notify_waiters();
        Ok(())
    }

    async fn depth(&self, shape: Shape) -> Result<Depth, QueueError> {
        let state = self.shared.state();
        let waiting = state.urgent.iter().chain(&state.normal).filter(|entry| entry.shape == shape).count();
        let claimed = state.claimed.get(&shape).map_or(0, HashSet::len);
        Ok(Depth { waiting: waiting as u64, claimed: claimed as u64 })
    }

    async fn retire(&self, job: JobId, attempt: Attempt) -> Result<(), QueueError> {
        self.shared.state().retire(|other| *other == (job, attempt));
        Ok(())
    }

    async fn remove(&self, job: JobId) -> Result<(), QueueError> {
        let mut state = self.shared.state();
        state.inputs.remove(&job);
        state.retire(|other| other.0 == job);
        Ok(())
    }
}

pub struct MemoryWorker {
    shared: Arc<Shared>,
    id: WorkerId,
}

#[async_trait]
impl WorkerQueue for MemoryWorker {
    async fn claim(&self, shapes: &[Shape], wait: Duration) -> Result<Option<JobEntry>, QueueError> {
        let mine = |entry: &JobEntry| shapes.contains(&entry.shape) && !entry.excluded.contains(&self.id);
        let claimed = wait_for(&self.shared.entry_came, wait, || {
            let mut state = self.shared.state();
            let State { urgent, normal, claimed, .. } = &mut *state;
            let entry = [urgent, normal]
                .into_iter()
                .find_map(|line| line.iter().position(mine).and_then(|place| line.remove(place)))?;
            claimed.entry(entry.shape).or_default().insert((entry.job, entry.attempt));
            Some(entry)
        });
        Ok(claimed.await)
    }

    async fn input(&self, job: JobId) -> Result<Vec<u8>, QueueError> {
        let input = self.shared.state().inputs.get(&job).cloned();
        input.map(|bytes| bytes.to_vec()).ok_or(QueueError::NoInput(job))
    }

    async fn emit(&self, event: &WorkerEvent) -> Result<(), QueueError> {
        loop {
            let room = self.shared.event_left.notified();
            match self.shared.try_emit(event) {
                Err(QueueError::Full { .. }) => room.await,
                outcome => return outcome,
            }
        }
    }

    async fn next_control(&self, wait: Duration) -> Result<Option<Control>, QueueError> {
        let control = wait_for(&self.shared.control_came, wait, || {
            let mut state = self.shared.state();
            let mailbox = state.controls.get_mut(&self.id)?;
            let control = mailbox.pop_front();
            if mailbox.is_empty() {
                state.controls.remove(&self.id);
            }
            control
        });
        Ok(control.await)
    }

    fn liveness(&self) -> Result<Box<dyn Liveness>, QueueError> {
        Ok(Box::new(MemoryLiveness { shared: Arc::clone(&self.shared) }))
    }
}

struct MemoryLiveness {
    shared: Arc<Shared>,
}

impl Liveness for MemoryLiveness {
    fn beat(&mut self, heartbeat: &WorkerEvent) -> Result<(), QueueError> {
        self.shared.try_emit(heartbeat)
    }
}
