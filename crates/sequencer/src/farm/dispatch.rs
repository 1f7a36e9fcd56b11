//! Which job goes to which worker: the oldest job first, to the least busy worker that can prove it. Idle workers without a
//! job take over what waits behind another proof, and make a second attempt of what takes much longer than usual.

use std::collections::BTreeSet;

use circuits::shape::Shape;
use wire::{
    Control, Directive, Stage,
    job::{Attempt, JobEntry, JobId, PoolName, WorkerId},
};

use super::{AttemptEnd, Farm, FarmEffect, FarmRecord, Job, Phase, timers::Timer};

/// Jobs that one step passes over because the free workers have failed on them.
const PASSED_OVER: usize = 16;
/// Attempts of one job in flight at most.
const MAX_LIVE: usize = 3;
/// Candidates for a second attempt that one step looks at.
const LOOKED_AT: usize = 8;
/// What waits behind another proof is not moved before this: its heartbeat may not have come yet.
const SETTLED_MS: u64 = 1_000;

/// Who could take a job.
enum Pick {
    Worker(WorkerId),
    /// There are free workers, but none that this job may go to.
    NotThese,
    /// No worker is free for the circuit.
    NoneFree,
}

/// How good a candidate is: the smallest is taken.
type Rank = (u8, u32, u64);

impl Farm {
    /// Hands out what can be handed out.
    pub(super) fn dispatch(&mut self, now: u64, effects: &mut Vec<FarmEffect>) {
        if !std::mem::take(&mut self.work.wants_dispatch) {
            return;
        }
        for shape in Shape::ALL {
            self.dispatch_alone(shape, now, effects);
            self.dispatch_due(shape, now, effects);
            self.relieve(shape, now, effects);
        }
    }

    fn dispatch_due(&mut self, shape: Shape, now: u64, effects: &mut Vec<FarmEffect>) {
        let (mut from, mut passed) = (0, 0);
        while passed < PASSED_OVER {
            let due = self.work.due.get(&shape).and_then(|due| due.range(from..).next().copied());
            let Some(batch_no) = due else { return };
            let Some(job) = self.book.job(batch_no) else { return };
            match self.pick(job) {
                Pick::Worker(worker) => self.grant(batch_no, &worker, now, effects),
                Pick::NotThese => {
                    passed += 1;
                    from = batch_no + 1;
                }
                Pick::NoneFree => return,
            }
        }
    }

    /// The oldest job that is tried alone goes to an idle worker. If none is idle one is reserved: it gets nothing more until it
    /// is, or the job would wait for ever behind younger ones.
    fn dispatch_alone(&mut self, shape: Shape, now: u64, effects: &mut Vec<FarmEffect>) {
        let alone = self.work.alone.get(&shape).and_then(|alone| alone.first().copied());
        let Some(batch_no) = alone else {
            if let Some(worker) = self.work.reserved.remove(&shape) {
                self.set_alone(&worker, false);
            }
            return;
        };
        let Some(job) = self.book.job(batch_no) else { return };
        let Pick::Worker(worker) = self.pick(job) else { return };
        if self.is_idle(&worker) {
            self.work.reserved.remove(&shape);
            self.grant(batch_no, &worker, now, effects);
            self.work.wants_dispatch = true;
        } else if self.work.reserved.get(&shape).is_none_or(|known| self.work.registry.get(known).is_none()) {
            self.set_alone(&worker, true);
            self.work.reserved.insert(shape, worker);
        }
    }

    fn set_alone(&mut self, worker: &WorkerId, is_alone: bool) {
        if let Some(known) = self.work.registry.get_mut(worker) {
            known.is_alone = is_alone;
            self.refresh(worker);
        }
    }

