//! The Redis adapter: the promises of every adapter, and what happens when Redis is wiped, killed, or fed with rubbish.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use circuits::shape::Shape;
use testbed::redis::Redis;
use wire::{
    Attempt, Control, CoordinatorQueue, FailureKind, JobEntry, JobId, Priority, QueueError, Registration,
    WorkerEvent, WorkerId, WorkerQueue,
    queue::{
        Depth,
        conformance::{self, Fixture},
        redis::{Limits, RedisCoordinator, RedisWorker, Settings},
    },
};

/// Long enough for anything that is on its way.
const SOON: Duration = Duration::from_secs(20);
const QUIET: Duration = Duration::from_millis(40);
const SHAPE: [Shape; 1] = [Shape::S3M1];

/// A deployment of its own on a private server.
struct Farm {
    redis: Arc<std::sync::Mutex<Redis>>,
    prefix: String,
    limits: Limits,
}

impl Farm {
    fn start() -> Self {
        Self::on(Arc::new(std::sync::Mutex::new(Redis::start().unwrap())))
    }

    fn on(redis: Arc<std::sync::Mutex<Redis>>) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let limits = Limits { sweep_every: Duration::from_millis(50), ..Limits::default() };
        Self { redis, prefix: format!("pm:test-{}-{number}", std::process::id()), limits }
    }

    fn settings(&self, url: String) -> Settings {
        Settings { limits: self.limits.clone(), ..Settings::new(url, &self.prefix) }
    }

    async fn coordinator(&self) -> RedisCoordinator {
        let url = self.redis.lock().unwrap().url();
        RedisCoordinator::connect(&self.settings(url)).await.unwrap()
    }

    async fn worker(&self, name: &str) -> RedisWorker {
        let url = self.redis.lock().unwrap().worker_url();
        RedisWorker::connect(&self.settings(url), id(name)).await.unwrap()
    }

    async fn admin(&self) -> redis::aio::MultiplexedConnection {
        let url = self.redis.lock().unwrap().admin_url();
        redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap()
    }

    fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }
}

#[async_trait]
impl Fixture for Farm {
    async fn coordinator(&self) -> Arc<dyn CoordinatorQueue> {
        Arc::new(Farm::coordinator(self).await)
    }

    async fn worker(&self, id: WorkerId) -> Arc<dyn WorkerQueue> {
        Arc::new(Farm::worker(self, id.as_str()).await)
    }
}

fn id(name: &str) -> WorkerId {
    WorkerId::new(name).unwrap()
}

fn entry(job: u64) -> JobEntry {
    JobEntry {
        job: JobId(job),
        attempt: Attempt(1),
        shape: Shape::S3M1,
        circuit_digest: [0; 32],
        input_hash: [0; 32],
        excluded: Vec::new(),
    }
}

fn failed(name: &str, entry: &JobEntry) -> WorkerEvent {
    let (job, attempt) = (entry.job, entry.attempt);
    let message = String::new();
    WorkerEvent::Failed { worker: id(name), job, attempt, kind: FailureKind::Infrastructure, message }
}

fn register(name: &str, fresh: bool) -> WorkerEvent {
    let registration =
        Registration { backend: "cpu".into(), version: "1".into(), memory: 1, circuits: Vec::new() };
    WorkerEvent::Register { worker: id(name), registration, fresh }
}

