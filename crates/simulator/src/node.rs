//! The chain itself: blocks, the pool, the contract's rules, reorganisations. It has no mercy and no faults of its own;
//! the schedule decides when what happens.

use std::collections::BTreeMap;

use bn254::{Fr, PrimeField};
use circuits::slot::ForcedKind;
use protocol::{
    Address,
    l1::{
        BatchAccepted, ContractState, Deposit, Fees, ForcedRequest, Hash32, Receipt, SendOutcome, SignedTx,
        SubmitBatch,
    },
};
use sha2::{Digest, Sha256};

use super::world::Dice;
use coordinator::chain::model::{self, ContractModel, DEADLINE};

const BASE_FEE: u128 = 100;

mod contract;

/// Somebody's wish, until it is in a block.
#[derive(Clone, Debug)]
pub enum Wish {
    Deposit { owner: Address, key_hash: Fr, account: Fr, coins: u64 },
    Force { kind: ForcedKind, index: u64, account: Fr, new_account: Fr, owner: Address },
}

#[derive(Clone)]
struct Block {
    hash: Hash32,
    wishes: Vec<Wish>,
    deposits: Vec<Deposit>,
    forced: Vec<ForcedRequest>,
    batches: Vec<BatchAccepted>,
    txs: Vec<SignedTx>,
    receipts: Vec<Receipt>,
    /// After the block.
    contract: ContractModel,
    nonce: u64,
    credited: u64,
}

pub struct Node {
    blocks: Vec<Block>,
    pool: Vec<SignedTx>,
    wishes: Vec<Wish>,
    /// What a signed transaction would do.
    pub calls: BTreeMap<Hash32, Vec<SubmitBatch>>,
    pub domain: Fr,
    pub confirmations: u64,
    /// The highest block there ever was: what lies `confirmations` below it stays.
    highest: u64,
    branch: u64,
    pub base_fee: u128,
    /// Transactions that offer more are not taken.
    pub fee_cap: Option<u128>,
    /// Transactions that took another's place in the pool.
    pub replaced: u64,
    /// Whether calls on what is pending run on the latest block.
    pub keeps_no_pending_state: bool,
    /// Whether blocks were replaced that nobody could expect to be.
    pub was_deep: bool,
    foreign: u64,
}

impl Node {
    pub fn new(domain: Fr, confirmations: u64) -> Self {
        let genesis = Block {
            hash: [1; 32],
            wishes: Vec::new(),
            deposits: Vec::new(),
            forced: Vec::new(),
            batches: Vec::new(),
            txs: Vec::new(),
            receipts: Vec::new(),
            contract: ContractModel::default(),
            nonce: 0,
            credited: 0,
        };
        Self {
            blocks: vec![genesis],
            pool: Vec::new(),
            wishes: Vec::new(),
            calls: BTreeMap::new(),
            domain,
            confirmations,
            highest: 0,
            branch: 0,
            base_fee: BASE_FEE,
            fee_cap: None,
            replaced: 0,
            keeps_no_pending_state: false,
            was_deep: false,
            foreign: 0,
        }
    }

    fn tip(&self) -> &Block {
        match self.blocks.last() {
            Some(block) => block,
            None => unreachable!("the first block is never removed"),
        }
    }

    pub fn head(&self) -> u64 {
        self.blocks.len() as u64 - 1
    }

    pub fn hash(&self, number: u64) -> Option<Hash32> {
        self.blocks.get(number as usize).map(|block| block.hash)
    }

    pub fn contract(&self) -> ContractState {
        self.tip().contract.state
    }

    /// Deposits and forced requests up to a block.
    pub fn queue_lengths(&self, block: u64) -> Option<(u64, u64)> {
        let contract = self.blocks.get(block as usize)?.contract.state;
        Some((contract.deposit_count, contract.forced_count))
    }

    pub fn nonce(&self) -> u64 {
        self.tip().nonce
    }

    /// As a node says that is so many blocks behind.
    pub fn nonce_at(&self, behind: u64) -> u64 {
        self.blocks[self.head().saturating_sub(behind) as usize].nonce
    }

    /// Coins that the contract has paid out.
    pub fn credited(&self) -> u64 {
        self.tip().credited
    }

    pub fn coins(&self) -> u64 {
        self.tip().contract.coins
    }

