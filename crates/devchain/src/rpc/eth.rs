//! The `eth_`, `net_` and `web3_` methods.

use revm::primitives::{U256, keccak256};
use serde_json::{Value, json};

use super::params::Params;
use super::{RpcError, format, simulate};
use crate::chain::{BlockRef, Chain, MAX_LOGS, SUGGESTED_TIP};
use crate::node::{Node, now};
use crate::state::View;

/// Calls a method; `None` if it is not one of these.
pub(super) fn call(node: &Node, method: &str, params: &Params) -> Option<Result<Value, RpcError>> {
    if method == "eth_sendRawTransaction" {
        return Some(send(node, params));
    }
    node.read(|chain| read(node, chain, method, params)).unwrap_or_else(|error| Some(Err(error.into())))
}

fn send(node: &Node, params: &Params) -> Result<Value, RpcError> {
    Ok(json!(node.submit(params.bytes(0)?)?))
}

fn read(node: &Node, chain: &Chain, method: &str, params: &Params) -> Option<Result<Value, RpcError>> {
    let depth = node.finality_depth;
    Some(match method {
        "web3_clientVersion" => Ok(json!(concat!("proofmill-devchain/", env!("CARGO_PKG_VERSION")))),
        "web3_sha3" => params.bytes(0).map(|bytes| json!(keccak256(bytes))),
        "net_version" => Ok(json!(chain.genesis().chain_id.to_string())),
        "net_listening" => Ok(json!(true)),
        "net_peerCount" => Ok(json!("0x0")),
        "eth_chainId" => Ok(format::quantity(chain.genesis().chain_id)),
        "eth_syncing" => Ok(json!(false)),
        "eth_accounts" => {
            Ok(json!(chain.genesis().accounts.iter().map(|(address, _)| address).collect::<Vec<_>>()))
        }
        "eth_blockNumber" => Ok(format::quantity(chain.head().header.number)),
        "eth_gasPrice" => Ok(format::quantity(u128::from(chain.next_base_fee()) + u128::from(SUGGESTED_TIP))),
        "eth_maxPriorityFeePerGas" => Ok(format::quantity(SUGGESTED_TIP)),
        "eth_feeHistory" => fee_history(chain, params, depth),
        "eth_getBlockByNumber" => params.block(0).map(|block| get_block(chain, block, params.flag(1), depth)),
        "eth_getBlockByHash" => {
            params.hash(0).map(|hash| get_block(chain, BlockRef::Hash(hash), params.flag(1), depth))
        }
        "eth_getBlockTransactionCountByNumber" => params.block(0).map(|block| count(chain, block, depth)),
        "eth_getBlockTransactionCountByHash" => {
            params.hash(0).map(|hash| count(chain, BlockRef::Hash(hash), depth))
        }
        "eth_getBalance" => at(chain, params, 1, depth, |view| {
            let account = view.account(params.address(0)?);
            Ok(format::big(account.map_or(U256::ZERO, |account| account.balance)))
        }),
        "eth_getCode" => at(chain, params, 1, depth, |view| {
            let code = view.account(params.address(0)?).map(|account| view.code(account.code_hash));
            Ok(json!(code.map(|code| code.original_bytes()).unwrap_or_default()))
        }),
        "eth_getStorageAt" => at(chain, params, 2, depth, |view| {
            Ok(format::word(view.slot(params.address(0)?, params.word(1)?)))
        }),
        "eth_getTransactionCount" => nonce(chain, params, depth),
        "eth_getTransactionByHash" => params.hash(0).map(|hash| match chain.mined(&hash) {
            Some((block, index)) => format::mined_transaction(block, index),
            None => chain.waiting(&hash).map_or(Value::Null, |tx| format::transaction(tx)),
        }),
        "eth_getTransactionReceipt" => params.hash(0).map(|hash| {
            chain.mined(&hash).map_or(Value::Null, |(block, index)| format::receipt(block, index))
        }),
        "eth_getBlockReceipts" => params.block(0).map(|block| {
            let found = chain.number_of(block, depth).and_then(|number| chain.block(number));
            found.map_or(Value::Null, |block| {
                (0..block.transactions.len()).map(|index| format::receipt(block, index)).collect()
            })
        }),
        "eth_getLogs" => logs(chain, params, depth),
        "eth_call" => params
            .call(0)
            .and_then(|request| simulate::call(chain, request, params.block(1)?, depth, now()))
            .map(|output| json!(output)),
        "eth_estimateGas" => params
            .call(0)
            .and_then(|request| {
                simulate::estimate(chain, request, params.block_or(1, BlockRef::Pending)?, depth, now())
            })
            .map(format::quantity),
        _ => return None,
    })
}

