//! JSON-RPC over HTTP for `ethers`, in place of its own client with an outdated TLS stack.
//!
//! Invariant: an answer is never longer than [`TransportLimits::max_answer_bytes`] in memory, takes no longer than
//! [`TransportLimits::timeout`], and no error quotes the node's address beyond its host (the path often is a key).

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use ethers::providers::{JsonRpcClient, JsonRpcError, ProviderError, RpcError};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// How long a connection without a request is kept: shorter than nodes keep one (5 s in Node.js, 120 s in geth), so that
/// no request is sent on a connection that is being closed.
const IDLE: Duration = Duration::from_secs(4);

/// How long an answer may take and how large it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportLimits {
    /// Of a request from its first byte to the last of the answer.
    pub timeout: Duration,
    /// Of opening a connection.
    pub connect_timeout: Duration,
    pub max_answer_bytes: usize,
}

impl Default for TransportLimits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            max_answer_bytes: 32 << 20,
        }
    }
}

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    #[error("PM-EVM-001: {host} does not answer: {reason}; check that the node runs and can be reached")]
    Unreachable { host: String, reason: String },
    #[error("PM-EVM-002: {host} does not speak JSON-RPC: {reason}; check the node's address")]
    NotJsonRpc { host: String, reason: String },
    #[error("PM-EVM-003: the answer of {host} is longer than {limit} bytes; ask for less at once")]
    TooLong { host: String, limit: usize },
    #[error("PM-EVM-004: the node's result does not have the form asked for: {0}; check the node's version")]
    Form(#[from] serde_json::Error),
    #[error("PM-EVM-005: the node refused: {} (code {})", .0.message, .0.code)]
    Rpc(JsonRpcError),
    #[error("PM-EVM-006: {0}")]
    Address(String),
}

impl From<TransportError> for ProviderError {
    fn from(error: TransportError) -> Self {
        Self::JsonRpcClientError(Box::new(error))
    }
}

impl RpcError for TransportError {
    fn as_error_response(&self) -> Option<&JsonRpcError> {
        match self {
            Self::Rpc(error) => Some(error),
            _ => None,
        }
    }

    fn as_serde_error(&self) -> Option<&serde_json::Error> {
        match self {
            Self::Form(error) => Some(error),
            _ => None,
        }
    }
}

/// A connection to one node.
#[derive(Debug)]
pub struct HttpTransport {
    client: reqwest::Client,
    url: reqwest::Url,
    host: String,
    limits: TransportLimits,
    next_id: AtomicU64,
}

#[derive(Deserialize)]
struct Answer {
    id: Option<u64>,
    #[serde(default, deserialize_with = "present")]
    result: Option<Value>,
    error: Option<JsonRpcError>,
}

/// Keeps `"result": null` apart from no result at all.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl HttpTransport {
    /// # Errors
    /// `Address` unless `url` is an `http` address.
    pub fn new(url: &str, limits: TransportLimits) -> Result<Self, TransportError> {
        let url = reqwest::Url::parse(url)
            .map_err(|error| TransportError::Address(format!("the node's address is not a URL: {error}")))?;
        if url.scheme() != "http" {
            return Err(TransportError::Address(format!(
                "{}:// is not spoken; give an http:// address, of a node or of a local proxy that adds TLS",
                url.scheme()
            )));
        }
        let host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or("the node").to_owned(),
        };
        let client = reqwest::Client::builder()
            .timeout(limits.timeout)
            .connect_timeout(limits.connect_timeout)
            .pool_idle_timeout(IDLE)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| TransportError::Address(format!("no HTTP client: {error}")))?;
        Ok(Self { client, url, host, limits, next_id: AtomicU64::new(1) })
    }

    async fn post(&self, body: &Value) -> Result<(reqwest::StatusCode, Vec<u8>), TransportError> {
        let mut response =
            self.client.post(self.url.clone()).json(body).send().await.map_err(|e| self.unreachable(e))?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.unreachable(e))? {
            if bytes.len() + chunk.len() > self.limits.max_answer_bytes {
                return Err(TransportError::TooLong {
                    host: self.host.clone(),
                    limit: self.limits.max_answer_bytes,
                });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok((response.status(), bytes))
    }

    fn unreachable(&self, error: reqwest::Error) -> TransportError {
        let error = error.without_url();
        let mut reason = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            reason = format!("{reason}: {cause}");
            source = cause.source();
        }
        TransportError::Unreachable { host: self.host.clone(), reason }
    }

    /// The result of an answer, whatever its HTTP status: nodes differ in the status of JSON-RPC errors.
    fn result(&self, id: u64, status: reqwest::StatusCode, bytes: &[u8]) -> Result<Value, TransportError> {
        let not_json_rpc = |reason: String| TransportError::NotJsonRpc { host: self.host.clone(), reason };
        let answer = match serde_json::from_slice::<Answer>(bytes) {
            Ok(answer) => answer,
            Err(_) if status.is_server_error() || status == reqwest::StatusCode::TOO_MANY_REQUESTS => {
                let reason = format!("HTTP {status}");
                return Err(TransportError::Unreachable { host: self.host.clone(), reason });
            }
            Err(error) => return Err(not_json_rpc(format!("HTTP {status}, {error}"))),
        };
        if let Some(error) = answer.error {
            return Err(TransportError::Rpc(error));
        }
        if answer.id != Some(id) {
            return Err(not_json_rpc("an answer to another request".into()));
        }
        answer.result.ok_or_else(|| not_json_rpc("an answer with neither result nor error".into()))
    }
}

#[async_trait]
impl JsonRpcClient for HttpTransport {
    type Error = TransportError;

    async fn request<T, R>(&self, method: &str, params: T) -> Result<R, TransportError>
    where
        T: std::fmt::Debug + Serialize + Send + Sync,
        R: DeserializeOwned + Send,
    {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let body =
            json!({"jsonrpc": "2.0", "id": id, "method": method, "params": serde_json::to_value(params)?});
        let (status, bytes) = self.post(&body).await?;
        Ok(serde_json::from_value(self.result(id, status, &bytes)?)?)
    }
}
