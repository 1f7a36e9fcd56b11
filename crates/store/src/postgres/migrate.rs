//! The schema, brought up to this version by whichever coordinator comes first.

use std::ops::DerefMut;

use deadpool_postgres::Pool;
use refinery::error::Kind;
use sequencer::state::event::VERSION;

use super::{error::of_migration, session::Session};
use crate::StoreError;

refinery::embed_migrations!("src/postgres/migrations");

/// One migrates, the others wait for it. The number is this project's name in ASCII.
const LOCK: &str = "SELECT pg_advisory_lock(x'70726f6f666d696c'::bigint)";

/// Texts are stored as they come; a database in another encoding would refuse some of them at any time.
async fn check_encoding(client: &tokio_postgres::Client) -> Result<(), StoreError> {
    let row = client.query_one("SELECT current_setting('server_encoding'), current_database()", &[]).await?;
    let (encoding, name): (&str, &str) = (row.get(0), row.get(1));
    if encoding == "UTF8" {
        return Ok(());
    }
    Err(StoreError::Settings(format!(
        "the database {name} has the encoding {encoding}, it must be UTF8; make another one with \
         CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
    )))
}

pub(super) async fn run(pool: Pool) -> Result<(), StoreError> {
    let mut client = Session::open(&pool).await?.keep();
    // Waiting for another's migration may take longer than a statement should. The lock and the setting go with the
    // connection, which is not given back to the pool.
    client.batch_execute("SET statement_timeout = 0").await?;
    client.batch_execute(LOCK).await?;
    let client: &mut tokio_postgres::Client = client.deref_mut();
    check_encoding(client).await?;
    match migrations::runner().run_async(client).await {
        Ok(report) => {
            for migration in report.applied_migrations() {
                tracing::info!(%migration, "the database's schema is brought up to date");
            }
            Ok(())
        }
        Err(error) => Err(match error.kind() {
            Kind::DivergentVersion(found, _) | Kind::MissingVersion(found) => {
                StoreError::Version { found: found.to_string(), expected: VERSION }
            }
            _ => of_migration(&error),
        }),
    }
}
