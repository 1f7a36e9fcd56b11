//! What goes out to the workers, and what comes back without an event: leases that end in silence, attempts that nobody claims.
//!
//! Invariant: a job is never kept for a worker that is gone. Who failed on a job is shut out of it only while somebody else
//! is here, and one that started again is let in again where it was not to blame.

use std::collections::BTreeSet;

use wire::{
    Control,
    job::{Attempt, JobEntry, JobId, WorkerId},
    queue::Priority,
};

use super::{Farm, FarmEffect, FarmRecord, Phase};

/// Entries published and not claimed, for each worker that is there, and at least.
const ENTRIES_PER_WORKER: usize = 2;
pub(super) const MIN_ENTRIES: usize = 4;
/// A worker that was silent for so many leases is forgotten.
pub(super) const FORGET_AFTER_LEASES: u64 = 10;

/// Why a lease ended that nobody reported about.
pub const SILENT: &str = "the worker fell silent";
/// Why a lease ended whose worker is another process now.
pub const RESTARTED: &str = "the worker started again";

impl Farm {
    /// Workers that were heard of within a lease.
    fn living(&self, now: u64) -> BTreeSet<WorkerId> {
        let heard = self.crew.present().iter().filter(|(_, worker)| worker.seen + self.rules.lease_ms > now);
        heard.map(|(name, _)| name.clone()).collect()
    }

    /// A worker that started again is another process: what its last one did not finish is not its fault.
    pub(super) fn let_in_again(&mut self, worker: &WorkerId, effects: &mut Vec<FarmEffect>) {
        for (batch_no, job) in &mut self.jobs {
            let shut_out = job.excluded.iter().position(|name| name == worker);
            let Some(place) = shut_out.filter(|_| !job.blamed_by.contains(worker)) else { continue };
            job.excluded.remove(place);
            // What is out already names whom it shuts out.
            if matches!(job.phase, Phase::Published { .. }) {
                let id = JobId::of_batch(*batch_no);
                effects.push(FarmEffect::Retire { job: id, attempt: Attempt(job.attempt) });
                job.phase = Phase::Due;
            }
        }
    }

    /// Ends every attempt a worker holds, for no fault of the jobs.
    pub(super) fn release(&mut self, worker: &WorkerId, message: &str, effects: &mut Vec<FarmEffect>) {
        let held: Vec<(u32, u32)> = self
            .jobs
            .iter()
            .filter(|(_, job)| matches!(&job.phase, Phase::Leased { worker: holder, .. } if holder == worker))
            .map(|(batch_no, job)| (*batch_no, job.attempt))
            .collect();
        for (batch_no, attempt) in held {
            let (id, attempt) = (JobId::of_batch(batch_no), Attempt(attempt));
            self.end(id, attempt, worker, false, message.to_owned(), effects);
            effects.push(FarmEffect::Retire { job: id, attempt });
        }
    }

    pub(super) fn expire(&mut self, now: u64, effects: &mut Vec<FarmEffect>) {
        let forget = self.rules.lease_ms.saturating_mul(FORGET_AFTER_LEASES);
        if let Some(then) = now.checked_sub(forget) {
            self.crew.forget_silent_since(then);
        }
        let living = self.living(now);
        let mut expired = Vec::new();
        for (batch_no, job) in &mut self.jobs {
            match &job.phase {
                Phase::Leased { worker, until } if *until <= now => {
                    expired.push((*batch_no, job.attempt, worker.clone()));
                }
                Phase::Published { since } if since + self.rules.claim_ms <= now => {
                    let id = JobId::of_batch(*batch_no);
                    effects.push(FarmEffect::Retire { job: id, attempt: Attempt(job.attempt) });
                    job.phase = Phase::Due;
                }
                // Whom it would let in has gone since, and those who are here it shuts out: it goes out anew, to all.
                Phase::Published { .. }
                    if !living.is_empty() && living.iter().all(|worker| job.excluded.contains(worker)) =>
                {
                    let id = JobId::of_batch(*batch_no);
                    effects.push(FarmEffect::Retire { job: id, attempt: Attempt(job.attempt) });
                    job.phase = Phase::Due;
                }
                _ => {}
            }
        }
        for (batch_no, attempt, worker) in expired {
            let (job, attempt) = (JobId::of_batch(batch_no), Attempt(attempt));
            self.end(job, attempt, &worker, false, SILENT.to_owned(), effects);
            effects.push(FarmEffect::Retire { job, attempt });
            effects.push(FarmEffect::Control { worker, control: Control::Cancel { job, attempt } });
        }
    }

    /// Publishes what is due, oldest batch first, and not much more than the workers can take: what waits in the queue can
    /// neither be reordered nor kept from a worker.
    pub(super) fn publish(&mut self, now: u64, effects: &mut Vec<FarmEffect>) {
        let published = self.jobs.values().filter(|job| matches!(job.phase, Phase::Published { .. })).count();
        let room =
            (ENTRIES_PER_WORKER * self.crew.present().len()).max(MIN_ENTRIES).saturating_sub(published);
        let living = self.living(now);
        for (batch_no, job) in self.jobs.iter_mut().filter(|(_, job)| job.phase == Phase::Due).take(room) {
            job.attempt += 1;
            job.phase = Phase::Published { since: now };
            // Nobody whom the job lets in is there: let everybody in.
            if living.iter().all(|worker| job.excluded.contains(worker)) {
                job.excluded.clear();
            }
            let record = FarmRecord::Published { batch_no: *batch_no, attempt: job.attempt };
            effects.push(FarmEffect::Record(record));
            let entry = JobEntry {
                job: JobId::of_batch(*batch_no),
                attempt: Attempt(job.attempt),
                shape: job.shape,
                circuit_digest: job.circuit_digest,
                input_hash: job.input_hash,
                excluded: job.excluded.clone(),
            };
            let priority = if job.attempt == 1 { Priority::Normal } else { Priority::Urgent };
            effects.push(FarmEffect::Publish { entry, priority });
        }
    }
}
