//! Which worker proves which batch, and what happens when it does not.
//!
//! Each job is handed out as numbered attempts. An attempt is published, claimed, granted (a lease kept by heartbeats) and
//! ends with a verified proof or goes to another worker. A lease that runs out, a hand-back and an infrastructure failure
//! are not the job's fault; proofs that do not verify and inputs that cannot be proved are, and once k different workers
//! reported one the job is poisoned: it waits for a person, with an alarm. A worker that fails twice counts once, so that a
//! broken one cannot poison what another could prove; where there are fewer than k workers, 2k such attempts are enough. A
//! proof that verifies is accepted whoever brings it and however late.
//!
//! Leases live in memory only: after a restart every job is published again under its next attempt.
//!
//! | file | concept |
//! |---|---|
//! | `farm` | jobs and their attempts |
//! | `record` | what it must know after a restart |
//! | `dispatch` | what goes out, and what comes back without an event |
//! | `crew` | the workers, their cards and the energy of their proofs |
//! | `keys` | which workers have the contract's keys, and what the others are told |

use std::collections::{BTreeMap, BTreeSet};

use circuits::shape::Shape;
use wire::{
    Control, FailureKind, WorkerEvent,
    job::{Attempt, JobEntry, JobId, WorkerId},
    queue::Priority,
};

mod crew;
mod dispatch;
mod keys;
mod record;

use crew::Crew;
pub use crew::{Departed, Worker};
pub use dispatch::{RESTARTED, SILENT};
pub use record::FarmRecord;

