//! The queue: events, directives and inputs that get lost, doubled and reordered, or wiped, all at once or one key alone.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use queue::{CoordinatorQueue, Cursors, EventBatch, EventCursor, PoolEvent, QueueError, QueueWrite};
use wire::{Control, Directive, JobId, PoolName, ProcessId, WorkerEvent, WorkerId};

use super::{
    Bug,
    world::{Shared, World, turn},
};

/// Events of a pool handed over at once.
const BATCH: u64 = 8;
/// Unread directives of one worker; the oldest give way.
const DIRECTIVES: usize = 16;

#[derive(Default)]
pub struct Streams {
    open: BTreeSet<PoolName>,
    inputs: BTreeMap<(PoolName, JobId), Arc<[u8]>>,
    events: BTreeMap<PoolName, VecDeque<(u64, PoolEvent)>>,
    last_event: u64,
    directives: BTreeMap<WorkerId, VecDeque<Directive>>,
    /// Whether the next poll tells of a wipe.
    wiped: bool,
}

impl Streams {
    /// `told`: whether the coordinator hears of it.
    pub fn wipe(&mut self, told: bool) {
        let (last_event, open) = (self.last_event, std::mem::take(&mut self.open));
        *self = Self { last_event, open, wiped: told, ..Self::default() };
    }

    pub fn input(&self, pool: &PoolName, job: JobId) -> Option<Arc<[u8]>> {
        self.inputs.get(&(pool.clone(), job)).cloned()
    }

    /// The next directive for this process of the worker.
    pub fn next_control(&mut self, worker: &WorkerId, process: ProcessId) -> Option<Control> {
        let stream = self.directives.get_mut(worker)?;
        while let Some(directive) = stream.pop_front() {
            if directive.process == process {
                return Some(directive.control);
            }
        }
        None
    }
}

impl World {
    /// A worker writes an event.
    pub fn emit(&mut self, worker: &WorkerId, process: ProcessId, event: WorkerEvent) {
        if self.fault(30) {
            self.say(|| format!("lost of {worker}: {}", brief(&event)));
            return;
        }
        let times = if self.fault(20) { 2 } else { 1 };
        self.say(|| format!("{times} × {worker}: {}", brief(&event)));
        let stream = self.streams.events.entry(worker.pool.clone()).or_default();
        for _ in 0..times {
            self.streams.last_event += 1;
            let event = PoolEvent { worker: worker.clone(), process, event: event.clone() };
            stream.push_back((self.streams.last_event, event));
        }
        let waiting = stream.len();
        if waiting >= 2 && !self.quiet && self.dice.one_in(20) {
            let other = self.dice.index(waiting);
            let (a, b) = (stream[waiting - 1].1.clone(), stream[other].1.clone());
            stream[waiting - 1].1 = b;
            stream[other].1 = a;
        }
    }

    /// One key of the queue is deleted.
    pub fn delete_a_key(&mut self) {
        let streams = &mut self.streams;
        match self.dice.below(3) {
            0 => {
                let pool = self.dice.index(streams.events.len().max(1));
                if let Some(stream) = streams.events.values_mut().nth(pool) {
                    stream.clear();
                }
            }
            1 => {
                let worker = self.dice.index(streams.directives.len().max(1));
                if let Some(stream) = streams.directives.values_mut().nth(worker) {
                    stream.clear();
                }
            }
            _ => {
                let input = self.dice.index(streams.inputs.len().max(1));
                if let Some(key) = streams.inputs.keys().nth(input).cloned() {
                    streams.inputs.remove(&key);
                }
            }
        }
    }

    fn post(&mut self, worker: &WorkerId, directive: Directive) {
        let stream = self.streams.directives.entry(worker.clone()).or_default();
        stream.push_back(directive);
        if stream.len() > DIRECTIVES {
            stream.pop_front();
        }
    }

