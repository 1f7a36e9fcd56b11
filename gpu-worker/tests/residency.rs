//! A worker of two circuits whose keys do not fit its memory together proves jobs of both.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::{
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
use tokio_util::sync::CancellationToken;
use wire::{
    Attempt, Control, CoordinatorQueue, JobEntry, JobId, Priority, WorkerEvent, WorkerId,
    job::{encode_batch_input, input_hash},
    queue::memory::{MemoryCoordinator, MemoryQueue},
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

/// Publishes an empty batch, which is claimed when the worker has room.
async fn publish(
    coordinator: &MemoryCoordinator,
    fixture: &mut Fixture,
    circuit: &Circuit,
) -> (JobEntry, [Fr; 3]) {
    let input = fixture.batch(circuit.shape, &[], &[]);
    let expected = circuits::batch::Prepared::new(input.clone()).unwrap().public_inputs();
    let bytes = encode_batch_input(&input).unwrap();
    let entry = JobEntry {
        job: JobId::of_batch(input.batch_no),
        attempt: Attempt(1),
        shape: circuit.shape,
        circuit_digest: circuit.matrices.digest(),
        input_hash: input_hash(&bytes),
        excluded: Vec::new(),
    };
    coordinator.publish(&entry, &bytes, Priority::Normal).await.unwrap();
    (entry, expected)
}

/// Grants each claim, and checks the proofs of all these jobs.
async fn proved(
    coordinator: &MemoryCoordinator,
    worker: &WorkerId,
    mut jobs: Vec<(JobEntry, [Fr; 3], &Circuit)>,
) {
    while !jobs.is_empty() {
        let batch = coordinator.next_events(Duration::from_secs(1)).await.unwrap();
        for event in batch.events {
            match event {
                WorkerEvent::Claimed { job, attempt, .. } => {
                    coordinator.control(worker, Control::Grant { job, attempt }).await.unwrap();
                }
                WorkerEvent::Proved { job, proof, public_inputs, .. } => {
                    let place = jobs.iter().position(|(entry, ..)| entry.job == job).unwrap();
                    let (_, expected, circuit) = jobs.remove(place);
                    assert_eq!(public_inputs, expected);
                    let key = PreparedVerifyingKey::new(circuit.key.verifying_key()).unwrap();
                    verify(&key, &Proof::from_bytes(&proof.0).unwrap(), &expected).unwrap();
                }
                WorkerEvent::Failed { message, .. } => panic!("{message}"),
                _ => {}
            }
        }
        if let Some(cursor) = batch.up_to {
            coordinator.acknowledge(cursor).await.unwrap();
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

    let (queue, id) = (MemoryQueue::default(), WorkerId::new("under-test").unwrap());
    let backend = Arc::new(Counting::default());
    let mut config = Config::new(id.clone(), folder.clone(), SHAPES.to_vec());
    config.memory_limit = Some(limit);
    config.poll = Duration::from_millis(50);
    let worker = Worker::new(config, backend.clone(), Arc::new(queue.worker(id.clone()))).unwrap();
    assert_eq!(backend.held.load(Ordering::SeqCst), 1, "only the first fits");
    let stop = CancellationToken::new();
    let running = tokio::spawn(worker.run(stop.clone()));

    let coordinator = queue.coordinator();
    let mut fixture = Fixture::new(Fr::from(77));
    let mut jobs = Vec::new();
    for circuit in [small, large, small] {
        let (entry, expected) = publish(&coordinator, &mut fixture, circuit).await;
        jobs.push((entry, expected, circuit));
    }
    tokio::time::timeout(SOON, proved(&coordinator, &id, jobs)).await.unwrap();
    assert_eq!(backend.most.load(Ordering::SeqCst), 1, "two keys were held at once");
    assert!(backend.prepared.load(Ordering::SeqCst) >= 2, "the large one was never loaded");
    stop.cancel();
    running.await.unwrap().unwrap();
}
