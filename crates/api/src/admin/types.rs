//! What operators are told. Times are UTC; durations are in the unit of their name.

use async_graphql::SimpleObject;
use chrono::{DateTime, Utc};
use sequencer::farm::Pool;
use wire::PoolName;

use crate::{
    graphql::{
        account::Stage,
        operation::OperationKind,
        scalars::{BigInt, Bytes32},
        time,
    },
    service::{self, Overview, WorkerHealth, WorkerView},
};

/// A job that waits for a proof.
#[derive(Clone, Debug, SimpleObject)]
pub struct Job {
    pub batch: u32,
    pub circuit: &'static str,
    /// `due`, `leased`, `parked` or `poisoned`.
    pub phase: &'static str,
    pub attempt: u32,
    /// Attempts that ended badly.
    pub failures: u32,
    /// The worker of its last attempt in flight.
    pub worker: Option<String>,
    pub waits_for: String,
}

impl From<service::JobFacts> for Job {
    fn from(facts: service::JobFacts) -> Self {
        let service::JobFacts { batch_no, shape, phase, attempt, failures, worker, waits_for } = facts;
        Self { batch: batch_no, circuit: shape.name(), phase, attempt, failures, worker, waits_for }
    }
}

#[derive(Clone, Debug, SimpleObject)]
pub struct StatusWorker {
    pub id: String,
    /// `well`, `sick` or `left`.
    pub health: &'static str,
    /// Why it is sick, or why it left.
    pub reason: Option<String>,
    pub backend: Option<String>,
    pub circuits: Vec<&'static str>,
    pub seen: DateTime<Utc>,
    /// The batches that it holds, as of its last heartbeat.
    pub holds: Vec<BigInt>,
    pub draining: bool,
}

impl StatusWorker {
    fn new(view: WorkerView, draining: &[String]) -> Self {
        Self {
            draining: draining.contains(&view.id),
            health: match view.health {
                WorkerHealth::Well => "well",
                WorkerHealth::Sick => "sick",
                WorkerHealth::Left => "left",
            },
            circuits: view.circuits.iter().map(|shape| shape.name()).collect(),
            seen: time(view.seen),
            holds: view.holds.iter().map(|(batch, _)| (*batch).into()).collect(),
            id: view.id,
            reason: view.reason,
            backend: view.backend,
        }
    }
}

/// Workers that share a credential, and what is known of them since this coordinator leads.
#[derive(Clone, Debug, SimpleObject)]
pub struct StatusPool {
    pub name: String,
    pub workers: usize,
    /// Attempts in flight, and how many may be: proofs widen this window, attempts that end badly narrow it.
    pub in_flight: u32,
    pub window: u32,
    pub proofs: BigInt,
    pub bad_ends: BigInt,
    /// Entries of its stream that could not be read.
    pub malformed: BigInt,
}

impl StatusPool {
    fn new((name, pool): (PoolName, Pool)) -> Self {
        Self {
            name: name.to_string(),
            workers: pool.workers,
            in_flight: pool.in_flight,
            window: pool.window,
            proofs: pool.proofs.into(),
            bad_ends: pool.bad_ends.into(),
            malformed: pool.malformed.into(),
        }
    }
}

/// How the whole service is.
#[derive(Clone, Debug, SimpleObject)]
pub struct Status {
    pub version: String,
    pub chain_id: BigInt,
    pub contract: String,
    /// The term in which this coordinator leads.
    pub term: BigInt,
    /// Whether new operations are refused.
    pub paused: bool,
    /// What is wrong and what to do; empty if all is well.
    pub alarms: Vec<String>,
    pub open_batch: u32,
    /// Operations in the open batch.
    pub open_operations: usize,
    pub sealed_batch: u32,
    pub proven_batch: u32,
    pub final_batch: u32,
    pub l1_head: BigInt,
    pub l1_final: BigInt,
    /// Promises due within ten minutes, and those past their deadline.
    pub promises_near: BigInt,
    pub promises_missed: BigInt,
    /// How many jobs wait for a proof; `jobs` names the oldest.
    pub job_count: usize,
    pub jobs: Vec<Job>,
    pub pools: Vec<StatusPool>,
    pub workers: Vec<StatusWorker>,
}

