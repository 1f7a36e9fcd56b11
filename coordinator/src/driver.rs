//! The one loop that owns the cores: the single writer.
//!
//! A round: collect what waits (the group), decide and apply it, commit everything in **one** durable transaction, and only
//! then answer, promise and let effects out. If the commit fails nobody hears of success: the state is read again from the
//! store; if the store does not answer, everybody waits. Questions are answered in the same loop after the commit, so nobody sees what is not durable.
//!
//! The three flows of the design, by where their steps are:
//!
//! | flow | steps |
//! |---|---|
//! | send | `Handle::prepare_send` (balance check, find leaves, reply what to sign) → `Handle::submit` (check signatures in the pool) → `Driver::decide` (apply to the ledger, take a slot) → `Driver::commit` → `Handle::promise` → `State::seal_due` (tree updated, paths taken) → `FarmEffect::Publish` (enqueue) → `queue_task` (verify the proof) → `State::accept_proof` (the proven tree moves) → `chain_task` (gates, sign, record, broadcast, follow until final) |
//! | mint | `chain_task` (watch final blocks) → `State::take_in` → a mint place at `State::seal_due` → sealed, proven, final |
//! | withdraw | `Handle::prepare_withdraw` → `Handle::submit` → ledger → batch → proven → the contract credits the owner |
//!
//! | file | concept |
//! |---|---|
//! | `driver` | the loop, on a thread of its own |
//! | `replica` | a state that follows the log: at a start, as a standby; and when it is kept as a snapshot |
//! | `start` | from a store and adapters to a running coordinator |
//! | `handle` | the `Service` |
//! | `operate` | what operators do |
//! | `points` | where tests kill it around a commit |
//! | `chain_task` | eyes and hands on L1 |
//! | `telemetry` | metrics and spans |
//! | `queue_task` | eyes and hands on the queue |

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::{mpsc::UnboundedSender, oneshot};
use wire::{
    Attempt, Control, JobEntry, JobId, ProofBytes, Timings, WorkerEvent, WorkerId,
    queue::{EventCursor, Priority},
};

use crate::{
    chain::{Fees, Logs, SignedTx, SubmitBatch},
    farm::{FarmEffect, FarmEvent},
    ledger::Verified,
    refusal,
    service::{OperationView, UserError},
    settlement::{ChainView, SettlementEffect, SettlementRecord, Tried},
    state::{
        State, StateError,
        event::{Cursor, IntakeRecord, KeyRegistered, OperationId, OpsRecord, ProofAccepted, Stamped},
        intake::IntakeError,
        lines,
        rows::{Line, Row},
    },
    store::{Leadership, Store, StoreError},
    trace::TraceId,
    tree::TreeError,
};

pub(crate) mod chain_task;
pub(crate) mod handle;
mod operate;
mod points;
pub(crate) mod queue_task;
pub(crate) mod replica;
pub(crate) mod start;
pub(crate) mod telemetry;

pub use handle::Handle;
pub use operate::{Explanation, OperationExplanation, Overview};
pub use replica::SnapshotSettings;
use replica::{Replica, Snapshotter};
pub use start::{Parts, StartError, start};
use telemetry::Telemetry;

/// The loop looks at its clocks at least this often.
const TICK: Duration = Duration::from_millis(50);
/// A leader asks this often whether it still leads.
const LEAD_EVERY: Duration = Duration::from_secs(1);
/// A store that does not answer is asked again after this.
const RETRY: Duration = Duration::from_millis(100);

/// Something from the queue, proofs already verified.
pub(crate) enum FromQueue {
    Event(Box<WorkerEvent>),
    Proof {
        worker: WorkerId,
        job: JobId,
        attempt: Attempt,
        proof: Box<ProofBytes>,
        timings: Timings,
        valid: bool,
    },
    /// A proof that nobody waits for any more.
    Late {
        worker: WorkerId,
        job: JobId,
        attempt: Attempt,
    },
    /// The queue was wiped.
    Lost,
}

/// Something to be done on L1, with all it takes.
pub(crate) enum OnChain {
    Submit(Box<Submit>),
    /// Transactions of one nonce, newest first.
    Send(Vec<SignedTx>),
    Alarm(String),
    /// No batch can be settled.
    Halt(String),
}

