//! `eth_call` and `eth_estimateGas`: runs that leave nothing behind.

use revm::context::result::ExecutionResult;
use revm::primitives::Bytes;

use super::RpcError;
use super::params::CallRequest;
use crate::chain::{BlockRef, Chain};
use crate::evm::{self, Environment, TX_GAS_CAP};
use crate::state::View;

/// The search for the least gas stops when the bounds are this close: one part in 64.
const ESTIMATE_SLACK: u64 = 64;

/// Where a call runs: on the state after a block, as if in that block (in the next one for `pending`).
fn place(
    chain: &Chain,
    block: BlockRef,
    finality_depth: u64,
    now: u64,
) -> Result<(View<'_>, Environment), RpcError> {
    let number =
        chain.number_of(block, finality_depth).ok_or_else(|| RpcError::server("header not found"))?;
    let view = chain.view(number)?;
    let env = match chain.block(number) {
        Some(found) if block != BlockRef::Pending => chain.environment_of(found),
        _ => chain.next_environment(chain.next_timestamp(now)),
    };
    Ok((view, env))
}

/// Runs a call and gives what it returns.
pub(super) fn call(
    chain: &Chain,
    request: CallRequest,
    block: BlockRef,
    finality_depth: u64,
    now: u64,
) -> Result<Bytes, RpcError> {
    let (view, env) = place(chain, block, finality_depth, now)?;
    let mut call = request.call;
    call.gas = request.gas.unwrap_or(env.gas_limit).min(env.gas_limit);
    match run(view, &env, &call)? {
        ExecutionResult::Success { output, .. } => Ok(output.into_data()),
        ExecutionResult::Revert { output, .. } => Err(RpcError::reverted(output)),
        ExecutionResult::Halt { reason, .. } => {
            Err(RpcError::server(format!("execution failed: {reason:?}")))
        }
    }
}

/// A gas limit with which a call goes through: the least one, or at most 1/64 above it.
pub(super) fn estimate(
    chain: &Chain,
    request: CallRequest,
    block: BlockRef,
    finality_depth: u64,
    now: u64,
) -> Result<u64, RpcError> {
    let (view, env) = place(chain, block, finality_depth, now)?;
    let mut call = request.call;
    let cap = TX_GAS_CAP.min(env.gas_limit);
    call.gas = request.gas.unwrap_or(cap).min(cap);
    let mut high = call.gas;
    let used = match run(view, &env, &call)? {
        ExecutionResult::Success { gas, .. } => gas.tx_gas_used(),
        ExecutionResult::Revert { output, .. } => return Err(RpcError::reverted(output)),
        ExecutionResult::Halt { reason, .. } => {
            return Err(RpcError::server(format!("execution failed: {reason:?} with {high} gas")));
        }
    };
    // Less than what was used (after refunds) is never enough. A run may need more than it uses: refunds are paid at
    // the end, and a call gets at most 63/64 of what is left (EIP-150).
    let mut low = used.saturating_sub(1);
    let mut guess = used;
    while low + 1 < high {
        call.gas = guess.clamp(low + 1, high - 1);
        if run(view, &env, &call).is_ok_and(|result| result.is_success()) {
            high = call.gas;
        } else {
            low = call.gas;
        }
        if high - low <= high / ESTIMATE_SLACK {
            break;
        }
        // The answer is mostly near the bottom, so the search goes up by doubling before it halves.
        guess = (low + (high - low) / 2).min(low.saturating_mul(2));
    }
    Ok(high)
}

fn run(view: View<'_>, env: &Environment, call: &evm::Call) -> Result<ExecutionResult, RpcError> {
    let (result, _) = evm::call(view, env, call).map_err(|error| RpcError::server(error.to_string()))?;
    Ok(result)
}
