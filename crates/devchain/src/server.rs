//! Serves a node over HTTP and makes blocks at intervals. Holds no decision about the chain.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use actix_web::dev::ServerHandle;
use actix_web::http::header::ContentType;
use actix_web::{App, HttpMessage, HttpRequest, HttpResponse, HttpServer, web};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::chain::Dropped;
use crate::config::Config;
use crate::error::Error;
use crate::node::Node;
use crate::rpc::{self, RpcError};

/// Bytes of one request.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// Starts dev chains.
#[derive(Clone, Copy, Debug)]
pub struct DevChain;

/// A dev chain that runs. Dropping it stops it without waiting; [`Handle::shutdown`] waits.
#[derive(Debug)]
pub struct Handle {
    node: Arc<Node>,
    address: SocketAddr,
    server: ServerHandle,
    serving: Option<JoinHandle<std::io::Result<()>>>,
    mining: JoinHandle<()>,
    /// Dropped to end the interval miner.
    alive: Option<watch::Sender<()>>,
}

impl DevChain {
    /// Opens the chain and serves it. Needs a Tokio runtime.
    ///
    /// # Errors
    /// If the data folder or the address cannot be used.
    pub async fn start(config: Config) -> Result<Handle, Error> {
        let (bind, port) = (config.bind, config.port);
        let node = tokio::task::spawn_blocking(move || Node::open(&config))
            .await
            .map_err(|error| Error::Task(error.to_string()))??;
        let node = Arc::new(node);
        let shared = web::Data::from(node.clone());
        let server = HttpServer::new(move || {
            App::new()
                .app_data(shared.clone())
                .app_data(web::PayloadConfig::new(MAX_BODY))
                .route("/", web::post().to(answer))
                .route("/", web::get().to(HttpResponse::MethodNotAllowed))
        });
        let address = SocketAddr::new(bind, port);
        let failed = |source| Error::Bind { address: address.to_string(), source };
        let server = server.workers(2).disable_signals().shutdown_timeout(1).bind(address).map_err(failed)?;
        let address = server.addrs().first().copied().unwrap_or(address);
        let server = server.run();
        let handle = server.handle();
        let serving = tokio::spawn(server);
        let alive = watch::Sender::new(());
        let mining = tokio::spawn(mine_at_intervals(node.clone(), alive.subscribe()));
        Ok(Handle { node, address, server: handle, serving: Some(serving), mining, alive: Some(alive) })
    }
}

impl Handle {
    /// Where the chain is served, as `http://127.0.0.1:8545`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where the chain is served.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The chain itself, to be used without HTTP. Its methods may block for a disk flush.
    #[must_use]
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Calls a JSON-RPC method without HTTP.
    ///
    /// # Errors
    /// As the method has it.
    pub fn call(&self, method: &str, params: serde_json::Value) -> Result<serde_json::Value, RpcError> {
        rpc::call_method(&self.node, method, params)
    }

    /// Makes `count` blocks; returns the head's number.
    ///
    /// # Errors
    /// If they are too many, or the log cannot be written.
    pub fn mine(&self, count: u64) -> Result<u64, Error> {
        self.node.mine(count, 0)
    }

    /// Replaces the last `depth` blocks by empty ones; their transactions wait again.
    ///
    /// # Errors
    /// If fewer blocks can be undone.
    pub fn reorg(&self, depth: u64) -> Result<(), Error> {
        self.node.reorg(depth, Dropped::Requeue)
    }

    /// Remembers the present state; the number is for [`Handle::revert`].
    ///
    /// # Errors
    /// If too many snapshots are held.
    pub fn snapshot(&self) -> Result<u64, Error> {
        self.node.snapshot()
    }

    /// Returns to a snapshot and uses it up. False if there is none of this number.
    ///
    /// # Errors
    /// If the log cannot be written.
    pub fn revert(&self, id: u64) -> Result<bool, Error> {
        self.node.revert(id)
    }