/// Batches for one transaction.
pub(crate) struct Submit {
    /// In order, each with the public inputs of its proof.
    pub batches: Vec<(SubmitBatch, [bn254::Fr; 3])>,
    pub nonce: u64,
    pub fees: Fees,
    pub tried: Tried,
    /// Fees and gas limit of the transaction that this one replaces.
    pub replaces: Option<(Fees, u64)>,
}

type Question = Box<dyn FnOnce(&State) + Send>;

pub(crate) enum Message {
    /// With the id of its request, if it has one.
    Submit(Box<Verified>, Option<TraceId>, oneshot::Sender<Result<OperationView, UserError>>),
    Register(Box<KeyRegistered>, oneshot::Sender<Result<(), UserError>>),
    Ask(Question),
    TakeIn {
        to: Cursor,
        logs: Box<Logs>,
        reply: oneshot::Sender<Result<(), IntakeError>>,
    },
    /// Final blocks were replaced: everything behind `kept` as it is now.
    ReadAgain {
        kept: Option<Cursor>,
        to: Cursor,
        logs: Box<Logs>,
        reply: oneshot::Sender<Result<(), IntakeError>>,
    },
    Intake(IntakeRecord),
    Observed {
        view: Box<ChainView>,
        reply: oneshot::Sender<Vec<OnChain>>,
    },
    /// A transaction was signed, or a gate refused.
    Settled {
        record: Box<SettlementRecord>,
        reply: oneshot::Sender<()>,
    },
    /// A call on what is pending was refused while the contract stood at this batch.
    Hold {
        contract_at: u32,
    },
    FromQueue {
        events: Vec<FromQueue>,
        up_to: Option<EventCursor>,
    },
    /// An operator pauses or resumes.
    Ops(OpsRecord, oneshot::Sender<()>),
    Requeue(u32, oneshot::Sender<()>),
    Drain(WorkerId, oneshot::Sender<()>),
    /// The lines about a batch; the error in words.
    Lines(u32, oneshot::Sender<Result<Vec<Line>, String>>),
    /// Seals the open batch.
    Seal(oneshot::Sender<()>),
    Stop,
}

/// Something for the queue, in order.
pub(crate) enum ToQueue {
    Publish { entry: JobEntry, input: Arc<[u8]>, priority: Priority },
    Control { worker: WorkerId, control: Control },
    Retire { job: JobId, attempt: Attempt },
    Remove { job: JobId },
    Acknowledge(EventCursor),
}

/// What goes wrong without stopping the service; shown by `ready` and `system`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    pub intake_alarm: Option<String>,
    pub settlement_alarm: Option<String>,
    /// Why the contract would take no batch, as of the last look: nothing new is promised meanwhile.
    pub halted: Option<String>,
    /// Settlement cannot read the chain.
    pub chain_unreachable: Option<String>,
    /// The intake of deposits cannot.
    pub intake_unreachable: Option<String>,
    /// A node that is not used, since it contradicts the others.
    pub node_alarm: Option<String>,
    pub store_unreachable: Option<String>,
    /// Found in the background; the driver stops.
    pub damaged: Option<TreeError>,
    pub fatal: Option<String>,
    pub head: u64,
    pub final_block: u64,
    /// The term in which this one leads.
    pub term: u64,
}

#[derive(Clone, Default)]
pub(crate) struct SharedStatus {
    status: Arc<Mutex<Status>>,
    /// Whether the driver is to stop, also while it waits for its store.
    stop: Arc<AtomicBool>,
}

