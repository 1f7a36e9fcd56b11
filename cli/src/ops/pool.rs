//! `ops pool`: pools of workers, and the credential of each.
//!
//! The coordinator needs no right to change users: whoever runs this brings a Redis user that may, or puts the printed line
//! where the server or the managed service reads its users. The password is kept in a file and never printed.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use eyre::WrapErr;
use queue::{
    QueueError,
    redis::{SetUser, Settings, deployment_prefix, pool_user, remove_pool_user, set_pool_user},
};
use rand_core::{OsRng, RngCore};
use serde_json::{Value, json};
use wire::PoolName;

use super::{Admin, items, text};
use crate::redis;

/// Folder of the passwords in the data directory.
const FOLDER: &str = "pools";

#[derive(Subcommand)]
pub enum Command {
    /// Open a pool, and make its Redis user or say how
    Add(Change),
    /// Close a pool: its workers get no more jobs, and its Redis user is deleted
    Remove(Change),
    /// The pools, their workers and what they delivered
    List,
}

#[derive(Args)]
pub struct Change {
    /// 1 to 32 of the characters A-Z a-z 0-9 . _ -
    name: PoolName,
    /// Where its password is kept; pools/NAME.password in the data directory by default
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// A user of the farm's Redis that may change users; without it the line for the server is printed
    #[command(flatten)]
    redis: redis::Options,
}

/// Answers the status after the command, for `--json`.
///
/// # Errors
/// If the coordinator cannot be reached or refuses, Redis cannot be reached, or a file cannot be written.
pub(super) async fn run(admin: &Admin, data_dir: &Path, command: &Command) -> eyre::Result<Value> {
    match command {
        Command::List => Ok(admin.status().await?),
        Command::Add(change) => {
            let variables = json!({ "name": change.name.as_str() });
            let status = admin.change("($name: String!)", "addPool(name: $name)", variables).await?;
            let prefix = prefix(change, &status);
            let file = change.password_file(data_dir);
            let password = keep_password(&file)?;
            let user = pool_user(&prefix, &change.name);
            let settings = change.settings(&prefix)?;
            let outcome = match &settings {
                Some(settings) => Some(set_pool_user(settings, &change.name, &password).await),
                None => None,
            };
            match outcome {
                Some(Ok(SetUser::Saved)) => say!("  Redis user {} is made and saved", user.name),
                Some(Ok(SetUser::UntilRestart)) => {
                    say!(
                        "  Redis user {} is made, but the server keeps no file of its users: it is gone after a restart",
                        user.name
                    );
                    by_hand(&user.acl_line(&password), &user.name, &user.rules);
                }
                None => by_hand(&user.acl_line(&password), &user.name, &user.rules),
                Some(Err(QueueError::Refused(reason))) => {
                    say!("  this Redis user may not change users ({reason})");
                    by_hand(&user.acl_line(&password), &user.name, &user.rules);
                }
                Some(Err(error)) => return Err(error.into()),
            }
            say!(
                "  its password is in {}; copy it to the pool's machines, readable by the worker only",
                file.display()
            );
            say!("  start its workers with:");
            say!(
                "    proofmill worker --pool {} --redis-url rediss://{}@HOST:6380 --redis-password-file FILE --redis-prefix {prefix} --keys KEYS",
                change.name,
                user.name
            );
            Ok(status)
        }
        Command::Remove(change) => {
            let variables = json!({ "name": change.name.as_str() });
            let status = admin.change("($name: String!)", "removePool(name: $name)", variables).await?;
            let prefix = prefix(change, &status);
            let user = pool_user(&prefix, &change.name).name;
            match change.settings(&prefix)? {
                Some(settings) => match remove_pool_user(&settings, &change.name).await {
                    Ok(_) => say!("  Redis user {user} is deleted"),
                    Err(QueueError::Refused(reason)) => {
                        say!(
                            "  this Redis user may not change users ({reason}); delete the user {user} where the server reads its users"
                        );
                    }
                    Err(error) => return Err(error.into()),
                },
                None => say!("  delete the Redis user {user} where the server reads its users"),
            }
            Ok(status)
        }
    }
}

impl Change {
    fn password_file(&self, data_dir: &Path) -> PathBuf {
        let default = || data_dir.join(FOLDER).join(format!("{}.password", self.name));
        self.password_file.clone().unwrap_or_else(default)
    }

    /// What connects as the user that changes users, if one was given.
    fn settings(&self, prefix: &str) -> eyre::Result<Option<Settings>> {
        self.redis.redis_url.as_ref().map(|_| self.redis.settings(prefix)).transpose()
    }
}

fn prefix(change: &Change, status: &Value) -> String {
    let derived = || {
        let chain_id = text(&status["chainId"]).parse().unwrap_or_default();
        deployment_prefix(chain_id, &text(&status["contract"]))
    };
    change.redis.redis_prefix.clone().unwrap_or_else(derived)
}

/// The password in the file, or a new one that is put there. So the command may be repeated.
fn keep_password(file: &Path) -> eyre::Result<String> {
    if let Ok(password) = fs::read_to_string(file) {
        return Ok(password.trim().to_owned());
    }
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).wrap_err_with(|| format!("cannot make {}", folder.display()))?;
    }
    let mut secret = [0; 32];
    OsRng.fill_bytes(&mut secret);
    let password = hex::encode(secret);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(file).and_then(|mut out| writeln!(out, "{password}"));
    written.wrap_err_with(|| format!("cannot write the password to {}", file.display()))?;
    Ok(password)
}

fn by_hand(line: &str, name: &str, rules: &str) {
    say!("  put this line where the server reads its users (aclfile), then ACL LOAD:");
    say!("    {line}");
    say!("  or, for a managed service, make the user {name} with that password and this access string:");
    say!("    {rules}");
}

pub(super) fn print(status: &Value) {
    for pool in items(&status["pools"]) {
        let of = |name: &str| text(&pool[name]);
        say!(
            "    {:<20} {} workers, {} of {} attempts in flight, {} proofs, {} attempts ended badly, {} entries unreadable",
            of("name"),
            of("workers"),
            of("inFlight"),
            of("window"),
            of("proofs"),
            of("badEnds"),
            of("malformed")
        );
    }
}
