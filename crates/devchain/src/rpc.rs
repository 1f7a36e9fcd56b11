//! JSON-RPC 2.0: takes a request's bytes, gives the answer's.
//!
//! - `mod.rs`: envelopes, batches, dispatch
//! - `eth.rs`: `eth_`, `net_` and `web3_` methods
//! - `dev.rs`: `evm_`, `anvil_` and `devchain_` methods, which control the chain
//! - `simulate.rs`: `eth_call` and `eth_estimateGas`
//! - `params.rs`: reads parameters
//! - `format.rs`: writes blocks, transactions, receipts and logs
//! - `error.rs`: codes

mod dev;
mod error;
mod eth;
mod format;
mod params;
mod simulate;

use serde_json::{Value, json};

pub use error::RpcError;
use params::Params;

use crate::node::Node;

/// Requests in one batch.
pub const MAX_BATCH: usize = 1_000;

/// Answers a request body; `None` if it holds only notifications.
#[must_use]
pub fn handle(node: &Node, body: &[u8]) -> Option<Value> {
    let request = match serde_json::from_slice::<Value>(body) {
        Ok(request) => request,
        Err(error) => return Some(failure(Value::Null, RpcError::parse(&error.to_string()))),
    };
    match request {
        Value::Array(requests) if requests.is_empty() => {
            Some(failure(Value::Null, RpcError::invalid_request("the batch is empty")))
        }
        Value::Array(requests) if requests.len() > MAX_BATCH => {
            Some(failure(Value::Null, RpcError::invalid_request("the batch has more than 1000 requests")))
        }
        Value::Array(requests) => {
            let answers: Vec<_> = requests.into_iter().filter_map(|request| answer(node, request)).collect();
            (!answers.is_empty()).then_some(Value::Array(answers))
        }
        request => answer(node, request),
    }
}

fn answer(node: &Node, request: Value) -> Option<Value> {
    let Value::Object(mut request) = request else {
        return Some(failure(Value::Null, RpcError::invalid_request("a request is an object")));
    };
    let id = request.remove("id");
    let params = request.remove("params").unwrap_or(Value::Null);
    let method = match request.get("method").and_then(Value::as_str) {
        Some(method) if request.get("jsonrpc").and_then(Value::as_str) == Some("2.0") => method,
        _ => {
            let error = RpcError::invalid_request("a request has a method, and jsonrpc \"2.0\"");
            return Some(failure(id.unwrap_or(Value::Null), error));
        }
    };
    let result = Params::new(params).and_then(|params| call(node, method, &params));
    let id = id?;
    Some(match result {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err(error) => failure(id, error),
    })
}

/// Calls a method by its name with positional parameters.
///
/// # Errors
/// As the method says; unknown methods have code -32601.
pub fn call_method(node: &Node, method: &str, params: Value) -> Result<Value, RpcError> {
    call(node, method, &Params::new(params)?)
}

fn call(node: &Node, method: &str, params: &Params) -> Result<Value, RpcError> {
    if let Some(result) = eth::call(node, method, params) {
        return result;
    }
    dev::call(node, method, params).unwrap_or_else(|| Err(RpcError::unknown_method(method)))
}

fn failure(id: Value, error: RpcError) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": error })
}