impl SharedStatus {
    pub fn set(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub fn get(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why nothing new may be promised, if so.
    pub fn halted(&self) -> Option<String> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).halted.clone()
    }

    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    pub fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

/// What happens after the commit, told whether it succeeded.
type AfterCommit = Box<dyn FnOnce(&State, Committed)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Committed {
    Yes,
    No,
}

pub(crate) struct Driver {
    pub state: State,
    pub store: Box<dyn Store>,
    pub snapshots: Option<Snapshotter>,
    pub inbox: crossbeam_channel::Receiver<Message>,
    pub outbox: UnboundedSender<ToQueue>,
    pub status: SharedStatus,
    pub commit_max: usize,
    pub commit_window: Duration,
    /// The number of the last event in the store.
    pub sequence: u64,
    pub asked_to_lead: Instant,
    /// The term in which the state was read.
    pub term: u64,
    pub clock: Clock,
    /// Waits before a store that does not answer is asked again.
    pub pause: Pause,
    pub last_now: u64,
    pub telemetry: Telemetry,
}

pub(crate) type Pause = Box<dyn Fn(Duration) + Send>;

/// Unix milliseconds; injected, so that a simulation can have its own time.
pub(crate) type Clock = Box<dyn Fn() -> u64 + Send>;

pub(crate) fn system_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Answers only if the round was committed; without an answer the caller asks again.
fn when_durable(reply: oneshot::Sender<()>) -> AfterCommit {
    Box::new(move |_, committed| {
        if committed == Committed::Yes {
            let _ = reply.send(());
        }
    })
}

/// One group on its way to the store.
#[derive(Default)]
struct Round {
    log: Vec<Stamped>,
    to_queue: Vec<ToQueue>,
    after: Vec<AfterCommit>,
    /// Requests whose operations are accepted.
    requests: Vec<(TraceId, OperationId)>,
}

impl Driver {
    /// Runs until `Stop`, until another coordinator leads, or until neither the store nor a fresh replay of it can be
    /// trusted.
    pub fn run(mut self) {
        self.status.set(|status| status.term = self.term);
        loop {
            let (group, stop) = self.collect();
            let ran = self.round(group).and_then(|()| self.keep_leading());
            if let Err(error) = ran {
                tracing::error!(%error, "the coordinator stops");
                self.status.set(|status| status.fatal = Some(error.to_string()));
                return;
            }
            if stop {
                break;
            }
            if let Some(snapshots) = &mut self.snapshots {
                snapshots.look(&self.state, self.sequence);
            }
        }
        if let Some(snapshots) = self.snapshots {
            snapshots.finish(&self.state, self.sequence);
        }
    }

