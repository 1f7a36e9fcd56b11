//! Replay, lines, and what the database is bound to.

use std::time::Duration;

use bn254::fr_from_be_bytes;
use deadpool_postgres::{Client, ClientWrapper, Pool};
use sequencer::state::rows::{Checkpoint, Line};
use tokio::time::timeout;

use super::{
    error::late,
    session::{Session, within},
};
use crate::StoreError;

/// Events handed over at once.
const PAGE: i64 = 4_096;
const SELECT_PAGE: &str =
    "SELECT sequence, body FROM events WHERE sequence > $1::bigint ORDER BY sequence LIMIT $2::bigint";
/// Applying a page may take longer than a transaction may idle.
const BEGIN: &str =
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL idle_in_transaction_session_timeout = 0";

/// Reads the log and the last root as they were at one moment.
pub(super) struct Reader {
    /// Not given back to the pool: the transaction ends with the connection, however reading ends.
    client: ClientWrapper,
    patience: Duration,
}

pub(super) struct Page {
    pub reader: Reader,
    pub events: Vec<(u64, Vec<u8>)>,
}

impl Reader {
    pub async fn begin(pool: &Pool, patience: Duration) -> Result<Self, StoreError> {
        let client = Session::open(pool).await?;
        let begun = within(patience, async { Ok(client.batch_execute(BEGIN).await?) }).await;
        match begun {
            Ok(Ok(())) => Ok(Self { client: client.keep(), patience }),
            failed => client.end(failed.map(|failed| failed.and(Err(late())))),
        }
    }

    /// Events after a number.
    pub async fn page(self, after: u64) -> Result<Page, StoreError> {
        let asked = async {
            let select = self.client.prepare_cached(SELECT_PAGE).await?;
            let rows = self.client.query(&select, &[&(after as i64), &PAGE]).await?;
            let event = |row: &tokio_postgres::Row| (row.get::<_, i64>(0) as u64, row.get(1));
            Ok::<_, StoreError>(rows.iter().map(event).collect())
        };
        let events = timeout(self.patience, asked).await.unwrap_or_else(|_| Err(late()))?;
        Ok(Page { reader: self, events })
    }

    pub async fn checkpoint(self) -> Result<Option<Checkpoint>, StoreError> {
        let last = "SELECT batch_no, new_root FROM batches ORDER BY batch_no DESC LIMIT 1";
        let asked = async { Ok::<_, StoreError>(self.client.query_opt(last, &[]).await?) };
        let row = timeout(self.patience, asked).await.unwrap_or_else(|_| Err(late()))?;
        row.map(|row| {
            let batch_no = row.get::<_, i32>(0) as u32;
            let unusable =
                |detail: String| StoreError::unexpected(format!("root of batch {batch_no}: {detail}"));
            let root = row.get::<_, &[u8]>(1).try_into().map_err(|_| unusable("not 32 bytes".to_owned()))?;
            let root = fr_from_be_bytes(root).map_err(|error| unusable(error.to_string()))?;
            Ok(Checkpoint { batch_no, root })
        })
        .transpose()
    }
}

pub(super) async fn lines(pool: &Pool, batch_no: u32, patience: Duration) -> Result<Vec<Line>, StoreError> {
    let client = Session::open(pool).await?;
    let asked = async {
        let select =
            client.prepare_cached("SELECT at, text FROM lines WHERE batch_no = $1 ORDER BY id").await?;
        let rows = client.query(&select, &[&(batch_no as i32)]).await?;
        let line =
            |row: &tokio_postgres::Row| Line { batch_no, at: row.get::<_, i64>(0) as u64, text: row.get(1) };
        Ok(rows.iter().map(line).collect())
    };
    let found = within(patience, asked).await;
    client.end(found)
}

/// Whether rows of the history lack what readers ask for.
pub(super) async fn is_incomplete(pool: &Pool, patience: Duration) -> Result<bool, StoreError> {
    let incomplete = "SELECT EXISTS (SELECT FROM operations WHERE number IS NULL) \
        OR EXISTS (SELECT FROM batches WHERE timeline IS NULL)";
    let asked = async {
        let client = pool.get().await?;
        Ok(client.query_one(incomplete, &[]).await?.get(0))
    };
    timeout(patience, asked).await.unwrap_or_else(|_| Err(late()))
}

/// The values of settings, written now where they were not there.
pub(super) async fn bind(
    pool: &Pool,
    [first, second]: [(&'static str, String); 2],
    patience: Duration,
) -> Result<[String; 2], StoreError> {
    let client = Session::open(pool).await?;
    let asked = async { Ok([meta(&client, first).await?, meta(&client, second).await?]) };
    let bound = within(patience, asked).await;
    client.end(bound)
}

/// The database's time, Unix milliseconds.
pub(super) async fn now(pool: &Pool, patience: Duration) -> Result<u64, StoreError> {
    let client = Session::open(pool).await?;
    let asked = async {
        let ask = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
        let ask = client.prepare_cached(ask).await?;
        Ok(client.query_one(&ask, &[]).await?.get::<_, i64>(0) as u64)
    };
    let told = within(patience, asked).await;
    client.end(told)
}

async fn meta(client: &Client, (name, value): (&str, String)) -> Result<String, StoreError> {
    let insert = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
    client.execute(insert, &[&name, &value]).await?;
    Ok(client.query_one("SELECT value FROM meta WHERE name = $1", &[&name]).await?.get(0))
}
