//! Which worker proves which batch, and what happens when it does not.
//!
//! The coordinator hands jobs out: it knows the workers that are alive, gives the oldest job to an idle one that can prove
//! it, and sends the attempt to that worker alone. An attempt holds a *lease*, which heartbeats that name the attempt renew,
//! and ends with a verified proof or goes to another worker. Workers are strangers: nothing they say decides anything but
//! how much work their own pool gets.
//!
//! - A proof that verifies is accepted from whichever attempt, however late.
//! - A failure blamed on the input counts only after the coordinator has replayed the input itself (`Replay`): if the replay
//!   fails too, the job is *poisoned* and waits for an operator.
//! - A job that ended badly on k different workers is tried *alone* on an idle one, of another pool where there is one.
//!   If that ends badly too, it is *parked* with an alarm and tried alone again after growing pauses.
//! - An entry that the worker's heartbeats do not name is sent again, the same attempt; a lease that nobody renews ends.
//! - An idle worker without a job takes over what waits behind another proof, or makes a second attempt of what takes much
//!   longer than usual: the first proof counts.
//! - Each pool has a window of attempts in flight: a proof widens it, an attempt that ends badly narrows it. A pool that
//!   delivers nothing ends at one attempt at a time.
//!
//! Invariants: what is recorded lies in the `book` and changes only through [`Farm::apply`], which a replay of the log repeats;
//! workers, windows and timers are in memory only. The work of one command is O(log n) in jobs and workers, whatever strangers write.
//!
//! | file | concept |
//! |---|---|
//! | `farm` | jobs, commands, effects |
//! | `record` | what the log keeps |
//! | `book` | jobs and pools, as records move them |
//! | `registry` | the workers that are alive, and which of them is free for which circuit |
//! | `pool` | windows and budgets of the pools |
//! | `reports` | what each report of a worker does |
//! | `dispatch` | which job goes to which worker |
//! | `attempt` | how attempts end, and what that means for job, worker and pool |
//! | `pace` | how long proofs take |
//! | `capacity` | how long all that waits takes, and whether a promise can be kept |
//! | `timers` | what happens when nothing is heard |
//! | `keys` | which workers have the contract's keys, and what the others are told |

use std::collections::{BTreeMap, BTreeSet};

use circuits::shape::Shape;
use wire::{
    Control, Directive, ProcessId, WorkerEvent,
    job::{Attempt, JobId, PoolName, WorkerId},
};

mod attempt;
mod book;
mod capacity;
mod dispatch;
mod keys;
mod pace;
mod pool;
mod record;
mod registry;
mod reports;
mod timers;

pub use attempt::SILENT;
use book::Book;
pub use book::{Job, Lease, Phase};
use capacity::Counted;
pub use capacity::{CapacityRules, Load, Scale};
use pace::Pace;
pub use pool::Pool;
pub use record::{AttemptEnd, FarmRecord};
use registry::Registry;
pub use registry::{Departed, Worker};
use timers::Timers;

/// Pools at most.
pub const MAX_POOLS: usize = 64;
/// Workers told to drain that are remembered at most.
const MAX_DRAINING: usize = 1024;
/// Workers on which a job ended badly that are remembered at most.
const MAX_FAILED_ON: usize = 8;
/// Earlier attempts of a job whose proofs are still looked at.
const MAX_FORMER: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FarmRules {
    /// A lease without a heartbeat ends after this, and a silent worker is dead.
    pub lease_ms: u64,
    /// Different workers on which a job may end badly before it is tried alone.
    pub quarantine_after: u32,
    /// How long an attempt may take before any proof of its circuit was measured.
    pub attempt_limit_ms: u64,
}

