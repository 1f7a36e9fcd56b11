//! A typed client of the API, for the wallet and the demo. Amounts are wei; nothing that comes back is trusted here:
//! wallets check drafts with [`Draft::messages`] and promises and entries by their signatures.

use std::time::{Duration, Instant};

use l1::http::{ACCEPT, Endpoint, HeaderValue, HttpClient, HttpError, HttpLimits};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

pub mod codec;
mod documents;
mod types;

pub use types::*;

/// Leaves or operations asked for at once: their fields times this stay within the complexity limit.
const PAGE: u32 = 50;
/// A server that does not answer for so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// The status of a request beyond the limit.
const TOO_MANY_REQUESTS: u16 = 429;
/// Nothing that is asked for here is longer.
const LONGEST_ANSWER: usize = 16 << 20;

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("PM-CLIENT-001: no answer from {url}: {source}; check that the coordinator runs there")]
    Transport { url: String, source: HttpError },
    #[error("PM-CLIENT-002: the answer (HTTP {status}) is not GraphQL: {reason}; check the URL")]
    Unreadable { status: u16, reason: String },
    #[error("PM-CLIENT-004: the answer of {url} is longer than {LONGEST_ANSWER} bytes; check the URL")]
    TooLong { url: String },
    /// The request itself was refused, e.g. `RATE_LIMITED` or `BAD_USER_INPUT`.
    #[error("{code}: {message}")]
    Request { code: String, message: String, retry_after: Option<Duration> },
    /// A business refusal: nothing was changed.
    #[error("{}: {}", .0.code, .0.message)]
    Refused(UserError),
}

impl ClientError {
    /// The stable code.
    pub fn code(&self) -> &str {
        match self {
            ClientError::Transport { .. } => "PM-CLIENT-001",
            ClientError::Unreadable { .. } => "PM-CLIENT-002",
            ClientError::TooLong { .. } => "PM-CLIENT-004",
            ClientError::Request { code, .. } => code,
            ClientError::Refused(error) => &error.code,
        }
    }

    /// Whether the same call, with the same idempotency key, can succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            ClientError::Transport { source, .. } => {
                !matches!(source, HttpError::Settings(_) | HttpError::Secure { .. })
            }
            ClientError::Unreadable { status, .. } => *status >= 500,
            ClientError::TooLong { .. } => false,
            ClientError::Request { code, .. } => {
                ["RATE_LIMITED", "UNAVAILABLE", "BUSY", "HISTORY_UNAVAILABLE"].contains(&code.as_str())
            }
            ClientError::Refused(error) => error.retryable,
        }
    }

    /// How long the server asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            ClientError::Request { retry_after, .. } => *retry_after,
            ClientError::Refused(error) => error.retry_after.map(Duration::from_secs),
            _ => None,
        }
    }
}

/// The answer to a submitted operation, with its text: evidence, where the operation is not what was signed.
#[derive(Debug)]
pub struct Submitted {
    pub text: String,
    pub outcome: Result<Operation>,
}

type Result<T> = std::result::Result<T, ClientError>;

/// A client of one coordinator. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    /// Or why there is none, told with the first request.
    http: std::result::Result<HttpClient, HttpError>,
    url: String,
    patience: Duration,
}

#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    data: Value,
    #[serde(default)]
    errors: Vec<ReplyError>,
}

#[derive(Deserialize)]
struct ReplyError {
    message: String,
    #[serde(default)]
    extensions: Extensions,
}

#[derive(Default, Deserialize)]
struct Extensions {
    code: Option<String>,
}

#[derive(Deserialize)]
struct PageOf<T> {
    nodes: Vec<T>,
    #[serde(rename = "pageInfo")]
    info: PageInfo,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageInfo {
    has_next_page: bool,
    end_cursor: Option<String>,
}

/// What came back, before it is read.
struct Answer {
    status: u16,
    retry_after: Option<Duration>,
    text: Vec<u8>,
}

impl Answer {
    fn unreadable(&self, error: &serde_json::Error) -> ClientError {
        ClientError::Unreadable { status: self.status, reason: error.to_string() }
    }

