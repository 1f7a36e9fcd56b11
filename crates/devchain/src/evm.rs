//! Runs one transaction or one call on revm, under the rules of the Osaka hardfork.

use std::convert::Infallible;

use revm::context::result::{EVMError, ExecutionResult, HaltReason, InvalidTransaction};
use revm::context::transaction::{AccessList, AccessListItem};
use revm::context::{BlockEnv, CfgEnv, TxEnv};
use revm::database_interface::WrapDatabaseRef;
use revm::primitives::hardfork::SpecId;
use revm::primitives::{Address, B256, Bytes, TxKind, U256};
use revm::state::EvmState;
use revm::{Context, ExecuteEvm, MainBuilder, MainContext};

use crate::state::View;
use crate::types::SignedTx;

/// EIP-7825: most gas that one transaction may ask for (2^24).
pub const TX_GAS_CAP: u64 = 16_777_216;

/// The hardfork whose rules apply from block 0.
pub const SPEC: SpecId = SpecId::OSAKA;

/// The part of a block that contracts can see.
#[derive(Clone, Copy, Debug)]
pub struct Environment {
    /// Chain id.
    pub chain_id: u64,
    /// Height.
    pub number: u64,
    /// Seconds since 1970.
    pub timestamp: u64,
    /// Gas limit of the block.
    pub gas_limit: u64,
    /// Wei per gas.
    pub base_fee: u64,
    /// Receiver of the tips.
    pub beneficiary: Address,
    /// EIP-4399 randomness.
    pub prev_randao: B256,
}

impl Environment {
    fn block(&self, base_fee: u64) -> BlockEnv {
        BlockEnv {
            number: U256::from(self.number),
            beneficiary: self.beneficiary,
            timestamp: U256::from(self.timestamp),
            gas_limit: self.gas_limit,
            basefee: base_fee,
            prevrandao: Some(self.prev_randao),
            ..BlockEnv::default()
        }
    }
}

/// A message call that is run without being sent.
#[derive(Clone, Debug)]
pub struct Call {
    /// Caller.
    pub from: Address,
    /// Callee, `None` to create a contract.
    pub to: Option<Address>,
    /// Gas given.
    pub gas: u64,
    /// Wei sent along.
    pub value: U256,
    /// Call data or creation code.
    pub input: Bytes,
    /// EIP-2930 access list.
    pub access_list: Vec<(Address, Vec<B256>)>,
}

/// Result of a run and the state it would leave.
pub type Outcome = (ExecutionResult<HaltReason>, EvmState);

/// Why the EVM did not run it.
pub type Refusal = EVMError<Infallible, InvalidTransaction>;

/// Runs a signed transaction by the rules of a block.
///
/// # Errors
/// If the transaction is not valid at this place.
pub fn transact(view: View<'_>, env: &Environment, tx: &SignedTx) -> Result<Outcome, Refusal> {
    let mut cfg = CfgEnv::new_with_spec(SPEC).with_chain_id(env.chain_id);
    cfg.tx_gas_limit_cap = Some(TX_GAS_CAP);
    run(view, cfg, env.block(env.base_fee), tx_env(tx))
}

/// Runs a call: fees are not charged, the nonce is not checked, EIP-7825's cap does not apply, and GASPRICE and
/// BASEFEE read 0.
///
/// # Errors
/// If the call cannot even begin: value above the balance, or less gas than the call data costs.
pub fn call(view: View<'_>, env: &Environment, call: &Call) -> Result<Outcome, Refusal> {
    let mut cfg = CfgEnv::new_with_spec(SPEC).with_chain_id(env.chain_id);
    cfg.tx_gas_limit_cap = Some(u64::MAX);
    cfg.disable_nonce_check = true;
    cfg.disable_eip3607 = true;
    let tx = TxEnv {
        tx_type: u8::from(!call.access_list.is_empty()),
        caller: call.from,
        gas_limit: call.gas,
        gas_price: 0,
        kind: call.to.map_or(TxKind::Create, TxKind::Call),
        value: call.value,
        data: call.input.clone(),
        nonce: view.account(call.from).map_or(0, |account| account.nonce),
        chain_id: Some(env.chain_id),
        access_list: access_list(&call.access_list),
        ..TxEnv::default()
    };
    run(view, cfg, env.block(0), tx)
}

fn run(view: View<'_>, cfg: CfgEnv, block: BlockEnv, tx: TxEnv) -> Result<Outcome, Refusal> {
    let mut evm =
        Context::mainnet().with_db(WrapDatabaseRef(view)).with_cfg(cfg).with_block(block).build_mainnet();
    let outcome = evm.transact(tx)?;
    Ok((outcome.result, outcome.state))
}

/// Gas that a transaction needs before its first instruction runs, calldata floor (EIP-7623) included.
#[must_use]
pub fn intrinsic_gas(tx: &SignedTx) -> u64 {
    let gas = revm::context_interface::cfg::gas::calculate_initial_tx_gas_for_tx(tx_env(tx), SPEC, None);
    gas.initial_total_gas().max(gas.floor_gas())
}

fn tx_env(tx: &SignedTx) -> TxEnv {
    TxEnv {
        tx_type: tx.tx_type,
        caller: tx.sender,
        gas_limit: tx.gas_limit,
        gas_price: tx.max_fee,
        kind: tx.to.map_or(TxKind::Create, TxKind::Call),
        value: tx.value,
        data: tx.input.clone(),
        nonce: tx.nonce,
        chain_id: Some(tx.chain_id),
        access_list: access_list(&tx.access_list),
        gas_priority_fee: (tx.tx_type == 2).then_some(tx.max_tip),
        ..TxEnv::default()
    }
}

fn access_list(items: &[(Address, Vec<B256>)]) -> AccessList {
    let item = |(address, keys): &(Address, Vec<B256>)| AccessListItem {
        address: *address,
        storage_keys: keys.clone(),
    };
    AccessList(items.iter().map(item).collect())
}