/// Workers excluded from a job at most; the oldest is let in again so that a small farm never excludes itself.
const MAX_EXCLUDED: usize = 8;
/// Charged attempts that poison a job whoever made them, as a multiple of the workers that do.
const ATTEMPTS_PER_WORKER: u32 = 2;
/// Workers told to drain that are remembered at most.
const MAX_DRAINING: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FarmRules {
    /// A lease without a heartbeat ends after this.
    pub lease_ms: u64,
    /// A published attempt that nobody claims is published again after this.
    pub claim_ms: u64,
    /// Workers that a job is charged by before it is poisoned.
    pub poison_after: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Phase {
    /// To be published at the next tick.
    Due,
    Published {
        since: u64,
    },
    Leased {
        worker: WorkerId,
        until: u64,
    },
    Poisoned {
        message: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Job {
    pub shape: Shape,
    pub circuit_digest: [u8; 32],
    pub input_hash: [u8; 32],
    pub attempt: u32,
    /// Attempts that ended by the job's own fault.
    pub charged: u32,
    /// The workers that made them, each once.
    pub blamed_by: BTreeSet<WorkerId>,
    pub excluded: Vec<WorkerId>,
    pub phase: Phase,
}

/// What the farm is told.
#[derive(Clone, Debug)]
pub enum FarmEvent {
    /// Anything a worker reports but a proof, which is verified first.
    Worker(Box<WorkerEvent>),
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
    /// The queue lost everything it held: what was published and not claimed is published again.
    QueueLost,
    /// An operator sends a poisoned job out again, with a clean record.
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
    Publish {
        entry: JobEntry,
        priority: Priority,
    },
    Control {
        worker: WorkerId,
        control: Control,
    },
    /// The attempt ended without an event of its own.
    Retire {
        job: JobId,
        attempt: Attempt,
    },
    Remove {
        job: JobId,
    },
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Farm {
    rules: FarmRules,
    jobs: BTreeMap<u32, Job>,
    /// Told by an operator to take nothing more, until they start again.
    draining: BTreeSet<WorkerId>,
    #[serde(skip)]
    crew: Crew,
    /// The digest of the contract's verifying key of each circuit.
    #[serde(skip)]
    pinned: BTreeMap<Shape, [u8; 32]>,
}

impl Farm {
    /// `pinned`: the digest of the contract's verifying key of each circuit.
    pub fn new(rules: FarmRules, pinned: BTreeMap<Shape, [u8; 32]>) -> Self {
        Self { rules, jobs: BTreeMap::new(), draining: BTreeSet::new(), crew: Crew::default(), pinned }
    }

    pub fn job(&self, batch_no: u32) -> Option<&Job> {
        self.jobs.get(&batch_no)
    }

    pub fn jobs(&self) -> impl Iterator<Item = (u32, &Job)> {
        self.jobs.iter().map(|(batch_no, job)| (*batch_no, job))
    }

    pub fn workers(&self) -> impl Iterator<Item = (&WorkerId, &Worker)> {
        self.crew.present().iter()
    }

    /// Workers that left or fell silent a while ago.
    pub fn departed(&self) -> impl Iterator<Item = &Departed> {
        self.crew.departed()
    }

    /// Jobs that wait for a person, with the last failure of each.
    pub fn poisoned(&self) -> impl Iterator<Item = (u32, &str)> {
        self.jobs.iter().filter_map(|(batch_no, job)| match &job.phase {
            Phase::Poisoned { message } => Some((*batch_no, message.as_str())),
            Phase::Due | Phase::Published { .. } | Phase::Leased { .. } => None,
        })
    }

    /// Workers that were told to drain and have not started again since.
    pub fn draining(&self) -> &BTreeSet<WorkerId> {
        &self.draining
    }

    /// A sealed batch waits to be proved.
    pub fn enqueue(&mut self, batch_no: u32, shape: Shape, circuit_digest: [u8; 32], input_hash: [u8; 32]) {
        let job = Job {
            shape,
            circuit_digest,
            input_hash,
            attempt: 0,
            charged: 0,
            blamed_by: BTreeSet::new(),
            excluded: Vec::new(),
            phase: Phase::Due,
        };
        self.jobs.insert(batch_no, job);
    }

    /// The batch is proven, by whomever. The worker that holds another attempt of it is told to stop.
    pub fn proven(&mut self, batch_no: u32, by: &WorkerId) -> Vec<FarmEffect> {
        let Some(job) = self.jobs.remove(&batch_no) else { return Vec::new() };
        let id = JobId::of_batch(batch_no);
        let mut effects = Vec::new();
        if let Phase::Leased { worker, .. } = job.phase
            && worker != *by
        {
            let control = Control::Cancel { job: id, attempt: Attempt(job.attempt) };
            effects.push(FarmEffect::Control { worker, control });
        }
        effects.push(FarmEffect::Remove { job: id });
        effects
    }

    /// After a restart from a snapshot: leases lived in memory only, so every job is published again.
    pub(crate) fn restart(&mut self, rules: FarmRules, pinned: BTreeMap<Shape, [u8; 32]>) {
        (self.rules, self.pinned) = (rules, pinned);
        let lost = |phase: &Phase| matches!(phase, Phase::Published { .. } | Phase::Leased { .. });
        for job in self.jobs.values_mut().filter(|job| lost(&job.phase)) {
            job.phase = Phase::Due;
        }
    }

    /// As it comes back after a restart, but for the workers that were let in again, which is not recorded.
    #[cfg(feature = "sim")]
    pub(crate) fn restarted(&self) -> Self {
        let mut farm = self.clone();
        farm.restart(self.rules, self.pinned.clone());
        farm.jobs.values_mut().for_each(|job| job.excluded.clear());
        farm
    }

    /// Repeats what was recorded before a restart.
    pub fn replay(&mut self, record: &FarmRecord) {
        match record {
            FarmRecord::Draining { worker } => self.drain(worker),
            FarmRecord::Admitted { worker } => {
                self.draining.remove(worker);
            }
            _ => {}
        }
        let Some(job) = record.batch_no().and_then(|batch_no| self.jobs.get_mut(&batch_no)) else { return };
        match record {
            FarmRecord::Published { attempt, .. } => job.attempt = *attempt,
            FarmRecord::Ended { worker, charged, .. } => job.end(worker.as_ref(), *charged),
            FarmRecord::Poisoned { message, .. } => job.phase = Phase::Poisoned { message: message.clone() },
            FarmRecord::Requeued { .. } => job.clear(),
            // The job of a late proof is gone; of the others nothing is kept.
            FarmRecord::Granted { .. }
            | FarmRecord::Draining { .. }
            | FarmRecord::Admitted { .. }
            | FarmRecord::Late { .. } => {}
        }
    }

    pub fn step(&mut self, event: FarmEvent, now: u64) -> Vec<FarmEffect> {
        let mut effects = Vec::new();
        match event {
            FarmEvent::Worker(event) => self.worker(*event, now, &mut effects),
            FarmEvent::ProofRefused { worker, job, attempt } => {
                let message = "the proof does not verify".to_owned();
                self.end(job, attempt, &worker, true, message, &mut effects);
            }
            FarmEvent::ProofEnergy { worker, millijoules, payments } => {
                self.crew.spent(&worker, millijoules, payments);
            }
            FarmEvent::QueueLost => {
                for job in self.jobs.values_mut().filter(|job| matches!(job.phase, Phase::Published { .. })) {
                    job.phase = Phase::Due;
                }
            }
            FarmEvent::Requeue { batch_no } => {
                let poisoned = |job: &&mut Job| matches!(job.phase, Phase::Poisoned { .. });
                if let Some(job) = self.jobs.get_mut(&batch_no).filter(poisoned) {
                    job.clear();
                    effects.push(FarmEffect::Record(FarmRecord::Requeued { batch_no }));
                }
            }
            FarmEvent::Drain { worker } => {
                if !self.draining.contains(&worker) {
                    self.drain(&worker);
                    effects.push(FarmEffect::Record(FarmRecord::Draining { worker: worker.clone() }));
                    self.crew.told_to_drain(&worker);
                    effects.push(FarmEffect::Control { worker, control: Control::Drain });
                }
            }
            FarmEvent::Tick => self.expire(now, &mut effects),
        }
        self.publish(now, &mut effects);
        effects
    }

    fn worker(&mut self, event: WorkerEvent, now: u64, effects: &mut Vec<FarmEffect>) {
        let name = event.worker().clone();
        let worker = self.crew.hear(&name, now);
        match event {
            WorkerEvent::Register { registration, fresh, .. } => {
                worker.refused = keys::refused(&self.pinned, &registration);
                worker.registration = Some(registration);
                // One that has just started has lost what it held before.
                if fresh {
                    self.release(&name, RESTARTED, effects);
                    self.let_in_again(&name, effects);
                }
                self.refuse(&name, effects);
                if fresh && self.draining.remove(&name) {
                    effects.push(FarmEffect::Record(FarmRecord::Admitted { worker: name }));
                }
            }
            WorkerEvent::Claimed { job, attempt, .. } => self.claimed(name, job, attempt, now, effects),
            WorkerEvent::Heartbeat { holds, card, .. } => {
                // Whoever beats is there, but after a restart of this side nobody knows what it can do.
                if worker.registration.is_none() {
                    let (worker, control) = (name.clone(), Control::Introduce);
                    effects.push(FarmEffect::Control { worker, control });
                }
                worker.holds.clone_from(&holds);
                worker.card = card.map(|mut card| {
                    card.clip();
                    card
                });
                // Said again after a restart of this side, in which the control may have been lost.
                if self.draining.contains(&name) && !std::mem::replace(&mut worker.told_to_drain, true) {
                    effects.push(FarmEffect::Control { worker: name.clone(), control: Control::Drain });
                }
                let until = now + self.rules.lease_ms;
                for hold in holds {
                    let leased = self.leased(hold.job, hold.attempt, &name);
                    match leased {
                        Some(job) => job.phase = Phase::Leased { worker: name.clone(), until },
                        // Claimed and not granted yet, or taken away: a repeated claim is answered, a lost one cancelled.
                        None if hold.stage == wire::Stage::Waiting => {
                            self.claimed(name.clone(), hold.job, hold.attempt, now, effects);
                        }
                        None => effects.push(FarmEffect::Control {
                            worker: name.clone(),
                            control: Control::Cancel { job: hold.job, attempt: hold.attempt },
                        }),
                    }
                }
            }
            WorkerEvent::Failed { job, attempt, kind, message, .. } => {
                let charged = kind != FailureKind::Infrastructure;
                self.end(job, attempt, &name, charged, message, effects);
            }
            WorkerEvent::HandedBack { job, attempt, message, .. } => {
                self.end(job, attempt, &name, false, message, effects);
            }
            WorkerEvent::Left { message, .. } => {
                self.release(&name, &message, effects);
                self.crew.leave(&name, &message);
            }
            // Verified first: a proof reaches the farm as `proven` or `ProofRefused`.
            WorkerEvent::Proved { .. } => {}
        }
    }

    fn leased(&mut self, job: JobId, attempt: Attempt, worker: &WorkerId) -> Option<&mut Job> {
        let job = self.jobs.get_mut(&job.batch_no()?)?;
        let held = matches!(&job.phase, Phase::Leased { worker: holder, .. } if holder == worker);
        (held && job.attempt == attempt.0).then_some(job)
    }

    fn claimed(
        &mut self,
        worker: WorkerId,
        id: JobId,
        attempt: Attempt,
        now: u64,
        effects: &mut Vec<FarmEffect>,
    ) {
        if self.refuse_claim(&worker, id, attempt, effects) {
            return;
        }
        let until = now + self.rules.lease_ms;
        let draining = self.draining.contains(&worker);
        let job = id.batch_no().and_then(|batch_no| Some((batch_no, self.jobs.get_mut(&batch_no)?)));
        let grantable = job.filter(|(_, job)| {
            job.attempt == attempt.0
                && match &job.phase {
                    Phase::Published { .. } => !draining && !job.excluded.contains(&worker),
                    // The grant was lost on the way.
                    Phase::Leased { worker: holder, .. } => *holder == worker,
                    Phase::Due | Phase::Poisoned { .. } => false,
                }
        });
        let control = match grantable {
            Some((batch_no, job)) => {
                if matches!(job.phase, Phase::Published { .. }) {
                    let record = FarmRecord::Granted { batch_no, attempt: attempt.0, worker: worker.clone() };
                    effects.push(FarmEffect::Record(record));
                }
                job.phase = Phase::Leased { worker: worker.clone(), until };
                Control::Grant { job: id, attempt }
            }
            None => Control::Cancel { job: id, attempt },
        };
        effects.push(FarmEffect::Control { worker, control });
    }

    /// Ends the attempt if the worker still holds it.
    fn end(
        &mut self,
        id: JobId,
        attempt: Attempt,
        worker: &WorkerId,
        charged: bool,
        message: String,
        effects: &mut Vec<FarmEffect>,
    ) {
        let poison_after = self.rules.poison_after;
        let Some(batch_no) = id.batch_no() else { return };
        let Some(job) = self.leased(id, attempt, worker) else { return };
        job.end(Some(worker), charged);
        let poisoned = charged && job.is_poison(poison_after);
        if poisoned {
            job.phase = Phase::Poisoned { message: message.clone() };
        }
        let (attempt, worker) = (attempt.0, Some(worker.clone()));
        effects.push(FarmEffect::Record(FarmRecord::Ended {
            batch_no,
            attempt,
            worker,
            charged,
            message: message.clone(),
        }));
        if poisoned {
            effects.push(FarmEffect::Record(FarmRecord::Poisoned { batch_no, message }));
        }
    }

    fn drain(&mut self, worker: &WorkerId) {
        if self.draining.len() < MAX_DRAINING {
            self.draining.insert(worker.clone());
        }
    }
}

impl Job {
    fn is_poison(&self, poison_after: u32) -> bool {
        self.blamed_by.len() >= poison_after as usize
            || self.charged >= poison_after.saturating_mul(ATTEMPTS_PER_WORKER)
    }

    /// Begins anew, but for the number of its attempts, which is never used twice.
    fn clear(&mut self) {
        self.charged = 0;
        self.blamed_by.clear();
        self.excluded.clear();
        self.phase = Phase::Due;
    }

    fn end(&mut self, worker: Option<&WorkerId>, charged: bool) {
        self.charged += u32::from(charged);
        self.blamed_by.extend(worker.filter(|_| charged).cloned());
        self.phase = Phase::Due;
        if let Some(worker) = worker
            && !self.excluded.contains(worker)
        {
            self.excluded.push(worker.clone());
            if self.excluded.len() > MAX_EXCLUDED {
                self.excluded.remove(0);
            }
        }
    }
}

#[cfg(test)]
mod tests;
