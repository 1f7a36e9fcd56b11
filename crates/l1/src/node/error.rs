//! What can go wrong between us and a node, sorted by what to do about it.
//!
//! Nodes agree on codes only in part, so their words are looked at too (geth, Erigon, Nethermind, Reth, anvil, hosted nodes).

use protocol::l1::{ChainError, Hash32, SendOutcome};
use serde_json::Value;

use crate::{
    contract::{ContractError, errors::decode_error},
    http::HttpError,
    rpc::{Refusal, RpcError},
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
    #[error("PM-EVM-015: nonce {nonce} is used and the node shows no receipt of transaction 0x{}: another transaction has it, or the receipt is not there yet", hex::encode(.tx))]
    NonceUsed { tx: Hash32, nonce: u64 },
}

impl From<RpcError> for ChainError {
    fn from(error: RpcError) -> Self {
        match &error {
            RpcError::Http(
                HttpError::Connect { .. }
                | HttpError::Secure { .. }
                | HttpError::Timeout { .. }
                | HttpError::Cut { .. },
            )
            | RpcError::Unavailable { .. } => Self::Unreachable(error.to_string()),
            RpcError::Refused(rpc) if is_transient(rpc) => Self::Unreachable(error.to_string()),
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

fn says(error: &Refusal, words: &[&str]) -> bool {
    let message = error.message.to_lowercase();
    words.iter().any(|word| message.contains(word))
}

/// Whether the same request can succeed a little later.
fn is_transient(error: &Refusal) -> bool {
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
pub(super) fn lacks_funds(error: &RpcError) -> Option<String> {
    match error {
        RpcError::Refused(error)
            if says(error, &["insufficient funds", "insufficient balance", "lack of funds"]) =>
        {
            Some(error.message.clone())
        }
        _ => None,
    }
}

/// The contract's error where a call or an estimate failed by reverting; nothing where the node failed.
pub(super) fn revert_of(error: &RpcError) -> Option<ContractError> {
    let RpcError::Refused(error) = error else { return None };
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

/// What the answer to `eth_sendRawTransaction` means, in the words of geth, Nethermind, Erigon, Besu, Reth and anvil.
pub(super) fn send_outcome(error: RpcError) -> Result<SendOutcome, ChainError> {
    let RpcError::Refused(rpc) = &error else { return Err(error.into()) };
    let message = rpc.message.to_lowercase();
    let any = |words: &[&str]| words.iter().any(|word| message.contains(word));
    Ok(if any(&KNOWN) || message.contains("known transaction") && !message.contains("unknown transaction") {
        SendOutcome::Sent
    } else if any(&NONCE_USED) {
        SendOutcome::NonceUsed
    } else if any(&REPLACES) || message.contains("replacement") && message.contains("underpriced") {
        SendOutcome::Underpriced
    } else if any(&NOT_TAKEN) {
        SendOutcome::NotTaken(rpc.message.clone())
    } else if is_transient(rpc) {
        return Err(error.into());
    } else {
        SendOutcome::Refused(rpc.message.clone())
    })
}

const KNOWN: [&str; 5] = [
    "already known",
    "already imported",
    "alreadyknown",
    "already in",
    // Erigon
    "existing tx with same hash",
];
const NONCE_USED: [&str; 5] =
    ["nonce too low", "nonce is too low", "oldnonce", "nonce has already been used", "nonce below current"];
/// Another transaction of ours with the nonce is in the pool, and this one does not pay enough more.
const REPLACES: [&str; 6] = [
    // Nethermind
    "replacementnotallowed",
    "replacement not allowed",
    "ownnoncealreadyused",
    // Erigon
    "could not replace existing tx",
    // geth, for blobs and delegated accounts
    "future transaction tries to replace pending",
    "already reserved",
];
/// The pool does not have the transaction, for certain.
const NOT_TAKEN: [&str; 31] = [
    // Fees beyond what the node sends: geth and Reth, Besu, Erigon
    "exceeds the configured cap",
    "fee cap exceeded",
    "transaction fee cap",
    // Too little ether
    "insufficient funds",
    "insufficientfunds",
    "insufficient balance",
    "lack of funds",
    "upfront cost exceeds",
    // Fees too low for the pool: geth, Nethermind, Erigon, Besu, anvil
    "underpriced",
    "feetoolow",
    "fee too low",
    "max fee per gas less than block base fee",
    "less than the block base fee",
    "gas price below",
    "gas price too low",
    "tip cap",
    // Gas
    "exceeds block gas limit",
    "exceeds transaction gas limit",
    "gas limit too high",
    "gaslimitexceeded",
    "gas limit exceeded",
    "intrinsic gas",
    "gas too low",
    // Nonces too far ahead: Nethermind, Besu, Erigon
    "noncegap",
    "nonce gap",
    "nonce too high",
    "too distant from current",
    // Room
    "txpool is full",
    "pool is full",
    "limit reached",
    // Size
    "oversized data",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rpc(code: i64, message: &str, data: Option<Value>) -> RpcError {
        RpcError::Refused(Refusal { code, message: message.into(), data })
    }

    #[test]
    fn the_words_of_nodes_about_a_broadcast_are_understood() {
        use SendOutcome::{NonceUsed, Sent, Underpriced};
        let not_taken = |message: &str| SendOutcome::NotTaken(message.to_owned());
        for (node, message, outcome) in [
            ("geth", "already known", Sent),
            ("Nethermind", "AlreadyKnown", Sent),
            ("Erigon", "existing tx with same hash", Sent),
            ("Besu", "Known transaction", Sent),
            ("anvil", "transaction already imported", Sent),
            ("geth", "nonce too low: next nonce 5, tx nonce 3", NonceUsed),
            ("Nethermind", "OldNonce, Current nonce: 5, nonce of rejected tx: 3", NonceUsed),
            ("Besu", "Nonce too low", NonceUsed),
            ("geth", "replacement transaction underpriced", Underpriced),
            ("geth", "future transaction tries to replace pending", Underpriced),
            ("Nethermind", "ReplacementNotAllowed", Underpriced),
            ("Erigon", "could not replace existing tx", Underpriced),
            ("Besu", "Replacement transaction underpriced", Underpriced),
            ("Reth", "replacement transaction underpriced", Underpriced),
        ] {
            assert_eq!(send_outcome(rpc(-32_000, message, None)), Ok(outcome), "{node}: {message}");
        }
        for (node, message) in [
            ("geth", "tx fee (1.35 ether) exceeds the configured cap (1.00 ether)"),
            ("Reth", "tx fee (1.35 ether) exceeds the configured cap (1.00 ether)"),
            ("Besu", "Transaction fee cap exceeded"),
            ("geth", "insufficient funds for gas * price + value: address 0x0e balance 1"),
            ("Nethermind", "InsufficientFunds, Account balance: 0, cumulative cost: 1"),
            ("Erigon", "insufficient funds for gas * price + value"),
            ("Besu", "Upfront cost exceeds account balance"),
            ("geth", "transaction underpriced: gas tip cap 1, minimum needed 2"),
            ("Nethermind", "FeeTooLow, MaxFeePerGas too low"),
            ("Nethermind", "FeeTooLowToCompete"),
            ("Erigon", "fee too low"),
            ("Erigon", "underpriced"),
            ("Besu", "Gas price below configured minimum gas price"),
            ("anvil", "max fee per gas less than block base fee: address 0x"),
            ("geth", "exceeds block gas limit"),
            ("Besu", "Transaction gas limit exceeds block gas limit of 30000000"),
            ("Nethermind", "GasLimitExceeded, Gas limit: 30000000, gas limit of rejected tx: 40000000"),
            ("Nethermind", "NonceGap, Future nonce. Expected nonce: 3"),
            ("Besu", "Transaction nonce is too distant from current sender nonce"),
            ("geth", "nonce too high"),
            ("geth", "txpool is full"),
            ("geth", "in-flight transaction limit reached for delegated accounts"),
        ] {
            assert_eq!(send_outcome(rpc(-32_000, message, None)), Ok(not_taken(message)), "{node}");
        }
        // What nobody has heard of says nothing about the pool.
        let message = "internal error 77";
        assert_eq!(send_outcome(rpc(-32_603, message, None)), Ok(SendOutcome::Refused(message.into())));
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
