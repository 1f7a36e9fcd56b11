//! The contract as its users call it: deposits, withdrawals, forced requests, key epochs.
//!
//! Each call is tried on the node first, so that what the contract would refuse costs nothing and is explained; then it is
//! signed, sent once and waited for. [`Wallet::sign`] and [`Wallet::follow`] are the two halves, for callers that write the
//! signed transaction down in between, so that a process that is killed never makes two out of one.

use std::{sync::Arc, time::Duration};

use bn254::Fr;
use circuits::leaf::CoinRange;
use protocol::{
    Address,
    l1::{ChainError, SignedTx},
};

use super::{
    client::Node,
    contract::Contract,
    error::TxError,
    fees::FeeLimits,
    key::AccountKey,
    tx::{self, Broadcast, Mined, Sender},
};
use crate::{
    contract::{Event, calls},
    http::{Endpoint, HttpLimits},
};

const PATIENCE: Duration = Duration::from_secs(300);

/// What a user can ask of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserCall {
    /// `wei`, a multiple of the quantum, for the account of `owner` and `key_hash` (0: a vault).
    Deposit { owner: Address, key_hash: Fr, wei: u128 },
    /// Everything credited to this account, paid out to `to`.
    Collect { to: Address },
    /// Everything credited to `owner`, paid out to `owner`.
    CollectFor { owner: Address },
    /// The leaf at `index`, of this account and `key_hash`, is to leave. `paid` is at least the fee of the moment.
    ForceExit { index: u64, key_hash: Fr, paid: u128 },
    /// The leaf at `index`, of this account and `key_hash`, is to go under `new_key_hash`.
    ForceRekey { index: u64, key_hash: Fr, new_key_hash: Fr, paid: u128 },
    /// Directory entries and spend keys of older epochs become void.
    BumpKeyEpoch,
}

impl UserCall {
    fn value(&self) -> u128 {
        match self {
            Self::Deposit { wei, .. } => *wei,
            Self::ForceExit { paid, .. } | Self::ForceRekey { paid, .. } => *paid,
            Self::Collect { .. } | Self::CollectFor { .. } | Self::BumpKeyEpoch => 0,
        }
    }

    fn data(&self) -> Vec<u8> {
        match self {
            Self::Deposit { owner, key_hash, .. } => calls::deposit(owner, key_hash),
            Self::Collect { to } => calls::withdraw(to),
            Self::CollectFor { owner } => calls::withdraw_for(owner),
            Self::ForceExit { index, key_hash, .. } => calls::force_exit(*index, key_hash),
            Self::ForceRekey { index, key_hash, new_key_hash, .. } => {
                calls::force_rekey(*index, key_hash, new_key_hash)
            }
            Self::BumpKeyEpoch => calls::bump_key_epoch(),
        }
    }
}

/// A user's account at a contract.
#[derive(Debug)]
pub struct Wallet {
    node: Arc<Node>,
    contract: Contract,
    key: AccountKey,
    chain_id: u64,
    fee_limits: FeeLimits,
    patience: Duration,
}

/// A deposit in the contract's queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepositMade {
    /// Position in the queue.
    pub id: u64,
    /// The coins, after the fee.
    pub range: CoinRange,
    /// Unix seconds by which a batch must mint it.
    pub deadline: u64,
    pub mined: Mined,
}

/// A forced request in the contract's queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForcedMade {
    /// Position in the queue.
    pub id: u64,
    /// Unix seconds by which a batch must answer it.
    pub deadline: u64,
    /// Wei sent; what is above the fee can be collected like a withdrawal.
    pub paid: u128,
    pub mined: Mined,
}

impl DepositMade {
    /// # Errors
    /// `Unexpected` where the transaction was no deposit.
    pub fn of(mined: Mined) -> Result<Self, ChainError> {
        let made = mined.events.iter().find_map(|event| match event {
            Event::Deposited { id, entry, .. } => Some((*id, *entry)),
            _ => None,
        });
        let (id, entry) = made.ok_or_else(|| not_logged("deposit"))?;
        let range = CoinRange::new(entry.low, entry.high)
            .map_err(|error| ChainError::Undecodable { block: mined.block, detail: error.to_string() })?;
        Ok(Self { id, range, deadline: entry.deadline, mined })
    }
}

impl ForcedMade {
    /// # Errors
    /// `Unexpected` where the transaction was no forced request.
    pub fn of(mined: Mined, paid: u128) -> Result<Self, ChainError> {
        let made = mined.events.iter().find_map(|event| match event {
            Event::ForcedRequested { id, entry } => Some((*id, entry.deadline)),
            _ => None,
        });
        let (id, deadline) = made.ok_or_else(|| not_logged("forced request"))?;
        Ok(Self { id, deadline, paid, mined })
    }
}

impl Wallet {
    /// # Errors
    /// `Unreachable` while the node does not answer, `Unexpected` where it is of another chain than `chain_id` or has no
    /// Proofmill contract at the address, `Signing` for a key that everybody knows on a real chain.
    pub async fn connect(
        rpc: impl Into<Endpoint>,
        contract: Address,
        key: AccountKey,
        chain_id: Option<u64>,
    ) -> Result<Self, ChainError> {
        let node = Arc::new(Node::connect(&rpc.into(), HttpLimits::default())?);
        let chain_id = node.chain_id_checked(chain_id).await?;
        key.check_chain(chain_id)?;
        let contract = Contract::checked(Arc::clone(&node), contract, chain_id).await?;
        Ok(Self { node, contract, key, chain_id, fee_limits: FeeLimits::default(), patience: PATIENCE })
    }

