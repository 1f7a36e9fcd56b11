//! `coordinator`: ledger, API and settlement over an Ethereum node, with a worker inside the process, workers that take
//! their jobs from Redis, or both. The demo uses the same assembly.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use ::store::{
    FolderLock, Store,
    mark::{Loss, Marks},
};
use api::{
    self, ApiConfig, Budget, Network, Origin, Proxies, ProxyHeader, Server, admin::serve_admin,
    token::AdminToken,
};
use circuits::shape::Shape;
use clap::Args;
use coordinator::{
    Config, Handle, Parts, SnapshotSettings,
    chain::evm::{self, EvmSettings},
    verifier::Groth16Verifier,
};
use eyre::{WrapErr, bail};
use gpu_worker::{
    Circuit, Worker,
    backend::{Choice, Kind},
    card::Monitor,
};
use l1::{
    http::{ClientIdentity, Endpoint, HttpLimits, TlsOptions},
    node::{AccountKey, RemoteSigner, Signer},
};
use protocol::{Address, ecdsa::OperatorKey, l1::Finality, parse_address};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wire::{InstanceName, PoolName, ProcessId, WorkerId};

mod admission;
mod farm_queue;
mod pinned;
mod preflight;
mod store;

pub use admission::Admission;
use farm_queue::FarmQueue;
pub use preflight::is_free;
pub use store::Database;

use crate::{
    deploy::Deployment,
    ops, redis,
    tls::Trust,
    ui::hex,
    worker::{choose_backend, watch_card},
};

/// Holds the operator's key when no file is given.
const KEY_VARIABLE: &str = "PROOFMILL_OPERATOR_KEY";

#[derive(Args)]
pub struct Options {
    /// Where the ledger lives; one process at a time
    #[arg(long, default_value = "proofmill-data")]
    data_dir: PathBuf,
    /// The Ethereum node, http:// or https://. Several, separated by commas or given again, are compared with each other and
    /// asked in this order
    #[arg(long, env = "PROOFMILL_RPC", value_name = "URL", value_delimiter = ',')]
    rpc: Vec<String>,
    #[command(flatten)]
    trust: Trust,
    /// The file that `proofmill deploy` has written, instead of --contract, --first-block and --circuits
    #[arg(long, value_name = "FILE", conflicts_with_all = ["contract", "first_block", "circuits"])]
    deployment: Option<PathBuf>,
    /// The contract
    #[arg(long, value_parser = parse_address)]
    contract: Option<Address>,
    /// The block of its deployment
    #[arg(long)]
    first_block: Option<u64>,
    /// The operator's key, 64 hex digits in a file of mode 0600 (or in PROOFMILL_OPERATOR_KEY)
    #[arg(long)]
    operator_key: Option<PathBuf>,
    #[command(flatten)]
    database: Database,
    /// Start on a database that lacks what was promised: it is lost for good, and those who hold the promises can claim it
    #[arg(long)]
    accept_loss: bool,
    #[command(flatten)]
    redis: redis::Options,
    /// A signer of L1 transactions that speaks `eth_signTransaction` (web3signer's kind), https://host:port/path; the key
    /// above then signs promises only
    #[arg(long, value_name = "URL", requires = "operator_address")]
    remote_signer: Option<String>,
    /// The account that the remote signer signs for
    #[arg(long, value_name = "0x…", requires = "remote_signer", value_parser = parse_address)]
    operator_address: Option<Address>,
    /// The certificate (PEM) with which the remote signer knows this coordinator
    #[arg(long, value_name = "FILE", requires_all = ["remote_signer", "signer_key"])]
    signer_cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, value_name = "FILE", requires = "signer_cert")]
    signer_key: Option<PathBuf>,
    /// Most gwei per gas that is ever offered for a batch; above it transactions wait, with an alarm
    #[arg(long, value_name = "GWEI", default_value_t = 500)]
    max_fee: u64,
    /// Most blocks asked for logs at once; fewer are asked for by itself where the node refuses
    #[arg(long, value_name = "BLOCKS", default_value_t = 2_000)]
    log_range: u64,
    /// Circuits, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "s3m1")]
    circuits: Vec<Shape>,
    /// Where their keys are; by default `keys` in the data directory
    #[arg(long)]
    keys: Option<PathBuf>,
    /// Port of the API; 0 takes any free one
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Address the API listens on
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
    /// Whose pages may use the API from a browser, e.g. https://wallet.example; may be repeated, * stands for all
    #[arg(long, value_name = "URL")]
    cors_origin: Vec<Origin>,
    /// Address or network of a proxy in front of the API, whose word about the client's address is taken; may be repeated.
    /// Without it every client behind a proxy shares the proxy's limits
    #[arg(long, value_name = "CIDR")]
    trusted_proxy: Vec<Network>,
    /// The header in which those proxies report the client; the other one is not read
    #[arg(
        long,
        value_name = "x-forwarded-for|forwarded",
        default_value = "x-forwarded-for",
        requires = "trusted_proxy"
    )]
    proxy_header: ProxyHeader,
    /// Milliseconds of processor time that one client's queries may take in a second; payments have a budget of their own
    #[arg(long, value_name = "MS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    read_budget: u64,
    /// Milliseconds of processor time that one client's payments may take in a second, refused ones included
    #[arg(long, value_name = "MS", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    send_budget: u64,
    /// Where operators ask and steer (`proofmill ops`), on a listener of its own behind the token in the data directory;
    /// port 0 takes any free one and writes it to `admin-url` there
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0")]
    admin: SocketAddr,
    /// Blocks on top of one that count as final; without it the node's `finalized` tag decides
    #[arg(long)]
    confirmations: Option<u64>,
    /// Milliseconds between two looks at the chain
    #[arg(long, value_name = "MS", default_value_t = 2_000)]
    poll: u64,
    #[command(flatten)]
    admission: Admission,
    /// Prove nothing in this process
    #[arg(long)]
    no_local_worker: bool,
    /// What the worker inside this process proves on
    #[arg(long, value_name = "auto|cpu|cuda|icicle", default_value_t = Choice::Only(Kind::Cpu))]
    backend: Choice,
    /// Its card, in CUDA's order
    #[arg(long, default_value_t = 0)]
    device: u32,
}

