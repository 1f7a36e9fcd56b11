//! The rules of the contract: which batches it takes, one after the other, and why not.

use circuits::public_data::{Head, challenge, evaluate};
use protocol::l1::{At, ContractState, Deposit, ForcedRequest, SignedTx, SubmitBatch};

use super::{Block, Node, tag};
use coordinator::chain::model;

impl Node {
    /// What the contract would say now, or after what waits.
    pub fn dry_run(&self, batches: &[SubmitBatch], at: At) -> Result<(), String> {
        let tip = self.tip();
        let mut contract = tip.contract.state;
        let mut pool: Vec<&SignedTx> = self.pool.iter().collect();
        pool.sort_by_key(|tx| tx.nonce);
        if at != At::Pending || self.keeps_no_pending_state {
            pool.clear();
        }
        for (nonce, tx) in (tip.nonce..).zip(pool) {
            if tx.nonce != nonce {
                break;
            }
            let steps = self.calls.get(&tx.hash).map(|batches| self.accept_on(contract, &[], &[], batches));
            if let Some(Ok(steps)) = steps {
                contract = steps.last().copied().unwrap_or(contract);
            }
        }
        self.accept_on(contract, &[], &[], batches).map(|_| ())
    }

    /// The contract after each batch, if it takes them all in this block.
    pub(super) fn accept_all(
        &self,
        block: &Block,
        batches: &[SubmitBatch],
    ) -> Result<Vec<ContractState>, String> {
        self.accept_on(block.contract.state, &block.deposits, &block.forced, batches)
    }

    fn accept_on(
        &self,
        mut contract: ContractState,
        new_deposits: &[Deposit],
        new_forced: &[ForcedRequest],
        batches: &[SubmitBatch],
    ) -> Result<Vec<ContractState>, String> {
        let step = |batch: &SubmitBatch| {
            contract = self.accept(&contract, batch, new_deposits, new_forced)?;
            Ok(contract)
        };
        batches.iter().map(step).collect()
    }

    fn accept(
        &self,
        contract: &ContractState,
        batch: &SubmitBatch,
        new_deposits: &[Deposit],
        new_forced: &[ForcedRequest],
    ) -> Result<ContractState, String> {
        let after = model::after(contract, batch)?;
        let deposits = self.blocks.iter().flat_map(|block| &block.deposits).chain(new_deposits);
        if !deposits.skip(contract.minted_up_to as usize).take(batch.mints.len()).eq(&batch.mints) {
            return Err("WrongMint".to_owned());
        }
        let forced = self.blocks.iter().flat_map(|block| &block.forced).chain(new_forced);
        if !forced.skip(contract.forced_up_to as usize).take(batch.forced.len()).eq(&batch.forced) {
            return Err("WrongForced".to_owned());
        }
        let head = Head {
            shape: batch.shape,
            domain: self.domain,
            batch_no: batch.batch_no,
            old_root: contract.root,
            mid_root: batch.mid_root,
            new_root: batch.new_root,
            start: batch.start,
        };
        let mut words = head.words().to_vec();
        for place in 0..batch.shape.mint_places() {
            let mint = batch.mints.get(place).map(|mint| [mint.account, mint.range.packed()]);
            words.extend(mint.unwrap_or_default());
        }
        words.extend(batch.records.iter().flatten());
        let c = challenge(&batch.h, &words);
        if batch.proof != tag(&[batch.h, c, evaluate(&c, &words)]) {
            return Err("WrongProof".to_owned());
        }
        Ok(after)
    }
}
