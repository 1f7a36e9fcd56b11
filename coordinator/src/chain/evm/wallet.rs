//! The contract as its users call it: deposits, withdrawals, forced requests, key epochs.
//!
//! Each call is tried on the node first, so that what the contract would refuse costs nothing and is explained; then it is
//! sent once and waited for.

use std::{sync::Arc, time::Duration};

use bn254::Fr;
use circuits::leaf::CoinRange;
use contracts::{Event, calls};

use super::{
    contract::Contract,
    error::TxError,
    fees::FeeLimits,
    key::AccountKey,
    node::Node,
    transport::TransportLimits,
    tx::{Mined, Sender},
};
use crate::{chain::ChainError, service::Address};

const PATIENCE: Duration = Duration::from_secs(300);

/// A user's account at a contract.
#[derive(Debug)]
pub struct Wallet {
    node: Arc<Node>,
    contract: Contract,
    key: AccountKey,
    chain_id: u64,
    fee_limits: FeeLimits,
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

impl Wallet {
    /// # Errors
    /// `Unreachable` while the node does not answer, `Unexpected` where it is of another chain than `chain_id` or has no
    /// Proofmill contract at the address, `Signing` for a key that everybody knows on a real chain.
    pub async fn connect(
        rpc_url: &str,
        contract: Address,
        key: AccountKey,
        chain_id: Option<u64>,
    ) -> Result<Self, ChainError> {
        let node = Arc::new(Node::connect(rpc_url, TransportLimits::default())?);
        let chain_id = node.chain_id_checked(chain_id).await?;
        key.check_chain(chain_id)?;
        let contract = Contract::checked(Arc::clone(&node), contract, chain_id).await?;
        Ok(Self { node, contract, key, chain_id, fee_limits: FeeLimits::default() })
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

    /// Wei that this account can collect.
    pub async fn pending(&self) -> Result<u128, ChainError> {
        self.contract.pending(self.address()).await
    }

    pub async fn key_epoch(&self) -> Result<u32, ChainError> {
        self.contract.key_epoch(self.address()).await
    }

    async fn transact(&self, value: u128, data: Vec<u8>) -> Result<Mined, TxError> {
        let sender = Sender {
            node: &self.node,
            key: &self.key,
            chain_id: self.chain_id,
            fee_limits: self.fee_limits,
            patience: PATIENCE,
        };
        sender.transact(self.contract.address(), value, data).await
    }

    /// Deposits `wei`, a multiple of the quantum, for the account of `owner` and `key_hash` (0: a vault).
    pub async fn deposit(&self, owner: Address, key_hash: Fr, wei: u128) -> Result<DepositMade, TxError> {
        let mined = self.transact(wei, calls::deposit(&owner, &key_hash)).await?;
        let made = mined.events.iter().find_map(|event| match event {
            Event::Deposited { id, entry, .. } => Some((*id, *entry)),
            _ => None,
        });
        let (id, entry) = made.ok_or_else(|| not_logged("deposit"))?;
        let range = CoinRange::new(entry.low, entry.high)
            .map_err(|error| ChainError::Undecodable { block: mined.block, detail: error.to_string() })?;
        Ok(DepositMade { id, range, deadline: entry.deadline, mined })
    }

    /// Pays everything credited to this account out to `to`.
    pub async fn withdraw(&self, to: Address) -> Result<Mined, TxError> {
        self.transact(0, calls::withdraw(&to)).await
    }

    /// Pays everything credited to `owner` out to `owner`; anybody may do that.
    pub async fn withdraw_for(&self, owner: Address) -> Result<Mined, TxError> {
        self.transact(0, calls::withdraw_for(&owner)).await
    }

    /// Asks for the leaf at `index`, of this account and `key_hash`, to leave. Costs the fee of the moment.
    pub async fn force_exit(&self, index: u64, key_hash: Fr) -> Result<ForcedMade, TxError> {
        self.force(calls::force_exit(index, &key_hash)).await
    }

    /// Asks for the leaf at `index`, of this account and `key_hash`, to go under `new_key_hash`.
    pub async fn force_rekey(
        &self,
        index: u64,
        key_hash: Fr,
        new_key_hash: Fr,
    ) -> Result<ForcedMade, TxError> {
        self.force(calls::force_rekey(index, &key_hash, &new_key_hash)).await
    }

    async fn force(&self, data: Vec<u8>) -> Result<ForcedMade, TxError> {
        let (base, surcharge) = self.contract.force_fee().await?;
        let paid = base.saturating_add(surcharge);
        let mined = self.transact(paid, data).await?;
        let made = mined.events.iter().find_map(|event| match event {
            Event::ForcedRequested { id, entry } => Some((*id, entry.deadline)),
            _ => None,
        });
        let (id, deadline) = made.ok_or_else(|| not_logged("forced request"))?;
        Ok(ForcedMade { id, deadline, paid, mined })
    }

    /// Makes all directory entries and spend keys of older epochs void.
    pub async fn bump_key_epoch(&self) -> Result<Mined, TxError> {
        self.transact(0, calls::bump_key_epoch()).await
    }
}

fn not_logged(what: &str) -> ChainError {
    ChainError::Unexpected(format!("the receipt holds no event of the {what}"))
}
