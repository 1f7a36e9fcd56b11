//! How fast the queue on Redis hands work out, over a real private server: claims per second, whether that stays flat over
//! many finished jobs, how long an entry takes from `publish` to its claimer, and how long a wiped Redis costs.
//!
//! Each job goes the whole way: published with an input, claimed, ended by an event, read, acknowledged, removed. Prints one
//! JSON line per figure.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use circuits::shape::Shape;
use clap::Parser;
use serde_json::json;
use testbed::redis::Redis;
use tokio::{sync::Semaphore, task::JoinSet};
use wire::{
    Attempt, CoordinatorQueue, FailureKind, JobEntry, JobId, Priority, QueueError, WorkerEvent, WorkerId,
    WorkerQueue,
    queue::redis::{RedisCoordinator, RedisWorker, Settings},
};

const SHAPE: Shape = Shape::S3M1;
const PREFIX: &str = "pm:dispatch";
const WAIT: Duration = Duration::from_millis(500);
/// Jobs of one reading of the rate.
const WINDOW: u64 = 100_000;
/// The rate counts as full again at this share of the one before.
const FULL: f64 = 0.9;

#[derive(Parser)]
struct Options {
    /// Jobs from publication to removal
    #[arg(long, default_value_t = 100_000)]
    jobs: u64,
    /// Workers, each with connections of its own
    #[arg(long, default_value_t = 16)]
    workers: usize,
    /// Jobs published and not ended at most
    #[arg(long, default_value_t = 256)]
    ahead: usize,
    /// Bytes of an input
    #[arg(long, default_value_t = 1024)]
    input: usize,
    /// Publications for the latency, with all workers idle
    #[arg(long, default_value_t = 2_000)]
    probes: u64,
}

/// What the tasks share.
struct Bench {
    coordinator: RedisCoordinator,
    room: Semaphore,
    claimed: AtomicU64,
    ended: AtomicU64,
    lost: AtomicBool,
    stop: AtomicBool,
    start: Instant,
    /// Nanoseconds since the start: of the publication now, later of the way to the claimer, by number.
    published: Vec<AtomicU64>,
    took: Vec<AtomicU64>,
}

fn entry(job: u64, attempt: u32) -> JobEntry {
    JobEntry {
        job: JobId(job),
        attempt: Attempt(attempt),
        shape: SHAPE,
        circuit_digest: [1; 32],
        input_hash: [2; 32],
        excluded: Vec::new(),
    }
}

