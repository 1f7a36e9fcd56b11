//! The worker's decisions: what to prepare, prove, give back and repeat, and when to leave.
//!
//! Pure: no clock, no I/O. [`State::step`] gets what happened and the time since the worker started, and says what to do.
//! At most two attempts are held: one that the backend proves and one whose witness is made meanwhile. Each held attempt
//! ends in exactly one of `Proved`, `Failed`, `HandedBack` unless the coordinator closes it; a result for an attempt that
//! is no longer held is dropped.
//! `contact` repeats what the coordinator must hear until it answers, `trust` holds what a wrong proof or a failed device
//! means for the card, `keys` what the worker cannot prove, and why.

mod contact;
mod keys;
mod trust;

use std::time::Duration;

use bn254::Fr;
use circuits::shape::Shape;
use wire::{
    Attempt, Control, FailureKind, InFlight, JobEntry, JobId, ProofBytes, Registration, Stage, Timings,
    WorkerEvent,
};

use crate::card::Condition;
use contact::Contact;
use trust::Trust;

/// An attempt of a job.
pub type Key = (JobId, Attempt);

/// Attempts held at once: one in the backend, one behind it.
pub const SLOTS: u8 = 2;
/// Proofs of one attempt that may be wrong before the processor proves it, or before it fails where that did them.
const WRONG_PROOFS: u32 = 2;
/// Times the device may fail at one attempt before it fails.
const DEVICE_FAILURES: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How long a proof under way may take once the worker was told to stop.
    pub drain: Duration,
    /// How long a card that fails and fails gets no work.
    pub rest: Duration,
    /// Bytes that the process may use.
    pub memory: u64,
}

/// What proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The worker's backend.
    Device,
    /// The processor, for what the card got wrong.
    Processor,
}

/// A verified proof with the times of its backend.
#[derive(Clone, Debug, PartialEq)]
pub struct Proof {
    pub proof: ProofBytes,
    pub public_inputs: [Fr; 3],
    pub sparse: Duration,
    pub ntt: Duration,
    pub msm: Duration,
    pub finish: Duration,
    /// What the card used meanwhile, where it tells.
    pub energy_millijoules: Option<u64>,
}

/// Why the backend delivered no proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProveFailure {
    Cancelled,
    /// A proof came that does not verify.
    Invalid(String),
    /// The device failed: a crash, no memory, a lost card.
    Device(String),
    Other(FailureKind, String),
}

#[derive(Clone, Debug)]
pub enum Event {
    Started,
    Control(Control),
    /// `Control::Job`, with the bytes that the process uses now.
    Job {
        entry: JobEntry,
        memory_used: u64,
    },
    Fetched(Key),
    Prepared(Key),
    PrepareFailed(Key, FailureKind, String),
    /// The input could not be had, for no fault of the worker or the job.
    NoInput(Key, String),
    Proved(Key, Box<Proof>),
    ProveFailed(Key, ProveFailure),
    /// What whoever watches the card says.
    Condition(Condition),
    Tick,
    Drain,
}

#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a handful per batch, carried out at once")]
pub enum Effect {
    /// Read the directives from the start of their stream again.
    Rewind,
    /// Get, check and decode the input, make the witness; answered by `Fetched`, `Prepared`, `PrepareFailed`, `NoInput`.
    Prepare(JobEntry),
    /// Move the witness to the device while it proves another one. No answer.
    Stage(Key, Shape),
    /// Answered by `Proved` or `ProveFailed`.
    Prove(Key, Shape, Engine),
    /// Stop working on the attempt and drop what was made for it.
    Forget(Key),
    /// This circuit is not proved any more; say why.
    GiveUp(Shape, String),
    Emit(WorkerEvent),
    /// Nothing is held and nothing will be: end. The reason, if it is not that somebody asked.
    Finish(Option<String>),
}

