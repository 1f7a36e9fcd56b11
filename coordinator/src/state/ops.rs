//! What operators ask of the state and decide about it.
//!
//! A pause stops new operations only: what was accepted was promised, so it is sealed, proved and settled, and forced
//! requests are taken in, since their deadlines run on L1 whatever happens here. Each decision may be repeated and changes
//! nothing the second time.

use wire::{JobId, WorkerId};

use super::{
    State, StateError,
    event::{Event, OperationId, OpsRecord, Stamped},
};
use crate::{
    farm::{FarmEffect, FarmEvent, Phase},
    service::Stage,
};

/// A promise is near its deadline when it has less than this left, in seconds.
const NEAR_DEADLINE_S: u64 = 600;

/// Promises of operations that are not final yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deadlines {
    /// Due within ten minutes.
    pub near: u64,
    pub missed: u64,
}

impl State {
    /// Whether an operator has paused new operations.
    pub fn paused(&self) -> bool {
        self.paused
    }

    /// Pauses or resumes new operations.
    ///
    /// # Errors
    /// `StateError` never.
    pub fn ops(&mut self, record: OpsRecord, now: u64, log: &mut Vec<Stamped>) -> Result<(), StateError> {
        if self.paused == (record == OpsRecord::Paused) {
            return Ok(());
        }
        self.log(now, Event::Ops(record), log)
    }

    /// This coordinator leads in a term, which is noted once.
    ///
    /// # Errors
    /// `StateError` never.
    pub fn led(&mut self, term: u64, now: u64, log: &mut Vec<Stamped>) -> Result<(), StateError> {
        if self.term == term {
            return Ok(());
        }
        let batch_no = self.batcher.open.batch_no;
        self.log(now, Event::Ops(OpsRecord::Led { term, batch_no }), log)
    }

    /// The smallest thing that can be written: whether a store that refused takes it.
    ///
    /// # Errors
    /// `StateError` never.
    pub fn probe(&mut self, now: u64, log: &mut Vec<Stamped>) -> Result<(), StateError> {
        let batch_no = self.batcher.open.batch_no;
        self.log(now, Event::Ops(OpsRecord::StoreBack { batch_no }), log)
    }

    /// Notes that an operator has given up what was promised behind event `found`.
    ///
    /// # Errors
    /// `StateError` never.
    pub fn loss_accepted(
        &mut self,
        known: u64,
        found: u64,
        now: u64,
        log: &mut Vec<Stamped>,
    ) -> Result<(), StateError> {
        let batch_no = self.batcher.open.batch_no;
        self.log(now, Event::Ops(OpsRecord::LossAccepted { batch_no, known, found }), log)
    }

    /// Sends a poisoned job out again; any other job is left as it is.
    pub fn requeue(&mut self, batch_no: u32, now: u64, log: &mut Vec<Stamped>) -> Vec<FarmEffect> {
        self.farm_step(FarmEvent::Requeue { batch_no }, now, log)
    }

    /// Tells a worker to finish what it proves and to leave.
    pub fn drain(&mut self, worker: WorkerId, now: u64, log: &mut Vec<Stamped>) -> Vec<FarmEffect> {
        self.farm_step(FarmEvent::Drain { worker }, now, log)
    }

    /// The batch that an operation is in.
    pub fn batch_of(&self, id: &OperationId) -> Option<u32> {
        self.operations.get(id).map(|operation| operation.batch_no)
    }

    /// Promises that run out soon or have run out.
    pub fn deadlines(&self, now: u64) -> Deadlines {
        let now = now / 1000;
        let mut deadlines = Deadlines::default();
        let unsettled = (self.tree.final_batch() + 1)..=self.batcher.open.batch_no;
        let sealed = unsettled.filter_map(|batch_no| self.batches.get(&batch_no));
        let ids = sealed.flat_map(|batch| &batch.operations).chain(&self.batcher.open.operations);
        for operation in ids.filter_map(|id| self.operations.get(id)) {
            if operation.promised.is_empty() {
                continue;
            }
            deadlines.missed += u64::from(operation.deadline <= now);
            deadlines.near +=
                u64::from(operation.deadline > now && operation.deadline - now < NEAR_DEADLINE_S);
        }
        deadlines
    }

