//! PostgreSQL: one leading coordinator and any number of standbys on one database.
//!
//! Invariant: a commit is one transaction with `synchronous_commit` on, whose last statement (`fence` of the schema) locks
//! and checks the leader's row. So a coordinator that was deposed, also while it was frozen, writes nothing more; and while
//! it writes nobody takes over. Time is the database's.
//!
//! All I/O is done by a runtime of its own with one thread; the calls of [`Store`] wait for it. Statements of a commit are
//! sent in one go, one per table, and fail or succeed together.
//!
//! | file | concept |
//! |---|---|
//! | `session` | a connection for one call, and when it is dropped |
//! | `connect` | from settings to pools of connections: TLS, limits, timeouts |
//! | `migrate` | the schema, under an advisory lock |
//! | `leader` | winning and keeping the term |
//! | `rows` | rows as arrays, one statement per table |
//! | `commit` | one group, and whether it was there already |
//! | `read` | replay, lines |
//! | `history` | what readers ask, over a pool of their own |
//! | `error` | which errors mean "ask again" |
//!
//! Known issues: a pooler that shares connections between transactions (PgBouncer in transaction mode) does not work with
//! it, since settings and prepared statements belong to the connection.

use std::{
    collections::BTreeSet,
    future::Future,
    path::PathBuf,
    sync::{Arc, mpsc},
    time::Duration,
};

use deadpool_postgres::Pool;
use sequencer::state::{
    event::{Stamped, VERSION},
    rows::{Checkpoint, Line, Row},
};
use tokio::{runtime::Runtime, task::AbortHandle};
use wire::failpoint;

use super::{History, Leadership, Store, StoreError, values};

mod commit;
mod connect;
mod error;
mod history;
mod leader;
mod migrate;
mod read;
mod rows;
mod session;

use leader::Claim;

/// How long giving up the lead may take when the store is closed.
const RESIGN_PATIENCE: Duration = Duration::from_millis(500);

/// Where the database is and how it is used.
#[derive(Clone)]
pub struct PostgresSettings {
    /// `postgresql://user:password@host:port/database?sslmode=…`; on a unix socket, or on loopback, TLS is used only if
    /// `sslmode` asks for it, anywhere else it must not be disabled. `require` and `verify-full` are the same here: the
    /// certificate is always verified.
    pub url: String,
    /// Names this coordinator among those of the database; the same after a restart, or the restarted one waits for the
    /// lease of its former self.
    pub holder: String,
    /// A leader that cannot renew it for so long may be deposed.
    pub lease: Duration,
    pub statement_timeout: Duration,
    /// Connections at most, besides the one that keeps the lead.
    pub connections: usize,
    /// Connections of readers at most.
    pub readers: usize,
    /// Certificates of the authorities to believe, PEM; without it those that browsers believe.
    pub ca_file: Option<PathBuf>,
    pub plaintext: Plaintext,
}

/// Whether `sslmode=disable` may be used with a server on another machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plaintext {
    OnlyLocal,
    /// The network itself is private or encrypted.
    Anywhere,
}

impl PostgresSettings {
    pub fn new(url: impl Into<String>, holder: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            holder: holder.into(),
            lease: Duration::from_millis(2_100),
            statement_timeout: Duration::from_secs(5),
            connections: 4,
            readers: 4,
            ca_file: None,
            plaintext: Plaintext::OnlyLocal,
        }
    }

    /// One statement, and some time on the way.
    fn patience(&self) -> Duration {
        self.statement_timeout + Duration::from_millis(500)
    }
}

/// A database, used by one thread. The log of a database belongs to whoever leads it.
pub struct PostgresStore {
    /// Nothing only while the store is dropped.
    runtime: Option<Runtime>,
    pool: Pool,
    /// One connection, so that keeping the lead never waits for the others.
    keeper: Pool,
    /// For readers, so that a commit never waits for one.
    readers: Pool,
    settings: Arc<PostgresSettings>,
    /// Names the connections of this store among all.
    session: String,
    claim: Option<(Arc<Claim>, AbortHandle)>,
    /// Batches not yet proven whose input this store has written.
    stored_inputs: BTreeSet<u32>,
}

impl PostgresStore {
    /// Connects, and brings the schema up to this version.
    ///
    /// # Errors
    /// `Settings` if the URL or the certificates cannot be used, `Unavailable` while there is no connection, `Version` if
    /// the schema is newer, `Unusable`.
    pub fn connect(settings: PostgresSettings) -> Result<Self, StoreError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("store")
            .enable_all()
            .build()
            .map_err(StoreError::unexpected)?;
        let session = format!("proofmill {}", uuid::Uuid::new_v4().simple());
        let (pool, keeper) = connect::pools(&settings, &session)?;
        let readers = connect::readers(&settings)?;
        let store = Self {
            runtime: Some(runtime),
            pool: pool.clone(),
            keeper,
            readers,
            settings: Arc::new(settings),
            session,
            claim: None,
            stored_inputs: BTreeSet::new(),
        };
        store.wait(migrate::run(pool))?;
        Ok(store)
    }

    /// Has the runtime do something and waits for it. Also works on threads of another runtime, which it blocks.
    fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let gone = || StoreError::unexpected("the store's own thread has ended");
        let runtime = self.runtime.as_ref().ok_or_else(gone)?;
        let (reply, answer) = mpsc::sync_channel(1);
        runtime.spawn(async move {
            // Whoever asked waits below.
            let _ = reply.send(work.await);
        });
        answer.recv().map_err(|_| gone())?
    }

    fn begin_term(&mut self, term: u64) {
        self.end_term();
        self.stored_inputs.clear();
        let claim = Arc::new(Claim { term, session: self.session.clone(), lease: self.settings.lease });
        let (keeper, kept) = (self.keeper.clone(), Arc::clone(&claim));
        let runtime = self.runtime.as_ref();
        let task = runtime.map(|runtime| runtime.spawn(leader::keep(keeper, kept)).abort_handle());
        self.claim = task.map(|task| (claim, task));
    }

    fn end_term(&mut self) {
        if let Some((_, task)) = self.claim.take() {
            task.abort();
        }
    }
}

