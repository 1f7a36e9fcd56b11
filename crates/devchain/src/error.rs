//! What can go wrong while a dev chain starts, runs or writes. Codes are stable: `PM-DEV-…`.

use std::path::PathBuf;

use revm::primitives::{Address, B256};

/// Why a dev chain could not start, or had to stop taking work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listening address is taken or not allowed.
    #[error("PM-DEV-001: cannot listen on {address}: {source}; choose another port, or 0 for any free one")]
    Bind {
        /// The address that was asked for.
        address: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Another process holds the data folder.
    #[error("PM-DEV-002: {path} is in use by another dev chain; stop it or give this one its own folder")]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// Reading or writing the data folder failed.
    #[error("PM-DEV-003: cannot {action} {path}: {source}; check the disk and the folder's permissions")]
    Storage {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The operation log has a damaged entry that is not its torn end.
    #[error(
        "PM-DEV-004: {path} is damaged at byte {offset} ({reason}); restore it from a copy, or delete the folder to begin a new chain"
    )]
    Damaged {
        /// The log file.
        path: PathBuf,
        /// Where the damaged entry begins, in bytes.
        offset: u64,
        /// What does not hold.
        reason: String,
    },
    /// The folder belongs to a chain with another configuration.
    #[error(
        "PM-DEV-005: {path} holds another chain ({what}); start with the old settings or use a new folder"
    )]
    OtherChain {
        /// The log file.
        path: PathBuf,
        /// The setting that differs, with both values.
        what: String,
    },
    /// Re-executing the log gave another block hash than the one recorded.
    #[error(
        "PM-DEV-006: entry {entry} replays to head {found}, but {recorded} was recorded; the log was written by another version: use that one, or delete the folder"
    )]
    Diverged {
        /// Number of the entry, from 0.
        entry: u64,
        /// Head recorded when the entry was written.
        recorded: B256,
        /// Head after replaying it.
        found: B256,
    },
    /// An entry is whole, but cannot be understood or is refused by the chain's rules.
    #[error(
        "PM-DEV-010: entry {entry} of {path} cannot be replayed ({reason}); the log was written by another version: use that one, or delete the folder"
    )]
    Replay {
        /// The log file.
        path: PathBuf,
        /// Number of the entry, from 0.
        entry: u64,
        /// Why not.
        reason: String,
    },
    /// An earlier write failed; memory is ahead of the disk.
    #[error("PM-DEV-007: an earlier write to the log failed, so nothing more is accepted; restart the chain")]
    Halted,
    /// A thread died while it held the chain.
    #[error("PM-DEV-008: the chain's state was left half changed by a failed call; restart the chain")]
    Poisoned,
    /// A background task could not be started or joined.
    #[error("PM-DEV-009: a task of the server ended early: {0}; restart the chain")]
    Task(String),
    /// The operation is not possible in the chain's present state.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// The transaction is not acceptable.
    #[error(transparent)]
    Tx(#[from] TxError),
}

/// A chain operation that its rules refuse. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// More blocks than there are, or than can be undone.
    #[error("PM-DEV-020: cannot reorganise {asked} blocks, at most {possible} can be undone now")]
    ReorgTooDeep {
        /// Blocks asked for.
        asked: u64,
        /// Blocks that can be undone.
        possible: u64,
    },
    /// The next block may not be older than the head.
    #[error("PM-DEV-021: timestamp {asked} is before the head's {head}; choose a later one")]
    TimestampTooOld {
        /// Asked for, in seconds since 1970.
        asked: u64,
        /// The head's.
        head: u64,
    },
    /// Snapshots are whole copies, so they are few.
    #[error("PM-DEV-022: {limit} snapshots are held already; revert to one of them first")]
    TooManySnapshots {
        /// The limit.
        limit: usize,
    },
    /// Blocks to mine in one call.
    #[error("PM-DEV-023: {asked} blocks in one call are too many, the limit is {limit}")]
    TooManyBlocks {
        /// Blocks asked for.
        asked: u64,
        /// The limit.
        limit: u64,
    },
    /// State this old is no longer kept.
    #[error("PM-DEV-024: the state of block {number} is no longer kept, the oldest kept is {oldest}")]
    StatePruned {
        /// Block asked for.
        number: u64,
        /// Oldest block whose state can be read.
        oldest: u64,
    },
    /// No such block.
    #[error("PM-DEV-025: no block {0}")]
    UnknownBlock(String),
    /// A clock value out of range.
    #[error("PM-DEV-026: the clock cannot move by {0} seconds")]
    ClockRange(u64),
}

/// Why a signed transaction is refused. The texts begin like those of common Ethereum clients, which wallets match on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TxError {
    /// Not a canonical signed transaction of a supported type.
    #[error("invalid transaction: {0} (types 0, 1 and 2 are supported)")]
    Malformed(String),
    /// Longer than the pool takes.
    #[error("oversized data: transaction of {size} bytes, the limit is {limit}")]
    Oversized {
        /// Bytes given.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A legacy transaction without EIP-155.
    #[error("only replay-protected (EIP-155) transactions allowed over RPC")]
    Unprotected,
    /// Signed for another chain.
    #[error("invalid chain id for signer: have {have} want {want}")]
    ChainId {
        /// In the transaction.
        have: u64,
        /// Of this chain.
        want: u64,
    },
    /// The nonce was used.
    #[error("nonce too low: address {sender}, tx: {tx} state: {state}")]
    NonceTooLow {
        /// Sender.
        sender: Address,
        /// Nonce in the transaction.
        tx: u64,
        /// Next nonce of the account.
        state: u64,
    },
    /// EIP-7825.
    #[error("transaction gas limit too high (cap: {cap}, tx: {gas})")]
    GasCap {
        /// EIP-7825's cap.
        cap: u64,
        /// Gas limit of the transaction.
        gas: u64,
    },
    /// Above the block's limit.
    #[error("exceeds block gas limit: tx gas {gas}, block limit {limit}")]
    BlockGas {
        /// Gas limit of the transaction.
        gas: u64,
        /// Gas limit of a block.
        limit: u64,
    },
    /// Below what the transaction costs before its first instruction.
    #[error("intrinsic gas too low: gas {gas}, minimum needed {needed}")]
    IntrinsicGas {
        /// Gas limit of the transaction.
        gas: u64,
        /// Minimum by EIP-2028, EIP-2930, EIP-3860 and EIP-7623.
        needed: u64,
    },
    /// Creation code above EIP-3860's limit.
    #[error("max initcode size exceeded: {size} bytes, the limit is {limit}")]
    InitCode {
        /// Bytes given.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// EIP-1559: the tip may not exceed the maximum fee.
    #[error("max priority fee per gas higher than max fee per gas")]
    TipAboveFee,
    /// The sender cannot pay.
    #[error("insufficient funds for gas * price + value: address {sender}")]
    Funds {
        /// Sender.
        sender: Address,
    },
    /// The same transaction is in the pool or mined.
    #[error("already known")]
    Known,
    /// A replacement has to pay 10 % more.
    #[error("replacement transaction underpriced")]
    Underpriced,
    /// EIP-3607.
    #[error("sender not an eoa: address {sender}")]
    SenderHasCode {
        /// Sender.
        sender: Address,
    },
    /// The pool, or the sender's part of it, is full.
    #[error("txpool is full: {limit} transactions wait already")]
    PoolFull {
        /// The limit that was reached.
        limit: usize,
    },
}