impl Bench {
    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    async fn publish(&self, job: u64, attempt: u32, input: &[u8]) {
        loop {
            self.published[job as usize].store(self.now(), Ordering::Relaxed);
            match self.coordinator.publish(&entry(job, attempt), input, Priority::Normal).await {
                Ok(()) => return,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    async fn work(&self, worker: RedisWorker, id: WorkerId) -> Result<(), QueueError> {
        while !self.stop.load(Ordering::Relaxed) {
            let Some(entry) = worker.claim(&[SHAPE], WAIT).await? else { continue };
            let place = entry.job.0 as usize;
            let took = self.now().saturating_sub(self.published[place].load(Ordering::Relaxed));
            self.took[place].store(took, Ordering::Relaxed);
            self.claimed.fetch_add(1, Ordering::Relaxed);
            let (job, attempt) = (entry.job, entry.attempt);
            let (kind, message) = (FailureKind::Infrastructure, String::new());
            worker.emit(&WorkerEvent::Failed { worker: id.clone(), job, attempt, kind, message }).await?;
        }
        Ok(())
    }

    /// Reads events as the coordinator does.
    async fn collect(&self, input: &[u8], jobs: u64) -> Result<(), QueueError> {
        let mut over = vec![false; self.published.len()];
        while !self.stop.load(Ordering::Relaxed) {
            let batch = self.coordinator.next_events(WAIT).await?;
            if batch.lost {
                self.lost.store(true, Ordering::Relaxed);
                for job in (0..jobs).filter(|job| !over[*job as usize]) {
                    if self.published[job as usize].load(Ordering::Relaxed) > 0 {
                        self.publish(job, 2, input).await;
                    }
                }
            }
            // Side by side on the one connection, as a round trip for each would make the bench measure its collector.
            let ends = batch.events.iter().filter_map(|event| event.ends()).map(|(job, _)| job);
            let ends: Vec<JobId> = ends.collect();
            let gone = futures::future::join_all(ends.iter().map(|job| self.coordinator.remove(*job)));
            gone.await.into_iter().collect::<Result<(), _>>()?;
            for job in ends {
                if !std::mem::replace(&mut over[job.0 as usize], true) {
                    self.room.add_permits(1);
                    self.ended.fetch_add(1, Ordering::Relaxed);
                }
            }
            if let Some(up_to) = batch.up_to {
                self.coordinator.acknowledge(up_to).await?;
            }
        }
        Ok(())
    }

    async fn until_ended(&self, jobs: u64) {
        while self.ended.load(Ordering::Relaxed) < jobs {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::main]
async fn main() -> eyre::Result<()> {
    let options = Options::parse();
    let redis = Redis::start()?;
    let settings = Settings::new(redis.url(), PREFIX);
    let all = options.jobs + options.probes + 4 * WINDOW;
    let slots = || (0..all).map(|_| AtomicU64::new(0)).collect();
    let bench = Arc::new(Bench {
        coordinator: RedisCoordinator::connect(&settings).await?,
        room: Semaphore::new(options.ahead),
        claimed: AtomicU64::new(0),
        ended: AtomicU64::new(0),
        lost: AtomicBool::new(false),
        stop: AtomicBool::new(false),
        start: Instant::now(),
        published: slots(),
        took: slots(),
    });
    let input: Arc<[u8]> = vec![7; options.input].into();
    let mut tasks = JoinSet::new();
    for number in 0..options.workers {
        let (bench, id) = (Arc::clone(&bench), WorkerId::new(format!("w{number}"))?);
        let settings = Settings::new(redis.worker_url(), PREFIX);
        let worker = RedisWorker::connect(&settings, id.clone()).await?;
        tasks.spawn(async move { bench.work(worker, id).await });
    }
    let (reader, bytes) = (Arc::clone(&bench), Arc::clone(&input));
    tasks.spawn(async move { reader.collect(&bytes, all).await });

    // All at once, as many ahead as allowed.
    let began = Instant::now();
    let mut marks = vec![(0, 0.0)];
    for job in 0..options.jobs {
        publish_one(&bench, job, &input).await;
        if (job + 1) % WINDOW.min(options.jobs) == 0 {
            marks.push((job + 1, began.elapsed().as_secs_f64()));
        }
    }
    bench.until_ended(options.jobs).await;
    let seconds = began.elapsed().as_secs_f64();
    let rates: Vec<f64> =
        marks.windows(2).map(|pair| (pair[1].0 - pair[0].0) as f64 / (pair[1].1 - pair[0].1)).collect();
    let (first, last) = (rates.first().copied().unwrap_or(0.0), rates.last().copied().unwrap_or(0.0));
    let rate = options.jobs as f64 / seconds;
    println!(
        "{}",
        json!({ "figure": "claims", "jobs": options.jobs, "workers": options.workers, "input_bytes": options.input,
                "claims_per_s": rate.round(), "first_window_per_s": first.round(), "last_window_per_s": last.round(),
                "last_over_first": (last / first * 1000.0).round() / 1000.0 })
    );

    // One at a time: everybody waits.
    let mut took: Vec<u64> = Vec::new();
    for job in options.jobs..options.jobs + options.probes {
        bench.publish(job, 1, &input).await;
        bench.until_ended(job + 1).await;
        took.push(bench.took[job as usize].load(Ordering::Relaxed));
    }
    took.sort_unstable();
    let at =
        |share: f64| took.get((took.len() as f64 * share) as usize).map_or(0.0, |nanos| *nanos as f64 / 1e6);
    println!(
        "{}",
        json!({ "figure": "publish_to_claim_ms", "probes": took.len(), "p50": at(0.5), "p99": at(0.99) })
    );

    let wiped = wiped_to_full_rate(&bench, &redis, options.jobs + options.probes, all, rate, &input).await?;
    println!("{}", json!({ "figure": "wiped_to_full_rate_ms", "ms": wiped.as_millis() as u64 }));
    bench.stop.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// Without waiting for it, as soon as there is room.
async fn publish_one(bench: &Arc<Bench>, job: u64, input: &Arc<[u8]>) {
    if let Ok(permit) = bench.room.acquire().await {
        permit.forget();
    }
    let (bench, input) = (Arc::clone(bench), Arc::clone(input));
    tokio::spawn(async move { bench.publish(job, 1, &input).await });
}

/// Wipes Redis under full load and waits until the rate of ended jobs over 100 ms is what it was.
async fn wiped_to_full_rate(
    bench: &Arc<Bench>,
    redis: &Redis,
    from: u64,
    to: u64,
    rate: f64,
    input: &Arc<[u8]>,
) -> eyre::Result<Duration> {
    let load = {
        let (bench, input) = (Arc::clone(bench), Arc::clone(input));
        tokio::spawn(async move {
            for job in from..to {
                publish_one(&bench, job, &input).await;
            }
        })
    };
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut admin = redis::Client::open(redis.admin_url())?.get_multiplexed_async_connection().await?;
    let () = redis::cmd("FLUSHALL").query_async(&mut admin).await?;
    let wiped = Instant::now();
    loop {
        let before = bench.ended.load(Ordering::Relaxed);
        let mark = Instant::now();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = (bench.ended.load(Ordering::Relaxed) - before) as f64 / mark.elapsed().as_secs_f64();
        let noticed = bench.lost.load(Ordering::Relaxed);
        if noticed && now >= FULL * rate {
            load.abort();
            return Ok(wiped.elapsed());
        }
        eyre::ensure!(wiped.elapsed() < Duration::from_secs(60), "the rate does not come back");
    }
}
