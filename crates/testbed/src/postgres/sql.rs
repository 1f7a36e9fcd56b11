//! Statements from a test, on a thread of their own so that they may also be run from asynchronous code.

use std::thread;

use tokio_postgres::NoTls;

use super::PostgresError;

pub(super) fn execute(url: &str, statements: &str) -> Result<(), PostgresError> {
    let refused = |error: tokio_postgres::Error| {
        let detail = error.as_db_error().map(ToString::to_string);
        PostgresError::Sql(detail.unwrap_or_else(|| error.to_string()))
    };
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await.map_err(refused)?;
            let connection = tokio::spawn(connection);
            let outcome = client.batch_execute(statements).await.map_err(refused);
            drop(client);
            // The connection ends with its client; what it met, the statement has reported.
            let _ = connection.await;
            outcome
        })
    };
    thread::scope(|scope| {
        scope.spawn(work).join().unwrap_or_else(|_| Err(PostgresError::Sql("the thread panicked".to_owned())))
    })
}
