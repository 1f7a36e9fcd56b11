//! Carries out what [`State`] decides: one loop owns the state, tasks report back to it over one channel.
//!
//! Witnesses and proofs run on blocking threads; a panic there is caught and ends the attempt, not the worker. Events go
//! out through one task in the order in which they were decided, and are sent again until the queue takes them.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use circuits::shape::Shape;
use prover::{Backend, BackendError, Cancel, ProveError, Prover};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use wire::{FailureKind, JobEntry, ProofBytes, QueueError, Registration, WorkerEvent, WorkerId, WorkerQueue};

use crate::{
    circuit::{Circuit, LoadError},
    heartbeat::{Heartbeat, Holds},
    memory, prepare,
    prepare::Assignment,
    state::{Effect, Event, Key, Proof, ProveFailure, Rules, State},
};

/// Room between the tasks and the loop, and between the loop and the queue.
const CHANNEL: usize = 64;
/// Longest pause between two tries to send an event.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub struct Config {
    pub id: WorkerId,
    /// Holds one `<circuit>.pmkey` per circuit.
    pub keys_dir: PathBuf,
    pub shapes: Vec<Shape>,
    /// Bytes the process may use; by default all of the machine or control group.
    pub memory_limit: Option<u64>,
    pub heartbeat: Duration,
    /// How long one look into the queue waits.
    pub poll: Duration,
    /// How long a claim waits for its grant.
    pub grant_wait: Duration,
    /// How long a proof under way may take once the worker was told to stop.
    pub drain: Duration,
}

