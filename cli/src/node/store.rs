//! Which store a coordinator has: SQLite in its data directory, or PostgreSQL for many machines.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use eyre::WrapErr;
use store::{Plaintext, PostgresSettings, PostgresStore, SqliteStore, Store, StoreError};

/// A database that does not answer is asked again after this.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Args, Clone, Default)]
pub struct Database {
    /// PostgreSQL, e.g. postgresql://user:password@host/database?sslmode=verify-full; without it the ledger is a SQLite file
    /// in the data directory. Coordinators on the same database stand by for each other
    #[arg(long = "database-url", env = "PROOFMILL_DATABASE_URL", hide_env_values = true)]
    pub url: Option<String>,
    /// Certificates of the authorities that PostgreSQL's certificate may come from, PEM
    #[arg(long = "database-ca", requires = "url")]
    pub ca_file: Option<PathBuf>,
    /// PostgreSQL is on another machine and sslmode=disable is meant: the network is private or encrypted
    #[arg(long = "database-plaintext", requires = "url")]
    pub plaintext: bool,
}

/// Opens the store. Blocks.
///
/// # Errors
/// If it is in use, of another version, or cannot be reached.
pub fn open(database: &Database, data_dir: &Path) -> eyre::Result<Box<dyn Store>> {
    let Some(url) = &database.url else {
        return Ok(Box::new(SqliteStore::open(&data_dir.join("ledger"))?));
    };
    let mut settings = PostgresSettings::new(url, instance(data_dir)?);
    settings.ca_file.clone_from(&database.ca_file);
    if database.plaintext {
        settings.plaintext = Plaintext::Anywhere;
    }
    Ok(Box::new(PostgresStore::connect(settings)?))
}

/// Opens the store, and waits for a database that does not answer.
///
/// # Errors
/// As `open`, but for a database that cannot be reached now.
pub async fn wait_for(database: &Database, data_dir: &Path) -> eyre::Result<Box<dyn Store>> {
    let mut said = String::new();
    loop {
        let (settings, folder) = (database.clone(), data_dir.to_owned());
        let opened = tokio::task::spawn_blocking(move || open(&settings, &folder)).await?;
        let Err(error) = &opened else { return opened };
        let Some(StoreError::Unavailable(reason)) = error.downcast_ref() else { return opened };
        if *reason != said {
            tracing::warn!(reason, "the database does not answer; it is asked again each second");
            said.clone_from(reason);
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// What this coordinator is called among those of the database. It is kept in the data directory, so that a coordinator that
/// was killed need not wait for its own lease when it is started again.
fn instance(data_dir: &Path) -> eyre::Result<String> {
    let path = data_dir.join("instance");
    match fs::read_to_string(&path) {
        Ok(name) if !name.trim().is_empty() => return Ok(name.trim().to_owned()),
        _ => {}
    }
    let name = uuid::Uuid::new_v4().to_string();
    fs::write(&path, &name).wrap_err_with(|| format!("cannot write {}", path.display()))?;
    Ok(name)
}
