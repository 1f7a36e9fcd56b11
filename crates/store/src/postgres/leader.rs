//! Winning and keeping the term.
//!
//! A leader extends its lease with every commit and, from a connection of its own, four times within it. Whoever finds the
//! lease expired, or held by its own former self, cuts the connections of the old leader and begins the next term. Cutting
//! them frees what a frozen leader may hold locked; it cannot write again, since its term is over.

use std::{sync::Arc, time::Duration};

use deadpool_postgres::Pool;
use tokio::time::{MissedTickBehavior, interval};
use tokio_postgres::types::ToSql;

use super::{
    PostgresSettings,
    error::late,
    session::{Session, within},
};
use crate::{Leadership, StoreError};

/// A term that this store won.
#[derive(Debug)]
pub(super) struct Claim {
    pub term: u64,
    pub session: String,
    pub lease: Duration,
}

impl Claim {
    pub fn lease_ms(&self) -> i64 {
        millis(self.lease)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

const RENEW: &str = "UPDATE leader SET expires_at = clock_timestamp() + $3::bigint * interval '1 millisecond' \
                     WHERE term = $1::bigint AND session = $2::text";
const LOOK: &str = "SELECT holder, holder = $1::text OR expires_at < clock_timestamp() FROM leader";
const CUT: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity JOIN leader ON application_name = session \
                   WHERE datname = current_database() AND usename = current_user AND session <> $2::text \
                   AND (holder = $1::text OR expires_at < clock_timestamp())";
const WIN: &str = "INSERT INTO leader (term, holder, session, expires_at) \
                   VALUES (1, $1::text, $2::text, clock_timestamp() + $3::bigint * interval '1 millisecond') \
                   ON CONFLICT (one) DO UPDATE SET term = leader.term + 1, holder = excluded.holder, \
                   session = excluded.session, expires_at = excluded.expires_at \
                   WHERE leader.holder = $1::text OR leader.expires_at < clock_timestamp() RETURNING term";
const RESIGN: &str =
    "UPDATE leader SET expires_at = clock_timestamp() WHERE term = $1::bigint AND session = $2::text";

/// Asks to lead. `held` is the term that this store won last.
pub(super) async fn lead(
    pool: &Pool,
    settings: &PostgresSettings,
    session: &str,
    held: Option<u64>,
) -> Result<Leadership, StoreError> {
    let lease = millis(settings.lease);
    let client = Session::open(pool).await?;
    let asked = async {
        if let Some(term) = held {
            let renew = client.prepare_cached(RENEW).await?;
            if client.execute(&renew, &[&(term as i64), &session, &lease]).await? == 1 {
                return Ok(Leadership::Leading { term });
            }
        }
        let look = client.prepare_cached(LOOK).await?;
        if let Some(row) = client.query_opt(&look, &[&settings.holder]).await? {
            if !row.get::<_, bool>(1) {
                return Ok(Leadership::Following { holder: row.get(0) });
            }
            client.query(CUT, &[&settings.holder, &session]).await?;
        }
        let win: &[&(dyn ToSql + Sync)] = &[&settings.holder, &session, &lease];
        if let Some(row) = client.query_opt(WIN, win).await? {
            return Ok(Leadership::Leading { term: row.get::<_, i64>(0) as u64 });
        }
        // Another was faster.
        let row = client.query_one(&look, &[&settings.holder]).await?;
        Ok(Leadership::Following { holder: row.get(0) })
    };
    let led = within(settings.patience(), asked).await;
    client.end(led)
}

/// Who leads, for a refusal.
pub(super) async fn holder(pool: &Pool, patience: Duration) -> Result<String, StoreError> {
    let client = Session::open(pool).await?;
    let asked = async {
        let row = client.query_opt("SELECT holder FROM leader", &[]).await?;
        Ok(row.map_or_else(|| "nobody".to_owned(), |row| row.get(0)))
    };
    let found = within(patience, asked).await;
    client.end(found)
}

/// Keeps the term until it is lost.
pub(super) async fn keep(pool: Pool, claim: Arc<Claim>) {
    let mut clock = interval((claim.lease / 4).clamp(Duration::from_millis(10), Duration::from_secs(1)));
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        match renew(&pool, &claim).await {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!(term = claim.term, "another coordinator leads now");
                return;
            }
            Err(error) => tracing::warn!(%error, "the lead could not be renewed"),
        }
    }
}

async fn renew(pool: &Pool, claim: &Claim) -> Result<bool, StoreError> {
    let client = Session::open(pool).await?;
    let asked = async {
        let renew = client.prepare_cached(RENEW).await?;
        let kept = client.execute(&renew, &[&(claim.term as i64), &claim.session, &claim.lease_ms()]).await?;
        Ok(kept == 1)
    };
    let kept = within(claim.lease, asked).await;
    client.end(kept)
}

/// The lease ends now.
pub(super) async fn resign(pool: &Pool, claim: &Claim, patience: Duration) -> Result<(), StoreError> {
    let asked = async {
        let client = pool.get().await?;
        client.execute(RESIGN, &[&(claim.term as i64), &claim.session]).await?;
        Ok(())
    };
    // The store is closed: what becomes of its connection does not matter.
    within(patience, asked).await.unwrap_or_else(|_| Err(late()))
}
