//! All cores as one state, moved by events only.
//!
//! Invariant: `State::apply` over the event log gives the same state again, whatever died when. A decision (`decide_…`) takes
//! `&self` and only makes events; `State::record` applies and logs them, and the driver commits them before anybody hears of it.
//! What no event records is kept beside the cores' records and may be lost: when transactions were sent, which workers are alive.
//!
//! | file | concept |
//! |---|---|
//! | `event` | the log |
//! | `state` | the records of operations and batches, `apply` |
//! | `decide` | requests to events |
//! | `admission` | whether one more operation can be promised |
//! | `intake` | how far L1's queues were taken in, and what a reorganisation of L1 does to that |
//! | `sealing` | the open batch to a `BatchInput` |
//! | `views` | answers to questions |
//! | `ops` | what operators ask and decide |
//! | `rows` | what changed, for the store's projections |
//! | `snapshot` | the state as a file, so that a start does not replay everything |

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bn254::Fr;
use circuits::{
    message::SignedKind,
    public_data::Record,
    shape::Shape,
    slot::{SlotContext, SlotEffect, SlotInput},
};
use protocol::{
    Address, OperationId, OperationKind, Placement, Stage, TimelineEntry,
    l1::{Deposit, ForcedRequest},
};
use serde::{Deserialize, Serialize};

use crate::{
    batcher::{Batcher, Filled},
    farm::{Farm, FarmEffect, FarmRecord},
    layered::Layered,
    ledger::{Ledger, Remembered, directory::Registered},
    rules::Rules,
    settlement::{KEPT_FINAL, Settlement, SettlementRecord, cost::batch_gas},
    tree::{Tree, TreeError},
};

mod admission;
pub mod decide;
pub mod event;
pub mod intake;
pub mod ops;
pub mod rows;
pub mod sealing;
pub mod snapshot;
mod views;

use event::{Accepted, Event, KeyRegistered, OpsRecord, ProofAccepted, Stamped};

/// What the operator promises for one slot.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Promised {
    pub kind: u8,
    pub index: u64,
    pub account: Fr,
    pub range: circuits::leaf::CoinRange,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    pub id: OperationId,
    pub kind: OperationKind,
    pub sender: Option<Address>,
    pub recipient: Option<Address>,
    pub amount: u64,
    pub batch_no: u32,
    pub at: u64,
    /// Unix seconds.
    pub deadline: u64,
    pub promised: Vec<Promised>,
    pub hit: Option<bool>,
}

/// A sealed batch. The parts that only proving and settling need are dropped when they are done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    pub batch_no: u32,
    pub shape: Shape,
    pub start: u64,
    pub old_root: Fr,
    pub mid_root: Fr,
    pub new_root: Fr,
    pub public_inputs: [Fr; 3],
    pub input_hash: [u8; 32],
    /// The encoded `BatchInput`, until the batch is proven.
    pub input: Option<Arc<[u8]>>,
    /// Until the batch is so long final that nothing undoes that.
    pub mints: Vec<Deposit>,
    pub forced: Vec<ForcedRequest>,
    pub records: Vec<Record>,
    pub operations: Vec<OperationId>,
    pub timeline: Vec<TimelineEntry>,
    pub attempts: u32,
    pub worker: Option<String>,
    pub proof: Option<Vec<u8>>,
    pub prove_ms: Option<u64>,
    pub witness_ms: Option<u64>,
    pub l1_tx: Option<[u8; 32]>,
    pub l1_block: Option<u64>,
    pub gas_used: Option<u64>,
    /// Attempts whose proofs came when another's was accepted already.
    pub late: BTreeSet<u32>,
}

