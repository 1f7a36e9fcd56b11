//! The schema, brought up to this version by whichever coordinator comes first.

use std::ops::DerefMut;

use deadpool_postgres::Pool;
use refinery::error::Kind;

use crate::{state::event::VERSION, store::StoreError};

refinery::embed_migrations!("src/store/postgres/migrations");

/// One migrates, the others wait for it. The number is this project's name in ASCII.
const LOCK: &str = "SELECT pg_advisory_lock(x'70726f6f666d696c'::bigint)";

pub(super) async fn run(pool: Pool) -> Result<(), StoreError> {
    let mut client = deadpool_postgres::Object::take(pool.get().await?);
    // Waiting for another's migration may take longer than a statement should. The lock and the setting go with the
    // connection, which is not given back to the pool.
    client.batch_execute("SET statement_timeout = 0").await?;
    client.batch_execute(LOCK).await?;
    let client: &mut tokio_postgres::Client = client.deref_mut();
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
            _ => StoreError::Unusable(error.to_string()),
        }),
    }
}
