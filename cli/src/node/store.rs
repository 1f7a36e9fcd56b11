//! Which store a coordinator has: SQLite in its data directory, or PostgreSQL for many machines.

use std::{fs, path::Path, path::PathBuf};

use clap::Args;
use coordinator::store::{Plaintext, PostgresSettings, PostgresStore, SqliteStore, Store};
use eyre::WrapErr;

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
