//! A server that answers and refuses: no room, or one value.

use sequencer::{ledger::Remembered, state::rows::Row};
use store::{Store, StoreError};
use testbed::{
    postgres::{Postgres, Settings},
    small_disk::SmallDisk,
};

use crate::fixtures::{count, event, last_event, leading};

#[test]
fn a_full_disk_is_told_apart_and_heals_when_there_is_room() {
    let Some(disk) = SmallDisk::mount(32).unwrap() else {
        eprintln!("not tested: only root may mount a small disk");
        return;
    };
    let server = Postgres::start_private(Settings::default()).unwrap();
    // The log of the server is elsewhere, as it should be: only the tables run out of room.
    let place = disk.path().join("tables");
    std::fs::create_dir(&place).unwrap();
    server.own(&place).unwrap();
    server.execute(&format!("CREATE TABLESPACE small LOCATION '{}'", place.display())).unwrap();
    let url = server.database().unwrap();
    let name = url.rsplit('/').next().unwrap();
    server.execute(&format!("ALTER DATABASE {name} SET TABLESPACE small")).unwrap();
    let mut store = leading(&url, "one");
    store.commit(1, &[event(1)], &[]).unwrap();
    disk.fill().unwrap();
    // Until the pages that are there are full.
    let many = |first: u64| (first..first + 200).map(event).collect::<Vec<_>>();
    let (mut next, mut refused) = (2, None);
    for _ in 0..200 {
        match store.commit(next, &many(next), &[]) {
            Ok(()) => next += 200,
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    assert!(matches!(&refused, Some(StoreError::Full(reason)) if reason.contains("53100")), "{refused:?}");
    // Reads go on, nothing of the refused commit is there, and it is refused again.
    assert_eq!(last_event(&mut store), next - 1);
    assert!(matches!(store.commit(next, &many(next), &[]), Err(StoreError::Full(_))));
    disk.empty().unwrap();
    store.commit(next, &many(next), &[]).unwrap();
    assert_eq!(last_event(&mut store), next + 199);
    drop(store);
    drop(server);
}

#[test]
fn a_value_that_only_the_server_refuses_is_not_a_broken_store() {
    let server = Postgres::start().unwrap();
    let url = server.database().unwrap();
    let mut store = leading(&url, "one");
    for (number, code) in (1..).zip(["22021", "22P05", "22003", "23514"]) {
        let refuse = format!(
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.key = 'poison' THEN \
             RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = 'no such value here'; END IF; RETURN NEW; END $$; \
             CREATE OR REPLACE TRIGGER refuse BEFORE INSERT ON idempotency FOR EACH ROW EXECUTE FUNCTION refuse()"
        );
        crate::fixtures::query(&url, &refuse, |_| ());
        let key = |key: &str| {
            Row::Idempotency([1; 20], key.to_owned(), Remembered { request_hash: [3; 32], operation: None })
        };
        let refused = store.commit(number, &[event(number)], &[key("good"), key("poison")]);
        assert!(matches!(&refused, Err(StoreError::Value(reason)) if reason.contains(code)), "{refused:?}");
        store.commit(number, &[event(number)], &[key("good")]).unwrap();
    }
    assert_eq!(count(&url, "SELECT count(*) FROM idempotency"), 1);
}
