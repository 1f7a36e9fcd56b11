//! Refusals: business errors inside a payload, and errors of the request itself.

use async_graphql::{Error, ErrorExtensions, SimpleObject};

use crate::service;

/// A refusal that the caller can act on. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, SimpleObject)]
#[graphql(name = "UserError")]
pub struct UserError {
    /// Stable, for programs: `INSUFFICIENT_BALANCE`, `AMOUNT_OUT_OF_RANGE`, …
    pub code: String,
    /// What is wrong and what to do, for people.
    pub message: String,
    /// The argument it concerns, e.g. `["input", "leaves", "0", "split"]`.
    pub path: Vec<String>,
    /// Whether the same call can succeed later.
    pub retryable: bool,
    /// Seconds after which it may, where that is known.
    pub retry_after: Option<i32>,
}

impl UserError {
    pub fn new(code: &str, message: impl Into<String>, path: &[&str]) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
            path: path.iter().map(|part| (*part).to_owned()).collect(),
            retryable: false,
            retry_after: None,
        }
    }
}

impl From<service::UserError> for UserError {
    fn from(error: service::UserError) -> Self {
        let path = error.path.into_iter().map(str::to_owned).collect();
        let retry_after = error.retry_after.map(|wait| i32::try_from(wait.as_secs()).unwrap_or(i32::MAX));
        let code = error.code.to_owned();
        Self { code, message: error.message, path, retryable: error.retryable, retry_after }
    }
}

/// A question that is not answered is an error of its field, with the code of the refusal.
pub fn asked<T>(answer: Result<T, service::UserError>) -> async_graphql::Result<T> {
    answer.map_err(|refused| {
        Error::new(refused.message).extend_with(|_, extensions| extensions.set("code", refused.code))
    })
}

/// A field error with `extensions.code` `BAD_USER_INPUT`, for an argument of a query that has no payload.
pub fn bad_input(message: impl Into<String>) -> Error {
    Error::new(message).extend_with(|_, extensions| extensions.set("code", "BAD_USER_INPUT"))
}