    /// No block up to this one is ever replaced.
    pub fn settled(&self) -> u64 {
        self.highest.saturating_sub(self.confirmations)
    }

    /// Whether a batch is in a block that stays.
    pub fn is_final(&self, batch_no: u32, new_root: &Fr) -> bool {
        let kept = self.blocks.iter().take(self.settled() as usize + 1);
        kept.flat_map(|block| &block.batches).any(|log| log.batch_no == batch_no && log.new_root == *new_root)
    }

    pub fn logs(&self, from: u64, to: u64) -> (Vec<Deposit>, Vec<ForcedRequest>, Vec<BatchAccepted>) {
        let (mut deposits, mut forced, mut batches) = (Vec::new(), Vec::new(), Vec::new());
        let count = (to + 1).saturating_sub(from) as usize;
        for block in self.blocks.iter().skip(from as usize).take(count) {
            deposits.extend(block.deposits.iter().cloned());
            forced.extend(block.forced.iter().cloned());
            batches.extend(block.batches.iter().cloned());
        }
        (deposits, forced, batches)
    }

    pub fn receipt(&self, tx: &Hash32) -> Option<Receipt> {
        self.blocks.iter().rev().flat_map(|block| &block.receipts).find(|receipt| receipt.tx == *tx).cloned()
    }

    pub fn fees(&self) -> Fees {
        Fees { max_fee: self.base_fee * 2, max_priority: 10 }
    }

    pub fn spike(&mut self, times: u128) {
        self.base_fee = BASE_FEE * times;
        // A node may have a cap of its own that a spike goes beyond.
        self.fee_cap = (times == 5).then_some(BASE_FEE * 8);
    }

    pub fn wish(&mut self, wish: Wish) {
        self.wishes.push(wish);
    }

    /// Forgets transactions of the pool.
    pub fn evict(&mut self) {
        self.pool.retain(|tx| tx.raw.is_empty());
    }

    /// Somebody uses the operator's key for something else.
    pub fn take_a_nonce(&mut self) {
        self.foreign += 1;
        let mut hash = [0xff; 32];
        hash[..8].copy_from_slice(&self.foreign.to_be_bytes());
        let fees = Fees { max_fee: u128::MAX, max_priority: u128::MAX };
        let nonce = self.nonce();
        self.pool.retain(|tx| tx.nonce != nonce);
        self.pool.push(SignedTx { raw: Vec::new(), hash, nonce, fees });
    }

    pub fn send(&mut self, tx: &SignedTx) -> SendOutcome {
        if tx.nonce < self.nonce() {
            return SendOutcome::NonceUsed;
        }
        if self.fee_cap.is_some_and(|cap| tx.fees.max_fee > cap) {
            return SendOutcome::NotTaken("tx fee exceeds the configured cap".to_owned());
        }
        if self.pool.iter().any(|known| known.hash == tx.hash) {
            return SendOutcome::Sent;
        }
        if let Some(at) = self.pool.iter().position(|known| known.nonce == tx.nonce) {
            let before = self.pool[at].fees;
            let enough = |new: u128, old: u128| new >= old.saturating_add(old.div_ceil(10));
            if !enough(tx.fees.max_fee, before.max_fee) || !enough(tx.fees.max_priority, before.max_priority)
            {
                return SendOutcome::Underpriced;
            }
            self.pool.remove(at);
            self.replaced += 1;
        }
        self.pool.push(tx.clone());
        SendOutcome::Sent
    }

