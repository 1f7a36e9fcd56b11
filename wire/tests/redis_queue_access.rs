//! Who gets in to the Redis queue, what a worker's user may touch, and what a bad network does to it.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use circuits::shape::Shape;
use testbed::redis::{Redis, Settings as Server, Transport};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use wire::{
    Attempt, CoordinatorQueue, FailureKind, JobEntry, JobId, Priority, QueueError, WorkerEvent, WorkerId,
    WorkerQueue,
    queue::redis::{RedisCoordinator, RedisWorker, Settings, deployments},
};

const PREFIX: &str = "pm:31337:0xabc";
const SOON: Duration = Duration::from_secs(20);
const SHAPE: [Shape; 1] = [Shape::S3M1];

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

fn failed(entry: &JobEntry) -> WorkerEvent {
    let (job, attempt) = (entry.job, entry.attempt);
    let message = String::new();
    WorkerEvent::Failed { worker: id("a"), job, attempt, kind: FailureKind::Infrastructure, message }
}

/// One job from the publication to its end.
async fn one_job(coordinator: &RedisCoordinator, worker: &RedisWorker) {
    coordinator.publish(&entry(1), b"input", Priority::Normal).await.unwrap();
    let claimed = worker.claim(&SHAPE, SOON).await.unwrap().unwrap();
    assert_eq!(worker.input(claimed.job).await.unwrap(), b"input");
    worker.emit(&failed(&claimed)).await.unwrap();
    worker.liveness().unwrap().beat(&failed(&claimed)).unwrap();
    let claim = WorkerEvent::Claimed { worker: id("a"), job: claimed.job, attempt: claimed.attempt };
    assert_eq!(coordinator.next_events(SOON).await.unwrap().events[..2], [claim, failed(&claimed)]);
}

#[tokio::test]
async fn a_workers_user_can_do_its_work_and_nothing_else() {
    let redis = Redis::with(Server::default()).unwrap();
    let coordinator = RedisCoordinator::connect(&Settings::new(redis.url(), PREFIX)).await.unwrap();
    let settings = Settings::new(redis.worker_url(), PREFIX);
    assert_eq!(deployments(&settings).await.unwrap().into_iter().collect::<Vec<_>>(), [PREFIX]);
    let worker = RedisWorker::connect(&settings, id("a")).await.unwrap();
    one_job(&coordinator, &worker).await;
    assert_eq!(worker.next_control(Duration::from_millis(10)).await.unwrap(), None);

    let client = redis::Client::open(redis.worker_url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    for forbidden in [
        "FLUSHALL",
        "FLUSHDB",
        "KEYS *",
        "SCAN 0",
        "RANDOMKEY",
        "CONFIG GET *",
        "CONFIG SET maxmemory-policy allkeys-lru",
        "ACL LIST",
        "ACL SETUSER x on",
        "SHUTDOWN",
        "SAVE",
        "MONITOR",
        "CLIENT LIST",
        "CLIENT KILL TYPE normal",
        "SCRIPT FLUSH",
        "FUNCTION LIST",
        "REPLICAOF NO ONE",
        "SUBSCRIBE x",
        "INFO",
        "GET secret",
        "SET secret x",
        "GET pm:31337:0xabc:events",
        "SET pm:31337:0xabc:job:1 x",
        "SET pm:31337:0xabc:events x",
        "SET pm:31337:0xabc:epoch x",
        "DEL pm:31337:0xabc:job:1",
        "DEL pm:31337:0xabc:events",
        "DEL pm:31337:0xabc:jobs:s3m1",
        "XREAD COUNT 1 STREAMS pm:31337:0xabc:events 0",
        "XRANGE pm:31337:0xabc:dead - +",
        "XTRIM pm:31337:0xabc:events MAXLEN 0",
        "XTRIM pm:31337:0xabc:jobs:s3m1 MAXLEN 0",
        "XDEL pm:31337:0xabc:jobs:s3m1 1-1",
        "XGROUP DESTROY pm:31337:0xabc:jobs:s3m1 workers",
        "RPUSH pm:31337:0xabc:ctl:b x",
        "XADD other * e x",
        "HGETALL pm:31337:0xabc:claims:1",
    ] {
        let mut words = forbidden.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            command.arg(word);
        });
        let answer: Result<redis::Value, _> = command.query_async(&mut connection).await;
        assert_eq!(answer.unwrap_err().code(), Some("NOPERM"), "{forbidden}");
        // Nor inside a script, which runs with the same rights.
        let mut script = redis::cmd("EVAL");
        script.arg("return redis.call(unpack(ARGV))").arg(0).arg(forbidden.split(' ').collect::<Vec<_>>());
        let answer: Result<redis::Value, _> = script.query_async(&mut connection).await;
        assert!(answer.is_err(), "{forbidden} in a script");
    }
    one_job(&coordinator, &worker).await;
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_says_so() {
    let redis = Redis::with(Server::default()).unwrap();
    let settings = Settings { password: Some("guess".to_owned()), ..Settings::new(redis.url(), PREFIX) };
    let refusal = RedisCoordinator::connect(&settings).await.err().unwrap();
    assert!(matches!(refusal, QueueError::Refused(_)), "{refusal}");
    assert!(refusal.to_string().contains("PM-QUEUE-004"), "{refusal}");
    let nobody = format!("redis://127.0.0.1:{}", redis.port());
    let refusal = RedisWorker::connect(&Settings::new(nobody, PREFIX), id("a")).await.err().unwrap();
    assert!(matches!(refusal, QueueError::Refused(_)), "{refusal}");
    // A worker is no coordinator.
    let refusal = RedisCoordinator::connect(&Settings::new(redis.worker_url(), PREFIX)).await.err().unwrap();
    assert!(matches!(refusal, QueueError::Refused(_)), "{refusal}");
    assert!(!format!("{settings:?}").contains("guess"));
}