impl Options {
    fn keys_dir(&self) -> PathBuf {
        self.keys.clone().unwrap_or_else(|| self.data_dir.join("keys"))
    }
}

/// What a node is started with.
pub struct Settings {
    pub data_dir: PathBuf,
    pub keys_dir: PathBuf,
    /// In the order in which they are asked.
    pub rpc: Vec<Endpoint>,
    pub contract: Address,
    pub first_block: u64,
    pub operator_key: String,
    pub database: Database,
    /// The store, if it is open already.
    pub store: Option<Box<dyn Store>>,
    /// Whether a database that lacks what was promised is used all the same.
    pub loss: Loss,
    /// What the keys must be, where a deployment file says it.
    pub deployment: Option<Deployment>,
    /// Where the workers' queue is; in this process without it.
    pub redis: Option<redis::Options>,
    /// Signs L1 transactions instead of the key: where, and as whom.
    pub remote_signer: Option<(Endpoint, Address)>,
    pub shapes: Vec<Shape>,
    pub bind: IpAddr,
    pub port: u16,
    /// Whose pages may use the API from a browser.
    pub origins: Vec<Origin>,
    /// Whose word about a client's address is taken.
    pub proxies: Proxies,
    pub admin: SocketAddr,
    pub finality: Finality,
    /// How often the chain is asked.
    pub poll: Duration,
    /// Most wei per gas.
    pub max_fee: u128,
    /// Most blocks asked for logs at once.
    pub log_range: u64,
    /// By what operations are admitted.
    pub admission: Admission,
    /// What the worker in this process proves on, if there is one, and its card.
    pub local_worker: Option<(Choice, u32)>,
    /// What a client may use; everything in the demo's own process.
    pub limits: Option<ClientLimits>,
}

/// Milliseconds of processor time that a client may use in a second.
#[derive(Clone, Copy, Debug)]
pub struct ClientLimits {
    pub reads: u64,
    pub sends: u64,
}

impl ClientLimits {
    /// So many seconds' worth at once: a page of a wallet asks for much, and then for little.
    const BURST: u32 = 50;

