//! The contract's queues and history, and transactions to it, as plain data: no type of an Ethereum library.

use bn254::Fr;
use circuits::{leaf::CoinRange, public_data::Record, shape::Shape, slot::ForcedKind};
use serde::{Deserialize, Serialize};

use crate::Address;

/// A hash that L1 made: of a block or a transaction.
pub type Hash32 = [u8; 32];

/// A block by number and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockRef {
    pub number: u64,
    pub hash: Hash32,
    /// Unix seconds.
    pub timestamp: u64,
}

/// An entry of the contract's deposit queue (event `Deposited`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deposit {
    /// Position in the queue, from 0 without gaps.
    pub id: u64,
    pub owner: Address,
    #[serde(with = "bn254::serde_fr")]
    pub key_hash: Fr,
    #[serde(with = "bn254::serde_fr")]
    pub account: Fr,
    pub range: CoinRange,
    pub depositor: Address,
    /// Unix seconds; part of the queue entry's preimage.
    pub deadline: u64,
    pub block: u64,
    pub tx: Hash32,
}

/// An entry of the contract's forced queue (event `ForcedRequested`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForcedRequest {
    /// Position in the queue, from 0 without gaps.
    pub id: u64,
    pub kind: ForcedKind,
    pub index: u64,
    #[serde(with = "bn254::serde_fr")]
    pub account: Fr,
    /// 0 for an exit.
    #[serde(with = "bn254::serde_fr")]
    pub new_account: Fr,
    pub owner: Address,
    /// Unix seconds; part of the queue entry's preimage.
    pub deadline: u64,
    pub block: u64,
    pub tx: Hash32,
}

/// A batch that the contract accepted (event `BatchAccepted`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchAccepted {
    pub batch_no: u32,
    pub shape: Shape,
    #[serde(with = "bn254::serde_fr")]
    pub mid_root: Fr,
    #[serde(with = "bn254::serde_fr")]
    pub new_root: Fr,
    pub start: u64,
    pub next: u64,
    pub minted_up_to: u64,
    pub forced_up_to: u64,
    pub block: u64,
    pub tx: Hash32,
}

/// The contract's logs of a range of blocks, each kind in order of the chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logs {
    pub deposits: Vec<Deposit>,
    pub forced: Vec<ForcedRequest>,
    pub batches: Vec<BatchAccepted>,
}

/// What was written when the contract was deployed, and does not change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    pub chain_id: u64,
    pub contract: Address,
    /// The only address whose `submitBatch` is accepted; `sign_submit` signs for it.
    pub operator: Address,
    /// Wei per coin.
    pub quantum_wei: u64,
    /// The first block that can hold a log of the contract.
    pub first_block: u64,
}

impl Deployment {
    /// What a store is bound to.
    pub fn name(&self) -> String {
        format!("chain {} contract 0x{}", self.chain_id, hex::encode(self.contract))
    }
}

/// The contract's state now (`state()`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContractState {
    pub root: Fr,
    /// The last accepted batch; 0 before the first.
    pub batch_no: u32,
    pub next: u64,
    pub minted_up_to: u64,
    pub forced_up_to: u64,
    pub deposit_count: u64,
    pub forced_count: u64,
}

/// When a block counts as final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finality {
    /// The block so many below the head, for chains without the `finalized` tag; 0 takes the head itself.
    Confirmations(u64),
    /// The block tagged `finalized`: two epochs of Ethereum's proof of stake.
    Tag,
}

/// The fees of an EIP-1559 transaction, in wei per gas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fees {
    pub max_fee: u128,
    pub max_priority: u128,
}

/// Everything `submitBatch` is called with, or one of the batches of `submitBatches`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmitBatch {
    pub shape: Shape,
    pub batch_no: u32,
    pub start: u64,
    pub mid_root: Fr,
    pub new_root: Fr,
    /// The first public input.
    pub h: Fr,
    /// The preimages of the next deposits, in the order of their ids.
    pub mints: Vec<Deposit>,
    /// Three words each, in slot order.
    pub records: Vec<Record>,
    /// The preimages of the next forced requests, in the order of their ids.
    pub forced: Vec<ForcedRequest>,
    /// EIP-197 order: A.x, A.y, B.x.c1, B.x.c0, B.y.c1, B.y.c0, C.x, C.y, 32 bytes big-endian each.
    pub proof: [u8; 256],
}

/// A signed transaction, saved before it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedTx {
    pub raw: Vec<u8>,
    pub hash: Hash32,
    pub nonce: u64,
    pub fees: Fees,
}

/// What became of a broadcast, each with the reaction that is right for it. An error instead of one of these says nothing:
/// the transaction may be in a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// Taken, or already known to the node.
    Sent,
    /// The nonce was used by another transaction (or by this one, mined before): look for receipts.
    NonceUsed,
    /// A replacement that does not pay enough more than the one it replaces: bump higher.
    Underpriced,
    /// No pool has it, in the node's words: too little ether, fees or gas beyond a limit, fees too low for the pool, a nonce
    /// too far ahead. If no other transaction with its nonce was sent before, the nonce is free.
    NotTaken(String),
    /// Refused in words that are not known: it may be in a pool all the same.
    Refused(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub tx: Hash32,
    pub block: u64,
    pub block_hash: Hash32,
    pub success: bool,
    pub gas_used: u64,
}

/// The state a call is tried on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    Latest,
    /// After the transactions that wait at the node.
    Pending,
}

/// The outcome of `eth_call` with batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DryRun {
    Accepted {
        /// To sign with: the node's estimate and some to spare.
        gas_limit: u64,
    },
    /// The contract's error in words (its name and arguments, or the revert string), or why it fits no transaction.
    Reverted(String),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    #[error("PM-CHAIN-001: the chain does not answer: {0}")]
    Unreachable(String),
    #[error(
        "PM-CHAIN-002: a log of the contract in block {block} cannot be decoded ({detail}); no deposits are taken in until \
         a version that knows this log is installed"
    )]
    Undecodable { block: u64, detail: String },
    #[error(
        "PM-CHAIN-003: the node answered something that makes no sense ({0}); check its address and version"
    )]
    Unexpected(String),
    #[error("PM-CHAIN-004: signing failed ({0}); check the owner key")]
    Signing(String),
}
