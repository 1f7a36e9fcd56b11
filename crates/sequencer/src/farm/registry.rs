//! The workers that are alive: what they can do, how they and their cards are, and which of them is free for which circuit.
//! In memory only: after a restart workers register again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use circuits::shape::Shape;
use wire::{
    CardReading, EnergyAverage, InFlight, ProcessId, Registration,
    job::{PoolName, WorkerId},
};

use super::{
    Farm,
    capacity::{Crew, Force},
};

/// Workers of one pool at most. A stranger can register as many names as it likes.
pub const MAX_WORKERS_PER_POOL: usize = 4096;
/// Workers that left and are still shown.
const MAX_DEPARTED: usize = 16;
/// After an attempt that ended without a proof a worker pauses for this, twice as long after each further one.
const FIRST_COOL_DOWN_MS: u64 = 250;
const LONGEST_COOL_DOWN_MS: u64 = 30_000;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Worker {
    pub registration: Option<Registration>,
    pub process: ProcessId,
    /// When it was last heard of, Unix milliseconds.
    pub seen: u64,
    /// What it works on, as of its last heartbeat.
    pub in_flight: Vec<InFlight>,
    pub card: Option<Box<CardReading>>,
    pub energy: EnergyAverage,
    /// Circuits that it gets no jobs of, since its keys are not the contract's, and why.
    pub refused: BTreeMap<Shape, String>,
    /// It was told to drain.
    pub is_draining: bool,
    /// It works on a job that is tried alone.
    pub(super) is_alone: bool,
    /// Attempts in a row that ended without a proof, and until when it pauses for that.
    unproductive: u32,
    pub(super) pauses_until: u64,
    /// When its last proof came.
    pub(super) delivered: u64,
    /// Where it is among the free ones.
    free_at: Option<FreeAt>,
    /// What it is counted for among those that prove.
    counted: Option<Force>,
}

/// Attempts it holds, and a number that grows with each change: the one that waits longest comes first.
type FreeAt = (u8, u64);

/// A worker that is no longer there, as it was last.
#[derive(Clone, Debug, PartialEq)]
pub struct Departed {
    pub id: WorkerId,
    pub worker: Worker,
    pub message: String,
}

impl Worker {
    /// The circuits it gets jobs of.
    pub fn circuits(&self) -> impl Iterator<Item = Shape> {
        let circuits = self.registration.iter().flat_map(|known| &known.circuits);
        circuits.map(|circuit| circuit.shape).filter(|shape| !self.refused.contains_key(shape))
    }

    pub(super) fn is_sick(&self) -> bool {
        self.card.as_ref().is_some_and(|card| card.sick.is_some())
    }

    /// Whether a proof of it was accepted.
    pub(super) fn has_proven(&self) -> bool {
        self.delivered > 0
    }

    fn slots(&self) -> u8 {
        self.registration.as_ref().map_or(0, |known| known.slots)
    }

    /// An attempt ended without a proof, badly or not. How long the worker gets no other.
    pub(super) fn pause(&mut self, now: u64) {
        let pause = FIRST_COOL_DOWN_MS << self.unproductive.min(7);
        self.unproductive = self.unproductive.saturating_add(1);
        self.pauses_until = now + pause.min(LONGEST_COOL_DOWN_MS);
    }

    pub(super) fn delivered(&mut self, now: u64) {
        self.unproductive = 0;
        self.pauses_until = 0;
        self.delivered = now;
    }
}

/// Free workers of one circuit, by pool.
pub(super) type FreeByPool = BTreeMap<PoolName, BTreeSet<(u8, u64, WorkerId)>>;

#[derive(Clone, Debug, Default)]
pub(super) struct Registry {
    workers: BTreeMap<WorkerId, Worker>,
    free: BTreeMap<Shape, FreeByPool>,
    /// Registered workers per circuit and pool, free or not.
    able: BTreeMap<Shape, BTreeMap<PoolName, usize>>,
    crew: Crew,
    turn: u64,
    /// Oldest first.
    departed: VecDeque<Departed>,
}

impl Registry {
    pub(super) fn get(&self, id: &WorkerId) -> Option<&Worker> {
        self.workers.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &WorkerId) -> Option<&mut Worker> {
        self.workers.get_mut(id)
    }

    pub(super) fn workers(&self) -> impl Iterator<Item = (&WorkerId, &Worker)> {
        self.workers.iter()
    }

    pub(super) fn of_pool(&self, pool: &PoolName) -> Vec<WorkerId> {
        self.workers.keys().filter(|id| id.pool == *pool).cloned().collect()
    }

    pub(super) fn departed(&self) -> impl Iterator<Item = &Departed> {
        self.departed.iter()
    }

    pub(super) fn free(&self, shape: Shape) -> Option<&FreeByPool> {
        self.free.get(&shape)
    }

    /// Registered workers of a circuit by pool.
    pub(super) fn able(&self, shape: Shape) -> impl Iterator<Item = (&PoolName, usize)> {
        self.able.get(&shape).into_iter().flatten().map(|(pool, count)| (pool, *count))
    }

    pub(super) fn count_able(&self, shape: Shape) -> usize {
        self.able(shape).map(|(_, count)| count).sum()
    }

