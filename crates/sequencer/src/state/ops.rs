//! What operators ask of the state and decide about it.
//!
//! A pause stops new operations only: what was accepted was promised, so it is sealed, proved and settled, and forced
//! requests are taken in, since their deadlines run on L1 whatever happens here. Each decision may be repeated and changes
//! nothing the second time.

use protocol::{OperationId, Stage};
use wire::{Attempt, JobId, PoolName, WorkerId};

use super::{
    State, StateError,
    event::{Event, OpsRecord, Stamped},
};
use crate::farm::{FarmCommand, FarmEffect, Load, MAX_POOLS, Phase};

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
    /// `StateError` if the cores disagree, which would be a bug.
    pub fn ops(&mut self, record: OpsRecord, now: u64, log: &mut Vec<Stamped>) -> Result<(), StateError> {
        let news = self.paused != (record == OpsRecord::Paused);
        self.record(news.then_some(Event::Ops(record)), now, log).map(drop)
    }

    /// This coordinator leads in a term, which is noted once.
    ///
    /// # Errors
    /// `StateError` if the cores disagree, which would be a bug.
    pub fn led(&mut self, term: u64, now: u64, log: &mut Vec<Stamped>) -> Result<(), StateError> {
        let batch_no = self.batcher.open_batch().batch_no;
        let led = Event::Ops(OpsRecord::Led { term, batch_no });
        self.record((self.term != term).then_some(led), now, log).map(drop)
    }

    /// The smallest thing that can be written: whether a store that refused takes it.
    ///
    /// # Errors
    /// `StateError` if the cores disagree, which would be a bug.
    pub fn probe(&mut self, now: u64, log: &mut Vec<Stamped>) -> Result<(), StateError> {
        let batch_no = self.batcher.open_batch().batch_no;
        self.record([Event::Ops(OpsRecord::StoreBack { batch_no })], now, log).map(drop)
    }

    /// Notes that an operator has given up what was promised behind event `found`.
    ///
    /// # Errors
    /// `StateError` if the cores disagree, which would be a bug.
    pub fn loss_accepted(
        &mut self,
        known: u64,
        found: u64,
        now: u64,
        log: &mut Vec<Stamped>,
    ) -> Result<(), StateError> {
        let batch_no = self.batcher.open_batch().batch_no;
        self.record([Event::Ops(OpsRecord::LossAccepted { batch_no, known, found })], now, log).map(drop)
    }

    /// Sends a poisoned or parked job out again; any other job is left as it is.
    pub fn requeue(&mut self, batch_no: u32, now: u64, log: &mut Vec<Stamped>) -> Vec<FarmEffect> {
        self.farm_step(FarmCommand::Requeue { batch_no }, now, log)
    }

    /// Tells a worker to finish what it proves and to leave.
    pub fn drain(&mut self, worker: WorkerId, now: u64, log: &mut Vec<Stamped>) -> Vec<FarmEffect> {
        self.farm_step(FarmCommand::Drain { worker }, now, log)
    }

    /// Adds a pool of workers. False if there are as many as there may be.
    pub fn add_pool(&mut self, pool: PoolName, now: u64, log: &mut Vec<Stamped>) -> (bool, Vec<FarmEffect>) {
        let known = self.farm.pools().any(|(name, _)| *name == pool);
        let room = known || self.farm.pools().count() < MAX_POOLS;
        (room, self.farm_step(FarmCommand::AddPool { pool }, now, log))
    }

    /// Removes a pool of workers, if it is there.
    pub fn remove_pool(&mut self, pool: PoolName, now: u64, log: &mut Vec<Stamped>) -> Vec<FarmEffect> {
        self.farm_step(FarmCommand::RemovePool { pool }, now, log)
    }

    /// The batch that an operation is in.
    pub fn batch_of(&self, id: &OperationId) -> Option<u32> {
        self.operations.get(id).map(|operation| operation.batch_no)
    }

    /// Promises that run out soon or have run out.
    pub fn deadlines(&self, now: u64) -> Deadlines {
        let now = now / 1000;
        let mut deadlines = Deadlines::default();
        let unsettled = (self.tree.final_batch() + 1)..=self.batcher.open_batch().batch_no;
        let sealed = unsettled.filter_map(|batch_no| self.batches.get(&batch_no));
        let ids = sealed.flat_map(|batch| &batch.operations).chain(&self.batcher.open_batch().operations);
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
        let open = self.batcher.open_batch();
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
        match &job.phase {
            Phase::Poisoned { message } => {
                format!("It is poisoned ({message}); find out why, then requeue it.")
            }
            Phase::Parked { message } => format!(
                "It is parked after {} attempts that ended badly, the last of them alone ({message}); it is tried again after a \
                 pause, or at once if it is requeued.",
                job.failures
            ),
            Phase::Leased => {
                let leases = job.live.iter().map(|lease| {
                    let held = self.farm.worker(&lease.worker);
                    let key = (JobId::of_batch(batch_no), Attempt(lease.attempt));
                    let stage = held
                        .and_then(|known| {
                            known.in_flight.iter().find(|named| (named.job, named.attempt) == key)
                        })
                        .map_or_else(String::new, |named| {
                            format!(", stage {:?}", named.stage).to_lowercase()
                        });
                    let left = seconds(lease.until.saturating_sub(now));
                    format!(
                        "{} holds attempt {}{stage}; its lease ends in {left} without a heartbeat.",
                        lease.worker, lease.attempt
                    )
                });
                leases.collect::<Vec<_>>().join(" ")
            }
            Phase::Due => {
                let able = |known: &crate::farm::Worker| {
                    known.circuits().any(|shape| shape == job.shape)
                        && known.registration.as_ref().is_some_and(|known| {
                            known.circuits.iter().any(|circuit| circuit.digest == job.circuit_digest)
                        })
                };
                let able: Vec<_> = self.farm.workers().filter(|(_, worker)| able(worker)).collect();
                let takes =
                    |id: &wire::WorkerId| !job.failed_on.contains(id) && !self.farm.draining().contains(id);
                let free = able.iter().filter(|(id, _)| takes(id)).count();
                let alone = if job.quarantined { "It is tried alone. " } else { "" };
                match (able.len(), free) {
                    (0, _) => format!("{alone}No worker with the key of {} is alive.", job.shape.name()),
                    (able, 0) => {
                        format!(
                            "{alone}Each of the {able} workers that could prove it has failed on it or drains."
                        )
                    }
                    (_, free) => format!("{alone}{free} workers could take it and are busy."),
                }
            }
        }
    }
}

/// What the state says against new operations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    pub paused: bool,
    /// Batches that nobody could prove.
    pub stuck: Vec<u32>,
    /// What the farm has to do; nothing where it does not count.
    pub load: Option<Load>,
}

pub fn trouble(state: &State) -> Trouble {
    let stuck = state.farm.stuck().map(|(batch_no, ..)| batch_no).collect();
    Trouble { paused: state.paused, stuck, load: Some(state.load(state.farm.counted_at())) }
}

/// A duration for people.
pub fn seconds(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..120_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
    }
}