impl Config {
    /// The settings of the README for a worker of these circuits.
    pub fn new(id: WorkerId, keys_dir: PathBuf, shapes: Vec<Shape>) -> Self {
        Self {
            id,
            keys_dir,
            shapes,
            memory_limit: None,
            heartbeat: Duration::from_secs(1),
            poll: Duration::from_secs(1),
            grant_wait: Duration::from_secs(60),
            drain: Duration::from_secs(60),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("PM-WORKER-003: no circuit was given; name at least one")]
    NoCircuit,
    #[error("PM-WORKER-004: the heartbeat cannot start: {0}")]
    Heartbeat(std::io::Error),
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// A worker with its keys on its backend, ready to run.
pub struct Worker {
    config: Config,
    queue: Arc<dyn WorkerQueue>,
    provers: HashMap<Shape, Arc<Prover>>,
    state: State,
}

impl Worker {
    /// Synthesises the circuits and loads their keys, seconds to minutes of work. Blocks.
    ///
    /// # Errors
    /// `WorkerError::Load` for a missing, damaged or foreign key or too little memory, `NoCircuit`.
    pub fn new(
        config: Config,
        backend: Arc<dyn Backend>,
        queue: Arc<dyn WorkerQueue>,
    ) -> Result<Self, WorkerError> {
        let load = |shape: &Shape| Circuit::load(*shape, &config.keys_dir);
        let circuits = config.shapes.iter().map(load).collect::<Result<Vec<_>, _>>()?;
        Self::with_circuits(config, &circuits, backend, queue)
    }

    /// As `new`, with circuits that are loaded already.
    ///
    /// # Errors
    /// `WorkerError::Load` if the backend refuses a key or memory is too small, `NoCircuit`.
    pub fn with_circuits(
        config: Config,
        circuits: &[Circuit],
        backend: Arc<dyn Backend>,
        queue: Arc<dyn WorkerQueue>,
    ) -> Result<Self, WorkerError> {
        if circuits.is_empty() {
            return Err(WorkerError::NoCircuit);
        }
        let memory = config.memory_limit.unwrap_or_else(memory::available);
        let mut provers = HashMap::new();
        for circuit in circuits {
            circuit.check_memory(memory)?;
            provers.insert(circuit.shape, Arc::new(circuit.prover(&backend)?));
        }
        let registration = Registration {
            backend: backend.name().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            memory,
            circuits: circuits.iter().map(Circuit::support).collect(),
        };
        let rules =
            Rules { grant_wait: config.grant_wait, claim_backoff: config.poll, drain: config.drain, memory };
        let state = State::new(config.id.clone(), rules, registration);
        Ok(Self { config, queue, provers, state })
    }

    /// Works until `shutdown`, then finishes the proof under way (within `Config::drain`), gives everything else back
    /// and returns.
    ///
    /// # Errors
    /// When the heartbeat cannot start. Whatever happens later ends an attempt, not the worker.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), WorkerError> {
        let Self { config, queue, provers, state } = self;
        let holds = Holds::default();
        let liveness = queue.liveness()?;
        let heartbeat = Heartbeat::start(config.id.clone(), Arc::clone(&holds), liveness, config.heartbeat)
            .map_err(WorkerError::Heartbeat)?;
        let (events, inbox) = mpsc::channel(CHANNEL);
        let (outbox, outgoing) = mpsc::channel(CHANNEL);
        let emitter = tokio::spawn(emit_in_order(Arc::clone(&queue), outgoing));
        let controls = tokio::spawn(read_controls(Arc::clone(&queue), events.clone(), config.poll));
        let hands = Hands {
            queue,
            provers,
            shapes: config.shapes,
            poll: config.poll,
            events,
            outbox,
            work: HashMap::new(),
        };
        drive(state, hands, inbox, &holds, shutdown, config.heartbeat).await;
        controls.abort();
        // Nothing more to report: the last event is `Left`.
        drop(heartbeat);
        deliver_the_rest(emitter, config.drain).await;
        Ok(())
    }
}

/// The loop: events in, effects out.
async fn drive(
    mut state: State,
    mut hands: Hands,
    mut inbox: mpsc::Receiver<Event>,
    holds: &Holds,
    shutdown: CancellationToken,
    tick: Duration,
) {
    let start = Instant::now();
    let mut ticks = tokio::time::interval(tick);
    let mut draining = false;
    let mut next = Event::Started;
    loop {
        let effects = state.step(next, start.elapsed());
        *holds.lock().unwrap_or_else(PoisonError::into_inner) = state.holds();
        for effect in effects {
            if effect == Effect::Finish {
                return;
            }
            hands.carry_out(effect).await;
        }
        next = tokio::select! {
            // `hands` holds a sender, so the channel never closes.
            Some(event) = inbox.recv() => event,
            () = shutdown.cancelled(), if !draining => {
                draining = true;
                Event::Drain
            }
            _ = ticks.tick() => Event::Tick,
        };
    }
}

/// What was made for an attempt.
#[derive(Default)]
struct Work {
    cancel: Cancel,
    assignment: Arc<Mutex<Option<Arc<Assignment>>>>,
}

struct Hands {
    queue: Arc<dyn WorkerQueue>,
    provers: HashMap<Shape, Arc<Prover>>,
    shapes: Vec<Shape>,
    poll: Duration,
    events: mpsc::Sender<Event>,
    outbox: mpsc::Sender<WorkerEvent>,
    work: HashMap<Key, Work>,
}

impl Hands {
    async fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Claim => self.claim(),
            Effect::Prepare(entry) => self.prepare(entry),
            Effect::Prove(key, shape) => self.prove(key, shape),
            Effect::Forget(key) => {
                if let Some(work) = self.work.remove(&key) {
                    work.cancel.cancel();
                }
            }
            Effect::Emit(event) => {
                count(&event);
                // Fails only when the emitter is gone, which ends after this loop.
                if self.outbox.send(event).await.is_err() {
                    tracing::error!("an event was lost: the task that sends them has ended");
                }
            }
            Effect::Finish => {}
        }
    }

    fn claim(&self) {
        let (queue, shapes, poll) = (Arc::clone(&self.queue), self.shapes.clone(), self.poll);
        let events = self.events.clone();
        tokio::spawn(async move {
            let event = match queue.claim(&shapes, poll).await {
                Ok(entry) => Event::Claimed { entry, memory_used: memory::used() },
                Err(error) => {
                    tracing::warn!(%error, "cannot claim");
                    Event::ClaimFailed
                }
            };
            report(&events, event).await;
        });
    }

    fn prepare(&mut self, entry: JobEntry) {
        let key = (entry.job, entry.attempt);
        let place = Arc::clone(&self.work.entry(key).or_default().assignment);
        let (queue, events) = (Arc::clone(&self.queue), self.events.clone());
        tokio::spawn(async move {
            let event = match fetch_and_assign(&*queue, &entry, &events).await {
                Ok(assignment) => {
                    *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(assignment));
                    Event::Prepared(key)
                }
                Err((kind, message)) => Event::PrepareFailed(key, kind, message),
            };
            report(&events, event).await;
        });
    }

    fn prove(&self, key: Key, shape: Shape) {
        let work = self.work.get(&key);
        let assignment =
            work.and_then(|work| work.assignment.lock().unwrap_or_else(PoisonError::into_inner).clone());
        let prover = self.provers.get(&shape).cloned();
        let cancel = work.map(|work| work.cancel.clone()).unwrap_or_default();
        let events = self.events.clone();
        tokio::spawn(async move {
            let result = match (assignment, prover) {
                (Some(assignment), Some(prover)) => {
                    on_a_thread(move || prove_now(&prover, &assignment, &cancel)).await.unwrap_or_else(
                        |message| {
                            let message = format!("PM-WORKER-030: the backend panicked: {message}");
                            Err(ProveFailure::Other(FailureKind::Infrastructure, message))
                        },
                    )
                }
                _ => Err(ProveFailure::Cancelled),
            };
            let event = match result {
                Ok(proof) => Event::Proved(key, Box::new(proof)),
                Err(failure) => Event::ProveFailed(key, failure),
            };
            report(&events, event).await;
        });
    }
}