impl Batch {
    pub fn stage(&self) -> Stage {
        self.timeline.last().map_or(Stage::Sealed, |entry| entry.stage)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("PM-STATE-001: the log does not fit the state ({0}); restore the data folder from a backup")]
    Log(String),
    #[error(
        "PM-STATE-002: batch {batch_no} was sealed with another root than its replay gives; the data folder is damaged or \
         of another version: restore it from a backup"
    )]
    Root { batch_no: u32 },
    #[error("PM-STATE-003: batch {batch_no} cannot be proved ({detail}); report this, it is a bug")]
    Unprovable { batch_no: u32, detail: String },
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// What changed since the store last heard.
#[derive(Clone, Debug, Default, PartialEq)]
struct Touched {
    operations: BTreeSet<OperationId>,
    batches: BTreeSet<u32>,
    owners: BTreeSet<Address>,
    keys: Vec<(Address, String)>,
    cursor: bool,
}

#[derive(Clone, Debug)]
#[cfg_attr(any(test, feature = "sim"), derive(PartialEq))]
pub struct State {
    rules: Arc<Rules>,
    ledger: Ledger,
    tree: Tree,
    batcher: Batcher,
    farm: Farm,
    settlement: Settlement,
    batches: BTreeMap<u32, Batch>,
    /// Shared, since a snapshot copies the map while the coordinator waits.
    operations: Layered<OperationId, Arc<Operation>>,
    /// Proofs of batches whose predecessors are not proven yet.
    early_proofs: BTreeMap<u32, ProofAccepted>,
    taken: intake::Taken,
    /// An operator stopped new operations.
    paused: bool,
    /// The last one in which a coordinator led.
    term: u64,
    touched: Touched,
}

impl State {
    /// Which part of another state is another one, apart from what is not recorded: when transactions were sent again.
    #[cfg(feature = "sim")]
    pub fn difference(&self, other: &Self) -> Option<String> {
        let settlement = self.settlement.without_times() == other.settlement.without_times();
        let same = [
            ("ledger", self.ledger == other.ledger),
            ("tree", self.tree == other.tree),
            ("batcher", self.batcher.without_times() == other.batcher.without_times()),
            ("farm", self.farm == other.farm),
            ("settlement", settlement),
            ("batches", self.batches == other.batches),
            ("operations", self.operations == other.operations),
            ("early proofs", self.early_proofs == other.early_proofs),
            ("what was taken in", self.taken == other.taken),
            ("pause", self.paused == other.paused),
        ];
        same.into_iter().find(|(_, same)| !same).map(|(part, _)| {
            let detail = match part {
                "farm" => format!("{:?} / {:?}", self.farm, other.farm),
                "batcher" => format!("{:?} / {:?}", self.batcher, other.batcher),
                "settlement" => format!("{:?} / {:?}", self.settlement, other.settlement),
                _ => String::new(),
            };
            format!("{part}{detail}")
        })
    }

    pub fn new(rules: Arc<Rules>) -> Self {
        Self {
            ledger: Ledger::default(),
            tree: Tree::default(),
            batcher: Batcher::new(rules.shapes.clone(), rules.seal),
            farm: Farm::new(rules.farm, rules.keys.clone(), rules.capacity.clone()),
            settlement: Settlement::new(rules.settlement),
            batches: BTreeMap::new(),
            operations: Layered::default(),
            early_proofs: BTreeMap::new(),
            taken: intake::Taken::default(),
            paused: false,
            term: 0,
            touched: Touched::default(),
            rules,
        }
    }

    /// The clock was set: what waits for a time that is still to come does so from now on. Times are no part of what is decided, so
    /// the log need not know.
    pub fn clock_was_set(&mut self, now: u64) {
        self.batcher.not_later_than(now);
        self.farm.clock_was_set(now);
        self.settlement.not_later_than(now);
    }

    /// Whether everything is there. What a snapshot holds of operations and idempotency keys may still be on its way; until then
    /// no request is decided that may have been decided before.
    pub fn is_whole(&self) -> bool {
        self.operations.is_whole() && self.ledger.idempotency().is_whole()
    }

    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    pub fn batcher(&self) -> &Batcher {
        &self.batcher
    }

    pub fn farm(&self) -> &Farm {
        &self.farm
    }

    pub fn settlement(&self) -> &Settlement {
        &self.settlement
    }

