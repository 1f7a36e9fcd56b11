//! Connections that come back: each call takes the one that is there or makes a new one, and one that failed is dropped.

use std::time::{Duration, Instant};

use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, IntoConnectionInfo, TlsCertificates,
    aio::MultiplexedConnection,
};
use tokio::sync::Mutex;

use super::{Settings, error};
use crate::queue::QueueError;

/// A server that owes an answer for this long is gone, or the network to it is cut.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

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
    // The client takes the process's; whoever chose one before has the say.
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

/// What a link knows of its connection.
#[derive(Default)]
struct Line {
    connection: Option<MultiplexedConnection>,
    /// Set by a failure to connect: when the next try may begin, and the pause after that.
    not_before: Option<(Instant, Duration)>,
}

/// One connection. Callers that block on the server have a link of their own.
pub(super) struct Link {
    client: Client,
    line: Mutex<Line>,
}

impl Link {
    pub(super) fn new(client: Client) -> Self {
        Self { client, line: Mutex::default() }
    }

    /// Sends the command and waits for its answer; `blocks`: how long the server may take on purpose. It may be carried out
    /// twice when a connection breaks, as every message of the queue may come twice.
    pub(super) async fn call<T: FromRedisValue>(
        &self,
        command: &Cmd,
        blocks: Duration,
    ) -> Result<T, QueueError> {
        let mut first = true;
        loop {
            let (mut connection, used_before) = self.connection().await?;
            // The client's own response timeout is off: it would cut a blocking read short and lose its answer.
            match tokio::time::timeout(blocks + PATIENCE, command.query_async(&mut connection)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(failure)) => {
                    if failure.is_io_error() || failure.is_unrecoverable_error() {
                        self.drop_connection().await;
                    }
                    // A connection that died while nobody used it says nothing about the server.
                    if !(first && used_before && failure.is_connection_dropped()) {
                        return Err(error(failure));
                    }
                    first = false;
                }
                Err(_) => {
                    self.drop_connection().await;
                    return Err(QueueError::Unreachable(format!("no answer in {:?}", blocks + PATIENCE)));
                }
            }
        }
    }

    /// And whether it served before.
    async fn connection(&self) -> Result<(MultiplexedConnection, bool), QueueError> {
        let mut line = self.line.lock().await;
        if let Some(connection) = &line.connection {
            return Ok((connection.clone(), true));
        }
        if let Some((then, _)) = line.not_before {
            tokio::time::sleep_until(then.into()).await;
        }
        let config =
            AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(Some(PATIENCE));
        match self.client.get_multiplexed_async_connection_with_config(&config).await {
            Ok(connection) => {
                *line = Line { connection: Some(connection.clone()), not_before: None };
                Ok((connection, false))
            }
            Err(failure) => {
                let pause = line.not_before.map_or(FIRST_PAUSE, |(_, pause)| (2 * pause).min(LONGEST_PAUSE));
                line.not_before = Some((Instant::now() + pause, pause));
                Err(error(failure))
            }
        }
    }

    async fn drop_connection(&self) {
        self.line.lock().await.connection = None;
    }
}
