//! Where the Redis of a farm is: the same flags for every command that speaks to it.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use eyre::WrapErr;
use wire::queue::redis::{Settings, deployments};

/// Holds the password, when neither the URL nor a file has it.
const PASSWORD_VARIABLE: &str = "PROOFMILL_REDIS_PASSWORD";
/// How often to look for a coordinator that lays the deployment out.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Args, Clone)]
pub struct Options {
    /// The farm's Redis, e.g. rediss://proofmill-worker@queue.example:6380
    #[arg(long, env = "PROOFMILL_REDIS_URL", hide_env_values = true)]
    pub redis_url: Option<String>,
    /// The file with the password of its user
    #[arg(long)]
    redis_password_file: Option<PathBuf>,
    /// PEM of the authority that signed its certificate, if the system does not know it
    #[arg(long)]
    redis_ca: Option<PathBuf>,
    /// First part of the deployment's keys (pm:CHAIN:CONTRACT); found by itself where the server has one deployment
    #[arg(long)]
    pub redis_prefix: Option<String>,
}

impl Options {
    /// What connects to the deployment with this prefix.
    ///
    /// # Errors
    /// If there is no URL or a file cannot be read.
    pub fn settings(&self, prefix: &str) -> eyre::Result<Settings> {
        let url = self
            .redis_url
            .as_ref()
            .ok_or_else(|| eyre::eyre!("no Redis: pass --redis-url with the URL of the farm's Redis"))?;
        let mut settings = Settings::new(url, prefix);
        if let Some(file) = &self.redis_password_file {
            let password = std::fs::read_to_string(file)
                .wrap_err_with(|| format!("cannot read the password file {}", file.display()))?;
            settings.password = Some(password.trim().to_owned());
        } else if let Ok(password) = std::env::var(PASSWORD_VARIABLE) {
            settings.password = Some(password);
        }
        if let Some(file) = &self.redis_ca {
            let pem = std::fs::read(file)
                .wrap_err_with(|| format!("cannot read the certificate {}", file.display()))?;
            settings.authority = Some(pem);
        }
        Ok(settings)
    }

    /// What connects to the one deployment of the server, once a coordinator has laid it out.
    ///
    /// # Errors
    /// As `settings`; if the server refuses the user; if it has several deployments and none was named.
    pub async fn find(&self) -> eyre::Result<Settings> {
        if let Some(prefix) = &self.redis_prefix {
            return self.settings(prefix);
        }
        let settings = self.settings("")?;
        let mut told = false;
        loop {
            let mut found = deployments(&settings).await?;
            match (found.pop_first(), found.len()) {
                (Some(prefix), 0) => return Ok(Settings { prefix, ..settings }),
                (Some(one), _) => {
                    let others = found.into_iter().collect::<Vec<_>>().join(", ");
                    eyre::bail!(
                        "the server has several deployments; name one by --redis-prefix: {one}, {others}"
                    )
                }
                (None, _) => {
                    if !told {
                        say!("  waiting for a coordinator on this Redis");
                        told = true;
                    }
                    tokio::time::sleep(LOOK).await;
                }
            }
        }
    }
}
