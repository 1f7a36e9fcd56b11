//! Refusals: business errors inside a payload, and errors of the request itself.

use async_graphql::{Error, ErrorExtensions, SimpleObject};
use sequencer::rejection::Rejection;

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

impl From<Rejection> for UserError {
    fn from(rejection: Rejection) -> Self {
        let retry_after =
            rejection.retry_after().map(|wait| i32::try_from(wait.as_secs()).unwrap_or(i32::MAX));
        Self {
            code: rejection.code().to_owned(),
            message: rejection.to_string(),
            path: path(&rejection).iter().map(|part| (*part).to_owned()).collect(),
            retryable: rejection.retryable(),
            retry_after,
        }
    }
}

/// The argument that a rejection concerns.
fn path(rejection: &Rejection) -> &'static [&'static str] {
    use Rejection as R;
    match rejection {
        R::UnknownSender | R::OwnerZero | R::QuotaExceeded { .. } => &["input", "sender"],
        R::AmountZero
        | R::AmountTooSmall { .. }
        | R::InsufficientBalance { .. }
        | R::TooManyLeaves { .. } => &["input", "amount"],
        R::RecipientNotRegistered | R::RecipientMissing | R::RecipientZero => &["input", "recipient"],
        R::RecipientAccountMismatch => &["input", "recipientAccount"],
        R::NoLeaves
        | R::LeafTwice { .. }
        | R::OperationTooLarge { .. }
        | R::LeafNotFound { .. }
        | R::LeafNotOwned { .. }
        | R::LeafChanged { .. }
        | R::LeafNotSpendableYet { .. }
        | R::SplitOutside { .. }
        | R::BadSignature { .. } => &["input", "leaves"],
        R::Expired { .. } => &["input", "validUntil"],
        R::TreeFull | R::ValueRefused => &["input"],
        R::IdempotencyConflict | R::IdempotencyKeyInvalid { .. } => &["input", "idempotencyKey"],
        R::InvalidKey { .. } => &["input", "key"],
        R::InvalidEntrySignature => &["input", "signature"],
        R::KeyEpochStale { .. } => &["input", "keyEpoch"],
        R::BatchNotAvailable { .. } | R::NothingProven => &["batchNo"],
        R::LeafEmpty { .. } | R::KeyHashUnknown { .. } => &["index"],
        R::Draining
        | R::Paused
        | R::Halted { .. }
        | R::Clock { .. }
        | R::Busy
        | R::NoWorker { .. }
        | R::Backlog { .. }
        | R::BusyReading
        | R::HistoryUnavailable
        | R::Unavailable
        | R::Starting
        | R::StoreTakesNothing
        | R::ChainUnavailable => &[],
    }
}

/// A question that is not answered is an error of its field, with the code of the refusal.
pub fn asked<T>(answer: Result<T, Rejection>) -> async_graphql::Result<T> {
    answer.map_err(|rejection| {
        Error::new(rejection.to_string())
            .extend_with(|_, extensions| extensions.set("code", rejection.code()))
    })
}

/// A field error with `extensions.code` `BAD_USER_INPUT`, for an argument of a query that has no payload.
pub fn bad_input(message: impl Into<String>) -> Error {
    Error::new(message).extend_with(|_, extensions| extensions.set("code", "BAD_USER_INPUT"))
}
