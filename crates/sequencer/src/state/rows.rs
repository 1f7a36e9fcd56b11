//! What changed since the last commit, as rows of the store's projections.
//!
//! Projections are for people and for queries; the log is the truth. They are written in the transaction of the events
//! that they follow from.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bn254::Fr;
use protocol::{Address, Balances, DirectoryEntry, OperationId, Stage, l1::SignedTx};

use super::{Batch, Operation, State, event::Cursor};
use crate::ledger::{Leaf, Remembered};

/// Numbers of operations that each batch has; more than any circuit has places.
pub const PER_BATCH: u64 = 1 << 16;

#[derive(Clone, Debug, PartialEq)]
pub struct OperationRow {
    pub operation: Arc<Operation>,
    /// Its place in the history: `PER_BATCH` times its batch, and where it stands there. It never changes.
    pub number: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct BatchRow {
    pub batch: Batch,
    /// Transactions signed for it so far.
    pub transactions: Vec<SignedTx>,
    pub job: Option<JobRow>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct JobRow {
    pub attempt: u32,
    pub charged: u32,
    pub phase: &'static str,
    pub worker: Option<String>,
}

/// What was decided about a batch, in words, for `explain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub batch_no: u32,
    /// Unix milliseconds.
    pub at: u64,
    pub text: String,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Row {
    Balance(Address, Balances),
    /// Whose the place is or was; nothing more when it is empty now.
    Leaf(u64, Address, Option<Leaf>),
    Operation(Box<OperationRow>),
    Batch(Box<BatchRow>),
    Directory(Box<DirectoryEntry>),
    Idempotency(Address, String, Remembered),
    Cursor(Cursor),
    Line(Line),
}

/// The root and batch that the store must agree with after a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub batch_no: u32,
    pub root: Fr,
}

impl State {
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint { batch_no: self.tree.state_batch(), root: self.tree.root() }
    }

    /// Takes the rows that changed since the last call.
    pub fn take_rows(&mut self) -> Vec<Row> {
        let touched = std::mem::take(&mut self.touched);
        let (leaves, addresses) = self.ledger.take_touched();
        let mut rows = Vec::new();
        rows.extend(
            addresses.into_iter().map(|address| Row::Balance(address, self.ledger.balances(&address))),
        );
        rows.extend(leaves.into_iter().map(|(place, owner)| {
            let leaf = self.ledger.leaf(place).copied();
            Row::Leaf(place, owner, leaf)
        }));
        self.operation_rows(&touched.operations, &mut rows);
        rows.extend(touched.batches.into_iter().filter_map(|batch_no| self.batch_row(batch_no)));
        let entries = touched.owners.iter().filter_map(|owner| self.ledger.directory().entry(owner));
        rows.extend(entries.map(|registered| Row::Directory(Box::new(registered.entry.clone()))));
        rows.extend(touched.keys.into_iter().filter_map(|(sender, key)| {
            let remembered = self.ledger.remembered(sender, &key)?;
            Some(Row::Idempotency(sender, key, remembered))
        }));
        rows.extend(self.cursor().filter(|_| touched.cursor).map(Row::Cursor));
        rows
    }

    /// New operations stand last in their batches, so few are looked at.
    fn operation_rows(&self, new: &BTreeSet<OperationId>, rows: &mut Vec<Row>) {
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        for operation in new.iter().filter_map(|id| self.operations.get(id)) {
            *counts.entry(operation.batch_no).or_default() += 1;
        }
        for (batch_no, count) in counts {
            let numbered = self.numbered(batch_no).rev().filter(|(_, id)| new.contains(id)).take(count);
            rows.extend(numbered.filter_map(|(number, id)| self.operation_row(number, id)));
        }
    }

    fn operation_row(&self, number: u64, id: &OperationId) -> Option<Row> {
        let operation = Arc::clone(self.operations.get(id)?);
        Some(Row::Operation(Box::new(OperationRow { operation, number })))
    }

    /// The operations of a batch with their places in the history.
    fn numbered(&self, batch_no: u32) -> impl DoubleEndedIterator<Item = (u64, &OperationId)> {
        let operations = match self.batches.get(&batch_no) {
            Some(batch) => &batch.operations[..],
            None if batch_no == self.batcher.open_batch().batch_no => &self.batcher.open_batch().operations,
            None => &[],
        };
        let first = u64::from(batch_no) * PER_BATCH;
        operations.iter().enumerate().map(move |(i, id)| (first + i as u64, id))
    }

    /// All rows of one batch, sealed or open, and of its operations.
    pub fn history_rows(&self, batch_no: u32) -> Vec<Row> {
        let mut rows: Vec<Row> =
            self.numbered(batch_no).filter_map(|(number, id)| self.operation_row(number, id)).collect();
        rows.extend(self.batch_row(batch_no));
        rows
    }

    fn batch_row(&self, batch_no: u32) -> Option<Row> {
        let batch = self.batches.get(&batch_no)?.clone();
        let transactions = self.settlement.transactions(batch_no).to_vec();
        let job = self.farm.job(batch_no).map(|job| {
            let worker = job.live.last().map(|lease| lease.worker.to_string());
            JobRow { attempt: job.attempt, charged: job.failures, phase: job.phase.name(), worker }
        });
        Some(Row::Batch(Box::new(BatchRow { batch, transactions, job })))
    }
}

/// The name of a stage in the store.
pub fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Accepted => "accepted",
        Stage::Sealed => "sealed",
        Stage::Proving => "proving",
        Stage::Proven => "proven",
        Stage::Submitted => "submitted",
        Stage::Final => "final",
    }
}
