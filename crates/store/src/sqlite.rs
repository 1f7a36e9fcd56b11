//! SQLite, embedded: one file in a locked data folder, write-ahead log, `synchronous = FULL` (a commit is on the disk when
//! it returns). Readers have connections of their own (`history`).

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bn254::{Fr, fr_from_be_bytes, fr_to_be_bytes};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params};
use sequencer::state::{
    event::{Stamped, VERSION},
    rows::{BatchRow, Checkpoint, Line, Row, stage_name},
};

use super::{
    FolderLock, History, Leadership, Store, StoreError,
    history::{promised_bytes, timeline_text},
    kind_name, values,
};

mod history;

use history::SqliteHistory;

const SCHEMA: &str = include_str!("sqlite/schema.sql");
/// From layout 1 to layout 2 of the projections.
const HISTORY: &str = include_str!("sqlite/history.sql");
const LAYOUT: i64 = 2;

const INCOMPLETE: &str = "SELECT EXISTS (SELECT 1 FROM operations WHERE number IS NULL) \
    OR EXISTS (SELECT 1 FROM batches WHERE timeline IS NULL)";

const NEXT_TERM: &str = "INSERT INTO meta (name, value) VALUES ('term', '1')
    ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT)
    RETURNING CAST(value AS INTEGER)";

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StoreError::Full(error.to_string()),
            Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch) => {
                StoreError::Value(error.to_string())
            }
            _ => StoreError::folder(error),
        }
    }
}

pub struct SqliteStore {
    path: PathBuf,
    connection: Connection,
    /// Taken with the first `lead`: each process that leads on this folder has its own, as on PostgreSQL.
    term: Option<u64>,
    _lock: FolderLock,
}

/// A table of jobs that knows published ones is of an earlier version, and does not take parked ones.
fn renew_jobs(connection: &Connection) -> Result<(), StoreError> {
    let made: String =
        connection.query_row("SELECT sql FROM sqlite_master WHERE name = 'jobs'", [], |row| row.get(0))?;
    if !made.contains("'published'") {
        return Ok(());
    }
    let new = made.replace("'published', 'leased', ", "'leased', 'parked', ");
    connection.execute_batch(&format!(
        "BEGIN; ALTER TABLE jobs RENAME TO jobs_before; {new};
         INSERT INTO jobs (batch_no, attempt, charged, phase, worker)
             SELECT batch_no, attempt, charged, CASE phase WHEN 'published' THEN 'due' ELSE phase END, worker FROM jobs_before;
         DROP TABLE jobs_before; COMMIT;"
    ))?;
    Ok(())
}

impl SqliteStore {
    /// Opens or makes the store in a folder.
    ///
    /// # Errors
    /// `Locked` if another process has it, `Version`, `Unusable`.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let lock = FolderLock::take(folder, "coordinator.lock")?;
        let path = folder.join("coordinator.sqlite");
        let connection = Connection::open(&path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", "ON")?;
        connection.set_prepared_statement_cache_capacity(64);
        connection.execute_batch(SCHEMA)?;
        renew_jobs(&connection)?;
        let layout: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if layout > LAYOUT {
            return Err(StoreError::Version {
                found: format!("{layout} of the projections"),
                expected: LAYOUT as u32,
            });
        }
        if layout < LAYOUT {
            connection.execute_batch(&format!("BEGIN; {HISTORY} COMMIT;"))?;
        }
        let store = Self { path, connection, term: None, _lock: lock };
        let found = store.meta("version", &VERSION.to_string())?;
        if found != VERSION.to_string() {
            return Err(StoreError::Version { found, expected: VERSION });
        }
        Ok(store)
    }

    /// The value of a setting, written now if it was not there.
    fn meta(&self, name: &str, value: &str) -> Result<String, StoreError> {
        self.connection.execute("INSERT OR IGNORE INTO meta (name, value) VALUES (?1, ?2)", [name, value])?;
        Ok(self.connection.query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0))?)
    }

    fn checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        let last = "SELECT batch_no, new_root FROM batches ORDER BY batch_no DESC LIMIT 1";
        let row: Option<(u32, [u8; 32])> =
            self.connection.query_row(last, [], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        row.map(|(batch_no, root)| {
            let root = fr_from_be_bytes(&root)
                .map_err(|error| StoreError::folder(format!("root of batch {batch_no}: {error}")))?;
            Ok(Checkpoint { batch_no, root })
        })
        .transpose()
    }
}

impl Store for SqliteStore {
    fn bind(&mut self, deployment: &str) -> Result<(), StoreError> {
        let found = self.meta("deployment", deployment)?;
        if found == deployment {
            return Ok(());
        }
        Err(StoreError::Deployment { found, expected: deployment.to_owned() })
    }

