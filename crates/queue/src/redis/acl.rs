//! The rights of a pool's user: add to its events, read its jobs and inputs, and nothing else.

use std::time::Duration;

use sha2::{Digest, Sha256};
use wire::PoolName;

use super::{
    Settings,
    connection::{Connection, Endpoint, client},
    keys::Keys,
};
use crate::QueueError;

/// A pool's user as Redis and managed services take it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolUser {
    pub name: String,
    /// What follows user and password in an ACL line; the *access string* of a managed service.
    pub rules: String,
}

impl PoolUser {
    /// The line of an ACL file. It holds a hash of the password, never the password.
    pub fn acl_line(&self, password: &str) -> String {
        format!("user {} #{} {}", self.name, password_hash(password), self.rules)
    }
}

fn password_hash(password: &str) -> String {
    hex::encode(Sha256::digest(password))
}

/// The user of a pool in the deployment with this prefix.
pub fn pool_user(prefix: &str, pool: &PoolName) -> PoolUser {
    let keys = Keys::new(prefix);
    let rules = format!(
        "on resetkeys resetchannels -@all +auth +hello +ping +xadd +xread +get %W~{} %R~{} %R~{}",
        keys.events(pool),
        keys.all_jobs(pool),
        keys.all_inputs(pool)
    );
    PoolUser { name: format!("{}-pool-{pool}", prefix.trim_end_matches(':').replace(':', "-")), rules }
}

/// Whether a changed user survives a restart of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetUser {
    /// Written to its ACL or configuration file.
    Saved,
    /// The server has no file that it may write: put the ACL line where it reads its users.
    UntilRestart,
}

/// Writes the pool's user with this password; the user of `admin` needs `+acl|setuser +acl|save` or `+config|rewrite`.
///
/// # Errors
/// `Refused` where the user may not change users, `Unreachable`.
pub async fn set_pool_user(admin: &Settings, pool: &PoolName, password: &str) -> Result<SetUser, QueueError> {
    let user = pool_user(&admin.prefix, pool);
    let mut command = redis::cmd("ACL");
    command.arg("SETUSER").arg(&user.name).arg("reset").arg(format!("#{}", password_hash(password)));
    for rule in user.rules.split(' ') {
        command.arg(rule);
    }
    change(admin, &command).await
}

/// Deletes the pool's user and closes its connections.
///
/// # Errors
/// `Refused` where the user may not change users, `Unreachable`.
pub async fn remove_pool_user(admin: &Settings, pool: &PoolName) -> Result<SetUser, QueueError> {
    let user = pool_user(&admin.prefix, pool);
    let mut command = redis::cmd("ACL");
    command.arg("DELUSER").arg(&user.name);
    change(admin, &command).await
}

async fn change(admin: &Settings, command: &redis::Cmd) -> Result<SetUser, QueueError> {
    let connection = Connection::new(&Endpoint::new(client(admin)?, false));
    let _: redis::Value = connection.call(command, Duration::ZERO).await?;
    for keep in [["ACL", "SAVE"], ["CONFIG", "REWRITE"]] {
        let mut command = redis::cmd(keep[0]);
        command.arg(keep[1]);
        if connection.call::<redis::Value>(&command, Duration::ZERO).await.is_ok() {
            return Ok(SetUser::Saved);
        }
    }
    Ok(SetUser::UntilRestart)
}
