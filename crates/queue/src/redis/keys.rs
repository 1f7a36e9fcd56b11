//! The names of the keys and the scripts over them.
//!
//! Scripts travel as text with each call: a Redis that was restarted has forgotten them.

use redis::{Cmd, ToRedisArgs};
use wire::{InstanceName, JobId, PoolName, WorkerId};

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

    fn of_pool(&self, pool: &PoolName, name: impl std::fmt::Display) -> String {
        format!("{}pool:{pool}:{name}", self.prefix)
    }

    /// The sentinel key: its absence shows that Redis was wiped.
    pub(super) fn kept(&self) -> String {
        format!("{}queue:kept", self.prefix)
    }

    pub(super) fn events(&self, pool: &PoolName) -> String {
        self.of_pool(pool, "events")
    }

    pub(super) fn jobs(&self, worker: &WorkerId) -> String {
        self.of_pool(&worker.pool, format_args!("jobs:{}", worker.instance))
    }

    pub(super) fn input(&self, pool: &PoolName, job: JobId) -> String {
        self.of_pool(pool, format_args!("input:{job}"))
    }

    /// What an ACL calls the keys of all workers of a pool.
    pub(super) fn all_jobs(&self, pool: &PoolName) -> String {
        self.of_pool(pool, "jobs:*")
    }

    pub(super) fn all_inputs(&self, pool: &PoolName) -> String {
        self.of_pool(pool, "input:*")
    }

    /// A key that is some worker's of the pool.
    pub(super) fn sample_jobs(&self, pool: &PoolName) -> String {
        let instance = InstanceName::of_process("sample", wire::ProcessId(0));
        self.jobs(&WorkerId::new(pool.clone(), instance))
    }
}

/// The scripts, each with what its keys and arguments are in its first lines.
pub(super) mod script {
    pub(in super::super) const POLL: &str = include_str!("lua/poll.lua");
    pub(in super::super) const SEND: &str = include_str!("lua/send.lua");
}

/// What a script says to Redis: its comments and indentation need not travel with every call.
fn code(script: &str) -> String {
    let mut code = String::new();
    for line in script.lines().map(str::trim_start).filter(|line| !line.starts_with("--")) {
        code.push_str(line);
        code.push('\n');
    }
    code
}

/// A call of a script; its arguments are appended.
pub(super) fn eval<K: ToRedisArgs>(script: &str, keys: &[K]) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(code(script)).arg(keys.len()).arg(keys);
    command
}
