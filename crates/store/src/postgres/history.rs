//! What readers ask, over a pool of their own.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use context::cost;
use deadpool_postgres::Pool;
use protocol::{
    OperationId,
    history::{BatchView, ListOf, OperationView},
};
use sequencer::state::rows::PER_BATCH;
use tokio::time::timeout;
use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};

use super::error::late;
use crate::{
    StoreError,
    history::{BatchRow, History, KeptPromises, OperationRow, Signatures, kept},
};

const OPERATION: &str = "SELECT o.id, o.kind, o.sender, o.recipient, o.amount, o.batch_no, o.at, o.hit, b.timeline \
    FROM operations o LEFT JOIN batches b ON b.batch_no = o.batch_no WHERE o.id = $1";
const OF_ADDRESS: &str = "SELECT o.id, o.kind, o.sender, o.recipient, o.amount, o.batch_no, o.at, o.hit, b.timeline FROM (\
    (SELECT number FROM operations WHERE sender = $1 AND number < $2 ORDER BY number DESC LIMIT $3) UNION \
    (SELECT number FROM operations WHERE recipient = $1 AND number < $2 ORDER BY number DESC LIMIT $3)) AS page \
    JOIN operations o ON o.number = page.number LEFT JOIN batches b ON b.batch_no = o.batch_no \
    ORDER BY o.number DESC LIMIT $3";
const OF_BATCH: &str = "SELECT o.id, o.kind, o.sender, o.recipient, o.amount, o.batch_no, o.at, o.hit, b.timeline \
    FROM operations o LEFT JOIN batches b ON b.batch_no = o.batch_no WHERE o.number >= $1 AND o.number < $2 \
    ORDER BY o.number LIMIT $3";
const PLACE_OF_ADDRESS: &str =
    "SELECT number FROM operations WHERE id = $1 AND (sender = $2 OR recipient = $2)";
const PLACE_IN_BATCH: &str = "SELECT number FROM operations WHERE id = $1 AND batch_no = $2";
const BATCHES: &str = "SELECT b.batch_no, b.shape, b.start, b.old_root, b.mid_root, b.new_root, b.public_inputs, p.proof, \
    b.worker, b.attempts, p.prove_ms, p.witness_ms, b.l1_tx, b.l1_block, b.gas_used, b.timeline FROM batches b \
    LEFT JOIN proofs p ON p.batch_no = b.batch_no WHERE b.batch_no >= $1 AND b.batch_no < $2 ORDER BY b.batch_no DESC \
    LIMIT $3";
const PROMISES: &str = "SELECT o.batch_no, o.deadline, o.promised, p.signer, p.signatures FROM operations o \
    LEFT JOIN promises p ON p.operation = o.id WHERE o.id = $1";
const KEEP: &str = "INSERT INTO promises (operation, signer, signatures) \
    SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[]) ON CONFLICT DO NOTHING";

/// The history in a database. Its connections are made on the runtime of whoever asks first.
pub(super) struct PostgresHistory {
    pub pool: Pool,
    pub patience: Duration,
}

type Value<'a> = &'a (dyn ToSql + Sync);

impl PostgresHistory {
    /// Rows of one statement; the time that the answer takes is the reader's.
    async fn query(
        &self,
        statement: &str,
        types: &[Type],
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        let asked = async {
            let client = self.pool.get().await?;
            let begun = Instant::now();
            let prepared = client.prepare_typed_cached(statement, types).await?;
            let rows = client.query(&prepared, values).await;
            cost::charge(begun.elapsed());
            Ok(rows?)
        };
        timeout(self.patience, asked).await.unwrap_or_else(|_| Err(late()))
    }

    async fn place(&self, list: ListOf, after: OperationId) -> Result<Option<i64>, StoreError> {
        let id: &[u8] = &after.0;
        let rows = match list {
            ListOf::Address(address) => {
                let address: &[u8] = &address;
                self.query(PLACE_OF_ADDRESS, &[Type::BYTEA, Type::BYTEA], &[&id, &address]).await?
            }
            ListOf::Batch(batch_no) => {
                self.query(PLACE_IN_BATCH, &[Type::BYTEA, Type::INT4], &[&id, &(batch_no as i32)]).await?
            }
        };
        Ok(rows.first().and_then(|row| row.get(0)))
    }

