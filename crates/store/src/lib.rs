//! Where the event log lives, and the projections that follow from it.
//!
//! Invariant: `commit` is one durable transaction of the one leader: after it returns, the events survive any death of the
//! process; if it fails, none of them is there, or all are and the same call repeated says so. The projections of a
//! transaction are written with its events, never without. Events are numbered from 1 without gaps.
//!
//! | file | engine |
//! |---|---|
//! | `sqlite` | embedded, one process |
//! | `postgres` | a server, one leading coordinator and any number of standbys |
//!
//! [`History`] is what readers ask; `values` says what no store takes; `conformance` (feature `testing`) is what both must do.
//! [`snapshots`] keeps states as files, so that a start is short; [`mark`] keeps outside the store how far the log was when
//! something was promised.

use std::sync::Arc;

use protocol::OperationKind;
use sequencer::state::{
    event::Stamped,
    rows::{Checkpoint, Line, Row},
};

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
pub mod history;
mod lock;
pub mod mark;
mod postgres;
pub mod snapshots;
mod sqlite;
mod values;

pub use history::History;
pub use lock::FolderLock;
pub use postgres::{Plaintext, PostgresSettings, PostgresStore};
pub use sqlite::SqliteStore;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("PM-STORE-001: {0} is in use by another coordinator; stop that one or take another --data-dir")]
    Locked(String),
    /// What is wrong, and what to do.
    #[error("PM-STORE-002: the store cannot be used: {0}")]
    Unusable(String),
    #[error(
        "PM-STORE-003: the store was written by another version (layout {found}, this build reads {expected}); start with \
         the version that wrote it"
    )]
    Version { found: String, expected: u32 },
    #[error(
        "PM-STORE-004: the store belongs to another deployment ({found}, not {expected}); take another store for this \
         chain and contract"
    )]
    Deployment { found: String, expected: String },
    #[error("PM-STORE-005: event {sequence} of the log cannot be read ({detail}); restore a backup")]
    Damaged { sequence: u64, detail: String },
    #[error("PM-STORE-006: the database does not answer ({0}); it is asked again")]
    Unavailable(String),
    #[error(
        "PM-STORE-007: another coordinator leads now ({holder}); this one writes nothing more: start it again as a standby"
    )]
    Deposed { holder: String },
    #[error("PM-STORE-008: {0}")]
    Settings(String),
    #[error(
        "PM-STORE-009: the store has no room ({0}), so nothing of this was written; make room on its disk: then it goes on by itself"
    )]
    Full(String),
    /// Nothing of the commit was written. The same commit without this value succeeds.
    #[error("PM-STORE-010: the store refuses a value ({0}); report it, the rest goes on without it")]
    Value(String),
    #[error("{0}")]
    Replay(String),
}

impl StoreError {
    /// A store in the data folder cannot be used.
    fn folder(problem: impl std::fmt::Display) -> Self {
        Self::Unusable(format!("{problem}; check the disk and the permissions of the data folder"))
    }

    /// Something that should never be; a restart reads everything again.
    fn unexpected(problem: impl std::fmt::Display) -> Self {
        Self::Unusable(format!("{problem}; restart the coordinator, and report it if it comes again"))
    }
}

/// Whether this store may write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// This one leads, in this term. Terms only grow.
    Leading { term: u64 },
    /// Another leads.
    Following { holder: String },
}

/// A store, used by one thread. Calls block.
pub trait Store: Send {
    /// Ties an empty store to a deployment, or checks that it is this one.
    ///
    /// # Errors
    /// `Deployment`, `Version`, `Unusable`, `Unavailable`.
    fn bind(&mut self, deployment: &str) -> Result<(), StoreError>;

    /// Asks to lead, or whether it still does. A new term begins whenever leadership is won, also from itself after a
    /// restart; it is then kept without further calls for as long as the store can be reached in time.
    ///
    /// # Errors
    /// `Unavailable`.
    fn lead(&mut self) -> Result<Leadership, StoreError>;

    /// Hands over the events after number `after` in order, with their numbers, then says which root the last sealed batch
    /// must have. Events and root are of one moment.
    ///
    /// # Errors
    /// `Damaged`, `Unusable`, `Unavailable`, or what `each` returns.
    fn replay(
        &mut self,
        after: u64,
        each: &mut dyn FnMut(u64, Stamped) -> Result<(), StoreError>,
    ) -> Result<Option<Checkpoint>, StoreError>;

    /// Appends events as numbers `first`, `first + 1`, … and writes rows, in one durable transaction that is only done
    /// while this store leads. If the log holds exactly these events under these numbers already (the answer to an earlier
    /// call was lost), that is success.
    ///
    /// # Errors
    /// `Unavailable`: whether it was written is not known, call again. `Deposed`: it was not written and never will be.
    /// `Unusable`, `Full`, `Value`: it was not written.
    fn commit(&mut self, first: u64, events: &[Stamped], rows: &[Row]) -> Result<(), StoreError>;

    /// The projections for readers, on connections of their own. Made once.
    fn history(&self) -> Arc<dyn History>;

    /// Whether rows of the history were written by a version that knew less about them. Who leads writes them again.
    ///
    /// # Errors
    /// `Unusable`, `Unavailable`.
    fn is_incomplete(&mut self) -> Result<bool, StoreError>;

    /// The time of the server, Unix milliseconds; nothing where the store has no clock but this machine's.
    ///
    /// # Errors
    /// `Unavailable`.
    fn now(&mut self) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }

    /// The lines about a batch, in the order in which they were written.
    ///
    /// # Errors
    /// `Unusable`, `Unavailable`.
    fn lines(&mut self, batch_no: u32) -> Result<Vec<Line>, StoreError>;
}

/// The name of a kind of operation in the store.
fn kind_name(kind: OperationKind) -> &'static str {
    match kind {
        OperationKind::Mint => "mint",
        OperationKind::Send => "send",
        OperationKind::Withdraw => "withdraw",
        OperationKind::ForcedExit => "forced_exit",
        OperationKind::ForcedRekey => "forced_rekey",
    }
}
