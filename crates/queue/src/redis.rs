//! The queue on Redis Streams, for a farm on many machines.
//!
//! A worker's credential belongs to its pool and may do six things: `AUTH`, `HELLO`, `PING`, add to the pool's events, read
//! the pool's jobs and inputs. Everything that needs more (trimming, replacing, deleting) is the coordinator's. There are no
//! consumer groups, claims, locks or scripts on the worker's side: each stream has one reader with a cursor of its own.
//! The keys, all under the prefix of the deployment:
//!
//! | key | what | worker may |
//! |---|---|---|
//! | `pool:POOL:events` | stream of what the pool's workers report; trimmed by acknowledging | write |
//! | `pool:POOL:jobs:INSTANCE` | stream of directives to one worker, with a time to live | read |
//! | `pool:POOL:input:JOB` | encoded input of a job in flight in the pool, with a time to live | read |
//!
//! The list of pools is the store's, so nothing is scanned; streams and inputs whose worker or coordinator died expire.
//! The coordinator polls all pools' events with one script, which looks at type, length, bytes and last id of a stream
//! before it reads any of it, and replaces what is oversized, unwritable or foreign.
//!
//! | file | purpose |
//! |---|---|
//! | `connection` | connections that come back |
//! | `keys` | names, and the scripts over them |
//! | `acl` | the users' rights, as Redis and managed services take them |
//! | `coordinator`, `worker` | the two sides |
//! | `inspect` | whether a server is fit for the farm |

mod acl;
mod connection;
mod coordinator;
mod inspect;
mod keys;
mod worker;

use std::time::Duration;

pub use acl::{PoolUser, SetUser, pool_user, remove_pool_user, set_pool_user};
pub use coordinator::RedisCoordinator;
pub use inspect::{Finding, Verdict, inspect, inspect_pool};
pub use keys::deployment_prefix;
pub use worker::RedisWorker;

use super::QueueError;

/// What the queue holds at most, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Events of one pool: more, and its stream is replaced by an empty one. Workers trim to half of it.
    pub events: usize,
    /// Bytes of a pool's stream of events, in Redis' memory.
    pub event_bytes: usize,
    /// Events and bytes of one pool that one poll reads.
    pub poll_events: usize,
    pub poll_bytes: usize,
    /// Time between two polls of streams that were empty.
    pub poll_interval: Duration,
    /// Directives of one worker; the oldest give way.
    pub directives: usize,
    /// Directives and inputs that nobody renews expire after this.
    pub ttl: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            events: 32_768,
            event_bytes: 16 << 20,
            poll_events: 256,
            poll_bytes: 256 << 10,
            poll_interval: Duration::from_millis(20),
            directives: 64,
            ttl: Duration::from_secs(3600),
        }
    }
}

/// Where the queue is.
#[derive(Clone)]
pub struct Settings {
    /// `redis://`, `rediss://` or `unix://`, with user and password unless `password` is given.
    pub url: String,
    pub password: Option<String>,
    /// PEM of the authority that signed the server's certificate; the system's and Mozilla's by default.
    pub authority: Option<Vec<u8>>,
    /// First part of every key.
    pub prefix: String,
    pub limits: Limits,
}

impl Settings {
    pub fn new(url: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            password: None,
            authority: None,
            prefix: prefix.into(),
            limits: Limits::default(),
        }
    }
}

/// Never shows the password, which may be part of the URL.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("prefix", &self.prefix)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Whether the server answers this user.
///
/// # Errors
/// `Unreachable`, `Refused`.
pub async fn ping(settings: &Settings) -> Result<(), QueueError> {
    let connection =
        connection::Connection::new(&connection::Endpoint::new(connection::client(settings)?, false));
    connection.call::<String>(&::redis::cmd("PING"), Duration::ZERO).await.map(drop)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A server that answers and says no to this user is told apart from one that is not there: only a person can help.
fn error(error: redis::RedisError) -> QueueError {
    let refused = matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"))
        || error.kind() == redis::ErrorKind::AuthenticationFailed
        // How a script is told so, without a code.
        || error.to_string().contains("user executing the script can't");
    if refused { QueueError::Refused(error.to_string()) } else { QueueError::Unreachable(error.to_string()) }
}
