//! How fast jobs go out over Redis, over a real private server: jobs per second through the farm's own decisions, whether
//! that stays flat over many finished jobs, how long a job takes from the decision to its worker, how long a wiped Redis
//! costs, and what the heartbeats of many workers cost the coordinator.
//!
//! Each job goes the whole way: handed out with an input, read by its worker, ended by an event, read, closed, and handed out
//! again under its next attempt number as a new job. Prints one JSON line per figure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use circuits::shape::Shape;
use clap::Parser;
use cpu_time::ThreadTime;
use queue::{
    CoordinatorQueue, QueueError, QueueWrite, WorkerQueue,
    redis::{RedisCoordinator, RedisWorker, Settings},
};
use sequencer::farm::{CapacityRules, Farm, FarmCommand, FarmEffect, FarmRules};
use serde_json::json;
use testbed::redis::Redis;
use tokio::task::JoinSet;
use wire::{
    CircuitSupport, Control, InFlight, InstanceName, JobId, PoolName, ProcessId, ProofBytes, Registration,
    Stage, Timings, WorkerEvent, WorkerId,
};

const SHAPE: Shape = Shape::S3M1;
const PREFIX: &str = "pm:dispatch";
const WAIT: Duration = Duration::from_millis(500);
/// The rate counts as full again at this share of the one before.
const FULL: f64 = 0.9;
const RULES: FarmRules = FarmRules { lease_ms: 4_000, quarantine_after: 4, attempt_limit_ms: 600_000 };

#[derive(Parser)]
struct Options {
    /// Jobs from the decision to the end
    #[arg(long, default_value_t = 100_000)]
    jobs: u32,
    /// Jobs of one reading of the rate
    #[arg(long, default_value_t = 100_000)]
    window: u32,
    /// Workers, each with connections of its own
    #[arg(long, default_value_t = 64)]
    workers: usize,
    /// Jobs that wait for a worker at most
    #[arg(long, default_value_t = 512)]
    ahead: usize,
    /// Bytes of an input
    #[arg(long, default_value_t = 1024)]
    input: usize,
    /// Simulated workers that only send heartbeats, once a second
    #[arg(long, default_value_t = 2_000)]
    beating: usize,
    /// Seconds of heartbeats
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

/// What the workers and the coordinator share.
struct Shared {
    stop: AtomicBool,
    start: Instant,
    /// Nanoseconds from the decision to the worker, of the jobs of the last reading.
    latencies: std::sync::Mutex<Vec<u64>>,
    decided: Vec<AtomicU64>,
}

impl Shared {
    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
}

fn registration() -> Registration {
    Registration {
        backend: "bench".to_owned(),
        version: "0".to_owned(),
        memory: 1 << 30,
        circuits: vec![CircuitSupport { shape: SHAPE, digest: [1; 32], verifying_key: [2; 32] }],
        slots: 2,
    }
}

/// Ends each job that it gets at once.
async fn work(shared: Arc<Shared>, worker: RedisWorker) -> Result<(), QueueError> {
    let mut registered = Instant::now();
    let register = WorkerEvent::Register { registration: registration(), in_flight: Vec::new() };
    worker.emit(&register).await?;
    while !shared.stop.load(Ordering::Relaxed) {
        let control = worker.next_control(WAIT).await?;
        match control {
            Some(Control::Job(entry)) => {
                let place = entry.job.0 as usize % shared.decided.len();
                let took = shared.now().saturating_sub(shared.decided[place].load(Ordering::Relaxed));
                if let Ok(mut latencies) = shared.latencies.lock() {
                    latencies.push(took);
                }
                let (job, attempt) = (entry.job, entry.attempt);
                let (proof, timings) = (ProofBytes([0; 256]), Timings::default());
                worker.emit(&WorkerEvent::Proved { job, attempt, proof, timings }).await?;
            }
            // As a worker whose registration was lost: it says again who it is.
            None | Some(Control::Reregister) => worker.emit(&register).await?,
            Some(_) => {}
        }
        if registered.elapsed() > Duration::from_secs(1) {
            registered = Instant::now();
            worker.emit(&WorkerEvent::Heartbeat { in_flight: Vec::new(), card: None }).await?;
        }
    }
    Ok(())
}

/// The coordinator's loop over the real farm and the real queue, without its ledger.
struct Coordinator {
    shared: Arc<Shared>,
    queue: RedisCoordinator,
    farm: Farm,
    input: Arc<[u8]>,
    next: u32,
    ended: u32,
}

impl Coordinator {
    fn now(&self) -> u64 {
        1_000_000 + self.shared.start.elapsed().as_millis() as u64
    }