/// What the farm is told.
#[derive(Clone, Debug)]
pub enum FarmCommand {
    /// Anything a worker reports but a proof, which is verified first.
    Report {
        worker: WorkerId,
        process: ProcessId,
        event: Box<WorkerEvent>,
    },
    /// A proof was dealt with, whatever came of it: the worker need not repeat it.
    Answer {
        worker: WorkerId,
        process: ProcessId,
        job: JobId,
        attempt: Attempt,
    },
    /// A proof of this attempt does not verify.
    ProofRefused {
        worker: WorkerId,
        job: JobId,
        attempt: Attempt,
    },
    /// A proof with so many used slots was accepted, and this is what the card used for it.
    ProofEnergy {
        worker: WorkerId,
        millijoules: u64,
        payments: u32,
    },
    /// The coordinator replayed the input of a job: why it cannot be proved, if so.
    Replayed {
        batch_no: u32,
        unprovable: Option<String>,
    },
    /// A pool's stream was bad or was replaced; how many entries it concerns.
    Trouble {
        pool: PoolName,
        entries: u64,
    },
    /// The queue lost everything that was written to it.
    QueueWiped,
    AddPool {
        pool: PoolName,
    },
    RemovePool {
        pool: PoolName,
    },
    /// An operator sends a poisoned or parked job out again, with a clean record.
    Requeue {
        batch_no: u32,
    },
    /// An operator wants a worker to finish what it holds and leave.
    Drain {
        worker: WorkerId,
    },
    Tick,
}

/// What the farm wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum FarmEffect {
    /// To be recorded before anything else happens.
    Record(FarmRecord),
    /// These pools' events are read; what is written to the closed ones is deleted.
    Pools {
        open: BTreeSet<PoolName>,
        closed: BTreeSet<PoolName>,
    },
    /// The pool needs the input of this job.
    Input {
        pool: PoolName,
        batch_no: u32,
    },
    RemoveInput {
        pool: PoolName,
        batch_no: u32,
    },
    Send {
        worker: WorkerId,
        directive: Directive,
    },
    /// The worker is gone.
    Forget {
        worker: WorkerId,
    },
    /// Replay the input of this job and say what comes of it (`FarmCommand::Replayed`).
    Replay {
        batch_no: u32,
    },
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Farm {
    rules: FarmRules,
    book: Book,
    /// The digest of the contract's verifying key of each circuit.
    #[serde(skip)]
    pinned: BTreeMap<Shape, [u8; 32]>,
    #[serde(skip)]
    capacity: CapacityRules,
    #[serde(skip)]
    work: Work,
}

/// What follows from jobs and reports and is not recorded.
#[derive(Clone, Debug, Default)]
struct Work {
    /// Whether this farm hands out: set by its first step, unset in a replica.
    is_active: bool,
    active_since: u64,
    /// From here on times can be subtracted: they are of this process' clock, which was not set since.
    steady_since: u64,
    /// Jobs to be handed out, oldest first, and those of them that are tried alone.
    due: BTreeMap<Shape, BTreeSet<u32>>,
    alone: BTreeMap<Shape, BTreeSet<u32>>,
    /// The worker that gets nothing more until it is idle and takes a job alone.
    reserved: BTreeMap<Shape, WorkerId>,
    /// Jobs in flight by the time of their last grant: candidates for a second attempt.
    in_flight: BTreeMap<Shape, BTreeSet<(u64, u32)>>,
    /// Jobs that wait behind another proof of their worker.
    behind: BTreeMap<Shape, BTreeSet<u32>>,
    /// The attempts of each worker, oldest first.
    leases_of: BTreeMap<WorkerId, Vec<(u32, u32)>>,
    /// Jobs whose input was replayed, or is being replayed: whether it can be proved.
    replays: BTreeMap<u32, Option<bool>>,
    registry: Registry,
    pools: BTreeMap<PoolName, Pool>,
    pace: Pace,
    counted: Counted,
    timers: Timers,
    /// Whether something changed that lets a job go out.
    wants_dispatch: bool,
}

/// Equal if the same was recorded.
#[cfg(any(test, feature = "sim"))]
impl PartialEq for Farm {
    fn eq(&self, other: &Self) -> bool {
        self.book == other.book
    }
}

impl Farm {
    /// With one pool, `default`. `pinned`: the digest of the contract's verifying key of each circuit.
    pub fn new(rules: FarmRules, pinned: BTreeMap<Shape, [u8; 32]>, capacity: CapacityRules) -> Self {
        Self { rules, capacity, book: Book::default(), pinned, work: Work::default() }
    }

    pub fn job(&self, batch_no: u32) -> Option<&Job> {
        self.book.job(batch_no)
    }

    /// Oldest first.
    pub fn jobs(&self) -> impl Iterator<Item = (u32, &Job)> {
        self.book.jobs().iter().map(|(batch_no, job)| (*batch_no, job))
    }

    pub fn job_count(&self) -> usize {
        self.book.jobs().len()
    }

    pub fn worker(&self, id: &WorkerId) -> Option<&Worker> {
        self.work.registry.get(id)
    }

