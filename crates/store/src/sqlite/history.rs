//! What readers ask, over connections of their own: in write-ahead mode a reader never waits for the writer, nor it for them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use context::cost;
use parking_lot::Mutex;
use protocol::{
    OperationId,
    history::{BatchView, ListOf, OperationView},
};
use rusqlite::{Connection, OptionalExtension, Params, Row, TransactionBehavior, params};
use sequencer::state::rows::PER_BATCH;
use tokio::sync::Semaphore;

use crate::{
    StoreError,
    history::{BatchRow, History, KeptPromises, OperationRow, Signatures, kept},
};

const OPERATION: &str = "SELECT o.id, o.kind, o.sender, o.recipient, o.amount, o.batch_no, o.at, o.hit, b.timeline \
    FROM operations o LEFT JOIN batches b ON b.batch_no = o.batch_no WHERE o.id = ?1";
const OF_ADDRESS: &str = "SELECT o.id, o.kind, o.sender, o.recipient, o.amount, o.batch_no, o.at, o.hit, b.timeline FROM (\
    SELECT * FROM (SELECT number FROM operations WHERE sender = ?1 AND number < ?2 ORDER BY number DESC LIMIT ?3) UNION \
    SELECT * FROM (SELECT number FROM operations WHERE recipient = ?1 AND number < ?2 ORDER BY number DESC LIMIT ?3)) page \
    JOIN operations o ON o.number = page.number LEFT JOIN batches b ON b.batch_no = o.batch_no \
    ORDER BY o.number DESC LIMIT ?3";
const OF_BATCH: &str = "SELECT o.id, o.kind, o.sender, o.recipient, o.amount, o.batch_no, o.at, o.hit, b.timeline \
    FROM operations o LEFT JOIN batches b ON b.batch_no = o.batch_no WHERE o.number >= ?1 AND o.number < ?2 \
    ORDER BY o.number LIMIT ?3";
const PLACE_OF_ADDRESS: &str =
    "SELECT number FROM operations WHERE id = ?1 AND (sender = ?2 OR recipient = ?2)";
const PLACE_IN_BATCH: &str = "SELECT number FROM operations WHERE id = ?1 AND batch_no = ?2";
const BATCHES: &str = "SELECT b.batch_no, b.shape, b.start, b.old_root, b.mid_root, b.new_root, b.public_inputs, p.proof, \
    b.worker, b.attempts, p.prove_ms, p.witness_ms, b.l1_tx, b.l1_block, b.gas_used, b.timeline FROM batches b \
    LEFT JOIN proofs p ON p.batch_no = b.batch_no WHERE b.batch_no >= ?1 AND b.batch_no < ?2 ORDER BY b.batch_no DESC \
    LIMIT ?3";
const PROMISES: &str = "SELECT o.batch_no, o.deadline, o.promised, p.signer, p.signatures FROM operations o \
    LEFT JOIN promises p ON p.operation = o.id WHERE o.id = ?1";
const KEEP: &str = "INSERT OR IGNORE INTO promises (operation, signer, signatures) VALUES (?1, ?2, ?3)";

/// Readers at once.
const CONNECTIONS: usize = 4;
/// How long a write waits for the other writer's commit to end.
const BUSY: Duration = Duration::from_secs(5);

/// The history in a file.
pub(super) struct SqliteHistory(Arc<Shared>);

struct Shared {
    path: PathBuf,
    /// Those that nobody uses now.
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
}

impl SqliteHistory {
    pub fn of(path: &Path) -> Self {
        let (path, idle) = (path.to_owned(), Mutex::default());
        Self(Arc::new(Shared { path, idle, permits: Semaphore::new(CONNECTIONS) }))
    }

    /// Asks on a thread for blocking work; its processor time is the reader's.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let _permit = self.0.permits.acquire().await.map_err(StoreError::unexpected)?;
        let shared = Arc::clone(&self.0);
        let asked = tokio::task::spawn_blocking(move || {
            let begun = cost::thread_time();
            let answer = shared.with(question);
            (answer, cost::thread_time().saturating_sub(begun))
        });
        let (answer, took) = asked.await.map_err(StoreError::unexpected)?;
        cost::charge(took);
        answer
    }
}

