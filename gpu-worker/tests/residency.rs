//! A worker of two circuits whose keys do not fit its memory together proves jobs of both.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bn254::Fr;
use circuits::{fixture::Fixture, shape::Shape};
use gpu_worker::{Circuit, Config, Worker, key_path, matrices};
use prover::{
    Backend, BackendError, Cancel, CpuBackend, DevTrapdoor, Key, KeyId, Matrices, NoProgress,
    PreparedVerifyingKey, Proof, Sums, Timings, Witness, verify,
};
use queue::{
    CoordinatorQueue, QueueWrite,
    memory::{MemoryCoordinator, MemoryQueue},
};
use tokio_util::sync::CancellationToken;
use wire::{
    Attempt, Control, Directive, JobEntry, JobId, ProcessId, WorkerEvent, WorkerId,
    job::{encode_batch_input, input_hash},
};

const SHAPES: [Shape; 2] = [Shape::S3M1, Shape::S14M2];
const SOON: Duration = Duration::from_secs(180);

/// Development keys of both circuits, made once per version of the circuits.
fn keys() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("residency");
    std::fs::create_dir_all(&folder).unwrap();
    for shape in SHAPES {
        let (matrices, file) = (matrices(shape).unwrap(), key_path(&folder, shape));
        if Key::open(&file, Some(matrices.digest())).is_err() {
            let seed = DevTrapdoor::from_seed("residency tests");
            let parts = prover::generate(&matrices, &seed, &NoProgress).unwrap();
            // Renamed when whole: a test run that is interrupted leaves no half key.
            let fresh = folder.join(format!("{}.new", std::process::id()));
            parts.write(&fresh).unwrap();
            std::fs::rename(&fresh, &file).unwrap();
        }
    }
    folder
}

/// Counts the keys that it was given and the most that it held at once.
#[derive(Default)]
struct Counting {
    cpu: CpuBackend,
    prepared: AtomicUsize,
    held: AtomicUsize,
    most: AtomicUsize,
}

impl Backend for Counting {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn prepare(&self, key: Arc<Key>, matrices: Arc<Matrices>) -> Result<KeyId, BackendError> {
        self.prepared.fetch_add(1, Ordering::SeqCst);
        let held = self.held.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(held, Ordering::SeqCst);
        self.cpu.prepare(key, matrices)
    }

    fn prove(&self, key: KeyId, witness: &Witness, cancel: &Cancel) -> Result<(Sums, Timings), BackendError> {
        self.cpu.prove(key, witness, cancel)
    }

    fn release(&self, key: KeyId) {
        self.held.fetch_sub(1, Ordering::SeqCst);
        self.cpu.release(key);
    }
}

const PROCESS: ProcessId = ProcessId(7);

async fn control(coordinator: &MemoryCoordinator, worker: &WorkerId, control: Control) {
    let directive = Directive { process: PROCESS, control };
    coordinator.write(&[QueueWrite::Directive { worker: worker.clone(), directive }]).await.unwrap();
}

/// An empty batch's job with its encoded input, and what its proof must be of.
fn job(fixture: &mut Fixture, circuit: &Circuit) -> (JobEntry, Vec<u8>, [Fr; 3]) {
    let input = fixture.batch(circuit.shape, &[], &[]);
    let expected = circuits::batch::Prepared::new(input.clone()).unwrap().public_inputs();
    let bytes = encode_batch_input(&input).unwrap();
    let entry = JobEntry {
        job: JobId::of_batch(input.batch_no),
        attempt: Attempt(1),
        shape: circuit.shape,
        circuit_digest: circuit.matrices.digest(),
        input_hash: input_hash(&bytes),
    };
    (entry, bytes, expected)
}

/// Sends a job whenever the worker has room, until it proved all, and checks the proofs.
async fn proved(
    coordinator: &MemoryCoordinator,
    worker: &WorkerId,
    jobs: Vec<(JobEntry, Vec<u8>, [Fr; 3], &Circuit)>,
) {
    let (mut waiting, mut sent) = (jobs.into_iter(), Vec::new());
    loop {
        while sent.len() < 2
            && let Some((entry, bytes, expected, circuit)) = waiting.next()
        {
            let input = QueueWrite::Input { pool: worker.pool.clone(), job: entry.job, input: bytes.into() };
            coordinator.write(&[input]).await.unwrap();
            control(coordinator, worker, Control::Job(entry.clone())).await;
            sent.push((entry, expected, circuit));
        }
        if sent.is_empty() {
            return;
        }
        let batch = coordinator.next_events(Duration::from_secs(1)).await.unwrap();
        for found in batch.events {
            match found.event {
                WorkerEvent::Register { .. } => control(coordinator, worker, Control::Registered).await,
                WorkerEvent::Proved { job, attempt, proof, .. } => {
                    control(coordinator, worker, Control::Close { job, attempt }).await;
                    // Said again before it was closed.
                    let Some(place) = sent.iter().position(|(entry, ..)| entry.job == job) else { continue };
                    let (_, expected, circuit) = sent.remove(place);
                    let key = PreparedVerifyingKey::new(circuit.key.verifying_key()).unwrap();
                    verify(&key, &Proof::from_bytes(&proof.0).unwrap(), &expected).unwrap();
                }
                WorkerEvent::Failed { message, .. } | WorkerEvent::HandedBack { message, .. } => {
                    panic!("{message}")
                }
                WorkerEvent::Heartbeat { .. } | WorkerEvent::Left { .. } => {}
            }
        }
        if let Some(cursors) = batch.up_to {
            coordinator.write(&[QueueWrite::Acknowledge(cursors)]).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn circuits_that_do_not_fit_together_take_turns_in_memory() {
    let folder = keys();
    let circuits = SHAPES.map(|shape| Circuit::load(shape, &folder).unwrap());
    let [small, large] = &circuits;
    // One byte less than both with a proof take.
    let working = small.working_memory().max(large.working_memory());
    let limit = small.resident_memory() + large.resident_memory() + working - 1;

    let (queue, id) = (MemoryQueue::default(), WorkerId::parse("under-test").unwrap());
    let backend = Arc::new(Counting::default());
    let mut config = Config::new(folder.clone(), SHAPES.to_vec());
    config.memory_limit = Some(limit);
    config.poll = Duration::from_millis(50);
    let worker = Worker::new(config, backend.clone(), Arc::new(queue.worker(id.clone(), PROCESS))).unwrap();
    assert_eq!(backend.held.load(Ordering::SeqCst), 1, "only the first fits");
    let stop = CancellationToken::new();
    let running = tokio::spawn(worker.run(stop.clone()));

    let coordinator = queue.coordinator();
    let open = BTreeSet::from([id.pool.clone()]);
    coordinator.write(&[QueueWrite::Pools { open, closed: BTreeSet::new() }]).await.unwrap();
    let mut fixture = Fixture::new(Fr::from(77));
    let mut jobs = Vec::new();
    for circuit in [small, large, small] {
        let (entry, bytes, expected) = job(&mut fixture, circuit);
        jobs.push((entry, bytes, expected, circuit));
    }
    tokio::time::timeout(SOON, proved(&coordinator, &id, jobs)).await.unwrap();
    assert_eq!(backend.most.load(Ordering::SeqCst), 1, "two keys were held at once");
    assert!(backend.prepared.load(Ordering::SeqCst) >= 2, "the large one was never loaded");
    stop.cancel();
    running.await.unwrap().unwrap();
}