    pub fn workers(&self) -> impl Iterator<Item = (&WorkerId, &Worker)> {
        self.work.registry.workers()
    }

    /// Workers that left or died a while ago.
    pub fn departed(&self) -> impl Iterator<Item = &Departed> {
        self.work.registry.departed()
    }

    /// The pools, with what is known of each since this coordinator leads.
    pub fn pools(&self) -> impl Iterator<Item = (&PoolName, Pool)> {
        self.book.pools().iter().map(|name| (name, self.work.pools.get(name).cloned().unwrap_or_default()))
    }

    /// Jobs that wait for an operator or a later try, with the last failure of each.
    pub fn stuck(&self) -> impl Iterator<Item = (u32, &Job, &str)> {
        self.book.jobs().iter().filter_map(|(batch_no, job)| match &job.phase {
            Phase::Poisoned { message } | Phase::Parked { message } => {
                Some((*batch_no, job, message.as_str()))
            }
            Phase::Due | Phase::Leased => None,
        })
    }

    /// Workers that were told to drain and are not gone yet.
    pub fn draining(&self) -> &BTreeSet<WorkerId> {
        self.book.draining()
    }

    /// Whether a proof of this attempt by this worker is worth verifying: it holds the attempt, or held it.
    pub fn was_granted(&self, worker: &WorkerId, job: JobId, attempt: Attempt) -> bool {
        job.batch_no().and_then(|batch_no| self.book.job(batch_no)).is_some_and(|job| {
            job.live.iter().any(|lease| lease.attempt == attempt.0 && lease.worker == *worker)
                || job.former.iter().any(|(former, by)| *former == attempt.0 && by == worker)
        })
    }

    /// A sealed batch waits to be proved.
    pub fn enqueue(&mut self, batch_no: u32, shape: Shape, circuit_digest: [u8; 32], input_hash: [u8; 32]) {
        self.book.enqueue(batch_no, shape, circuit_digest, input_hash);
        self.index(batch_no);
    }

    /// The batch is proven, by whichever attempt. All attempts of it are closed.
    pub fn proven(&mut self, batch_no: u32, by: &WorkerId, at: u64) -> Vec<FarmEffect> {
        let mut effects = Vec::new();
        self.unindex(batch_no);
        let Some(job) = self.book.remove(batch_no) else { return effects };
        self.work.replays.remove(&batch_no);
        let pools: BTreeSet<PoolName> = job.live.iter().map(|lease| lease.worker.pool.clone()).collect();
        let granted = job.live.iter().find(|lease| lease.worker == *by).map(|lease| lease.granted);
        if self.work.is_active {
            self.work.delivered(by, job.shape, granted, at);
            self.work.counted.moved(at);
        }
        for lease in &job.live {
            self.release(lease, batch_no);
            self.close(&lease.worker, batch_no, lease.attempt, &mut effects);
        }
        effects.extend(pools.into_iter().map(|pool| FarmEffect::RemoveInput { pool, batch_no }));
        effects
    }

    /// What the farm goes by after a restart from a snapshot.
    pub(crate) fn restart(
        &mut self,
        rules: FarmRules,
        pinned: BTreeMap<Shape, [u8; 32]>,
        capacity: CapacityRules,
    ) {
        (self.rules, self.pinned, self.capacity) = (rules, pinned, capacity);
        self.work = Work::default();
        for (batch_no, job) in self.book.jobs() {
            for lease in &job.live {
                self.work.leases_of.entry(lease.worker.clone()).or_default().push((*batch_no, lease.attempt));
            }
        }
        let jobs: Vec<u32> = self.book.jobs().keys().copied().collect();
        jobs.into_iter().for_each(|batch_no| self.index(batch_no));
    }

