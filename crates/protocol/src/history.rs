//! What became of operations and batches, as stores keep it and readers are told.

use bn254::Fr;
use circuits::{leaf::CoinRange, shape::Shape};

use crate::{Address, OperationKind, Stage, TimelineEntry};

/// Whose operations a list holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListOf {
    /// Those that it takes part in, newest first.
    Address(Address),
    /// In the order of their slots.
    Batch(u32),
}

/// The operator's EIP-712 promise for one slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromiseView {
    pub operation_id: [u8; 32],
    pub kind: u8,
    pub batch_no: u32,
    pub index: u64,
    pub account: Fr,
    pub range: CoinRange,
    /// Unix seconds.
    pub deadline: u64,
    pub signer: Address,
    pub signature: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationView {
    /// 32 bytes as 0x-hex.
    pub id: String,
    pub kind: OperationKind,
    pub sender: Option<Address>,
    pub recipient: Option<Address>,
    pub amount: u64,
    pub batch_no: u32,
    pub stage: Stage,
    pub timeline: Vec<TimelineEntry>,
    /// With the answer to its submission; ask `promises` for them at any other time.
    pub promises: Vec<PromiseView>,
    /// Forced kinds: whether the state let it happen.
    pub hit: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchView {
    pub batch_no: u32,
    pub shape: Option<Shape>,
    pub stage: Stage,
    pub start: u64,
    pub old_root: Option<Fr>,
    pub mid_root: Option<Fr>,
    pub new_root: Option<Fr>,
    pub public_inputs: Option<[Fr; 3]>,
    pub proof: Option<Vec<u8>>,
    pub worker: Option<String>,
    pub attempts: u32,
    /// Milliseconds the accepted proof took, and its witness.
    pub prove_ms: Option<u64>,
    pub witness_ms: Option<u64>,
    pub l1_tx: Option<[u8; 32]>,
    pub l1_block: Option<u64>,
    pub gas_used: Option<u64>,
    pub timeline: Vec<TimelineEntry>,
}