impl Shared {
    fn with<T>(
        &self,
        question: impl FnOnce(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let idle = || self.idle.lock();
        let taken = idle().pop();
        let mut connection = match taken {
            Some(connection) => connection,
            None => {
                let connection = Connection::open(&self.path)?;
                connection.busy_timeout(BUSY)?;
                // A signature that is lost with the machine is made again.
                connection.pragma_update(None, "synchronous", "NORMAL")?;
                connection.pragma_update(None, "foreign_keys", "ON")?;
                // The log is moved into the file by the writer alone.
                connection.pragma_update(None, "wal_autocheckpoint", 0)?;
                connection
            }
        };
        let answer = question(&mut connection);
        idle().push(connection);
        answer
    }
}

fn operation_row(row: &Row<'_>) -> Result<OperationRow, rusqlite::Error> {
    Ok(OperationRow {
        id: row.get(0)?,
        kind: row.get(1)?,
        sender: row.get(2)?,
        recipient: row.get(3)?,
        amount: row.get(4)?,
        batch_no: row.get(5)?,
        at: row.get(6)?,
        hit: row.get(7)?,
        timeline: row.get(8)?,
    })
}

fn batch_row(row: &Row<'_>) -> Result<BatchRow, rusqlite::Error> {
    Ok(BatchRow {
        batch_no: row.get(0)?,
        shape: row.get(1)?,
        start: row.get(2)?,
        roots: [row.get(3)?, row.get(4)?, row.get(5)?],
        public_inputs: row.get(6)?,
        proof: row.get(7)?,
        worker: row.get(8)?,
        attempts: row.get(9)?,
        prove_ms: row.get(10)?,
        witness_ms: row.get(11)?,
        l1_tx: row.get(12)?,
        l1_block: row.get(13)?,
        gas_used: row.get(14)?,
        timeline: row.get(15)?,
    })
}

fn operations(
    connection: &Connection,
    sql: &str,
    values: impl Params,
) -> Result<Vec<OperationView>, StoreError> {
    let mut select = connection.prepare_cached(sql)?;
    let rows = select.query_map(values, operation_row)?;
    rows.map(|row| row?.view()).collect()
}

fn batches(
    connection: &Connection,
    from: u32,
    below: u32,
    limit: usize,
) -> Result<Vec<BatchView>, StoreError> {
    let mut select = connection.prepare_cached(BATCHES)?;
    let rows = select.query_map(params![from, below, limit as i64], batch_row)?;
    rows.map(|row| row?.view()).collect()
}

fn place(connection: &Connection, list: ListOf, after: OperationId) -> Result<Option<i64>, StoreError> {
    let found: Option<Option<i64>> = match list {
        ListOf::Address(address) => connection
            .prepare_cached(PLACE_OF_ADDRESS)?
            .query_row(params![after.0, address], |row| row.get(0))
            .optional()?,
        ListOf::Batch(batch_no) => connection
            .prepare_cached(PLACE_IN_BATCH)?
            .query_row(params![after.0, batch_no], |row| row.get(0))
            .optional()?,
    };
    Ok(found.flatten())
}

#[async_trait]
impl History for SqliteHistory {
    async fn operation(&self, id: OperationId) -> Result<Option<OperationView>, StoreError> {
        self.ask(move |connection| Ok(operations(connection, OPERATION, params![id.0])?.pop())).await
    }

    async fn operations(
        &self,
        list: ListOf,
        after: Option<OperationId>,
        limit: usize,
    ) -> Result<Option<Vec<OperationView>>, StoreError> {
        self.ask(move |connection| {
            let behind = match after {
                None => None,
                Some(after) => match place(connection, list, after)? {
                    Some(place) => Some(place),
                    None => return Ok(None),
                },
            };
            let limit = limit as i64;
            let page = match list {
                ListOf::Address(address) => {
                    operations(connection, OF_ADDRESS, params![address, behind.unwrap_or(i64::MAX), limit])
                }
                ListOf::Batch(batch_no) => {
                    let first = i64::from(batch_no) * PER_BATCH as i64;
                    let from = behind.map_or(first, |place| place + 1);
                    operations(connection, OF_BATCH, params![from, first + PER_BATCH as i64, limit])
                }
            };
            page.map(Some)
        })
        .await
    }

    async fn batch(&self, batch_no: u32) -> Result<Option<BatchView>, StoreError> {
        self.ask(move |connection| Ok(batches(connection, batch_no, batch_no.saturating_add(1), 1)?.pop()))
            .await
    }

    async fn batches(&self, below: u32, limit: usize) -> Result<Vec<BatchView>, StoreError> {
        self.ask(move |connection| batches(connection, 0, below, limit)).await
    }

    async fn promises(&self, id: OperationId) -> Result<Option<KeptPromises>, StoreError> {
        self.ask(move |connection| {
            let mut select = connection.prepare_cached(PROMISES)?;
            let mut rows = select.query(params![id.0])?;
            let Some(row) = rows.next()? else { return Ok(None) };
            let (signer, signatures): (Option<Vec<u8>>, Option<Vec<u8>>) = (row.get(3)?, row.get(4)?);
            let signed = signer.as_deref().zip(signatures.as_deref());
            let promised: Option<Vec<u8>> = row.get(2)?;
            kept(row.get(0)?, row.get(1)?, promised.as_deref(), signed).map(Some)
        })
        .await
    }

    async fn keep(&self, signed: &[(OperationId, Signatures)]) -> Result<(), StoreError> {
        let signed = signed.to_vec();
        self.ask(move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            {
                let mut insert = transaction.prepare_cached(KEEP)?;
                for (id, Signatures { signer, signatures }) in &signed {
                    insert.execute(params![id.0, signer, signatures.concat()])?;
                }
            }
            Ok(transaction.commit()?)
        })
        .await
    }
}
