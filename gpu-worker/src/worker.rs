//! The worker: one loop owns the [`State`], tasks report back to it over one channel.
//!
//! Events go out through one task in the order in which they were decided, and are sent again until the queue takes them.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use circuits::shape::Shape;
use parking_lot::Mutex;
use prover::Backend;
use queue::{QueueError, WorkerQueue};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use wire::{Attempt, CardReading, Control, JobId, Registration, WorkerEvent};

use crate::{
    card::{Card, Condition},
    circuit::{Circuit, LoadError},
    executor::{Executor, report},
    heartbeat::{AskCard, Heartbeat, SharedInFlight},
    memory,
    provers::{Provers, Source},
    state::{Effect, Event, Rules, SLOTS, State},
};

/// Room between the tasks and the loop, and between the loop and the queue.
const CHANNEL: usize = 64;
/// Longest pause between two tries to send an event.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub struct Config {
    /// Holds one `<circuit>.pmkey` per circuit.
    pub keys_dir: PathBuf,
    pub shapes: Vec<Shape>,
    /// Bytes the process may use; by default all of the machine or control group.
    pub memory_limit: Option<u64>,
    pub heartbeat: Duration,
    /// How long one read of the directives waits.
    pub poll: Duration,
    /// How long a proof under way may take once the worker was told to stop.
    pub drain: Duration,
    /// How long a card that failed several times in a row gets no work.
    pub rest: Duration,
    /// What whoever watches the card says.
    pub condition: Option<watch::Receiver<Condition>>,
    /// The watched card: for heartbeats and the energy of proofs.
    pub card: Option<Card>,
    /// Told of each attempt that is handed back, and why.
    pub on_hand_back: Option<fn(JobId, Attempt, &str)>,
}

impl Config {
    /// The settings of the README for a worker of these circuits.
    pub fn new(keys_dir: PathBuf, shapes: Vec<Shape>) -> Self {
        Self {
            keys_dir,
            shapes,
            memory_limit: None,
            heartbeat: Duration::from_secs(1),
            poll: Duration::from_secs(1),
            drain: Duration::from_secs(60),
            rest: Duration::from_secs(60),
            condition: None,
            card: None,
            on_hand_back: None,
        }
    }

