//! Failovers: a server that takes no writes any more and keeps its connections, and a name that points to another one.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use store::{PostgresStore, Store, StoreError};
use testbed::postgres::{Postgres, Settings};

use crate::fixtures::{commit, event, last_event, leading, patiently, settings, term};

/// A name: new connections go where it points, those that are open stay where they are.
struct Name {
    port: u16,
    target: Arc<AtomicU16>,
}

impl Name {
    fn of(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = Arc::new(AtomicU16::new(target));
        let points_to = Arc::clone(&target);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let port = points_to.load(Ordering::Acquire);
                let Ok(far) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let (back, forth) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                std::thread::spawn(move || pump(near, far));
                std::thread::spawn(move || pump(forth, back));
            }
        });
        Self { port, target }
    }

    fn points_to(&self, port: u16) {
        self.target.store(port, Ordering::Release);
    }

    /// The URL of a server by this name.
    fn url(&self, server: &Postgres) -> String {
        server.tcp_url().unwrap().replace(&server.port().unwrap().to_string(), &self.port.to_string())
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16_384];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

fn server() -> Postgres {
    Postgres::start_private(Settings::default()).unwrap()
}

fn reload(server: &Postgres, setting: &str) {
    server.execute(setting).unwrap();
    server.execute("SELECT pg_reload_conf()").unwrap();
}

/// Why the server takes no writes.
fn meets_a_reader(store: &mut PostgresStore, number: u64) -> String {
    match commit(store, number) {
        Err(StoreError::Unavailable(reason)) => reason,
        other => panic!("the reader answered {other:?}"),
    }
}

#[test]
fn a_master_that_takes_no_more_writes_is_left_with_its_open_connections() {
    let master = server();
    let replica = master.replica().unwrap();
    let name = Name::of(master.port().unwrap());
    let mut store = leading(&name.url(&master), "one");
    commit(&mut store, 1).unwrap();
    wait_for_event(&replica, 1);
    // Demoted: it keeps every connection and answers each write with 25006.
    reload(&master, "ALTER SYSTEM SET default_transaction_read_only = on");
    std::thread::sleep(Duration::from_millis(300));
    let reason = meets_a_reader(&mut store, 2);
    assert!(reason.contains("25006"), "{reason}");
    // Nothing that it asks now goes over an old connection: the name still points to the reader, which is refused.
    let reason = meets_a_reader(&mut store, 2);
    assert!(!reason.contains("25006"), "an old connection was used again: {reason}");
    replica.promote().unwrap();
    name.points_to(replica.port().unwrap());
    patiently(|| store.lead());
    patiently(|| commit(&mut store, 2));
    assert_eq!(last_event(&mut store), 2);
    assert!(term(&mut store).is_some());
}

#[test]
fn a_name_that_points_to_a_reader_for_a_while_heals_by_itself() {
    let master = server();
    let replica = master.replica().unwrap();
    let name = Name::of(replica.port().unwrap());
    let mut replicated = leading(&master.url(), "schema");
    replicated.commit(1, &[event(1)], &[]).unwrap();
    wait_for_event(&replica, 1);
    drop(replicated);
    // At the start: it does not begin on a reader.
    let refused = PostgresStore::connect(settings(&name.url(&master), "one")).err();
    assert!(matches!(refused, Some(StoreError::Unavailable(_))), "{refused:?}");
    name.points_to(master.port().unwrap());
    let mut store = leading(&name.url(&master), "one");
    commit(&mut store, 2).unwrap();
    // While it works: its connections are cut, and the name points to the reader.
    name.points_to(replica.port().unwrap());
    master
        .execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'proofmill %'")
        .unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        assert!(matches!(commit(&mut store, 3), Err(StoreError::Unavailable(_))));
    }
    name.points_to(master.port().unwrap());
    patiently(|| store.lead());
    patiently(|| commit(&mut store, 3));
    assert_eq!(last_event(&mut store), 3);
}

/// Replication is asynchronous.
fn wait_for_event(replica: &Postgres, number: u64) {
    let began = Instant::now();
    let there = format!("SELECT count(*) FROM events WHERE sequence = {number}");
    while crate::fixtures::count(&replica.url(), &there) == 0 {
        assert!(began.elapsed() < Duration::from_secs(10), "the replica does not follow");
        std::thread::sleep(Duration::from_millis(20));
    }
}
