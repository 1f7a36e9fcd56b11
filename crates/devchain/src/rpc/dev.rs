//! The methods that control the chain: `evm_*` and their `anvil_*` names, and `devchain_reorg`.

use std::time::Duration;

use serde_json::{Value, json};

use super::params::{self, Params};
use super::{RpcError, format};
use crate::chain::Dropped;
use crate::config::Mining;
use crate::node::Node;

/// Calls a method; `None` if it is not one of these.
pub(super) fn call(node: &Node, method: &str, params: &Params) -> Option<Result<Value, RpcError>> {
    Some(match method {
        "evm_snapshot" | "anvil_snapshot" => node.snapshot().map(format::quantity).map_err(Into::into),
        "evm_revert" | "anvil_revert" => revert(node, params),
        "evm_mine" => mine_one(node, params),
        "anvil_mine" | "hardhat_mine" => mine_many(node, params),
        "evm_increaseTime" | "anvil_increaseTime" => increase_time(node, params),
        "evm_setNextBlockTimestamp" | "anvil_setNextBlockTimestamp" => params
            .number(0)
            .and_then(|timestamp| Ok(node.set_next_timestamp(timestamp)?))
            .map(|()| Value::Null),
        "evm_setAutomine" | "anvil_setAutomine" => set_automine(node, params),
        "anvil_getAutomine" => {
            node.mining().map(|mining| json!(mining == Mining::Automine)).map_err(Into::into)
        }
        "evm_setIntervalMining" | "anvil_setIntervalMining" => set_interval(node, params),
        "anvil_setBalance" | "hardhat_setBalance" => set_balance(node, params),
        "anvil_reorg" => anvil_reorg(node, params),
        "devchain_reorg" => devchain_reorg(node, params),
        _ => return None,
    })
}

fn revert(node: &Node, params: &Params) -> Result<Value, RpcError> {
    Ok(json!(node.revert(params.number(0)?)?))
}

/// `evm_mine [timestamp]` or `evm_mine [{"timestamp": …, "blocks": …}]`.
fn mine_one(node: &Node, params: &Params) -> Result<Value, RpcError> {
    let options = params.get(0).filter(|options| options.is_object());
    let field = |name: &str| options.and_then(|options| options.get(name)).filter(|value| !value.is_null());
    let timestamp = match options {
        Some(_) => field("timestamp").map(params::number).transpose()?,
        None => params.get(0).map(params::number).transpose()?,
    };
    let mut blocks = field("blocks").map_or(Ok(1), params::number)?;
    if let Some(timestamp) = timestamp.filter(|_| blocks > 0) {
        node.mine_at(timestamp)?;
        blocks -= 1;
    }
    node.mine(blocks, 0)?;
    Ok(json!("0x0"))
}

/// `anvil_mine [blocks, seconds between them]`.
fn mine_many(node: &Node, params: &Params) -> Result<Value, RpcError> {
    node.mine(params.number_or(0, 1)?, params.number_or(1, 0)?)?;
    Ok(Value::Null)
}

fn increase_time(node: &Node, params: &Params) -> Result<Value, RpcError> {
    Ok(json!(node.increase_time(params.number(0)?)?))
}

/// Turning automine off leaves mining to `evm_mine`; an interval that runs goes on.
fn set_automine(node: &Node, params: &Params) -> Result<Value, RpcError> {
    let mining = match (params.bool(0)?, node.mining()?) {
        (true, _) => Mining::Automine,
        (false, Mining::Automine) => Mining::Manual,
        (false, other) => other,
    };
    node.set_mining(mining)?;
    Ok(Value::Null)
}

/// Seconds between blocks; 0 stops the interval.
fn set_interval(node: &Node, params: &Params) -> Result<Value, RpcError> {
    let mining = match params.number(0)? {
        0 => Mining::Manual,
        seconds => Mining::Interval(Duration::from_secs(seconds)),
    };
    node.set_mining(mining)?;
    Ok(Value::Null)
}

fn set_balance(node: &Node, params: &Params) -> Result<Value, RpcError> {
    node.set_balance(params.address(0)?, params.word(1)?)?;
    Ok(Value::Null)
}

/// `anvil_reorg [depth, []]`. Transactions for the new blocks (a list that is not empty) are not supported.
fn anvil_reorg(node: &Node, params: &Params) -> Result<Value, RpcError> {
    let pairs = params.get(1).and_then(Value::as_array).is_some_and(|pairs| !pairs.is_empty());
    if pairs {
        return Err(RpcError::params(
            "the new blocks of a reorg are empty: the second parameter has to be []",
        ));
    }
    node.reorg(params.number(0)?, Dropped::Requeue)?;
    Ok(Value::Null)
}

/// `devchain_reorg [depth, {"dropTransactions": bool}]`.
fn devchain_reorg(node: &Node, params: &Params) -> Result<Value, RpcError> {
    let forget = params.get(1).and_then(|options| options.get("dropTransactions")).and_then(Value::as_bool);
    let dropped = if forget == Some(true) { Dropped::Forget } else { Dropped::Requeue };
    node.reorg(params.number(0)?, dropped)?;
    Ok(Value::Null)
}
