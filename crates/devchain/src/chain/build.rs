//! Makes blocks: picks transactions, runs them, seals the result.

use std::collections::HashSet;
use std::sync::Arc;

use revm::primitives::alloy_primitives::Bloom;
use revm::primitives::{Address, B256, Bytes, keccak256};

use super::{Chain, Genesis, HISTORY, INITIAL_BASE_FEE, Position, fees};
use crate::evm::{self, Environment};
use crate::state::{Undo, View};
use crate::types::{Block, Header, Receipt, SignedTx, bloom_of};

/// What goes into a block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// What waits and can run.
    FromPool,
    /// Nothing.
    Empty,
}

/// The first block.
pub(super) fn genesis_block(genesis: &Genesis, state_root: B256) -> Block {
    let header = Header {
        parent_hash: B256::ZERO,
        beneficiary: Address::ZERO,
        state_root,
        transactions_root: keccak256([]),
        // The chain id makes genesis blocks of different chains differ.
        receipts_root: keccak256(genesis.chain_id.to_be_bytes()),
        logs_bloom: Bloom::ZERO,
        number: 0,
        gas_limit: genesis.block_gas_limit,
        gas_used: 0,
        timestamp: genesis.timestamp,
        extra_data: Bytes::new(),
        prev_randao: B256::ZERO,
        base_fee: INITIAL_BASE_FEE,
    };
    Block::new(header, Vec::new(), Vec::new())
}

/// Transactions run so far in the block being made.
#[derive(Default)]
struct Running {
    transactions: Vec<Arc<SignedTx>>,
    receipts: Vec<Receipt>,
    undo: Undo,
    gas_used: u64,
    logs: u64,
    /// Senders whose next transaction cannot run in this block.
    out: HashSet<Address>,
}

impl Chain {
    /// The block after the head as contracts will see it.
    #[must_use]
    pub fn next_environment(&self, timestamp: u64) -> Environment {
        let head = self.head();
        let number = head.header.number + 1;
        let mut seed = head.hash.to_vec();
        seed.extend_from_slice(&number.to_be_bytes());
        Environment {
            chain_id: self.genesis.chain_id,
            number,
            timestamp,
            gas_limit: self.genesis.block_gas_limit,
            base_fee: fees::next_base_fee(&head.header),
            beneficiary: Address::ZERO,
            prev_randao: keccak256(&seed),
        }
    }

    /// Makes the next block. The timestamp is not before the head's.
    pub(super) fn build_block(&mut self, timestamp: u64, content: Content) {
        let env = self.next_environment(timestamp);
        let mut running = Running::default();
        if content == Content::FromPool {
            while let Some(tx) = self.pick(&env, &running) {
                self.run_one(&env, &tx, &mut running);
            }
        }
        self.seal(&env, running);
    }

    /// Whether a waiting transaction could run in the next block.
    #[must_use]
    pub fn has_ready(&self) -> bool {
        self.pick(&self.next_environment(self.head().header.timestamp), &Running::default()).is_some()
    }

    fn pick(&self, env: &Environment, running: &Running) -> Option<Arc<SignedTx>> {
        self.core.pool.best(env.base_fee, |sender| {
            let in_play = !running.out.contains(&sender);
            in_play.then(|| self.core.state.account(sender).map_or(0, |account| account.nonce))
        })
    }

    /// Runs a transaction, or puts its sender out for this block if it cannot run now (it stays in the pool).
    fn run_one(&mut self, env: &Environment, tx: &Arc<SignedTx>, running: &mut Running) {
        if running.gas_used + tx.gas_limit > env.gas_limit {
            running.out.insert(tx.sender);
            return;
        }
        let view = View { head: &self.core.state, above: &[], blocks: &self.core.blocks };
        let (result, changes) = match evm::transact(view, env, tx) {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::debug!(tx = %tx.hash, %error, "transaction cannot run in this block");
                running.out.insert(tx.sender);
                return;
            }
        };
        self.core.state.commit(changes, &mut running.undo);
        let nonce = self.core.state.account(tx.sender).map_or(0, |account| account.nonce);
        self.core.pool.prune(tx.sender, nonce);
        let gas_used = result.tx_gas_used();
        running.gas_used += gas_used;
        let success = result.is_success();
        // What a reverted transaction logged never happened.
        let logs = if success { result.into_logs() } else { Vec::new() };
        let tip = tx.effective_tip(env.base_fee).unwrap_or_default();
        running.receipts.push(Receipt {
            success,
            gas_used,
            cumulative_gas_used: running.gas_used,
            effective_gas_price: u128::from(env.base_fee) + tip,
            contract_address: created_by(tx),
            first_log: running.logs,
            logs_bloom: bloom_of(&logs),
            logs,
        });
        running.logs += running.receipts.last().map_or(0, |receipt| receipt.logs.len() as u64);
        running.transactions.push(tx.clone());
    }

    fn seal(&mut self, env: &Environment, running: Running) {
        let head = self.head();
        let mut logs_bloom = Bloom::ZERO;
        for receipt in &running.receipts {
            logs_bloom |= receipt.logs_bloom;
        }
        let extra_data =
            if self.forks == 0 { Bytes::new() } else { Bytes::copy_from_slice(&self.forks.to_be_bytes()) };
        let header = Header {
            parent_hash: head.hash,
            beneficiary: env.beneficiary,
            state_root: self.core.state.commitment(head.header.state_root, &running.undo),
            transactions_root: keccak256(
                running.transactions.iter().flat_map(|tx| tx.hash.0).collect::<Vec<_>>(),
            ),
            receipts_root: receipts_hash(&running.receipts),
            logs_bloom,
            number: env.number,
            gas_limit: env.gas_limit,
            gas_used: running.gas_used,
            timestamp: env.timestamp,
            extra_data,
            prev_randao: env.prev_randao,
            base_fee: env.base_fee,
        };
        let block = Arc::new(Block::new(header, running.transactions, running.receipts));
        for (index, tx) in block.transactions.iter().enumerate() {
            self.core.positions.insert(tx.hash, Position { number: env.number, index });
        }
        self.core.numbers.insert(block.hash, env.number);
        self.core.blocks.push(block);
        self.core.undos.push(Arc::new(running.undo));
        if self.core.undos.len() > HISTORY {
            self.core.undos.remove(0);
        }
    }
}

/// The address that a creation makes. Receipts name it also if the creation failed, as other clients do.
fn created_by(tx: &SignedTx) -> Option<Address> {
    tx.to.is_none().then(|| tx.sender.create(tx.nonce))
}

/// keccak256 of the receipts' content in order.
fn receipts_hash(receipts: &[Receipt]) -> B256 {
    let mut bytes = Vec::new();
    for receipt in receipts {
        bytes.push(u8::from(receipt.success));
        bytes.extend_from_slice(&receipt.cumulative_gas_used.to_be_bytes());
        bytes.extend_from_slice(&(receipt.logs.len() as u64).to_be_bytes());
        for log in &receipt.logs {
            bytes.extend_from_slice(log.address.as_slice());
            bytes.push(log.topics().len() as u8);
            log.topics().iter().for_each(|topic| bytes.extend_from_slice(topic.as_slice()));
            bytes.extend_from_slice(keccak256(&log.data.data).as_slice());
        }
    }
    keccak256(&bytes)
}