#[derive(Clone, Debug)]
struct Held {
    entry: JobEntry,
    stage: Stage,
    received: Duration,
    started: Duration,
    fetched: Duration,
    prepared: Duration,
    engine: Engine,
    wrong_proofs: u32,
    device_failures: u32,
}

impl Held {
    fn key(&self) -> Key {
        (self.entry.job, self.entry.attempt)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Mode {
    Working,
    /// Why, if nobody asked for it.
    Draining {
        until: Duration,
        why: Option<String>,
    },
    Finished,
}

#[derive(Clone, Debug)]
pub struct State {
    rules: Rules,
    registration: Registration,
    mode: Mode,
    held: Vec<Held>,
    contact: Contact,
    trust: Trust,
    /// Circuits whose keys the coordinator refused, and why.
    refused: Vec<(Shape, String)>,
    /// What is being prepared and proved right now, held or cancelled meanwhile: both are done one at a time.
    preparing: Option<Key>,
    proving: Option<Key>,
}

impl State {
    pub fn new(rules: Rules, registration: Registration) -> Self {
        Self {
            trust: Trust::new(registration.backend != "cpu"),
            rules,
            registration,
            mode: Mode::Working,
            held: Vec::new(),
            contact: Contact::default(),
            refused: Vec::new(),
            preparing: None,
            proving: None,
        }
    }

    /// What a heartbeat reports.
    pub fn in_flight(&self) -> Vec<InFlight> {
        let in_flight =
            |held: &Held| InFlight { job: held.entry.job, attempt: held.entry.attempt, stage: held.stage };
        self.held.iter().map(in_flight).collect()
    }

    /// Why the card gets no work now.
    pub fn sick(&self, now: Duration) -> Option<&str> {
        self.trust.sick(now)
    }

    pub fn step(&mut self, event: Event, now: Duration) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Started => self.contact(now, &mut effects),
            Event::Control(control) => {
                self.contact.heard(now);
                self.control(control, now, &mut effects);
            }
            Event::Job { entry, memory_used } => {
                self.contact.heard(now);
                self.receive(entry, memory_used, now, &mut effects);
            }
            Event::Fetched(key) => {
                if let Some(held) = self.find(key) {
                    held.stage = Stage::Witness;
                    held.fetched = now;
                }
            }
            Event::Prepared(key) => {
                self.preparing = None;
                match self.find(key) {
                    Some(held) => {
                        held.stage = Stage::Ready;
                        held.prepared = now;
                        let shape = held.entry.shape;
                        if self.proving.is_some() {
                            effects.push(Effect::Stage(key, shape));
                        }
                    }
                    None => effects.push(Effect::Forget(key)),
                }
            }
            Event::PrepareFailed(key, kind, message) => {
                self.preparing = None;
                self.fail(key, kind, message, now, &mut effects);
            }
            Event::NoInput(key, message) => {
                self.preparing = None;
                self.hand_back(&message, |held| held.key() == key, now, &mut effects);
            }
            Event::Proved(key, proof) => {
                self.proving = None;
                self.proved(key, &proof, now, &mut effects);
            }
            Event::ProveFailed(key, failure) => {
                self.proving = None;
                self.prove_failed(key, failure, now, &mut effects);
            }
            Event::Condition(condition) => {
                self.trust.watch(condition);
                self.spare_the_sick(now, &mut effects);
            }
            Event::Tick => self.tick(now, &mut effects),
            Event::Drain => self.drain(now, None, &mut effects),
        }
        self.advance(now, &mut effects);
        effects
    }

    fn control(&mut self, control: Control, now: Duration, effects: &mut Vec<Effect>) {
        match control {
            Control::Registered => self.contact.registered(now),
            Control::Reregister => {
                self.contact.forgotten();
                self.contact(now, effects);
            }
            // It comes as `Event::Job`, which knows how much memory is used.
            Control::Job(entry) => self.receive(entry, 0, now, effects),
            Control::Close { job, attempt } => {
                self.contact.close((job, attempt));
                if self.take((job, attempt)).is_some() {
                    effects.push(Effect::Forget((job, attempt)));
                }
            }
            Control::Drain => self.drain(now, None, effects),
            Control::Refuse { shape, verifying_key } => self.give_up(shape, &verifying_key, now, effects),
            Control::NameTaken => {
                let why = "PM-WORKER-014: another live process has this worker's name; give this one another --name";
                self.drain(now, Some(why.to_owned()), effects);
            }
        }
    }

