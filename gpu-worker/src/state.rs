//! The worker's decisions: what to claim, prepare, prove, give back, and when to leave.
//!
//! Pure: no clock, no I/O. [`State::step`] gets what happened and the time since the worker started, and says what to do.
//! At most two attempts are held: one that the backend proves and one whose witness is made meanwhile. Each held attempt
//! ends in exactly one of `Proved`, `Failed`, `HandedBack`; a result for an attempt that is no longer held is dropped.
//! A busy worker only peeks at the queue for the next attempt and never waits there: an idle one, which does, comes first.
//! `trust` holds what a wrong proof or a failed device means for the card, `keys` what the worker cannot prove, and why.

mod keys;
mod trust;

use std::time::Duration;

use bn254::Fr;
use circuits::shape::Shape;
use wire::{
    Attempt, Control, FailureKind, Hold, JobEntry, JobId, ProofBytes, Registration, Stage, Timings,
    WorkerEvent, WorkerId,
};

use crate::card::Condition;
use trust::Trust;

/// An attempt of a job.
pub type Key = (JobId, Attempt);

/// Attempts held at once: one in the backend, one behind it.
const MAX_HELD: usize = 2;
/// Proofs of one attempt that may be wrong before the processor proves it, or before it fails where that did them.
const WRONG_PROOFS: u32 = 2;
/// Times the device may fail at one attempt before it fails.
const DEVICE_FAILURES: u32 = 2;
/// How long a busy worker that found the queue empty leaves what comes to idle ones.
const PEEK_PAUSE: Duration = Duration::from_millis(250);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How long a claim waits for its grant.
    pub grant_wait: Duration,
    /// How long to wait after a claim that could not reach the queue.
    pub claim_backoff: Duration,
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
    /// A claim ended, with an entry or without. `memory_used`: bytes the process uses now.
    Claimed {
        entry: Option<JobEntry>,
        memory_used: u64,
    },
    ClaimFailed,
    Control(Control),
    Fetched(Key),
    Prepared(Key),
    PrepareFailed(Key, FailureKind, String),
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
    /// Wait for an entry of one of the circuits; answered by `Claimed` or `ClaimFailed`.
    Claim,
    /// Take one only if it is there: the backend is busy, and others may be idle. Answered as `Claim`.
    Peek,
    /// Get, check and decode the input, make the witness; answered by `Fetched`, `Prepared`, `PrepareFailed`.
    Prepare(JobEntry),
    /// Move the witness to the device while it proves another one. No answer.
    Stage(Key, Shape),
    /// Answered by `Proved` or `ProveFailed`.
    Prove(Key, Shape, Engine),
    /// Stop working on the attempt and drop what was made for it.
    Forget(Key),
    /// Claim no more entries of this circuit, and say why.
    GiveUp(Shape, String),
    Emit(WorkerEvent),
    /// Nothing is held and nothing will be: end. The reason, if it is not that somebody asked.
    Finish(Option<String>),
}

#[derive(Clone, Debug)]
struct Held {
    entry: JobEntry,
    stage: Stage,
    claimed: Duration,
    granted: Duration,
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
    id: WorkerId,
    rules: Rules,
    registration: Registration,
    mode: Mode,
    held: Vec<Held>,
    claiming: bool,
    claim_after: Duration,
    peek_after: Duration,
    trust: Trust,
    /// Circuits whose keys the coordinator refused, and why.
    refused: Vec<(Shape, String)>,
    /// What is being prepared and proved right now, held or cancelled meanwhile: both are done one at a time.
    preparing: Option<Key>,
    proving: Option<Key>,
}

impl State {
    pub fn new(id: WorkerId, rules: Rules, registration: Registration) -> Self {
        Self {
            trust: Trust::new(registration.backend != "cpu"),
            id,
            rules,
            registration,
            mode: Mode::Working,
            held: Vec::new(),
            claiming: false,
            claim_after: Duration::ZERO,
            peek_after: Duration::ZERO,
            refused: Vec::new(),
            preparing: None,
            proving: None,
        }
    }

