//! `worker`: a proving process of its own that takes jobs from a coordinator.

use std::{path::PathBuf, sync::Arc};

use circuits::shape::Shape;
use clap::{Args, ValueEnum};
use eyre::{WrapErr, bail};
use gpu_worker::{Config, Worker};
use prover::{Backend, CpuBackend};
use tokio_util::sync::CancellationToken;
use wire::{WorkerId, queue::remote::RemoteQueue};

/// Holds the token of the coordinator's worker port, when no file is given.
const TOKEN_VARIABLE: &str = "PROOFMILL_WORKER_TOKEN";

#[derive(Args)]
pub struct Options {
    /// The coordinator's worker port, as host:port
    #[arg(long)]
    connect: String,
    /// The file with its token (`worker-token` in the coordinator's data directory)
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// Where the keys are
    #[arg(long, default_value = "proofmill-data/keys")]
    keys: PathBuf,
    /// Circuits to prove, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "s3m1")]
    circuits: Vec<Shape>,
    #[arg(long, value_enum, default_value_t = BackendName::Cpu)]
    backend: BackendName,
    /// The worker's name; made from the host name and process id by default
    #[arg(long)]
    id: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum BackendName {
    Cpu,
}

impl BackendName {
    pub fn backend(self) -> Arc<dyn Backend> {
        match self {
            BackendName::Cpu => Arc::new(CpuBackend::new()),
        }
    }
}

/// # Errors
/// If a key is missing or of another circuit, or the coordinator refuses the worker.
pub async fn run(options: Options) -> eyre::Result<()> {
    let token = match (&options.token_file, std::env::var(TOKEN_VARIABLE)) {
        (Some(file), _) => std::fs::read_to_string(file)
            .wrap_err_with(|| format!("cannot read the token file {}", file.display()))?,
        (None, Ok(token)) => token,
        (None, Err(_)) => bail!("no token: pass --token-file or set {TOKEN_VARIABLE}"),
    };
    let name = options.id.unwrap_or_else(|| format!("worker-{}", std::process::id()));
    let id = WorkerId::new(name)?;
    let queue = Arc::new(RemoteQueue::new(options.connect, token.trim().to_owned(), id.clone()));
    let config = Config::new(id.clone(), options.keys, options.circuits);
    let backend = options.backend.backend();
    let worker = tokio::task::spawn_blocking(move || Worker::new(config, backend, queue)).await??;
    println!("{id} is ready");
    let stop = CancellationToken::new();
    let running = tokio::spawn(worker.run(stop.clone()));
    crate::stop_signal().await?;
    println!("draining");
    stop.cancel();
    running.await??;
    Ok(())
}
