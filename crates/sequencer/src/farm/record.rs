//! What the log keeps of the farm, and how it changes jobs. A replay of the log and the live farm run the same
//! [`Farm::apply`]; nothing else changes a job.

use wire::job::{PoolName, WorkerId};

use super::{Farm, Job, Lease, MAX_DRAINING, MAX_FAILED_ON, MAX_FORMER, MAX_POOLS, Phase};

/// How an attempt ended without a proof that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum AttemptEnd {
    /// The worker gave it back, or left in order.
    HandedBack,
    /// The worker fell silent.
    Died,
    /// It took too long.
    TimedOut,
    /// The worker could not do its work.
    Failed,
    /// The worker blames the input or the proofs made of it.
    Blamed,
    /// Its proof does not verify.
    Refused,
    /// Another worker was free.
    Moved,
}

impl AttemptEnd {
    /// Whether it counts against the job, the worker and its pool.
    pub fn is_bad(self) -> bool {
        match self {
            Self::Died | Self::TimedOut | Self::Failed | Self::Blamed | Self::Refused => true,
            Self::HandedBack | Self::Moved => false,
        }
    }

    /// As metrics and lines name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::HandedBack => "handed_back",
            Self::Died => "died",
            Self::TimedOut => "timed_out",
            Self::Failed => "failed",
            Self::Blamed => "blamed",
            Self::Refused => "refused",
            Self::Moved => "moved",
        }
    }
}

/// What must survive a restart.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum FarmRecord {
    /// Not written any more: an attempt was laid out for claiming.
    Published {
        batch_no: u32,
        attempt: u32,
    },
    /// The attempt was handed to this worker.
    Granted {
        batch_no: u32,
        attempt: u32,
        worker: WorkerId,
    },
    /// Not written any more: see `AttemptEnded`.
    Ended {
        batch_no: u32,
        attempt: u32,
        worker: Option<WorkerId>,
        charged: bool,
        message: String,
    },
    Poisoned {
        batch_no: u32,
        message: String,
    },
    /// An operator sent the job out again.
    Requeued {
        batch_no: u32,
    },
    /// An operator told the worker to drain.
    Draining {
        worker: WorkerId,
    },
    /// The worker that drained is gone.
    Admitted {
        worker: WorkerId,
    },
    /// A proof came when another worker's was accepted already.
    Late {
        batch_no: u32,
        attempt: u32,
        worker: WorkerId,
    },
    AttemptEnded {
        batch_no: u32,
        attempt: u32,
        worker: WorkerId,
        end: AttemptEnd,
        message: String,
    },
    /// It ended badly on several workers and is tried alone from now on.
    Quarantined {
        batch_no: u32,
    },
    /// It ended badly alone, too.
    Parked {
        batch_no: u32,
        message: String,
    },
    /// The parked job is tried again.
    Unparked {
        batch_no: u32,
    },
    PoolAdded {
        pool: PoolName,
    },
    PoolRemoved {
        pool: PoolName,
    },
}

impl FarmRecord {
    /// The batch it is about, if it is about one.
    pub fn batch_no(&self) -> Option<u32> {
        match self {
            Self::Published { batch_no, .. }
            | Self::Granted { batch_no, .. }
            | Self::Ended { batch_no, .. }
            | Self::AttemptEnded { batch_no, .. }
            | Self::Quarantined { batch_no }
            | Self::Parked { batch_no, .. }
            | Self::Unparked { batch_no }
            | Self::Poisoned { batch_no, .. }
            | Self::Requeued { batch_no }
            | Self::Late { batch_no, .. } => Some(*batch_no),
            Self::Draining { .. }
            | Self::Admitted { .. }
            | Self::PoolAdded { .. }
            | Self::PoolRemoved { .. } => None,
        }
    }
}

impl Farm {
    /// Applies a record of the log.
    pub fn apply(&mut self, record: &FarmRecord, at: u64) {
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
                if let Some(batch_no) = record.batch_no() {
                    self.apply_to_job(batch_no, record, at);
                }
            }
        }
    }

    fn apply_to_job(&mut self, batch_no: u32, record: &FarmRecord, at: u64) {
        self.unindex(batch_no);
        let until = at + self.rules.lease_ms;
        // The job of a late proof is gone.
        let Some(job) = self.jobs.get_mut(&batch_no) else { return };
        let mut released = Vec::new();
        match record {
            FarmRecord::Published { attempt, .. } => {
                job.attempt = *attempt;
                released.append(&mut job.live);
                job.phase = Phase::Due;
            }
            FarmRecord::Granted { attempt, worker, .. } => {
                job.attempt = job.attempt.max(*attempt);
                let worker = worker.clone();
                job.live.push(Lease {
                    worker: worker.clone(),
                    attempt: *attempt,
                    granted: at,
                    until,
                    sent: at,
                });
                job.phase = Phase::Leased;
                self.work.leases_of.entry(worker).or_default().push((batch_no, *attempt));
            }
            FarmRecord::Ended { attempt, worker, charged, .. } => {
                released.extend(job.end(*attempt, *charged));
                if let Some(worker) = worker.as_ref().filter(|_| *charged) {
                    job.blame(worker);
                }
            }
            FarmRecord::AttemptEnded { attempt, worker, end, .. } => {
                released.extend(job.end(*attempt, end.is_bad()));
                if end.is_bad() {
                    job.blame(worker);
                }
                // A proof that does not verify is not looked at again.
                if *end != super::AttemptEnd::Refused {
                    job.former.push((*attempt, worker.clone()));
                    if job.former.len() > MAX_FORMER {
                        job.former.remove(0);
                    }
                }
            }
            FarmRecord::Quarantined { .. } => job.quarantined = true,
            FarmRecord::Parked { message, .. } => {
                job.parked += 1;
                job.phase = Phase::Parked { message: message.clone() };
            }
            FarmRecord::Unparked { .. } => job.phase = Phase::Due,
            FarmRecord::Poisoned { message, .. } => {
                released.append(&mut job.live);
                job.phase = Phase::Poisoned { message: message.clone() };
            }
            FarmRecord::Requeued { .. } => job.clear(),
            FarmRecord::Late { .. }
            | FarmRecord::Draining { .. }
            | FarmRecord::Admitted { .. }
            | FarmRecord::PoolAdded { .. }
            | FarmRecord::PoolRemoved { .. } => {}
        }
        for lease in released {
            self.release(&lease, batch_no);
        }
        self.index(batch_no);
    }

    /// The worker does not hold this attempt any more.
    pub(super) fn release(&mut self, lease: &Lease, batch_no: u32) {
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
}

impl Job {
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