    /// Mines a block; with dice, some of what waits is left out.
    pub fn mine(&mut self, mut dice: Option<&mut Dice>) {
        let mut leaves_out = |n: u64| dice.as_mut().is_some_and(|dice| dice.one_in(n));
        let number = self.blocks.len() as u64;
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_be_bytes());
        hash[8..16].copy_from_slice(&self.branch.to_be_bytes());
        let before = self.tip();
        let mut block = Block {
            hash,
            wishes: Vec::new(),
            deposits: Vec::new(),
            forced: Vec::new(),
            batches: Vec::new(),
            txs: Vec::new(),
            receipts: Vec::new(),
            contract: before.contract,
            nonce: before.nonce,
            credited: before.credited,
        };
        let mut later = Vec::new();
        for wish in std::mem::take(&mut self.wishes) {
            if leaves_out(4) {
                later.push(wish);
            } else {
                block.fulfil(wish, number);
            }
        }
        self.wishes = later;
        self.pool.sort_by_key(|tx| tx.nonce);
        for tx in std::mem::take(&mut self.pool) {
            if tx.nonce < block.nonce {
                continue;
            }
            if tx.nonce > block.nonce || tx.fees.max_fee < self.base_fee || leaves_out(4) {
                self.pool.push(tx);
                continue;
            }
            block.nonce += 1;
            self.execute(&mut block, &tx, number);
            block.txs.push(tx);
        }
        self.blocks.push(block);
        self.highest = self.highest.max(number);
    }

    fn execute(&mut self, block: &mut Block, tx: &SignedTx, number: u64) {
        let calls = self.calls.get(&tx.hash).map(|batches| (batches, self.accept_all(block, batches)));
        let success = match calls {
            Some((batches, Ok(steps))) => {
                for (batch, contract) in batches.iter().zip(steps) {
                    block.batches.push(model::accepted(batch, &contract, number, tx.hash));
                    block.contract.state = contract;
                    block.credited += batch.records.iter().map(credit).sum::<u64>();
                }
                true
            }
            _ => false,
        };
        block.receipts.push(Receipt {
            tx: tx.hash,
            block: number,
            block_hash: block.hash,
            success,
            gas_used: 400_000,
        });
    }

    /// Replaces up to `depth` of the last blocks, as deep as blocks are replaced at all. The new branch can be shorter for a
    /// while, and not everything comes back.
    pub fn reorg(&mut self, depth: u64, deep: bool, dice: &mut Dice) {
        let lowest = if deep { 0 } else { self.settled() };
        self.was_deep |= self.head().saturating_sub(depth) < self.settled() && deep;
        // After a deep one the branch may still be shorter than what had settled.
        let keep = self.head().saturating_sub(depth).max(lowest).min(self.head());
        let removed = self.blocks.split_off(keep as usize + 1);
        if removed.is_empty() {
            return;
        }
        self.branch += 1;
        let dropped = dice.one_in(3);
        for block in &removed {
            for wish in &block.wishes {
                if !dice.one_in(4) {
                    let at = dice.index(self.wishes.len() + 1);
                    self.wishes.insert(at, wish.clone());
                }
            }
            for tx in &block.txs {
                // What the key signed beside us is sent again by whoever signed it.
                let comes_back = tx.raw.is_empty() || !dropped && !dice.one_in(4);
                if comes_back && self.pool.iter().all(|known| known.nonce != tx.nonce) {
                    self.pool.push(tx.clone());
                }
            }
        }
        let length = (removed.len() as u64 + 1).saturating_sub(dice.below(3));
        for _ in 0..length {
            self.mine(Some(dice));
        }
    }
}

impl Block {
    fn fulfil(&mut self, wish: Wish, number: u64) {
        match wish.clone() {
            Wish::Deposit { owner, key_hash, account, coins } => {
                let deposit = self.contract.deposit(owner, key_hash, account, coins, DEADLINE, number);
                let Some(deposit) = deposit else { return };
                self.deposits.push(deposit);
            }
            Wish::Force { kind, index, account, new_account, owner } => {
                // The contract knows which places exist.
                if index >= self.contract.state.next {
                    return;
                }
                self.forced.push(self.contract.force(kind, index, account, new_account, owner, number));
            }
        }
        self.wishes.push(wish);
    }
}

/// Coins that a record pays out: a withdrawal, or a forced exit that hit.
fn credit(record: &circuits::public_data::Record) -> u64 {
    let word = |word: &Fr, at: usize| {
        let bytes = word.to_repr();
        let mut low = [0; 8];
        low.copy_from_slice(&bytes.as_ref()[at..at + 8]);
        u64::from_le_bytes(low)
    };
    let kind = word(&record[0], 0) & 0xff;
    if kind == 2 || kind == 3 + 16 { word(&record[2], 0) - word(&record[2], 8) + 1 } else { 0 }
}

/// The mocked proof: a hash of what it proves.
pub fn tag(public_inputs: &[Fr; 3]) -> [u8; 256] {
    let mut hash = Sha256::new();
    public_inputs.iter().for_each(|word| hash.update(word.to_repr()));
    let mut proof = [0; 256];
    proof[..32].copy_from_slice(&hash.finalize());
    proof
}
