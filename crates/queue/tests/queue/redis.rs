//! The Redis adapter: the promises of every adapter, and what happens when Redis is wiped, killed, demoted, partly gone, or
//! fed with rubbish.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use queue::{
    CoordinatorQueue, EventBatch, QueueError, QueueWrite, Replaced, Trouble, WorkerQueue,
    redis::{Limits, RedisCoordinator, RedisWorker},
};
use redis::aio::MultiplexedConnection;
use testbed::redis::Redis;
use wire::{JobId, Report, WorkerEvent, codec::Message};

use super::{
    PROCESS, QUIET, SOON,
    conformance::{self, DIRECTIVES, EVENTS},
    directive, event,
    farm::{Farm, command, connection},
    from, input, job, open, pool,
    proxy::Proxy,
    until_event,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_redis_queue_keeps_every_promise() {
    let redis = Arc::new(Mutex::new(Redis::start().unwrap()));
    let limits = Limits { events: EVENTS, directives: DIRECTIVES, ..Limits::default() };
    conformance::check_all(async || Farm { limits: limits.clone(), ..Farm::on(Arc::clone(&redis)) }).await;
}

/// A directive with its input reaches the worker, and an event of the worker the coordinator, whatever either must
/// repeat for that. `number` is new.
async fn both_sides_go_on(coordinator: &RedisCoordinator, reader: &RedisWorker, number: u64) {
    let id = reader.id().clone();
    let bytes = number.to_string().into_bytes();
    let pool = id.pool.as_str();
    let writes = [open(&[pool]), input(pool, number, &bytes), directive(&id, job(number))];
    let send = async {
        while coordinator.write(&writes).await.is_err() {
            tokio::time::sleep(QUIET).await;
        }
    };
    tokio::time::timeout(SOON, send).await.unwrap();
    let receive = async {
        loop {
            match reader.next_control(QUIET).await {
                Ok(Some(control)) if control == job(number) => return,
                Ok(Some(_)) => {}
                // As the worker does after registrations without an answer.
                Ok(None) => reader.rewind(),
                Err(_) => tokio::time::sleep(QUIET).await,
            }
        }
    };
    tokio::time::timeout(SOON, receive).await.unwrap();
    assert_eq!(reader.input(JobId(number)).await.unwrap(), bytes);
    let wanted = from(&id, event(number as usize));
    let emit = async {
        loop {
            let _ = reader.emit(&event(number as usize)).await;
            tokio::time::sleep(QUIET).await;
        }
    };
    tokio::select! {
        _ = until_event(coordinator, |found| *found == wanted) => {}
        () = emit => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_redis_loses_what_it_held_and_both_sides_go_on() {
    let farm = Farm::start();
    let coordinator = farm.coordinator().await;
    let w = farm.worker("a/w").await;
    both_sides_go_on(&coordinator, &w, 1).await;
    coordinator.write(&[input("a", 2, b"lost"), directive(w.id(), job(2))]).await.unwrap();
    w.emit(&event(2)).await.unwrap();
    // One waits through the wipe.
    let second = farm.worker("a/second").await;
    let id = second.id().clone();
    let waiting = tokio::spawn(async move { second.next_control(SOON).await });
    tokio::time::sleep(QUIET).await;
    let () = redis::cmd("FLUSHALL").query_async(&mut farm.admin().await).await.unwrap();

    let after = coordinator.next_events(QUIET).await.unwrap();
    assert_eq!(
        after,
        EventBatch { wiped: true, ..EventBatch::default() },
        "what was lost is lost, and it is said"
    );
    assert!(coordinator.next_events(QUIET).await.unwrap().is_empty(), "once");
    assert_eq!(w.next_control(QUIET).await.unwrap(), None);
    assert_eq!(w.input(JobId(2)).await, Err(QueueError::NoInput(JobId(2))));
    coordinator.write(&[directive(&id, job(3))]).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), Some(job(3)));
    both_sides_go_on(&coordinator, &w, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_redis_comes_back_with_everything_and_both_sides_go_on() {
    // With `everysec` Redis holds a write back for up to two seconds while the disk is busy.
    let farm = Farm::with(&["appendfsync always"]);
    let coordinator = farm.coordinator().await;
    let w = farm.worker("a/w").await;
    let mut liveness = w.liveness().unwrap();
    liveness.beat(&event(1)).unwrap();
    coordinator.write(&[open(&["a"]), input("a", 1, b"input"), directive(w.id(), job(1))]).await.unwrap();
    w.emit(&event(2)).await.unwrap();

    farm.redis.lock().unwrap().kill().unwrap();
    assert!(matches!(coordinator.next_events(QUIET).await, Err(QueueError::Unreachable(_))));
    assert!(matches!(w.next_control(QUIET).await, Err(QueueError::Unreachable(_))));
    assert!(matches!(w.emit(&event(3)).await, Err(QueueError::Unreachable(_))));
    assert!(matches!(liveness.beat(&event(3)), Err(QueueError::Unreachable(_))));
    farm.redis.lock().unwrap().restart().unwrap();

    let events = until_event(&coordinator, |found| found.event == event(2)).await;
    assert_eq!(events, [from(w.id(), event(1)), from(w.id(), event(2))]);
    let control = async {
        loop {
            if let Ok(Some(control)) = w.next_control(QUIET).await {
                return control;
            }
        }
    };
    assert_eq!(tokio::time::timeout(SOON, control).await.unwrap(), job(1));
    assert_eq!(w.input(JobId(1)).await.unwrap(), b"input");
    liveness.beat(&event(4)).unwrap();
    until_event(&coordinator, |found| found.event == event(4)).await;
    both_sides_go_on(&coordinator, &w, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_is_read_on_and_says_that_it_was_wiped_once_it_has_room() {
    let farm = Farm::start();
    let coordinator = farm.coordinator().await;
    let w = farm.worker("a/w").await;
    coordinator.write(&[open(&["a"])]).await.unwrap();
    let mut admin = farm.admin().await;
    let () = redis::cmd("FLUSHALL").query_async(&mut admin).await.unwrap();
    w.emit(&event(1)).await.unwrap();
    let () = command("CONFIG SET maxmemory 1").query_async(&mut admin).await.unwrap();
    let full = coordinator.next_events(SOON).await.unwrap();
    assert_eq!((full.events, full.wiped), (vec![from(w.id(), event(1))], false));
    let () = command("CONFIG SET maxmemory 0").query_async(&mut admin).await.unwrap();
    assert!(coordinator.next_events(SOON).await.unwrap().wiped);
}

/// Commands that put a value of each type under a key.
const TYPES: [&str; 6] =
    ["SET KEY x", "RPUSH KEY x", "SADD KEY x", "HSET KEY x y", "ZADD KEY 1 x", "XADD KEY * other x"];

#[tokio::test(flavor = "multi_thread")]
async fn each_key_may_be_deleted_alone_or_be_something_else_and_is_mended() {
    let farm = Farm::start();
    let coordinator = farm.coordinator().await;
    let w = farm.worker("a/w").await;
    let mut admin = farm.admin().await;
    let mut number = 1;
    both_sides_go_on(&coordinator, &w, number).await;
    for name in ["pool:a:events", "pool:a:jobs:w", "pool:a:input:1"] {
        let key = farm.key(name);
        for instead in [None].into_iter().chain(TYPES.map(Some)) {
            // Something of each is there.
            let fill = [input("a", 1, b"input"), directive(w.id(), job(1))];
            coordinator.write(&fill).await.unwrap();
            w.emit(&event(0)).await.unwrap();
            let deleted: u64 = redis::cmd("DEL").arg(&key).query_async(&mut admin).await.unwrap();
            assert_eq!(deleted, 1, "{key}");
            if let Some(instead) = instead {
                let _: redis::Value =
                    command(&instead.replace("KEY", &key)).query_async(&mut admin).await.unwrap();
            }
            if name.contains("input") {
                let read = w.input(JobId(1)).await;
                assert!(instead == Some(TYPES[0]) || read.is_err(), "{instead:?}: {read:?}");
                coordinator.write(&[input("a", 1, b"again")]).await.unwrap();
                assert_eq!(w.input(JobId(1)).await.unwrap(), b"again", "{instead:?}");
            }
            if name.contains("events") && instead.is_some_and(|instead| !instead.starts_with("XADD")) {
                let batch = coordinator.next_events(SOON).await.unwrap();
                let foreign = (pool("a"), Trouble::Replaced(Replaced::Foreign));
                assert_eq!(batch.troubles, [foreign], "{instead:?}");
            }
            number += 1;
            both_sides_go_on(&coordinator, &w, number).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn directives_whose_ids_went_back_are_read_after_a_rewind() {
    let farm = Farm::start();
    let coordinator = farm.coordinator().await;
    let w = farm.worker("a/w").await;
    let mut admin = farm.admin().await;
    let key = farm.key("pool:a:jobs:w");
    // A clock that was ahead wrote it, and it was lost with a failover.
    let ahead = "9999999999999-0";
    let () = redis::cmd("XADD").arg(&key).arg(ahead).arg("c").arg("?").query_async(&mut admin).await.unwrap();
    assert_eq!(w.next_control(QUIET).await.unwrap(), None, "it is read and skipped");
    let () = redis::cmd("DEL").arg(&key).query_async(&mut admin).await.unwrap();
    coordinator.write(&[directive(w.id(), job(1))]).await.unwrap();
    assert_eq!(w.next_control(QUIET).await.unwrap(), None, "it lies before the cursor");
    w.rewind();
    assert_eq!(w.next_control(SOON).await.unwrap(), Some(job(1)));
    // One that waits is rewound as well.
    let waiting = async { w.next_control(Duration::from_secs(2)).await.unwrap() };
    let rewind = async {
        tokio::time::sleep(QUIET).await;
        w.rewind();
        coordinator.write(&[directive(w.id(), job(2))]).await.unwrap();
    };
    assert_eq!(tokio::join!(waiting, rewind).0, Some(job(1)));
    assert_eq!(w.next_control(SOON).await.unwrap(), Some(job(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_directives_that_takes_no_more_is_replaced() {
    let farm = Farm::start();
    let coordinator = farm.coordinator().await;
    let w = farm.worker("a/w").await;
    let mut last = redis::cmd("XADD");
    last.arg(farm.key("pool:a:jobs:w")).arg("18446744073709551615-18446744073709551615").arg("c").arg("?");
    let () = last.query_async(&mut farm.admin().await).await.unwrap();
    assert_eq!(w.next_control(QUIET).await.unwrap(), None);
    both_sides_go_on(&coordinator, &w, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_whose_ids_went_back_are_read() {
    let farm = Farm::start();
    let coordinator = farm.coordinator().await;
    coordinator.write(&[open(&["a"])]).await.unwrap();
    let w = farm.worker("a/w").await;
    let mut admin = farm.admin().await;
    let (seconds, _): (u64, u64) = redis::cmd("TIME").query_async(&mut admin).await.unwrap();
    let ahead = format!("{}-18446744073709551615", (seconds + 600) * 1000);
    let key = farm.key("pool:a:events");
    let report = Report { instance: w.id().instance.clone(), process: PROCESS, event: event(1) };
    let mut add = redis::cmd("XADD");
    add.arg(&key).arg(&ahead).arg("e").arg(report.encode().unwrap());
    let () = add.query_async(&mut admin).await.unwrap();
    let batch = coordinator.next_events(SOON).await.unwrap();
    assert_eq!(batch.events, [from(w.id(), event(1))]);
    // The last number of its millisecond: acknowledged like any other.
    coordinator.write(&[QueueWrite::Acknowledge(batch.up_to.unwrap())]).await.unwrap();
    let length: u64 = redis::cmd("XLEN").arg(&key).query_async(&mut admin).await.unwrap();
    assert_eq!(length, 0);
    w.emit(&event(2)).await.unwrap();
    until_event(&coordinator, |found| found.event == event(2)).await;
    let () = redis::cmd("DEL").arg(&key).query_async(&mut admin).await.unwrap();
    w.emit(&event(3)).await.unwrap();
    until_event(&coordinator, |found| found.event == event(3)).await;
}

#[tokio::test]
async fn rubbish_is_counted_and_skipped() {
    let farm = Farm::start();
    let coordinator = farm.coordinator().await;
    coordinator.write(&[open(&["a"])]).await.unwrap();
    let w = farm.worker("a/w").await;
    let report = Report { instance: w.id().instance.clone(), process: PROCESS, event: event(9) };
    let good = report.encode().unwrap();
    let mut version = good.clone();
    version[3] += 1;
    let long = vec![b'x'; 100_000];
    let mut rubbish = redis::pipe();
    for (field, value) in [
        ("what", &b"?"[..]),
        ("e", b""),
        ("e", b"no message"),
        ("e", &long),
        ("e", &version),
        ("e", &good[1..]),
    ] {
        rubbish.cmd("XADD").arg(farm.key("pool:a:events")).arg("*").arg(field).arg(value).ignore();
    }
    w.emit(&event(1)).await.unwrap();
    let () = rubbish.query_async(&mut farm.admin().await).await.unwrap();
    w.emit(&event(2)).await.unwrap();
    let (mut events, mut malformed) = (Vec::new(), 0);
    while events.len() < 2 {
        let batch = coordinator.next_events(SOON).await.unwrap();
        events.extend(batch.events);
        for (of, trouble) in batch.troubles {
            let Trouble::Malformed { count, reason } = trouble else { panic!("{trouble:?}") };
            assert!(of == pool("a") && reason.contains("PM-WIRE-001"), "{reason}");
            malformed += count;
        }
    }
    assert_eq!((events, malformed), (vec![from(w.id(), event(1)), from(w.id(), event(2))], 6));
}

#[tokio::test]
async fn a_directive_that_cannot_be_read_is_skipped() {
    let farm = Farm::start();
    let coordinator = farm.coordinator().await;
    let w = farm.worker("a/w").await;
    let mut rubbish = redis::cmd("XADD");
    rubbish.arg(farm.key("pool:a:jobs:w")).arg("*").arg("c").arg("no message");
    let () = rubbish.query_async(&mut farm.admin().await).await.unwrap();
    coordinator.write(&[directive(w.id(), job(1))]).await.unwrap();
    assert_eq!(w.next_control(SOON).await.unwrap(), Some(job(1)));
}

#[tokio::test]
async fn polls_are_bounded_in_entries_and_bytes_and_streams_in_bytes() {
    let limits = Limits { poll_events: 10, ..Limits::default() };
    let farm = Farm { limits, ..Farm::start() };
    let coordinator = farm.coordinator().await;
    coordinator.write(&[open(&["a"])]).await.unwrap();
    let w = farm.worker("a/w").await;
    let wide = |number: usize| WorkerEvent::Left { message: format!("{number:060000}") };
    for number in 0..25 {
        w.emit(&event(number)).await.unwrap();
    }
    let batch = coordinator.next_events(SOON).await.unwrap();
    assert_eq!(batch.events.len(), 10);
    until_event(&coordinator, |found| found.event == event(24)).await;
    // 256 KiB hold four of these, and the last of them comes as well.
    for number in 0..10 {
        w.emit(&wide(number)).await.unwrap();
    }
    let mut seen = 0;
    while seen < 10 {
        let batch = coordinator.next_events(SOON).await.unwrap();
        assert!((1..=4).contains(&batch.events.len()), "{}", batch.events.len());
        seen += batch.events.len();
    }

    let few = Farm { limits: Limits { event_bytes: 1 << 20, ..Limits::default() }, ..farm };
    let coordinator = few.coordinator().await;
    coordinator.write(&[open(&["a"])]).await.unwrap();
    for number in 0..20 {
        w.emit(&wide(number)).await.unwrap();
    }
    let oversized = (pool("a"), Trouble::Replaced(Replaced::Oversized));
    assert_eq!(coordinator.next_events(SOON).await.unwrap().troubles, [oversized]);
    w.emit(&event(1)).await.unwrap();
    assert_eq!(coordinator.next_events(SOON).await.unwrap().events, [from(w.id(), event(1))]);
}

#[tokio::test]
async fn what_nobody_renews_expires() {
    let limits = Limits { ttl: Duration::from_millis(400), ..Limits::default() };
    let farm = Farm { limits, ..Farm::start() };
    let coordinator = farm.coordinator().await;
    let w = farm.worker("a/w").await;
    let writes = [input("a", 1, b"input"), directive(w.id(), job(1))];
    coordinator.write(&writes).await.unwrap();
    tokio::time::sleep(Duration::from_millis(250)).await;
    coordinator.write(&writes).await.unwrap();
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(w.input(JobId(1)).await.unwrap(), b"input", "it was renewed");
    tokio::time::sleep(Duration::from_millis(400)).await;
    let left: Vec<String> =
        redis::cmd("KEYS").arg(farm.key("*")).query_async(&mut farm.admin().await).await.unwrap();
    assert_eq!(left, [farm.key("queue:kept")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pool_is_emptied_by_polls_and_its_keys_are_left_alone_otherwise() {
    let farm = Farm::start();
    let coordinator = farm.coordinator().await;
    let w = farm.worker("a/w").await;
    let closed = BTreeSet::from([pool("a")]);
    coordinator.write(&[QueueWrite::Pools { open: BTreeSet::new(), closed }]).await.unwrap();
    for number in 0..5 {
        w.emit(&event(number)).await.unwrap();
        assert!(coordinator.next_events(QUIET).await.unwrap().is_empty());
    }
    let there: u64 = redis::cmd("EXISTS")
        .arg(farm.key("pool:a:events"))
        .query_async(&mut farm.admin().await)
        .await
        .unwrap();
    assert_eq!(there, 0);
}

/// Makes a server the replica of another, or a master again.
async fn replica_of(admin: &mut MultiplexedConnection, master: Option<u16>) {
    for words in ["CONFIG SET masteruser default", "CONFIG SET masterauth admin-secret"] {
        let () = command(words).query_async(admin).await.unwrap();
    }
    let words = master.map_or("REPLICAOF NO ONE".to_owned(), |port| format!("REPLICAOF 127.0.0.1 {port}"));
    let () = command(&words).query_async(admin).await.unwrap();
}

/// What a failover does to connections that stay open: `heal` makes a master reachable again.
async fn demoted(heal: impl AsyncFnOnce(&Proxy, &Farm, u16)) {
    let mut farm = Farm::start();
    let other = Redis::with(testbed::redis::Settings::default()).unwrap();
    // Its users are the same.
    other.pool_url(&farm.prefix, "a").unwrap();
    let proxy = Proxy::start(farm.port()).await;
    farm.port = Some(proxy.port);
    let coordinator = farm.coordinator().await;
    let w = farm.worker("a/w").await;
    let mut liveness = w.liveness().unwrap();
    both_sides_go_on(&coordinator, &w, 1).await;
    liveness.beat(&event(0)).unwrap();

    let mut admin = connection(&farm.admin_url()).await;
    replica_of(&mut admin, Some(other.port())).await;
    let refused = coordinator.write(&[directive(w.id(), job(2))]).await;
    assert!(
        matches!(&refused, Err(QueueError::Unreachable(why)) if why.contains("read only")),
        "{refused:?}"
    );
    assert!(matches!(w.emit(&event(2)).await, Err(QueueError::Unreachable(_))));
    assert!(matches!(liveness.beat(&event(2)), Err(QueueError::Unreachable(_))));
    heal(&proxy, &farm, other.port()).await;
    both_sides_go_on(&coordinator, &w, 3).await;
    liveness.beat(&event(4)).unwrap();
    until_event(&coordinator, |found| found.event == event(4)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_is_demoted_behind_open_connections_serves_again_when_it_is_promoted() {
    demoted(async |_, farm, _| replica_of(&mut farm.admin().await, None).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_to_the_new_master_is_followed_although_connections_stay_open() {
    demoted(async |proxy, _, other| proxy.lead_to(other)).await;
}
