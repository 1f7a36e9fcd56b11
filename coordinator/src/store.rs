//! Where the event log lives, and the projections that follow from it.
//!
//! Invariant: `commit` is one durable transaction: after it returns, the events survive any death of the process; if it
//! fails, none of them is there. The projections of a transaction are written with its events, never without.

use crate::state::{
    event::Stamped,
    rows::{Checkpoint, Row},
};

mod sqlite;

pub use sqlite::SqliteStore;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("PM-STORE-001: {0} is in use by another coordinator; stop that one or take another --data-dir")]
    Locked(String),
    #[error(
        "PM-STORE-002: the store cannot be used ({0}); check the disk and the permissions of the data folder"
    )]
    Unusable(String),
    #[error(
        "PM-STORE-003: the store was written by another version (layout {found}, this build reads {expected}); start with \
         the version that wrote it"
    )]
    Version { found: String, expected: u32 },
    #[error(
        "PM-STORE-004: the store belongs to another deployment ({found}, not {expected}); take another --data-dir for \
         this chain and contract"
    )]
    Deployment { found: String, expected: String },
    #[error(
        "PM-STORE-005: event {sequence} of the log cannot be read ({detail}); restore the data folder from a backup"
    )]
    Damaged { sequence: i64, detail: String },
    #[error("{0}")]
    Replay(String),
}

/// A store, used by one thread. Calls block.
pub trait Store: Send {
    /// Ties an empty store to a deployment, or checks that it is this one.
    ///
    /// # Errors
    /// `Deployment`, `Version`, `Unusable`.
    fn bind(&mut self, deployment: &str) -> Result<(), StoreError>;

    /// Hands over the log in order, then says which root the last sealed batch must have.
    ///
    /// # Errors
    /// `Damaged`, `Unusable`, or what `each` returns.
    fn replay(
        &mut self,
        each: &mut dyn FnMut(Stamped) -> Result<(), StoreError>,
    ) -> Result<Option<Checkpoint>, StoreError>;

    /// Appends events and writes rows in one durable transaction.
    ///
    /// # Errors
    /// `Unusable`; nothing was written then, or the store will say so at the next `replay`.
    fn commit(&mut self, events: &[Stamped], rows: &[Row]) -> Result<(), StoreError>;
}
