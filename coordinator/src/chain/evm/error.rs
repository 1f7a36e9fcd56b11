//! What can go wrong between us and a node, sorted by what to do about it.
//!
//! Nodes agree on codes only in part, so their words are looked at too (geth, Erigon, Nethermind, Reth, anvil, hosted nodes).

use contracts::{ContractError, errors::decode_error};
use ethers::providers::JsonRpcError;
use serde_json::Value;

use super::transport::TransportError;
use crate::{
    chain::{ChainError, Hash32, SendOutcome},
    http::HttpError,
};

/// Most gas of one transaction on Ethereum since the Fusaka fork (EIP-7825).
pub const TX_GAS_CAP: u64 = 16_777_216;

/// Why a transaction was not made, or did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TxError {
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// Found before anything was sent.
    #[error(transparent)]
    Refused(#[from] ContractError),
    #[error(
        "PM-EVM-010: the transaction needs {needed} gas, and one transaction has at most {TX_GAS_CAP} (EIP-7825); make \
         it smaller: a batch with fewer records, or a deployment with fewer circuits"
    )]
    TooMuchGas { needed: u64 },
    #[error("PM-EVM-011: transaction 0x{} was mined in block {block} and reverted; the state changed since it was tried, try again", hex::encode(.tx))]
    Reverted { tx: Hash32, block: u64 },
    #[error("PM-EVM-012: transaction 0x{} (nonce {nonce}) has no receipt after {seconds} s and may still be mined; look it up before sending another", hex::encode(.tx))]
    NoReceipt { tx: Hash32, nonce: u64, seconds: u64 },
    #[error("PM-EVM-013: the node does not take the transaction: {0}; nothing was sent")]
    NotTaken(String),
}

impl From<TransportError> for ChainError {
    fn from(error: TransportError) -> Self {
        match &error {
            TransportError::Http(
                HttpError::Connect { .. } | HttpError::Timeout { .. } | HttpError::Cut { .. },
            )
            | TransportError::Unavailable { .. } => Self::Unreachable(error.to_string()),
            TransportError::Rpc(rpc) if is_transient(rpc) => Self::Unreachable(error.to_string()),
            _ => Self::Unexpected(error.to_string()),
        }
    }
}

/// The `ChainError` nearest to a refused transaction, for callers that know no other.
impl From<TxError> for ChainError {
    fn from(error: TxError) -> Self {
        match error {
            TxError::Chain(error) => error,
            other => Self::Unexpected(other.to_string()),
        }
    }
}

fn says(error: &JsonRpcError, words: &[&str]) -> bool {
    let message = error.message.to_lowercase();
    words.iter().any(|word| message.contains(word))
}

/// Whether the same request can succeed a little later.
fn is_transient(error: &JsonRpcError) -> bool {
    // -32005: limit exceeded (EIP-1474), 429: some hosted nodes. A block unknown to one of several nodes behind one
    // address is known to it soon.
    let words = [
        "rate limit",
        "too many requests",
        "timeout",
        "timed out",
        "try again",
        "header not found",
        "syncing",
        "temporarily",
    ];
    matches!(error.code, -32_005 | 429) || says(error, &words)
}

/// Whether an account has too little for a transaction: an estimate names that in the same way as a broadcast.
pub(super) fn lacks_funds(error: &TransportError) -> Option<String> {
    match error {
        TransportError::Rpc(error)
            if says(error, &["insufficient funds", "insufficient balance", "lack of funds"]) =>
        {
            Some(error.message.clone())
        }
        _ => None,
    }
}