    /// Changes a node of the tree and nothing above it.
    #[cfg(any(test, feature = "testing"))]
    pub fn spoil(&mut self, level: usize, index: usize) {
        self.tree.levels[level][index] += Fr::from(1);
    }

    pub fn batch(&self, batch_no: u32) -> Option<&Batch> {
        self.batches.get(&batch_no)
    }

    /// Applies an event, just decided or of the log. What the farm wants done then is for who decided it only.
    ///
    /// # Errors
    /// `StateError` if the event cannot have been decided in this state.
    pub fn apply(&mut self, stamped: &Stamped) -> Result<Vec<FarmEffect>, StateError> {
        let at = stamped.at;
        match &stamped.event {
            Event::KeyRegistered(registered) => self.register(registered),
            Event::Accepted(accepted) => self.accept(accepted, at)?,
            Event::Opened { batch_no, places } => {
                if !self.batcher.open_batch().slots.is_empty() || *batch_no != self.tree.state_batch() + 1 {
                    return Err(StateError::Log(format!("batch {batch_no} opened out of order")));
                }
                // Of any circuit: those that are configured can be others than when it was written.
                if !Shape::ALL.iter().any(|shape| shape.places() == *places as usize) {
                    return Err(StateError::Log(format!(
                        "batch {batch_no} opened with {places} places, which no circuit has"
                    )));
                }
                self.batcher.reopen(*batch_no, *places as usize);
            }
            Event::Sealed(sealed) => self.apply_sealed(sealed, at)?,
            Event::TakenIn { to, deposits, forced } => {
                self.taken.advance(*to, deposits, forced);
                self.batcher.take_in(deposits.clone(), forced.clone(), at);
                self.touched.cursor = true;
            }
            Event::ReadAgain(again) => self.taken_again(again, at)?,
            Event::Intake(record) => self.taken.note(record),
            Event::Farm(record) => {
                self.farm.apply(record, at);
                self.note_farm(record, at);
            }
            Event::Proven(proof) => return self.proven(proof, at),
            Event::Settlement(record) => self.settle(record, at)?,
            Event::Ops(OpsRecord::Led { term, .. }) => self.term = *term,
            Event::Ops(OpsRecord::StoreBack { .. } | OpsRecord::LossAccepted { .. }) => {}
            Event::Ops(record) => self.paused = *record == OpsRecord::Paused,
        }
        Ok(Vec::new())
    }

    fn register(&mut self, registered: &KeyRegistered) {
        self.ledger.register(Registered::new(registered.entry()));
        self.ledger.learn_key(&registered.owner);
        self.remember(
            registered.owner,
            &registered.idempotency_key,
            Remembered { request_hash: registered.request_hash, operation: None },
        );
        self.touched.owners.insert(registered.owner);
    }

    fn remember(&mut self, sender: Address, key: &str, remembered: Remembered) {
        self.ledger.remember(sender, key.to_owned(), remembered);
        self.touched.keys.push((sender, key.to_owned()));
    }

