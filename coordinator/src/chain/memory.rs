//! A chain in memory: blocks on demand, the contract's bookkeeping, reorganisations. For tests and measurements, where an
//! EVM would only cost time; it checks no proof and moves no money.

use std::collections::HashMap;

use async_trait::async_trait;
use bn254::Fr;
use circuits::{leaf::account, slot::ForcedKind};
use parking_lot::{Mutex, MutexGuard};
use protocol::{
    Address,
    l1::{
        At, BlockRef, ChainError, ContractState, Deployment, Deposit, DryRun, Fees, Hash32, Logs, Receipt,
        SendOutcome, SignedTx, SubmitBatch,
    },
};
use sha2::{Digest, Sha256};

use super::{
    Chain,
    model::{self, ContractModel, DEADLINE},
};

/// Blocks on top of the one that is called final.
const FINAL_DEPTH: u64 = 2;

#[derive(Clone)]
struct Block {
    hash: Hash32,
    logs: Logs,
    receipts: Vec<Receipt>,
    contract: ContractModel,
    nonce: u64,
}

#[derive(Default)]
struct Inner {
    blocks: Vec<Block>,
    pool: Vec<SignedTx>,
    signed: HashMap<Hash32, Vec<SubmitBatch>>,
    deposits: Vec<(Address, Fr, u64)>,
    forced: Vec<(ForcedKind, u64, Fr, Fr, Address)>,
    epochs: HashMap<Address, u32>,
    /// Makes blocks of another branch differ.
    branch: u64,
    /// Transactions that offer less wait.
    base_fee: u128,
    /// Calls on what is pending run on the latest block, as on nodes that keep no such state.
    pending_is_latest: bool,
    /// Transactions of the owner that are not the coordinator's, to be mined first.
    foreign: u64,
    refused: Option<u32>,
    foreign_root: bool,
    signer_unlisted: bool,
    sent: usize,
    heads_asked: usize,
    down: bool,
    /// Transactions that offer more are refused, and never in the pool.
    fee_cap: Option<u128>,
    faults: Faults,
}

/// What a node refuses to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Whether there is a receipt.
    pub receipts: bool,
    pub logs: bool,
    /// Logs of the last so many blocks: they are not indexed yet.
    pub unindexed: u64,
    /// Calls on what is pending.
    pub pending: bool,
    /// Where its head is: it is asked and never answers.
    pub head: bool,
    /// The contract's state: it gives that of so many blocks ago, as a node does that is behind.
    pub contract_behind: usize,
    /// The next so many hashes of blocks: it gives others.
    pub other_hashes: u32,
}

/// See the module.
pub struct MemoryChain {
    deployment: Deployment,
    inner: Mutex<Inner>,
}

impl Default for MemoryChain {
    fn default() -> Self {
        let deployment = Deployment {
            chain_id: 31337,
            contract: [0xc0; 20],
            operator: [0x0e; 20],
            quantum_wei: 1_000_000_000,
            first_block: 0,
        };
        let genesis = Block {
            hash: [1; 32],
            logs: Logs::default(),
            receipts: Vec::new(),
            contract: ContractModel::default(),
            nonce: 0,
        };
        let inner = Inner { blocks: vec![genesis], ..Inner::default() };
        Self { deployment, inner: Mutex::new(inner) }
    }
}

impl MemoryChain {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// Deposits coins in the next block.
    pub fn deposit(&self, owner: Address, key_hash: Fr, coins: u64) {
        self.lock().deposits.push((owner, key_hash, coins));
    }

    /// Asks for a forced exit or re-key in the next block.
    pub fn force(&self, kind: ForcedKind, index: u64, account: Fr, new_account: Fr, owner: Address) {
        self.lock().forced.push((kind, index, account, new_account, owner));
    }

    pub fn bump_key_epoch(&self, owner: Address) {
        *self.lock().epochs.entry(owner).or_default() += 1;
    }

    /// While it is down every read fails.
    pub fn set_down(&self, down: bool) {
        self.lock().down = down;
    }

    /// Mines blocks, the first of them with everything that waits.
    pub fn mine(&self, blocks: usize) {
        let mut inner = self.lock();
        for _ in 0..blocks {
            inner.mine();
        }
    }

