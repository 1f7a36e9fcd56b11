//! The other side of the queue, and backends that misbehave.

use std::{
    collections::{BTreeSet, VecDeque},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use circuits::{batch::BatchInput, shape::Shape};
use gpu_worker::{Circuit, Config, Worker, WorkerError};
use prover::{
    Backend, BackendError, Cancel, CpuBackend, DevTrapdoor, Key, KeyId, Matrices, NoProgress, Staged, Sums,
    Timings, Witness,
};
use queue::{
    CoordinatorQueue, QueueWrite,
    memory::{MemoryCoordinator, MemoryQueue},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wire::{
    Attempt, CardReading, Control, Directive, FailureKind, InFlight, JobEntry, JobId, ProcessId, Stage,
    WorkerEvent, WorkerId,
    job::{encode_batch_input, input_hash},
};

const SOON: Duration = Duration::from_secs(120);

/// The process of the worker under test.
pub const PROCESS: ProcessId = ProcessId(7);

pub fn worker_id() -> WorkerId {
    WorkerId::parse("rack/under-test").unwrap()
}

/// The `s3m1` circuit with its development key, which is made once per version of the circuit.
pub fn circuit() -> &'static Circuit {
    static CIRCUIT: OnceLock<Circuit> = OnceLock::new();
    CIRCUIT.get_or_init(|| Circuit::load(Shape::S3M1, key_file().parent().unwrap()).unwrap())
}

pub fn key_file() -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| {
        let matrices = gpu_worker::matrices(Shape::S3M1).unwrap();
        let digest: String = matrices.digest().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(digest);
        let file = gpu_worker::key_path(&folder, Shape::S3M1);
        if Key::open(&file, Some(matrices.digest())).is_err() {
            std::fs::create_dir_all(&folder).unwrap();
            let parts =
                prover::generate(&matrices, &DevTrapdoor::from_seed("worker tests"), &NoProgress).unwrap();
            // Renamed when whole: a test run that is interrupted leaves no half key.
            let fresh = folder.join(format!("{}.new", std::process::id()));
            parts.write(&fresh).unwrap();
            std::fs::rename(&fresh, &file).unwrap();
        }
        file
    })
}

pub fn config() -> Config {
    let mut config = Config::new(key_file().parent().unwrap().to_owned(), vec![Shape::S3M1]);
    config.heartbeat = Duration::from_millis(20);
    config.poll = Duration::from_millis(50);
    config
}

/// A worker under test and the coordinator it talks to, which answers registrations.
pub struct Farm {
    coordinator: MemoryCoordinator,
    shutdown: CancellationToken,
    worker: JoinHandle<Result<(), WorkerError>>,
    /// Events that came and were not asked for yet.
    seen: Mutex<VecDeque<WorkerEvent>>,
}

impl Farm {
    pub async fn start(backend: Arc<dyn Backend>) -> Self {
        Self::with(backend, |_| {}).await
    }

    pub async fn with(backend: Arc<dyn Backend>, change: impl FnOnce(&mut Config)) -> Self {
        let queue = MemoryQueue::default();
        let coordinator = queue.coordinator();
        let open = BTreeSet::from([worker_id().pool]);
        coordinator.write(&[QueueWrite::Pools { open, closed: BTreeSet::new() }]).await.unwrap();
        let mut config = config();
        change(&mut config);
        let circuits = [circuit().clone()];
        let side = Arc::new(queue.worker(worker_id(), PROCESS));
        let worker = Worker::with_circuits(config, &circuits, backend, side).unwrap();
        let shutdown = CancellationToken::new();
        let worker = tokio::spawn(worker.run(shutdown.clone()));
        Self { coordinator, shutdown, worker, seen: Mutex::default() }
    }

    pub fn entry(&self, job: JobId, input: &[u8]) -> JobEntry {
        JobEntry {
            job,
            attempt: Attempt(1),
            shape: Shape::S3M1,
            circuit_digest: circuit().matrices.digest(),
            input_hash: input_hash(input),
        }
    }