    /// The best free worker for a job: the least busy one of the pool with the most room.
    fn pick(&self, job: &Job) -> Pick {
        let free = self.work.registry.free(job.shape).filter(|pools| !pools.is_empty());
        let Some(free) = free else { return Pick::NoneFree };
        // Where each registered worker that could prove it has failed on it, they are tried again.
        let failed = |id: &&WorkerId| self.is_able(id, job.shape);
        let all_failed =
            self.work.registry.count_able(job.shape) <= job.failed_on.iter().filter(failed).count();
        let elsewhere: BTreeSet<&PoolName> = match job.quarantined {
            true => self.pools_without_failures(job),
            false => BTreeSet::new(),
        };
        let mut best: Option<(Rank, &WorkerId)> = None;
        for (name, workers) in free {
            let Some(pool) = self.work.pools.get(name).filter(|pool| pool.has_room()) else { continue };
            if !elsewhere.is_empty() && !elsewhere.contains(name) {
                continue;
            }
            let allowed = |id: &WorkerId| {
                !job.live.iter().any(|lease| lease.worker == *id)
                    && (all_failed || job.quarantined || !job.failed_on.contains(id))
            };
            let candidate =
                workers.iter().take(super::MAX_FAILED_ON + MAX_LIVE + 1).find(|(.., id)| allowed(id));
            let Some((load, turn, id)) = candidate else { continue };
            let rank = (*load, pool.in_flight.saturating_mul(1024) / pool.window, *turn);
            if best.as_ref().is_none_or(|(least, _)| rank < *least) {
                best = Some((rank, id));
            }
        }
        best.map_or(Pick::NotThese, |(_, id)| Pick::Worker(id.clone()))
    }

    /// Whether a worker is registered with the key of this circuit.
    fn is_able(&self, id: &WorkerId, shape: Shape) -> bool {
        self.work.registry.get(id).is_some_and(|worker| worker.circuits().any(|known| known == shape))
    }

    /// The pools that could prove a job and on which it has not ended badly.
    fn pools_without_failures(&self, job: &Job) -> BTreeSet<&PoolName> {
        let able = self.work.registry.able(job.shape).map(|(pool, _)| pool);
        able.filter(|pool| !job.failed_on.iter().any(|worker| worker.pool == **pool)).collect()
    }

    fn grant(&mut self, batch_no: u32, worker: &WorkerId, now: u64, effects: &mut Vec<FarmEffect>) {
        let Some((job, known)) = self.book.job(batch_no).zip(self.work.registry.get_mut(worker)) else {
            return;
        };
        let (attempt, process) = (job.attempt + 1, known.process);
        known.is_alone |= job.quarantined;
        // A second attempt may be one because the input was lost.
        let needs_input = attempt > 1 || !job.live.iter().any(|lease| lease.worker.pool == worker.pool);
        if self.is_at_rest() {
            self.work.counted.moved(now);
        }
        if let Some(pool) = self.work.pools.get_mut(&worker.pool) {
            pool.in_flight += 1;
        }
        self.record(FarmRecord::Granted { batch_no, attempt, worker: worker.clone() }, now, effects);
        self.work.timers.at(now + self.rules.lease_ms, Timer::Attempt(batch_no, attempt));
        self.refresh(worker);
        if needs_input {
            effects.push(FarmEffect::Input { pool: worker.pool.clone(), batch_no });
        }
        let Some(job) = self.book.job(batch_no) else { return };
        let control = Control::Job(Self::entry(batch_no, job, attempt));
        effects.push(FarmEffect::Send { worker: worker.clone(), directive: Directive { process, control } });
    }