    /// Replaces the last `depth` blocks by empty ones; their transactions are forgotten by the node.
    pub fn reorg(&self, depth: usize) {
        self.reorg_with(depth, &[]);
    }

    /// Replaces the last `depth` blocks. The first of the new ones holds these deposits, whatever the old ones held, and the
    /// others nothing; transactions are forgotten by the node.
    pub fn reorg_with(&self, depth: usize, deposits: &[(Address, Fr, u64)]) {
        let mut inner = self.lock();
        let kept = inner.blocks.len().saturating_sub(depth).max(1);
        inner.blocks.truncate(kept);
        inner.branch += 1;
        inner.pool.clear();
        inner.deposits = deposits.to_vec();
        for _ in 0..depth {
            inner.mine();
        }
    }

    /// Mines a transaction of the owner that does nothing.
    pub fn use_a_nonce(&self) {
        self.lock().foreign += 1;
    }

    /// Transactions whose fee is below this wait.
    pub fn set_base_fee(&self, base_fee: u128) {
        self.lock().base_fee = base_fee;
    }

    /// Has transactions that offer more than this refused by the node.
    pub fn set_fee_cap(&self, fee_cap: Option<u128>) {
        self.lock().fee_cap = fee_cap;
    }

    pub fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    pub fn faults(&self) -> Faults {
        self.lock().faults
    }

    /// Has calls on what is pending run on the latest block.
    pub fn keep_no_pending_state(&self) {
        self.lock().pending_is_latest = true;
    }

    /// Refuses batches with this number, as a contract would that knows better.
    pub fn refuse(&self, batch_no: Option<u32>) {
        self.lock().refused = batch_no;
    }

    /// Shows a root that nobody proved, as if another coordinator had submitted.
    pub fn set_foreign_root(&self, foreign: bool) {
        self.lock().foreign_root = foreign;
    }

    /// Lists the signer of promises, or does not.
    pub fn list_signer(&self, listed: bool) {
        self.lock().signer_unlisted = !listed;
    }

    /// Receipts of all transactions with batches, by block.
    pub fn receipts(&self) -> Vec<Receipt> {
        self.lock().blocks.iter().flat_map(|block| block.receipts.clone()).collect()
    }

    /// Gives every block from `number` on another hash, as if final blocks had been replaced.
    pub fn rewrite_from(&self, number: usize) {
        self.lock().blocks.iter_mut().skip(number).for_each(|block| block.hash[0] ^= 0xff);
    }

    /// Transactions that were broadcast.
    pub fn sent(&self) -> usize {
        self.lock().sent
    }

    /// How often its head was asked for.
    pub fn heads_asked(&self) -> usize {
        self.lock().heads_asked
    }

    pub fn contract(&self) -> ContractState {
        self.lock().tip().contract.state
    }

    fn up(&self) -> Result<MutexGuard<'_, Inner>, ChainError> {
        let inner = self.lock();
        if inner.down { Err(ChainError::Unreachable("it is down".to_owned())) } else { Ok(inner) }
    }
}

impl Inner {
    fn tip(&self) -> &Block {
        match self.blocks.last() {
            Some(block) => block,
            None => unreachable!("the genesis block is never removed"),
        }
    }

    fn mine(&mut self) {
        let number = self.blocks.len() as u64;
        let mut hash = Sha256::new();
        hash.update(self.tip().hash);
        hash.update(number.to_be_bytes());
        hash.update(self.branch.to_be_bytes());
        let mut block = Block {
            hash: hash.finalize().into(),
            logs: Logs::default(),
            receipts: Vec::new(),
            ..self.tip().clone()
        };
        for (owner, key_hash, coins) in std::mem::take(&mut self.deposits) {
            let account = account(&owner, &key_hash);
            // Differs on another branch, as a timestamp does.
            let deadline = DEADLINE + number + 1_000 * self.branch;
            block
                .logs
                .deposits
                .extend(block.contract.deposit(owner, key_hash, account, coins, deadline, number));
        }
        for (kind, index, account, new_account, owner) in std::mem::take(&mut self.forced) {
            let request = block.contract.force(kind, index, account, new_account, owner, number);
            block.logs.forced.push(request);
        }
        block.nonce += std::mem::take(&mut self.foreign);
        let mut pool = std::mem::take(&mut self.pool);
        pool.sort_by_key(|tx| (tx.nonce, std::cmp::Reverse(tx.fees.max_priority)));
        let mut left = Vec::new();
        for tx in pool {
            if tx.nonce != block.nonce || tx.fees.max_fee < self.base_fee {
                left.extend((tx.nonce >= block.nonce).then_some(tx));
                continue;
            }
            block.nonce += 1;
            let Some(batches) = self.signed.get(&tx.hash) else { continue };
            let steps = self.accept(&block, batches);
            block.receipts.push(Receipt {
                tx: tx.hash,
                block: number,
                block_hash: block.hash,
                success: steps.is_ok(),
                gas_used: 400_000,
            });
            for (batch, contract) in batches.iter().zip(steps.unwrap_or_default()) {
                block.logs.batches.push(model::accepted(batch, &contract, number, tx.hash));
                block.contract.state = contract;
            }
        }
        left.retain(|tx| tx.nonce >= block.nonce);
        self.pool = left;
        self.blocks.push(block);
    }

