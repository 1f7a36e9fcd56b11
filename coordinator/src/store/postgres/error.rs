//! Which errors mean "ask again".

use std::error::Error;

use deadpool_postgres::PoolError;
use tokio_postgres::error::SqlState;

use crate::store::StoreError;

/// Raised by the schema's `fence`, with the holder as message.
const NOT_LEADING: &str = "PM001";

pub(super) fn late() -> StoreError {
    StoreError::Unavailable("it took too long".to_owned())
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(refused) if refused.code().code() == NOT_LEADING => {
                StoreError::Deposed { holder: refused.message().to_owned() }
            }
            Some(refused) if passes(refused.code()) => StoreError::Unavailable(refused.message().to_owned()),
            Some(refused) => {
                StoreError::Unusable(format!("{} ({})", refused.message(), refused.code().code()))
            }
            None => match certificate_problem(&error) {
                Some(problem) => StoreError::Settings(format!(
                    "the database's certificate is not believed ({problem}); name its authority's file, or fix the \
                     certificate"
                )),
                None => StoreError::Unavailable(with_causes(&error)),
            },
        }
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
/// operator, a replica that is not promoted yet.
fn passes(state: &SqlState) -> bool {
    let code = state.code();
    ["08", "40", "53", "57", "58"].iter().any(|class| code.starts_with(class))
        || [
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
            SqlState::READ_ONLY_SQL_TRANSACTION,
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