    fn accept(&mut self, accepted: &Accepted, at: u64) -> Result<(), StateError> {
        let open = self.batcher.open_batch();
        if accepted.batch_no != open.batch_no || accepted.place != open.start + open.slots.len() as u64 {
            return Err(StateError::Log(format!("operation {} stands in the wrong place", accepted.id)));
        }
        let replayed;
        let effects = match accepted.effects.get() {
            Some(effects) => effects,
            None => {
                replayed = self.effects(accepted)?;
                &replayed
            }
        };
        let slots = accepted.spends.iter().zip(effects).map(|(spend, effect)| Filled {
            input: SlotInput::Signed(Box::new(spend.clone())),
            effect: *effect,
        });
        let slots = slots.collect();
        let mut promised = Vec::with_capacity(accepted.spends.len());
        let mut amount = 0;
        for (i, spend) in accepted.spends.iter().enumerate() {
            if self.ledger.leaf(spend.index).is_none_or(|leaf| leaf.range != spend.range) {
                return Err(StateError::Log(format!(
                    "leaf {} is not as operation {} found it",
                    spend.index, accepted.id
                )));
            }
            let place = accepted.place + i as u64;
            let payee = accepted.recipient.map(|recipient| self.ledger.payee(recipient, &spend.recipient));
            self.ledger.spend(Placement { batch_no: accepted.batch_no, place }, spend, payee);
            let Some((range, _)) = spend.range.split_at(spend.split) else { continue };
            amount += range.amount();
            promised.push(match spend.kind {
                SignedKind::Send => Promised { kind: 1, index: place, account: spend.recipient, range },
                SignedKind::Withdraw => {
                    let account = circuits::leaf::address_word(&spend.owner);
                    Promised { kind: 2, index: 0, account, range }
                }
            });
        }
        self.ledger.count(accepted.sender, accepted.spends.len() as u32, &self.rules.limits, at);
        let remembered = Remembered { request_hash: accepted.request_hash, operation: Some(accepted.id.0) };
        self.remember(accepted.sender, &accepted.idempotency_key, remembered);
        self.batcher.fill(accepted.id, slots, at);
        self.add_operation(Operation {
            id: accepted.id,
            kind: match accepted.kind {
                SignedKind::Send => OperationKind::Send,
                SignedKind::Withdraw => OperationKind::Withdraw,
            },
            sender: Some(accepted.sender),
            recipient: accepted.recipient.or(Some(accepted.sender)),
            amount,
            batch_no: accepted.batch_no,
            at,
            deadline: accepted.deadline,
            promised,
            hit: None,
        });
        Ok(())
    }

    /// What each spend of an operation does, worked out again.
    fn effects(&self, accepted: &Accepted) -> Result<Vec<SlotEffect>, StateError> {
        let effects = accepted.spends.iter().zip(accepted.place..).map(|(spend, place)| {
            let context = SlotContext { domain: self.rules.domain, batch_no: accepted.batch_no, place };
            spend.effect(&context).map_err(|error| StateError::Log(error.to_string()))
        });
        effects.collect()
    }

    fn add_operation(&mut self, operation: Operation) {
        self.touched.operations.insert(operation.id);
        self.operations.insert(operation.id, Arc::new(operation));
    }

    fn stamp(&mut self, batch_no: u32, stage: Stage, at: u64, l1_tx: Option<[u8; 32]>) {
        if let Some(batch) = self.batches.get_mut(&batch_no) {
            batch.timeline.push(TimelineEntry { stage, at, l1_tx });
            self.touched.batches.insert(batch_no);
        }
    }

    fn note_farm(&mut self, record: &FarmRecord, at: u64) {
        match record {
            FarmRecord::Published { batch_no, attempt } => {
                if let Some(batch) = self.batches.get_mut(batch_no) {
                    batch.attempts = *attempt;
                    self.touched.batches.insert(*batch_no);
                }
            }
            FarmRecord::Granted { batch_no, attempt, worker } => {
                let first = self.batches.get_mut(batch_no).is_some_and(|batch| {
                    batch.attempts = batch.attempts.max(*attempt);
                    batch.worker = Some(worker.to_string());
                    batch.stage() == Stage::Sealed
                });
                if first {
                    self.stamp(*batch_no, Stage::Proving, at, None);
                }
                self.touched.batches.insert(*batch_no);
            }
            FarmRecord::Ended { batch_no, .. }
            | FarmRecord::AttemptEnded { batch_no, .. }
            | FarmRecord::Quarantined { batch_no }
            | FarmRecord::Parked { batch_no, .. }
            | FarmRecord::Unparked { batch_no }
            | FarmRecord::Poisoned { batch_no, .. }
            | FarmRecord::Requeued { batch_no } => {
                self.touched.batches.insert(*batch_no);
            }
            FarmRecord::Late { batch_no, attempt, .. } => {
                if let Some(batch) = self.batches.get_mut(batch_no) {
                    batch.late.insert(*attempt);
                }
            }
            FarmRecord::Draining { .. }
            | FarmRecord::Admitted { .. }
            | FarmRecord::PoolAdded { .. }
            | FarmRecord::PoolRemoved { .. } => {}
        }
    }

