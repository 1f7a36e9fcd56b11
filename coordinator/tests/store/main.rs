//! The store on its two engines: the same promises, the same projections, and what only a server can do to a coordinator.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod failover;
mod fixtures;
mod leadership;
mod mark;
mod outages;
mod refusals;
mod restored;
mod schema;
mod tls;

use fixtures::{OnPostgres, OnSqlite};
use store::conformance;
use testbed::postgres::Postgres;

#[test]
fn sqlite_keeps_every_promise_of_a_store() {
    conformance::check_all(OnSqlite::fresh).unwrap();
}

#[test]
fn postgresql_keeps_every_promise_of_a_store() {
    let server = Postgres::start().unwrap();
    conformance::check_all(|| OnPostgres::fresh(&server)).unwrap();
}

#[test]
fn both_engines_hold_the_same_projections() {
    let server = Postgres::start().unwrap();
    let sqlite = conformance::projections(&OnSqlite::fresh()).unwrap();
    let mut postgres = conformance::projections(&OnPostgres::fresh(&server)).unwrap();
    for (table, rows) in &sqlite {
        assert!(!rows.is_empty() || *table == "jobs", "{table} was not written");
        // PostgreSQL has columns for its own constraints besides.
        let columns: Vec<String> = rows.first().into_iter().flat_map(|row| row.keys().cloned()).collect();
        let others = postgres.get_mut(table).unwrap();
        others.iter_mut().for_each(|row| row.retain(|column, _| columns.contains(column)));
        others.sort();
        assert_eq!(others, rows, "{table}");
    }
}
