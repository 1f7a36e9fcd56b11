//! What `explain` says about a batch and an operation, beside the lines of the store.

use std::{ops::Range, sync::Arc};

use bn254::Fr;
use circuits::shape::Shape;
use protocol::{OperationId, OperationKind, Stage};

use super::{Operation, State, bisect, ops::seconds};
use crate::farm::{Job, Phase};

/// An operation of a batch and its slots there; a mint has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    pub id: OperationId,
    pub kind: OperationKind,
    pub slots: Range<usize>,
}

/// What the state knows about a batch.
#[derive(Clone, Debug)]
pub struct BatchFacts {
    pub batch_no: u32,
    /// None while it is open.
    pub shape: Option<Shape>,
    pub stage: Stage,
    /// What it waits for now.
    pub waits_for: String,
    pub operations: Vec<Placed>,
    /// What a poisoned or parked batch is bisected by.
    pub poisoned: Option<Evidence>,
}

/// A poisoned batch as it was sealed.
#[derive(Clone, Debug)]
pub struct Evidence {
    input: Arc<[u8]>,
    input_hash: [u8; 32],
    public_inputs: [Fr; 3],
}

impl Evidence {
    /// Seconds of work for a large batch.
    pub fn bisect(&self) -> Vec<bisect::Suspect> {
        bisect::bisect(&self.input, &self.input_hash, &self.public_inputs)
    }
}

/// A job that waits for a proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobFacts {
    pub batch_no: u32,
    pub shape: Shape,
    /// One of [`PHASES`].
    pub phase: &'static str,
    pub attempt: u32,
    /// Attempts that ended badly.
    pub failures: u32,
    pub worker: Option<String>,
    pub waits_for: String,
}

/// The names of all phases.
pub const PHASES: [&str; 4] = ["due", "leased", "parked", "poisoned"];

/// The name of a job's phase.
pub fn phase_name(phase: &Phase) -> &'static str {
    match phase {
        Phase::Due => "due",
        Phase::Leased => "leased",
        Phase::Parked { .. } => "parked",
        Phase::Poisoned { .. } => "poisoned",
    }
}

impl State {
    /// What is known about a batch; nothing for one that never was.
    pub fn batch_facts(&self, batch_no: u32, now: u64) -> Option<BatchFacts> {
        let waits_for = self.waits_for(batch_no, now)?;
        let batch = self.batches.get(&batch_no);
        let is_poisoned = |job: &Job| matches!(job.phase, Phase::Poisoned { .. } | Phase::Parked { .. });
        let poisoned =
            self.farm.job(batch_no).filter(|job| is_poisoned(job)).and_then(|_| self.evidence(batch_no));
        Some(BatchFacts {
            batch_no,
            shape: batch.map(|batch| batch.shape),
            stage: batch.map_or(Stage::Accepted, |batch| batch.stage()),
            waits_for,
            operations: self.placed(batch_no),
            poisoned,
        })
    }

    /// What a batch can be bisected by, until it is proven.
    pub fn evidence(&self, batch_no: u32) -> Option<Evidence> {
        let batch = self.batches.get(&batch_no)?;
        let (input_hash, public_inputs) = (batch.input_hash, batch.public_inputs);
        Some(Evidence { input: batch.input.clone()?, input_hash, public_inputs })
    }

    /// The operations of a batch in the order of their slots, mints last.
    fn placed(&self, batch_no: u32) -> Vec<Placed> {
        let batch = self.batches.get(&batch_no);
        let ids = match batch {
            Some(batch) => &batch.operations,
            None if batch_no == self.batcher.open_batch().batch_no => &self.batcher.open_batch().operations,
            None => return Vec::new(),
        };
        let operations: Vec<_> = ids.iter().filter_map(|id| self.operations.get(id)).collect();
        let is_forced = |kind| matches!(kind, OperationKind::ForcedExit | OperationKind::ForcedRekey);
        let forced = operations.iter().filter(|operation| is_forced(operation.kind)).count();
        // Signed operations fill a batch from its first slot on, forced ones its last slots.
        let mut next_signed = 0;
        let mut next_forced = batch.map_or(0, |batch| batch.shape.slots().saturating_sub(forced));
        let place = |operation: &Arc<Operation>| {
            let (next, count) = match operation.kind {
                OperationKind::Send | OperationKind::Withdraw => (&mut next_signed, operation.promised.len()),
                OperationKind::ForcedExit | OperationKind::ForcedRekey => (&mut next_forced, 1),
                OperationKind::Mint => (&mut next_signed, 0),
            };
            let slots = *next..*next + count;
            *next = slots.end;
            Placed { id: operation.id, kind: operation.kind, slots }
        };
        operations.into_iter().map(place).collect()
    }

    /// An operation, where it stands in its batch, and its promises' deadline in words.
    pub fn operation_facts(
        &self,
        id: &OperationId,
        now: u64,
    ) -> Option<(&Operation, Placed, Option<String>)> {
        let operation = self.operation(id)?;
        let placed = self.placed(operation.batch_no).into_iter().find(|placed| placed.id == *id)?;
        let deadline = (!operation.promised.is_empty()).then(|| {
            let due = operation.deadline.saturating_mul(1000);
            match (self.stage_of(operation.batch_no), due.checked_sub(now)) {
                (Stage::Final, _) => "Its promise is kept: it is final.".to_owned(),
                (_, Some(left)) => format!("It is promised to be final in {}.", seconds(left)),
                (_, None) => format!("Its promise was due {} ago.", seconds(now - due)),
            }
        });
        Some((operation, placed, deadline))
    }

    /// The jobs that wait for a proof, oldest first, `limit` at most, and how many there are.
    pub fn job_facts(&self, limit: usize, now: u64) -> (Vec<JobFacts>, usize) {
        let facts = |(batch_no, job): (u32, &Job)| JobFacts {
            batch_no,
            shape: job.shape,
            phase: phase_name(&job.phase),
            attempt: job.attempt,
            failures: job.failures,
            worker: job.live.last().map(|lease| lease.worker.to_string()),
            waits_for: self.waits_for(batch_no, now).unwrap_or_default(),
        };
        (self.farm.jobs().take(limit).map(facts).collect(), self.farm.job_count())
    }
}