impl From<Overview> for Status {
    fn from(overview: Overview) -> Self {
        let system = overview.system;
        let draining = overview.draining;
        Self {
            version: system.version,
            chain_id: system.chain_id.into(),
            contract: format!("0x{}", hex::encode(system.contract)),
            term: overview.term.into(),
            paused: overview.paused,
            alarms: overview.alarms,
            open_batch: system.open_batch,
            open_operations: overview.open_operations,
            sealed_batch: system.sealed_batch,
            proven_batch: system.proven_batch,
            final_batch: system.final_batch,
            l1_head: system.l1_head.into(),
            l1_final: system.l1_finalized.into(),
            promises_near: overview.deadlines.near.into(),
            promises_missed: overview.deadlines.missed.into(),
            job_count: overview.job_count,
            jobs: overview.jobs.into_iter().map(Job::from).collect(),
            pools: overview.pools.into_iter().map(StatusPool::new).collect(),
            workers: overview.workers.into_iter().map(|view| StatusWorker::new(view, &draining)).collect(),
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug, SimpleObject)]
pub struct Line {
    pub at: DateTime<Utc>,
    /// Since the line before.
    pub after_ms: BigInt,
    pub text: String,
}

/// An operation of a batch.
#[derive(Clone, Debug, SimpleObject)]
pub struct BatchOperation {
    pub id: Bytes32,
    pub kind: OperationKind,
    /// Its slots in the batch; a mint has none.
    pub slots: Vec<usize>,
}

/// Something of a poisoned batch that cannot be proved.
#[derive(Clone, Debug, SimpleObject)]
pub struct Suspect {
    pub slot: Option<usize>,
    /// The operation in that slot.
    pub operation: Option<Bytes32>,
    pub reason: String,
}

#[derive(Clone, Debug, SimpleObject)]
pub struct BatchExplanation {
    pub number: u32,
    /// Null while it is open.
    pub circuit: Option<&'static str>,
    pub stage: Stage,
    /// What it waits for now, as a sentence.
    pub waits_for: String,
    pub operations: Vec<BatchOperation>,
    /// What happened, in the order of time.
    pub lines: Vec<Line>,
    /// Of a poisoned batch: what cannot be proved; empty if all of it can, and a prover, its key or its card is at fault.
    pub suspects: Option<Vec<Suspect>>,
}

impl From<service::Explanation> for BatchExplanation {
    fn from(explanation: service::Explanation) -> Self {
        let facts = explanation.facts;
        let operation_in = |slot: usize| {
            facts
                .operations
                .iter()
                .find(|placed| placed.slots.contains(&slot))
                .map(|placed| Bytes32(placed.id.0))
        };
        let suspects = explanation.suspects.map(|suspects| {
            let suspect = |found: service::Suspect| Suspect {
                slot: found.slot,
                operation: found.slot.and_then(operation_in),
                reason: found.reason,
            };
            suspects.into_iter().map(suspect).collect()
        });
        let mut before = None;
        let line = |line: sequencer::state::rows::Line| {
            let after_ms = before.map_or(0, |before| line.at.saturating_sub(before));
            before = Some(line.at);
            Line { at: time(line.at), after_ms: after_ms.into(), text: line.text }
        };
        let lines = explanation.lines.into_iter().map(line).collect();
        let operation = |placed: &service::Placed| BatchOperation {
            id: Bytes32(placed.id.0),
            kind: placed.kind.into(),
            slots: placed.slots.clone().collect(),
        };
        Self {
            number: facts.batch_no,
            circuit: facts.shape.map(|shape| shape.name()),
            stage: facts.stage.into(),
            waits_for: facts.waits_for,
            operations: facts.operations.iter().map(operation).collect(),
            lines,
            suspects,
        }
    }
}

#[derive(Clone, Debug, SimpleObject)]
pub struct OperationExplanation {
    pub id: Bytes32,
    pub kind: OperationKind,
    pub sender: Option<String>,
    pub recipient: Option<String>,
    /// Coins.
    pub amount: BigInt,
    pub accepted_at: Option<DateTime<Utc>>,
    /// Its slots in the batch; a mint has none.
    pub slots: Vec<usize>,
    /// When its promise is due, as a sentence; null without a promise.
    pub deadline: Option<String>,
    pub batch: BatchExplanation,
}

impl From<service::OperationExplanation> for OperationExplanation {
    fn from(explanation: service::OperationExplanation) -> Self {
        let (operation, placed) = (explanation.operation, explanation.placed);
        let address = |address: [u8; 20]| format!("0x{}", hex::encode(address));
        Self {
            id: Bytes32(placed.id.0),
            kind: operation.kind.into(),
            sender: operation.sender.map(address),
            recipient: operation.recipient.map(address),
            amount: operation.amount.into(),
            accepted_at: operation.timeline.first().map(|entry| time(entry.at)),
            slots: placed.slots.collect(),
            deadline: explanation.deadline,
            batch: explanation.batch.into(),
        }
    }
}
