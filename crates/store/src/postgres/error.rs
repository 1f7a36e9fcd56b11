//! What an error of the server means: ask again elsewhere, make room, one value is refused, or a person is needed.

use std::error::Error;

use deadpool_postgres::PoolError;
use tokio_postgres::error::{DbError, SqlState};

use crate::StoreError;

/// Raised by the schema's `fence`, with the holder as message.
const NOT_LEADING: &str = "PM001";

pub(super) fn late() -> StoreError {
    StoreError::Unavailable("it took too long".to_owned())
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        store_error(&error)
    }
}

fn store_error(error: &tokio_postgres::Error) -> StoreError {
    match error.as_db_error() {
        Some(refused) if refused.code().code() == NOT_LEADING => {
            StoreError::Deposed { holder: refused.message().to_owned() }
        }
        Some(refused) if *refused.code() == SqlState::DISK_FULL => StoreError::Full(in_words(refused)),
        Some(refused) if ["22", "23"].iter().any(|class| refused.code().code().starts_with(class)) => {
            StoreError::Value(in_words(refused))
        }
        Some(refused) if passes(refused.code()) => StoreError::Unavailable(in_words(refused)),
        Some(refused) => StoreError::Unusable(format!("{}; {}", in_words(refused), advice(refused.code()))),
        None => match certificate_problem(error) {
            Some(problem) => StoreError::Settings(format!(
                "the database's certificate is not believed ({problem}); name its authority's file with --database-ca, or \
                 fix the certificate"
            )),
            None => StoreError::Unavailable(with_causes(error)),
        },
    }
}

/// What refinery met. It says "db error" where the server gave a reason: that is looked for among the causes.
pub(super) fn of_migration(error: &refinery::Error) -> StoreError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if let Some(error) = inner.downcast_ref::<tokio_postgres::Error>() {
            return store_error(error);
        }
        cause = inner.source();
    }
    StoreError::unexpected(with_causes(error))
}

/// The server's message, its detail and hint, and its SQLSTATE.
fn in_words(refused: &DbError) -> String {
    let mut text = format!("PostgreSQL says: {}", refused.message());
    for more in [refused.detail(), refused.hint()].into_iter().flatten() {
        text = format!("{text} ({})", more.trim_end_matches('.'));
    }
    format!("{text} [SQLSTATE {}]", refused.code().code())
}

/// What to do about a refusal that does not pass by itself.
fn advice(state: &SqlState) -> &'static str {
    match state.code() {
        "42501" => {
            "the role needs the right: make it the owner of the database (ALTER DATABASE … OWNER TO …), or \
             GRANT USAGE, CREATE ON SCHEMA public"
        }
        "3D000" => "make it with CREATE DATABASE … OWNER … ENCODING 'UTF8', or correct --database-url",
        "28000" | "28P01" => "correct user and password in --database-url, or the server's pg_hba.conf",
        "42P07" | "42710" => {
            "another program's tables are there: give proofmill a database that nobody else uses"
        }
        "42P01" | "42703" => "tables of proofmill were changed or removed: restore a backup",
        _ => "look into the server's log",
    }
}

impl From<PoolError> for StoreError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => error.into(),
            other => StoreError::Unavailable(other.to_string()),
        }
    }
}

/// Errors of the server's condition, not of the statement: connections, resources, rollbacks it asks to repeat, its
/// operator, a server that is a replica now or recovers, one that does not know what this connection prepared.
fn passes(state: &SqlState) -> bool {
    let code = state.code();
    ["08", "40", "53", "57", "58"].iter().any(|class| code.starts_with(class))
        || [
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
            SqlState::READ_ONLY_SQL_TRANSACTION,
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            SqlState::INVALID_SQL_STATEMENT_NAME,
        ]
        .contains(state)
}

fn certificate_problem(error: &tokio_postgres::Error) -> Option<String> {
    let io = error.source()?.downcast_ref::<std::io::Error>()?;
    match io.get_ref()?.downcast_ref::<rustls::Error>()? {
        refused @ rustls::Error::InvalidCertificate(_) => Some(refused.to_string()),
        _ => None,
    }
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_server_or_a_moment_later_may_answer_is_asked_again() {
        // Read only; recovery; no longer a master; shut down, crashed, not up yet; connections; memory; serialization.
        for code in [
            "25006", "55000", "57P01", "57P02", "57P03", "57P04", "57014", "08006", "08P01", "53200",
            "53300", "40001", "40P01", "55P03", "25P03", "26000", "58030",
        ] {
            assert!(passes(&SqlState::from_code(code)), "{code}");
        }
        for code in ["42501", "28P01", "3D000", "42P01", "XX001", "0A000"] {
            assert!(!passes(&SqlState::from_code(code)), "{code}");
        }
    }
}