#[tokio::test]
async fn nobody_there_is_an_error_and_not_a_hang() {
    let settings = Settings::new("redis://127.0.0.1:1", PREFIX);
    assert!(matches!(RedisWorker::connect(&settings, id("a")).await, Err(QueueError::Unreachable(_))));
}

#[tokio::test]
async fn the_queue_works_over_tls_and_only_with_the_right_authority() {
    let redis = Redis::with(Server { transport: Transport::Tls, ..Server::default() }).unwrap();
    let trusting =
        |url| Settings { authority: Some(redis.authority().unwrap()), ..Settings::new(url, PREFIX) };
    let coordinator = RedisCoordinator::connect(&trusting(redis.url())).await.unwrap();
    let worker = RedisWorker::connect(&trusting(redis.worker_url()), id("a")).await.unwrap();
    one_job(&coordinator, &worker).await;
    let stranger = RedisWorker::connect(&Settings::new(redis.worker_url(), PREFIX), id("b")).await;
    assert!(matches!(stranger, Err(QueueError::Unreachable(_))));
    let plain = redis.url().replace("rediss://", "redis://");
    assert!(RedisCoordinator::connect(&Settings::new(plain, PREFIX)).await.is_err());
}

/// Passes bytes on, until it is told to cut every connection, or to swallow everything.
struct Proxy {
    port: u16,
    cut: Arc<tokio::sync::Notify>,
    silent: Arc<AtomicBool>,
}

impl Proxy {
    async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (cut, silent) = (Arc::new(tokio::sync::Notify::new()), Arc::new(AtomicBool::new(false)));
        let (cuts, silence) = (Arc::clone(&cut), Arc::clone(&silent));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (cuts, silence) = (Arc::clone(&cuts), Arc::clone(&silence));
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else { return };
                    // What is longer than a piece must not wait for an acknowledgement longer than a connection lasts.
                    client.set_nodelay(true).unwrap();
                    server.set_nodelay(true).unwrap();
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    tokio::select! {
                        () = pass(from_client, to_server, &silence) => {}
                        () = pass(from_server, to_client, &silence) => {}
                        () = cuts.notified() => {}
                    }
                });
            }
        });
        Self { port, cut, silent }
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    silent: &AtomicBool,
) {
    let mut piece = [0u8; 4096];
    while let Ok(length) = from.read(&mut piece).await {
        if length == 0 {
            return;
        }
        if !silent.load(Ordering::Relaxed) && to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_entry_is_lost_over_a_network_that_cuts_and_swallows() {
    const JOBS: u64 = 40;
    let redis = Redis::with(Server::default()).unwrap();
    let proxy = Proxy::start(redis.port()).await;
    let coordinator = RedisCoordinator::connect(&Settings::new(redis.url(), PREFIX)).await.unwrap();
    let url = redis.worker_url().replace(&redis.port().to_string(), &proxy.port.to_string());
    let worker = RedisWorker::connect(&Settings::new(url, PREFIX), id("a")).await.unwrap();
    let cuts = Arc::clone(&proxy.cut);
    let cutter = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(15)).await;
            cuts.notify_waiters();
        }
    });
    let work = tokio::spawn(async move {
        loop {
            let Ok(Some(entry)) = worker.claim(&SHAPE, Duration::from_millis(200)).await else { continue };
            while worker.emit(&failed(&entry)).await.is_err() {}
        }
    });
    let mut over = std::collections::BTreeSet::new();
    let mut attempt = 0;
    let all = async {
        while over.len() < JOBS as usize {
            // A claim whose answer is cut off is the lease's business: what is not over is published again.
            attempt += 1;
            for job in (1..=JOBS).filter(|job| !over.contains(job)) {
                let again = JobEntry { attempt: Attempt(attempt), ..entry(job) };
                coordinator.publish(&again, b"input", Priority::Normal).await.unwrap();
            }
            let deadline = tokio::time::Instant::now() + Duration::from_secs(1);
            while over.len() < JOBS as usize && tokio::time::Instant::now() < deadline {
                let batch = coordinator.next_events(Duration::from_millis(100)).await.unwrap();
                over.extend(batch.events.iter().filter_map(|event| Some(event.ends()?.0.0)));
            }
        }
    };
    tokio::time::timeout(3 * SOON, all).await.unwrap();
    cutter.abort();
    work.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_swallows_everything_is_noticed() {
    let redis = Redis::with(Server::default()).unwrap();
    let proxy = Proxy::start(redis.port()).await;
    let url = redis.worker_url().replace(&redis.port().to_string(), &proxy.port.to_string());
    RedisCoordinator::connect(&Settings::new(redis.url(), PREFIX)).await.unwrap();
    let worker = RedisWorker::connect(&Settings::new(url, PREFIX), id("a")).await.unwrap();
    proxy.silent.store(true, Ordering::Relaxed);
    let answer = tokio::time::timeout(SOON, worker.claim(&SHAPE, Duration::from_millis(10))).await.unwrap();
    assert!(matches!(answer, Err(QueueError::Unreachable(_))), "{answer:?}");
    proxy.silent.store(false, Ordering::Relaxed);
    let back = async { while worker.claim(&SHAPE, Duration::ZERO).await.is_err() {} };
    tokio::time::timeout(SOON, back).await.unwrap();
}
