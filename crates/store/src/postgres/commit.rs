//! One group in one transaction, sent in one go.
//!
//! `BEGIN`, a statement per table, the fence and `COMMIT` are written to the connection without waiting for answers between
//! them. If one fails, those after it do nothing and `COMMIT` rolls back; the first error is the answer.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use deadpool_postgres::{Client, Pool};
use futures::future::{BoxFuture, FutureExt, join_all};
use sequencer::state::{event::Stamped, rows::Row};
use tokio_postgres::{Error, error::SqlState, types::ToSql};

use super::{
    leader::Claim,
    rows::{self, Param, Write},
    session::{Session, within},
};
use crate::StoreError;

const FENCE: &str = "SELECT fence($1::bigint, $2::text, $3::bigint, $4::bigint, $5::integer)";
const INSERT_EVENTS: &str =
    "INSERT INTO events (sequence, at, body) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[])";
const STORED: &str =
    "SELECT body FROM events WHERE sequence >= $1::bigint AND sequence < $2::bigint ORDER BY sequence";

/// Events and rows as the database takes them.
pub(super) struct Group {
    first: u64,
    bodies: Arc<[Vec<u8>]>,
    writes: Vec<Write>,
    claim: Arc<Claim>,
    /// The highest batch of an operation.
    last_batch: i32,
}

impl Group {
    pub fn encode(
        first: u64,
        events: &[Stamped],
        rows: &[Row],
        stored_inputs: &BTreeSet<u32>,
        claim: Arc<Claim>,
    ) -> Result<Self, StoreError> {
        let bodies: Result<Arc<[Vec<u8>]>, _> = events.iter().map(postcard::to_stdvec).collect();
        let bodies = bodies.map_err(StoreError::unexpected)?;
        let mut writes = Vec::new();
        if !events.is_empty() {
            let sequences: Vec<i64> = (first..).zip(events).map(|(sequence, _)| sequence as i64).collect();
            let times: Vec<i64> = events.iter().map(|event| event.at as i64).collect();
            let params: Vec<Param> = vec![Box::new(sequences), Box::new(times), Box::new(bodies.to_vec())];
            writes.push(Write { statement: INSERT_EVENTS, params });
        }
        let folded = rows::Folded::new(rows, stored_inputs);
        let last_batch = folded.last_batch();
        folded.writes(&mut writes);
        Ok(Self { first, bodies, writes, claim, last_batch })
    }
}

pub(super) async fn run(pool: &Pool, group: &Group, patience: Duration) -> Result<(), StoreError> {
    let client = Session::open(pool).await?;
    let called = async {
        match transaction(&client, group).await {
            Ok(()) => Ok(()),
            Err(error) if is_repeated(&error) => compare(&client, group).await,
            Err(error) => Err(error.into()),
        }
    };
    // After a timeout answers to this group may still come: the connection is of no use to anybody else.
    let done = within(patience, called).await;
    client.end(done)
}

async fn transaction(client: &Client, group: &Group) -> Result<(), Error> {
    let claim = &group.claim;
    let fence = Write {
        statement: FENCE,
        params: vec![
            Box::new(claim.term as i64),
            Box::new(claim.session.clone()),
            Box::new(claim.lease_ms()),
            Box::new(group.first as i64),
            Box::new(group.last_batch),
        ],
    };
    let mut statements = Vec::with_capacity(group.writes.len() + 1);
    for write in group.writes.iter().chain([&fence]) {
        let values = write.params.iter().map(|value| -> &(dyn ToSql + Sync) { &**value });
        let values: Vec<_> = values.collect();
        statements.push((client.prepare_cached(write.statement).await?, values));
    }
    // Polled in this order, each writes its messages when it is polled first.
    let mut steps: Vec<BoxFuture<'_, Result<(), Error>>> = Vec::with_capacity(statements.len() + 2);
    steps.push(client.batch_execute("BEGIN").boxed());
    for (statement, values) in &statements {
        steps.push(client.execute(statement, values).map(|done| done.map(|_| ())).boxed());
    }
    steps.push(client.batch_execute("COMMIT").boxed());
    // Polled last: everything is handed to the connection, and no answer is there.
    let handed_over = async {
        wire::failpoint("store.commit.sent");
        Ok(())
    };
    steps.push(handed_over.boxed());
    join_all(steps).await.into_iter().collect()
}

/// Whether an event of this number is there already.
fn is_repeated(error: &Error) -> bool {
    error.as_db_error().is_some_and(|refused| {
        *refused.code() == SqlState::UNIQUE_VIOLATION && refused.constraint() == Some("events_pkey")
    })
}

/// An earlier call wrote the same, or another leader wrote something else.
async fn compare(client: &Client, group: &Group) -> Result<(), StoreError> {
    let end = group.first + group.bodies.len() as u64;
    let stored = client.query(STORED, &[&(group.first as i64), &(end as i64)]).await?;
    let same = stored.len() == group.bodies.len()
        && stored
            .iter()
            .zip(group.bodies.iter())
            .all(|(row, body)| row.get::<_, &[u8]>(0) == body.as_slice());
    if same {
        return Ok(());
    }
    let row = client.query_opt("SELECT holder FROM leader", &[]).await?;
    Err(StoreError::Deposed { holder: row.map_or_else(|| "nobody".to_owned(), |row| row.get(0)) })
}