    /// Sends the job of this batch to the worker.
    pub async fn send(&self, input: &BatchInput) -> JobEntry {
        let bytes = encode_batch_input(input).unwrap();
        let entry = self.entry(JobId::of_batch(input.batch_no), &bytes);
        self.send_bytes(&entry, &bytes).await;
        entry
    }

    pub async fn send_bytes(&self, entry: &JobEntry, input: &[u8]) {
        let input = QueueWrite::Input { pool: worker_id().pool, job: entry.job, input: input.into() };
        self.coordinator.write(&[input]).await.unwrap();
        self.control(Control::Job(entry.clone())).await;
    }

    pub async fn control(&self, control: Control) {
        self.control_of(PROCESS, control).await;
    }

    /// To a process under the worker's name, which may be another one.
    pub async fn control_of(&self, process: ProcessId, control: Control) {
        let directive = Directive { process, control };
        self.coordinator.write(&[QueueWrite::Directive { worker: worker_id(), directive }]).await.unwrap();
    }

    pub async fn close(&self, entry: &JobEntry) {
        self.control(Control::Close { job: entry.job, attempt: entry.attempt }).await;
    }

    /// The next event, whatever it is.
    pub async fn next(&self) -> WorkerEvent {
        self.find("any event", |_| true).await
    }

    /// The first event that fits; those before it are passed over.
    pub async fn find(&self, what: &str, fits: impl Fn(&WorkerEvent) -> bool) -> WorkerEvent {
        let deadline = tokio::time::Instant::now() + SOON;
        loop {
            while let Some(event) = self.seen.lock().unwrap().pop_front() {
                if fits(&event) {
                    return event;
                }
            }
            assert!(tokio::time::Instant::now() < deadline, "{what} did not come");
            let batch = self.coordinator.next_events(Duration::from_secs(1)).await.unwrap();
            if let Some(cursors) = batch.up_to {
                self.coordinator.write(&[QueueWrite::Acknowledge(cursors)]).await.unwrap();
            }
            for found in batch.events {
                assert_eq!((&found.worker, found.process), (&worker_id(), PROCESS));
                if matches!(found.event, WorkerEvent::Register { .. }) {
                    self.control(Control::Registered).await;
                }
                self.seen.lock().unwrap().push_back(found.event);
            }
        }
    }

    /// The event that ends the attempt, which is closed then.
    pub async fn end_of(&self, entry: &JobEntry) -> WorkerEvent {
        let ended = (entry.job, entry.attempt);
        let event = self.find("the end", |event| event.ends() == Some(ended)).await;
        self.close(entry).await;
        event
    }

    pub async fn expect_failure(&self, entry: &JobEntry, expected: FailureKind, reason: &str) {
        let event = self.end_of(entry).await;
        let WorkerEvent::Failed { kind, ref message, .. } = event else { panic!("{event:?}") };
        assert!(kind == expected && message.contains(reason), "expected {expected:?} {reason}: {event:?}");
    }

    /// Waits for a heartbeat that reports exactly these.
    pub async fn until_held(&self, expected: &[(JobId, Stage)]) {
        let reports = |held: &[InFlight]| {
            held.iter().map(|held| (held.job, held.stage)).collect::<Vec<_>>() == expected
        };
        self.find(
            "that heartbeat",
            |event| matches!(event, WorkerEvent::Heartbeat { in_flight, .. } if reports(in_flight)),
        )
        .await;
    }

    /// The card of a heartbeat that is like this.
    pub async fn until_card(&self, like: impl Fn(&CardReading) -> bool) -> CardReading {
        let found = self
            .find(
                "a heartbeat of such a card",
                |event| matches!(event, WorkerEvent::Heartbeat { card: Some(card), .. } if like(card)),
            )
            .await;
        let WorkerEvent::Heartbeat { card: Some(card), .. } = found else { panic!("{found:?}") };
        *card
    }

    /// What the worker says when it leaves.
    pub async fn until_left(&self) -> String {
        let event = self.find("the farewell", |event| matches!(event, WorkerEvent::Left { .. })).await;
        let WorkerEvent::Left { message, .. } = event else { panic!("{event:?}") };
        message
    }

