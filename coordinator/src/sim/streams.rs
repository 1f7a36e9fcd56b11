//! The queue: entries, inputs, events and controls that get lost, doubled and reordered, or wiped all at once.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use circuits::shape::Shape;
use wire::{
    Attempt, Control, JobEntry, JobId, WorkerEvent, WorkerId,
    queue::{CoordinatorQueue, Depth, EventBatch, EventCursor, Priority, QueueError},
};

use super::{
    Bug,
    world::{Shared, World, turn},
};

/// Events handed over at once.
const BATCH: u64 = 8;
/// Unread controls of one worker.
const CONTROLS: usize = 16;

#[derive(Default)]
pub struct Streams {
    urgent: VecDeque<JobEntry>,
    normal: VecDeque<JobEntry>,
    inputs: BTreeMap<JobId, Arc<[u8]>>,
    events: VecDeque<(u64, WorkerEvent)>,
    last_event: u64,
    controls: BTreeMap<WorkerId, VecDeque<Control>>,
    /// Counts how often everything was lost.
    wipes: u64,
}

impl Streams {
    pub fn wipe(&mut self) {
        let (wipes, last_event) = (self.wipes + 1, self.last_event);
        *self = Self { wipes, last_event, ..Self::default() };
    }

    pub fn claim(&mut self, worker: &WorkerId) -> Option<JobEntry> {
        for lane in [&mut self.urgent, &mut self.normal] {
            if let Some(at) = lane.iter().position(|entry| !entry.excluded.contains(worker)) {
                return lane.remove(at);
            }
        }
        None
    }

    pub fn input(&self, job: JobId) -> Option<Arc<[u8]>> {
        self.inputs.get(&job).cloned()
    }

    pub fn next_control(&mut self, worker: &WorkerId) -> Option<Control> {
        self.controls.get_mut(worker)?.pop_front()
    }
}

impl World {
    /// A worker writes an event.
    pub fn emit(&mut self, event: WorkerEvent) {
        if self.fault(30) {
            self.say(|| format!("lost: {}", brief(&event)));
            return;
        }
        let times = if self.fault(20) { 2 } else { 1 };
        for _ in 0..times {
            self.streams.last_event += 1;
            let id = self.streams.last_event;
            self.streams.events.push_back((id, event.clone()));
        }
        let waiting = self.streams.events.len();
        if waiting >= 2 && self.fault(20) {
            let other = self.dice.index(waiting);
            let (a, b) = (self.streams.events[waiting - 1].1.clone(), self.streams.events[other].1.clone());
            self.streams.events[waiting - 1].1 = b;
            self.streams.events[other].1 = a;
        }
        self.say(|| format!("{times} × {}", brief(&event)));
    }

    fn post(&mut self, worker: &WorkerId, control: Control) -> Result<(), QueueError> {
        let letters = self.streams.controls.entry(worker.clone()).or_default();
        if letters.len() >= CONTROLS {
            return Err(QueueError::Full { what: "controls", limit: CONTROLS });
        }
        letters.push_back(control);
        Ok(())
    }
}

/// A coordinator's connection.
pub struct SimQueue {
    world: Shared,
    /// The last event handed over, and the wipes known of.
    seen: Mutex<(u64, u64)>,
}

impl SimQueue {
    pub fn new(world: Shared) -> Self {
        let wipes = world.lock().streams.wipes;
        Self { world, seen: Mutex::new((0, wipes)) }
    }

    /// The call fails before or after it took effect, or not at all.
    async fn call<T>(
        &self,
        effect: impl FnOnce(&mut World) -> Result<T, QueueError>,
    ) -> Result<T, QueueError> {
        self.world.pause().await;
        let mut world = self.world.lock();
        let unreachable = || QueueError::Unreachable("it does not answer".to_owned());
        if world.fault(60) {
            return Err(unreachable());
        }
        let done = effect(&mut world)?;
        if world.fault(60) { Err(unreachable()) } else { Ok(done) }
    }
}

