//! Deployment of the contract in one transaction.
//!
//! Invariant: a deployment has one nonce from its signature on. Its signed transactions are handed out before any is sent;
//! a caller that keeps them and hands them in again sends the same bytes, or others with the same nonce, so that one decision
//! never becomes two crate::contract. After a broadcast only a receipt says that it succeeded or failed.

use std::time::Duration;

use ethers::types::H160;
use protocol::{
    Address,
    l1::{ChainError, Fees, Hash32, SendOutcome, SignedTx},
};
use tokio::time::Instant;

use super::{
    client::{Call, Node, RawReceipt, u64_of},
    error::TxError,
    fees::FeeLimits,
    key::AccountKey,
    tx::{Broadcast, Draft, block_of, sign},
};
use crate::{
    contract::{CircuitKey, Config, calls},
    http::{Endpoint, HttpLimits},
};

const PATIENCE: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(500);
/// How long a node may take to show the receipt of a transaction whose nonce is used.
const INDEXING: Duration = Duration::from_secs(30);

/// A contract that has just been deployed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deployed {
    pub chain_id: u64,
    pub contract: Address,
    /// Holds the contract's first logs.
    pub block: u64,
    pub tx: Hash32,
    pub gas_used: u64,
}

/// A deployment before it is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    pub nonce: u64,
    /// An estimate with a fifth to spare.
    pub gas_limit: u64,
    pub fees: Fees,
    /// Wei that the deployer has.
    pub balance: u128,
}

impl Plan {
    /// Wei that it costs at most.
    pub fn most_wei(&self) -> u128 {
        self.fees.max_fee.saturating_mul(self.gas_limit.into())
    }
}

/// Who deploys, and where.
#[derive(Debug)]
pub struct Deployer {
    node: Node,
    key: AccountKey,
    chain_id: u64,
    poll: Duration,
}

impl Deployer {
    /// # Errors
    /// `Unreachable` while the node does not answer; `Signing` for a key that everybody knows on a real chain.
    pub async fn connect(rpc: impl Into<Endpoint>, key: AccountKey) -> Result<Self, ChainError> {
        let node = Node::connect(&rpc.into(), HttpLimits::default())?;
        let chain_id = node.chain_id().await?;
        key.check_chain(chain_id)?;
        Ok(Self { node, key, chain_id, poll: POLL })
    }

    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    pub fn address(&self) -> Address {
        self.key.address()
    }

    /// Wei that the deployer has.
    ///
    /// # Errors
    /// Those of the node.
    pub async fn balance(&self) -> Result<u128, ChainError> {
        self.node.balance(self.key.address()).await
    }

    /// Tries the deployment on the node; sends nothing.
    ///
    /// # Errors
    /// `Refused` with the contract's words about a setting or a key, `TooMuchGas` for too many circuits, `NotTaken` without
    /// the means.
    pub async fn plan(&self, code: &[u8]) -> Result<Plan, TxError> {
        let gas_limit = self.node.gas_limit(&self.call(code), "latest").await?;
        Ok(Plan {
            nonce: self.node.nonce(self.key.address(), "pending").await?,
            gas_limit,
            fees: self.node.fees(&FeeLimits::default()).await?,
            balance: self.balance().await?,
        })
    }

    /// # Errors
    /// `Signing`.
    pub fn sign(&self, plan: &Plan, code: &[u8]) -> Result<SignedTx, ChainError> {
        let call = self.call(code);
        let Plan { nonce, gas_limit: gas, fees, .. } = *plan;
        sign(&self.key, &Draft { call: &call, chain_id: self.chain_id, nonce, gas, fees })
    }

    /// Where the contract of a deployment with this nonce lies.
    pub fn contract_at(&self, nonce: u64) -> Address {
        ethers::utils::get_contract_address(H160(self.key.address()), nonce).0
    }

    /// The contract that one of these transactions has deployed.
    ///
    /// # Errors
    /// `Reverted`; those of the node.
    pub async fn look(&self, txs: &[SignedTx]) -> Result<Option<Deployed>, TxError> {
        for tx in txs {
            if let Some(receipt) = self.node.raw_receipt(tx.hash).await? {
                return self.deployed(tx, &receipt).map(Some);
            }
        }
        Ok(None)
    }