    fn budget(milliseconds: u64) -> Budget {
        let per_second = Duration::from_millis(milliseconds);
        Budget { per_second, burst: (per_second * Self::BURST).min(Duration::from_secs(2)) }
    }
}

/// A running coordinator with its API and workers.
pub struct Node {
    pub api: Server,
    admin: Server,
    handle: Arc<Handle>,
    stop: CancellationToken,
    worker: Option<JoinHandle<Result<(), gpu_worker::WorkerError>>>,
    /// The card is watched as long as it lives.
    _monitor: Option<Monitor>,
    _lock: FolderLock,
}

/// Starts everything over an existing contract.
///
/// # Errors
/// For a folder in use, a missing or foreign key, a node that does not answer or has another contract, a store that does
/// not fit the contract, and a port in use.
pub async fn start(settings: Settings) -> eyre::Result<Node> {
    let lock = FolderLock::take(&settings.data_dir, "proofmill.lock")?;
    let store = match settings.store {
        Some(store) => store,
        None => store::wait_for(&settings.database, &settings.data_dir).await?,
    };
    let circuits = {
        let (shapes, keys) = (settings.shapes.clone(), settings.keys_dir.clone());
        tokio::task::spawn_blocking(move || {
            shapes.iter().map(|shape| Circuit::load(*shape, &keys)).collect::<Result<Vec<_>, _>>()
        })
        .await??
    };
    if let Some(deployment) = &settings.deployment {
        pinned::by_file(deployment, &circuits)?;
    }
    let dev_key = circuits.iter().any(|circuit| !circuit.key.origin().is_safe());
    let signer = match &settings.remote_signer {
        Some((at, address)) => RemoteSigner::new(at.clone(), *address, HttpLimits::default())?.into(),
        None => Signer::from(AccountKey::from_hex(&settings.operator_key)?),
    };
    let nodes = settings.rpc.iter().map(|rpc| {
        let mut evm = EvmSettings::new(rpc.clone(), settings.contract, settings.first_block);
        evm.finality = settings.finality;
        evm.fees.max_fee = settings.max_fee;
        evm.log_span = settings.log_range;
        evm.chain_id = settings.deployment.as_ref().map(|deployment| deployment.chain_id);
        evm
    });
    let (chain, contract) = evm::connect(nodes.collect(), signer).await?;
    pinned::by_contract(&contract, &circuits).await?;

    let deployment = chain.deployment().await?;
    let queue = FarmQueue::choose(settings.redis.as_ref(), &deployment)?;
    if let FarmQueue::Redis(redis) = &queue {
        say!("  workers join with --redis-prefix {}", redis.prefix);
    }
    let marks = Marks::open(&settings.data_dir, &deployment.name(), queue.marks()?, settings.loss)?;
    let verifier =
        Groth16Verifier::new(circuits.iter().map(|c| (c.shape, c.key.circuit(), c.key.verifying_key())))?;
    let mut config = Config {
        shapes: settings.shapes.clone(),
        finality: settings.finality,
        poll: settings.poll,
        max_fee: settings.max_fee,
        log_range: settings.log_range,
        dev_key,
        ..Config::default()
    };
    settings.admission.apply(&mut config);
    let parts = Parts {
        store,
        snapshots: Some(SnapshotSettings::new(settings.data_dir.join("snapshots"))),
        queue: queue.wait_for_coordinator().await?,
        chain,
        verifier: Arc::new(verifier),
        operator: OperatorKey::from_hex(&settings.operator_key)?,
        marks,
    };
    let handle = coordinator::start(config, parts).await?;
    let stop = CancellationToken::new();
    let (monitor, worker) = if let Some((choice, device)) = settings.local_worker {
        let process = ProcessId::random();
        let id = WorkerId::new(PoolName::default(), InstanceName::of_process("local", process));
        let config = gpu_worker::Config::new(settings.keys_dir, settings.shapes);
        let side = queue.worker(id.clone(), process).await?;
        let (monitor, worker) = tokio::task::spawn_blocking(move || {
            let backend = choose_backend(choice, device)?.backend;
            let (monitor, config) = watch_card(&id, config, &*backend);
            eyre::Ok((monitor, Worker::with_circuits(config, &circuits, backend, side)?))
        })
        .await??;
        (monitor, Some(tokio::spawn(worker.run(stop.clone()))))
    } else {
        (None, None)
    };
    let mut api_config = ApiConfig {
        bind: settings.bind,
        port: settings.port,
        allowed_origins: settings.origins,
        proxies: settings.proxies,
        ..ApiConfig::default()
    };
    match settings.limits {
        Some(ClientLimits { reads, sends }) => {
            api_config.read_budget = Some(ClientLimits::budget(reads));
            api_config.send_budget = Some(ClientLimits::budget(sends));
        }
        None => (api_config.rate_limit, api_config.read_budget, api_config.send_budget) = (None, None, None),
    }
    let api = api::serve(Arc::clone(&handle) as _, api_config).await?;
    let token = AdminToken::at(&settings.data_dir.join(ops::TOKEN_FILE))?;
    let admin = serve_admin(Arc::clone(&handle), token, settings.admin)?;
    let url_file = settings.data_dir.join(ops::URL_FILE);
    fs::write(&url_file, &admin.url).wrap_err_with(|| format!("cannot write {}", url_file.display()))?;
    Ok(Node { api, admin, handle, stop, worker, _monitor: monitor, _lock: lock })
}