/// Reads until something comes that `wanted` knows.
async fn until<T>(
    coordinator: &RedisCoordinator,
    mut wanted: impl FnMut(&wire::queue::EventBatch) -> Option<T>,
) -> T {
    let search = async {
        loop {
            match coordinator.next_events(QUIET).await {
                Ok(batch) => {
                    if let Some(found) = wanted(&batch) {
                        return found;
                    }
                }
                Err(_) => tokio::time::sleep(QUIET).await,
            }
        }
    };
    tokio::time::timeout(SOON, search).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_redis_queue_keeps_every_promise() {
    let redis = Arc::new(std::sync::Mutex::new(Redis::start().unwrap()));
    conformance::check_all(async || Farm::on(Arc::clone(&redis))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_race_get_each_entry_once() {
    const JOBS: u64 = 300;
    let farm = Farm::start();
    let coordinator = farm.coordinator().await;
    let mut tasks = tokio::task::JoinSet::new();
    for name in ["a", "b", "c", "d"] {
        let worker = farm.worker(name).await;
        tasks.spawn(async move {
            let mut mine = Vec::new();
            while let Some(entry) = worker.claim(&SHAPE, Duration::from_secs(1)).await.unwrap() {
                worker.emit(&failed(name, &entry)).await.unwrap();
                mine.push(entry.job.0);
            }
            mine
        });
    }
    for job in 1..=JOBS {
        coordinator.publish(&entry(job), b"input", Priority::Normal).await.unwrap();
    }
    let mut all = Vec::new();
    while let Some(mine) = tasks.join_next().await {
        let mine = mine.unwrap();
        assert!(!mine.is_empty(), "a worker got nothing");
        all.extend(mine);
    }
    all.sort_unstable();
    assert_eq!(all, (1..=JOBS).collect::<Vec<_>>());
    assert_eq!(coordinator.depth(Shape::S3M1).await.unwrap(), Depth::default());
}

#[tokio::test]
async fn an_entry_that_excludes_all_who_wait_neither_spins_nor_gets_lost() {
    let farm = Farm::start();
    let coordinator = farm.coordinator().await;
    let (a, b) = (farm.worker("a").await, farm.worker("b").await);
    let retry = JobEntry { excluded: vec![id("a")], ..entry(1) };
    coordinator.publish(&retry, b"input", Priority::Urgent).await.unwrap();
    let mut admin = farm.admin().await;
    let added = async |admin: &mut redis::aio::MultiplexedConnection| -> u64 {
        let info: redis::streams::StreamInfoStreamReply = redis::cmd("XINFO")
            .arg("STREAM")
            .arg(farm.key("jobs:s3m1:urgent"))
            .query_async(admin)
            .await
            .unwrap();
        info.length as u64
    };
    assert_eq!(a.claim(&SHAPE, Duration::from_secs(1)).await.unwrap(), None);
    let passed_on = added(&mut admin).await;
    assert!(passed_on < 20, "passed on {passed_on} times in a second");
    // A later one for the excluded worker comes past it, and the entry itself is still there.
    coordinator.publish(&entry(2), b"input", Priority::Urgent).await.unwrap();
    assert_eq!(a.claim(&SHAPE, SOON).await.unwrap(), Some(entry(2)));
    assert_eq!(b.claim(&SHAPE, SOON).await.unwrap(), Some(retry));
}

#[tokio::test]
async fn a_waiting_worker_gets_what_another_passes_on() {
    let farm = Farm::start();
    let coordinator = farm.coordinator().await;
    let (a, b) = (farm.worker("a").await, farm.worker("b").await);
    let retry = JobEntry { excluded: vec![id("a")], ..entry(1) };
    let publish = async {
        tokio::time::sleep(QUIET).await;
        coordinator.publish(&retry, b"input", Priority::Urgent).await.unwrap();
    };
    let (for_a, for_b, ()) =
        tokio::join!(a.claim(&SHAPE, Duration::from_millis(500)), b.claim(&SHAPE, SOON), publish);
    assert_eq!((for_a.unwrap(), for_b.unwrap()), (None, Some(retry)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_redis_is_noticed_by_both_sides_and_laid_out_again() {
    let farm = Farm::start();
    let coordinator = farm.coordinator().await;
    let worker = farm.worker("a").await;
    worker.emit(&register("a", true)).await.unwrap();
    until(&coordinator, |batch| batch.events.contains(&register("a", true)).then_some(())).await;
    coordinator.publish(&entry(1), b"input", Priority::Normal).await.unwrap();

    let waiting = tokio::spawn(async move {
        // It waits through the wipe and goes on by itself.
        loop {
            let claimed = worker.claim(&[Shape::S14M2], Duration::from_millis(200)).await;
            if let Ok(Some(entry)) = claimed {
                return (entry, worker);
            }
        }
    });
    tokio::time::sleep(QUIET).await;
    let _: () = redis::cmd("FLUSHALL").query_async(&mut farm.admin().await).await.unwrap();
    until(&coordinator, |batch| batch.lost.then_some(())).await;
    assert_eq!(coordinator.depth(Shape::S3M1).await.unwrap(), Depth::default(), "what was lost is lost");
    let again = JobEntry { shape: Shape::S14M2, ..entry(1) };
    until(&coordinator, |batch| {
        assert!(!batch.lost, "one wipe is told once");
        (batch.events == [register("a", false)]).then_some(())
    })
    .await;
    coordinator.publish(&again, b"input", Priority::Normal).await.unwrap();
    let (claimed, worker) = tokio::time::timeout(SOON, waiting).await.unwrap().unwrap();
    assert_eq!(claimed, again);
    assert_eq!(worker.input(JobId(1)).await.unwrap(), b"input");
}

#[tokio::test]
async fn a_lost_stream_counts_as_a_wipe() {
    let farm = Farm::start();
    let coordinator = farm.coordinator().await;
    assert!(!coordinator.next_events(QUIET).await.unwrap().lost);
    let () = redis::cmd("DEL").arg(farm.key("jobs:s3m1")).query_async(&mut farm.admin().await).await.unwrap();
    assert!(coordinator.next_events(QUIET).await.unwrap().lost);
    // Even one that is something else now.
    let mut admin = farm.admin().await;
    let () = redis::cmd("DEL").arg(farm.key("events")).query_async(&mut admin).await.unwrap();
    let () = redis::cmd("SET").arg(farm.key("events")).arg("x").query_async(&mut admin).await.unwrap();
    assert!(coordinator.next_events(QUIET).await.unwrap().lost);
    assert!(!coordinator.next_events(QUIET).await.unwrap().lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_redis_comes_back_with_everything_and_both_sides_go_on() {
    let farm = Farm::start();
    let coordinator = farm.coordinator().await;
    let worker = farm.worker("a").await;
    let mut liveness = worker.liveness().unwrap();
    liveness.beat(&register("a", false)).unwrap();
    coordinator.publish(&entry(1), b"input", Priority::Normal).await.unwrap();
    worker.emit(&register("a", true)).await.unwrap();
    let grant = Control::Grant { job: JobId(1), attempt: Attempt(1) };
    coordinator.control(&id("a"), grant).await.unwrap();

    let redis = Arc::clone(&farm.redis);
    // From a thread that lives on: Redis dies with the one that starts it.
    let restart = || redis.lock().unwrap().kill().unwrap();
    restart();
    assert!(worker.claim(&SHAPE, QUIET).await.is_err());
    assert!(coordinator.next_events(QUIET).await.is_err());
    assert!(liveness.beat(&register("a", false)).is_err());
    farm.redis.lock().unwrap().restart().unwrap();

    let events = until(&coordinator, |batch| {
        assert!(!batch.lost, "nothing was lost");
        (batch.events.len() == 2).then(|| batch.events.clone())
    });
    assert_eq!(events.await, [register("a", false), register("a", true)]);
    let claim = async {
        loop {
            if let Ok(Some(entry)) = worker.claim(&SHAPE, SOON).await {
                return entry;
            }
        }
    };
    assert_eq!(tokio::time::timeout(SOON, claim).await.unwrap(), entry(1));
    let control = async {
        loop {
            if let Ok(Some(control)) = worker.next_control(SOON).await {
                return control;
            }
        }
    };
    assert_eq!(tokio::time::timeout(SOON, control).await.unwrap(), grant);
    assert_eq!(worker.input(JobId(1)).await.unwrap(), b"input");
    liveness.beat(&register("a", false)).unwrap();
}

#[tokio::test]
async fn rubbish_is_put_aside_with_its_reason_and_blocks_nobody() {
    let farm = Farm::start();
    let coordinator = farm.coordinator().await;
    let worker = farm.worker("a").await;
    let mut admin = farm.admin().await;
    coordinator.publish(&entry(1), b"input", Priority::Normal).await.unwrap();
    worker.claim(&SHAPE, SOON).await.unwrap().unwrap();
    let long = vec![b'x'; 100_000];
    let mut rubbish = redis::pipe();
    for fields in [
        [("what", &b"?"[..]), ("n", b"1")],
        [("e", b"no message"), ("n", b"1:1")],
        [("e", &long), ("n", b"1:1")],
    ] {
        rubbish.xadd(farm.key("jobs:s3m1"), "*", &fields).ignore();
        rubbish.xadd(farm.key("events"), "*", &fields).ignore();
    }
    let () = rubbish.query_async(&mut admin).await.unwrap();
    coordinator.publish(&entry(2), b"input", Priority::Normal).await.unwrap();
    worker.emit(&register("a", true)).await.unwrap();

    assert_eq!(worker.claim(&SHAPE, SOON).await.unwrap(), Some(entry(2)));
    let mut malformed = 0;
    until(&coordinator, |batch| {
        malformed += batch.malformed;
        batch.events.contains(&register("a", true)).then_some(())
    })
    .await;
    assert_eq!(malformed, 3);
    assert_eq!(coordinator.depth(Shape::S3M1).await.unwrap(), Depth { waiting: 0, claimed: 2 });
    let dead: redis::streams::StreamRangeReply =
        redis::cmd("XRANGE").arg(farm.key("dead")).arg("-").arg("+").query_async(&mut admin).await.unwrap();
    assert_eq!(dead.ids.len(), 6);
    for letter in dead.ids {
        let (reason, bytes): (String, Vec<u8>) =
            (letter.get("reason").unwrap(), letter.get("bytes").unwrap());
        assert!(!reason.is_empty() && bytes.len() <= 256, "{reason}");
        let origin: String = letter.get("origin").unwrap();
        assert!(origin.contains("jobs:s3m1") || origin.contains("events"), "{origin}");
    }
}

fn claim_of(worker: &str, job: u64) -> WorkerEvent {
    WorkerEvent::Claimed { worker: id(worker), job: JobId(job), attempt: Attempt(1) }
}

#[tokio::test]
async fn everything_is_bounded() {
    let farm =
        Farm { limits: Limits { entries: 2, events: 2, controls: 1, ..Limits::default() }, ..Farm::start() };
    let coordinator = farm.coordinator().await;
    let worker = farm.worker("a").await;
    coordinator.publish(&entry(1), b"", Priority::Normal).await.unwrap();
    coordinator.publish(&entry(2), b"", Priority::Normal).await.unwrap();
    let full = coordinator.publish(&entry(3), b"", Priority::Normal).await;
    assert_eq!(full, Err(QueueError::Full { what: "entries", limit: 2 }));
    worker.claim(&SHAPE, SOON).await.unwrap().unwrap();
    coordinator.publish(&entry(3), b"", Priority::Normal).await.unwrap();
    let claimed = coordinator.next_events(SOON).await.unwrap();
    assert_eq!(claimed.events, [claim_of("a", 1)], "a claim reports itself");
    coordinator.acknowledge(claimed.up_to.unwrap()).await.unwrap();

    let cancel = Control::Cancel { job: JobId(1), attempt: Attempt(1) };
    coordinator.control(&id("a"), cancel).await.unwrap();
    let full = coordinator.control(&id("a"), cancel).await;
    assert_eq!(full, Err(QueueError::Full { what: "controls", limit: 1 }));

    worker.emit(&register("a", true)).await.unwrap();
    worker.emit(&register("a", true)).await.unwrap();
    let beat = worker.liveness().unwrap().beat(&register("a", false));
    assert_eq!(beat, Err(QueueError::Full { what: "events", limit: 2 }));
    assert_eq!(worker.claim(&SHAPE, QUIET).await.unwrap(), None, "what cannot be reported is not claimed");
    let third = tokio::spawn(async move { worker.emit(&register("c", true)).await });
    let first = coordinator.next_events(SOON).await.unwrap();
    assert_eq!(first.events.len(), 2);
    assert!(!third.is_finished());
    coordinator.acknowledge(first.up_to.unwrap()).await.unwrap();
    third.await.unwrap().unwrap();
    assert_eq!(coordinator.next_events(SOON).await.unwrap().events, [register("c", true)]);
}

#[tokio::test]
async fn a_sweep_releases_what_a_vanished_worker_holds_and_trims_what_is_over() {
    let mut farm = Farm::start();
    farm.limits.gone_after = Duration::from_millis(300);
    farm.limits.sweep_every = Duration::ZERO;
    let coordinator = farm.coordinator().await;
    let (vanished, alive) = (farm.worker("vanished").await, farm.worker("alive").await);
    for job in 1..=2 {
        coordinator.publish(&entry(job), b"input", Priority::Normal).await.unwrap();
    }
    vanished.claim(&SHAPE, SOON).await.unwrap().unwrap();
    alive.claim(&SHAPE, SOON).await.unwrap().unwrap();
    let mut liveness = alive.liveness().unwrap();
    let released = async {
        while coordinator.depth(Shape::S3M1).await.unwrap().claimed == 2 {
            liveness.beat(&register("alive", false)).unwrap();
            coordinator.next_events(QUIET).await.unwrap();
        }
    };
    tokio::time::timeout(SOON, released).await.unwrap();
    // A long proof is no reason to take it away, as long as its worker reports.
    assert_eq!(coordinator.depth(Shape::S3M1).await.unwrap(), Depth { waiting: 0, claimed: 1 });
    alive.emit(&failed("alive", &entry(2))).await.unwrap();
    coordinator.next_events(QUIET).await.unwrap();
    let length: u64 =
        redis::cmd("XLEN").arg(farm.key("jobs:s3m1")).query_async(&mut farm.admin().await).await.unwrap();
    assert!(length <= 1, "{length} entries were not trimmed");
}

#[tokio::test]
async fn an_entry_of_a_job_that_is_over_is_not_handed_out() {
    let farm = Farm::start();
    let coordinator = farm.coordinator().await;
    let worker = farm.worker("a").await;
    for job in 1..=2 {
        coordinator.publish(&entry(job), b"input", Priority::Normal).await.unwrap();
    }
    coordinator.remove(JobId(1)).await.unwrap();
    assert_eq!(worker.claim(&SHAPE, SOON).await.unwrap(), Some(entry(2)));
}
