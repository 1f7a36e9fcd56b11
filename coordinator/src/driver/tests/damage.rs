//! A data folder that cannot be trusted refuses to start.

use rusqlite::Connection;

use super::*;

/// A coordinator's folder after a deposit, a send and a withdrawal, all final.
async fn lived(world: &World, folder: &Path) {
    let handle = world.start(folder).await;
    let (alice, bob) = people();
    register(&handle, &alice).await;
    register(&handle, &bob).await;
    fund(world, &handle, &alice, 1_000).await;
    // Each batch in a transaction of its own.
    settle(&handle).await;
    send(&handle, &alice, &bob, 100, "s").await.unwrap();
    settle(&handle).await;
    handle.shutdown().await;
}

fn open(folder: &Path) -> Connection {
    Connection::open(folder.join("coordinator.sqlite")).unwrap()
}

async fn refusal_of(world: &World, folder: &Path) -> StartError {
    world.start_with(Box::new(SqliteStore::open(folder).unwrap())).await.err().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_projections_say_what_the_log_says() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    lived(&world, folder.path()).await;
    let store = open(folder.path());
    let (alice, bob) = people();
    for (holder, coins) in [(&alice, 900), (&bob, 100)] {
        let row: (i64, i64, i64) = store
            .query_row(
                "SELECT balance, proven, final FROM user_balance WHERE address = ?1",
                [holder.owner],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .unwrap();
        assert_eq!(row, (coins, coins, coins));
        let held: i64 = store
            .query_row("SELECT SUM(high - low + 1) FROM leaves WHERE owner = ?1", [holder.owner], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(held, coins);
    }
    let count = |sql: &str| store.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT COUNT(*) FROM batches WHERE stage = 'final' AND input IS NULL"), 2);
    assert_eq!(count("SELECT COUNT(*) FROM proofs"), 2);
    assert_eq!(count("SELECT COUNT(*) FROM transactions"), 2);
    assert_eq!(count("SELECT COUNT(*) FROM jobs"), 0);
    assert_eq!(count("SELECT COUNT(*) FROM operations"), 2);
    assert_eq!(count("SELECT COUNT(*) FROM directory"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_root_that_is_not_the_replayed_one_is_refused() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    lived(&world, folder.path()).await;
    open(folder.path()).execute("UPDATE batches SET new_root = old_root WHERE batch_no = 2", []).unwrap();
    assert!(matches!(
        refusal_of(&world, folder.path()).await,
        StartError::Checkpoint { stored: 2, replayed: 2 }
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_with_a_hole_or_unreadable_bytes_is_refused() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    lived(&world, folder.path()).await;
    open(folder.path()).execute("UPDATE events SET body = x'ff' WHERE sequence = 3", []).unwrap();
    assert!(matches!(
        refusal_of(&world, folder.path()).await,
        StartError::Store(StoreError::Damaged { sequence: 3, .. })
    ));
    open(folder.path()).execute("DELETE FROM events WHERE sequence = 2", []).unwrap();
    assert!(matches!(
        refusal_of(&world, folder.path()).await,
        StartError::Store(StoreError::Damaged { sequence: 3, .. })
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_of_another_layout_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(SqliteStore::open(folder.path()).unwrap());
    open(folder.path()).execute("UPDATE meta SET value = '999' WHERE name = 'version'", []).unwrap();
    assert!(matches!(SqliteStore::open(folder.path()), Err(StoreError::Version { .. })));
}
