//! Whether a server is fit for the farm, and a user of it has the rights it needs and no more. Changes nothing.

use std::time::Duration;

use redis::Cmd;

use super::{
    Settings,
    keys::Keys,
    link::{Link, client},
};
use crate::{job::JobId, queue::QueueError};

/// The first release with the rights per key and command that `worker.acl` uses.
const OLDEST: (u32, u32) = (7, 0);
const WORKER: &str = "proofmill-worker";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Good,
    /// Works, until something else goes wrong.
    Risky,
    Bad,
}

/// One thing looked at: what it is, and what to do unless it is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub what: &'static str,
    pub verdict: Verdict,
    pub detail: String,
}

fn finding(what: &'static str, verdict: Verdict, detail: impl Into<String>) -> Finding {
    Finding { what, verdict, detail: detail.into() }
}

/// Looks at the server as far as the user of these settings may.
///
/// # Errors
/// `Unreachable`, `Refused` for a wrong user or password.
pub async fn inspect(settings: &Settings) -> Result<Vec<Finding>, QueueError> {
    let link = Link::new(client(settings)?);
    let keys = Keys::new(&settings.prefix);
    let () = link.call(redis::cmd("PING").arg("proofmill"), Duration::ZERO).await.map(|_: String| ())?;
    let whole = match link.call::<Vec<(String, String)>>(&configuration(), Duration::ZERO).await {
        Ok(values) => values,
        // A user that may not ask is a worker's: what is left to see is what it may do.
        Err(QueueError::Refused(_)) => return worker_itself(&link, &keys).await,
        Err(other) => return Err(other),
    };
    let value =
        |name: &str| whole.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
    let info: String = link.call(redis::cmd("INFO").arg("server"), Duration::ZERO).await?;
    let mut findings = vec![version(&info), eviction(value("maxmemory"), value("maxmemory-policy"))];
    findings.push(durability(value("appendonly")));
    findings.push(worker_seen_from_above(&link, &keys).await?);
    Ok(findings)
}

fn configuration() -> Cmd {
    let mut command = redis::cmd("CONFIG");
    command.arg("GET").arg("maxmemory").arg("maxmemory-policy").arg("appendonly");
    command
}

fn version(info: &str) -> Finding {
    let text = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or("unknown").trim();
    let mut parts = text.split('.').map_while(|part| part.parse().ok());
    let found = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if found >= OLDEST {
        finding("redis", Verdict::Good, format!("version {text}"))
    } else {
        let (major, minor) = OLDEST;
        let detail = format!("PM-QUEUE-010: version {text} is too old; install {major}.{minor} or later");
        finding("redis", Verdict::Bad, detail)
    }
}

fn eviction(limit: &str, policy: &str) -> Finding {
    let mebibytes = limit.parse::<u64>().unwrap_or(0) >> 20;
    match (policy, mebibytes) {
        ("noeviction", 0) => finding(
            "redis memory",
            Verdict::Risky,
            "evicts nothing, but has no limit; set maxmemory below the machine's memory",
        ),
        ("noeviction", limit) => {
            finding("redis memory", Verdict::Good, format!("{limit} MiB, evicts nothing"))
        }
        (policy, _) => finding(
            "redis memory",
            Verdict::Bad,
            format!(
                "PM-QUEUE-011: it may evict jobs ({policy}); CONFIG SET maxmemory-policy noeviction, and set it in redis.conf"
            ),
        ),
    }
}

fn durability(appendonly: &str) -> Finding {
    if appendonly == "yes" {
        finding("redis file", Verdict::Good, "append-only file")
    } else {
        let detail =
            "no append-only file: a restart loses the queue, which is then filled again; set appendonly yes";
        finding("redis file", Verdict::Risky, detail)
    }
}

/// What a worker must be able to do, and a sample of what it must not, none of which changes anything.
fn samples(keys: &Keys) -> (Vec<Cmd>, Vec<Cmd>) {
    let command = |name: &str, arguments: &[&str]| {
        let mut command = redis::cmd(name);
        command.arg(arguments);
        command
    };
    let (job, epoch, events) = (keys.input(JobId(0)), keys.epoch(), keys.events());
    let allowed = vec![
        command("GET", &[&epoch]),
        command("GET", &[&job]),
        command("EXISTS", &[&job]),
        command("XLEN", &[&events]),
        command("HGET", &[&keys.claims(JobId(0)), "0"]),
        command("LLEN", &[&keys.wake(circuits::shape::Shape::S3M1)]),
    ];
    let forbidden = vec![
        command("DBSIZE", &[]),
        command("CONFIG", &["GET", "maxmemory"]),
        command("XRANGE", &[&keys.dead(), "-", "+", "COUNT", "1"]),
        command("XREAD", &["COUNT", "1", "STREAMS", &events, "$"]),
        command("GET", &["somebody-elses"]),
    ];
    (allowed, forbidden)
}

