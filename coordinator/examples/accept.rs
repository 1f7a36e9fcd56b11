//! Sends accepted per second, in one process, with durable commits: signature check, ledger, group commit, signed promise,
//! sealing. The clients' own signing is done before and not counted; proving and L1 are not part of it.
//!
//! `cargo run --release -p proofmill-coordinator --example accept -- [--sends N] [--senders N] [--rate N] [--json]
//! [--circuits s4m60,s1020m4] [--postgres | --database-url URL] [--without-mark]`
//!
//! Without `--rate` every sender sends again as soon as it has its promise: the most that can be accepted. With it sends
//! arrive at fixed times, N a second, and a latency counts from the time at which the send was due, so that waiting before
//! it is not hidden. `--without-mark` leaves out the high-water mark, to see what it costs. The log is in SQLite, in a PostgreSQL of its own (`--postgres`, on the same cores), or in the empty
//! database of a URL.

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use api::service::Service;
use bn254::Fr;
use circuits::{
    baby_jubjub::Point,
    eddsa::{PrivateKey, Signature},
    leaf::{CoinRange, account, key_hash},
    message::SignedKind,
    shape::Shape,
    slot::SignedSpend,
};
use coordinator::{Config, Parts, chain::memory::MemoryChain, start, verifier::ProofVerifier};
use protocol::{
    DirectoryEntry, SpendRequest, SubmitRequest,
    ecdsa::OperatorKey,
    eip712::{self, SigningDomain, TypedMessage},
};
use queue::memory::{Limits, MemoryQueue};
use store::{
    Leadership, PostgresSettings, PostgresStore, SqliteStore, Store,
    mark::{Loss, Marks},
};
use testbed::postgres::{Postgres, Settings};

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

struct Sender {
    ethereum: OperatorKey,
    private: PrivateKey,
    key: Point,
    key_hash: Fr,
}

enum Database {
    Sqlite,
    PrivatePostgres,
    Postgres(String),
}

struct Options {
    sends: usize,
    senders: usize,
    /// Sends a second; nothing for as many as can be.
    rate: Option<usize>,
    database: Database,
    /// What batches are sealed with; sealing a large one holds up those who wait behind it.
    circuits: Vec<Shape>,
    json: bool,
    /// Whether what is promised is noted outside the store.
    marked: bool,
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        sends: 20_000,
        senders: 1_020,
        rate: None,
        database: Database::Sqlite,
        circuits: vec![Shape::S4M60, Shape::S1020M4],
        json: false,
        marked: true,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--sends" => options.sends = value()?.parse()?,
            "--senders" => options.senders = value()?.parse::<usize>()?.max(2),
            "--rate" => options.rate = Some(value()?.parse::<usize>()?.max(1)),
            "--postgres" => options.database = Database::PrivatePostgres,
            "--circuits" => {
                let named = |name: &str| Shape::ALL.into_iter().find(|shape| shape.name() == name);
                let shapes: Option<Vec<Shape>> = value()?.split(',').map(named).collect();
                options.circuits = shapes.ok_or("an unknown circuit")?;
            }
            "--database-url" => options.database = Database::Postgres(value()?),
            "--json" => options.json = true,
            "--without-mark" => options.marked = false,
            other => return Err(format!("unknown argument {other}").into()),
        }
    }
    Ok(options)
}

fn sender(number: usize) -> Result<Sender, Box<dyn Error>> {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&(number as u64 + 1).to_be_bytes());
    let private = PrivateKey::new(seed);
    let key = private.public();
    Ok(Sender { ethereum: OperatorKey::from_bytes(&seed)?, private, key, key_hash: key_hash(&key) })
}

/// Processor seconds of this process, where the system tells (Linux, 100 ticks a second): on a machine shared with others
/// they say more than the clock.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / 100.0)
}

