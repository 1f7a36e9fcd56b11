//! The chain as a pure state machine: [`Chain::apply`] is the only way to change it, and it neither reads a clock nor
//! touches a disk. Applying the same operations to the same genesis gives the same chain, which is what the log in
//! [`crate::persist`] relies on.
//!
//! - `mod.rs`: operations and the rules for them
//! - `build.rs`: makes blocks
//! - `query.rs`: reads blocks, logs and old states
//! - `fees.rs`: EIP-1559
//!
//! # Block hashes
//!
//! A block's hash is keccak256 of the RLP of its Prague header, as on any Ethereum chain. Three header fields are not
//! trie roots but plain hashes: the state root is `keccak256(parent's ‖ sorted changes of the block)`, the
//! transactions and receipts roots are hashes of their concatenated content. Hence a hash still commits to the content
//! and to all blocks before, but Merkle proofs against it do not exist. `anvil_setBalance` changes the head's state
//! without changing its hash.
//!
//! # Where it differs from a real chain
//!
//! Two blocks may have the same timestamp (else a chain under load would run ahead of the clock), there are no system
//! calls (EIP-2935, EIP-4788), no blobs, and no EIP-7702 transactions.

mod build;
mod fees;
mod query;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use revm::primitives::{Address, B256, Bytes, U256};

pub use fees::{FeeHistory, INITIAL_BASE_FEE, SUGGESTED_TIP};
pub use query::{BlockRef, LogEntry, LogFilter, MAX_LOGS, Position};

use crate::error::{RuleError, TxError};
use crate::evm::{self, TX_GAS_CAP};
use crate::pool::Pool;
use crate::state::{Account, State, Undo};
use crate::tx;
use crate::types::{Block, SignedTx};

/// Blocks below the head whose state can be read or returned to.
pub const HISTORY: usize = 256;
/// Snapshots held at a time.
pub const MAX_SNAPSHOTS: usize = 64;
/// EIP-3860: bytes of creation code.
const MAX_INIT_CODE: usize = 49_152;

/// What the first block is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Gas in a block.
    pub block_gas_limit: u64,
    /// Seconds since 1970.
    pub timestamp: u64,
    /// Balances in wei.
    pub accounts: Vec<(Address, U256)>,
}

/// What happens to the transactions of dropped blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// They wait for a block again.
    Requeue,
    /// They are gone.
    Forget,
}

/// Everything that can change a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Takes a raw transaction into the pool.
    Submit(Bytes),
    /// Makes a block.
    Mine {
        /// Its timestamp.
        timestamp: u64,
    },
    /// Replaces the last blocks by as many empty ones.
    Reorg {
        /// How many.
        depth: u64,
        /// What becomes of their transactions.
        dropped: Dropped,
    },
    /// Remembers blocks, state, pool and clock.
    Snapshot,
    /// Returns to a snapshot and forgets it and all later ones.
    Revert(u64),
    /// Sets a balance in the head's state.
    SetBalance(Address, U256),
    /// Sets the clock.
    SetClock(Clock),
}

/// How block timestamps are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// Seconds that the chain is ahead of the wall clock (two's complement: it may be behind).
    pub offset: i64,
    /// Timestamp of the next block, if it was set.
    pub next: Option<u64>,
}

/// What an operation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing to tell.
    Done,
    /// The transaction waits.
    Queued(B256),
    /// The number of the snapshot taken.
    Snapshot(u64),
    /// Whether there was such a snapshot.
    Reverted(bool),
}

/// The part of a chain that snapshots hold.
#[derive(Clone, Debug)]
struct Core {
    /// All blocks; the index is the number. Never empty.
    blocks: Vec<Arc<Block>>,
    numbers: HashMap<B256, u64>,
    positions: HashMap<B256, Position>,
    state: State,
    /// Undos of the last blocks, oldest first, at most [`HISTORY`].
    undos: Vec<Arc<Undo>>,
    pool: Pool,
    clock: Clock,
}

/// The chain.
#[derive(Debug)]
pub struct Chain {
    genesis: Genesis,
    core: Core,
    snapshots: BTreeMap<u64, Core>,
    next_snapshot: u64,
    /// Reorganisations so far. Never goes back, so that no block made after one equals a block dropped by it.
    forks: u64,
}

impl Chain {
    /// A chain with its first block.
    #[must_use]
    pub fn new(genesis: Genesis) -> Self {
        let mut state = State::default();
        let mut undo = Undo::default();
        for (address, balance) in &genesis.accounts {
            state.set_account(*address, Some(Account::with_balance(*balance)), &mut undo);
        }
        let block = Arc::new(build::genesis_block(&genesis, state.commitment(B256::ZERO, &undo)));
        let core = Core {
            numbers: HashMap::from([(block.hash, 0)]),
            blocks: vec![block],
            positions: HashMap::new(),
            state,
            undos: Vec::new(),
            pool: Pool::default(),
            clock: Clock::default(),
        };
        Self { genesis, core, snapshots: BTreeMap::new(), next_snapshot: 0, forks: 0 }
    }

