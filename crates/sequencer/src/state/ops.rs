//! What operators ask of the state and decide about it.
//!
//! A pause stops new operations only: what was accepted was promised, so it is sealed, proved and settled, and forced
//! requests are taken in, since their deadlines run on L1 whatever happens here. Each decision may be repeated and changes
//! nothing the second time.

use wire::{PoolName, WorkerId};

use super::{
    State, StateError,
    event::{Event, OpsRecord, Stamped},
};
use crate::farm::{FarmCommand, FarmEffect, MAX_POOLS};

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
}