    /// Whether another transaction of the deployer has this nonce, so that none that was signed with it can be mined.
    ///
    /// # Errors
    /// Those of the node.
    pub async fn is_used(&self, nonce: u64) -> Result<bool, ChainError> {
        Ok(self.node.nonce(self.key.address(), "latest").await? > nonce)
    }

    /// Sends the last of these transactions, which all have one nonce, and waits until one of them is mined. `First` says that
    /// none of them was sent before without being refused.
    ///
    /// # Errors
    /// `NotTaken`, if no node took it and another transaction has its nonce, or the node says why it takes none; `Reverted`;
    /// `NoReceipt`, after which the same transactions can be handed in again.
    pub async fn finish(&self, txs: &[SignedTx], broadcast: Broadcast) -> Result<Deployed, TxError> {
        let Some(last) = txs.last() else {
            return Err(TxError::NotTaken("there is no deployment transaction".to_owned()));
        };
        let (begun, mut taken, mut in_doubt, mut used_since) =
            (Instant::now(), false, broadcast == Broadcast::Again, None);
        loop {
            if !taken {
                match self.node.send_raw(last).await {
                    Ok(SendOutcome::Sent) => taken = true,
                    // An earlier one of them may have been taken, or this one by an attempt whose answer was lost.
                    Ok(SendOutcome::NotTaken(words)) if !in_doubt => return Err(TxError::NotTaken(words)),
                    Err(_) | Ok(SendOutcome::NotTaken(_) | SendOutcome::Refused(_)) => in_doubt = true,
                    Ok(SendOutcome::NonceUsed | SendOutcome::Underpriced) => taken = true,
                }
            }
            // Whatever a node answers but a receipt says nothing.
            match self.look(txs).await {
                Ok(Some(deployed)) => return Ok(deployed),
                Err(error @ TxError::Reverted { .. }) => return Err(error),
                Ok(None) | Err(_) => {}
            }
            if self.is_used(last.nonce).await.is_ok_and(|used| used) {
                let since = *used_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= INDEXING {
                    return Err(TxError::NotTaken(format!(
                        "another transaction of the account has nonce {}, which the deployment was signed with",
                        last.nonce
                    )));
                }
            }
            if begun.elapsed() >= PATIENCE {
                let (tx, nonce) = (last.hash, last.nonce);
                return Err(TxError::NoReceipt { tx, nonce, seconds: PATIENCE.as_secs() });
            }
            tokio::time::sleep(self.poll).await;
        }
    }

    fn call(&self, code: &[u8]) -> Call {
        Call { from: self.key.address(), to: None, value: 0, data: code.to_vec() }
    }

    fn deployed(&self, tx: &SignedTx, receipt: &RawReceipt) -> Result<Deployed, TxError> {
        if receipt.status != Some(1.into()) {
            return Err(TxError::Reverted { tx: tx.hash, block: block_of(receipt) });
        }
        let contract = self.contract_at(tx.nonce);
        match receipt.contract_address {
            Some(named) if named.0 != contract => {
                let detail = format!("a deployment with nonce {} made the contract {named:?}", tx.nonce);
                return Err(ChainError::Unexpected(detail).into());
            }
            _ => {}
        }
        Ok(Deployed {
            chain_id: self.chain_id,
            contract,
            block: block_of(receipt),
            tx: tx.hash,
            gas_used: u64_of("gas used", receipt.gas_used)?,
        })
    }
}

/// Deploys the contract with these settings and circuits, and waits for it to be mined.
///
/// # Errors
/// `Refused` with the contract's words about a setting or a key (a development key on a real chain, for one),
/// `TooMuchGas` for too many circuits, and those of any transaction.
pub async fn deploy(
    rpc: impl Into<Endpoint>,
    key: &AccountKey,
    config: &Config,
    circuits: &[CircuitKey],
) -> Result<Deployed, TxError> {
    let mut deployer = Deployer::connect(rpc, key.clone()).await?;
    // For development chains, whose blocks come at once.
    deployer.poll = Duration::from_millis(40);
    let code = calls::deploy_bytecode(config, circuits);
    let tx = deployer.sign(&deployer.plan(&code).await?, &code)?;
    deployer.finish(&[tx], Broadcast::First).await
}