    fn carry_out(&mut self, write: &QueueWrite) {
        match write {
            QueueWrite::Pools { open, .. } => {
                self.streams.events.retain(|pool, _| open.contains(pool));
                self.streams.open = open.clone();
            }
            QueueWrite::Input { pool, job, input } => {
                let known = self.model.publication(*job, input);
                self.check(known);
                self.streams.inputs.insert((pool.clone(), *job), Arc::clone(input));
            }
            QueueWrite::Directive { worker, directive } => {
                self.say(|| format!("{:?} to {worker}", directive.control));
                if let Control::Job(entry) = &directive.control {
                    let granted = self.model.granted(entry, worker);
                    self.check(granted);
                    if self.bug == Some(Bug::GrantedTwice)
                        && let Some(other) =
                            self.streams.directives.keys().find(|other| *other != worker).cloned()
                    {
                        let granted = self.model.granted(entry, &other);
                        self.check(granted);
                        self.post(&other, directive.clone());
                    }
                }
                if self.fault(30) {
                    self.say(|| "the directive is lost".to_owned());
                    return;
                }
                self.post(worker, directive.clone());
            }
            QueueWrite::RemoveInput { pool, job } => {
                self.streams.inputs.remove(&(pool.clone(), *job));
            }
            QueueWrite::Forget { worker } => {
                self.streams.directives.remove(worker);
            }
            QueueWrite::Acknowledge(cursors) => {
                for (pool, cursor) in &cursors.0 {
                    if let Some(stream) = self.streams.events.get_mut(pool) {
                        stream.retain(|(id, _)| *id > cursor.0);
                    }
                }
            }
        }
    }
}

/// A coordinator's connection.
pub struct SimQueue {
    world: Shared,
    /// The last event of each pool that was handed over.
    seen: Mutex<BTreeMap<PoolName, u64>>,
}

fn unreachable() -> QueueError {
    QueueError::Unreachable("it does not answer".to_owned())
}

impl SimQueue {
    pub fn new(world: Shared) -> Self {
        Self { world, seen: Mutex::default() }
    }
}

#[async_trait]
impl CoordinatorQueue for SimQueue {
    /// Fails before, after, or in the middle of the writes, or not at all.
    async fn write(&self, writes: &[QueueWrite]) -> Result<(), QueueError> {
        self.world.pause().await;
        let mut world = self.world.lock();
        for write in writes {
            if world.fault(60) {
                return Err(unreachable());
            }
            world.carry_out(write);
        }
        if world.fault(60) { Err(unreachable()) } else { Ok(()) }
    }

    async fn next_events(&self, _wait: Duration) -> Result<EventBatch, QueueError> {
        let empty = self.world.lock().streams.events.values().all(VecDeque::is_empty);
        if empty {
            turn().await;
        }
        self.world.pause().await;
        let mut guard = self.world.lock();
        let world = &mut *guard;
        if world.fault(60) {
            return Err(unreachable());
        }
        let mut seen = self.seen.lock();
        if world.fault(25) {
            // The connection is a new one: what was not acknowledged comes again.
            seen.clear();
        }
        let most = world.dice.within(1, BATCH) as usize;
        let wiped = std::mem::take(&mut world.streams.wiped);
        let mut batch = EventBatch { wiped, ..EventBatch::default() };
        let mut cursors = Cursors::default();
        for (pool, stream) in &world.streams.events {
            if !world.streams.open.contains(pool) {
                continue;
            }
            let seen = seen.entry(pool.clone()).or_default();
            let fresh: Vec<_> = stream.iter().filter(|(id, _)| *id > *seen).take(most).collect();
            for (id, event) in fresh {
                *seen = *id;
                batch.events.push(event.clone());
                cursors.0.insert(pool.clone(), EventCursor(*id, 0));
            }
        }
        batch.up_to = (!cursors.0.is_empty()).then_some(cursors);
        Ok(batch)
    }
}

/// An event in few words.
fn brief(event: &WorkerEvent) -> String {
    match event {
        WorkerEvent::Proved { job, attempt, .. } => format!("proved {job} attempt {attempt}"),
        WorkerEvent::Register { .. } => "registers".to_owned(),
        other => format!("{other:?}"),
    }
}