    async fn batches_in(&self, from: u32, below: u32, limit: i64) -> Result<Vec<BatchView>, StoreError> {
        let number = |batch_no: u32| i32::try_from(batch_no).unwrap_or(i32::MAX);
        let types = [Type::INT4, Type::INT4, Type::INT8];
        let rows = self.query(BATCHES, &types, &[&number(from), &number(below), &limit]).await?;
        rows.iter().map(|row| batch_row(row).view()).collect()
    }
}

fn operation_row(row: &Row) -> OperationRow {
    OperationRow {
        id: row.get(0),
        kind: row.get(1),
        sender: row.get(2),
        recipient: row.get(3),
        amount: row.get(4),
        batch_no: row.get::<_, i32>(5) as u32,
        at: row.get(6),
        hit: row.get(7),
        timeline: row.get(8),
    }
}

fn batch_row(row: &Row) -> BatchRow {
    BatchRow {
        batch_no: row.get::<_, i32>(0) as u32,
        shape: row.get(1),
        start: row.get(2),
        roots: [row.get(3), row.get(4), row.get(5)],
        public_inputs: row.get(6),
        proof: row.get(7),
        worker: row.get(8),
        attempts: row.get(9),
        prove_ms: row.get(10),
        witness_ms: row.get(11),
        l1_tx: row.get(12),
        l1_block: row.get(13),
        gas_used: row.get(14),
        timeline: row.get(15),
    }
}

fn views(rows: &[Row]) -> Result<Vec<OperationView>, StoreError> {
    rows.iter().map(|row| operation_row(row).view()).collect()
}

#[async_trait]
impl History for PostgresHistory {
    async fn operation(&self, id: OperationId) -> Result<Option<OperationView>, StoreError> {
        let id: &[u8] = &id.0;
        let rows = self.query(OPERATION, &[Type::BYTEA], &[&id]).await?;
        Ok(views(&rows)?.pop())
    }

    async fn operations(
        &self,
        list: ListOf,
        after: Option<OperationId>,
        limit: usize,
    ) -> Result<Option<Vec<OperationView>>, StoreError> {
        let place = match after {
            None => None,
            Some(after) => match self.place(list, after).await? {
                Some(place) => Some(place),
                None => return Ok(None),
            },
        };
        let limit = limit as i64;
        let rows = match list {
            ListOf::Address(address) => {
                let address: &[u8] = &address;
                let types = [Type::BYTEA, Type::INT8, Type::INT8];
                self.query(OF_ADDRESS, &types, &[&address, &place.unwrap_or(i64::MAX), &limit]).await?
            }
            ListOf::Batch(batch_no) => {
                let first = i64::from(batch_no) * PER_BATCH as i64;
                let from = place.map_or(first, |place| place + 1);
                let types = [Type::INT8, Type::INT8, Type::INT8];
                self.query(OF_BATCH, &types, &[&from, &(first + PER_BATCH as i64), &limit]).await?
            }
        };
        views(&rows).map(Some)
    }

    async fn batch(&self, batch_no: u32) -> Result<Option<BatchView>, StoreError> {
        Ok(self.batches_in(batch_no, batch_no.saturating_add(1), 1).await?.pop())
    }

    async fn batches(&self, below: u32, limit: usize) -> Result<Vec<BatchView>, StoreError> {
        self.batches_in(0, below, limit as i64).await
    }

    async fn promises(&self, id: OperationId) -> Result<Option<KeptPromises>, StoreError> {
        let id: &[u8] = &id.0;
        let rows = self.query(PROMISES, &[Type::BYTEA], &[&id]).await?;
        let kept = |row: &Row| {
            let signed = row.get::<_, Option<&[u8]>>(3).zip(row.get::<_, Option<&[u8]>>(4));
            kept(row.get::<_, i32>(0) as u32, row.get(1), row.get(2), signed)
        };
        rows.first().map(kept).transpose()
    }

    async fn keep(&self, signed: &[(OperationId, Signatures)]) -> Result<(), StoreError> {
        let ids: Vec<&[u8]> = signed.iter().map(|(id, _)| &id.0[..]).collect();
        let signers: Vec<&[u8]> = signed.iter().map(|(_, signed)| &signed.signer[..]).collect();
        let signatures: Vec<Vec<u8>> = signed.iter().map(|(_, signed)| signed.signatures.concat()).collect();
        let kept = async {
            let client = self.pool.get().await?;
            let insert = client.prepare_cached(KEEP).await?;
            client.execute(&insert, &[&ids, &signers, &signatures]).await?;
            Ok(())
        };
        timeout(self.patience, kept).await.unwrap_or_else(|_| Err(late()))
    }
}