    /// A leader that has nothing to write finds out too that another one leads.
    pub(crate) fn keep_leading(&mut self) -> Result<(), StartError> {
        if self.asked_to_lead.elapsed() < LEAD_EVERY {
            return Ok(());
        }
        if let Some(error) = self.status.get().damaged {
            return Err(StartError::State(error.into()));
        }
        self.asked_to_lead = Instant::now();
        self.tell();
        match self.store.lead() {
            Ok(Leadership::Leading { term }) => {
                self.status.set(|status| status.store_unreachable = None);
                self.in_term(term)
            }
            Ok(Leadership::Following { holder }) => Err(StoreError::Deposed { holder }.into()),
            Err(StoreError::Unavailable(reason)) => {
                self.status.set(|status| status.store_unreachable = Some(reason));
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Tells how things are.
    fn tell(&mut self) {
        let (now, status) = (self.now(), self.status.get());
        let lease = self.state.rules().farm.lease_ms;
        self.telemetry.look(&self.state, lease, status.head, self.term, now);
    }

    /// Unix milliseconds, never running backwards.
    fn now(&mut self) -> u64 {
        self.last_now = self.last_now.max((self.clock)());
        self.last_now
    }

    /// A term that was lost and won again may lie behind the term of another, whose events this state does not know.
    fn in_term(&mut self, term: u64) -> Result<(), StartError> {
        if term == self.term {
            return Ok(());
        }
        let mut foreign = false;
        let read = self.store.replay(self.sequence, &mut |_, _| {
            foreign = true;
            Ok(())
        });
        match read {
            Ok(_) if foreign => Err(StoreError::Deposed { holder: format!("before term {term}") }.into()),
            Ok(_) => {
                self.term = term;
                self.status.set(|status| status.term = term);
                Ok(())
            }
            // Asked again with the next look.
            Err(StoreError::Unavailable(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// What waits; if something is to be committed, a little longer for company.
    fn collect(&mut self) -> (Vec<Message>, bool) {
        let mut group = Vec::new();
        let Ok(first) = self.inbox.recv_timeout(TICK) else { return (group, false) };
        let deadline = Instant::now() + self.commit_window;
        let mut next = Some(first);
        let mut writes = false;
        while let Some(message) = next {
            if matches!(message, Message::Stop) {
                return (group, true);
            }
            writes |= matches!(message, Message::Submit(..));
            group.push(message);
            if group.len() >= self.commit_max {
                break;
            }
            next = self.inbox.try_recv().ok();
            if next.is_none() && writes {
                next = self.inbox.recv_deadline(deadline).ok();
            }
        }
        (group, false)
    }

    pub(crate) fn round(&mut self, group: Vec<Message>) -> Result<(), StartError> {
        let now = self.now();
        let mut round = Round::default();
        let size = group.len();
        self.decide(group, now, &mut round)?;
        let outcome = self.commit(&round.log)?;
        if outcome == Committed::Yes {
            for (request, id) in &round.requests {
                self.telemetry.accepted(*request, id, &self.state);
            }
        }
        if outcome == Committed::Yes && !round.log.is_empty() {
            metrics::histogram!("proofmill_commit_group_size").record(size as f64);
            self.telemetry.committed(&self.state, &round.log);
        }
        for after in round.after {
            after(&self.state, outcome);
        }
        if outcome == Committed::Yes {
            if !round.to_queue.is_empty() {
                wire::failpoint("round.answered");
            }
            for effect in round.to_queue {
                // The queue's task ends only when the coordinator does.
                let _ = self.outbox.send(effect);
            }
        }
        Ok(())
    }

    fn decide(&mut self, group: Vec<Message>, now: u64, round: &mut Round) -> Result<(), StateError> {
        if self.sequence == 0 {
            self.state.begin(now, &mut round.log)?;
        }
        self.state.led(self.term, now, &mut round.log)?;
        for message in group {
            self.message(message, now, round)?;
        }
        self.state.seal_due(now, &mut round.log)?;
        let effects = self.state.farm_step(FarmEvent::Tick, now, &mut round.log);
        self.farm_effects(effects, round);
        Ok(())
    }

    /// One durable transaction for the whole group. A store that does not answer is asked until it does: what waits is
    /// answered then, and the state stays right. One that refuses leaves nothing of the round, and the state is read again.
    fn commit(&mut self, log: &[Stamped]) -> Result<Committed, StartError> {
        let mut rows = self.state.take_rows();
        rows.extend(log.iter().flat_map(lines::lines).map(Row::Line));
        if log.is_empty() {
            return Ok(Committed::Yes);
        }
        let began = Instant::now();
        let mut outage = false;
        points::before_commit(log);
        loop {
            match self.store.commit(self.sequence + 1, log, &rows) {
                Ok(()) => break,
                Err(StoreError::Unavailable(reason)) if !self.status.stopping() => {
                    if !outage {
                        tracing::warn!(
                            reason,
                            "the store does not answer; the commit is repeated until it does"
                        );
                        outage = true;
                    }
                    metrics::counter!("proofmill_commit_retries_total").increment(1);
                    self.status.set(|status| status.store_unreachable = Some(reason));
                    (self.pause)(RETRY);
                    self.win_again()?;
                }
                Err(error @ (StoreError::Deposed { .. } | StoreError::Unavailable(_))) => {
                    return Err(error.into());
                }
                Err(error) => {
                    tracing::error!(%error, "nothing of this round is durable; the state is read again");
                    metrics::counter!("proofmill_commit_failures_total").increment(1);
                    self.reload()?;
                    return Ok(Committed::No);
                }
            }
        }
        points::after_commit(log);
        self.sequence += log.len() as u64;
        self.status.set(|status| status.store_unreachable = None);
        metrics::histogram!("proofmill_commit_seconds").record(began.elapsed().as_secs_f64());
        Ok(Committed::Yes)
    }

    /// While the store was away the lease may have run out. Winning it again is safe: had another written in between, the
    /// numbers of the events would not fit.
    fn win_again(&mut self) -> Result<(), StartError> {
        match self.store.lead() {
            Ok(Leadership::Leading { .. }) | Err(StoreError::Unavailable(_)) => Ok(()),
            Ok(Leadership::Following { holder }) => Err(StoreError::Deposed { holder }.into()),
            Err(error) => Err(error.into()),
        }
    }

    fn reload(&mut self) -> Result<(), StartError> {
        let rules = Arc::new(self.state.rules().clone());
        let snapshots = self.snapshots.as_ref().map(Snapshotter::snapshots);
        let mut replica = Replica::load(snapshots, rules);
        replica.catch_up_to_lead(self.store.as_mut())?;
        (self.state, self.sequence) = replica.into_state();
        Ok(())
    }

    fn message(&mut self, message: Message, now: u64, round: &mut Round) -> Result<(), StateError> {
        match message {
            Message::Submit(operation, request, reply) => {
                let halted = self.status.halted();
                let outcome = self.state.submit(&operation, halted.as_deref(), now, &mut round.log)?;
                if let (Ok(id), Some(request)) = (&outcome, request) {
                    round.requests.push((request, *id));
                }
                round.after.push(Box::new(move |state, committed| {
                    let view = |id| state.operation(&id).ok_or_else(refusal::unavailable);
                    let answer = match committed {
                        Committed::Yes => outcome.and_then(view),
                        Committed::No => Err(refusal::unavailable()),
                    };
                    let _ = reply.send(answer);
                }));
            }
            Message::Register(entry, reply) => {
                let outcome = self.state.register_key(*entry, now, &mut round.log)?;
                round.after.push(Box::new(move |_, committed| {
                    let answer =
                        if committed == Committed::Yes { outcome } else { Err(refusal::unavailable()) };
                    let _ = reply.send(answer);
                }));
            }
            Message::Ask(question) => round.after.push(Box::new(move |state, _| question(state))),
            Message::TakeIn { to, logs, reply } => {
                let outcome = self.state.take_in(to, *logs, now, &mut round.log)?;
                round.after.push(Box::new(move |_, committed| {
                    // Without an answer the task reads the cursor again.
                    if committed == Committed::Yes {
                        let _ = reply.send(outcome);
                    }
                }));
            }
            Message::ReadAgain { kept, to, logs, reply } => {
                let outcome = self.state.read_again(kept, to, *logs, now, &mut round.log)?;
                round.after.push(Box::new(move |_, committed| {
                    if committed == Committed::Yes {
                        let _ = reply.send(outcome);
                    }
                }));
            }
            Message::Intake(record) => self.state.note_intake(record, now, &mut round.log)?,
            Message::Observed { view, reply } => {
                let effects = self.state.settlement_step(&view, now, &mut round.log)?;
                round.after.push(Box::new(move |state, committed| {
                    if committed == Committed::Yes {
                        let wanted =
                            effects.into_iter().filter_map(|effect| on_chain(state, effect)).collect();
                        let _ = reply.send(wanted);
                    }
                }));
            }
            Message::Hold { contract_at } => self.state.settlement.hold(contract_at),
            Message::Settled { record, reply } => {
                self.state.settled(*record, now, &mut round.log)?;
                round.after.push(Box::new(move |_, committed| {
                    if committed == Committed::Yes {
                        let _ = reply.send(());
                    }
                }));
            }
            Message::FromQueue { events, up_to } => {
                for event in events {
                    self.worker_event(event, now, round)?;
                }
                round.to_queue.extend(up_to.map(ToQueue::Acknowledge));
            }
            Message::Ops(record, reply) => {
                self.state.ops(record, now, &mut round.log)?;
                round.after.push(when_durable(reply));
            }
            Message::Requeue(batch_no, reply) => {
                let effects = self.state.requeue(batch_no, now, &mut round.log);
                self.farm_effects(effects, round);
                round.after.push(when_durable(reply));
            }
            Message::Drain(worker, reply) => {
                let effects = self.state.drain(worker, now, &mut round.log);
                self.farm_effects(effects, round);
                round.after.push(when_durable(reply));
            }
            Message::Lines(batch_no, reply) => {
                // What this round commits is not asked for: the caller asked before it.
                let _ = reply.send(self.store.lines(batch_no).map_err(|error| error.to_string()));
            }
            Message::Seal(reply) => {
                self.state.seal_now(now, &mut round.log)?;
                round.after.push(Box::new(move |_, _| {
                    let _ = reply.send(());
                }));
            }
            Message::Stop => {}
        }
        Ok(())
    }

    fn worker_event(&mut self, event: FromQueue, now: u64, round: &mut Round) -> Result<(), StateError> {
        let effects = match event {
            FromQueue::Late { worker, job, attempt } => {
                if let Some(batch_no) = job.batch_no() {
                    self.state.late_proof(batch_no, attempt.0, worker, now, &mut round.log);
                }
                return Ok(());
            }
            FromQueue::Lost => self.state.farm_step(FarmEvent::QueueLost, now, &mut round.log),
            FromQueue::Event(event) => self.state.farm_step(FarmEvent::Worker(event), now, &mut round.log),
            FromQueue::Proof { worker, job, attempt, valid: false, .. } => {
                metrics::counter!("proofmill_proofs_refused_total").increment(1);
                tracing::warn!(%worker, %job, %attempt, "PM-FARM-001: a proof does not verify; the job is tried again");
                self.state.farm_step(FarmEvent::ProofRefused { worker, job, attempt }, now, &mut round.log)
            }
            FromQueue::Proof { worker, job, attempt, proof, timings, valid: true } => {
                let Some(batch_no) = job.batch_no() else { return Ok(()) };
                if let Some(millijoules) =
                    timings.energy_millijoules.filter(|_| self.state.wants_proof(batch_no))
                {
                    let (worker, payments) = (worker.clone(), self.state.slots_used(batch_no));
                    let energy = FarmEvent::ProofEnergy { worker, millijoules, payments };
                    let effects = self.state.farm_step(energy, now, &mut round.log);
                    self.farm_effects(effects, round);
                }
                if self.state.wants_proof(batch_no)
                    && let Some(batch) = self.state.batch(batch_no)
                {
                    self.telemetry.proved(batch.shape.name(), &worker, &timings);
                }
                let accepted = ProofAccepted {
                    batch_no,
                    attempt: attempt.0,
                    worker,
                    proof: proof.0.to_vec(),
                    prove_ms: u64::try_from(timings.total.as_millis()).unwrap_or(u64::MAX),
                    witness_ms: u64::try_from(timings.witness.as_millis()).unwrap_or(u64::MAX),
                };
                self.state.accept_proof(accepted, now, &mut round.log)?
            }
        };
        self.farm_effects(effects, round);
        Ok(())
    }

    fn farm_effects(&self, effects: Vec<FarmEffect>, round: &mut Round) {
        round.to_queue.extend(effects.into_iter().filter_map(|effect| match effect {
            FarmEffect::Record(_) => None,
            FarmEffect::Publish { entry, priority } => {
                let input = self.state.batch(entry.job.batch_no()?)?.input.clone()?;
                Some(ToQueue::Publish { entry, input, priority })
            }
            FarmEffect::Control { worker, control } => {
                if let Control::Refuse { shape, .. } = control {
                    tracing::warn!(%worker, circuit = %shape, "PM-FARM-002: the worker's key is not the contract's; it gets no jobs of the circuit");
                }
                Some(ToQueue::Control { worker, control })
            }
            FarmEffect::Retire { job, attempt } => Some(ToQueue::Retire { job, attempt }),
            FarmEffect::Remove { job } => Some(ToQueue::Remove { job }),
        }));
    }
}

fn on_chain(state: &State, effect: SettlementEffect) -> Option<OnChain> {
    match effect {
        SettlementEffect::Record(_) => None,
        SettlementEffect::Submit { batch_no, last, nonce, fees, tried, replaces } => {
            let batches = (batch_no..=last)
                .map(|no| Some((state.submission(no)?, state.batch(no)?.public_inputs)))
                .collect::<Option<_>>()?;
            Some(OnChain::Submit(Box::new(Submit { batches, nonce, fees, tried, replaces })))
        }
        SettlementEffect::Send { batch_no, tx } => {
            let before = state.settlement.transactions(batch_no).iter().rev().filter(|known| **known != tx);
            Some(OnChain::Send(std::iter::once(tx.clone()).chain(before.cloned()).collect()))
        }
        SettlementEffect::Alarm { batch_no, reason } => {
            Some(OnChain::Alarm(format!("batch {batch_no}: {reason}")))
        }
        SettlementEffect::Halt { batch_no, reason } => {
            Some(OnChain::Halt(format!("batch {batch_no}: {reason}")))
        }
    }
}

impl From<StateError> for StartError {
    fn from(error: StateError) -> Self {
        StartError::State(error)
    }
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        StartError::Store(error)
    }
}

#[cfg(test)]
mod tests;