fn rights(missing: Vec<String>, excess: Vec<String>) -> Finding {
    let what = "redis worker";
    if let Some(first) = missing.first() {
        let detail = format!("PM-QUEUE-012: the worker's user may not {first}; load infra/redis/worker.acl");
        finding(what, Verdict::Bad, detail)
    } else if let Some(first) = excess.first() {
        let detail = format!("PM-QUEUE-013: the worker's user may {first}; load infra/redis/worker.acl");
        finding(what, Verdict::Bad, detail)
    } else {
        finding(what, Verdict::Good, "its user has the rights it needs, and none of those it must not have")
    }
}

fn words(command: &Cmd) -> String {
    let arguments = command.args_iter().map(|argument| match argument {
        redis::Arg::Simple(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    });
    arguments.collect::<Vec<_>>().join(" ")
}

async fn worker_itself(link: &Link, keys: &Keys) -> Result<Vec<Finding>, QueueError> {
    let (allowed, forbidden) = samples(keys);
    let (mut missing, mut excess) = (Vec::new(), Vec::new());
    for (commands, expected) in [(allowed, true), (forbidden, false)] {
        for command in commands {
            let permitted = match link.call::<redis::Value>(&command, Duration::ZERO).await {
                Ok(_) => true,
                Err(QueueError::Refused(_)) => false,
                Err(other) => return Err(other),
            };
            match (permitted, expected) {
                (false, true) => missing.push(words(&command)),
                (true, false) => excess.push(words(&command)),
                _ => {}
            }
        }
    }
    Ok(vec![rights(missing, excess)])
}

/// Asks the server what the worker's user could do.
async fn worker_seen_from_above(link: &Link, keys: &Keys) -> Result<Finding, QueueError> {
    let (allowed, mut forbidden) = samples(keys);
    let mut flush = redis::cmd("FLUSHALL");
    flush.arg("ASYNC");
    forbidden.push(flush);
    let (mut missing, mut excess) = (Vec::new(), Vec::new());
    for (commands, expected) in [(allowed, true), (forbidden, false)] {
        for command in commands {
            let mut dry = redis::cmd("ACL");
            dry.arg("DRYRUN").arg(WORKER);
            for argument in command.args_iter() {
                if let redis::Arg::Simple(bytes) = argument {
                    dry.arg(bytes);
                }
            }
            let answer: String = match link.call(&dry, Duration::ZERO).await {
                Ok(answer) => answer,
                Err(QueueError::Refused(_)) => {
                    let detail = "not looked at: this user may not ask; use the coordinator's of infra/redis/worker.acl";
                    return Ok(finding("redis worker", Verdict::Risky, detail));
                }
                Err(QueueError::Unreachable(reason)) if reason.contains("not found") => {
                    let detail = format!("there is no user {WORKER}; load infra/redis/worker.acl");
                    return Ok(finding("redis worker", Verdict::Risky, detail));
                }
                Err(other) => return Err(other),
            };
            match (answer == "OK", expected) {
                (false, true) => missing.push(words(&command)),
                (true, false) => excess.push(words(&command)),
                _ => {}
            }
        }
    }
    Ok(rights(missing, excess))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_evicts_or_is_too_old_is_refused() {
        assert_eq!(eviction("1073741824", "noeviction").verdict, Verdict::Good);
        assert_eq!(eviction("0", "noeviction").verdict, Verdict::Risky);
        assert_eq!(eviction("1073741824", "allkeys-lru").verdict, Verdict::Bad);
        assert_eq!(version("redis_version:7.0.15\r\n").verdict, Verdict::Good);
        assert_eq!(version("redis_version:6.2.14\r\n").verdict, Verdict::Bad);
        assert_eq!(version("").verdict, Verdict::Bad);
        assert_eq!(durability("no").verdict, Verdict::Risky);
    }
}