    /// The lock of the folder was taken when the store was opened.
    fn lead(&mut self) -> Result<Leadership, StoreError> {
        let term = match self.term {
            Some(term) => term,
            None => self.connection.query_row(NEXT_TERM, [], |row| row.get::<_, i64>(0))? as u64,
        };
        self.term = Some(term);
        Ok(Leadership::Leading { term })
    }

    fn replay(
        &mut self,
        after: u64,
        each: &mut dyn FnMut(u64, Stamped) -> Result<(), StoreError>,
    ) -> Result<Option<Checkpoint>, StoreError> {
        let mut select = self
            .connection
            .prepare("SELECT sequence, body FROM events WHERE sequence > ?1 ORDER BY sequence")?;
        let mut rows = select.query([after as i64])?;
        let mut expected = after + 1;
        while let Some(row) = rows.next()? {
            let (sequence, body): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
            let sequence = sequence as u64;
            let damaged = |detail: String| StoreError::Damaged { sequence, detail };
            if sequence != expected {
                return Err(damaged(format!("event {expected} is missing")));
            }
            expected += 1;
            each(sequence, postcard::from_bytes(&body).map_err(|error| damaged(error.to_string()))?)?;
        }
        self.checkpoint()
    }

    fn commit(&mut self, first: u64, events: &[Stamped], rows: &[Row]) -> Result<(), StoreError> {
        values::check(events, rows)?;
        let bodies: Result<Vec<_>, _> = events.iter().map(postcard::to_stdvec).collect();
        let bodies = bodies.map_err(StoreError::unexpected)?;
        // Another connection writes too (signatures of promises): whoever comes second waits.
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let last: Option<i64> =
            transaction.query_row("SELECT max(sequence) FROM events", [], |row| row.get(0))?;
        let next = last.map_or(1, |last| last as u64 + 1);
        if first != next {
            return match first < next && holds(&transaction, first, &bodies)? {
                true => Ok(()),
                false => Err(StoreError::unexpected(format!("event {next} comes next, not {first}"))),
            };
        }
        {
            let mut insert =
                transaction.prepare_cached("INSERT INTO events (sequence, at, body) VALUES (?1, ?2, ?3)")?;
            for ((sequence, event), body) in (first..).zip(events).zip(&bodies) {
                insert.execute(params![sequence as i64, event.at as i64, body])?;
            }
        }
        for row in rows {
            write(&transaction, row)?;
        }
        Ok(transaction.commit()?)
    }

    fn history(&self) -> Arc<dyn History> {
        Arc::new(SqliteHistory::of(&self.path))
    }

    fn is_incomplete(&mut self) -> Result<bool, StoreError> {
        Ok(self.connection.query_row(INCOMPLETE, [], |row| row.get(0))?)
    }

    fn lines(&mut self, batch_no: u32) -> Result<Vec<Line>, StoreError> {
        let mut select =
            self.connection.prepare_cached("SELECT at, text FROM lines WHERE batch_no = ?1 ORDER BY id")?;
        let lines = select.query_map([batch_no], |row| {
            Ok(Line { batch_no, at: row.get::<_, i64>(0)? as u64, text: row.get(1)? })
        })?;
        Ok(lines.collect::<Result<_, _>>()?)
    }
}