    fn find(&mut self, key: Key) -> Option<&mut Held> {
        self.held.iter_mut().find(|held| held.key() == key)
    }

    fn take(&mut self, key: Key) -> Option<Held> {
        let place = self.held.iter().position(|held| held.key() == key)?;
        Some(self.held.remove(place))
    }

    fn receive(&mut self, entry: JobEntry, memory_used: u64, now: Duration, effects: &mut Vec<Effect>) {
        let key @ (job, attempt) = (entry.job, entry.attempt);
        if self.find(key).is_some() {
            return;
        }
        if let Some(event) = self.contact.ended(key, now) {
            effects.push(Effect::Emit(event));
            return;
        }
        let refusal = self.refusal(&entry, memory_used);
        let unwilling = match self.mode {
            Mode::Working if self.held.len() >= usize::from(SLOTS) => {
                Some("the worker holds as many attempts as it can".to_owned())
            }
            Mode::Working => self.trust.sick(now).map(str::to_owned),
            Mode::Draining { .. } | Mode::Finished => Some("the worker is stopping".to_owned()),
        };
        if let Some(message) = unwilling {
            self.end(WorkerEvent::HandedBack { job, attempt, message }, now, effects);
        } else if let Some(message) = refusal {
            let kind = FailureKind::Infrastructure;
            self.end(WorkerEvent::Failed { job, attempt, kind, message }, now, effects);
        } else {
            self.held.push(Held {
                entry,
                stage: Stage::Queued,
                received: now,
                started: now,
                fetched: now,
                prepared: now,
                engine: Engine::Device,
                wrong_proofs: 0,
                device_failures: 0,
            });
        }
    }

    /// Reports how an attempt ended, and again until the coordinator answers.
    fn end(&mut self, event: WorkerEvent, now: Duration, effects: &mut Vec<Effect>) {
        self.contact.repeat(&event, now);
        effects.push(Effect::Emit(event));
    }

    fn fail(
        &mut self,
        key: Key,
        kind: FailureKind,
        message: String,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        effects.push(Effect::Forget(key));
        if self.take(key).is_some() {
            let (job, attempt) = key;
            self.end(WorkerEvent::Failed { job, attempt, kind, message }, now, effects);
        }
    }

    fn proved(&mut self, key: Key, proof: &Proof, now: Duration, effects: &mut Vec<Effect>) {
        effects.push(Effect::Forget(key));
        let Some(held) = self.take(key) else { return };
        let suspect = match held.engine {
            Engine::Device => self.trust.proved(held.wrong_proofs),
            Engine::Processor => Some(self.trust.replaced(held.wrong_proofs)),
        };
        let timings = Timings {
            queue_wait: held.started - held.received,
            fetch: held.fetched - held.started,
            witness: held.prepared - held.fetched,
            sparse: proof.sparse,
            ntt: proof.ntt,
            msm: proof.msm,
            finish: proof.finish,
            total: now - held.received,
            energy_millijoules: proof.energy_millijoules,
        };
        let (job, attempt) = key;
        self.end(WorkerEvent::Proved { job, attempt, proof: proof.proof, timings }, now, effects);
        if let Some(why) = suspect {
            self.drain(now, Some(why), effects);
        }
    }