/// The time below which this share of the latencies, in order, lies.
fn percentile(latencies: &[Duration], share: f64) -> Duration {
    let rank = (latencies.len() as f64 * share).ceil() as usize;
    latencies.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// Leads on the database of a URL.
fn on_postgres(url: &str) -> Result<Box<dyn Store>, Box<dyn Error>> {
    let mut store = PostgresStore::connect(PostgresSettings::new(url, "accept"))?;
    match store.lead()? {
        Leadership::Leading { .. } => Ok(Box::new(store)),
        Leadership::Following { holder } => Err(format!("{holder} leads on this database").into()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    const AMOUNT: u64 = 1_000;
    let options = options()?;
    let rounds = options.sends.div_ceil(options.senders);
    let chain = Arc::new(MemoryChain::default());
    let folder = tempfile::tempdir()?;
    let config = Config {
        shapes: options.circuits.clone(),
        quota: u32::MAX,
        poll: Duration::from_millis(20),
        deposit_wait: Duration::from_millis(50),
        finality: protocol::l1::Finality::Confirmations(0),
        // Nobody proves here.
        scale: Some(coordinator::ScaleFromZero { within: Duration::from_secs(60), max_workers: 1_000_000 }),
        ..Config::default()
    };
    let server = match options.database {
        Database::PrivatePostgres => Some(Postgres::start_private(Settings::default())?),
        _ => None,
    };
    let store = match (&options.database, &server) {
        (Database::Postgres(url), _) => on_postgres(url)?,
        (_, Some(server)) => on_postgres(&server.url())?,
        _ => Box::new(SqliteStore::open(folder.path())?),
    };
    let parts = Parts {
        store,
        snapshots: None,
        queue: Arc::new(MemoryQueue::new(Limits::default()).coordinator()),
        chain: chain.clone(),
        verifier: Arc::new(NoProofs),
        operator: OperatorKey::random(),
        marks: match options.marked {
            true => Marks::open(folder.path(), "accept", Vec::new(), Loss::Refuse)?,
            false => Marks::default(),
        },
    };
    let handle = start(config, parts).await?;
    let system = handle.system().await;
    let signing = SigningDomain { chain_id: system.chain_id, contract: system.contract };

    eprintln!("funding {} senders", options.senders);
    let senders = (0..options.senders).map(sender).collect::<Result<Vec<_>, _>>()?;
    for sender in &senders {
        let owner = sender.ethereum.address();
        let message = eip712::DirectoryEntry { owner, key: sender.key, key_epoch: 0 };
        let signature = message.sign(&signing, &sender.ethereum).to_vec();
        let entry = DirectoryEntry { owner, key: sender.key, key_epoch: 0, signature };
        handle.register_key(entry, "key".to_owned()).await?;
        chain.deposit(owner, sender.key_hash, AMOUNT * (rounds as u64 + 1));
    }
    chain.mine(1);
    let mut coins = Vec::with_capacity(senders.len());
    for sender in &senders {
        let coin = loop {
            let view = handle.account(sender.ethereum.address()).await;
            if let Some(coin) = view.coins.into_iter().next() {
                break coin;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        coins.push(coin);
    }

    eprintln!("signing {} sends", rounds * senders.len());
    let mut requests = Vec::with_capacity(senders.len());
    for (number, (sender, coin)) in senders.iter().zip(&coins).enumerate() {
        let payee = &senders[(number + 1) % senders.len()];
        let payee_account = account(&payee.ethereum.address(), &payee.key_hash);
        let mut own = Vec::with_capacity(rounds);
        for round in 0..rounds as u64 {
            let range = CoinRange::new(coin.range.low() + round * AMOUNT, coin.range.high())?;
            let mut spend = SignedSpend {
                kind: SignedKind::Send,
                index: coin.index,
                owner: sender.ethereum.address(),
                key: sender.key,
                range,
                split: range.low() + AMOUNT - 1,
                recipient: payee_account,
                valid_until: u32::MAX,
                signature: Signature { r8: Point::IDENTITY, s: Fr::default() },
            };
            spend.signature = sender.private.sign(&spend.message(&system.domain));
            own.push(SubmitRequest {
                idempotency_key: format!("send {round}"),
                kind: SignedKind::Send,
                sender: spend.owner,
                recipient: Some(payee.ethereum.address()),
                recipient_account: payee_account,
                valid_until: u32::MAX,
                spends: vec![SpendRequest {
                    index: spend.index,
                    range,
                    split: spend.split,
                    key: sender.key,
                    signature: spend.signature,
                }],
            });
        }
        requests.push(own);
    }

    let first_batch = handle.system().await.sealed_batch;
    let (began, cpu_before) = (Instant::now(), cpu_seconds());
    let count = senders.len();
    let tasks: Vec<_> = requests
        .into_iter()
        .enumerate()
        .map(|(number, own)| {
            let (handle, rate) = (Arc::clone(&handle), options.rate);
            tokio::spawn(async move {
                let mut latencies = Vec::with_capacity(own.len());
                for (round, request) in own.into_iter().enumerate() {
                    let due = match rate {
                        Some(rate) => {
                            let arrival = (round * count + number) as f64 / rate as f64;
                            began + Duration::from_secs_f64(arrival)
                        }
                        None => Instant::now(),
                    };
                    tokio::time::sleep_until(due.into()).await;
                    handle.submit(request).await?;
                    latencies.push(due.elapsed());
                }
                Ok::<_, sequencer::rejection::Rejection>(latencies)
            })
        })
        .collect();
    let mut latencies = Vec::with_capacity(options.sends);
    for task in tasks {
        latencies.extend(task.await??);
    }
    let took = began.elapsed();
    let cpu = cpu_seconds().zip(cpu_before).map(|(after, before)| after - before);
    latencies.sort_unstable();
    let [p50, p99, slowest] = [0.5, 0.99, 1.0].map(|share| percentile(&latencies, share).as_secs_f64() * 1e3);
    let sends = latencies.len();
    let rate = sends as f64 / took.as_secs_f64();
    let sealed = handle.system().await.sealed_batch - first_batch;
    if options.json {
        let cores = std::thread::available_parallelism()?.get();
        let report = serde_json::json!({
            "sends": sends,
            "senders": senders.len(),
            "seconds": took.as_secs_f64(),
            "sends_per_second": rate,
            "asked_rate": options.rate,
            "p50_ms": p50,
            "p99_ms": p99,
            "slowest_ms": slowest,
            "batches_sealed": sealed,
            "cores": cores,
            "cpu_seconds": cpu,
        });
        println!("{report}");
    } else {
        println!(
            "{sends} sends in {took:.2?}: {rate:.0} sends/s, {sealed} batches sealed; answered in {p50:.1} ms (p50), \
             {p99:.1} ms (p99), {slowest:.0} ms at most"
        );
        if let Some(cpu) = cpu {
            println!("{cpu:.2} processor seconds, {:.0} µs a send", cpu / sends as f64 * 1e6);
        }
    }
    handle.shutdown().await;
    Ok(())
}
