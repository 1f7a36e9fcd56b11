//! Reads: blocks, transactions, logs, and the state after any of the last blocks.

use std::sync::Arc;

use revm::primitives::{Address, B256, Log};

use super::{Chain, Clock, Genesis, HISTORY};
use crate::error::RuleError;
use crate::evm::Environment;
use crate::pool::Pool;
use crate::state::View;
use crate::types::{Block, SignedTx};

/// Logs in one answer.
pub const MAX_LOGS: usize = 20_000;

/// Where a transaction was mined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Block number.
    pub number: u64,
    /// Index in the block.
    pub index: usize,
}

/// A way to name a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockRef {
    /// The head.
    Latest,
    /// The block that would come next: the head's state, the pool not applied.
    Pending,
    /// Block 0.
    Earliest,
    /// The newest block with the configured depth below the head.
    Finalized,
    /// By height.
    Number(u64),
    /// By hash.
    Hash(B256),
}

/// Which logs are wanted.
#[derive(Clone, Debug, Default)]
pub struct LogFilter {
    /// Any of these addresses; all if empty.
    pub addresses: Vec<Address>,
    /// For each topic position: any of these; all if empty.
    pub topics: Vec<Vec<B256>>,
}

impl LogFilter {
    fn takes(&self, log: &Log) -> bool {
        let topics = log.topics();
        (self.addresses.is_empty() || self.addresses.contains(&log.address))
            && self.topics.len() <= topics.len()
            && self
                .topics
                .iter()
                .zip(topics)
                .all(|(wanted, topic)| wanted.is_empty() || wanted.contains(topic))
    }

    /// Whether a block's bloom filter leaves it possible that it has such a log.
    fn may_match(&self, block: &Block) -> bool {
        let has = |bytes: &[u8]| {
            let mut one = revm::primitives::alloy_primitives::Bloom::ZERO;
            one.accrue(revm::primitives::alloy_primitives::BloomInput::Raw(bytes));
            block.header.logs_bloom.contains(&one)
        };
        (self.addresses.is_empty() || self.addresses.iter().any(|address| has(address.as_slice())))
            && self.topics.iter().all(|any| any.is_empty() || any.iter().any(|topic| has(topic.as_slice())))
    }
}

/// A log and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct LogEntry<'a> {
    /// The block.
    pub block: &'a Block,
    /// Index of its transaction.
    pub transaction: usize,
    /// Index in the block.
    pub index: u64,
    /// The log.
    pub log: &'a Log,
}

impl Chain {
    /// What the first block was made of.
    #[must_use]
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The newest block.
    #[must_use]
    pub fn head(&self) -> &Arc<Block> {
        // There is always the genesis block.
        &self.core.blocks[self.core.blocks.len() - 1]
    }

    /// The transactions that wait.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.core.pool
    }

    /// The clock's setting.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.core.clock
    }

    /// Timestamp of the next block if it is made at the wall clock's `now`, in seconds since 1970.
    #[must_use]
    pub fn next_timestamp(&self, now: u64) -> u64 {
        let clock = self.core.clock;
        clock.next.unwrap_or(now.saturating_add_signed(clock.offset)).max(self.head().header.timestamp)
    }

    /// Number of a block, `None` if there is no such block. `Pending` is the head's number.
    #[must_use]
    pub fn number_of(&self, block: BlockRef, finality_depth: u64) -> Option<u64> {
        let head = self.head().header.number;
        match block {
            BlockRef::Latest | BlockRef::Pending => Some(head),
            BlockRef::Earliest => Some(0),
            BlockRef::Finalized => Some(head.saturating_sub(finality_depth)),
            BlockRef::Number(number) => (number <= head).then_some(number),
            BlockRef::Hash(hash) => self.core.numbers.get(&hash).copied(),
        }
    }

    /// A block by its number.
    #[must_use]
    pub fn block(&self, number: u64) -> Option<&Arc<Block>> {
        usize::try_from(number).ok().and_then(|number| self.core.blocks.get(number))
    }

    /// A mined transaction: its block and its index there.
    #[must_use]
    pub fn mined(&self, hash: &B256) -> Option<(&Arc<Block>, usize)> {
        let position = self.core.positions.get(hash)?;
        Some((self.block(position.number)?, position.index))
    }

    /// A transaction in the pool.
    #[must_use]
    pub fn waiting(&self, hash: &B256) -> Option<&Arc<SignedTx>> {
        self.core.pool.get(hash)
    }

    /// The state after block `number`.
    ///
    /// # Errors
    /// If there is no such block, or its state is no longer kept.
    pub fn view(&self, number: u64) -> Result<View<'_>, RuleError> {
        let head = self.head().header.number;
        let above = head.checked_sub(number).ok_or_else(|| RuleError::UnknownBlock(number.to_string()))?;
        let kept = self.core.undos.len();
        if above > kept as u64 {
            return Err(RuleError::StatePruned { number, oldest: head - kept as u64 });
        }
        let above = &self.core.undos[kept - above as usize..];
        Ok(View { head: &self.core.state, above, blocks: &self.core.blocks })
    }

    /// A block as contracts saw it.
    #[must_use]
    pub fn environment_of(&self, block: &Block) -> Environment {
        Environment {
            chain_id: self.genesis.chain_id,
            number: block.header.number,
            timestamp: block.header.timestamp,
            gas_limit: block.header.gas_limit,
            base_fee: block.header.base_fee,
            beneficiary: block.header.beneficiary,
            prev_randao: block.header.prev_randao,
        }
    }

    /// Logs of the blocks `from..=to` that a filter takes, oldest first; `None` if there are more than [`MAX_LOGS`].
    #[must_use]
    pub fn logs(&self, from: u64, to: u64, filter: &LogFilter) -> Option<Vec<LogEntry<'_>>> {
        let mut found = Vec::new();
        let to = to.min(self.head().header.number);
        for block in
            (from..=to).filter_map(|number| self.block(number)).filter(|block| filter.may_match(block))
        {
            for (transaction, receipt) in block.receipts.iter().enumerate() {
                for (log, index) in receipt.logs.iter().zip(receipt.first_log..) {
                    if filter.takes(log) {
                        found.push(LogEntry { block, transaction, index, log });
                    }
                }
            }
            if found.len() > MAX_LOGS {
                return None;
            }
        }
        Some(found)
    }

    /// Number of blocks whose state can be undone now, at most [`HISTORY`].
    #[must_use]
    pub fn undoable(&self) -> usize {
        self.core.undos.len().min(HISTORY)
    }
}
