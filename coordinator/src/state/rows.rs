//! What changed since the last commit, as rows of the store's projections.
//!
//! Projections are for people and for queries; the log is the truth. They are written in the transaction of the events
//! that they follow from.

use std::sync::Arc;

use bn254::Fr;

use super::{Batch, Operation, State, event::Cursor, explain::phase_name};
use crate::{
    chain::SignedTx,
    ledger::{Leaf, Remembered},
    service::{Address, Balances, DirectoryEntry, Stage},
};

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
    /// Nothing when the place is empty now.
    Leaf(u64, Option<Leaf>),
    Operation(Arc<Operation>),
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
        rows.extend(leaves.into_iter().map(|index| Row::Leaf(index, self.ledger.leaf(index).copied())));
        let operations = touched.operations.iter().filter_map(|id| self.operations.get(id));
        rows.extend(operations.map(|operation| Row::Operation(Arc::clone(operation))));
        rows.extend(touched.batches.into_iter().filter_map(|batch_no| self.batch_row(batch_no)));
        let entries = touched.owners.iter().filter_map(|owner| self.ledger.directory.entry(owner));
        rows.extend(entries.map(|registered| Row::Directory(Box::new(registered.entry.clone()))));
        rows.extend(touched.keys.into_iter().filter_map(|(sender, key)| {
            let remembered = self.ledger.remembered(sender, &key)?;
            Some(Row::Idempotency(sender, key, remembered))
        }));
        rows.extend(self.cursor().filter(|_| touched.cursor).map(Row::Cursor));
        rows
    }

    fn batch_row(&self, batch_no: u32) -> Option<Row> {
        let batch = self.batches.get(&batch_no)?.clone();
        let transactions = self.settlement.transactions(batch_no).to_vec();
        let job = self.farm.job(batch_no).map(|job| {
            let worker = job.live.last().map(|lease| lease.worker.to_string());
            JobRow { attempt: job.attempt, charged: job.failures, phase: phase_name(&job.phase), worker }
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
