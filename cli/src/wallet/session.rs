//! A holder connected to a coordinator and to L1: what the wallet commands and the demo's people do.
//!
//! Whatever decides about money is read from L1 by the wallet itself: the quantum, the batch number, key epochs, promise
//! signers. The coordinator is asked for drafts and answers, and believed in nothing.

use circuits::leaf::CoinRange;
use coordinator::{
    api::client::{Client, Draft, Kind, Operation, PrepareSend, PrepareWithdraw, Promise},
    chain::evm::{
        AccountKey, Mined,
        wallet::{DepositMade, ForcedMade, Wallet},
    },
    service::Address,
};
use eyre::{Context, ensure};
use wire::{
    ecdsa::OperatorKey,
    eip712::{self, SigningDomain, TypedMessage},
};

use super::holder::{Holder, Intent};

/// Batches for which a signature is good: enough to wait for a slow farm, too few to be held for long.
const VALID_BATCHES: u32 = 200;
/// Promises with deadlines further away are refused.
const LONGEST_PROMISE_SECONDS: u64 = 3600;

pub struct Session {
    pub holder: Holder,
    pub client: Client,
    pub l1: Wallet,
    /// Wei per coin.
    pub quantum: u128,
}

impl Session {
    /// # Errors
    /// If the node cannot be reached or has no Proofmill contract at the address, or the key is not one.
    pub async fn connect(
        key_hex: &str,
        rpc_url: &str,
        api_url: &str,
        contract: Address,
    ) -> eyre::Result<Self> {
        let l1 = Wallet::connect(rpc_url, contract, AccountKey::from_hex(key_hex)?, None).await?;
        let deployment = SigningDomain { chain_id: l1.chain_id(), contract };
        let holder = Holder::new(OperatorKey::from_hex(key_hex)?, deployment, l1.key_epoch().await?)?;
        let quantum = u128::from(l1.contract().quantum().await?);
        Ok(Self { holder, client: Client::new(api_url), l1, quantum })
    }

    /// Deposits into the holder's own account.
    pub async fn deposit(&self, wei: u128) -> eyre::Result<DepositMade> {
        self.coins(wei)?;
        Ok(self.l1.deposit(self.holder.address(), self.holder.key_hash(), wei).await?)
    }

    /// Publishes the holder's directory entry.
    pub async fn register(&self, idempotency_key: &str) -> eyre::Result<()> {
        self.client.register_key(&self.holder.registration(idempotency_key)).await?;
        Ok(())
    }

    pub async fn send(
        &self,
        recipient: Address,
        wei: u128,
        allow_vault: bool,
        idempotency_key: &str,
    ) -> eyre::Result<Operation> {
        let coins = self.coins(wei)?;
        let valid_until = self.valid_until().await?;
        let request = PrepareSend {
            sender: self.holder.address(),
            recipient,
            amount: wei,
            allow_vault,
            valid_until: Some(valid_until),
        };
        let draft = self.client.prepare_send(&request).await?;
        let intent = Intent {
            kind: Kind::Send,
            recipient: Some(recipient),
            coins,
            allow_vault,
            recipient_epoch: self.l1.contract().key_epoch(recipient).await?,
            valid_until,
        };
        let operation = self.client.send(&self.holder.sign(&draft, &intent, idempotency_key)?).await?;
        self.check_promises(&draft, &operation).await?;
        Ok(operation)
    }

    pub async fn withdraw(&self, wei: u128, idempotency_key: &str) -> eyre::Result<Operation> {
        let coins = self.coins(wei)?;
        let valid_until = self.valid_until().await?;
        let request =
            PrepareWithdraw { sender: self.holder.address(), amount: wei, valid_until: Some(valid_until) };
        let draft = self.client.prepare_withdraw(&request).await?;
        let intent = Intent {
            kind: Kind::Withdraw,
            recipient: None,
            coins,
            allow_vault: false,
            recipient_epoch: 0,
            valid_until,
        };
        let operation = self.client.withdraw(&self.holder.sign(&draft, &intent, idempotency_key)?).await?;
        self.check_promises(&draft, &operation).await?;
        Ok(operation)
    }

    /// Collects what the contract has credited.
    pub async fn collect(&self) -> eyre::Result<Mined> {
        Ok(self.l1.withdraw(self.holder.address()).await?)
    }

    /// Makes the contract demand that a leaf of this holder leaves.
    pub async fn force_exit(&self, index: u64) -> eyre::Result<ForcedMade> {
        Ok(self.l1.force_exit(index, self.holder.key_hash()).await?)
    }

    /// Coins of an amount, which must be whole.
    pub fn coins(&self, wei: u128) -> eyre::Result<u64> {
        ensure!(
            wei > 0 && wei.is_multiple_of(self.quantum),
            "the amount must be a positive multiple of {} wei",
            self.quantum
        );
        u64::try_from(wei / self.quantum).wrap_err("the amount is larger than all coins there can be")
    }

    async fn valid_until(&self) -> eyre::Result<u32> {
        Ok(self.l1.contract().state().await?.batch_no.saturating_add(VALID_BATCHES))
    }

    /// Checks that the coordinator promised each slot, by a signer that L1 lists and a deadline that is worth something.
    async fn check_promises(&self, draft: &Draft, operation: &Operation) -> eyre::Result<()> {
        ensure!(
            operation.promises.len() == draft.spends.len(),
            "the coordinator took {} spends and promised {}; keep this answer and force the operation on L1",
            draft.spends.len(),
            operation.promises.len()
        );
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
        for promise in &operation.promises {
            let signer = self.recover(promise)?;
            ensure!(
                signer == promise.signer && self.l1.contract().is_promise_signer(signer).await?,
                "the promise is not signed by a signer that L1 lists; it is worth nothing"
            );
            ensure!(
                promise.deadline <= now + LONGEST_PROMISE_SECONDS,
                "the promise is due at {}, more than an hour away; it is worth nothing",
                promise.deadline
            );
        }
        Ok(())
    }

    fn recover(&self, promise: &Promise) -> eyre::Result<Address> {
        let message = eip712::Promise {
            operation_id: promise.operation_id,
            kind: promise.kind,
            batch_no: promise.batch_number,
            index: promise.index,
            account: promise.account,
            range: CoinRange::new(promise.low, promise.high)?,
            deadline: promise.deadline,
        };
        Ok(message.recover(&self.holder.deployment(), &promise.signature)?)
    }
}