    /// What a batch waits for, as a sentence; nothing for a batch that never was.
    pub fn waits_for(&self, batch_no: u32, now: u64) -> Option<String> {
        let open = &self.batcher.open;
        if batch_no == open.batch_no {
            let (slots, places) = (open.slots.len(), open.places);
            return Some(format!("It is open: {slots} of {places} slots are taken."));
        }
        let batch = self.batches.get(&batch_no)?;
        Some(match batch.stage() {
            Stage::Accepted | Stage::Sealed | Stage::Proving => self.waits_for_proof(batch_no, now),
            Stage::Proven => match self.tree.final_batch() + 1 {
                next if next == batch_no => {
                    "It is proven and waits for its transaction to be signed.".to_owned()
                }
                next => format!(
                    "It is proven and waits for its transaction; batch {next} is the next to become final."
                ),
            },
            Stage::Submitted => match batch.l1_block {
                Some(block) => format!("It is in block {block} of L1, which is not final yet."),
                None if self.settlement.transactions(batch_no).is_empty() => {
                    "No transaction of it is on its way any more; another one is signed.".to_owned()
                }
                None => "Its transaction is sent and in no block yet.".to_owned(),
            },
            Stage::Final => "It is final.".to_owned(),
        })
    }

    fn waits_for_proof(&self, batch_no: u32, now: u64) -> String {
        let Some(job) = self.farm.job(batch_no) else {
            let next = self.tree.proven_batch() + 1;
            return format!("Its proof is there and waits for the proof of batch {next}.");
        };
        let ago = |then: u64| seconds(now.saturating_sub(then));
        match &job.phase {
            Phase::Poisoned { message } => format!(
                "It is poisoned after {} failed attempts by {} workers (the last: {message}); find out why, then requeue it.",
                job.charged,
                job.blamed_by.len()
            ),
            Phase::Leased { worker, until } => {
                let held = self.farm.workers().find(|(id, _)| *id == worker);
                let stage = held
                    .and_then(|(_, known)| {
                        known.holds.iter().find(|hold| hold.job == JobId::of_batch(batch_no))
                    })
                    .map_or_else(String::new, |hold| format!(", stage {:?}", hold.stage).to_lowercase());
                let left = seconds(until.saturating_sub(now));
                format!(
                    "{worker} holds attempt {}{stage}; its lease ends in {left} without a heartbeat.",
                    job.attempt
                )
            }
            Phase::Due => "It is to be published; earlier batches fill the queue.".to_owned(),
            Phase::Published { since } => {
                let able = |known: &crate::farm::Worker| {
                    let refused = known.refused.contains_key(&job.shape);
                    !refused
                        && known.registration.as_ref().is_some_and(|known| {
                            known.circuits.iter().any(|circuit| circuit.digest == job.circuit_digest)
                        })
                };
                let workers = self.farm.workers().filter(|(_, worker)| able(worker));
                let (mut able, mut free) = (0, 0);
                for (id, _) in workers {
                    able += 1;
                    free += u32::from(!job.excluded.contains(id) && !self.farm.draining().contains(id));
                }
                let why = match (able, free) {
                    (0, _) => format!("no worker holds the key of {}", job.shape.name()),
                    (_, 0) => {
                        format!("each of the {able} workers that could prove it has failed on it or drains")
                    }
                    (_, free) => format!("{free} workers could take it and are busy"),
                };
                format!("Attempt {} was published {} ago; {why}.", job.attempt, ago(*since))
            }
        }
    }
}

/// What the state says against new operations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub paused: bool,
    /// Batches that wait for a person.
    pub poisoned: Vec<u32>,
}

pub(crate) fn trouble(state: &State) -> Trouble {
    let poisoned = state.farm.poisoned().map(|(batch_no, _)| batch_no).collect();
    Trouble { paused: state.paused, poisoned }
}

/// A duration for people.
pub fn seconds(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..120_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
    }
}