    fn prove_failed(&mut self, key: Key, failure: ProveFailure, now: Duration, effects: &mut Vec<Effect>) {
        let has_fallback = self.trust.has_fallback();
        if let ProveFailure::Device(reason) = &failure {
            // Held or not: the device failed.
            self.trust.failed(reason, now, self.rules.rest);
        }
        let Some(held) = self.find(key) else {
            // Cancelled by this worker, which took the attempt off its list when it asked for that.
            effects.push(Effect::Forget(key));
            self.spare_the_sick(now, effects);
            return;
        };
        match failure {
            ProveFailure::Invalid(message) => {
                held.wrong_proofs += 1;
                match held.engine {
                    Engine::Device if held.wrong_proofs < WRONG_PROOFS => held.stage = Stage::Ready,
                    Engine::Device if has_fallback => {
                        held.stage = Stage::Ready;
                        held.engine = Engine::Processor;
                    }
                    _ => self.fail(key, FailureKind::Proof, message, now, effects),
                }
            }
            ProveFailure::Device(message) => {
                held.device_failures += 1;
                if held.device_failures < DEVICE_FAILURES {
                    held.stage = Stage::Ready;
                } else {
                    self.fail(key, FailureKind::Infrastructure, message, now, effects);
                }
                self.spare_the_sick(now, effects);
            }
            ProveFailure::Other(kind, message) => self.fail(key, kind, message, now, effects),
            ProveFailure::Cancelled => {
                let message = "the backend stopped although nobody asked".to_owned();
                self.fail(key, FailureKind::Infrastructure, message, now, effects);
            }
        }
    }

    /// A sick card finishes its proof; others get the rest.
    fn spare_the_sick(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if let Some(why) = self.trust.sick(now).map(str::to_owned) {
            let spared = |held: &Held| held.stage != Stage::Proving && held.engine == Engine::Device;
            self.hand_back(&why, spared, now, effects);
        }
    }

    fn tick(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        self.contact(now, effects);
        if matches!(self.mode, Mode::Draining { until, .. } if now >= until) {
            self.hand_back("the worker is stopping and the proof takes too long", |_| true, now, effects);
        }
    }

    /// Keeps the proof under way and gives everything else back.
    fn drain(&mut self, now: Duration, why: Option<String>, effects: &mut Vec<Effect>) {
        if self.mode == Mode::Working {
            self.mode = Mode::Draining { until: now + self.rules.drain, why };
            self.hand_back("the worker is stopping", |held| held.stage != Stage::Proving, now, effects);
        }
    }

    fn hand_back(
        &mut self,
        message: &str,
        which: impl Fn(&Held) -> bool,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let back: Vec<Held> = self.held.extract_if(.., |held| which(held)).collect();
        for held in back {
            let (job, attempt) = held.key();
            effects.push(Effect::Forget(held.key()));
            self.end(WorkerEvent::HandedBack { job, attempt, message: message.to_owned() }, now, effects);
        }
    }

    /// Starts whatever can be started now.
    fn advance(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if self.preparing.is_none()
            && let Some(held) = self.held.iter_mut().find(|held| held.stage == Stage::Queued)
        {
            held.stage = Stage::Fetching;
            held.started = now;
            self.preparing = Some(held.key());
            effects.push(Effect::Prepare(held.entry.clone()));
        }
        if self.proving.is_none()
            && let Some(held) = self.held.iter_mut().find(|held| held.stage == Stage::Ready)
        {
            held.stage = Stage::Proving;
            self.proving = Some(held.key());
            effects.push(Effect::Prove(held.key(), held.entry.shape, held.engine));
        }
        match &self.mode {
            Mode::Working => {}
            Mode::Draining { until, why } => {
                let idle = self.preparing.is_none() && self.proving.is_none();
                if self.held.is_empty() && (idle || now >= *until) {
                    let why = why.clone();
                    let message = why.clone().unwrap_or_else(|| "stopped".to_owned());
                    effects.push(Effect::Emit(WorkerEvent::Left { message }));
                    effects.push(Effect::Finish(why));
                    self.mode = Mode::Finished;
                }
            }
            Mode::Finished => {}
        }
    }
}