    /// With a card that is watched: what it is goes into heartbeats, what a proof costs into reports, and it gets no work
    /// while it is sick.
    pub fn watching(mut self, card: Card) -> Self {
        self.condition = Some(card.condition());
        self.card = Some(card);
        self
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
    #[error("PM-WORKER-005: the worker left: {0}")]
    Left(String),
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// A worker with its keys on its backend, ready to run.
pub struct Worker {
    config: Config,
    queue: Arc<dyn WorkerQueue>,
    provers: Provers,
    state: State,
}

impl Worker {
    /// Synthesises the circuits, checks their keys and keeps as many of them as fit, seconds to minutes of work. Blocks.
    ///
    /// # Errors
    /// `WorkerError::Load` for a missing, damaged or foreign key or too little memory, `NoCircuit`.
    pub fn new(
        config: Config,
        backend: Arc<dyn Backend>,
        queue: Arc<dyn WorkerQueue>,
    ) -> Result<Self, WorkerError> {
        let folder = |shape: &Shape| (*shape, Source::Folder(config.keys_dir.clone()));
        let sources = config.shapes.iter().map(folder).collect();
        Self::with_sources(config, sources, backend, queue)
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
        let shared = |circuit: &Circuit| (circuit.shape, Source::Shared(circuit.clone()));
        Self::with_sources(config, circuits.iter().map(shared).collect(), backend, queue)
    }

    fn with_sources(
        config: Config,
        sources: Vec<(Shape, Source)>,
        backend: Arc<dyn Backend>,
        queue: Arc<dyn WorkerQueue>,
    ) -> Result<Self, WorkerError> {
        if sources.is_empty() {
            return Err(WorkerError::NoCircuit);
        }
        let memory = config.memory_limit.unwrap_or_else(memory::available);
        let (provers, circuits) = Provers::new(sources, &backend, memory)?;
        let registration = Registration {
            backend: backend.name().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            memory,
            circuits,
            slots: SLOTS,
        };
        let rules = Rules { drain: config.drain, rest: config.rest, memory };
        let state = State::new(rules, registration);
        Ok(Self { config, queue, provers, state })
    }

    /// Works until `shutdown`, then finishes the proof under way (within `Config::drain`), gives everything else back
    /// and returns.
    ///
    /// # Errors
    /// When the heartbeat cannot start, and `Left` when the worker does not trust its card any more and has left the farm.
    /// Whatever else happens later ends an attempt, not the worker.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), WorkerError> {
        let Self { config, queue, provers, state } = self;
        let in_flight = SharedInFlight::default();
        let liveness = queue.liveness()?;
        let sick = Sick::default();
        let ask_card = ask_card(config.card.clone(), Arc::clone(&sick));
        let heartbeat = Heartbeat::start(Arc::clone(&in_flight), ask_card, liveness, config.heartbeat)
            .map_err(WorkerError::Heartbeat)?;
        let (events, inbox) = mpsc::channel(CHANNEL);
        let (outbox, outgoing) = mpsc::channel(CHANNEL);
        let emitter = tokio::spawn(emit_in_order(Arc::clone(&queue), outgoing));
        let directives = tokio::spawn(read_directives(Arc::clone(&queue), events.clone(), config.poll));
        let watcher = config.condition.map(|card| tokio::spawn(watch_card(card, events.clone())));
        let executor = Executor::new(queue, provers, events, outbox, config.card);
        let shown = Shown { in_flight, sick, on_hand_back: config.on_hand_back };
        let why = drive(state, executor, inbox, &shown, shutdown, config.heartbeat).await;
        if let Some(watcher) = watcher {
            watcher.abort();
        }
        directives.abort();
        wire::failpoint("worker.drained");
        // Nothing more to report: the last event is `Left`.
        drop(heartbeat);
        deliver_the_rest(emitter, config.drain).await;
        let Some(why) = why else { return Ok(()) };
        tracing::error!(why, "the worker left");
        Err(WorkerError::Left(why))
    }
}

/// Why the worker gives its card no work, if so.
type Sick = Arc<Mutex<Option<String>>>;

/// What the loop lets the heartbeat and whoever started the worker see.
struct Shown {
    in_flight: SharedInFlight,
    sick: Sick,
    on_hand_back: Option<fn(JobId, Attempt, &str)>,
}

/// The last look at the card, and why it gets no work: what the worker itself found wrong with it counts as well.
fn ask_card(card: Option<Card>, sick: Sick) -> AskCard {
    Box::new(move || {
        let found = sick.lock().clone();
        let reading = card.as_ref().map(Card::reading);
        match (reading, found) {
            (Some(reading), found) => Some(CardReading { sick: reading.sick.clone().or(found), ..reading }),
            (None, Some(found)) => Some(CardReading { sick: Some(found), ..CardReading::default() }),
            (None, None) => None,
        }
    })
}

/// The loop: events in, effects out. Ends with the reason if it is not that somebody asked.
async fn drive(
    mut state: State,
    mut executor: Executor,
    mut inbox: mpsc::Receiver<Event>,
    shown: &Shown,
    shutdown: CancellationToken,
    tick: Duration,
) -> Option<String> {
    let start = Instant::now();
    let mut ticks = tokio::time::interval(tick);
    let mut draining = false;
    let mut next = Event::Started;
    loop {
        let effects = state.step(next, start.elapsed());
        *shown.in_flight.lock() = state.in_flight();
        *shown.sick.lock() = state.sick(start.elapsed()).map(str::to_owned);
        for effect in effects {
            if let Effect::Finish(why) = effect {
                return why;
            }
            if let (Some(tell), Effect::Emit(WorkerEvent::HandedBack { job, attempt, message, .. })) =
                (shown.on_hand_back, &effect)
            {
                tell(*job, *attempt, message);
            }
            executor.carry_out(effect).await;
        }
        next = tokio::select! {
            // `executor` holds a sender, so the channel never closes.
            Some(event) = inbox.recv() => event,
            () = shutdown.cancelled(), if !draining => {
                draining = true;
                Event::Drain
            }
            _ = ticks.tick() => Event::Tick,
        };
    }
}

/// Tells the loop what the card is like now, and each change.
async fn watch_card(mut card: watch::Receiver<Condition>, events: mpsc::Sender<Event>) {
    loop {
        let condition = card.borrow_and_update().clone();
        report(&events, Event::Condition(condition)).await;
        // Nobody watches any more: the last word stands.
        if card.changed().await.is_err() {
            return;
        }
    }
}

async fn read_directives(queue: Arc<dyn WorkerQueue>, events: mpsc::Sender<Event>, poll: Duration) {
    while !events.is_closed() {
        match queue.next_control(poll).await {
            Ok(Some(Control::Job(entry))) => {
                report(&events, Event::Job { entry, memory_used: memory::used() }).await;
            }
            Ok(Some(control)) => report(&events, Event::Control(control)).await,
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot read directives");
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
