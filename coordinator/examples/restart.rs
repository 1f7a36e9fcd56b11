//! From SIGKILL of a coordinator to the first job that the next one hands to a worker, with a large ledger.
//!
//! A child process leads on a store with a million leaves, is killed with SIGKILL as soon as it dispatched, and is started
//! again; the time runs from the kill to the claim of a job by a worker of the new process. Everything is measured: the
//! start of the process, the snapshot, the replay of what came after it, the comparison with the contract.
//!
//! `cargo run --release -p proofmill-coordinator --example restart -- [--leaves N] [--runs N] [--json]`

use std::{
    error::Error,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use bn254::Fr;
use circuits::{
    leaf::{CoinRange, account},
    public_data::domain,
    shape::Shape,
};
use coordinator::{
    Config, Parts, ScaleFromZero, SnapshotSettings,
    chain::{Chain, memory::MemoryChain},
    start,
    verifier::ProofVerifier,
};
use protocol::{
    ecdsa::OperatorKey,
    eip712::SigningDomain,
    l1::{Deposit, Logs},
};
use queue::{
    WorkerQueue,
    memory::{Limits, MemoryQueue},
};
use sequencer::{
    settlement::SettlementRecord,
    state::{
        State,
        event::{Cursor, Event, ProofAccepted, Stamped},
    },
};
use store::{SqliteStore, Store, mark::Marks};
use wire::{CircuitSupport, Control, ProcessId, Registration, WorkerEvent, WorkerId};

const SHAPE: Shape = Shape::S4M60;
const OWNERS: u64 = 1_000;
/// Batches that wait for a proof when the coordinator starts.
const UNPROVEN: u64 = 10;
const DISPATCHED: &str = "dispatched";

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

struct Options {
    leaves: u64,
    runs: usize,
    json: bool,
    child: Option<PathBuf>,
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options { leaves: 1_000_000, runs: 50, json: false, child: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or("a value is missing");
        match argument.as_str() {
            "--leaves" => options.leaves = value()?.parse()?,
            "--runs" => options.runs = value()?.parse::<usize>()?.max(1),
            "--json" => options.json = true,
            "--child" => options.child = Some(value()?.into()),
            other => return Err(format!("unknown argument {other}").into()),
        }
    }
    Ok(options)
}

fn config() -> Config {
    // Nobody proves here.
    let scale = Some(ScaleFromZero { within: Duration::from_secs(60), max_workers: 1_000_000 });
    Config { shapes: vec![SHAPE], scale, ..Config::default() }
}

async fn begin(folder: &Path, queue: &MemoryQueue) -> Result<Arc<coordinator::Handle>, Box<dyn Error>> {
    let parts = Parts {
        store: Box::new(SqliteStore::open(folder)?),
        snapshots: Some(SnapshotSettings::new(folder.join("snapshots"))),
        queue: Arc::new(queue.coordinator()),
        chain: Arc::new(MemoryChain::default()),
        verifier: Arc::new(NoProofs),
        operator: OperatorKey::from_bytes(&[7; 32])?,
        marks: Marks::default(),
    };
    Ok(start(config(), parts).await?)
}

/// Writes a log in which the coins of many deposits were minted, proven and settled.
async fn build(folder: &Path, leaves: u64) -> Result<u64, Box<dyn Error>> {
    let deployment = MemoryChain::default().deployment().await?;
    let signing = SigningDomain { chain_id: deployment.chain_id, contract: deployment.contract };
    let word = domain(deployment.chain_id, &deployment.contract);
    let rules = Arc::new(config().rules(word, signing, [(SHAPE, [0; 32])].into()));
    let mut store = SqliteStore::open(folder)?;
    store.bind(&deployment.name())?;
    let mut state = State::new(rules);
    let accounts: Vec<([u8; 20], Fr)> = (0..OWNERS)
        .map(|owner| {
            let mut address = [1; 20];
            address[..8].copy_from_slice(&owner.to_be_bytes());
            (address, account(&address, &Fr::from(owner + 1)))
        })
        .collect();
    let (mut log, mut written, mut now) = (Vec::new(), 0, 1);
    state.begin(0, &mut log)?;
    let mints = SHAPE.mint_places() as u64;
    let batches = leaves.div_ceil(mints);
    for batch in 0..batches {
        let deposits = (batch * mints..leaves.min((batch + 1) * mints)).map(|id| {
            let (owner, account) = accounts[(id % OWNERS) as usize];
            Ok::<_, Box<dyn Error>>(Deposit {
                id,
                owner,
                key_hash: Fr::from(id % OWNERS + 1),
                account,
                range: CoinRange::new(1 + id * 1_000, (id + 1) * 1_000)?,
                depositor: owner,
                deadline: u64::MAX >> 1,
                block: batch,
                tx: [0; 32],
            })
        });
        let logs = Logs { deposits: deposits.collect::<Result<_, _>>()?, ..Logs::default() };
        state.take_in(Cursor { number: batch + 1, hash: [2; 32] }, logs, now, &mut log)?;
        now += 60_000;
        state.seal_due(now, &mut log)?;
        if batch + UNPROVEN < batches {
            let batch_no = batch as u32 + 1;
            let proof = ProofAccepted {
                batch_no,
                attempt: 1,
                worker: WorkerId::parse("builder")?,
                proof: vec![0; 256],
                prove_ms: 1,
                witness_ms: 1,
            };
            state.accept_proof(proof, now, &mut log)?;
            let settled =
                Stamped { at: now, event: Event::Settlement(SettlementRecord::Finalised { batch_no }) };
            state.apply(&settled)?;
            log.push(settled);
        }
        if batch % 200 == 0 || batch + 1 == batches {
            store.commit(written + 1, &log, &state.take_rows())?;
            written += log.len() as u64;
            log.clear();
        }
    }
    Ok(written)
}

/// Leads until it is killed, and says when a worker got a job.
async fn child(folder: &Path) -> Result<(), Box<dyn Error>> {
    let queue = MemoryQueue::new(Limits::default());
    let worker = queue.worker(WorkerId::parse("worker")?, ProcessId::random());
    let circuits = vec![CircuitSupport { shape: SHAPE, digest: [0; 32], verifying_key: [0; 32] }];
    let registration =
        Registration { backend: "none".to_owned(), version: "0".to_owned(), memory: 1, circuits, slots: 1 };
    let _handle = begin(folder, &queue).await?;
    worker.emit(&WorkerEvent::Register { registration, in_flight: Vec::new() }).await?;
    while !matches!(worker.next_control(Duration::from_secs(10)).await?, Some(Control::Job(_))) {}
    println!("{DISPATCHED}");
    std::future::pending().await
}

fn spawn(folder: &Path) -> Result<Child, Box<dyn Error>> {
    let program = std::env::current_exe()?;
    let arguments = ["--child".as_ref(), folder.as_os_str()];
    Ok(Command::new(program).args(arguments).stdout(Stdio::piped()).spawn()?)
}

/// Waits until the child has dispatched a job.
fn dispatched(child: &mut Child) -> Result<(), Box<dyn Error>> {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().ok_or("the child has no output")?).read_line(&mut line)?;
    if line.trim() == DISPATCHED { Ok(()) } else { Err("the child ended before it dispatched".into()) }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    if let Some(folder) = &options.child {
        return child(folder).await;
    }
    let temporary = tempfile::tempdir()?;
    let folder = temporary.path();
    let began = Instant::now();
    let events = build(folder, options.leaves).await?;
    eprintln!("{} leaves, {events} events written in {:.1?}", options.leaves, began.elapsed());

    // The first start replays the whole log, and leaves a snapshot when it stops.
    let began = Instant::now();
    let handle = begin(folder, &MemoryQueue::new(Limits::default())).await?;
    let replay = began.elapsed();
    handle.shutdown().await;
    drop(handle);
    eprintln!("without a snapshot the start took {replay:.1?}");

    let mut leader = spawn(folder)?;
    dispatched(&mut leader)?;
    let mut times = Vec::with_capacity(options.runs);
    for _ in 0..options.runs {
        let killed = Instant::now();
        leader.kill()?;
        leader.wait()?;
        leader = spawn(folder)?;
        dispatched(&mut leader)?;
        times.push(killed.elapsed());
    }
    leader.kill()?;
    leader.wait()?;
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share).ceil() as usize].as_secs_f64() * 1e3;
    if options.json {
        let report = serde_json::json!({
            "work": "restart", "leaves": options.leaves, "events": events, "runs": options.runs,
            "p50_ms": at(0.5), "p99_ms": at(0.99), "replay_s": replay.as_secs_f64(),
        });
        println!("{report}");
    } else {
        println!(
            "{} leaves, {} kills: next dispatch after p50 {:.0} ms, p99 {:.0} ms",
            options.leaves,
            options.runs,
            at(0.5),
            at(0.99)
        );
    }
    Ok(())
}
