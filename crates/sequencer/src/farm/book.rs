//! What is recorded of the farm: its jobs, its pools, and the workers that drain.
//!
//! Invariant: [`Book::apply`] alone changes it, live and in a replay of the log, but for a batch that is sealed or proven, which
//! are events of the whole state. Times of leases are kept beside and not recorded: after a restart leases begin anew.

use std::collections::{BTreeMap, BTreeSet};

use circuits::shape::Shape;
use wire::job::{PoolName, WorkerId};

use super::{AttemptEnd, FarmRecord, MAX_DRAINING, MAX_FAILED_ON, MAX_FORMER, MAX_POOLS};

/// An attempt in flight.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Lease {
    pub worker: WorkerId,
    pub attempt: u32,
    /// Unix milliseconds, as the next two.
    pub granted: u64,
    pub until: u64,
    /// When the entry was sent last.
    pub sent: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Phase {
    /// To be handed out.
    Due,
    /// In flight with at least one worker.
    Leased,
    /// It ended badly on several workers and then alone: tried again later.
    Parked { message: String },
    /// The coordinator's own replay says that it cannot be proved: it waits for an operator.
    Poisoned { message: String },
}

impl Phase {
    /// The names of all phases.
    pub const NAMES: [&str; 4] = ["due", "leased", "parked", "poisoned"];