    /// Applies an operation.
    ///
    /// # Errors
    /// If a rule refuses it; the chain is unchanged then.
    pub fn apply(&mut self, op: &Op) -> Result<Effect, crate::Error> {
        match op {
            Op::Submit(raw) => Ok(Effect::Queued(self.submit(raw)?)),
            Op::Mine { timestamp } => {
                let head = self.head().header.timestamp;
                if *timestamp < head {
                    return Err(RuleError::TimestampTooOld { asked: *timestamp, head }.into());
                }
                self.build_block(*timestamp, build::Content::FromPool);
                self.core.clock.next = None;
                Ok(Effect::Done)
            }
            Op::Reorg { depth, dropped } => {
                self.reorg(*depth, *dropped)?;
                Ok(Effect::Done)
            }
            Op::Snapshot => {
                if self.snapshots.len() >= MAX_SNAPSHOTS {
                    return Err(RuleError::TooManySnapshots { limit: MAX_SNAPSHOTS }.into());
                }
                let id = self.next_snapshot;
                self.next_snapshot += 1;
                self.snapshots.insert(id, self.core.clone());
                Ok(Effect::Snapshot(id))
            }
            Op::Revert(id) => {
                let Some(core) = self.snapshots.get(id).cloned() else { return Ok(Effect::Reverted(false)) };
                self.core = core;
                self.snapshots.split_off(id);
                Ok(Effect::Reverted(true))
            }
            Op::SetBalance(address, balance) => {
                self.set_balance(*address, *balance);
                Ok(Effect::Done)
            }
            Op::SetClock(clock) => {
                let head = self.head().header.timestamp;
                if let Some(asked) = clock.next.filter(|next| *next < head) {
                    return Err(RuleError::TimestampTooOld { asked, head }.into());
                }
                self.core.clock = *clock;
                Ok(Effect::Done)
            }
        }
    }

    fn submit(&mut self, raw: &[u8]) -> Result<B256, TxError> {
        let tx = tx::decode(raw)?;
        if self.core.positions.contains_key(&tx.hash) {
            return Err(TxError::Known);
        }
        self.check(&tx)?;
        let hash = tx.hash;
        self.core.pool.insert(Arc::new(tx))?;
        Ok(hash)
    }

    /// What a transaction has to fulfil to enter the pool.
    fn check(&self, tx: &SignedTx) -> Result<(), TxError> {
        let sender = tx.sender;
        if tx.chain_id != self.genesis.chain_id {
            return Err(TxError::ChainId { have: tx.chain_id, want: self.genesis.chain_id });
        }
        if tx.gas_limit > TX_GAS_CAP {
            return Err(TxError::GasCap { cap: TX_GAS_CAP, gas: tx.gas_limit });
        }
        if tx.gas_limit > self.genesis.block_gas_limit {
            return Err(TxError::BlockGas { gas: tx.gas_limit, limit: self.genesis.block_gas_limit });
        }
        if tx.max_tip > tx.max_fee {
            return Err(TxError::TipAboveFee);
        }
        if tx.to.is_none() && tx.input.len() > MAX_INIT_CODE {
            return Err(TxError::InitCode { size: tx.input.len(), limit: MAX_INIT_CODE });
        }
        let needed = evm::intrinsic_gas(tx);
        if tx.gas_limit < needed {
            return Err(TxError::IntrinsicGas { gas: tx.gas_limit, needed });
        }
        let account = self.core.state.account(sender).unwrap_or(Account::with_balance(U256::ZERO));
        if tx.nonce < account.nonce {
            return Err(TxError::NonceTooLow { sender, tx: tx.nonce, state: account.nonce });
        }
        if account.code_hash != revm::primitives::KECCAK_EMPTY {
            return Err(TxError::SenderHasCode { sender });
        }
        if account.balance < tx.max_cost() {
            return Err(TxError::Funds { sender });
        }
        Ok(())
    }

    fn reorg(&mut self, depth: u64, dropped: Dropped) -> Result<(), RuleError> {
        let possible = self.core.undos.len() as u64;
        if depth > possible {
            return Err(RuleError::ReorgTooDeep { asked: depth, possible });
        }
        if depth == 0 {
            return Ok(());
        }
        let first = self.core.blocks.len() - depth as usize;
        let blocks = self.core.blocks.split_off(first);
        for undo in self.core.undos.split_off(self.core.undos.len() - depth as usize).iter().rev() {
            self.core.state.revert(undo);
        }
        self.forks += 1;
        for block in &blocks {
            self.core.numbers.remove(&block.hash);
            for tx in &block.transactions {
                self.core.positions.remove(&tx.hash);
                if dropped == Dropped::Requeue {
                    self.core.pool.put_back(tx.clone());
                }
            }
        }
        for block in &blocks {
            self.build_block(block.header.timestamp, build::Content::Empty);
        }
        Ok(())
    }

    fn set_balance(&mut self, address: Address, balance: U256) {
        let account = match self.core.state.account(address) {
            Some(account) => Account { balance, ..account },
            None => Account::with_balance(balance),
        };
        let account = Some(account).filter(|account| *account != Account::with_balance(U256::ZERO));
        match self.core.undos.last_mut() {
            Some(undo) => self.core.state.set_account(address, account, Arc::make_mut(undo)),
            // The genesis block is never undone.
            None => self.core.state.set_account(address, account, &mut Undo::default()),
        }
    }
}