    /// The contract after each batch, if it takes all of them on top of a block.
    fn accept(&self, on: &Block, batches: &[SubmitBatch]) -> Result<Vec<ContractState>, String> {
        let known = |deposit: &Deposit| {
            let blocks = self.blocks.iter().chain([on]);
            blocks.flat_map(|block| &block.logs.deposits).any(|known| known == deposit)
        };
        let mut contract = on.contract.state;
        let step = |batch: &SubmitBatch| {
            if self.refused == Some(batch.batch_no) {
                return Err(format!("Refused({})", batch.batch_no));
            }
            if !batch.mints.iter().all(known) {
                return Err("DepositMismatch".to_owned());
            }
            contract = accept(&contract, batch)?;
            Ok(contract)
        };
        batches.iter().map(step).collect()
    }

    /// The tip, or what the next block would be by what waits.
    fn state_at(&self, at: At) -> Block {
        let mut block = self.tip().clone();
        let mut pool = self.pool.clone();
        pool.sort_by_key(|tx| tx.nonce);
        for tx in pool.iter().filter(|_| at == At::Pending && !self.pending_is_latest) {
            let Some(batches) = self.signed.get(&tx.hash).filter(|_| tx.nonce == block.nonce) else {
                continue;
            };
            block.nonce += 1;
            if let Ok(steps) = self.accept(&block, batches) {
                block.contract.state = steps.last().copied().unwrap_or(block.contract.state);
            }
        }
        block
    }
}

/// The contract's bookkeeping, with the numbers of queue entries.
fn accept(contract: &ContractState, batch: &SubmitBatch) -> Result<ContractState, String> {
    let after = model::after(contract, batch)?;
    if !batch.mints.iter().map(|mint| mint.id).eq(contract.minted_up_to..after.minted_up_to) {
        return Err("WrongMint".to_owned());
    }
    if !batch.forced.iter().map(|entry| entry.id).eq(contract.forced_up_to..after.forced_up_to) {
        return Err("WrongForced".to_owned());
    }
    Ok(after)
}

#[async_trait]
impl Chain for MemoryChain {
    async fn deployment(&self) -> Result<Deployment, ChainError> {
        Ok(self.deployment.clone())
    }

    async fn head(&self) -> Result<BlockRef, ChainError> {
        let silent = {
            let mut inner = self.up()?;
            inner.heads_asked += 1;
            inner.faults.head
        };
        if silent {
            std::future::pending::<()>().await;
        }
        let inner = self.up()?;
        let number = inner.blocks.len() as u64 - 1;
        Ok(BlockRef { number, hash: inner.tip().hash, timestamp: number })
    }

    async fn finalized(&self) -> Result<Option<BlockRef>, ChainError> {
        let inner = self.up()?;
        let number = (inner.blocks.len() as u64 - 1).saturating_sub(FINAL_DEPTH);
        Ok(Some(BlockRef { number, hash: inner.blocks[number as usize].hash, timestamp: number }))
    }

    async fn block_hash(&self, number: u64) -> Result<Option<Hash32>, ChainError> {
        let mut inner = self.up()?;
        let other = inner.faults.other_hashes > 0;
        inner.faults.other_hashes = inner.faults.other_hashes.saturating_sub(1);
        let block = inner.blocks.get(number as usize);
        Ok(block.map(|block| if other { [0xee; 32] } else { block.hash }))
    }