    pub(super) fn clock_was_set(&mut self, now: u64) {
        for worker in self.workers.values_mut() {
            worker.seen = now;
            worker.delivered = if worker.has_proven() { now } else { 0 };
            worker.pauses_until = worker.pauses_until.min(now);
        }
    }

    /// Puts a worker in, or what it registered now in the place of what it registered before.
    pub(super) fn register(&mut self, id: &WorkerId, change: impl FnOnce(&mut Worker)) {
        self.count(id, false);
        let worker = self.workers.entry(id.clone()).or_default();
        change(worker);
        self.count(id, true);
        self.departed.retain(|departed| departed.id != *id);
    }

    fn count(&mut self, id: &WorkerId, is_in: bool) {
        let Some(worker) = self.workers.get(id) else { return };
        for shape in worker.circuits() {
            let count = self.able.entry(shape).or_default().entry(id.pool.clone()).or_default();
            *count = if is_in { *count + 1 } else { count.saturating_sub(1) };
        }
        if !is_in {
            for pools in self.able.values_mut() {
                pools.retain(|_, count| *count > 0);
            }
        }
    }

    /// A proof that was accepted of a worker cost so much; of one that is gone nobody asks.
    pub(super) fn spent(&mut self, id: &WorkerId, millijoules: u64, payments: u32) {
        if let Some(worker) = self.workers.get_mut(id) {
            worker.energy.add(millijoules, payments);
        }
    }

    /// Workers that prove, by pool and by what they can prove.
    pub(super) fn crew(&self) -> &Crew {
        &self.crew
    }

    /// Counts a worker for what it proves, if anything, and no longer for what it did.
    fn set_counted(&mut self, id: &WorkerId, force: Option<Force>) {
        let Some(worker) = self.workers.get_mut(id) else { return };
        let before = std::mem::replace(&mut worker.counted, force);
        if before == force {
            return;
        }
        let pool = self.crew.entry(id.pool.clone()).or_default();
        if let Some(count) = before.and_then(|before| pool.get_mut(&before)) {
            *count = count.saturating_sub(1);
        }
        if let Some(force) = force {
            *pool.entry(force).or_default() += 1;
        }
        pool.retain(|_, count| *count > 0);
        if pool.is_empty() {
            self.crew.remove(&id.pool);
        }
    }

    pub(super) fn remove(&mut self, id: &WorkerId, message: &str) -> Option<Worker> {
        self.set_free(id, None);
        self.set_counted(id, None);
        self.count(id, false);
        let worker = self.workers.remove(id)?;
        if self.departed.len() == MAX_DEPARTED {
            self.departed.pop_front();
        }
        let gone = Worker { in_flight: Vec::new(), ..worker.clone() };
        self.departed.push_back(Departed { id: id.clone(), worker: gone, message: message.to_owned() });
        Some(worker)
    }

    /// Puts the worker where it belongs among the free ones, if anywhere. Whether it is free for more than before.
    fn set_free(&mut self, id: &WorkerId, load: Option<u8>) -> bool {
        let Some(worker) = self.workers.get_mut(id) else { return false };
        let before = worker.free_at.take();
        let shapes: Vec<Shape> = worker.circuits().collect();
        if let Some((load, turn)) = before {
            for pools in self.free.values_mut() {
                if let Some(free) = pools.get_mut(&id.pool) {
                    free.remove(&(load, turn, id.clone()));
                    if free.is_empty() {
                        pools.remove(&id.pool);
                    }
                }
            }
        }
        let Some(load) = load else { return false };
        // One that only reports again keeps its turn.
        let turn = before.filter(|(old, _)| *old == load).map_or_else(
            || {
                self.turn += 1;
                self.turn
            },
            |(_, turn)| turn,
        );
        worker.free_at = Some((load, turn));
        for shape in shapes {
            let pool = self.free.entry(shape).or_default().entry(id.pool.clone()).or_default();
            pool.insert((load, turn, id.clone()));
        }
        before.is_none_or(|(old, _)| load < old)
    }
}

impl Farm {
    /// Looks anew at whether a worker is free, and which of its jobs wait behind its proof.
    pub(super) fn refresh(&mut self, id: &WorkerId) {
        let counted = self.counts_for(id);
        self.work.registry.set_counted(id, counted);
        let held = self.work.leases_of.get(id).cloned().unwrap_or_default();
        for (place, (batch_no, _)) in held.iter().enumerate() {
            let Some(job) = self.book.jobs().get(batch_no) else { continue };
            let behind = self.work.behind.entry(job.shape).or_default();
            if place > 0 && job.live.len() == 1 {
                behind.insert(*batch_no);
            } else {
                behind.remove(batch_no);
            }
        }
        let Some(worker) = self.work.registry.get_mut(id) else { return };
        if held.is_empty() {
            worker.is_alone = false;
        }
        let load = u8::try_from(held.len()).unwrap_or(u8::MAX);
        let is_free = load < worker.slots()
            && !worker.is_draining
            && !worker.is_alone
            && !worker.is_sick()
            && worker.pauses_until == 0;
        if self.work.registry.set_free(id, is_free.then_some(load)) {
            self.work.wants_dispatch = true;
        }
    }
}