/// The contract's error where a call or an estimate failed by reverting; nothing where the node failed.
pub(super) fn revert_of(error: &TransportError) -> Option<ContractError> {
    let TransportError::Rpc(error) = error else { return None };
    if says(error, &["out of gas", "outofgas", "gas required exceeds", "intrinsic gas too"]) {
        return Some(ContractError {
            code: "PM-EVM-014",
            name: "OutOfGas",
            sentence: format!("the call does not fit into {TX_GAS_CAP} gas; make it smaller"),
        });
    }
    let data = error.data.as_ref().and_then(revert_data);
    // 3: the code of a revert in geth and those who follow it.
    let reverted =
        error.code == 3 || says(error, &["revert", "invalid opcode", "evm error", "vm execution error"]);
    reverted.then(|| decode_error(&data.unwrap_or_default()))
}

/// Nodes put the data at `error.data`, at `error.data.data`, or behind the word "Reverted".
fn revert_data(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => {
            let text = text.strip_prefix("Reverted ").unwrap_or(text);
            hex::decode(text.strip_prefix("0x")?).ok()
        }
        Value::Object(fields) => fields.get("data").and_then(revert_data),
        _ => None,
    }
}

/// What the answer to `eth_sendRawTransaction` means.
pub(super) fn send_outcome(error: TransportError) -> Result<SendOutcome, ChainError> {
    let TransportError::Rpc(rpc) = &error else { return Err(error.into()) };
    if says(rpc, &["already known", "known transaction", "already imported", "alreadyknown", "already in"]) {
        return Ok(SendOutcome::Sent);
    }
    if says(rpc, &["nonce too low", "nonce is too low", "oldnonce", "nonce has already been used"]) {
        return Ok(SendOutcome::NonceUsed);
    }
    // "max fee per gas less than block base fee" and "feetoolow" are cured by more too.
    if says(
        rpc,
        &[
            "underpriced",
            "less than block base fee",
            "less than the block base fee",
            "fee too low",
            "feetoolow",
        ],
    ) {
        return Ok(SendOutcome::Underpriced);
    }
    if is_transient(rpc) {
        return Err(error.into());
    }
    Ok(SendOutcome::Refused(rpc.message.clone()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rpc(code: i64, message: &str, data: Option<Value>) -> TransportError {
        TransportError::Rpc(JsonRpcError { code, message: message.into(), data })
    }

    #[test]
    fn the_words_of_nodes_about_a_broadcast_are_understood() {
        for (message, outcome) in [
            ("already known", SendOutcome::Sent),
            ("transaction already imported", SendOutcome::Sent),
            ("nonce too low: next nonce 5, tx nonce 3", SendOutcome::NonceUsed),
            ("replacement transaction underpriced", SendOutcome::Underpriced),
            ("transaction underpriced: gas tip cap 1", SendOutcome::Underpriced),
            ("max fee per gas less than block base fee: address 0x", SendOutcome::Underpriced),
        ] {
            assert_eq!(send_outcome(rpc(-32_000, message, None)), Ok(outcome), "{message}");
        }
        let message = "insufficient funds for gas * price + value";
        assert_eq!(send_outcome(rpc(-32_000, message, None)), Ok(SendOutcome::Refused(message.into())));
        for (code, message) in
            [(-32_005, "limit exceeded"), (429, "slow down"), (-32_000, "request timed out")]
        {
            assert!(matches!(send_outcome(rpc(code, message, None)), Err(ChainError::Unreachable(_))));
        }
    }

    #[test]
    fn revert_data_is_found_wherever_a_node_puts_it() {
        let data = "0xb20d8f3b";
        for (code, data) in [
            (3, json!(data)),
            (-32_015, json!(format!("Reverted {data}"))),
            (-32_603, json!({"message": "x", "data": data})),
        ] {
            let error = revert_of(&rpc(code, "execution reverted", Some(data))).unwrap();
            assert!(error.sentence.contains("b20d8f3b"), "{error}");
        }
        assert_eq!(revert_of(&rpc(3, "execution reverted", None)).unwrap().name, "Unknown");
        assert_eq!(revert_of(&rpc(-32_000, "out of gas", None)).unwrap().name, "OutOfGas");
        assert_eq!(revert_of(&rpc(-32_601, "method not found", None)), None);
    }
}