    fn data(&self) -> Result<Value> {
        let reply: Reply = serde_json::from_slice(&self.text).map_err(|error| self.unreadable(&error))?;
        match reply.errors.into_iter().next() {
            None => Ok(reply.data),
            Some(error) => Err(ClientError::Request {
                code: error.extensions.code.unwrap_or_else(|| "UNKNOWN".to_owned()),
                message: error.message,
                retry_after: self.retry_after,
            }),
        }
    }
}

/// What was asked for, unless there are `userErrors` next to it.
fn part_of<T: DeserializeOwned>(mut payload: Value, part: &str) -> Result<T> {
    let unreadable =
        |error: serde_json::Error| ClientError::Unreadable { status: 200, reason: error.to_string() };
    let errors: Vec<UserError> = serde_json::from_value(payload["userErrors"].take()).map_err(unreadable)?;
    match errors.into_iter().next() {
        Some(error) => Err(ClientError::Refused(error)),
        None => serde_json::from_value(payload[part].take()).map_err(unreadable),
    }
}

impl Client {
    /// Of an address as `Server::url` gives it, e.g. `http://127.0.0.1:8080`, or one with `https://`.
    pub fn new(endpoint: impl Into<Endpoint>) -> Self {
        let Endpoint { url, tls } = endpoint.into();
        let base = url.trim_end_matches('/').trim_end_matches("/graphql");
        let url = format!("{base}/graphql");
        let limits =
            HttpLimits { timeout: PATIENCE, max_answer_bytes: LONGEST_ANSWER, ..HttpLimits::default() };
        Self { http: HttpClient::new(&Endpoint::new(&url, tls), limits), url, patience: Duration::ZERO }
    }

    /// Waits for a server that limits its callers, as long as it asks for, at most so long for one answer.
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Where the requests go.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sends a document; for what the methods below do not cover. It is sent once more where the connection ends before
    /// an answer comes: mutations carry an idempotency key, so nothing happens twice.
    ///
    /// # Errors
    /// All but `Refused`.
    pub async fn request<T: DeserializeOwned>(&self, document: &str, variables: Value) -> Result<T> {
        let body = json!({ "query": document, "variables": variables }).to_string();
        let answer = self.post(body).await?;
        serde_json::from_value(answer.data()?).map_err(|error| answer.unreadable(&error))
    }

    async fn post(&self, body: String) -> Result<Answer> {
        let begun = Instant::now();
        loop {
            let answer = self.post_once(body.clone()).await?;
            let wait = answer.retry_after.unwrap_or(Duration::from_secs(1));
            if answer.status != TOO_MANY_REQUESTS || begun.elapsed() + wait > self.patience {
                return Ok(answer);
            }
            tokio::time::sleep(wait).await;
        }
    }

    async fn post_once(&self, body: String) -> Result<Answer> {
        let lost = |source| match source {
            HttpError::TooLong { .. } => ClientError::TooLong { url: self.url.clone() },
            source => ClientError::Transport { url: self.url.clone(), source },
        };
        let http = self.http.as_ref().map_err(|error| lost(error.clone()))?;
        let accept = [(ACCEPT, HeaderValue::from_static("application/graphql-response+json"))];
        let answer = match http.post(body.clone().into_bytes(), &accept).await {
            Err(HttpError::Cut { .. }) => http.post(body.into_bytes(), &accept).await,
            outcome => outcome,
        };
        let answer = answer.map_err(lost)?;
        let (status, retry_after, text) = (answer.status.as_u16(), answer.retry_after, answer.body);
        Ok(Answer { status, retry_after, text })
    }

    /// One root field of the answer.
    async fn field<T: DeserializeOwned>(&self, document: &str, name: &str, variables: Value) -> Result<T> {
        let mut data: Value = self.request(document, variables).await?;
        serde_json::from_value(data[name].take())
            .map_err(|error| ClientError::Unreadable { status: 200, reason: error.to_string() })
    }

    /// A result with `userErrors` next to what was asked for.
    async fn outcome<T: DeserializeOwned>(
        &self,
        document: &str,
        [name, part]: [&str; 2],
        variables: Value,
    ) -> Result<T> {
        part_of(self.field(document, name, variables).await?, part)
    }

    /// The body that submits a signed draft. Keep it before it is sent: the same bytes again never pay twice.
    pub fn submission(kind: Kind, request: &Submit) -> String {
        let document = match kind {
            Kind::Send => documents::SEND,
            Kind::Withdraw => documents::WITHDRAW,
        };
        json!({ "query": document, "variables": { "input": request } }).to_string()
    }

    /// Sends a body of [`Client::submission`] as it is.
    ///
    /// # Errors
    /// Where there is no answer at all.
    pub async fn submit(&self, kind: Kind, body: String) -> Result<Submitted> {
        let answer = self.post(body).await?;
        let name = match kind {
            Kind::Send => "send",
            Kind::Withdraw => "withdraw",
        };
        let outcome = answer.data().and_then(|mut data| part_of(data[name].take(), "operation"));
        Ok(Submitted { text: String::from_utf8_lossy(&answer.text).into_owned(), outcome })
    }