/// Whether the log holds exactly these events under the numbers from `first`.
fn holds(transaction: &Transaction<'_>, first: u64, bodies: &[Vec<u8>]) -> Result<bool, StoreError> {
    let mut select = transaction.prepare_cached("SELECT body FROM events WHERE sequence = ?1")?;
    for (sequence, body) in (first..).zip(bodies) {
        let stored: Option<Vec<u8>> = select.query_row([sequence as i64], |row| row.get(0)).optional()?;
        if stored.as_ref() != Some(body) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn word(value: &Fr) -> [u8; 32] {
    fr_to_be_bytes(value)
}

fn write(transaction: &Transaction<'_>, row: &Row) -> Result<(), StoreError> {
    let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| -> Result<(), StoreError> {
        transaction.prepare_cached(sql)?.execute(values)?;
        Ok(())
    };
    match row {
        Row::Balance(address, balances) => run(
            "INSERT INTO user_balance (address, balance, proven, final) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (address) DO \
             UPDATE SET balance = ?2, proven = ?3, final = ?4",
            params![address, balances.accepted as i64, balances.proven as i64, balances.finalized as i64],
        ),
        Row::Leaf(place, _, Some(leaf)) => run(
            "INSERT OR REPLACE INTO leaves (place, owner, account, key_hash, low, high, batch_no) VALUES (?1, ?2, ?3, ?4, \
             ?5, ?6, ?7)",
            params![
                *place as i64,
                leaf.owner,
                word(&leaf.account),
                leaf.key_hash.as_ref().map(word),
                leaf.range.low() as i64,
                leaf.range.high() as i64,
                leaf.batch_no
            ],
        ),
        Row::Leaf(place, _, None) => run("DELETE FROM leaves WHERE place = ?1", params![*place as i64]),
        Row::Operation(row) => {
            let (operation, number) = (&row.operation, row.number);
            run(
                "INSERT INTO operations (id, kind, sender, recipient, amount, batch_no, at, hit, number, deadline, promised) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (id) DO UPDATE SET batch_no = ?6, \
                 at = ?7, hit = ?8, number = ?9, deadline = ?10, promised = ?11",
                params![
                    operation.id.0,
                    kind_name(operation.kind),
                    operation.sender,
                    operation.recipient,
                    operation.amount as i64,
                    operation.batch_no,
                    operation.at as i64,
                    operation.hit,
                    number as i64,
                    operation.deadline as i64,
                    promised_bytes(&operation.promised)
                ],
            )
        }
        Row::Batch(row) => write_batch(transaction, row),
        Row::Directory(entry) => run(
            "INSERT OR REPLACE INTO directory (owner, ax, ay, key_epoch, signature) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![entry.owner, word(&entry.key.x), word(&entry.key.y), entry.key_epoch, entry.signature],
        ),
        Row::Idempotency(sender, key, remembered) => run(
            "INSERT OR REPLACE INTO idempotency (sender, key, request_hash, operation) VALUES (?1, ?2, ?3, ?4)",
            params![sender, key, remembered.request_hash, remembered.operation],
        ),
        Row::Cursor(cursor) => run(
            "INSERT OR REPLACE INTO chain_cursor (id, number, hash) VALUES (1, ?1, ?2)",
            params![cursor.number as i64, cursor.hash],
        ),
        Row::Line(line) => run(
            "INSERT INTO lines (batch_no, at, text) VALUES (?1, ?2, ?3)",
            params![line.batch_no, line.at as i64, line.text],
        ),
    }
}

fn write_batch(transaction: &Transaction<'_>, row: &BatchRow) -> Result<(), StoreError> {
    let BatchRow { batch, transactions, job } = row;
    transaction
        .prepare_cached(
            "INSERT INTO batches (batch_no, shape, stage, start, old_root, mid_root, new_root, input_hash, input, l1_tx, \
             l1_block, gas_used, public_inputs, worker, attempts, timeline) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, \
             ?11, ?12, ?13, ?14, ?15, ?16) ON CONFLICT (batch_no) DO UPDATE SET stage = ?3, input = ?9, l1_tx = ?10, \
             l1_block = ?11, gas_used = ?12, public_inputs = ?13, worker = ?14, attempts = ?15, timeline = ?16",
        )?
        .execute(params![
            batch.batch_no,
            batch.shape.name(),
            stage_name(batch.stage()),
            batch.start as i64,
            word(&batch.old_root),
            word(&batch.mid_root),
            word(&batch.new_root),
            batch.input_hash,
            batch.input.as_deref(),
            batch.l1_tx,
            batch.l1_block.map(|block| block as i64),
            batch.gas_used.map(|gas| gas as i64),
            batch.public_inputs.map(|input| word(&input)).concat(),
            batch.worker,
            batch.attempts,
            timeline_text(&batch.timeline)
        ])?;
    if let Some(proof) = &batch.proof {
        transaction
            .prepare_cached(
                "INSERT INTO proofs (batch_no, proof, worker, prove_ms, witness_ms) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
            )?
            .execute(params![
                batch.batch_no,
                proof,
                batch.worker,
                batch.prove_ms.map(|ms| ms as i64),
                batch.witness_ms.map(|ms| ms as i64)
            ])?;
    }
    match job {
        Some(job) => transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO jobs (batch_no, attempt, charged, phase, worker) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![batch.batch_no, job.attempt, job.charged, job.phase, job.worker])?,
        None => transaction
            .prepare_cached("DELETE FROM jobs WHERE batch_no = ?1")?
            .execute(params![batch.batch_no])?,
    };
    for tx in transactions {
        transaction
            .prepare_cached(
                "INSERT INTO transactions (hash, batch_no, nonce, raw, max_fee, max_priority) VALUES (?1, ?2, ?3, \
                 ?4, ?5, ?6) ON CONFLICT DO NOTHING",
            )?
            .execute(params![
                tx.hash,
                batch.batch_no,
                tx.nonce as i64,
                tx.raw,
                tx.fees.max_fee.to_string(),
                tx.fees.max_priority.to_string()
            ])?;
    }
    Ok(())
}