fn get_block(chain: &Chain, block: BlockRef, full: bool, depth: u64) -> Value {
    let found = chain.number_of(block, depth).and_then(|number| chain.block(number));
    let mut value = found.map_or(Value::Null, |block| format::block(block, full));
    if block == BlockRef::Pending
        && let Some(head) = found
    {
        // The block to come has neither hash nor content yet.
        let env = chain.next_environment(chain.next_timestamp(now()));
        value["number"] = format::quantity(env.number);
        value["timestamp"] = format::quantity(env.timestamp);
        value["baseFeePerGas"] = format::quantity(env.base_fee);
        value["parentHash"] = json!(head.hash);
        value["gasUsed"] = json!("0x0");
        for absent in ["hash", "nonce", "logsBloom"] {
            value[absent] = Value::Null;
        }
        value["transactions"] = json!([]);
    }
    value
}

fn count(chain: &Chain, block: BlockRef, depth: u64) -> Value {
    let found = chain.number_of(block, depth).and_then(|number| chain.block(number));
    found.map_or(Value::Null, |block| format::quantity(block.transactions.len() as u64))
}

/// Reads from the state after the block that parameter `index` names.
fn at(
    chain: &Chain,
    params: &Params,
    index: usize,
    depth: u64,
    read: impl FnOnce(View<'_>) -> Result<Value, RpcError>,
) -> Result<Value, RpcError> {
    let number =
        chain.number_of(params.block(index)?, depth).ok_or_else(|| RpcError::server("header not found"))?;
    read(chain.view(number)?)
}

fn nonce(chain: &Chain, params: &Params, depth: u64) -> Result<Value, RpcError> {
    let sender = params.address(0)?;
    let pending = params.block(1)? == BlockRef::Pending;
    at(chain, params, 1, depth, |view| {
        let nonce = view.account(sender).map_or(0, |account| account.nonce);
        Ok(format::quantity(if pending { chain.pool().next_nonce(sender, nonce) } else { nonce }))
    })
}

fn logs(chain: &Chain, params: &Params, depth: u64) -> Result<Value, RpcError> {
    let request = params.filter(0)?;
    let head = chain.head().header.number;
    // A range may reach beyond the head, a hash has to be known.
    let bound = |block| match block {
        BlockRef::Number(number) => Ok(number),
        BlockRef::Pending => Ok(head + 1),
        block => chain.number_of(block, depth).ok_or_else(|| RpcError::server("unknown block")),
    };
    let (from, to) = (bound(request.from)?, bound(request.to)?);
    // Asking from beyond the head up to `latest` is what a client does that polls: there is nothing new.
    if from > to && matches!(request.to, BlockRef::Number(_)) {
        return Err(RpcError::params("fromBlock is after toBlock"));
    }
    let found = chain.logs(from, to, &request.filter);
    let found =
        found.ok_or_else(|| RpcError::limit(format!("query returned more than {MAX_LOGS} results")))?;
    Ok(found.iter().map(format::log).collect())
}

fn fee_history(chain: &Chain, params: &Params, depth: u64) -> Result<Value, RpcError> {
    let percentiles = params.list(2)?;
    let sorted = percentiles.is_sorted() && percentiles.iter().all(|percent| (0.0..=100.0).contains(percent));
    if !sorted || percentiles.len() > 100 {
        return Err(RpcError::params("percentiles are at most 100 ascending numbers from 0 to 100"));
    }
    let newest = chain
        .number_of(params.block(1)?, depth)
        .ok_or_else(|| RpcError::server("request beyond head block"))?;
    let history = chain.fee_history(params.number(0)?, newest, &percentiles);
    let mut value = json!({
        "oldestBlock": format::quantity(history.oldest),
        "baseFeePerGas": history.base_fees.iter().map(|fee| format::quantity(*fee)).collect::<Vec<_>>(),
        "gasUsedRatio": history.gas_used_ratios,
    });
    if params.get(2).is_some() {
        let quantities = |tips: &Vec<u128>| tips.iter().map(|tip| format::quantity(*tip)).collect::<Vec<_>>();
        value["reward"] = json!(history.rewards.iter().map(quantities).collect::<Vec<_>>());
    }
    Ok(value)
}
