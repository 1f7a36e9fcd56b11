//! A server that dies, restarts, or hangs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use store::{Store, StoreError};
use testbed::postgres::{Postgres, Settings};

use crate::fixtures::{commit, connect, last_event, leading, patiently, term};

fn server() -> Postgres {
    Postgres::start_private(Settings::default()).unwrap()
}

#[test]
fn nothing_acknowledged_is_lost_when_the_server_is_killed_in_mid_stream() {
    let mut server = server();
    let mut store = leading(&server.url(), "one");
    let acknowledged = Arc::new(AtomicU64::new(0));
    let mut number = 1;
    for _ in 0..3 {
        let (seen, wanted) = (Arc::clone(&acknowledged), number + 20);
        let writer = std::thread::spawn(move || {
            // Until the server dies; whether the last one was written is not known.
            while commit(&mut store, number).is_ok() {
                seen.store(number, Ordering::Release);
                number += 1;
            }
            (store, number)
        });
        while acknowledged.load(Ordering::Acquire) < wanted {
            assert!(!writer.is_finished(), "a commit failed before the server was killed");
            std::thread::sleep(Duration::from_millis(1));
        }
        server.kill().unwrap();
        (store, number) = writer.join().unwrap();
        server.restart().unwrap();
        // The same commit again, on the same store, whether or not it was written.
        patiently(|| commit(&mut store, number));
        number += 1;
    }
    assert_eq!(last_event(&mut store), number - 1);
}

#[test]
fn a_stopped_server_is_unavailable_and_the_store_works_again_after_its_restart() {
    let mut server = server();
    let mut store = leading(&server.url(), "one");
    commit(&mut store, 1).unwrap();
    server.stop().unwrap();
    assert!(matches!(commit(&mut store, 2), Err(StoreError::Unavailable(_))));
    assert!(matches!(store.lead(), Err(StoreError::Unavailable(_))));
    assert!(matches!(store.lines(1), Err(StoreError::Unavailable(_))));
    server.restart().unwrap();
    patiently(|| commit(&mut store, 2));
    assert_eq!(last_event(&mut store), 2);
}

#[test]
fn a_server_that_hangs_is_unavailable_and_a_late_commit_counts_once() {
    let server = server();
    let mut store = leading(&server.url(), "one");
    commit(&mut store, 1).unwrap();
    server.pause().unwrap();
    assert!(matches!(commit(&mut store, 2), Err(StoreError::Unavailable(_))));
    server.resume().unwrap();
    // The first try may still be on its way; both are the same commit.
    patiently(|| commit(&mut store, 2));
    patiently(|| commit(&mut store, 3));
    assert_eq!(last_event(&mut store), 3);
}

#[test]
fn a_restarted_coordinator_takes_over_from_its_former_self_at_once_in_a_new_term() {
    let server = server();
    let mut former = leading(&server.url(), "one");
    let first = term(&mut former).unwrap();
    commit(&mut former, 1).unwrap();
    // As after a SIGKILL: the former one has not resigned, its lease runs.
    let mut restarted = connect(&server.url(), "one");
    assert_eq!(term(&mut restarted), Some(first + 1));
    assert!(matches!(commit(&mut former, 2), Err(StoreError::Deposed { .. } | StoreError::Unavailable(_))));
    assert!(matches!(patiently_deposed(&mut former), StoreError::Deposed { .. }));
    commit(&mut restarted, 2).unwrap();
    assert_eq!(last_event(&mut restarted), 2);
}

/// The connections of a deposed store are cut, so its first call may meet that.
fn patiently_deposed(store: &mut store::PostgresStore) -> StoreError {
    for _ in 0..100 {
        match commit(store, 2) {
            Err(StoreError::Unavailable(_)) => {}
            other => return other.unwrap_err(),
        }
    }
    panic!("never answered");
}