    pub fn name(&self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Leased => "leased",
            Self::Parked { .. } => "parked",
            Self::Poisoned { .. } => "poisoned",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Job {
    pub shape: Shape,
    pub circuit_digest: [u8; 32],
    pub input_hash: [u8; 32],
    /// Number of the last attempt. Never used twice.
    pub attempt: u32,
    pub phase: Phase,
    /// Attempts in flight, oldest first.
    pub live: Vec<Lease>,
    /// Attempts that ended without a proof: one that comes late is still looked at.
    pub former: Vec<(u32, WorkerId)>,
    /// Attempts that ended badly since the job was last cleared.
    pub failures: u32,
    /// The workers they ended on, each once, the last ones.
    pub failed_on: Vec<WorkerId>,
    /// Whether it is tried alone.
    pub quarantined: bool,
    /// How often it was parked.
    pub parked: u32,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Book {
    jobs: BTreeMap<u32, Job>,
    /// Told by an operator to take nothing more, until they are gone.
    draining: BTreeSet<WorkerId>,
    pools: BTreeSet<PoolName>,
    /// Removed pools, whose credentials may still write.
    closed: BTreeSet<PoolName>,
}

impl Default for Book {
    /// With one pool, `default`.
    fn default() -> Self {
        Self {
            jobs: BTreeMap::new(),
            draining: BTreeSet::new(),
            pools: BTreeSet::from([PoolName::default()]),
            closed: BTreeSet::new(),
        }
    }
}

/// Equal if the same was recorded: times do not count.
#[cfg(any(test, feature = "sim"))]
impl PartialEq for Book {
    fn eq(&self, other: &Self) -> bool {
        let recorded = |book: &Self| {
            let mut book = book.clone();
            book.set_times(0, 0);
            book.jobs
        };
        (&self.draining, &self.pools, &self.closed) == (&other.draining, &other.pools, &other.closed)
            && recorded(self) == recorded(other)
    }
}

impl Book {
    pub(super) fn jobs(&self) -> &BTreeMap<u32, Job> {
        &self.jobs
    }

    pub(super) fn job(&self, batch_no: u32) -> Option<&Job> {
        self.jobs.get(&batch_no)
    }

    pub(super) fn draining(&self) -> &BTreeSet<WorkerId> {
        &self.draining
    }

    pub(super) fn pools(&self) -> &BTreeSet<PoolName> {
        &self.pools
    }

    pub(super) fn closed(&self) -> &BTreeSet<PoolName> {
        &self.closed
    }

    /// A sealed batch waits to be proved.
    pub(super) fn enqueue(
        &mut self,
        batch_no: u32,
        shape: Shape,
        circuit_digest: [u8; 32],
        input_hash: [u8; 32],
    ) {
        let job = Job {
            shape,
            circuit_digest,
            input_hash,
            attempt: 0,
            phase: Phase::Due,
            live: Vec::new(),
            former: Vec::new(),
            failures: 0,
            failed_on: Vec::new(),
            quarantined: false,
            parked: 0,
        };
        self.jobs.insert(batch_no, job);
    }

    /// The batch is proven.
    pub(super) fn remove(&mut self, batch_no: u32) -> Option<Job> {
        self.jobs.remove(&batch_no)
    }

    /// Applies a record, made at `at`; leases that it grants run until `until`. The leases that it ends.
    pub(super) fn apply(&mut self, record: &FarmRecord, at: u64, until: u64) -> Vec<Lease> {
        match record {
            FarmRecord::Draining { worker } => {
                if self.draining.len() < MAX_DRAINING {
                    self.draining.insert(worker.clone());
                }
            }
            FarmRecord::Admitted { worker } => {
                self.draining.remove(worker);
            }
            FarmRecord::PoolAdded { pool } => {
                self.closed.remove(pool);
                self.pools.insert(pool.clone());
            }
            FarmRecord::PoolRemoved { pool } => {
                self.pools.remove(pool);
                if self.closed.len() < MAX_POOLS {
                    self.closed.insert(pool.clone());
                }
            }
            record => {
                // The job of a late proof is gone.
                let job = record.batch_no().and_then(|batch_no| self.jobs.get_mut(&batch_no));
                return job.map_or_else(Vec::new, |job| job.apply(record, at, until));
            }
        }
        Vec::new()
    }

    /// A heartbeat names an attempt. False if this worker does not hold it.
    pub(super) fn renew(&mut self, batch_no: u32, attempt: u32, worker: &WorkerId, until: u64) -> bool {
        let lease = self.lease_mut(batch_no, attempt).filter(|lease| lease.worker == *worker);
        lease.map(|lease| lease.until = until).is_some()
    }

    /// The entry of an attempt was sent again.
    pub(super) fn sent(&mut self, batch_no: u32, attempt: u32, now: u64) {
        if let Some(lease) = self.lease_mut(batch_no, attempt) {
            lease.sent = now;
        }
    }

    fn lease_mut(&mut self, batch_no: u32, attempt: u32) -> Option<&mut Lease> {
        self.jobs.get_mut(&batch_no)?.live.iter_mut().find(|lease| lease.attempt == attempt)
    }

    /// All leases begin anew, as if their entries had been sent now.
    pub(super) fn renew_all(&mut self, now: u64, until: u64) {
        for lease in self.jobs.values_mut().flat_map(|job| &mut job.live) {
            (lease.sent, lease.until) = (now, until);
        }
    }

    /// The clock was set: all that is timed begins now.
    pub(super) fn set_times(&mut self, now: u64, until: u64) {
        for lease in self.jobs.values_mut().flat_map(|job| &mut job.live) {
            (lease.granted, lease.sent, lease.until) = (now, now, until);
        }
    }
}

impl Job {
    /// Applies a record about this job. The leases that it ends.
    fn apply(&mut self, record: &FarmRecord, at: u64, until: u64) -> Vec<Lease> {
        let mut released = Vec::new();
        match record {
            FarmRecord::Published { attempt, .. } => {
                self.attempt = *attempt;
                released.append(&mut self.live);
                self.phase = Phase::Due;
            }
            FarmRecord::Granted { attempt, worker, .. } => {
                self.attempt = self.attempt.max(*attempt);
                let (worker, attempt) = (worker.clone(), *attempt);
                self.live.push(Lease { worker, attempt, granted: at, until, sent: at });
                self.phase = Phase::Leased;
            }
            FarmRecord::Ended { attempt, worker, charged, .. } => {
                released.extend(self.end(*attempt, *charged));
                if let Some(worker) = worker.as_ref().filter(|_| *charged) {
                    self.blame(worker);
                }
            }
            FarmRecord::AttemptEnded { attempt, worker, end, .. } => {
                released.extend(self.end(*attempt, end.is_bad()));
                if end.is_bad() {
                    self.blame(worker);
                }
                // A proof that does not verify is not looked at again.
                if *end != AttemptEnd::Refused {
                    self.former.push((*attempt, worker.clone()));
                    if self.former.len() > MAX_FORMER {
                        self.former.remove(0);
                    }
                }
            }
            FarmRecord::Quarantined { .. } => self.quarantined = true,
            FarmRecord::Parked { message, .. } => {
                self.parked += 1;
                self.phase = Phase::Parked { message: message.clone() };
            }
            FarmRecord::Unparked { .. } => self.phase = Phase::Due,
            FarmRecord::Poisoned { message, .. } => {
                released.append(&mut self.live);
                self.phase = Phase::Poisoned { message: message.clone() };
            }
            FarmRecord::Requeued { .. } => self.clear(),
            FarmRecord::Late { .. }
            | FarmRecord::Draining { .. }
            | FarmRecord::Admitted { .. }
            | FarmRecord::PoolAdded { .. }
            | FarmRecord::PoolRemoved { .. } => {}
        }
        released
    }

    /// Takes the attempt off those in flight.
    fn end(&mut self, attempt: u32, is_bad: bool) -> Option<Lease> {
        let place = self.live.iter().position(|lease| lease.attempt == attempt);
        let lease = place.map(|place| self.live.remove(place));
        if lease.is_some() || is_bad {
            self.failures += u32::from(is_bad);
        }
        if self.live.is_empty() && self.phase == Phase::Leased {
            self.phase = Phase::Due;
        }
        lease
    }

    fn blame(&mut self, worker: &WorkerId) {
        if !self.failed_on.contains(worker) {
            self.failed_on.push(worker.clone());
            if self.failed_on.len() > MAX_FAILED_ON {
                self.failed_on.remove(0);
            }
        }
    }

    /// Begins anew, but for the number of its attempts, which is never used twice.
    fn clear(&mut self) {
        self.failures = 0;
        self.failed_on.clear();
        self.quarantined = false;
        self.parked = 0;
        self.phase = if self.live.is_empty() { Phase::Due } else { Phase::Leased };
    }
}