    fn step(&mut self, command: FarmCommand, writes: &mut Vec<QueueWrite>) {
        let effects = self.farm.step(command, self.now());
        self.carry(effects, writes);
    }

    fn carry(&self, effects: Vec<FarmEffect>, writes: &mut Vec<QueueWrite>) {
        for effect in effects {
            writes.push(match effect {
                FarmEffect::Record(_) | FarmEffect::Replay { .. } => continue,
                FarmEffect::Pools { open, closed } => QueueWrite::Pools { open, closed },
                FarmEffect::Input { pool, batch_no } => {
                    QueueWrite::Input { pool, job: JobId::of_batch(batch_no), input: Arc::clone(&self.input) }
                }
                FarmEffect::RemoveInput { pool, batch_no } => {
                    QueueWrite::RemoveInput { pool, job: JobId::of_batch(batch_no) }
                }
                FarmEffect::Send { worker, directive } => {
                    if let Control::Job(entry) = &directive.control {
                        let place = entry.job.0 as usize % self.shared.decided.len();
                        self.shared.decided[place].store(self.shared.now(), Ordering::Relaxed);
                    }
                    QueueWrite::Directive { worker, directive }
                }
                FarmEffect::Forget { worker } => QueueWrite::Forget { worker },
            });
        }
    }