    /// Decides about a command, and applies what it decides. Effects come in the order in which they are to be carried out.
    pub fn step(&mut self, command: FarmCommand, now: u64) -> Vec<FarmEffect> {
        let mut effects = Vec::new();
        self.activate(now, &mut effects);
        match command {
            FarmCommand::Report { worker, process, event } => {
                self.report(&worker, process, *event, now, &mut effects);
            }
            FarmCommand::Answer { worker, process, job, attempt } => {
                self.reply(&worker, process, Control::Close { job, attempt }, now, &mut effects);
            }
            FarmCommand::ProofRefused { worker, job, attempt } => {
                self.proof_refused(&worker, job, attempt, now, &mut effects);
            }
            FarmCommand::ProofEnergy { worker, millijoules, payments } => {
                self.work.registry.spent(&worker, millijoules, payments);
            }
            FarmCommand::Replayed { batch_no, unprovable } => {
                self.replayed(batch_no, unprovable, &mut effects);
            }
            FarmCommand::Trouble { pool, entries } => {
                if let Some(pool) = self.work.pools.get_mut(&pool) {
                    pool.malformed += entries;
                }
            }
            FarmCommand::QueueWiped => self.resend(now, &mut effects),
            FarmCommand::AddPool { pool } => self.add_pool(pool, &mut effects),
            FarmCommand::RemovePool { pool } => self.remove_pool(&pool, now, &mut effects),
            FarmCommand::Requeue { batch_no } => {
                let stuck = |job: &Job| matches!(job.phase, Phase::Poisoned { .. } | Phase::Parked { .. });
                if self.book.job(batch_no).is_some_and(stuck) {
                    self.work.replays.remove(&batch_no);
                    self.record(FarmRecord::Requeued { batch_no }, now, &mut effects);
                }
            }
            FarmCommand::Drain { worker } => self.drain(worker, now, &mut effects),
            FarmCommand::Tick => {
                self.expire(now, &mut effects);
                self.count(now);
            }
        }
        self.dispatch(now, &mut effects);
        effects
    }

    /// The first step after a start: leases begin anew, since their workers could not renew them meanwhile, and the queue is
    /// told which pools there are.
    fn activate(&mut self, now: u64, effects: &mut Vec<FarmEffect>) {
        if std::mem::replace(&mut self.work.is_active, true) {
            return;
        }
        (self.work.active_since, self.work.steady_since) = (now, now);
        self.work.counted.moved(now);
        for pool in self.book.pools() {
            self.work.pools.entry(pool.clone()).or_default();
        }
        effects.push(self.pools_effect());
        let until = now + self.rules.lease_ms;
        self.book.renew_all(now, until);
        for (batch_no, job) in self.book.jobs() {
            for lease in &job.live {
                self.work.timers.at(until, timers::Timer::Attempt(*batch_no, lease.attempt));
                self.work.pools.entry(lease.worker.pool.clone()).or_default().in_flight += 1;
            }
            if matches!(job.phase, Phase::Parked { .. }) {
                let again = now + timers::parked_for(job.parked);
                self.work.timers.at(again, timers::Timer::Parked(*batch_no));
            }
        }
        self.work.wants_dispatch = true;
    }

    /// Applies a record of the log, made at `at`.
    pub fn apply(&mut self, record: &FarmRecord, at: u64) {
        let batch_no = record.batch_no();
        batch_no.into_iter().for_each(|batch_no| self.unindex(batch_no));
        let released = self.book.apply(record, at, at + self.rules.lease_ms);
        let Some(batch_no) = batch_no.filter(|batch_no| self.book.job(*batch_no).is_some()) else { return };
        if let FarmRecord::Granted { attempt, worker, .. } = record {
            self.work.leases_of.entry(worker.clone()).or_default().push((batch_no, *attempt));
        }
        for lease in released {
            self.release(&lease, batch_no);
        }
        self.index(batch_no);
    }

    /// The worker does not hold this attempt any more.
    fn release(&mut self, lease: &Lease, batch_no: u32) {
        if let Some(leases) = self.work.leases_of.get_mut(&lease.worker) {
            leases.retain(|held| *held != (batch_no, lease.attempt));
            if leases.is_empty() {
                self.work.leases_of.remove(&lease.worker);
            }
        }
        if self.work.is_active {
            if let Some(pool) = self.work.pools.get_mut(&lease.worker.pool) {
                pool.in_flight = pool.in_flight.saturating_sub(1);
            }
            self.refresh(&lease.worker);
        }
    }

    /// Applies a record and hands it to the log.
    fn record(&mut self, record: FarmRecord, now: u64, effects: &mut Vec<FarmEffect>) {
        self.apply(&record, now);
        effects.push(FarmEffect::Record(record));
    }

    fn pools_effect(&self) -> FarmEffect {
        FarmEffect::Pools { open: self.book.pools().clone(), closed: self.book.closed().clone() }
    }
}

#[cfg(test)]
mod tests;
