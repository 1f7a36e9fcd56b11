//! `worker`: a proving process of its own that takes jobs from a coordinator. `prove-child`: what a worker starts to prove
//! on a card.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use api::serve_metrics;
use circuits::shape::Shape;
use clap::Args;
use eyre::WrapErr;
use gpu_worker::{
    Config, Worker,
    backend::{Choice, Kind, Selected, Selection, select},
    card::{self, Monitor},
};
use prover::Backend;
use queue::{WorkerQueue, redis::RedisWorker};
use tokio_util::sync::CancellationToken;
use wire::{InstanceName, PoolName, ProcessId, WorkerId};

use crate::redis;

#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    redis: redis::Options,
    /// Where the keys are
    #[arg(long, default_value = "proofmill-data/keys")]
    keys: PathBuf,
    /// Circuits to prove, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "s3m1")]
    circuits: Vec<Shape>,
    /// What proves: `auto` takes the first of cuda, icicle and cpu that works; a named one must work
    #[arg(long, value_name = "auto|cpu|cuda|icicle", default_value_t = Choice::Auto)]
    backend: Choice,
    /// The card, in CUDA's order; start one worker for each
    #[arg(long, default_value_t = 0)]
    device: u32,
    /// Serve `/metrics` and `/health/live` here, e.g. 127.0.0.1:9100
    #[arg(long)]
    metrics: Option<SocketAddr>,
    /// The pool that its credential belongs to
    #[arg(long, env = "PROOFMILL_POOL", default_value = PoolName::DEFAULT)]
    pool: PoolName,
    /// First part of the worker's name, which ends with a number of this start; the machine's name by default
    #[arg(long, env = "PROOFMILL_WORKER_NAME")]
    name: Option<String>,
    /// Mebibytes it may use; by default all of the machine or control group
    #[arg(long, value_name = "MIB")]
    memory: Option<u64>,
    /// Seconds that the proof under way may take after SIGTERM
    #[arg(long, default_value_t = 60)]
    drain_timeout: u64,
}

#[derive(Args)]
pub struct ChildOptions {
    /// The backend to open
    #[arg(long, value_name = "cpu|cuda|icicle")]
    backend: Kind,
    /// The card, in CUDA's order
    #[arg(long, default_value_t = 0)]
    device: u32,
}

/// Proves for the worker at the other end of stdin and stdout, until it is gone.
///
/// # Errors
/// If stdout cannot be used.
#[cfg(unix)]
pub fn prove_child(options: &ChildOptions) -> eyre::Result<()> {
    Ok(gpu_worker::child::run(|| options.backend.open(options.device))?)
}

/// # Errors
/// Always.
#[cfg(not(unix))]
pub fn prove_child(options: &ChildOptions) -> eyre::Result<()> {
    bail!("{} needs a Unix system", options.backend)
}

/// Starts the backend and says which one it is, and why not a better one, unless it is the processor that was asked for.
///
/// # Errors
/// If the backend that was named, or none at all, can start.
pub fn choose_backend(choice: Choice, device: u32) -> eyre::Result<Selected> {
    let program = std::env::current_exe().wrap_err("cannot find this program to start it as a child")?;
    let selected = select(&Selection { choice, device, program })?;
    for refusal in &selected.passed_over {
        say!("  {refusal}");
    }
    if choice != Choice::Only(Kind::Cpu) {
        say!("  {selected}");
    }
    Ok(selected)
}

/// Watches the card that the backend computes on, as long as the monitor lives. Without NVML the worker works on and says
/// why it sees nothing.
pub fn watch_card(id: &WorkerId, config: Config, backend: &dyn Backend) -> (Option<Monitor>, Config) {
    let Some(device) = backend.device() else { return (None, config) };
    match Monitor::start(id.clone(), card::Settings::for_device(&device)) {
        Ok(monitor) => {
            let config = config.watching(monitor.card());
            (Some(monitor), config)
        }
        Err(error) => {
            say!("  the card is not watched: {error}");
            (None, config)
        }
    }
}

/// The machine's or container's name.
fn host_name() -> String {
    let name = hostname::get().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if name.is_empty() { "worker".to_owned() } else { name }
}

/// # Errors
/// If the backend cannot start, a key is missing or of another circuit, the coordinator refuses the worker, or the worker
/// leaves because of its card.
pub async fn run(options: Options) -> eyre::Result<()> {
    let process = ProcessId::random();
    let host = options.name.clone().unwrap_or_else(host_name);
    let id = WorkerId::new(options.pool, InstanceName::of_process(&host, process));
    let queue: Arc<dyn WorkerQueue> =
        Arc::new(RedisWorker::connect(&options.redis.of_worker()?, id.clone(), process).await?);
    let config = Config {
        memory_limit: options.memory.map(|mebibytes| mebibytes << 20),
        drain: Duration::from_secs(options.drain_timeout),
        on_hand_back: Some(|job, attempt, why| say!("handed back job {job}, attempt {attempt}: {why}")),
        ..Config::new(options.keys, options.circuits)
    };
    let (choice, device) = (options.backend, options.device);
    let watched = id.clone();
    let (_monitor, worker) = tokio::task::spawn_blocking(move || {
        let backend = choose_backend(choice, device)?.backend;
        let (monitor, config) = watch_card(&watched, config, &*backend);
        eyre::Ok((monitor, Worker::new(config, backend, queue)?))
    })
    .await??;
    let metrics = match options.metrics {
        Some(address) => Some(serve_metrics(address).await?),
        None => None,
    };
    if let Some(server) = &metrics {
        say!("  metrics: {}/metrics", server.url);
    }
    say!("{id} is ready");
    let stop = CancellationToken::new();
    let mut running = tokio::spawn(worker.run(stop.clone()));
    tokio::select! {
        // It left on its own: it does not trust its card any more.
        ended = &mut running => return Ok(ended??),
        signal = crate::stop_signal() => signal?,
    }
    say!("draining");
    stop.cancel();
    Ok(running.await??)
}
