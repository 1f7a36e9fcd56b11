//! How attempts end, and what that means for the job, the worker and its pool.

use wire::{
    Control, Directive,
    job::{Attempt, JobId, WorkerId},
};

use super::{AttemptEnd, Farm, FarmEffect, FarmRecord, Phase, Work, pace, timers::Timer};

/// Why an attempt ended whose worker nobody heard of.
pub const SILENT: &str = "the worker fell silent";
pub(super) const LEFT: &str = "its pool was removed";
/// Attempts that may end badly before a job is tried alone although they were of few workers, as a multiple of the workers
/// that do the same.
const FAILURES_PER_WORKER: u32 = 2;

impl Farm {
    /// A worker reports the end of an attempt, which counts if it holds it.
    pub(super) fn end_reported(
        &mut self,
        worker: &WorkerId,
        (id, attempt): (JobId, Attempt),
        end: AttemptEnd,
        message: &str,
        now: u64,
        effects: &mut Vec<FarmEffect>,
    ) {
        let Some(batch_no) = self.held(worker, id, attempt) else { return };
        self.end(batch_no, attempt.0, end, message, now, effects);
        if end == AttemptEnd::Blamed {
            self.ask_replay(batch_no, effects);
        }
    }

    pub(super) fn proof_refused(
        &mut self,
        worker: &WorkerId,
        id: JobId,
        attempt: Attempt,
        now: u64,
        effects: &mut Vec<FarmEffect>,
    ) {
        const MESSAGE: &str = "the proof does not verify";
        if let Some(batch_no) = self.held(worker, id, attempt) {
            self.end(batch_no, attempt.0, AttemptEnd::Refused, MESSAGE, now, effects);
            self.ask_replay(batch_no, effects);
        } else if self.was_granted(worker, id, attempt)
            && let Some(batch_no) = id.batch_no()
        {
            // It came late: the attempt is not looked at again.
            let (attempt, worker) = (attempt.0, worker.clone());
            let (end, message) = (AttemptEnd::Refused, MESSAGE.to_owned());
            self.record(FarmRecord::AttemptEnded { batch_no, attempt, worker, end, message }, now, effects);
        }
    }

    /// The batch of an attempt that this worker holds.
    fn held(&self, worker: &WorkerId, id: JobId, attempt: Attempt) -> Option<u32> {
        let batch_no = id.batch_no()?;
        let job = self.book.job(batch_no)?;
        let held = job.live.iter().any(|lease| lease.attempt == attempt.0 && lease.worker == *worker);
        held.then_some(batch_no)
    }

    /// Ends an attempt in flight.
    pub(super) fn end(
        &mut self,
        batch_no: u32,
        attempt: u32,
        end: AttemptEnd,
        message: &str,
        now: u64,
        effects: &mut Vec<FarmEffect>,
    ) {
        let lease =
            self.book.job(batch_no).and_then(|job| job.live.iter().find(|lease| lease.attempt == attempt));
        let Some(worker) = lease.map(|lease| lease.worker.clone()) else { return };
        if end != AttemptEnd::Moved
            && let Some(known) = self.work.registry.get_mut(&worker)
        {
            known.pause(now);
            self.work.timers.at(known.pauses_until, Timer::Pause(worker.clone()));
        }
        if end.is_bad()
            && let Some(pool) = self.work.pools.get_mut(&worker.pool)
        {
            pool.ended_badly();
        }
        let pool = worker.pool.clone();
        let message = message.to_owned();
        self.record(
            FarmRecord::AttemptEnded { batch_no, attempt, worker, end, message: message.clone() },
            now,
            effects,
        );
        let Some(job) = self.book.job(batch_no) else { return };
        if !job.live.iter().any(|lease| lease.worker.pool == pool) {
            effects.push(FarmEffect::RemoveInput { pool, batch_no });
        }
        if !end.is_bad() {
            return;
        }
        let k = self.rules.quarantine_after;
        let often =
            job.failed_on.len() >= k as usize || job.failures >= k.saturating_mul(FAILURES_PER_WORKER);
        if job.quarantined && job.live.is_empty() {
            self.record(FarmRecord::Parked { batch_no, message }, now, effects);
            let parked = self.book.job(batch_no).map_or(0, |job| job.parked);
            self.work.timers.at(now + super::timers::parked_for(parked), Timer::Parked(batch_no));
        } else if often && !job.quarantined {
            self.record(FarmRecord::Quarantined { batch_no }, now, effects);
        }
    }

    /// Tells a worker that nothing more is wanted of an attempt.
    pub(super) fn close(
        &self,
        worker: &WorkerId,
        batch_no: u32,
        attempt: u32,
        effects: &mut Vec<FarmEffect>,
    ) {
        if let Some(known) = self.work.registry.get(worker) {
            let control = Control::Close { job: JobId::of_batch(batch_no), attempt: Attempt(attempt) };
            let directive = Directive { process: known.process, control };
            effects.push(FarmEffect::Send { worker: worker.clone(), directive });
        }
    }

    /// A worker says that the input is to blame: the coordinator looks itself, once.
    fn ask_replay(&mut self, batch_no: u32, effects: &mut Vec<FarmEffect>) {
        if let std::collections::btree_map::Entry::Vacant(unknown) = self.work.replays.entry(batch_no) {
            unknown.insert(None);
            effects.push(FarmEffect::Replay { batch_no });
        }
    }

    /// The coordinator has replayed the input.
    pub(super) fn replayed(
        &mut self,
        batch_no: u32,
        unprovable: Option<String>,
        effects: &mut Vec<FarmEffect>,
    ) {
        let Some(job) = self.book.job(batch_no) else { return };
        self.work.replays.insert(batch_no, Some(unprovable.is_none()));
        let Some(message) = unprovable else { return };
        if matches!(job.phase, Phase::Poisoned { .. }) {
            return;
        }
        for lease in job.live.clone() {
            self.close(&lease.worker, batch_no, lease.attempt, effects);
            effects.push(FarmEffect::RemoveInput { pool: lease.worker.pool, batch_no });
        }
        self.record(FarmRecord::Poisoned { batch_no, message }, 0, effects);
    }
}

impl Work {
    /// A worker delivered the proof that counts, of an attempt that was granted then; nothing if it came late.
    pub(super) fn delivered(
        &mut self,
        worker: &WorkerId,
        shape: circuits::shape::Shape,
        granted: Option<u64>,
        at: u64,
    ) {
        if let Some(pool) = self.pools.get_mut(&worker.pool) {
            pool.delivered();
        }
        let mut began = granted;
        if let Some(known) = self.registry.get_mut(worker) {
            // What lay behind another proof was worked on from the end of that one.
            began = granted.map(|granted| granted.max(known.delivered));
            known.delivered(at);
        }
        // Another process' clock granted it otherwise, or this one before it was set.
        if let Some(began) = began.filter(|began| *began > self.steady_since) {
            self.pace.proved(shape, at.saturating_sub(began));
        }
    }
}

/// How long an attempt of this circuit may take.
pub(super) fn limit_ms(farm: &Farm, shape: circuits::shape::Shape) -> u64 {
    farm.work.pace.limit_ms(shape).unwrap_or(farm.rules.attempt_limit_ms).max(pace::SHORTEST_LIMIT_MS)
}
