//! What each report of a worker does. The pool of a report is certain; everything else is what a stranger wrote, and costs at
//! most that pool.

use wire::{
    Control, Directive, FailureKind, InFlight, ProcessId, Registration, Stage, WorkerEvent,
    job::{Attempt, JobId, WorkerId},
};

use super::{
    AttemptEnd, Farm, FarmEffect, FarmRecord, MAX_DRAINING, attempt::SILENT, keys,
    registry::MAX_WORKERS_PER_POOL, timers::Timer,
};

/// An entry that heartbeats do not name is sent again after this.
const RESEND_MS: u64 = 1_500;
/// Entries that are sent again at once, since each may bring its input along; the rest waits for heartbeats.
const RESENT_AT_ONCE: usize = 4_096;

impl Farm {
    pub(super) fn report(
        &mut self,
        worker: &WorkerId,
        process: ProcessId,
        event: WorkerEvent,
        now: u64,
        effects: &mut Vec<FarmEffect>,
    ) {
        // What was read before the pool was removed.
        if !self.book.pools().contains(&worker.pool) {
            return;
        }
        let known = self.work.registry.get(worker).map(|known| known.process);
        match (known, event) {
            (_, WorkerEvent::Register { registration, in_flight }) => {
                self.register(worker, process, registration, &in_flight, now, effects);
            }
            // Another process under a name that is taken, or one that is not known (any more).
            (Some(known), _) if known != process => {
                self.reply(worker, process, Control::NameTaken, now, effects);
            }
            (known, WorkerEvent::Heartbeat { in_flight, card }) => {
                if known.is_none() {
                    self.reply(worker, process, Control::Reregister, now, effects);
                }
                if let Some(worker) = self.work.registry.get_mut(worker) {
                    worker.seen = now;
                    worker.card = card;
                }
                self.heartbeat(worker, process, &in_flight, now, effects);
            }
            (_, WorkerEvent::Failed { job, attempt, kind, message }) => {
                let end = match kind {
                    FailureKind::Infrastructure => AttemptEnd::Failed,
                    FailureKind::Input | FailureKind::Proof => AttemptEnd::Blamed,
                };
                self.end_reported(worker, (job, attempt), end, &message, now, effects);
                self.reply(worker, process, Control::Close { job, attempt }, now, effects);
            }
            (_, WorkerEvent::HandedBack { job, attempt, message }) => {
                self.end_reported(worker, (job, attempt), AttemptEnd::HandedBack, &message, now, effects);
                self.reply(worker, process, Control::Close { job, attempt }, now, effects);
            }
            (_, WorkerEvent::Left { message }) => {
                self.depart(worker, AttemptEnd::HandedBack, &message, now, effects);
            }
            // Verified first: a proof reaches the farm as `proven` or `ProofRefused`.
            (_, WorkerEvent::Proved { .. }) => {}
        }
    }

    fn register(
        &mut self,
        worker: &WorkerId,
        process: ProcessId,
        registration: Registration,
        in_flight: &[InFlight],
        now: u64,
        effects: &mut Vec<FarmEffect>,
    ) {
        if let Some(known) = self.work.registry.get(worker)
            && known.process != process
        {
            // A process that was killed is silent for a lease before its name is free.
            if known.seen + self.rules.lease_ms > now {
                self.reply(worker, process, Control::NameTaken, now, effects);
                return;
            }
            self.depart(worker, AttemptEnd::Died, SILENT, now, effects);
        }
        if self.work.registry.get(worker).is_none() {
            let pool = self.work.pools.entry(worker.pool.clone()).or_default();
            if pool.workers >= MAX_WORKERS_PER_POOL {
                return;
            }
            pool.workers += 1;
            self.work.timers.at(now + self.rules.lease_ms, Timer::Worker(worker.clone()));
        }
        let refused = keys::refused(&self.pinned, &registration);
        let is_draining = self.book.draining().contains(worker);
        self.work.registry.register(worker, |known| {
            known.registration = Some(registration);
            known.refused = refused;
            (known.process, known.seen, known.is_draining) = (process, now, is_draining);
        });
        self.reply(worker, process, Control::Registered, now, effects);
        self.refuse(worker, process, now, effects);
        if is_draining {
            self.reply(worker, process, Control::Drain, now, effects);
        }
        self.heartbeat(worker, process, in_flight, now, effects);
    }

