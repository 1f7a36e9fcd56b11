//! JSON-RPC over HTTP: the one client of nodes and remote signers, in place of that of `ethers` with its outdated TLS stack.
//!
//! Invariant: an answer is bounded in bytes and time by [`HttpLimits`], and in depth by [`protocol::depth`] before anything
//! parses it, and no error quotes the node's address beyond its host (the path often is a key).

use std::sync::atomic::{AtomicU64, Ordering};

use hyper::StatusCode;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json, value::RawValue};

use crate::http::{Endpoint, HttpClient, HttpError, HttpLimits};

/// Characters of a node's message that are kept.
const MAX_WORDS: usize = 500;

/// A server's answer that it does not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: i64,
    /// The server's words, without control characters.
    pub message: String,
    pub data: Option<Value>,
}

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("PM-EVM-001: {host} answers HTTP {status}; it is overloaded or its gateway is, ask again")]
    Unavailable { host: String, status: StatusCode },
    #[error("PM-EVM-002: {host} does not speak JSON-RPC: {reason}; check the node's address")]
    NotJsonRpc { host: String, reason: String },
    #[error("PM-EVM-004: the node's result does not have the form asked for: {0}; check the node's version")]
    Form(#[from] serde_json::Error),
    #[error("PM-EVM-005: the node refused: {} (code {})", .0.message, .0.code)]
    Refused(Refusal),
}

impl RpcError {
    /// Whether nothing reached the node: what was asked was not done, and asking for less is no help.
    pub(crate) fn is_unsent(&self) -> bool {
        matches!(
            self,
            Self::Http(HttpError::Settings(_) | HttpError::Connect { .. } | HttpError::Secure { .. })
        )
    }
}

/// A client of one server.
#[derive(Debug)]
pub struct Client {
    http: HttpClient,
    next_id: AtomicU64,
}

#[derive(Deserialize)]
struct Answer<'a> {
    /// Nothing where the node could not even read which request it refuses.
    #[serde(default)]
    id: Value,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<RawRefusal>,
}

/// Nodes are not strict with the form of errors: what is missing is left empty.
#[derive(Deserialize)]
struct RawRefusal {
    #[serde(default)]
    code: Value,
    #[serde(default)]
    message: Value,
    data: Option<Value>,
}

/// Keeps `"result": null` apart from no result at all.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl From<RawRefusal> for Refusal {
    fn from(refusal: RawRefusal) -> Self {
        // Words of a stranger that are stored, logged and shown: bounded, and without what a store or a terminal minds.
        let text = |value: Value| {
            let text = match value {
                Value::String(text) => text,
                Value::Null => String::new(),
                other => other.to_string(),
            };
            text.chars().filter(|c| !c.is_control()).take(MAX_WORDS).collect::<String>()
        };
        let code = refusal.code.as_i64();
        let code = code.or_else(|| refusal.code.as_str()?.parse().ok()).unwrap_or_default();
        Self { code, message: text(refusal.message), data: refusal.data }
    }
}

impl Client {
    /// # Errors
    /// `Http(Settings)` unless the address is an `http` or `https` URL and the files of its TLS options can be read.
    pub fn new(endpoint: &Endpoint, limits: HttpLimits) -> Result<Self, RpcError> {
        Ok(Self { http: HttpClient::new(endpoint, limits)?, next_id: AtomicU64::new(1) })
    }

    /// Calls a method and decodes its result.
    ///
    /// # Errors
    /// `Refused` with the server's words, `Form` where the result is not an `R`, else what went wrong on the way.
    pub async fn call<R: DeserializeOwned>(
        &self,
        method: &str,
        params: impl Serialize,
    ) -> Result<R, RpcError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let body =
            json!({"jsonrpc": "2.0", "id": id, "method": method, "params": serde_json::to_value(params)?});
        let answer = self.http.post(body.to_string().into_bytes(), &[]).await?;
        Ok(serde_json::from_str(self.result(id, answer.status, &answer.body)?.get())?)
    }

    /// The result of an answer, whatever its HTTP status: nodes differ in the status of JSON-RPC errors.
    fn result<'a>(&self, id: u64, status: StatusCode, bytes: &'a [u8]) -> Result<&'a RawValue, RpcError> {
        let host = || self.http.host().to_owned();
        let not_json_rpc = |reason: String| RpcError::NotJsonRpc { host: host(), reason };
        protocol::depth::check_json(bytes).map_err(|error| not_json_rpc(error.to_string()))?;
        let answer = match serde_json::from_slice::<Answer<'_>>(bytes) {
            Ok(answer) => answer,
            Err(_)
                if status.is_server_error()
                    || matches!(
                        status,
                        StatusCode::TOO_MANY_REQUESTS
                            | StatusCode::REQUEST_TIMEOUT
                            | StatusCode::PAYLOAD_TOO_LARGE
                    ) =>
            {
                return Err(RpcError::Unavailable { host: host(), status });
            }
            Err(error) => return Err(not_json_rpc(format!("HTTP {status}, {error}"))),
        };
        if let Some(refusal) = answer.error {
            return Err(RpcError::Refused(refusal.into()));
        }
        if answer.id.as_u64() != Some(id) {
            return Err(not_json_rpc("an answer to another request".into()));
        }
        answer.result.ok_or_else(|| not_json_rpc("an answer with neither result nor error".into()))
    }
}