async fn fetch_and_assign(
    queue: &dyn WorkerQueue,
    entry: &JobEntry,
    events: &mpsc::Sender<Event>,
) -> Result<Assignment, (FailureKind, String)> {
    let refused = |error: prepare::InputError| (error.kind(), error.to_string());
    let bytes =
        queue.input(entry.job).await.map_err(|error| (FailureKind::Infrastructure, error.to_string()))?;
    let (named, entry) = ((entry.job, entry.attempt), entry.clone());
    let opened = on_a_thread(move || prepare::open(&entry, &bytes)).await;
    // The same input panics on every worker, so it is the input's failure.
    let panicked =
        |message| (FailureKind::Input, format!("PM-WORKER-031: the input makes the worker panic: {message}"));
    let input = opened.map_err(panicked)?.map_err(refused)?;
    report(events, Event::Fetched(named)).await;
    on_a_thread(move || prepare::assign(input)).await.map_err(panicked)?.map_err(refused)
}

fn prove_now(prover: &Prover, assignment: &Assignment, cancel: &Cancel) -> Result<Proof, ProveFailure> {
    match prover.prove(&assignment.witness, cancel) {
        Ok(proven) => {
            let t = proven.timings;
            Ok(Proof {
                proof: ProofBytes(proven.proof.to_bytes()),
                public_inputs: assignment.public_inputs,
                sparse: t.sparse,
                ntt: t.ntt,
                msm: t.msm_a + t.msm_b1 + t.msm_b2 + t.msm_l + t.msm_h,
                finish: proven.finish,
            })
        }
        Err(ProveError::Backend(BackendError::Cancelled)) => Err(ProveFailure::Cancelled),
        Err(error @ ProveError::Invalid { .. }) => Err(ProveFailure::Invalid(error.to_string())),
        // The statement is false: native replay and circuit disagree about this input.
        Err(error @ ProveError::Backend(BackendError::Unsatisfied(_))) => {
            Err(ProveFailure::Other(FailureKind::Input, error.to_string()))
        }
        Err(error) => Err(ProveFailure::Other(FailureKind::Infrastructure, error.to_string())),
    }
}

/// Runs blocking work; a panic comes back as its message.
async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| match error.try_into_panic() {
        Ok(panic) => panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| "without a message".to_owned()),
        Err(error) => error.to_string(),
    })
}

/// Tells the loop; once it has ended nobody needs to know.
async fn report(events: &mpsc::Sender<Event>, event: Event) {
    if events.send(event).await.is_err() {
        tracing::debug!("the worker has ended before a task of it");
    }
}

async fn read_controls(queue: Arc<dyn WorkerQueue>, events: mpsc::Sender<Event>, poll: Duration) {
    while !events.is_closed() {
        match queue.next_control(poll).await {
            Ok(Some(control)) => report(&events, Event::Control(control)).await,
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot read controls");
                tokio::time::sleep(poll).await;
            }
        }
    }
}

/// Sends each event until the queue takes it. One that the encoding refuses is dropped: it would never be taken.
async fn emit_in_order(queue: Arc<dyn WorkerQueue>, mut outgoing: mpsc::Receiver<WorkerEvent>) {
    while let Some(event) = outgoing.recv().await {
        let mut pause = Duration::from_millis(100);
        loop {
            match queue.emit(&event).await {
                Ok(()) => break,
                Err(error @ QueueError::Codec(_)) => {
                    tracing::error!(%error, "an event cannot be encoded");
                    break;
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot send an event, trying again");
                    tokio::time::sleep(pause).await;
                    pause = (2 * pause).min(LONGEST_PAUSE);
                }
            }
        }
    }
}

/// Waits until the last events are out, but not for ever for a queue that is gone.
async fn deliver_the_rest(emitter: JoinHandle<()>, wait: Duration) {
    let stop = emitter.abort_handle();
    if tokio::time::timeout(wait, emitter).await.is_err() {
        stop.abort();
        tracing::error!("the last events could not be sent; the leases of this worker will run out");
    }
}

fn count(event: &WorkerEvent) {
    match event {
        WorkerEvent::Proved { job, attempt, timings, .. } => {
            tracing::info!(%job, %attempt, total = ?timings.total, "proved");
            let stages = [
                ("queue_wait", timings.queue_wait),
                ("fetch", timings.fetch),
                ("witness", timings.witness),
                ("sparse", timings.sparse),
                ("ntt", timings.ntt),
                ("msm", timings.msm),
                ("finish", timings.finish),
                ("total", timings.total),
            ];
            for (stage, time) in stages {
                metrics::histogram!("proofmill_worker_stage_seconds", "stage" => stage)
                    .record(time.as_secs_f64());
            }
            metrics::counter!("proofmill_worker_proofs_total").increment(1);
        }
        WorkerEvent::Failed { job, attempt, kind, message, .. } => {
            tracing::warn!(%job, %attempt, ?kind, message, "failed");
            metrics::counter!("proofmill_worker_failures_total", "kind" => format!("{kind:?}")).increment(1);
        }
        WorkerEvent::HandedBack { job, attempt, message, .. } => {
            tracing::info!(%job, %attempt, message, "handed back");
            metrics::counter!("proofmill_worker_handed_back_total").increment(1);
        }
        WorkerEvent::Register { .. }
        | WorkerEvent::Claimed { .. }
        | WorkerEvent::Heartbeat { .. }
        | WorkerEvent::Left { .. } => {}
    }
}