    /// Renews the leases that the worker names, closes what it works on in vain, and sends again what it does not name.
    fn heartbeat(
        &mut self,
        worker: &WorkerId,
        process: ProcessId,
        in_flight: &[InFlight],
        now: u64,
        effects: &mut Vec<FarmEffect>,
    ) {
        let until = now + self.rules.lease_ms;
        for InFlight { job: id, attempt, .. } in in_flight {
            let held = id.batch_no().is_some_and(|no| self.book.renew(no, attempt.0, worker, until));
            if !held {
                let control = Control::Close { job: *id, attempt: *attempt };
                self.reply(worker, process, control, now, effects);
            }
        }
        let held = self.work.leases_of.get(worker).cloned().unwrap_or_default();
        let missing = held.into_iter().filter(|(batch_no, attempt)| {
            let key = (JobId::of_batch(*batch_no), Attempt(*attempt));
            !in_flight.iter().any(|named| (named.job, named.attempt) == key)
        });
        for (batch_no, attempt) in missing.collect::<Vec<_>>() {
            let lease = self.book.job(batch_no).and_then(|job| {
                job.live.iter().find(|lease| lease.attempt == attempt && lease.sent + RESEND_MS <= now)
            });
            if lease.is_some() {
                self.send_again(worker, process, batch_no, attempt, now, effects);
            }
        }
        if let Some(known) = self.work.registry.get_mut(worker) {
            known.in_flight = in_flight.to_vec();
            let waits = |named: &InFlight| named.stage != Stage::Proving;
            self.work.wants_dispatch |= in_flight.len() > 1 && in_flight.iter().any(waits);
            self.refresh(worker);
        }
    }

    /// Sends the oldest attempts in flight again: the queue lost them. A worker that has the attempt already ignores it, one that
    /// has ended it reports the end again.
    pub(super) fn resend(&mut self, now: u64, effects: &mut Vec<FarmEffect>) {
        let mut oldest: Vec<(u64, u32)> = self.work.in_flight.values().flatten().copied().collect();
        oldest.sort_unstable();
        let jobs = oldest.into_iter().filter_map(|(_, batch_no)| Some((batch_no, self.book.job(batch_no)?)));
        let leases = jobs.flat_map(|(batch_no, job)| job.live.iter().map(move |lease| (batch_no, lease)));
        let known = leases.filter_map(|(batch_no, lease)| {
            let process = self.work.registry.get(&lease.worker)?.process;
            Some((lease.worker.clone(), process, batch_no, lease.attempt))
        });
        for (worker, process, batch_no, attempt) in known.take(RESENT_AT_ONCE).collect::<Vec<_>>() {
            self.send_again(&worker, process, batch_no, attempt, now, effects);
        }
    }

    /// Sends the entry of an attempt in flight again, with its input, which may be lost as well.
    fn send_again(
        &mut self,
        worker: &WorkerId,
        process: ProcessId,
        batch_no: u32,
        attempt: u32,
        now: u64,
        effects: &mut Vec<FarmEffect>,
    ) {
        let Some(job) = self.book.job(batch_no) else { return };
        let control = Control::Job(Self::entry(batch_no, job, attempt));
        self.book.sent(batch_no, attempt, now);
        effects.push(FarmEffect::Input { pool: worker.pool.clone(), batch_no });
        effects.push(FarmEffect::Send { worker: worker.clone(), directive: Directive { process, control } });
    }

    /// Answers a report that nobody asked for, within the pool's budget. What is dropped is asked for again.
    pub(super) fn reply(
        &mut self,
        worker: &WorkerId,
        process: ProcessId,
        control: Control,
        now: u64,
        effects: &mut Vec<FarmEffect>,
    ) {
        let Some(pool) = self.work.pools.get_mut(&worker.pool) else { return };
        if pool.may_reply(now) {
            let directive = Directive { process, control };
            effects.push(FarmEffect::Send { worker: worker.clone(), directive });
        }
    }

    /// The worker is gone, and so are its attempts.
    pub(super) fn depart(
        &mut self,
        worker: &WorkerId,
        end: AttemptEnd,
        message: &str,
        now: u64,
        effects: &mut Vec<FarmEffect>,
    ) {
        for (batch_no, attempt) in self.work.leases_of.get(worker).cloned().unwrap_or_default() {
            self.end(batch_no, attempt, end, message, now, effects);
        }
        if self.work.registry.remove(worker, message).is_some() {
            if let Some(pool) = self.work.pools.get_mut(&worker.pool) {
                pool.workers = pool.workers.saturating_sub(1);
            }
            effects.push(FarmEffect::Forget { worker: worker.clone() });
        }
        if self.book.draining().contains(worker) {
            self.record(FarmRecord::Admitted { worker: worker.clone() }, now, effects);
        }
    }

    pub(super) fn drain(&mut self, worker: WorkerId, now: u64, effects: &mut Vec<FarmEffect>) {
        if self.book.draining().contains(&worker) || self.book.draining().len() >= MAX_DRAINING {
            return;
        }
        self.record(FarmRecord::Draining { worker: worker.clone() }, now, effects);
        if let Some(known) = self.work.registry.get_mut(&worker) {
            known.is_draining = true;
            let directive = Directive { process: known.process, control: Control::Drain };
            effects.push(FarmEffect::Send { worker: worker.clone(), directive });
            self.refresh(&worker);
        }
    }
}