    pub fn shutdown(&self) {
        self.shutdown.cancel();
    }

    pub async fn result(self) -> Result<(), WorkerError> {
        tokio::time::timeout(SOON, self.worker).await.unwrap().unwrap()
    }

    pub async fn joined(self) {
        self.result().await.unwrap();
    }

    /// Stops the worker, whatever it does; a proof that waits for ever is closed first.
    pub async fn stop(self) {
        for batch_no in 1..=3 {
            self.control(Control::Close { job: JobId::of_batch(batch_no), attempt: Attempt(1) }).await;
        }
        self.shutdown();
        self.until_left().await;
        self.joined().await;
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Proves.
    Cpu,
    /// Waits until cancelled or told to behave otherwise.
    Wait,
    Panic,
    /// Sums of another statement.
    Wrong,
    WrongOnce,
    /// Every so many proofs a wrong one.
    WrongEvery(usize),
    DeviceFails,
    DeviceFailsOnce,
}

/// A backend that behaves as it is told, at each moment.
pub struct FaultyBackend {
    cpu: CpuBackend,
    behaviour: Mutex<Behaviour>,
    proofs: AtomicUsize,
    staged: AtomicUsize,
}

impl FaultyBackend {
    pub fn new(behaviour: Behaviour) -> Arc<Self> {
        Arc::new(Self {
            cpu: CpuBackend::new(),
            behaviour: Mutex::new(behaviour),
            proofs: AtomicUsize::new(0),
            staged: AtomicUsize::new(0),
        })
    }

    pub fn now(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap() = behaviour;
    }

    /// How often it took a witness ahead.
    pub fn staged(&self) -> usize {
        self.staged.load(Ordering::SeqCst)
    }

    /// How often it was asked for a proof.
    pub fn proofs(&self) -> usize {
        self.proofs.load(Ordering::SeqCst)
    }
}

impl Backend for FaultyBackend {
    fn name(&self) -> &'static str {
        "faulty"
    }

    fn prepare(&self, key: Arc<Key>, matrices: Arc<Matrices>) -> Result<KeyId, BackendError> {
        self.cpu.prepare(key, matrices)
    }

    fn prove(&self, key: KeyId, witness: &Witness, cancel: &Cancel) -> Result<(Sums, Timings), BackendError> {
        let number = self.proofs.fetch_add(1, Ordering::SeqCst) + 1;
        loop {
            let behaviour = *self.behaviour.lock().unwrap();
            match behaviour {
                Behaviour::Cpu => return self.cpu.prove(key, witness, cancel),
                Behaviour::Panic => panic!("the device is on fire"),
                Behaviour::Wait => {
                    cancel.check()?;
                    std::thread::sleep(Duration::from_millis(5));
                }
                Behaviour::WrongEvery(count) if !number.is_multiple_of(count) => {
                    return self.cpu.prove(key, witness, cancel);
                }
                Behaviour::DeviceFails | Behaviour::DeviceFailsOnce => {
                    if behaviour == Behaviour::DeviceFailsOnce {
                        self.now(Behaviour::Cpu);
                    }
                    return Err(BackendError::Device { backend: "faulty", reason: "out of memory".into() });
                }
                Behaviour::Wrong | Behaviour::WrongOnce | Behaviour::WrongEvery(_) => {
                    if behaviour == Behaviour::WrongOnce {
                        self.now(Behaviour::Cpu);
                    }
                    let g1 = bn254::Group::generator();
                    let sums = Sums { a: g1, b1: g1, b2: bn254::Group::generator(), l: g1, h: g1 };
                    return Ok((sums, Timings::default()));
                }
            }
        }
    }

    fn stage(&self, key: KeyId, witness: Arc<Witness>) -> Result<Staged, BackendError> {
        self.staged.fetch_add(1, Ordering::SeqCst);
        Ok(Staged { key, witness, place: None })
    }

    fn release(&self, key: KeyId) {
        self.cpu.release(key);
    }
}