impl Store for PostgresStore {
    fn bind(&mut self, deployment: &str) -> Result<(), StoreError> {
        let (pool, patience) = (self.pool.clone(), self.settings.patience());
        let values = [("version", VERSION.to_string()), ("deployment", deployment.to_owned())];
        let found = self.wait(async move { read::bind(&pool, values, patience).await })?;
        let [version, bound] = found;
        if version != VERSION.to_string() {
            return Err(StoreError::Version { found: version, expected: VERSION });
        }
        if bound != deployment {
            return Err(StoreError::Deployment { found: bound, expected: deployment.to_owned() });
        }
        Ok(())
    }

    fn lead(&mut self) -> Result<Leadership, StoreError> {
        let (pool, settings) = (self.pool.clone(), Arc::clone(&self.settings));
        let session = self.session.clone();
        let held = self.claim.as_ref().map(|(claim, _)| claim.term);
        let leadership = self.wait(async move { leader::lead(&pool, &settings, &session, held).await })?;
        match &leadership {
            Leadership::Leading { term } if held == Some(*term) => {}
            Leadership::Leading { term } => {
                failpoint("store.lead.won");
                self.begin_term(*term);
            }
            Leadership::Following { .. } => self.end_term(),
        }
        Ok(leadership)
    }

    fn replay(
        &mut self,
        after: u64,
        each: &mut dyn FnMut(u64, Stamped) -> Result<(), StoreError>,
    ) -> Result<Option<Checkpoint>, StoreError> {
        let (pool, patience) = (self.pool.clone(), self.settings.patience());
        let mut reader = self.wait(async move { read::Reader::begin(&pool, patience).await })?;
        let mut last = after;
        let mut page = self.wait(async move { reader.page(last).await })?;
        loop {
            reader = page.reader;
            let next = page.events.last().map(|(sequence, _)| *sequence);
            // The next page is on its way while this one is applied.
            let following = match (next, &self.runtime) {
                (Some(sequence), Some(runtime)) => {
                    Ok(runtime.spawn(async move { reader.page(sequence).await }))
                }
                _ => Err(reader),
            };
            for (sequence, body) in page.events {
                let damaged = |detail: String| StoreError::Damaged { sequence, detail };
                if sequence != last + 1 {
                    return Err(damaged(format!("event {} is missing", last + 1)));
                }
                last = sequence;
                each(sequence, postcard::from_bytes(&body).map_err(|error| damaged(error.to_string()))?)?;
            }
            page = match following {
                Ok(task) => self.wait(async move { task.await.map_err(StoreError::unexpected)? })?,
                Err(reader) => return self.wait(async move { reader.checkpoint().await }),
            };
        }
    }

    fn commit(&mut self, first: u64, events: &[Stamped], rows: &[Row]) -> Result<(), StoreError> {
        let Some((claim, _)) = &self.claim else {
            let pool = self.pool.clone();
            let patience = self.settings.patience();
            let holder = self.wait(async move { leader::holder(&pool, patience).await })?;
            return Err(StoreError::Deposed { holder });
        };
        values::check(events, rows)?;
        let group = commit::Group::encode(first, events, rows, &self.stored_inputs, Arc::clone(claim))?;
        let (pool, patience) = (self.pool.clone(), self.settings.patience());
        failpoint("store.commit.before");
        self.wait(async move { commit::run(&pool, &group, patience).await })?;
        failpoint("store.commit.after");
        for row in rows {
            let Row::Batch(row) = row else { continue };
            match row.batch.input {
                Some(_) => self.stored_inputs.insert(row.batch.batch_no),
                None => self.stored_inputs.remove(&row.batch.batch_no),
            };
        }
        Ok(())
    }

    fn history(&self) -> Arc<dyn History> {
        let (pool, patience) = (self.readers.clone(), self.settings.patience());
        Arc::new(history::PostgresHistory { pool, patience })
    }

    fn is_incomplete(&mut self) -> Result<bool, StoreError> {
        let (pool, patience) = (self.pool.clone(), self.settings.patience());
        self.wait(async move { read::is_incomplete(&pool, patience).await })
    }

    fn now(&mut self) -> Result<Option<u64>, StoreError> {
        let (pool, patience) = (self.pool.clone(), self.settings.patience());
        self.wait(async move { read::now(&pool, patience).await.map(Some) })
    }

    fn lines(&mut self, batch_no: u32) -> Result<Vec<Line>, StoreError> {
        let (pool, patience) = (self.pool.clone(), self.settings.patience());
        self.wait(async move { read::lines(&pool, batch_no, patience).await })
    }
}

impl Drop for PostgresStore {
    /// Lets a standby take over at once, and ends the runtime without waiting for it: that may be forbidden where the store
    /// is dropped.
    fn drop(&mut self) {
        if let Some((claim, task)) = self.claim.take() {
            task.abort();
            let keeper = self.keeper.clone();
            // If the database does not answer, the lease runs out by itself.
            let _ = self.wait(async move { leader::resign(&keeper, &claim, RESIGN_PATIENCE).await });
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