    /// Gives idle workers without a job something of others: what waits behind another proof, then what takes long.
    fn relieve(&mut self, shape: Shape, now: u64, effects: &mut Vec<FarmEffect>) {
        let has_due = self.work.due.get(&shape).is_some_and(|due| !due.is_empty());
        if has_due || !self.has_idle(shape) {
            return;
        }
        let behind = self.work.behind.get(&shape).into_iter().flatten().take(LOOKED_AT).copied();
        for batch_no in behind.collect::<Vec<_>>() {
            if !self.waits_behind(batch_no, now) || !self.has_idle(shape) {
                continue;
            }
            let Some((lease, Pick::Worker(to))) =
                self.book.job(batch_no).and_then(|job| Some((job.live.first()?.clone(), self.pick(job))))
            else {
                continue;
            };
            if self.is_idle(&to) {
                self.close(&lease.worker, batch_no, lease.attempt, effects);
                let message = format!("{to} was idle");
                self.end(batch_no, lease.attempt, AttemptEnd::Moved, &message, now, effects);
                self.grant(batch_no, &to, now, effects);
            }
        }
        let Some(granted_before) = now.checked_sub(self.work.pace.overdue_after_ms(shape)) else { return };
        let in_flight = self.work.in_flight.get(&shape).into_iter().flatten();
        let overdue = in_flight.take_while(|(granted, _)| *granted <= granted_before).take(LOOKED_AT);
        for (_, batch_no) in overdue.copied().collect::<Vec<_>>() {
            let Some(job) = self.book.job(batch_no) else { continue };
            if job.live.len() >= MAX_LIVE || job.quarantined {
                continue;
            }
            if let Pick::Worker(to) = self.pick(job)
                && self.is_idle(&to)
            {
                self.grant(batch_no, &to, now, effects);
            }
        }
    }

    /// Whether a job's only attempt has not begun to be proved.
    fn waits_behind(&self, batch_no: u32, now: u64) -> bool {
        let Some(job) = self.book.job(batch_no) else { return false };
        let [lease] = job.live.as_slice() else { return false };
        let key = (JobId::of_batch(batch_no), Attempt(lease.attempt));
        let stage = self.work.registry.get(&lease.worker).and_then(|worker| {
            worker.in_flight.iter().find(|named| (named.job, named.attempt) == key).map(|named| named.stage)
        });
        lease.granted + SETTLED_MS <= now && stage.is_some_and(|stage| stage != Stage::Proving)
    }

    fn has_idle(&self, shape: Shape) -> bool {
        let pools = self.work.registry.free(shape).into_iter().flatten();
        pools.filter_map(|(_, workers)| workers.first()).any(|(load, ..)| *load == 0)
    }

    fn is_idle(&self, worker: &WorkerId) -> bool {
        !self.work.leases_of.contains_key(worker)
    }

    /// The entry of an attempt.
    pub(super) fn entry(batch_no: u32, job: &Job, attempt: u32) -> JobEntry {
        JobEntry {
            job: JobId::of_batch(batch_no),
            attempt: Attempt(attempt),
            shape: job.shape,
            circuit_digest: job.circuit_digest,
            input_hash: job.input_hash,
        }
    }

    /// Puts a job into the indexes that its phase belongs to.
    pub(super) fn index(&mut self, batch_no: u32) {
        let Some(job) = self.book.job(batch_no) else { return };
        match job.phase {
            Phase::Due => {
                let due = if job.quarantined { &mut self.work.alone } else { &mut self.work.due };
                due.entry(job.shape).or_default().insert(batch_no);
                self.work.wants_dispatch = true;
            }
            Phase::Leased => {
                if let Some(last) = job.live.last() {
                    self.work.in_flight.entry(job.shape).or_default().insert((last.granted, batch_no));
                }
            }
            Phase::Parked { .. } | Phase::Poisoned { .. } => {}
        }
    }

    /// Takes a job out of all indexes, before it changes.
    pub(super) fn unindex(&mut self, batch_no: u32) {
        let Some(job) = self.book.job(batch_no) else { return };
        for due in [&mut self.work.due, &mut self.work.alone] {
            if let Some(due) = due.get_mut(&job.shape) {
                due.remove(&batch_no);
            }
        }
        if let (Some(last), Some(in_flight)) = (job.live.last(), self.work.in_flight.get_mut(&job.shape)) {
            in_flight.remove(&(last.granted, batch_no));
        }
        if let Some(behind) = self.work.behind.get_mut(&job.shape) {
            behind.remove(&batch_no);
        }
    }
}
