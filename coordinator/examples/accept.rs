//! Sends accepted per second, in one process, with durable commits: signature check, ledger, group commit to SQLite, signed
//! promise, sealing. The clients' own signing is done before and not counted; proving and L1 are not part of it.
//!
//! `cargo run --release -p proofmill-coordinator --example accept -- [--sends N] [--senders N] [--json]`

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use bn254::Fr;
use circuits::{
    baby_jubjub::Point,
    eddsa::{PrivateKey, Signature},
    leaf::{CoinRange, account, key_hash},
    message::SignedKind,
    shape::Shape,
    slot::SignedSpend,
};
use coordinator::{
    Config, Parts,
    chain::memory::MemoryChain,
    service::{DirectoryEntry, Service, SpendRequest, SubmitRequest},
    start,
    store::SqliteStore,
    verifier::ProofVerifier,
};
use wire::{
    ecdsa::OperatorKey,
    eip712::{self, SigningDomain, TypedMessage},
    queue::memory::{Limits, MemoryQueue},
};

/// Nothing is proven here.
struct NoProofs;

impl ProofVerifier for NoProofs {
    fn digest(&self, _shape: Shape) -> Option<[u8; 32]> {
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

struct Options {
    sends: usize,
    senders: usize,
    json: bool,
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options { sends: 20_000, senders: 1_020, json: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || {
            arguments.next().ok_or("a number is missing")?.parse::<usize>().map_err(Box::<dyn Error>::from)
        };
        match argument.as_str() {
            "--sends" => options.sends = number()?,
            "--senders" => options.senders = number()?.max(2),
            "--json" => options.json = true,
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

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    const AMOUNT: u64 = 1_000;
    let options = options()?;
    let rounds = options.sends.div_ceil(options.senders);
    let chain = Arc::new(MemoryChain::default());
    let folder = tempfile::tempdir()?;
    let config = Config {
        shapes: vec![Shape::S4M60, Shape::S1020M4],
        quota: u32::MAX,
        poll: Duration::from_millis(20),
        deposit_wait: Duration::from_millis(50),
        finality: coordinator::Finality::Confirmations(0),
        ..Config::default()
    };
    let parts = Parts {
        store: Box::new(SqliteStore::open(folder.path())?),
        snapshots: None,
        queue: Arc::new(MemoryQueue::new(Limits::default()).coordinator()),
        chain: chain.clone(),
        verifier: Arc::new(NoProofs),
        operator: OperatorKey::random(),
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
    let tasks: Vec<_> = requests
        .into_iter()
        .map(|own| {
            let handle = Arc::clone(&handle);
            tokio::spawn(async move {
                let mut slowest = Duration::ZERO;
                for request in own {
                    let asked = Instant::now();
                    handle.submit(request).await?;
                    slowest = slowest.max(asked.elapsed());
                }
                Ok::<_, coordinator::service::UserError>(slowest)
            })
        })
        .collect();
    let mut slowest = Duration::ZERO;
    for task in tasks {
        slowest = slowest.max(task.await??);
    }
    let took = began.elapsed();
    let cpu = cpu_seconds().zip(cpu_before).map(|(after, before)| after - before);
    let sends = rounds * senders.len();
    let rate = sends as f64 / took.as_secs_f64();
    let sealed = handle.system().await.sealed_batch - first_batch;
    if options.json {
        let cores = std::thread::available_parallelism()?.get();
        let report = serde_json::json!({
            "sends": sends,
            "senders": senders.len(),
            "seconds": took.as_secs_f64(),
            "sends_per_second": rate,
            "slowest_ms": slowest.as_secs_f64() * 1e3,
            "batches_sealed": sealed,
            "cores": cores,
            "cpu_seconds": cpu,
        });
        println!("{report}");
    } else {
        println!(
            "{sends} sends in {took:.2?}: {rate:.0} sends/s, {sealed} batches sealed, slowest answer {slowest:.0?}"
        );
        if let Some(cpu) = cpu {
            println!("{cpu:.2} processor seconds, {:.0} µs a send", cpu / sends as f64 * 1e6);
        }
    }
    handle.shutdown().await;
    Ok(())
}
