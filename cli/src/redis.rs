//! Where the Redis of a farm is: the same flags for every command that speaks to it.

use std::path::PathBuf;

use clap::Args;
use eyre::WrapErr;
use queue::redis::Settings;

/// Holds the password, when neither the URL nor a file has it.
const PASSWORD_VARIABLE: &str = "PROOFMILL_REDIS_PASSWORD";

#[derive(Args, Clone)]
pub struct Options {
    /// The farm's Redis, e.g. rediss://USER@queue.example:6380
    #[arg(long, env = "PROOFMILL_REDIS_URL", hide_env_values = true)]
    pub redis_url: Option<String>,
    /// The file with the password of its user
    #[arg(long)]
    redis_password_file: Option<PathBuf>,
    /// PEM of the authority that signed its certificate, if the system does not know it
    #[arg(long)]
    redis_ca: Option<PathBuf>,
    /// First part of the deployment's keys (pm:CHAIN:CONTRACT); the coordinator knows it from its contract
    #[arg(long, env = "PROOFMILL_REDIS_PREFIX")]
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

    /// What connects a worker to its deployment.
    ///
    /// # Errors
    /// As `settings`; if the deployment is not named.
    pub fn of_worker(&self) -> eyre::Result<Settings> {
        let prefix = self.redis_prefix.as_ref().ok_or_else(|| {
            eyre::eyre!(
                "which deployment? pass --redis-prefix, which `ops pool add` and the coordinator print"
            )
        })?;
        self.settings(prefix)
    }
}
