//! The chain as a coordinator sees it: calls that fail before or after they took effect, a head that goes back, fees that
//! jump.

use async_trait::async_trait;
use coordinator::chain::Chain;
use protocol::{
    Address,
    l1::{
        At, BlockRef, ChainError, ContractState, Deployment, DryRun, Fees, Hash32, Logs, Receipt,
        SendOutcome, SignedTx, SubmitBatch,
    },
};
use sha2::{Digest, Sha256};

use super::{
    Bug,
    world::{Shared, World},
};

pub const CHAIN_ID: u64 = 31_337;
pub const CONTRACT: Address = [0xc0; 20];
const OPERATOR: Address = [0x0e; 20];

pub fn deployment() -> Deployment {
    Deployment {
        chain_id: CHAIN_ID,
        contract: CONTRACT,
        operator: OPERATOR,
        quantum_wei: 1_000_000_000,
        first_block: 0,
    }
}

pub struct SimChain {
    pub world: Shared,
}

impl SimChain {
    async fn call<T>(&self, effect: impl FnOnce(&mut World) -> T) -> Result<T, ChainError> {
        self.world.pause().await;
        let mut world = self.world.lock();
        let unreachable = || ChainError::Unreachable("it does not answer".to_owned());
        if world.fault(80) {
            return Err(unreachable());
        }
        let done = effect(&mut world);
        if world.fault(80) { Err(unreachable()) } else { Ok(done) }
    }
}

#[async_trait]
impl Chain for SimChain {
    async fn deployment(&self) -> Result<Deployment, ChainError> {
        Ok(deployment())
    }

    async fn head(&self) -> Result<BlockRef, ChainError> {
        self.call(|world| {
            let mut number = world.node.head();
            if world.fault(10) {
                // A node behind the others.
                let behind = world.dice.below(4);
                number = number.saturating_sub(behind);
            }
            if world.bug == Some(Bug::FinalTooEarly) {
                number += world.node.confirmations;
            }
            BlockRef { number, hash: world.node.hash(number).unwrap_or_default(), timestamp: number }
        })
        .await
    }

    async fn finalized(&self) -> Result<Option<BlockRef>, ChainError> {
        self.call(|world| {
            let number = world.node.settled();
            let hash = world.node.hash(number).unwrap_or_default();
            Some(BlockRef { number, hash, timestamp: number })
        })
        .await
    }

    async fn block_hash(&self, number: u64) -> Result<Option<Hash32>, ChainError> {
        self.call(|world| world.node.hash(number)).await
    }

    async fn logs(&self, from: u64, to: u64) -> Result<Logs, ChainError> {
        self.call(|world| {
            let (mut deposits, forced, batches) = world.node.logs(from, to);
            if world.bug == Some(Bug::DepositTwice)
                && let Some(last) = deposits.last().cloned()
            {
                deposits.push(protocol::l1::Deposit { id: last.id + 1, ..last });
            }
            Logs { deposits, forced, batches }
        })
        .await
    }

    async fn contract_state(&self) -> Result<ContractState, ChainError> {
        self.call(|world| world.node.contract()).await
    }

    async fn queue_lengths(&self, block: u64) -> Result<Option<(u64, u64)>, ChainError> {
        self.call(|world| {
            let kept = !world.fault(10);
            world.node.queue_lengths(block).filter(|_| kept)
        })
        .await
    }

    async fn nonce(&self, _owner: Address) -> Result<u64, ChainError> {
        self.call(|world| {
            // Some nodes are a few blocks behind the one that answers next.
            let behind = if world.fault(10) { world.dice.below(4) } else { 0 };
            if world.bug == Some(Bug::NonceStands) { 0 } else { world.node.nonce_at(behind) }
        })
        .await
    }

    async fn fees(&self) -> Result<Fees, ChainError> {
        self.call(|world| world.node.fees()).await
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
        for batch in batches {
            hash.update(batch.batch_no.to_be_bytes());
            hash.update(batch.proof);
            batch.mints.iter().for_each(|mint| hash.update(mint.deadline.to_be_bytes()));
            batch.forced.iter().for_each(|forced| hash.update(forced.deadline.to_be_bytes()));
        }
        hash.update(fees.max_fee.to_be_bytes());
        hash.update(fees.max_priority.to_be_bytes());
        let hash: Hash32 = hash.finalize().into();
        self.call(|world| world.node.calls.insert(hash, batches.to_vec())).await?;
        Ok(SignedTx { raw: hash.to_vec(), hash, nonce, fees })
    }

    async fn send_raw(&self, tx: &SignedTx) -> Result<SendOutcome, ChainError> {
        self.call(|world| {
            let known = world.model.broadcast(tx, &world.node);
            world.check(known);
            let outcome = world.node.send(tx);
            world.say(|| format!("send nonce {} hash {}: {outcome:?}", tx.nonce, hex::encode(&tx.hash[..4])));
            outcome
        })
        .await
    }

    async fn receipt(&self, tx: Hash32) -> Result<Option<Receipt>, ChainError> {
        self.call(|world| {
            if world.fault(20) {
                return Err(ChainError::Unexpected("transaction indexing is in progress".to_owned()));
            }
            Ok(world.node.receipt(&tx))
        })
        .await?
    }

    async fn dry_run(&self, batches: &[SubmitBatch], at: At) -> Result<DryRun, ChainError> {
        self.call(|world| match world.node.dry_run(batches, at) {
            Ok(()) => DryRun::Accepted { gas_limit: 500_000 },
            Err(reason) => DryRun::Reverted(reason),
        })
        .await
    }

    async fn is_promise_signer(&self, _signer: Address) -> Result<bool, ChainError> {
        Ok(true)
    }

    async fn key_epoch(&self, _owner: Address) -> Result<u32, ChainError> {
        self.call(|_| 0).await
    }
}
