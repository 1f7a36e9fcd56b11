//! The workers: who is there, how they and their cards are, and who left. In memory only, like the leases.

use std::collections::{BTreeMap, VecDeque};

use circuits::shape::Shape;
use wire::{CardReading, EnergyAverage, Hold, Registration, job::WorkerId};

/// Workers that left and are still told of.
const MAX_DEPARTED: usize = 16;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Worker {
    pub registration: Option<Registration>,
    /// When it was last heard of, Unix milliseconds.
    pub seen: u64,
    /// What it holds, as of its last heartbeat.
    pub holds: Vec<Hold>,
    pub card: Option<Box<CardReading>>,
    pub energy: EnergyAverage,
    /// Whether it heard that an operator wants it to drain.
    pub told_to_drain: bool,
    /// Circuits that it gets no jobs of, since its keys are not the contract's, and why.
    pub refused: BTreeMap<Shape, String>,
}

/// A worker that is no longer there, as it was last.
#[derive(Clone, Debug, PartialEq)]
pub struct Departed {
    pub id: WorkerId,
    pub worker: Worker,
    pub message: String,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Crew {
    present: BTreeMap<WorkerId, Worker>,
    /// Oldest first.
    departed: VecDeque<Departed>,
}

impl Crew {
    pub(super) fn present(&self) -> &BTreeMap<WorkerId, Worker> {
        &self.present
    }

    pub(super) fn departed(&self) -> impl Iterator<Item = &Departed> {
        self.departed.iter()
    }

    /// Heard of a worker, whoever it is.
    pub(super) fn hear(&mut self, id: &WorkerId, now: u64) -> &mut Worker {
        self.departed.retain(|departed| departed.id != *id);
        let worker = self.present.entry(id.clone()).or_default();
        worker.seen = now;
        worker
    }

    /// A proof that was accepted of a worker cost so much; of one that is gone nobody asks.
    pub(super) fn spent(&mut self, id: &WorkerId, millijoules: u64, payments: u32) {
        if let Some(worker) = self.present.get_mut(id) {
            worker.energy.add(millijoules, payments);
        }
    }

    pub(super) fn told_to_drain(&mut self, id: &WorkerId) {
        if let Some(worker) = self.present.get_mut(id) {
            worker.told_to_drain = true;
        }
    }

    pub(super) fn leave(&mut self, id: &WorkerId, message: &str) {
        let Some(worker) = self.present.remove(id) else { return };
        if self.departed.len() == MAX_DEPARTED {
            self.departed.pop_front();
        }
        let worker = Worker { holds: Vec::new(), ..worker };
        self.departed.push_back(Departed { id: id.clone(), worker, message: message.to_owned() });
    }

    /// Lets go of those that were last heard of before then.
    pub(super) fn forget_silent_since(&mut self, then: u64) {
        let silent = self.present.iter().filter(|(_, worker)| worker.seen <= then);
        let silent: Vec<WorkerId> = silent.map(|(id, _)| id.clone()).collect();
        for id in silent {
            self.leave(&id, "it fell silent");
        }
    }
}