    /// One round: keeps `ahead` jobs waiting up to job `until`, reads what came, writes what follows.
    async fn round(&mut self, until: u32, ahead: usize, wait: Duration) -> Result<(), QueueError> {
        let mut writes = Vec::new();
        while self.next < until && self.farm.job_count() < ahead {
            self.next += 1;
            self.farm.enqueue(self.next, SHAPE, [1; 32], [3; 32]);
        }
        self.step(FarmCommand::Tick, &mut writes);
        self.queue.write(&writes).await?;
        writes.clear();
        let batch = self.queue.next_events(wait).await?;
        if batch.wiped {
            self.step(FarmCommand::QueueWiped, &mut writes);
        }
        for event in batch.events {
            let (worker, process) = (event.worker, event.process);
            match event.event {
                WorkerEvent::Proved { job, attempt, .. } => {
                    let batch_no = job.batch_no().unwrap_or(0);
                    if self.farm.was_granted(&worker, job, attempt) {
                        self.ended += 1;
                        let effects = self.farm.proven(batch_no, &worker, self.now());
                        self.carry(effects, &mut writes);
                    }
                    self.step(FarmCommand::Answer { worker, process, job, attempt }, &mut writes);
                }
                event => {
                    let event = Box::new(event);
                    self.step(FarmCommand::Report { worker, process, event }, &mut writes);
                }
            }
        }
        writes.extend(batch.up_to.map(QueueWrite::Acknowledge));
        self.queue.write(&writes).await
    }
}

fn quantile(mut values: Vec<u64>, share: f64) -> f64 {
    values.sort_unstable();
    values.get((values.len() as f64 * share) as usize).map_or(0.0, |nanos| *nanos as f64 / 1e6)
}

fn take(latencies: &std::sync::Mutex<Vec<u64>>) -> Vec<u64> {
    latencies.lock().map(|mut taken| std::mem::take(&mut *taken)).unwrap_or_default()
}

#[tokio::main]
async fn main() -> eyre::Result<()> {
    let options = Options::parse();
    let redis = Redis::start()?;
    let settings = Settings::new(redis.url(), PREFIX);
    let shared = Arc::new(Shared {
        stop: AtomicBool::new(false),
        start: Instant::now(),
        latencies: std::sync::Mutex::default(),
        decided: (0..65_536).map(|_| AtomicU64::new(0)).collect(),
    });
    let mut coordinator = Coordinator {
        shared: Arc::clone(&shared),
        queue: RedisCoordinator::connect(&settings).await?,
        farm: Farm::new(RULES, BTreeMap::new(), CapacityRules::default()),
        input: vec![7; options.input].into(),
        next: 0,
        ended: 0,
    };
    let pool = PoolName::default();
    let mut tasks = JoinSet::new();
    for number in 0..options.workers {
        let process = ProcessId(number as u64);
        let id = WorkerId::new(pool.clone(), InstanceName::of_process("bench", process));
        let worker = RedisWorker::connect(&settings, id, process).await?;
        tasks.spawn(work(Arc::clone(&shared), worker));
    }

    // As many ahead as allowed.
    let began = Instant::now();
    let mut marks = vec![(0, 0.0)];
    while coordinator.ended < options.jobs {
        coordinator.round(options.jobs, options.ahead, WAIT).await?;
        if coordinator.ended / options.window > marks.last().map_or(0, |(ended, _)| *ended) / options.window {
            marks.push((coordinator.ended, began.elapsed().as_secs_f64()));
        }
    }
    let rate = f64::from(options.jobs) / began.elapsed().as_secs_f64();
    let rates: Vec<f64> =
        marks.windows(2).map(|pair| f64::from(pair[1].0 - pair[0].0) / (pair[1].1 - pair[0].1)).collect();
    let (first, last) = (rates.first().copied().unwrap_or(rate), rates.last().copied().unwrap_or(rate));
    println!(
        "{}",
        json!({ "figure": "jobs", "jobs": options.jobs, "workers": options.workers, "input_bytes": options.input,
                "jobs_per_s": rate.round(), "first_window_per_s": first.round(), "last_window_per_s": last.round(),
                "last_over_first": (last / first * 1000.0).round() / 1000.0 })
    );

    // One at a time: all workers are idle.
    take(&shared.latencies);
    let probes = coordinator.ended + 2_000;
    while coordinator.ended < probes {
        coordinator.round(probes, 1, WAIT).await?;
    }
    let took = take(&shared.latencies);
    println!(
        "{}",
        json!({ "figure": "decision_to_worker_ms", "probes": took.len(), "p50": quantile(took.clone(), 0.5), "p99": quantile(took, 0.99) })
    );

    let wiped = wiped_to_full_rate(&mut coordinator, &redis, rate, options.ahead).await?;
    println!("{}", json!({ "figure": "wiped_to_full_rate_ms", "ms": wiped.as_millis() as u64 }));
    shared.stop.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    heartbeats(&settings, options.beating, options.seconds).await
}

/// Wipes Redis under full load until the rate of ended jobs over 100 ms is what it was.
async fn wiped_to_full_rate(
    coordinator: &mut Coordinator,
    redis: &Redis,
    rate: f64,
    ahead: usize,
) -> eyre::Result<Duration> {
    let until = u32::MAX;
    let load = Instant::now();
    while load.elapsed() < Duration::from_secs(2) {
        coordinator.round(until, ahead, WAIT).await?;
    }
    let mut admin = redis::Client::open(redis.admin_url())?.get_multiplexed_async_connection().await?;
    let () = redis::cmd("FLUSHALL").query_async(&mut admin).await?;
    let wiped = Instant::now();
    loop {
        let (before, mark) = (coordinator.ended, Instant::now());
        while mark.elapsed() < Duration::from_millis(100) {
            coordinator.round(until, ahead, Duration::from_millis(20)).await?;
        }
        let now = f64::from(coordinator.ended - before) / mark.elapsed().as_secs_f64();
        if now >= FULL * rate {
            return Ok(wiped.elapsed());
        }
        eyre::ensure!(wiped.elapsed() < Duration::from_secs(60), "the rate does not come back");
    }
}

/// What `count` workers that prove for minutes cost: each sends a heartbeat a second. The coordinator reads, decodes and decides
/// on one thread, whose processor time is the figure.
async fn heartbeats(settings: &Settings, count: usize, seconds: u64) -> eyre::Result<()> {
    let settings = Settings { prefix: "pm:beats".to_owned(), ..settings.clone() };
    let pool = PoolName::default();
    let beats = settings.clone();
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, named) = (Arc::clone(&stop), pool.clone());
    let sender = std::thread::spawn(move || -> eyre::Result<u64> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut workers = Vec::new();
            for number in 0..count {
                let process = ProcessId(number as u64);
                let id = WorkerId::new(named.clone(), InstanceName::of_process("beat", process));
                // A few connections for all: the server sees the same commands.
                workers.push((id, process));
            }
            let mut connection =
                redis::Client::open(beats.url.as_str())?.get_multiplexed_async_connection().await?;
            let mut sent = 0;
            let mut first = true;
            while !stopped.load(Ordering::Relaxed) {
                let second = Instant::now();
                for chunk in workers.chunks((count / 50).max(1)) {
                    let mut pipeline = redis::pipe();
                    for (id, process) in chunk {
                        let event = if first {
                            WorkerEvent::Register { registration: registration(), in_flight: Vec::new() }
                        } else {
                            let in_flight =
                                InFlight { job: JobId(1), attempt: wire::Attempt(1), stage: Stage::Proving };
                            WorkerEvent::Heartbeat { in_flight: vec![in_flight], card: None }
                        };
                        let report = wire::Report { instance: id.instance.clone(), process: *process, event };
                        pipeline.cmd("XADD").arg("pm:beats:pool:default:events").arg("*").arg("e");
                        pipeline.arg(wire::codec::Message::encode(&report)?).ignore();
                    }
                    let () = pipeline.query_async(&mut connection).await?;
                    sent += chunk.len() as u64;
                    tokio::time::sleep(Duration::from_millis(18)).await;
                }
                first = false;
                tokio::time::sleep(Duration::from_secs(1).saturating_sub(second.elapsed())).await;
            }
            Ok(sent)
        })
    });
    let reader = std::thread::spawn(move || -> eyre::Result<(f64, u64, usize)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let queue = RedisCoordinator::connect(&settings).await?;
            let open = BTreeSet::from([pool.clone()]);
            queue.write(&[QueueWrite::Pools { open, closed: BTreeSet::new() }]).await?;
            let mut farm = Farm::new(RULES, BTreeMap::new(), CapacityRules::default());
            let start = Instant::now();
            let began = ThreadTime::now();
            let (mut read, mut used_before) = (0, Duration::ZERO);
            let warm = Duration::from_secs(3);
            while start.elapsed() < warm + Duration::from_secs(seconds) {
                let batch = queue.next_events(WAIT).await?;
                let now = 1_000_000 + start.elapsed().as_millis() as u64;
                let mut writes = Vec::new();
                for event in batch.events {
                    if start.elapsed() > warm {
                        read += 1;
                    }
                    let (worker, process, event) = (event.worker, event.process, Box::new(event.event));
                    for effect in farm.step(FarmCommand::Report { worker, process, event }, now) {
                        // Jobs that nobody granted are closed; that is not what is measured here.
                        if let FarmEffect::Send { worker, directive } = effect
                            && matches!(directive.control, Control::Registered)
                        {
                            writes.push(QueueWrite::Directive { worker, directive });
                        }
                    }
                }
                farm.step(FarmCommand::Tick, now);
                writes.extend(batch.up_to.map(QueueWrite::Acknowledge));
                queue.write(&writes).await?;
                if start.elapsed() < warm {
                    used_before = began.elapsed();
                }
            }
            Ok(((began.elapsed() - used_before).as_secs_f64(), read, farm.workers().count()))
        })
    });
    let (used, read, alive) = reader.join().map_err(|_| eyre::eyre!("the reader panicked"))??;
    stop.store(true, Ordering::Relaxed);
    sender.join().map_err(|_| eyre::eyre!("the sender panicked"))??;
    let share = used / seconds as f64;
    println!(
        "{}",
        json!({ "figure": "heartbeats", "workers": count, "alive": alive, "seconds": seconds, "read": read,
                "core_share": (share * 10_000.0).round() / 10_000.0,
                "micros_each": (used * 1e6 / read.max(1) as f64 * 10.0).round() / 10.0 })
    );
    Ok(())
}
