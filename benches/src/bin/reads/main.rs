//! What readers do to payments: the latency of sends at half of the most that can be accepted, with and without readers who
//! each spend a whole budget of processor time.
//!
//! `cargo run --release -p proofmill-benches --bin reads -- [--readers 50] [--budget-ms 10] [--seconds 20] [--rounds 3]
//! [--postgres]`
//!
//! Runs alternate (without, with, without, …), so that whatever else the machine does meets both. Readers are clients of
//! their own behind a trusted proxy: each asks, as fast as its budget allows, for what is dearest to answer (lists of
//! batches and operations with their promises, coins, drafts). They come from another process, so that what a client costs
//! is not counted as the server's; on a machine of few processors it is nice, as a client's own machine would not be in the
//! way at all. A latency counts from the time at which the send was due.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use api::{self, ApiConfig, Budget, Proxies, service::Service};
use bn254::Fr;
use circuits::{
    baby_jubjub::Point,
    eddsa::{PrivateKey, Signature},
    leaf::{CoinRange, account, key_hash},
    message::SignedKind,
    shape::Shape,
    slot::SignedSpend,
};
use clap::Parser;
use coordinator::{
    Config, Handle, Parts, ScaleFromZero, chain::memory::MemoryChain, start, verifier::ProofVerifier,
};
use eyre::{OptionExt, bail, eyre};
use protocol::{
    DirectoryEntry, SpendRequest, SubmitRequest,
    ecdsa::OperatorKey,
    eip712::{self, SigningDomain, TypedMessage},
    l1::Finality,
};
use queue::memory::{Limits, MemoryQueue};
use store::{Leadership, PostgresSettings, PostgresStore, SqliteStore, Store, mark::Marks};
use testbed::postgres::{Postgres, Settings};

mod reader;

const AMOUNT: u64 = 1_000;
const SENDERS: usize = 500;

#[derive(Parser)]
struct Options {
    #[arg(long, default_value_t = 50)]
    readers: usize,
    /// Milliseconds of processor time that a reader may spend in a second
    #[arg(long, default_value_t = 10)]
    budget_ms: u64,
    /// Of each run
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Pairs of runs
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// In a PostgreSQL of its own instead of SQLite
    #[arg(long)]
    postgres: bool,
    /// Reads from this URL until standard input ends; started by the benchmark itself
    #[arg(long, hide = true)]
    read_from: Option<String>,
}

/// Nothing is proven here.
struct NoProofs;

impl ProofVerifier for NoProofs {
    fn digest(&self, _shape: Shape) -> Option<[u8; 32]> {
        Some([0; 32])
    }

    fn key_digest(&self, _shape: Shape) -> Option<[u8; 32]> {
        Some([0; 32])
    }

    fn verify(&self, _shape: Shape, _public_inputs: &[Fr; 3], _proof: &[u8; 256]) -> bool {
        false
    }
}

/// Pays the next one round the circle, out of one coin.
struct Sender {
    ethereum: OperatorKey,
    private: PrivateKey,
    key: Point,
    key_hash: Fr,
    index: u64,
    range: Option<CoinRange>,
    sent: u64,
}

impl Sender {
    fn new(number: usize) -> eyre::Result<Self> {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&(number as u64 + 1).to_be_bytes());
        let private = PrivateKey::new(seed);
        let key = private.public();
        let ethereum = OperatorKey::from_bytes(&seed)?;
        Ok(Self { ethereum, private, key, key_hash: key_hash(&key), index: 0, range: None, sent: 0 })
    }

    fn address(&self) -> String {
        protocol::checksummed(&self.ethereum.address())
    }

    /// The next request, signed beforehand.
    fn next(&mut self, domain: &Fr, payee: ([u8; 20], Fr)) -> eyre::Result<SubmitRequest> {
        let range = self.range.ok_or_eyre("the sender has no coin")?;
        let mut spend = SignedSpend {
            kind: SignedKind::Send,
            index: self.index,
            owner: self.ethereum.address(),
            key: self.key,
            range,
            split: range.low() + AMOUNT - 1,
            recipient: payee.1,
            valid_until: u32::MAX,
            signature: Signature { r8: Point::IDENTITY, s: Fr::default() },
        };
        spend.signature = self.private.sign(&spend.message(domain));
        self.range = Some(CoinRange::new(range.low() + AMOUNT, range.high())?);
        self.sent += 1;
        Ok(SubmitRequest {
            idempotency_key: format!("send {}", self.sent),
            kind: SignedKind::Send,
            sender: spend.owner,
            recipient: Some(payee.0),
            recipient_account: payee.1,
            valid_until: u32::MAX,
            spends: vec![SpendRequest {
                index: spend.index,
                range,
                split: spend.split,
                key: self.key,
                signature: spend.signature,
            }],
        })
    }
}

