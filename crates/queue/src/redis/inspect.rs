//! Whether a server is fit for the farm, and a pool's user has the rights it needs and no more. Changes nothing.

use std::time::Duration;

use redis::Cmd;
use wire::{JobId, PoolName};

use super::{
    Settings, acl,
    connection::{Connection, Endpoint, client},
    keys::Keys,
};
use crate::QueueError;

/// The first release with the rights per key and command that a pool's user has.
const OLDEST: (u32, u32) = (7, 0);
/// What part of its memory, in percent, the server may let all clients together hold: it counts a sixth of what some of
/// their commands take (`infra/redis/redis.conf`), so at 17 a worker could fill it.
const CLIENT_PERCENT: u64 = 12;
/// Bytes of unread answers and of a command not complete that one client may hold.
const OUTPUT_BUFFER: u64 = 256 << 20;
const QUERY_BUFFER: u64 = 64 << 20;

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

/// Looks at the server as far as the user of these settings may, and at the users of these pools.
///
/// # Errors
/// `Unreachable`; `Refused` for a wrong user or password, or one that may not ask: a pool's user is looked at with
/// [`inspect_pool`].
pub async fn inspect(settings: &Settings, pools: &[PoolName]) -> Result<Vec<Finding>, QueueError> {
    let connection = connect(settings).await?;
    let keys = Keys::new(&settings.prefix);
    let whole: Vec<(String, String)> = connection.call(&configuration(), Duration::ZERO).await?;
    let value =
        |name: &str| whole.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
    let info: String = connection.call(redis::cmd("INFO").arg("server"), Duration::ZERO).await?;
    let mut findings = vec![version(&info), eviction(value("maxmemory"), value("maxmemory-policy"))];
    findings.push(durability(value("appendonly")));
    findings.push(buffers(
        value("maxmemory"),
        value("maxmemory-clients"),
        value("client-output-buffer-limit"),
        value("client-query-buffer-limit"),
    ));
    for pool in pools {
        let user = acl::pool_user(&settings.prefix, pool).name;
        findings.push(pool_seen_from_above(&connection, &keys, pool, &user).await?);
    }
    Ok(findings)
}

/// Looks at the rights of a pool's user, as that user.
///
/// # Errors
/// `Unreachable`, `Refused` for a wrong user or password.
pub async fn inspect_pool(settings: &Settings, pool: &PoolName) -> Result<Vec<Finding>, QueueError> {
    let connection = connect(settings).await?;
    pool_itself(&connection, &Keys::new(&settings.prefix), pool).await
}

async fn connect(settings: &Settings) -> Result<Connection, QueueError> {
    let connection = Connection::new(&Endpoint::new(client(settings)?, false));
    let _: String = connection.call(redis::cmd("PING").arg("proofmill"), Duration::ZERO).await?;
    Ok(connection)
}

