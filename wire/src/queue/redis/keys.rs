//! The names of the keys and the scripts over them.
//!
//! Scripts go out as text each time: a Redis that was restarted has forgotten them, and workers need no right to load any.

use circuits::shape::Shape;
use redis::{Cmd, ToRedisArgs};

use crate::job::{JobId, WorkerId};

/// The one consumer group of each stream of entries.
pub(super) const GROUP: &str = "workers";
/// The set of prefixes in use on a server, so that a worker finds its deployment.
pub(super) const DEPLOYMENTS: &str = "pm:deployments";
/// Wake-ups that wait for a worker at most: more workers than that are not idle at once.
pub(super) const MOST_WAKES: usize = 1024;
/// First bytes of an unreadable message that are kept.
pub(super) const KEPT_BYTES: usize = 256;

/// The prefix of the deployment with this chain and contract.
pub fn deployment_prefix(chain_id: u64, contract: &str) -> String {
    format!("pm:{chain_id}:{}", contract.to_ascii_lowercase())
}

#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: format!("{}:", prefix.trim_end_matches(':')) }
    }

    /// With the colon at its end.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    fn named(&self, name: impl std::fmt::Display) -> String {
        format!("{}{name}", self.prefix)
    }

    pub(super) fn epoch(&self) -> String {
        self.named("epoch")
    }

    pub(super) fn events(&self) -> String {
        self.named("events")
    }

    pub(super) fn dead(&self) -> String {
        self.named("dead")
    }

    pub(super) fn input(&self, job: JobId) -> String {
        self.named(format_args!("job:{job}"))
    }

    pub(super) fn claims(&self, job: JobId) -> String {
        self.named(format_args!("claims:{job}"))
    }

    pub(super) fn mailbox(&self, worker: &WorkerId) -> String {
        self.named(format_args!("ctl:{worker}"))
    }

    pub(super) fn alive(&self, worker: &WorkerId) -> String {
        self.named(format_args!("alive:{worker}"))
    }

    pub(super) fn wake(&self, shape: Shape) -> String {
        self.named(format_args!("wake:{shape}"))
    }

    /// Urgent first.
    pub(super) fn streams(&self, shape: Shape) -> [String; 2] {
        [self.named(format_args!("jobs:{shape}:urgent")), self.named(format_args!("jobs:{shape}"))]
    }
}

/// The scripts, each with what its keys and arguments are in its first lines.
pub(super) mod script {
    pub(in super::super) const FOUND: &str = include_str!("lua/found.lua");
    pub(in super::super) const PUBLISH: &str = include_str!("lua/publish.lua");
    pub(in super::super) const CLAIM: &str = include_str!("lua/claim.lua");
    pub(in super::super) const BURY: &str = include_str!("lua/bury.lua");
    pub(in super::super) const EMIT: &str = include_str!("lua/emit.lua");
    pub(in super::super) const RETIRE: &str = include_str!("lua/retire.lua");
    pub(in super::super) const CONTROL: &str = include_str!("lua/control.lua");
    pub(in super::super) const DEPTH: &str = include_str!("lua/depth.lua");
    pub(in super::super) const SWEEP: &str = include_str!("lua/sweep.lua");
}

/// Keys travel as arguments: a declared key asks for the right to read and to write it, which workers do not have for most.
/// (The price: no Redis Cluster, which one coordinator has no use for.)
const PRELUDE: &str = "local KEYS, ARGV = (function(all) local keys, rest, n = {}, {}, tonumber(all[1]) \
                       for i = 2, #all do if i <= n + 1 then keys[i - 1] = all[i] else rest[i - n - 1] = all[i] end end \
                       return keys, rest end)(ARGV)\n";

/// What a script says to Redis: its comments and indentation need not travel with every call.
fn code(script: &str) -> String {
    let mut code = PRELUDE.to_owned();
    for line in script.lines().map(str::trim_start).filter(|line| !line.starts_with("--")) {
        code.push_str(line);
        code.push('\n');
    }
    code
}

/// A call of a script; its arguments are appended.
pub(super) fn eval<K: ToRedisArgs>(script: &str, keys: &[K]) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(code(script)).arg(0).arg(keys.len()).arg(keys);
    command
}