struct Scene {
    handle: Arc<Handle>,
    senders: Vec<Sender>,
    domain: Fr,
}

impl Scene {
    async fn start(store: Box<dyn Store>) -> eyre::Result<Self> {
        let chain = Arc::new(MemoryChain::default());
        let config = Config {
            shapes: vec![Shape::S4M60, Shape::S252M4],
            quota: u32::MAX,
            poll: Duration::from_millis(20),
            deposit_wait: Duration::from_millis(50),
            finality: Finality::Confirmations(0),
            // Nobody proves here.
            scale: Some(ScaleFromZero { within: Duration::from_secs(60), max_workers: 1_000_000 }),
            ..Config::default()
        };
        let parts = Parts {
            store,
            snapshots: None,
            queue: Arc::new(MemoryQueue::new(Limits::default()).coordinator()),
            chain: chain.clone(),
            verifier: Arc::new(NoProofs),
            operator: OperatorKey::random(),
            marks: Marks::default(),
        };
        let handle = start(config, parts).await?;
        let system = handle.system().await;
        let signing = SigningDomain { chain_id: system.chain_id, contract: system.contract };
        let mut senders = (0..SENDERS).map(Sender::new).collect::<eyre::Result<Vec<_>>>()?;
        for sender in &senders {
            let owner = sender.ethereum.address();
            let message = eip712::DirectoryEntry { owner, key: sender.key, key_epoch: 0 };
            let signature = message.sign(&signing, &sender.ethereum).to_vec();
            let entry = DirectoryEntry { owner, key: sender.key, key_epoch: 0, signature };
            handle.register_key(entry, "key".to_owned()).await?;
            chain.deposit(owner, sender.key_hash, 1 << 40);
        }
        chain.mine(1);
        for sender in &mut senders {
            let coin = loop {
                let view = handle.account(sender.ethereum.address()).await;
                if let Some(coin) = view.coins.into_iter().next() {
                    break coin;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            };
            (sender.index, sender.range) = (coin.index, Some(coin.range));
        }
        Ok(Self { handle, senders, domain: system.domain })
    }

    /// One request of each sender, in turns, signed.
    fn sign(&mut self, count: usize) -> eyre::Result<Vec<SubmitRequest>> {
        let payees: Vec<_> = self
            .senders
            .iter()
            .map(|payee| (payee.ethereum.address(), account(&payee.ethereum.address(), &payee.key_hash)))
            .collect();
        let domain = self.domain;
        (0..count)
            .map(|number| {
                let at = number % SENDERS;
                self.senders[at].next(&domain, payees[(at + 1) % SENDERS])
            })
            .collect()
    }

    /// Sends a second with every sender sending again as soon as it is answered.
    async fn most(&mut self, count: usize) -> eyre::Result<f64> {
        let requests = self.sign(count)?;
        let mut own: Vec<Vec<SubmitRequest>> = (0..SENDERS).map(|_| Vec::new()).collect();
        for (number, request) in requests.into_iter().enumerate() {
            own[number % SENDERS].push(request);
        }
        let begun = Instant::now();
        let tasks: Vec<_> = own
            .into_iter()
            .map(|own| {
                let handle = Arc::clone(&self.handle);
                tokio::spawn(async move {
                    for request in own {
                        handle.submit(request).await?;
                    }
                    Ok::<_, sequencer::rejection::Rejection>(())
                })
            })
            .collect();
        for task in tasks {
            task.await??;
        }
        Ok(count as f64 / begun.elapsed().as_secs_f64())
    }

    /// Latencies in order, of sends that arrive at fixed times.
    async fn at(&mut self, rate: f64, seconds: u64) -> eyre::Result<Vec<Duration>> {
        let requests = self.sign((rate * seconds as f64) as usize)?;
        let begun = Instant::now();
        let mut tasks = Vec::with_capacity(requests.len());
        for (number, request) in requests.into_iter().enumerate() {
            let due = begun + Duration::from_secs_f64(number as f64 / rate);
            tokio::time::sleep_until(due.into()).await;
            let handle = Arc::clone(&self.handle);
            tasks.push(tokio::spawn(async move {
                handle.submit(request).await?;
                Ok::<_, sequencer::rejection::Rejection>(due.elapsed())
            }));
        }
        let mut latencies = Vec::with_capacity(tasks.len());
        for task in tasks {
            latencies.push(task.await??);
        }
        latencies.sort_unstable();
        Ok(latencies)
    }
}

fn percentile(latencies: &[Duration], share: f64) -> f64 {
    let rank = (latencies.len() as f64 * share).ceil() as usize;
    latencies.get(rank.saturating_sub(1)).copied().unwrap_or_default().as_secs_f64() * 1e3
}

fn store(
    options: &Options,
    folder: &std::path::Path,
    server: Option<&Postgres>,
) -> eyre::Result<Box<dyn Store>> {
    let Some(server) = server.filter(|_| options.postgres) else {
        return Ok(Box::new(SqliteStore::open(folder)?));
    };
    let mut store = PostgresStore::connect(PostgresSettings::new(server.url(), "reads"))?;
    match store.lead()? {
        Leadership::Leading { .. } => Ok(Box::new(store)),
        Leadership::Following { holder } => bail!("{holder} leads on this database"),
    }
}

/// The readers' process; it reads until its standard input is closed.
struct Readers(Child);

impl Readers {
    fn start(url: &str, readers: usize) -> eyre::Result<Self> {
        let child = Command::new(std::env::current_exe()?)
            .args(["--read-from", url, "--readers", &readers.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Self(child))
    }

    /// Answers and refusals that they met.
    fn stop(mut self) -> eyre::Result<(u64, u64)> {
        drop(self.0.stdin.take());
        let mut line = String::new();
        let out = self.0.stdout.take().ok_or_eyre("no output of the readers")?;
        BufReader::new(out).read_line(&mut line)?;
        self.0.wait()?;
        let mut counts = line.split_whitespace().map(str::parse);
        match (counts.next(), counts.next()) {
            (Some(Ok(answered)), Some(Ok(refused))) => Ok((answered, refused)),
            _ => Err(eyre!("the readers ended with {line:?}")),
        }
    }
}

fn main() -> eyre::Result<()> {
    let options = Options::parse();
    if options.read_from.is_some() {
        // Before there are threads, which inherit it: clients are on machines of their own.
        rustix::process::setpriority_process(None, 19)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match &options.read_from {
        Some(url) => runtime.block_on(reader::read(url, options.readers)),
        None => runtime.block_on(measure(&options)),
    }
}

async fn measure(options: &Options) -> eyre::Result<()> {
    let folder = tempfile::tempdir()?;
    let server = match options.postgres {
        true => Some(Postgres::start_private(Settings::default()).map_err(|error| eyre!("{error}"))?),
        false => None,
    };
    let mut scene = Scene::start(store(options, folder.path(), server.as_ref())?).await?;
    let budget = Budget {
        per_second: Duration::from_millis(options.budget_ms),
        burst: Duration::from_millis(options.budget_ms),
    };
    let config = ApiConfig {
        rate_limit: None,
        read_budget: Some(budget),
        proxies: Proxies { trusted: vec!["127.0.0.1".parse()?], ..Proxies::default() },
        ..ApiConfig::default()
    };
    let api = api::serve(Arc::clone(&scene.handle) as _, config).await?;
    scene.most(5_000).await?;
    let most = scene.most(10_000).await?;
    let rate = most / 2.0;
    println!("{most:.0} sends/s at most; {rate:.0} sends/s from here on, {} s a run", options.seconds);
    scene.at(rate, 5).await?;

    let (mut without, mut with) = (Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        let alone = scene.at(rate, options.seconds).await?;
        let readers = Readers::start(&api.url, options.readers)?;
        // Until their first burst is spent.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let cpu = read_seconds(&api.url).await?;
        let begun = Instant::now();
        let read = scene.at(rate, options.seconds).await?;
        let spent = (read_seconds(&api.url).await? - cpu) / begun.elapsed().as_secs_f64();
        let (answered, refused) = tokio::task::spawn_blocking(|| readers.stop()).await??;
        for (name, latencies) in [("without readers", &alone), ("with readers", &read)] {
            let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| percentile(latencies, share));
            println!("round {round} {name}: p50 {p50:.2} ms, p99 {p99:.2} ms, p99.9 {p999:.2} ms");
        }
        println!(
            "round {round}: {answered} queries answered, {refused} refused; {:.0} ms of processor time a second",
            spent * 1e3
        );
        without.extend(alone);
        with.extend(read);
    }
    without.sort_unstable();
    with.sort_unstable();
    let [before, after] = [&without, &with].map(|latencies| percentile(latencies, 0.99));
    println!("p99 {before:.2} ms without readers, {after:.2} ms with them: ratio {:.3}", after / before);
    scene.handle.shutdown().await;
    Ok(())
}

/// Seconds of processor time that queries have cost so far.
async fn read_seconds(url: &str) -> eyre::Result<f64> {
    let text = reader::get(&format!("{url}/metrics")).await?;
    let line = text.lines().find(|line| line.starts_with("proofmill_api_cost_seconds_sum{kind=\"query\"}"));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).map_or(Ok(0.0), Ok)
}