    /// # Errors
    /// As [`Client::request`], like all methods without their own section.
    pub async fn system(&self) -> Result<System> {
        self.field(documents::SYSTEM, "system", json!({})).await
    }

    /// The balances and all coins of an address.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn account(&self, address: [u8; 20]) -> Result<Account> {
        #[derive(Deserialize)]
        struct Part {
            balances: Balances,
            coins: PageOf<Coin>,
        }
        let mut account = Account { address, balances: Balances::default(), coins: Vec::new() };
        let mut after = None;
        loop {
            let variables = json!({ "address": codec::hex_text(&address), "first": PAGE, "after": after });
            let part: Part = self.field(documents::ACCOUNT, "account", variables).await?;
            account.balances = part.balances;
            account.coins.extend(part.coins.nodes);
            after = part.coins.info.end_cursor.filter(|_| part.coins.info.has_next_page);
            if after.is_none() {
                return Ok(account);
            }
        }
    }

    /// All operations of an address, newest first; promises are left out.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn history(&self, address: [u8; 20]) -> Result<Vec<OperationSummary>> {
        self.newest(address, usize::MAX).await
    }

    /// The newest operations of an address, at most so many.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn newest(&self, address: [u8; 20], most: usize) -> Result<Vec<OperationSummary>> {
        #[derive(Deserialize)]
        struct Part {
            operations: PageOf<OperationSummary>,
        }
        let mut operations = Vec::new();
        let mut after = None;
        while operations.len() < most {
            let first = u32::try_from(most - operations.len()).unwrap_or(PAGE).min(PAGE);
            let variables = json!({ "address": codec::hex_text(&address), "first": first, "after": after });
            let part: Part = self.field(documents::HISTORY, "account", variables).await?;
            operations.extend(part.operations.nodes);
            after = part.operations.info.end_cursor.filter(|_| part.operations.info.has_next_page);
            if after.is_none() {
                break;
            }
        }
        operations.truncate(most);
        Ok(operations)
    }

    /// # Errors
    /// As [`Client::request`].
    pub async fn directory_entry(&self, owner: [u8; 20]) -> Result<Option<DirectoryEntry>> {
        let variables = json!({ "owner": codec::hex_text(&owner) });
        self.field(documents::DIRECTORY_ENTRY, "directoryEntry", variables).await
    }

    /// By the id as it was given, 32 bytes as 0x-hex.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn operation(&self, id: &str) -> Result<Option<Operation>> {
        self.field(documents::OPERATION, "operation", json!({ "id": id })).await
    }

    /// # Errors
    /// As [`Client::request`].
    pub async fn batch(&self, number: u32) -> Result<Option<Batch>> {
        self.field(documents::BATCH, "batch", json!({ "number": number })).await
    }

    /// # Errors
    /// `Refused`, else as [`Client::request`].
    pub async fn ownership_proof(&self, index: u64, batch: Option<u32>) -> Result<OwnershipProof> {
        let variables = json!({ "index": index.to_string(), "batch": batch });
        self.outcome(documents::OWNERSHIP_PROOF, ["ownershipProof", "proof"], variables).await
    }

    /// # Errors
    /// `Refused`, else as [`Client::request`].
    pub async fn prepare_send(&self, request: &PrepareSend) -> Result<Draft> {
        self.outcome(documents::PREPARE_SEND, ["prepareSend", "draft"], json!({ "input": request })).await
    }

    /// # Errors
    /// `Refused`, else as [`Client::request`].
    pub async fn prepare_withdraw(&self, request: &PrepareWithdraw) -> Result<Draft> {
        self.outcome(documents::PREPARE_WITHDRAW, ["prepareWithdraw", "draft"], json!({ "input": request }))
            .await
    }

    /// Sends a payment: [`Draft::signed`] makes the request.
    ///
    /// # Errors
    /// `Refused`, else as [`Client::request`].
    pub async fn send(&self, request: &Submit) -> Result<Operation> {
        self.outcome(documents::SEND, ["send", "operation"], json!({ "input": request })).await
    }

    /// Submits a withdrawal: [`Draft::signed`] makes the request.
    ///
    /// # Errors
    /// `Refused`, else as [`Client::request`].
    pub async fn withdraw(&self, request: &Submit) -> Result<Operation> {
        self.outcome(documents::WITHDRAW, ["withdraw", "operation"], json!({ "input": request })).await
    }

    /// # Errors
    /// `Refused`, else as [`Client::request`].
    pub async fn register_key(&self, request: &RegisterKey) -> Result<DirectoryEntry> {
        self.outcome(documents::REGISTER_KEY, ["registerKey", "entry"], json!({ "input": request })).await
    }
}
