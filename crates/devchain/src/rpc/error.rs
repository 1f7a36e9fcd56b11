//! JSON-RPC errors. Codes: JSON-RPC 2.0 §5.1 and EIP-1474, and 3 for a reverted call as other clients have it.

use revm::primitives::Bytes;
use serde::Serialize;

use crate::Error;
use crate::error::TxError;

/// An error in an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{message} ({code})")]
pub struct RpcError {
    /// Code.
    pub code: i64,
    /// What is wrong.
    pub message: String,
    /// The revert's data, if the call reverted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Bytes>,
}

impl RpcError {
    fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// Not JSON.
    pub(super) fn parse(what: &str) -> Self {
        Self::new(-32_700, format!("parse error: {what}"))
    }

    /// Not a request.
    pub(super) fn invalid_request(what: &str) -> Self {
        Self::new(-32_600, format!("invalid request: {what}"))
    }

    /// No such method.
    pub(super) fn unknown_method(method: &str) -> Self {
        Self::new(-32_601, format!("the method {method} does not exist/is not available"))
    }

    /// Parameters that cannot be read.
    pub(super) fn params(what: impl AsRef<str>) -> Self {
        Self::new(-32_602, format!("invalid params: {}", what.as_ref()))
    }

    /// The server cannot do it.
    pub(super) fn server(what: impl Into<String>) -> Self {
        Self::new(-32_000, what)
    }

    /// More than an answer may hold.
    pub(super) fn limit(what: impl Into<String>) -> Self {
        Self::new(-32_005, what)
    }

    /// A call that reverted with this data.
    pub(super) fn reverted(data: Bytes) -> Self {
        let message = match reason(&data) {
            Some(reason) => format!("execution reverted: {reason}"),
            None => "execution reverted".to_owned(),
        };
        Self { code: 3, message, data: Some(data) }
    }
}

impl From<TxError> for RpcError {
    fn from(error: TxError) -> Self {
        Self::new(-32_003, error.to_string())
    }
}

impl From<Error> for RpcError {
    fn from(error: Error) -> Self {
        match error {
            Error::Tx(error) => error.into(),
            Error::Rule(error) => Self::server(error.to_string()),
            other => Self::new(-32_603, other.to_string()),
        }
    }
}

impl From<crate::error::RuleError> for RpcError {
    fn from(error: crate::error::RuleError) -> Self {
        Self::server(error.to_string())
    }
}

/// The text of Solidity's `Error(string)`.
fn reason(data: &[u8]) -> Option<String> {
    let body = data.strip_prefix(&[0x08, 0xc3, 0x79, 0xa0])?;
    let word = |at: usize| {
        let bytes = body.get(at..at.checked_add(32)?)?;
        let (high, low) = bytes.split_at(24);
        let low: [u8; 8] = low.try_into().ok()?;
        high.iter().all(|byte| *byte == 0).then(|| usize::try_from(u64::from_be_bytes(low)).ok())?
    };
    let offset = word(0)?;
    let length = word(offset)?;
    let begin = offset.checked_add(32)?;
    let text = body.get(begin..begin.checked_add(length)?)?;
    Some(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revert_reason_is_read_and_nonsense_is_not() {
        let mut data = vec![0x08, 0xc3, 0x79, 0xa0];
        data.extend([0; 31].iter().chain(&[32]));
        data.extend([0; 31].iter().chain(&[3]));
        data.extend(b"why");
        data.extend([0; 29]);
        assert_eq!(RpcError::reverted(data.clone().into()).message, "execution reverted: why");
        for cut in 0..71 {
            assert_eq!(RpcError::reverted(data[..cut].to_vec().into()).message, "execution reverted");
        }
        data[4..36].fill(0xff);
        assert_eq!(RpcError::reverted(data.into()).message, "execution reverted");
    }
}