    /// A verified proof: the batch leaves the farm; the proven view moves over it once all before it are proven.
    fn proven(&mut self, proof: &ProofAccepted, at: u64) -> Result<Vec<FarmEffect>, StateError> {
        let effects = self.farm.proven(proof.batch_no, &proof.worker, at);
        self.early_proofs.insert(proof.batch_no, proof.clone());
        while let Some(next) = self.early_proofs.remove(&(self.tree.proven_batch() + 1)) {
            self.tree.prove(next.batch_no)?;
            self.ledger.prove(next.batch_no);
            self.stamp(next.batch_no, Stage::Proven, at, None);
            let Some(batch) = self.batches.get_mut(&next.batch_no) else {
                return Err(StateError::Log(format!("batch {} proven before it was sealed", next.batch_no)));
            };
            batch.worker = Some(next.worker.to_string());
            batch.attempts = batch.attempts.max(next.attempt);
            batch.proof = Some(next.proof);
            batch.prove_ms = Some(next.prove_ms);
            batch.witness_ms = Some(next.witness_ms);
            batch.input = None;
            let gas = batch_gas(batch.mints.len(), batch.records.len(), batch.forced.len());
            self.settlement.proven(next.batch_no, batch.old_root, batch.new_root, gas);
        }
        Ok(effects)
    }

    fn settle(&mut self, record: &SettlementRecord, at: u64) -> Result<(), StateError> {
        if self.settlement.undoes_finality(record) {
            self.unfinalise(record.batch_no())?;
        }
        self.settlement.apply(record, at);
        match record {
            SettlementRecord::Signed { tx, .. } => {
                record.batches().for_each(|no| self.stamp(no, Stage::Submitted, at, Some(tx.hash)));
            }
            SettlementRecord::Mined { batch_no, receipt, .. } => {
                let share = u64::from(self.settlement.shared_by(*batch_no));
                if let Some(batch) = self.batches.get_mut(batch_no) {
                    batch.l1_tx = Some(receipt.tx);
                    batch.l1_block = Some(receipt.block);
                    batch.gas_used = (receipt.gas_used > 0).then_some(receipt.gas_used / share);
                }
            }
            SettlementRecord::Dropped { .. }
            | SettlementRecord::Reverted { .. }
            | SettlementRecord::Displaced { .. } => {
                for (_, batch) in self.batches.range_mut(record.batches()) {
                    (batch.l1_tx, batch.l1_block, batch.gas_used) = (None, None, None);
                }
            }
            SettlementRecord::Refused { .. } | SettlementRecord::AtCap { .. } => {}
            SettlementRecord::Finalised { batch_no } => {
                self.tree.finalise(*batch_no)?;
                self.ledger.finalise(*batch_no);
                let l1_tx = self.batches.get(batch_no).and_then(|batch| batch.l1_tx);
                self.stamp(*batch_no, Stage::Final, at, l1_tx);
                self.forget(batch_no.saturating_sub(KEPT_FINAL));
            }
        }
        self.touched.batches.extend(record.batches());
        Ok(())
    }

    /// What it took to settle this final batch again, and those before it, is not kept any longer.
    fn forget(&mut self, batch_no: u32) {
        let Some(batch) = self.batches.get_mut(&batch_no) else { return };
        batch.mints = Vec::new();
        batch.forced = Vec::new();
        batch.records = Vec::new();
        self.tree.forget(batch_no);
        self.ledger.forget(batch_no);
    }

    /// From batch `first` on nothing is final any more, whatever was said before.
    fn unfinalise(&mut self, first: u32) -> Result<(), StateError> {
        let last = self.tree.final_batch();
        self.tree.unfinalise(first.saturating_sub(1))?;
        for batch_no in (first..=last).rev() {
            self.ledger.unfinalise(batch_no);
        }
        for (batch_no, batch) in self.batches.range_mut(first..=last) {
            batch.timeline.retain(|entry| entry.stage < Stage::Final);
            self.touched.batches.insert(*batch_no);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