    async fn logs(&self, from: u64, to: u64) -> Result<Logs, ChainError> {
        let inner = self.up()?;
        if inner.faults.logs {
            return Err(ChainError::Unexpected("no logs today".to_owned()));
        }
        let mut logs = Logs::default();
        let to = to.min((inner.blocks.len() as u64 - 1).saturating_sub(inner.faults.unindexed));
        for block in inner.blocks.iter().skip(from as usize).take((to + 1).saturating_sub(from) as usize) {
            logs.deposits.extend(block.logs.deposits.iter().cloned());
            logs.forced.extend(block.logs.forced.iter().cloned());
            logs.batches.extend(block.logs.batches.iter().cloned());
        }
        Ok(logs)
    }

    async fn contract_state(&self) -> Result<ContractState, ChainError> {
        let inner = self.up()?;
        let at = inner.blocks.len().saturating_sub(1 + inner.faults.contract_behind);
        let contract = inner.blocks[at].contract.state;
        let root = if inner.foreign_root { contract.root + Fr::from(1) } else { contract.root };
        Ok(ContractState { root, ..contract })
    }

    async fn queue_lengths(&self, block: u64) -> Result<Option<(u64, u64)>, ChainError> {
        let contract = self.up()?.blocks.get(block as usize).map(|block| block.contract.state);
        Ok(contract.map(|contract| (contract.deposit_count, contract.forced_count)))
    }

    async fn nonce(&self, _owner: Address) -> Result<u64, ChainError> {
        Ok(self.up()?.tip().nonce)
    }

    async fn fees(&self) -> Result<Fees, ChainError> {
        let base_fee = self.up()?.base_fee;
        Ok(Fees { max_fee: 10 + 2 * base_fee, max_priority: 1 })
    }

    async fn sign_submit(
        &self,
        batches: &[SubmitBatch],
        nonce: u64,
        fees: Fees,
        _gas_limit: u64,
    ) -> Result<SignedTx, ChainError> {
        let mut hash = Sha256::new();
        hash.update(nonce.to_be_bytes());
        batches.iter().for_each(|batch| hash.update(batch.batch_no.to_be_bytes()));
        hash.update(fees.max_fee.to_be_bytes());
        hash.update(fees.max_priority.to_be_bytes());
        let hash: Hash32 = hash.finalize().into();
        self.up()?.signed.insert(hash, batches.to_vec());
        Ok(SignedTx { raw: hash.to_vec(), hash, nonce, fees })
    }

    async fn send_raw(&self, tx: &SignedTx) -> Result<SendOutcome, ChainError> {
        let mut inner = self.up()?;
        inner.sent += 1;
        if tx.nonce < inner.tip().nonce {
            return Ok(SendOutcome::NonceUsed);
        }
        if inner.fee_cap.is_some_and(|cap| tx.fees.max_fee > cap) {
            return Ok(SendOutcome::NotTaken("tx fee exceeds the configured cap".to_owned()));
        }
        if !inner.pool.contains(tx) {
            inner.pool.push(tx.clone());
        }
        Ok(SendOutcome::Sent)
    }

    async fn receipt(&self, tx: Hash32) -> Result<Option<Receipt>, ChainError> {
        let inner = self.up()?;
        if inner.faults.receipts {
            return Err(ChainError::Unexpected("transaction indexing is in progress".to_owned()));
        }
        Ok(inner.blocks.iter().flat_map(|block| &block.receipts).find(|receipt| receipt.tx == tx).cloned())
    }

    async fn dry_run(&self, batches: &[SubmitBatch], at: At) -> Result<DryRun, ChainError> {
        let inner = self.up()?;
        if at == At::Pending && inner.faults.pending {
            return Ok(DryRun::Reverted("pending block is not available".to_owned()));
        }
        Ok(match inner.accept(&inner.state_at(at), batches) {
            Ok(_) => DryRun::Accepted { gas_limit: 500_000 },
            Err(reason) => DryRun::Reverted(reason),
        })
    }

    async fn is_promise_signer(&self, _signer: Address) -> Result<bool, ChainError> {
        Ok(!self.up()?.signer_unlisted)
    }

    async fn key_epoch(&self, owner: Address) -> Result<u32, ChainError> {
        Ok(self.up()?.epochs.get(&owner).copied().unwrap_or_default())
    }
}