fn configuration() -> Cmd {
    let mut command = redis::cmd("CONFIG");
    command.arg("GET").arg("maxmemory").arg("maxmemory-policy").arg("appendonly");
    command.arg("maxmemory-clients").arg("client-output-buffer-limit").arg("client-query-buffer-limit");
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

/// Whether what clients send and do not read can fill the server.
fn buffers(memory: &str, clients: &str, output: &str, query: &str) -> Finding {
    let what = "redis clients";
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    let memory = number(memory);
    // `N%` or bytes. Of a server without a limit a percentage is no limit either.
    let held = match clients.strip_suffix('%') {
        Some(percent) => memory / 100 * number(percent),
        None => number(clients),
    };
    let most = if memory == 0 { u64::MAX } else { memory / 100 * CLIENT_PERCENT };
    // `normal HARD SOFT SECONDS replica …`
    let output = output.split(' ').skip_while(|word| *word != "normal").nth(1).map_or(0, number);
    let wrong = if !(1..=most).contains(&held) {
        Some(format!("maxmemory-clients is {clients:?}; set maxmemory, and this to 10%"))
    } else if !(1..=OUTPUT_BUFFER).contains(&output) {
        Some(format!("client-output-buffer-limit of normal clients is {output}; set \"normal 64mb 64mb 0\""))
    } else if !(1..=QUERY_BUFFER).contains(&number(query)) {
        Some(format!("client-query-buffer-limit is {query}; set 16mb"))
    } else {
        None
    };
    match wrong {
        None => finding(what, Verdict::Good, "their buffers are bounded"),
        Some(wrong) => finding(
            what,
            Verdict::Risky,
            format!("PM-QUEUE-014: clients can fill the server's memory: {wrong} (infra/redis/redis.conf)"),
        ),
    }
}

/// What a pool's user must be able to do, and a sample of what it must not, none of which changes anything.
fn samples(keys: &Keys, pool: &PoolName) -> (Vec<Cmd>, Vec<Cmd>) {
    let command = |name: &str, arguments: &[&str]| {
        let mut command = redis::cmd(name);
        command.arg(arguments);
        command
    };
    let (jobs, input, events) = (keys.sample_jobs(pool), keys.input(pool, JobId(0)), keys.events(pool));
    // No pool is named like this: a name has 32 characters at most.
    let others = events.replace(&format!("pool:{pool}:"), &format!("pool:{}:", "x".repeat(33)));
    let allowed = vec![
        command("PING", &["proofmill"]),
        command("GET", &[&input]),
        command("XREAD", &["COUNT", "1", "STREAMS", &jobs, "$"]),
        // Adds nothing: the stream is not made, and where it is, this id is refused.
        command("XADD", &[&events, "NOMKSTREAM", "0-0", "e", ""]),
    ];
    let forbidden = vec![
        command("DBSIZE", &[]),
        command("CONFIG", &["GET", "maxmemory"]),
        command("EVAL", &["return 0", "0"]),
        command("XREAD", &["COUNT", "1", "STREAMS", &events, "$"]),
        command("XREAD", &["COUNT", "1", "STREAMS", &others, "$"]),
        command("XADD", &[&others, "NOMKSTREAM", "0-0", "e", ""]),
        command("XADD", &[&jobs, "NOMKSTREAM", "0-0", "c", ""]),
        command("XTRIM", &[&events, "MINID", "0"]),
        command("GET", &["somebody-elses"]),
    ];
    (allowed, forbidden)
}

fn rights(missing: &[String], excess: &[String]) -> Finding {
    let what = "redis pool";
    if let Some(first) = missing.first() {
        let detail = format!(
            "PM-QUEUE-012: the pool's user may not {first}; give it the rights that `ops pool add` prints"
        );
        finding(what, Verdict::Bad, detail)
    } else if let Some(first) = excess.first() {
        let detail = format!(
            "PM-QUEUE-013: the pool's user may {first}; give it only the rights that `ops pool add` prints"
        );
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

async fn pool_itself(
    connection: &Connection,
    keys: &Keys,
    pool: &PoolName,
) -> Result<Vec<Finding>, QueueError> {
    let (allowed, forbidden) = samples(keys, pool);
    let (mut missing, mut excess) = (Vec::new(), Vec::new());
    for (commands, expected) in [(allowed, true), (forbidden, false)] {
        for command in commands {
            let permitted = match connection.call::<redis::Value>(&command, Duration::ZERO).await {
                Ok(_) => true,
                Err(QueueError::Refused(_)) => false,
                // The server took the command and refused the id: the right is there.
                Err(QueueError::Unreachable(reason)) if reason.contains("XADD") => true,
                Err(other) => return Err(other),
            };
            match (permitted, expected) {
                (false, true) => missing.push(words(&command)),
                (true, false) => excess.push(words(&command)),
                _ => {}
            }
        }
    }
    Ok(vec![rights(&missing, &excess)])
}

/// Asks the server what a pool's user could do.
async fn pool_seen_from_above(
    connection: &Connection,
    keys: &Keys,
    pool: &PoolName,
    user: &str,
) -> Result<Finding, QueueError> {
    let (allowed, mut forbidden) = samples(keys, pool);
    let mut flush = redis::cmd("FLUSHALL");
    flush.arg("ASYNC");
    forbidden.push(flush);
    let (mut missing, mut excess) = (Vec::new(), Vec::new());
    for (commands, expected) in [(allowed, true), (forbidden, false)] {
        for command in commands {
            let mut dry = redis::cmd("ACL");
            dry.arg("DRYRUN").arg(user);
            for argument in command.args_iter() {
                if let redis::Arg::Simple(bytes) = argument {
                    dry.arg(bytes);
                }
            }
            let answer: String = match connection.call(&dry, Duration::ZERO).await {
                Ok(answer) => answer,
                Err(QueueError::Refused(_)) => {
                    let detail = "not looked at: this user may not ask; use the coordinator's of infra/redis/users.acl";
                    return Ok(finding("redis pool", Verdict::Risky, detail));
                }
                Err(QueueError::Unreachable(reason)) if reason.contains("not found") => {
                    let detail =
                        format!("there is no user {user}; `ops pool add {pool}` makes it or says how");
                    return Ok(finding("redis pool", Verdict::Risky, detail));
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
    Ok(rights(&missing, &excess))
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
        let output = "normal 67108864 67108864 0 slave 0 0 0 pubsub 0 0 0";
        let good = ("1073741824", "10%", output, "16777216");
        for (memory, clients, output, query) in [good, ("1073741824", "107374182", output, "16777216")] {
            assert_eq!(buffers(memory, clients, output, query).verdict, Verdict::Good);
        }
        for (memory, clients, output, query) in [
            ("1073741824", "0", output, "16777216"),
            ("1073741824", "17%", output, "16777216"),
            ("1073741824", "268435456", output, "16777216"),
            ("0", "10%", output, "16777216"),
            ("1073741824", "10%", "normal 0 0 0", "16777216"),
            ("1073741824", "10%", output, "1073741824"),
        ] {
            assert_eq!(buffers(memory, clients, output, query).verdict, Verdict::Risky);
        }
    }
}