#[async_trait]
impl CoordinatorQueue for SimQueue {
    async fn publish(&self, entry: &JobEntry, input: &[u8], priority: Priority) -> Result<(), QueueError> {
        self.call(|world| {
            world.say(|| format!("publish {} attempt {}", entry.job, entry.attempt));
            let known = world.model.publication(entry, input);
            world.check(known);
            world.streams.inputs.insert(entry.job, Arc::from(input));
            if world.fault(40) {
                world.say(|| "the entry is lost".to_owned());
                return Ok(());
            }
            let times = if world.fault(30) { 2 } else { 1 };
            let lane = match priority {
                Priority::Urgent => &mut world.streams.urgent,
                Priority::Normal => &mut world.streams.normal,
            };
            lane.extend((0..times).map(|_| entry.clone()));
            Ok(())
        })
        .await
    }

    async fn next_events(&self, _wait: Duration) -> Result<EventBatch, QueueError> {
        let empty = self.world.lock().streams.events.is_empty();
        if empty {
            turn().await;
        }
        self.world.pause().await;
        let mut guard = self.world.lock();
        let world = &mut *guard;
        if world.fault(60) {
            return Err(QueueError::Unreachable("it does not answer".to_owned()));
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = seen.1 != world.streams.wipes;
        seen.1 = world.streams.wipes;
        if world.fault(25) {
            // The connection is a new one: what was not acknowledged comes again.
            seen.0 = 0;
        }
        let most = world.dice.within(1, BATCH) as usize;
        let fresh = world.streams.events.iter().filter(|(id, _)| *id > seen.0).take(most);
        let fresh: Vec<(u64, WorkerEvent)> = fresh.cloned().collect();
        let up_to = fresh.last().map(|(id, _)| EventCursor(*id, 0));
        if let Some(up_to) = up_to {
            seen.0 = up_to.0;
        }
        let events = fresh.into_iter().map(|(_, event)| event).collect();
        Ok(EventBatch { events, malformed: 0, up_to, lost })
    }

    async fn acknowledge(&self, up_to: EventCursor) -> Result<(), QueueError> {
        self.call(|world| {
            world.streams.events.retain(|(id, _)| *id > up_to.0);
            Ok(())
        })
        .await
    }

    async fn control(&self, worker: &WorkerId, control: Control) -> Result<(), QueueError> {
        self.call(|world| {
            world.say(|| format!("{control:?} to {worker}"));
            if let Control::Grant { job, attempt } = control {
                let granted = world.model.grant(job, attempt, worker);
                world.check(granted);
                if world.bug == Some(Bug::GrantedTwice)
                    && let Some(other) = world.streams.controls.keys().find(|other| *other != worker).cloned()
                {
                    let granted = world.model.grant(job, attempt, &other);
                    world.check(granted);
                    world.post(&other, control)?;
                }
            }
            if world.fault(30) {
                world.say(|| "the control is lost".to_owned());
                return Ok(());
            }
            world.post(worker, control)
        })
        .await
    }

    async fn depth(&self, _shape: Shape) -> Result<Depth, QueueError> {
        self.call(|world| {
            let waiting = world.streams.urgent.len() + world.streams.normal.len();
            Ok(Depth { waiting: waiting as u64, claimed: 0 })
        })
        .await
    }

    async fn retire(&self, _job: JobId, _attempt: Attempt) -> Result<(), QueueError> {
        self.call(|_| Ok(())).await
    }

    async fn remove(&self, job: JobId) -> Result<(), QueueError> {
        self.call(|world| {
            world.streams.inputs.remove(&job);
            Ok(())
        })
        .await
    }
}

/// An event in few words.
fn brief(event: &WorkerEvent) -> String {
    match event {
        WorkerEvent::Proved { worker, job, attempt, .. } => {
            format!("{worker} proved {job} attempt {attempt}")
        }
        WorkerEvent::Register { worker, .. } => format!("{worker} registers"),
        other => format!("{other:?}"),
    }
}
