//! What happens when nothing is heard. A timer is not moved when its deadline is: it looks again when it fires, so that a
//! heartbeat costs no more than a look-up.

use std::collections::BTreeSet;

use wire::job::WorkerId;

use super::{AttemptEnd, Farm, FarmEffect, FarmRecord, Phase, attempt};

/// A parked job is tried again after this, twice as long each time.
const FIRST_PARKED_MS: u64 = 60_000;
const LONGEST_PARKED_MS: u64 = 900_000;
const TOO_LONG: &str = "the attempt took too long";
/// Looks for overdue attempts come this often at least, even if nothing else happens.
const LOOK_MS: u64 = 500;

/// How long a job that was parked so many times stays so.
pub(super) fn parked_for(times: u32) -> u64 {
    (FIRST_PARKED_MS << times.saturating_sub(1).min(8)).min(LONGEST_PARKED_MS)
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A worker may have fallen silent.
    Worker(WorkerId),
    /// A worker's pause may be over.
    Pause(WorkerId),
    /// A lease may have run out, or the attempt may take too long.
    Attempt(u32, u32),
    Parked(u32),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Timers {
    set: BTreeSet<(u64, Timer)>,
    looked: u64,
}

impl Timers {
    pub(super) fn at(&mut self, when: u64, timer: Timer) {
        self.set.insert((when, timer));
    }

    fn pop(&mut self, now: u64) -> Option<Timer> {
        let (when, _) = self.set.first()?;
        if *when > now { None } else { self.set.pop_first().map(|(_, timer)| timer) }
    }
}

impl Farm {
    /// The clock was set: all that is timed begins now. Timers fire at once and look again.
    pub(crate) fn clock_was_set(&mut self, now: u64) {
        let until = now + self.rules.lease_ms;
        self.book.set_times(now, until);
        self.work.in_flight.clear();
        let leased = self.book.jobs().iter().filter(|(_, job)| matches!(job.phase, Phase::Leased));
        let leased: Vec<u32> = leased.map(|(batch_no, _)| *batch_no).collect();
        leased.into_iter().for_each(|batch_no| self.index(batch_no));
        let work = &mut self.work;
        work.registry.clock_was_set(now);
        work.pools.values_mut().for_each(|pool| pool.clock_was_set(now));
        work.counted.clock_was_set(now);
        (work.active_since, work.steady_since, work.timers.looked) = (now, now, now);
        let set = std::mem::take(&mut work.timers.set).into_iter();
        work.timers.set = set.map(|(when, timer)| (when.min(now), timer)).collect();
    }

    pub(super) fn expire(&mut self, now: u64, effects: &mut Vec<FarmEffect>) {
        while let Some(timer) = self.work.timers.pop(now) {
            match timer {
                Timer::Worker(worker) => self.worker_timer(worker, now, effects),
                Timer::Pause(id) => {
                    if let Some(worker) = self.work.registry.get_mut(&id)
                        && worker.pauses_until <= now
                    {
                        worker.pauses_until = 0;
                        self.refresh(&id);
                    }
                }
                Timer::Attempt(batch_no, attempt) => self.attempt_timer(batch_no, attempt, now, effects),
                Timer::Parked(batch_no) => {
                    let parked = |job: &super::Job| matches!(job.phase, Phase::Parked { .. });
                    if self.book.job(batch_no).is_some_and(parked) {
                        self.record(FarmRecord::Unparked { batch_no }, now, effects);
                    }
                }
            }
        }
        if self.work.timers.looked + LOOK_MS <= now {
            self.work.timers.looked = now;
            self.work.wants_dispatch = true;
        }
    }

    fn worker_timer(&mut self, id: WorkerId, now: u64, effects: &mut Vec<FarmEffect>) {
        let Some(worker) = self.work.registry.get(&id) else { return };
        let dies = worker.seen + self.rules.lease_ms;
        if dies <= now {
            self.depart(&id, AttemptEnd::Died, attempt::SILENT, now, effects);
        } else {
            self.work.timers.at(dies, Timer::Worker(id));
        }
    }

    fn attempt_timer(&mut self, batch_no: u32, attempt: u32, now: u64, effects: &mut Vec<FarmEffect>) {
        let Some(job) = self.book.job(batch_no) else { return };
        let Some(lease) = job.live.iter().find(|lease| lease.attempt == attempt) else { return };
        let limit = lease.granted.saturating_add(attempt::limit_ms(self, job.shape));
        let worker = lease.worker.clone();
        let (end, message) = match (lease.until <= now, limit <= now) {
            (true, _) => (AttemptEnd::Died, attempt::SILENT),
            (false, true) => (AttemptEnd::TimedOut, TOO_LONG),
            (false, false) => {
                let next = lease.until.min(limit);
                self.work.timers.at(next, Timer::Attempt(batch_no, attempt));
                return;
            }
        };
        self.close(&worker, batch_no, attempt, effects);
        self.end(batch_no, attempt, end, message, now, effects);
    }
}
