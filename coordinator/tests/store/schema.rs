//! What the schema itself refuses, and how it comes to be.

use store::{PostgresStore, StoreError};
use testbed::postgres::Postgres;

use crate::fixtures::{connect, count, leading, settings};

#[test]
fn coordinators_that_start_together_migrate_once() {
    let server = Postgres::start().unwrap();
    let url = server.url();
    std::thread::scope(|scope| {
        for n in 0..4 {
            let url = &url;
            scope.spawn(move || drop(connect(url, &format!("standby {n}"))));
        }
    });
    assert_eq!(count(&url, "SELECT count(*) FROM refinery_schema_history"), 3);
}

#[test]
fn a_schema_or_log_of_another_version_is_refused() {
    let server = Postgres::start().unwrap();
    let mut store = leading(&server.url(), "one");
    server.execute("UPDATE meta SET value = '999' WHERE name = 'version'").unwrap();
    use store::Store;
    let refused = store.bind("chain 31337");
    assert!(matches!(refused, Err(StoreError::Version { ref found, .. }) if found == "999"), "{refused:?}");
    drop(store);
    let newer = "INSERT INTO refinery_schema_history SELECT 999, 'newer', applied_on, checksum FROM refinery_schema_history WHERE version = 1";
    server.execute(newer).unwrap();
    let refused = PostgresStore::connect(settings(&server.url(), "one")).err();
    assert!(
        matches!(refused, Some(StoreError::Version { ref found, .. }) if found.contains("999")),
        "{refused:?}"
    );
}

#[test]
fn the_schema_refuses_what_would_be_a_bug() {
    let server = Postgres::start().unwrap();
    drop(connect(&server.url(), "one"));
    let word = |byte: u8| format!("'\\x{}'", format!("{byte:02x}").repeat(32));
    let batch = |no: u32, old: u8, new: u8| {
        format!(
            "INSERT INTO batches (batch_no, shape, stage, start, old_root, mid_root, new_root, input_hash) VALUES \
             ({no}, 's3m1', 'submitted', 0, {}, {}, {}, {})",
            word(old),
            word(9),
            word(new),
            word(9)
        )
    };
    let job = |no: u32, phase: &str, worker: &str| {
        format!("INSERT INTO jobs VALUES ({no}, 1, 0, '{phase}', {worker})")
    };
    let transaction = |hash: u8, no: u32, nonce: u64, live: bool| {
        format!("INSERT INTO transactions VALUES ({}, {no}, {nonce}, '', 1, 1, {live})", word(hash))
    };
    for good in [
        batch(1, 0, 1),
        batch(2, 1, 2),
        job(1, "leased", "'anna'"),
        job(2, "due", "NULL"),
        transaction(1, 1, 7, false),
        transaction(2, 1, 7, true),
        transaction(3, 2, 8, true),
    ] {
        server.execute(&good).unwrap();
    }
    for (invariant, bad) in [
        ("consecutive_roots", batch(3, 7, 8)),
        ("consecutive_roots", batch(4, 2, 4)),
        ("jobs_pkey", job(1, "leased", "'bert'")),
        ("one_live_lease", "UPDATE jobs SET worker = 'bert' WHERE batch_no = 2".to_owned()),
        ("one_live_nonce", transaction(4, 2, 7, true)),
        (
            "user_balance_balance_check",
            format!("INSERT INTO user_balance VALUES ('\\x{}', -1, 0, 0)", "01".repeat(20)),
        ),
    ] {
        let refused = server.execute(&bad).unwrap_err().to_string();
        assert!(refused.contains(invariant), "{bad}: {refused}");
    }
}

#[test]
fn an_older_layout_of_sqlite_is_brought_up_to_date_and_a_newer_one_refused() {
    use store::{SqliteStore, Store};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("coordinator.sqlite");
    let database = || rusqlite::Connection::open(&path).unwrap();
    database().execute_batch(include_str!("../../../crates/store/src/sqlite/schema.sql")).unwrap();
    let operation = "INSERT INTO operations VALUES (zeroblob(32), 'mint', NULL, zeroblob(20), 5, 1, 7, NULL)";
    database().execute(operation, []).unwrap();
    for _ in 0..2 {
        let mut store = SqliteStore::open(folder.path()).unwrap();
        assert!(store.is_incomplete().unwrap(), "who leads completes it");
    }
    let amount: i64 = database().query_row("SELECT amount FROM operations", [], |row| row.get(0)).unwrap();
    assert_eq!(amount, 5);
    database().pragma_update(None, "user_version", 99).unwrap();
    let refused = SqliteStore::open(folder.path()).err();
    assert!(matches!(refused, Some(StoreError::Version { .. })), "{refused:?}");
}

#[test]
fn rows_without_their_place_in_the_history_are_noticed() {
    use store::Store;
    let server = Postgres::start().unwrap();
    let mut store = leading(&server.url(), "one");
    assert!(!store.is_incomplete().unwrap());
    let word = "'\\x".to_owned() + &"01".repeat(32) + "'";
    let insert =
        format!("INSERT INTO operations (id, kind, amount, batch_no, at) VALUES ({word}, 'mint', 5, 1, 7)");
    server.execute(&insert).unwrap();
    assert!(store.is_incomplete().unwrap());
}
