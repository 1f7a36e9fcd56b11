//! The queue on Redis Streams: dispatch for a farm on many machines.
//!
//! Everything that changes more than one key is one script, so that a process that dies leaves nothing half done. The keys,
//! all under the prefix of the deployment:
//!
//! | key | what |
//! |---|---|
//! | `epoch` | a random name for what Redis holds: another one, or none, means that it was wiped |
//! | `jobs:<circuit>`, `jobs:<circuit>:urgent` | streams of entries with one consumer group |
//! | `job:<id>` | the input, there before its entry |
//! | `claims:<id>` | attempt → where its entry is, until it ends |
//! | `wake:<circuit>` | a token for each entry, for those who wait |
//! | `events` | the stream of what workers report, trimmed by acknowledging |
//! | `ctl:<worker>` | the mailbox of a worker, with a time to live |
//! | `alive:<worker>` | there as long as the worker reports |
//! | `dead` | the last messages that could not be read, with the reason |
//!
//! Who waits for an entry waits on `wake`, not on the streams: a reply that is lost on a cut connection then costs a token
//! and not an entry. A script that finds nothing drops the tokens, so none is stale and none is missing.
//! An entry that excludes its claimer goes to the end of its stream, and the claimer pauses before it looks again.
//! `XAUTOCLAIM` is not used: a long proof looks idle to it. The farm's leases decide; the sweep only releases what workers
//! hold that did not report for long. Undelivered entries are never deleted, since that breaks the lag that autoscaling reads.
//!
//! | file | purpose |
//! |---|---|
//! | `link` | connections that come back |
//! | `keys` | names, and the scripts over them |
//! | `coordinator`, `worker` | the two sides |
//! | `inspect` | whether a server is fit for the farm |

mod coordinator;
mod inspect;
mod keys;
mod link;
mod worker;

use std::time::Duration;

pub use coordinator::RedisCoordinator;
pub use inspect::{Finding, Verdict, inspect};
pub use keys::deployment_prefix;
pub use worker::{RedisWorker, deployments};

use super::QueueError;

/// What the queue holds at most, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entries of one circuit and priority that nobody claimed.
    pub entries: usize,
    /// Events nobody acknowledged.
    pub events: usize,
    /// Events in one batch.
    pub batch: usize,
    /// Unread controls of one worker.
    pub controls: usize,
    /// How long a mailbox waits for its worker.
    pub control_ttl: Duration,
    /// Unreadable messages that are kept.
    pub dead: usize,
    /// A worker that did not report for so long is gone: the sweep releases what it holds.
    pub gone_after: Duration,
    pub sweep_every: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 4096,
            events: 16_384,
            batch: 256,
            controls: 256,
            control_ttl: Duration::from_secs(600),
            dead: 1000,
            gone_after: Duration::from_secs(300),
            sweep_every: Duration::from_secs(5),
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

/// A server that answers and says no is told apart from one that is not there: only a person can help.
fn error(error: redis::RedisError) -> QueueError {
    let refused = matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"))
        || error.kind() == redis::ErrorKind::AuthenticationFailed
        // How a script is told so, without a code.
        || error.to_string().contains("user executing the script can't");
    if refused { QueueError::Refused(error.to_string()) } else { QueueError::Unreachable(error.to_string()) }
}
