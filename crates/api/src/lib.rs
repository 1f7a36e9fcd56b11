//! The HTTP face of the coordinator: GraphQL over HTTP to the letter, GraphiQL from our own files, health and metrics.
//!
//! Invariant: whatever comes in over the network is answered within a bounded time and with bounded work, in the shape
//! that was asked for; a request that is refused has changed nothing. No rule of the ledger is here, and nothing of the
//! coordinator: the API is written against the traits of [`service`], which the coordinator implements.
//!
//! | file | part |
//! |---|---|
//! | [`service`] | what the outside may ask of a coordinator, and what operators may |
//! | `server` | the routes, `serve` |
//! | `http` | `/graphql`: from an HTTP request to an HTTP response |
//! | `accept` | which media type answers |
//! | `request` | body or query string → document, operation name, variables |
//! | `document` | bound depth and size before anything walks the document; the shape of the answer |
//! | `origin` | whose pages may read the answers |
//! | `refusal` | errors of the request, with their codes and statuses |
//! | `proxy` | who asks, behind proxies |
//! | `rate_limit` | buckets of requests and of processor time for each client |
//! | `execution` | runs what was asked at the cost of who asks |
//! | `readers` | the threads of queries |
//! | `graphql` | the schema |
//! | `assets` | GraphiQL |
//! | `admin` | the operators' GraphQL |
//! | `token` | what operators show to be obeyed |
//! | `metrics` | what `/metrics` tells |
//!
//! Sources: GraphQL specification (October 2021), GraphQL-over-HTTP (draft after the 2025 watershed), RFC 9110.

use std::{net::IpAddr, time::Duration};

use serde_json::Map;

mod accept;
pub mod admin;
mod assets;
mod document;
mod execution;
pub mod graphql;
mod http;
pub mod metrics;
mod origin;
mod proxy;
mod rate_limit;
mod readers;
mod refusal;
mod request;
mod server;
pub mod service;
pub mod token;

use document::Types;
pub use origin::{BadOrigin, Origin};
pub use proxy::{BadNetwork, Network, Proxies, ProxyHeader};
pub use rate_limit::{Budget, RateLimit};
pub use server::{ApiError, Server, serve, serve_metrics};

/// Reads a body of a POST as `/graphql` does, up to the execution.
///
/// # Errors
/// The code of the refusal.
pub fn check_body(body: &[u8]) -> Result<(), &'static str> {
    let checked =
        request::from_body(body).and_then(|request::Parameters { query, operation_name, variables }| {
            document::bound(&query, operation_name.as_deref(), variables, &Types::default())
        });
    checked.map(drop).map_err(|refusal| refusal.code())
}

/// Reads a document as `/graphql` does, up to the execution.
///
/// # Errors
/// The code of the refusal.
pub fn check_document(text: &str) -> Result<(), &'static str> {
    document::bound(text, None, Map::new(), &Types::default()).map(drop).map_err(|refusal| refusal.code())
}

/// What the operator of the API decides.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    pub bind: IpAddr,
    /// 0: any free port.
    pub port: u16,
    /// Whether `/graphiql` is served.
    pub graphiql: bool,
    /// For each IPv4 address or IPv6 /64; none: no limit.
    pub rate_limit: Option<RateLimit>,
    /// Processor time of a client's queries; none: no limit.
    pub read_budget: Option<Budget>,
    /// … and of its mutations, which have one of their own: whoever reads much can still pay.
    pub send_budget: Option<Budget>,
    /// Threads on which queries are executed.
    pub read_threads: usize,
    /// Whose word about the client's address is taken.
    pub proxies: Proxies,
    /// Whose pages may read the answers.
    pub allowed_origins: Vec<Origin>,
    /// The largest body of a request, in bytes.
    pub max_body: usize,
    /// For reading a body, and again for executing it.
    pub timeout: Duration,
    /// Threads that answer.
    pub threads: usize,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            bind: IpAddr::from([127, 0, 0, 1]),
            port: 0,
            graphiql: true,
            rate_limit: Some(RateLimit { per_second: 200, burst: 1000 }),
            read_budget: Some(Budget {
                per_second: Duration::from_millis(10),
                burst: Duration::from_millis(500),
            }),
            send_budget: Some(Budget {
                per_second: Duration::from_millis(200),
                burst: Duration::from_secs(2),
            }),
            read_threads: 2,
            proxies: Proxies::default(),
            allowed_origins: Vec::new(),
            max_body: 256 * 1024,
            timeout: Duration::from_secs(20),
            threads: 2,
        }
    }
}