    pub fn address(&self) -> Address {
        self.key.address()
    }

    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// The contract's views.
    pub fn contract(&self) -> &Contract {
        &self.contract
    }

    /// Wei of this account on L1.
    pub async fn balance(&self) -> Result<u128, ChainError> {
        self.node.balance(self.address()).await
    }

    /// Transactions that this account has sent, those that wait for a block included.
    pub async fn nonce(&self) -> Result<u64, ChainError> {
        self.node.nonce(self.address(), "pending").await
    }

    /// Wei that this account can collect.
    pub async fn pending(&self) -> Result<u128, ChainError> {
        self.contract.pending(self.address()).await
    }

    pub async fn key_epoch(&self) -> Result<u32, ChainError> {
        self.contract.key_epoch(self.address()).await
    }

    /// Waits so long for a receipt.
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    fn sender(&self) -> Sender<'_> {
        Sender {
            node: &self.node,
            key: &self.key,
            chain_id: self.chain_id,
            fee_limits: self.fee_limits,
            patience: self.patience,
        }
    }

    /// The transaction that makes a call, tried on the node and signed, not sent: at this nonce, or at the account's next one.
    ///
    /// # Errors
    /// `Refused` with the contract's words; else the node's.
    pub async fn sign(&self, call: &UserCall, nonce: Option<u64>) -> Result<SignedTx, TxError> {
        self.sender().sign(Some(self.contract.address()), call.value(), call.data(), nonce).await
    }

    /// Whether a transaction that a node refused was mined all the same; nothing while its nonce is free.
    ///
    /// # Errors
    /// `Reverted`; `NonceUsed` where nobody shows by what; the node's.
    pub async fn look(&self, tx: &SignedTx) -> Result<Option<Mined>, TxError> {
        if let Some(receipt) = self.sender().look(tx).await? {
            return Ok(Some(tx::mined(self.contract.address(), tx.hash, &receipt)?));
        }
        if self.node.nonce(self.address(), "latest").await? <= tx.nonce {
            return Ok(None);
        }
        Err(TxError::NonceUsed { tx: tx.hash, nonce: tx.nonce })
    }

    /// Sends a transaction that was signed just now, and waits until it is mined.
    ///
    /// # Errors
    /// `NotTaken` if it certainly does not exist, `Reverted` if it was mined and did nothing, `NoReceipt` if nobody can say.
    pub async fn follow(&self, tx: &SignedTx) -> Result<Mined, TxError> {
        self.pursue(tx, Broadcast::First).await
    }

    /// Like [`Self::follow`], for a transaction that may have been sent before: `NotTaken` is not known of it.
    ///
    /// # Errors
    /// `Reverted`, `NoReceipt`.
    pub async fn follow_again(&self, tx: &SignedTx) -> Result<Mined, TxError> {
        self.pursue(tx, Broadcast::Again).await
    }

    async fn pursue(&self, tx: &SignedTx, broadcast: Broadcast) -> Result<Mined, TxError> {
        let receipt = self.sender().follow(tx, broadcast).await?;
        Ok(tx::mined(self.contract.address(), tx.hash, &receipt)?)
    }

    async fn transact(&self, call: UserCall) -> Result<Mined, TxError> {
        self.follow(&self.sign(&call, None).await?).await
    }

    /// Deposits `wei`, a multiple of the quantum, for the account of `owner` and `key_hash` (0: a vault).
    pub async fn deposit(&self, owner: Address, key_hash: Fr, wei: u128) -> Result<DepositMade, TxError> {
        Ok(DepositMade::of(self.transact(UserCall::Deposit { owner, key_hash, wei }).await?)?)
    }

    /// Pays everything credited to this account out to `to`.
    pub async fn withdraw(&self, to: Address) -> Result<Mined, TxError> {
        self.transact(UserCall::Collect { to }).await
    }

    /// Pays everything credited to `owner` out to `owner`; anybody may do that.
    pub async fn withdraw_for(&self, owner: Address) -> Result<Mined, TxError> {
        self.transact(UserCall::CollectFor { owner }).await
    }

    /// Wei that a forced request costs now.
    pub async fn force_fee(&self) -> Result<u128, ChainError> {
        let (base, surcharge) = self.contract.force_fee().await?;
        Ok(base.saturating_add(surcharge))
    }

    /// Asks for the leaf at `index`, of this account and `key_hash`, to leave. Costs the fee of the moment.
    pub async fn force_exit(&self, index: u64, key_hash: Fr) -> Result<ForcedMade, TxError> {
        let paid = self.force_fee().await?;
        let call = UserCall::ForceExit { index, key_hash, paid };
        Ok(ForcedMade::of(self.transact(call).await?, paid)?)
    }

    /// Asks for the leaf at `index`, of this account and `key_hash`, to go under `new_key_hash`.
    pub async fn force_rekey(
        &self,
        index: u64,
        key_hash: Fr,
        new_key_hash: Fr,
    ) -> Result<ForcedMade, TxError> {
        let paid = self.force_fee().await?;
        let call = UserCall::ForceRekey { index, key_hash, new_key_hash, paid };
        Ok(ForcedMade::of(self.transact(call).await?, paid)?)
    }

    /// Makes all directory entries and spend keys of older epochs void.
    pub async fn bump_key_epoch(&self) -> Result<Mined, TxError> {
        self.transact(UserCall::BumpKeyEpoch).await
    }
}

fn not_logged(what: &str) -> ChainError {
    ChainError::Unexpected(format!("the receipt holds no event of the {what}"))
}