    /// What a heartbeat reports.
    pub fn holds(&self) -> Vec<Hold> {
        let hold = |held: &Held| Hold { job: held.entry.job, attempt: held.entry.attempt, stage: held.stage };
        self.held.iter().map(hold).collect()
    }

    /// Why the card gets no work now.
    pub fn sick(&self, now: Duration) -> Option<&str> {
        self.trust.sick(now)
    }

    pub fn step(&mut self, event: Event, now: Duration) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Started => effects.push(self.introduction(true)),
            Event::Claimed { entry, memory_used } => {
                self.claiming = false;
                match entry {
                    Some(entry) => self.claimed(entry, memory_used, now, &mut effects),
                    None if !self.held.is_empty() => self.peek_after = now + PEEK_PAUSE,
                    None => {}
                }
            }
            Event::ClaimFailed => {
                self.claiming = false;
                self.claim_after = now + self.rules.claim_backoff;
            }
            Event::Control(Control::Grant { job, attempt }) => {
                if let Some(held) = self.find((job, attempt)).filter(|held| held.stage == Stage::Waiting) {
                    held.stage = Stage::Fetching;
                    held.granted = now;
                }
            }
            Event::Control(Control::Cancel { job, attempt }) => {
                self.hand_back(
                    "cancelled by the coordinator",
                    |held| held.key() == (job, attempt),
                    &mut effects,
                );
            }
            Event::Control(Control::Introduce) => effects.push(self.introduction(false)),
            Event::Control(Control::Drain) => self.drain(now, None, &mut effects),
            Event::Control(Control::Refuse { shape, verifying_key }) => {
                self.give_up(shape, &verifying_key, now, &mut effects);
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
                self.fail(key, kind, message, &mut effects);
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

    fn introduction(&self, fresh: bool) -> Effect {
        let (worker, registration) = (self.id.clone(), self.registration.clone());
        Effect::Emit(WorkerEvent::Register { worker, registration, fresh })
    }

    fn find(&mut self, key: Key) -> Option<&mut Held> {
        self.held.iter_mut().find(|held| held.key() == key)
    }

    fn take(&mut self, key: Key) -> Option<Held> {
        let place = self.held.iter().position(|held| held.key() == key)?;
        Some(self.held.remove(place))
    }

    fn claimed(&mut self, entry: JobEntry, memory_used: u64, now: Duration, effects: &mut Vec<Effect>) {
        let (worker, job, attempt) = (self.id.clone(), entry.job, entry.attempt);
        let refusal = self.refusal(&entry, memory_used);
        let unwilling = match self.mode {
            Mode::Working => self.trust.sick(now).map(str::to_owned),
            Mode::Draining { .. } | Mode::Finished => Some("the worker is stopping".to_owned()),
        };
        if let Some(message) = unwilling {
            effects.push(Effect::Emit(WorkerEvent::HandedBack { worker, job, attempt, message }));
        } else if let Some(message) = refusal {
            let kind = FailureKind::Infrastructure;
            effects.push(Effect::Emit(WorkerEvent::Failed { worker, job, attempt, kind, message }));
        } else if self.find((job, attempt)).is_none() {
            effects.push(Effect::Emit(WorkerEvent::Claimed { worker, job, attempt }));
            self.held.push(Held {
                entry,
                stage: Stage::Waiting,
                claimed: now,
                granted: now,
                fetched: now,
                prepared: now,
                engine: Engine::Device,
                wrong_proofs: 0,
                device_failures: 0,
            });
        }
    }

    fn fail(&mut self, key: Key, kind: FailureKind, message: String, effects: &mut Vec<Effect>) {
        effects.push(Effect::Forget(key));
        if self.take(key).is_some() {
            let (worker, (job, attempt)) = (self.id.clone(), key);
            effects.push(Effect::Emit(WorkerEvent::Failed { worker, job, attempt, kind, message }));
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
            queue_wait: held.granted - held.claimed,
            fetch: held.fetched - held.granted,
            witness: held.prepared - held.fetched,
            sparse: proof.sparse,
            ntt: proof.ntt,
            msm: proof.msm,
            finish: proof.finish,
            total: now - held.claimed,
            energy_millijoules: proof.energy_millijoules,
        };
        effects.push(Effect::Emit(WorkerEvent::Proved {
            worker: self.id.clone(),
            job: key.0,
            attempt: key.1,
            proof: proof.proof,
            public_inputs: proof.public_inputs,
            timings,
        }));
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
                    _ => self.fail(key, FailureKind::Proof, message, effects),
                }
            }
            ProveFailure::Device(message) => {
                held.device_failures += 1;
                if held.device_failures < DEVICE_FAILURES {
                    held.stage = Stage::Ready;
                } else {
                    self.fail(key, FailureKind::Infrastructure, message, effects);
                }
                self.spare_the_sick(now, effects);
            }
            ProveFailure::Other(kind, message) => self.fail(key, kind, message, effects),
            ProveFailure::Cancelled => {
                let message = "the backend stopped although nobody asked".to_owned();
                self.fail(key, FailureKind::Infrastructure, message, effects);
            }
        }
    }

    /// A sick card finishes its proof; others get the rest.
    fn spare_the_sick(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if let Some(why) = self.trust.sick(now).map(str::to_owned) {
            let spared = |held: &Held| held.stage != Stage::Proving && held.engine == Engine::Device;
            self.hand_back(&why, spared, effects);
        }
    }

    fn tick(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let grant_wait = self.rules.grant_wait;
        self.hand_back(
            "no grant came",
            |held| held.stage == Stage::Waiting && now >= held.claimed + grant_wait,
            effects,
        );
        if matches!(self.mode, Mode::Draining { until, .. } if now >= until) {
            self.hand_back("the worker is stopping and the proof takes too long", |_| true, effects);
        }
    }

    /// Keeps the proof under way and gives everything else back.
    fn drain(&mut self, now: Duration, why: Option<String>, effects: &mut Vec<Effect>) {
        if self.mode == Mode::Working {
            self.mode = Mode::Draining { until: now + self.rules.drain, why };
            self.hand_back("the worker is stopping", |held| held.stage != Stage::Proving, effects);
        }
    }

    fn hand_back(&mut self, message: &str, which: impl Fn(&Held) -> bool, effects: &mut Vec<Effect>) {
        for held in self.held.extract_if(.., |held| which(held)) {
            let (worker, (job, attempt)) = (self.id.clone(), held.key());
            effects.push(Effect::Forget(held.key()));
            let message = message.to_owned();
            effects.push(Effect::Emit(WorkerEvent::HandedBack { worker, job, attempt, message }));
        }
    }

    /// Starts whatever can be started now.
    fn advance(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if self.preparing.is_none()
            && let Some(held) = self.held.iter().find(|held| held.stage == Stage::Fetching)
        {
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
            Mode::Working => {
                // Ahead of the backend by one: the next witness is made while it proves.
                let wanted =
                    self.held.len() < MAX_HELD && self.held.iter().all(|held| held.stage == Stage::Proving);
                let able = self.trust.sick(now).is_none() && now >= self.claim_after;
                let look = if self.held.is_empty() { Effect::Claim } else { Effect::Peek };
                let patient = look == Effect::Peek && now < self.peek_after;
                if wanted && able && !patient && !self.claiming {
                    self.claiming = true;
                    effects.push(look);
                }
            }
            Mode::Draining { until, why } => {
                let idle = self.preparing.is_none() && self.proving.is_none();
                if self.held.is_empty() && (idle && !self.claiming || now >= *until) {
                    let (worker, why) = (self.id.clone(), why.clone());
                    let message = why.clone().unwrap_or_else(|| "stopped".to_owned());
                    effects.push(Effect::Emit(WorkerEvent::Left { worker, message }));
                    effects.push(Effect::Finish(why));
                    self.mode = Mode::Finished;
                }
            }
            Mode::Finished => {}
        }
    }
}
