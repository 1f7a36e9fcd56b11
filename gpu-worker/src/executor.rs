//! Carries out what the state decides: witnesses, proofs, events.
//!
//! Witnesses and proofs run on blocking threads; a panic there is caught and ends the attempt, not the worker.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use circuits::shape::Shape;
use parking_lot::Mutex;
use prover::{BackendError, Cancel, ProveError, Prover, Staged};
use queue::WorkerQueue;
use tokio::sync::mpsc;
use wire::{FailureKind, JobEntry, ProofBytes, WorkerEvent};

use crate::{
    card::{Card, EnergyMeter},
    circuit::LoadError,
    prepare::{self, Assignment},
    provers::Provers,
    state::{Effect, Engine, Event, Key, Proof, ProveFailure},
};

/// The witness of an attempt on its way to the device.
#[derive(Default)]
enum Ahead {
    #[default]
    Nowhere,
    /// By the key that was resident then.
    There(Staged, Weak<Prover>),
    /// It is proved, or was: staging it now would be for nothing.
    Late,
}

/// What was made for an attempt.
#[derive(Clone, Default)]
struct Work {
    cancel: Cancel,
    assignment: Arc<Mutex<Option<Arc<Assignment>>>>,
    /// Locked while the witness moves, so that its proof waits for that.
    ahead: Arc<Mutex<Ahead>>,
}

/// Does what the state says and reports to its loop.
pub struct Executor {
    queue: Arc<dyn WorkerQueue>,
    provers: Provers,
    events: mpsc::Sender<Event>,
    outbox: mpsc::Sender<WorkerEvent>,
    work: HashMap<Key, Work>,
    card: Option<Card>,
}

impl Executor {
    pub fn new(
        queue: Arc<dyn WorkerQueue>,
        provers: Provers,
        events: mpsc::Sender<Event>,
        outbox: mpsc::Sender<WorkerEvent>,
        card: Option<Card>,
    ) -> Self {
        Self { queue, provers, events, outbox, work: HashMap::new(), card }
    }

    pub async fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Rewind => {
                tracing::warn!(
                    "the coordinator does not answer; its directives are read from their start again"
                );
                self.queue.rewind();
            }
            Effect::Prepare(entry) => self.prepare(entry),
            Effect::Stage(key, shape) => self.stage(key, shape),
            Effect::Prove(key, shape, engine) => self.prove(key, shape, engine),
            Effect::Forget(key) => {
                if let Some(work) = self.work.remove(&key) {
                    work.cancel.cancel();
                }
            }
            Effect::GiveUp(shape, why) => {
                tracing::error!(circuit = %shape, why, "this circuit is not proved any more");
            }
            Effect::Emit(event) => {
                count(&event);
                // Fails only when the emitter is gone, which ends after this loop.
                if self.outbox.send(event).await.is_err() {
                    tracing::error!("an event was lost: the task that sends them has ended");
                }
            }
            Effect::Finish(_) => {}
        }
    }

    fn prepare(&mut self, entry: JobEntry) {
        let key = (entry.job, entry.attempt);
        let place = Arc::clone(&self.work.entry(key).or_default().assignment);
        let (queue, events) = (Arc::clone(&self.queue), self.events.clone());
        tokio::spawn(async move {
            let bytes = match queue.input(entry.job).await {
                Ok(bytes) => bytes,
                Err(error) => return report(&events, Event::NoInput(key, error.to_string())).await,
            };
            let event = match assign(&entry, bytes, &events).await {
                Ok(assignment) => {
                    *place.lock() = Some(Arc::new(assignment));
                    Event::Prepared(key)
                }
                Err((kind, message)) => Event::PrepareFailed(key, kind, message),
            };
            report(&events, event).await;
        });
    }

    /// Moves the witness ahead of its proof. What goes wrong here goes wrong again, and is told, when it is proved.
    fn stage(&self, key: Key, shape: Shape) {
        let Some(work) = self.work.get(&key).cloned() else { return };
        let provers = self.provers.clone();
        tokio::task::spawn_blocking(move || {
            let mut ahead = work.ahead.lock();
            // A key that is not there is loaded for its proof, when the one under way needs no room any more.
            let Some(lease) = provers.resident(shape) else { return };
            let (Some(assignment), Some(loaded)) = (work.assignment.lock().clone(), lease.as_ref()) else {
                return;
            };
            if work.cancel.is_cancelled() || !matches!(*ahead, Ahead::Nowhere) {
                return;
            }
            match loaded.device.stage(Arc::clone(&assignment.witness)) {
                Ok(staged) => *ahead = Ahead::There(staged, Arc::downgrade(&loaded.device)),
                Err(error) => tracing::warn!(%error, "a witness could not be moved ahead of its proof"),
            }
        });
    }

    fn prove(&self, key: Key, shape: Shape, engine: Engine) {
        let work = self.work.get(&key).cloned().unwrap_or_default();
        let (provers, events) = (self.provers.clone(), self.events.clone());
        let card = self.card.clone().filter(|_| engine == Engine::Device);
        tokio::spawn(async move {
            let proved = on_a_thread(move || prove_now(&provers, shape, engine, &work, card.as_ref())).await;
            let result = proved.unwrap_or_else(|message| {
                let message = format!("PM-WORKER-030: the backend panicked: {message}");
                Err(ProveFailure::Other(FailureKind::Infrastructure, message))
            });
            let event = match result {
                Ok(proof) => Event::Proved(key, Box::new(proof)),
                Err(failure) => Event::ProveFailed(key, failure),
            };
            report(&events, event).await;
        });
    }
}