impl Node {
    /// Takes no more operations, lets the worker finish or hand back what it holds, and stops. Nothing is lost: what is
    /// not final yet goes on at the next start.
    ///
    /// # Errors
    /// If the worker ended with an error.
    pub async fn drain(self) -> eyre::Result<()> {
        self.handle.drain().await;
        self.api.stop().await;
        self.admin.stop().await;
        self.stop.cancel();
        if let Some(worker) = self.worker {
            worker.await??;
        }
        self.handle.shutdown().await;
        Ok(())
    }
}

/// # Errors
/// As `start`; names all that is missing at once.
pub async fn run(options: Options) -> eyre::Result<()> {
    let found = tokio::select! {
        found = preflight::look(&options) => found?,
        signal = crate::stop_signal() => return signal,
    };
    let contract = found.place.contract;
    let starting = start(Settings {
        keys_dir: options.keys_dir(),
        data_dir: options.data_dir,
        rpc: found.rpc,
        contract,
        first_block: found.place.first_block,
        operator_key: found.operator_key,
        database: options.database,
        store: found.store,
        loss: if options.accept_loss { Loss::Accept } else { Loss::Refuse },
        deployment: found.place.file,
        redis: options.redis.redis_url.is_some().then_some(options.redis),
        remote_signer: options.remote_signer.zip(options.operator_address).map(|(url, address)| {
            let identity = options.signer_cert.zip(options.signer_key);
            let identity = identity.map(|(certificate, key)| ClientIdentity { certificate, key });
            (Endpoint::new(url, TlsOptions { identity, ..options.trust.options() }), address)
        }),
        shapes: found.place.shapes,
        bind: options.bind,
        port: options.port,
        origins: options.cors_origin,
        proxies: Proxies { trusted: options.trusted_proxy, header: options.proxy_header },
        admin: options.admin,
        finality: options.confirmations.map_or(Finality::Tag, Finality::Confirmations),
        poll: Duration::from_millis(options.poll),
        max_fee: u128::from(options.max_fee) * 1_000_000_000,
        log_range: options.log_range,
        admission: options.admission,
        local_worker: (!options.no_local_worker).then_some((options.backend, options.device)),
        limits: Some(ClientLimits { reads: options.read_budget, sends: options.send_budget }),
    });
    let node = tokio::select! {
        node = starting => node?,
        // A standby may wait for long.
        signal = crate::stop_signal() => return signal,
    };
    say!("  API: {} for contract {}", node.api.url, hex(&contract));
    say!("  operators: {} (token in the data directory)", node.admin.url);
    let signal = tokio::select! {
        signal = crate::stop_signal() => signal,
        ended = node.handle.ended() => {
            let reason = ended.unwrap_or_else(|| "the coordinator has stopped".to_owned());
            bail!("{reason}");
        }
    };
    signal?;
    say!("  draining");
    node.drain().await
}
