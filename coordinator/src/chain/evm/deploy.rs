//! Deployment of the contract in one transaction.

use std::time::Duration;

use contracts::{CircuitKey, Config, calls};

use super::{
    error::TxError,
    fees::FeeLimits,
    key::AccountKey,
    node::{Node, u64_of},
    transport::TransportLimits,
    tx::{Sender, block_of},
};
use crate::{
    chain::{ChainError, Hash32},
    service::Address,
};

const PATIENCE: Duration = Duration::from_secs(600);

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

/// Deploys the contract with these settings and circuits, and waits for it to be mined.
///
/// # Errors
/// `Refused` with the contract's words about a setting or a key (a development key on a real chain, for one),
/// `TooMuchGas` for too many circuits, and those of any transaction.
pub async fn deploy(
    rpc_url: &str,
    key: &AccountKey,
    config: &Config,
    circuits: &[CircuitKey],
) -> Result<Deployed, TxError> {
    let node = Node::connect(rpc_url, TransportLimits::default())?;
    let chain_id = node.chain_id().await?;
    let sender = Sender { node: &node, key, chain_id, fee_limits: FeeLimits::default(), patience: PATIENCE };
    let (tx, receipt) = sender.send(None, 0, calls::deploy_bytecode(config, circuits)).await?;
    let contract = receipt
        .contract_address
        .ok_or_else(|| ChainError::Unexpected("a deployment's receipt names no contract".into()))?;
    let gas_used = u64_of("gas used", receipt.gas_used)?;
    Ok(Deployed { chain_id, contract: contract.0, block: block_of(&receipt), tx, gas_used })
}