    /// Moves the clock ahead for the blocks to come; returns the seconds by which it is ahead of the wall clock.
    ///
    /// # Errors
    /// If the clock would overflow.
    pub fn increase_time(&self, seconds: u64) -> Result<i64, Error> {
        self.node.increase_time(seconds)
    }

    /// Stops serving and mining. When this returns, the port is free, and the data folder too unless the
    /// caller still holds [`Handle::node`].
    ///
    /// # Errors
    /// If the server ended by itself before, with what it said.
    pub async fn shutdown(mut self) -> Result<(), Error> {
        self.server.stop(true).await;
        self.alive = None;
        // It ends between two blocks, so that none is being written when this returns.
        (&mut self.mining).await.map_err(|error| Error::Task(error.to_string()))?;
        match self.serving.take() {
            Some(serving) => serving
                .await
                .map_err(|error| Error::Task(error.to_string()))?
                .map_err(|error| Error::Task(error.to_string())),
            None => Ok(()),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.serving.is_some() {
            // The stop command is sent when this is called; the future only waits for the end.
            drop(self.server.stop(false));
        }
    }
}

async fn answer(request: HttpRequest, node: web::Data<Node>, body: web::Bytes) -> HttpResponse {
    if let Some(refusal) = refuse_web_page(&request) {
        return refusal;
    }
    let node = node.into_inner();
    match web::block(move || rpc::handle(&node, &body)).await {
        Ok(Some(value)) => HttpResponse::Ok().json(value),
        Ok(None) => HttpResponse::NoContent().finish(),
        Err(_) => HttpResponse::InternalServerError()
            .content_type(ContentType::plaintext())
            .body("PM-DEV-009: the call failed; see the log"),
    }
}

/// Keeps web pages out, which a browser on this machine would let send requests to loopback: a page cannot send
/// `application/json` to another origin unasked, and a page whose name was rebound to 127.0.0.1 has its name in `Host`.
fn refuse_web_page(request: &HttpRequest) -> Option<HttpResponse> {
    let refuse = |mut answer: actix_web::HttpResponseBuilder, why: &'static str| {
        Some(answer.content_type(ContentType::plaintext()).body(why))
    };
    if !request.content_type().eq_ignore_ascii_case("application/json") {
        return refuse(
            HttpResponse::UnsupportedMediaType(),
            "PM-DEV-030: send content-type application/json",
        );
    }
    let loopback = request.app_config().local_addr().ip().is_loopback();
    let host = request.connection_info().host().to_owned();
    if loopback && !is_local_name(&host) {
        return refuse(
            HttpResponse::Forbidden(),
            "PM-DEV-031: use the address, or localhost, as the host's name",
        );
    }
    None
}

/// Whether a `Host` is `localhost` or an IP address, with or without a port.
fn is_local_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

/// Makes a block each time the period has passed, for as long as there is one; ends when `alive` is dropped.
async fn mine_at_intervals(node: Arc<Node>, mut alive: watch::Receiver<()>) {
    let mut period = node.period();
    loop {
        let current = *period.borrow_and_update();
        let elapsed = async {
            match current {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = alive.changed() => return,
            changed = period.changed() => {
                if changed.is_err() {
                    return;
                }
                continue;
            }
            () = elapsed => {}
        }
        // Not inside the select: a block that was begun is finished before this task ends.
        let miner = node.clone();
        let mined = tokio::task::spawn_blocking(move || miner.mine(1, 0)).await;
        if let Err(error) = mined.map_err(|error| Error::Task(error.to_string())).flatten() {
            tracing::error!(%error, "no more blocks are made");
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_local_name;

    #[test]
    fn only_addresses_and_localhost_are_local_names() {
        for local in ["127.0.0.1:8545", "127.0.0.1", "localhost", "LOCALHOST:1", "[::1]:8545", "[::1]"] {
            assert!(is_local_name(local), "{local}");
        }
        for other in ["example.org", "example.org:8545", "localhost.example.org", "127.0.0.1.example.org", ""]
        {
            assert!(!is_local_name(other), "{other}");
        }
    }
}