/// Checks and decodes an input, and makes its witness.
async fn assign(
    entry: &JobEntry,
    bytes: Vec<u8>,
    events: &mpsc::Sender<Event>,
) -> Result<Assignment, (FailureKind, String)> {
    let refused = |error: prepare::InputError| (error.kind(), error.to_string());
    let (named, entry) = ((entry.job, entry.attempt), entry.clone());
    let opened = on_a_thread(move || prepare::open(&entry, &bytes)).await;
    // The same input panics on every worker, so it is the input's failure.
    let panicked =
        |message| (FailureKind::Input, format!("PM-WORKER-031: the input makes the worker panic: {message}"));
    let input = opened.map_err(panicked)?.map_err(refused)?;
    wire::failpoint("worker.fetched");
    report(events, Event::Fetched(named)).await;
    let assignment = on_a_thread(move || prepare::assign(input)).await.map_err(panicked)?.map_err(refused)?;
    wire::failpoint("worker.witness");
    Ok(assignment)
}

/// `card`: whose energy counts.
fn prove_now(
    provers: &Provers,
    shape: Shape,
    engine: Engine,
    work: &Work,
    card: Option<&Card>,
) -> Result<Proof, ProveFailure> {
    let infrastructure =
        |error: LoadError| ProveFailure::Other(FailureKind::Infrastructure, error.to_string());
    let assignment = work.assignment.lock().clone().ok_or(ProveFailure::Cancelled)?;
    let staged = std::mem::replace(&mut *work.ahead.lock(), Ahead::Late);
    let lease = provers.take(shape).map_err(infrastructure)?.ok_or(ProveFailure::Cancelled)?;
    let loaded = lease.as_ref().ok_or(ProveFailure::Cancelled)?;
    let prover = match engine {
        Engine::Device => &*loaded.device,
        Engine::Processor => loaded.processor().map_err(infrastructure)?,
    };
    let meter = card.map(Card::meter);
    wire::failpoint("worker.proving");
    let proven = match (engine, staged) {
        (Engine::Device, Ahead::There(staged, by)) if std::ptr::eq(by.as_ptr(), prover) => {
            prover.prove_staged(staged, &work.cancel)
        }
        _ => prover.prove(&assignment.witness, &work.cancel),
    };
    match proven {
        Ok(proven) => {
            wire::failpoint("worker.proved");
            let t = proven.timings;
            let energy_millijoules = meter.and_then(EnergyMeter::stop);
            if let (Some(card), Some(millijoules)) = (card, energy_millijoules) {
                card.proved(millijoules, assignment.payments);
            }
            Ok(Proof {
                proof: ProofBytes(proven.proof.to_bytes()),
                public_inputs: assignment.public_inputs,
                sparse: t.sparse,
                ntt: t.ntt,
                // With what belongs to none of the five alone: their digits, and threads that wait for the last.
                msm: t.total.saturating_sub(t.sparse + t.ntt),
                finish: proven.finish,
                energy_millijoules,
            })
        }
        Err(error) => Err(failure(error, prover.backend().name())),
    }
}

fn failure(error: ProveError, backend: &'static str) -> ProveFailure {
    match error {
        ProveError::Backend(BackendError::Cancelled) => ProveFailure::Cancelled,
        ProveError::Invalid { .. } => {
            metrics::counter!("proofmill_worker_invalid_proofs_total", "backend" => backend).increment(1);
            tracing::error!(backend, "a proof does not verify");
            ProveFailure::Invalid(error.to_string())
        }
        ProveError::Backend(BackendError::Device { .. } | BackendError::Lost { .. }) => {
            metrics::counter!("proofmill_worker_device_failures_total", "backend" => backend).increment(1);
            tracing::error!(%error, "the device failed");
            ProveFailure::Device(error.to_string())
        }
        // The statement is false: native replay and circuit disagree about this input.
        ProveError::Backend(BackendError::Unsatisfied(_)) => {
            ProveFailure::Other(FailureKind::Input, error.to_string())
        }
        ProveError::Backend(
            BackendError::UnknownKey(_) | BackendError::OtherCircuit | BackendError::WitnessShape { .. },
        )
        | ProveError::VerifyingKey(_) => ProveFailure::Other(FailureKind::Infrastructure, error.to_string()),
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
pub async fn report(events: &mpsc::Sender<Event>, event: Event) {
    if events.send(event).await.is_err() {
        tracing::debug!("the worker has ended before a task of it");
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
        WorkerEvent::Register { .. } | WorkerEvent::Heartbeat { .. } | WorkerEvent::Left { .. } => {}
    }
}
