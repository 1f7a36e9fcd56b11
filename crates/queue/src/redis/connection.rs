//! Connections that come back: each call takes the one that is there or makes a new one, and one that failed is dropped.
//!
//! An answer that means "not the server you want" (a demoted master, one that still loads, one that may not write) drops
//! all connections of its endpoint: behind the same name another server may be the master now, and a connection that only
//! reads would never notice.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, IntoConnectionInfo, Pipeline, RedisError,
    TlsCertificates, aio::MultiplexedConnection,
};
use tokio::sync::Mutex;

use super::{Settings, error};
use crate::QueueError;

/// A server that owes an answer for this long is gone, or the network to it is cut.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
const FIRST_BACKOFF: Duration = Duration::from_millis(20);
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// A client for these settings; connects to nothing yet.
///
/// # Errors
/// `Unreachable` for a URL or certificate that cannot be read.
pub(super) fn client(settings: &Settings) -> Result<Client, QueueError> {
    let mut info = settings.url.as_str().into_connection_info().map_err(error)?;
    // Its library's name would be one more right that a user needs.
    let mut redis = info.redis_settings().clone().set_skip_set_lib_name();
    if let Some(password) = &settings.password {
        redis = redis.set_password(password);
    }
    info = info.set_redis_settings(redis);
    // The client takes the process's; the first caller in the process chooses.
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    match &settings.authority {
        Some(pem) => {
            let certificates = TlsCertificates { client_tls: None, root_cert: Some(pem.clone()) };
            Client::build_with_tls(info, certificates).map_err(error)
        }
        None => Client::open(info).map_err(error),
    }
}

/// Whether the server says that another one, or this one later, is to be asked.
fn is_wrong_server(failure: &RedisError) -> bool {
    let codes = [
        "READONLY",
        "MASTERDOWN",
        "LOADING",
        "MISCONF",
        "NOREPLICAS",
        "CLUSTERDOWN",
        "MOVED",
        "ASK",
        "TRYAGAIN",
    ];
    match failure.code() {
        Some(code) => codes.contains(&code),
        // How a script is told so, without a code.
        None => codes.iter().any(|code| failure.to_string().contains(code)),
    }
}

/// A server under one name, and the user there.
pub(super) struct Endpoint {
    client: Client,
    /// Rises when all connections are to be made anew.
    generation: AtomicU64,
    /// Whether the server may never close these connections to save memory, if it lets us ask for that.
    no_evict: bool,
}

impl Endpoint {
    pub(super) fn new(client: Client, no_evict: bool) -> Arc<Self> {
        Arc::new(Self { client, generation: AtomicU64::new(0), no_evict })
    }
}

/// What a connection knows of itself.
#[derive(Default)]
struct State {
    connection: Option<(MultiplexedConnection, u64)>,
    /// Set by a failure to connect: when the next try may begin, and the pause after that.
    not_before: Option<(Instant, Duration)>,
}

/// One connection. Callers that block on the server have one for themselves.
pub(super) struct Connection {
    endpoint: Arc<Endpoint>,
    state: Mutex<State>,
}

impl Connection {
    pub(super) fn new(endpoint: &Arc<Endpoint>) -> Self {
        Self { endpoint: Arc::clone(endpoint), state: Mutex::default() }
    }

    /// Sends the command and waits for its answer; `blocks`: how long the server may take on purpose. It may be carried out
    /// twice when a connection breaks, as every message of the queue may come twice.
    pub(super) async fn call<T: FromRedisValue>(
        &self,
        command: &Cmd,
        blocks: Duration,
    ) -> Result<T, QueueError> {
        self.send(blocks, |mut connection| async move { command.query_async(&mut connection).await }).await
    }

    /// As `call`, many commands in one round trip.
    pub(super) async fn call_all<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, QueueError> {
        self.send(Duration::ZERO, |mut connection| async move { commands.query_async(&mut connection).await })
            .await
    }

    async fn send<T, F: Future<Output = Result<T, RedisError>>>(
        &self,
        blocks: Duration,
        query: impl Fn(MultiplexedConnection) -> F,
    ) -> Result<T, QueueError> {
        let mut first = true;
        loop {
            let (connection, used_before) = self.connection().await?;
            // The client's own response timeout is off: it would cut a blocking read short and lose its answer.
            match tokio::time::timeout(blocks + TIMEOUT, query(connection)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(failure)) => {
                    if is_wrong_server(&failure) {
                        self.endpoint.generation.fetch_add(1, Ordering::AcqRel);
                    }
                    if failure.is_io_error() || failure.is_unrecoverable_error() {
                        self.state.lock().await.connection = None;
                    }
                    // A connection that died unused says nothing about the server.
                    if !(first && used_before && failure.is_connection_dropped()) {
                        return Err(error(failure));
                    }
                    first = false;
                }
                Err(_) => {
                    self.state.lock().await.connection = None;
                    return Err(QueueError::Unreachable(format!("no answer in {:?}", blocks + TIMEOUT)));
                }
            }
        }
    }

    /// And whether it served before.
    async fn connection(&self) -> Result<(MultiplexedConnection, bool), QueueError> {
        let mut state = self.state.lock().await;
        let generation = self.endpoint.generation.load(Ordering::Acquire);
        if let Some((connection, of)) = &state.connection
            && *of == generation
        {
            return Ok((connection.clone(), true));
        }
        state.connection = None;
        if let Some((then, _)) = state.not_before {
            tokio::time::sleep_until(then.into()).await;
        }
        let config =
            AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(Some(TIMEOUT));
        let connected = self.endpoint.client.get_multiplexed_async_connection_with_config(&config).await;
        match connected {
            Ok(mut connection) => {
                if self.endpoint.no_evict {
                    // A managed server may forbid it: then its own limits hold, as the documentation says.
                    let mut command = redis::cmd("CLIENT");
                    command.arg("NO-EVICT").arg("ON");
                    if let Err(refused) = command.query_async::<()>(&mut connection).await {
                        tracing::debug!(%refused, "the server may close this connection to save memory");
                    }
                }
                *state = State { connection: Some((connection.clone(), generation)), not_before: None };
                Ok((connection, false))
            }
            Err(failure) => {
                let pause =
                    state.not_before.map_or(FIRST_BACKOFF, |(_, pause)| (2 * pause).min(LONGEST_BACKOFF));
                state.not_before = Some((Instant::now() + pause, pause));
                Err(error(failure))
            }
        }
    }
}
