//! What no store takes, checked before either is asked, so that one coordinator can move to the other with all it has.
//!
//! Invariant: both engines accept and refuse the same values. PostgreSQL is the narrower one: its texts hold no NUL and its
//! numbers 63 bits. SQLite would take the text, and store a number beyond 63 bits as another one.

use sequencer::state::{event::Stamped, rows::Row};

use super::StoreError;

/// # Errors
/// `Value`, which names what is refused.
pub(super) fn check(events: &[Stamped], rows: &[Row]) -> Result<(), StoreError> {
    for event in events {
        number("the time of an event", event.at)?;
    }
    rows.iter().try_for_each(row)
}

fn row(row: &Row) -> Result<(), StoreError> {
    match row {
        Row::Balance(_, balances) => {
            for coins in [balances.accepted, balances.proven, balances.finalized] {
                number("a balance", coins)?;
            }
            Ok(())
        }
        Row::Leaf(place, ..) => number("the place of a leaf", *place),
        Row::Operation(operation) => {
            number("the amount of an operation", operation.operation.amount)?;
            number("the time of an operation", operation.operation.at)
        }
        Row::Batch(row) => {
            number("the first place of a batch", row.batch.start)?;
            let worker = row.job.as_ref().and_then(|job| job.worker.as_deref());
            [row.batch.worker.as_deref(), worker]
                .into_iter()
                .flatten()
                .try_for_each(|name| text("the name of a worker", name))
        }
        Row::Directory(_) => Ok(()),
        Row::Idempotency(_, key, _) => text("an idempotency key", key),
        Row::Cursor(cursor) => number("the number of a block", cursor.number),
        Row::Line(line) => {
            number("the time of a line", line.at)?;
            text("a line about a batch", &line.text)
        }
    }
}

fn text(what: &str, text: &str) -> Result<(), StoreError> {
    if text.contains('\0') {
        return Err(StoreError::Value(format!("{what} holds a NUL: {text:?}")));
    }
    Ok(())
}

fn number(what: &str, number: u64) -> Result<(), StoreError> {
    if i64::try_from(number).is_err() {
        return Err(StoreError::Value(format!("{what} is {number}, beyond 63 bits")));
    }
    Ok(())
}
