//! What the coordinator offers to the outside, free of GraphQL, HTTP and SQL: the API is written against this trait, the
//! driver implements it.
//!
//! Amounts are coins (quanta), never wei: the API converts with `SystemView::quantum_wei`. Everything returned is a copy
//! that belongs to the caller.

use std::fmt;

use async_trait::async_trait;
use bn254::Fr;
use circuits::{leaf::CoinRange, shape::Shape};
use protocol::{
    Address, Balances, DirectoryEntry, Draft, OperationId, OwnershipProof, PrepareSend, PrepareWithdraw,
    Stage, SubmitRequest,
};
use wire::CardReading;

mod operator;

pub use operator::{
    BatchFacts, Deadlines, Explanation, JobFacts, OperationExplanation, Operator, Overview, Placed, Suspect,
};
pub use protocol::history::{BatchView, ListOf, OperationView, PromiseView};
pub use sequencer::rejection::Rejection;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoinView {
    pub index: u64,
    pub owner: Address,
    pub account: Fr,
    pub key_hash: Fr,
    pub range: CoinRange,
    /// The batch that created this state of the leaf, and how far that batch is.
    pub batch_no: u32,
    pub stage: Stage,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountView {
    pub address: Address,
    pub balances: Balances,
    /// Unspent coins, spendable in the accepted state.
    pub coins: Vec<CoinView>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemView {
    pub version: String,
    pub chain_id: u64,
    pub contract: Address,
    pub domain: Fr,
    pub operator: Address,
    pub promise_signer: Address,
    pub quantum_wei: u64,
    pub min_amount: u64,
    pub max_leaves_per_operation: usize,
    pub shapes: Vec<(Shape, [u8; 32])>,
    pub dev_key: bool,
    pub l1_head: u64,
    pub l1_finalized: u64,
    pub open_batch: u32,
    pub sealed_batch: u32,
    pub proven_batch: u32,
    pub final_batch: u32,
    pub state_root: Fr,
    pub proven_root: Fr,
    pub final_root: Fr,
    /// Why deposits are no longer taken in, if an alarm stopped them.
    pub intake_alarm: Option<String>,
    pub draining: bool,
}

/// The codes of all reasons against being ready.
pub const REASONS: [&str; 17] = [
    "STOPPED",
    "LOOP_STUCK",
    "LOOP_BUSY",
    "DRAINING",
    "STORE_AWAY",
    "STORE_REFUSES",
    "CLOCK",
    "QUEUE_AWAY",
    "CHAIN_UNREACHABLE",
    "INTAKE_UNREACHABLE",
    "INTAKE_STOPPED",
    "SETTLEMENT",
    "HALTED",
    "PAUSED",
    "UNPROVED",
    "NO_WORKER",
    "BACKLOG",
];

/// Why the service is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Stable, e.g. `STORE_AWAY`.
    pub code: &'static str,
    /// What is wrong, and what to do.
    pub text: String,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.text)
    }
}

/// Whether the service is ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Every reason why it cannot accept, prove and settle within the promised deadline; without any it is ready.
    pub against: Vec<Reason>,
    /// What an operator should know all the same.
    pub warnings: Vec<Reason>,
}

/// How a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerHealth {
    Well,
    /// It takes no work until its card is well again.
    Sick,
    /// It is not there any more.
    Left,
}

#[derive(Clone, Debug, PartialEq)]
pub struct WorkerView {
    pub id: String,
    pub health: WorkerHealth,
    /// Why it is sick, why it left, or which of its keys are not the contract's.
    pub reason: Option<String>,
    /// Whether a key of it is not the contract's: it gets no jobs of that circuit.
    pub refused: bool,
    /// Unknown until it registers.
    pub backend: Option<String>,
    pub version: Option<String>,
    /// Bytes that it may use.
    pub memory: Option<u64>,
    /// Those that it gets jobs of.
    pub circuits: Vec<Shape>,
    /// Unix milliseconds.
    pub seen: u64,
    /// Batches that it holds, and how far each is.
    pub holds: Vec<(u64, wire::Stage)>,
    pub card: Option<Box<CardReading>>,
    /// Moving averages over its last proofs.
    pub joules_per_proof: Option<f64>,
    pub joules_per_payment: Option<f64>,
}

/// The coordinator as its API sees it.
#[async_trait]
pub trait Service: Send + Sync {
    async fn system(&self) -> SystemView;
    async fn balances(&self, address: Address) -> Balances;
    /// Unspent coins by place, behind `after`.
    async fn coins(&self, address: Address, after: Option<u64>, limit: usize) -> Vec<CoinView>;
    /// Balances and all coins.
    async fn account(&self, address: Address) -> AccountView {
        let (balances, coins) = (self.balances(address).await, self.coins(address, None, usize::MAX).await);
        AccountView { address, balances, coins }
    }
    async fn directory_entry(&self, owner: Address) -> Option<DirectoryEntry>;
    async fn operation(&self, id: OperationId) -> Result<Option<OperationView>, Rejection>;
    /// A page of a list, behind `after`; nothing if that is not in the list.
    async fn operations(
        &self,
        list: ListOf,
        after: Option<OperationId>,
        limit: usize,
    ) -> Result<Option<Vec<OperationView>>, Rejection>;
    /// What was promised about an operation, as it was signed.
    async fn promises(&self, id: OperationId) -> Result<Vec<PromiseView>, Rejection>;
    async fn batch(&self, batch_no: u32) -> Result<Option<BatchView>, Rejection>;
    /// Newest first, below `before`.
    async fn batches(&self, before: Option<u32>, limit: usize) -> Result<Vec<BatchView>, Rejection>;
    /// All workers by name, and those that left a while ago.
    async fn workers(&self) -> Vec<WorkerView>;
    /// Under `batch_no`, or the last batch that is final (else proven) by default.
    async fn ownership_proof(&self, index: u64, batch_no: Option<u32>) -> Result<OwnershipProof, Rejection>;
    async fn prepare_send(&self, request: PrepareSend) -> Result<Draft, Rejection>;
    async fn prepare_withdraw(&self, request: PrepareWithdraw) -> Result<Draft, Rejection>;
    /// Checks, applies, commits durably and promises; all leaves or none.
    async fn submit(&self, request: SubmitRequest) -> Result<OperationView, Rejection>;
    async fn register_key(
        &self,
        entry: DirectoryEntry,
        idempotency_key: String,
    ) -> Result<DirectoryEntry, Rejection>;
    async fn readiness(&self) -> Readiness;
    /// `Ok` without a reason; else all of them, as text.
    async fn ready(&self) -> Result<(), String> {
        match self.readiness().await.against {
            none if none.is_empty() => Ok(()),
            reasons => Err(reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
        }
    }
    /// Whether its loop turns, also while it waits for others; else why not.
    fn live(&self) -> Result<(), String>;
}
