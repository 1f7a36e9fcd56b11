//! The one loop that owns the cores: the single writer.
//!
//! A round: collect what waits (the group), decide and apply it, commit everything in **one** durable transaction, and only
//! then show it to readers, answer, promise and let effects out. If the commit fails nobody hears of success: the state is read again from the
//! store; if the store does not answer, everybody waits. Readers look at views (`crate::views`) and
//! at the store's projections, on threads of their own; the few questions that need the whole state are answered in the loop
//! after the commit. Nobody sees what is not durable.
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
//! | `messages` | what comes in, and what goes out to queue and chain |
//! | `apply` | what each message does to the cores |
//! | `status` | what goes wrong without stopping it |
//! | `replica` | a state that follows the log: at a start, as a standby; and when it is kept as a snapshot |
//! | `start` | from a store and adapters to a running coordinator |
//! | `handle` | the `Service` |
//! | `reads` | what readers ask |
//! | `scribe` | keeps the signatures of promises |
//! | `share` | questions that take the loop's time, and how much of it |
//! | `operate` | what operators do |
//! | `points` | where tests kill it around a commit |
//! | `chain_task` | eyes and hands on L1 |
//! | `telemetry` | metrics and spans |
//! | `queue_task` | eyes and hands on the queue |

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::mpsc::UnboundedSender;

use crate::{
    farm::FarmEvent,
    state::{
        State, StateError,
        event::{OperationId, Stamped},
        lines,
        rows::Row,
    },
    store::{Leadership, Store, StoreError},
    trace::TraceId,
    views::Views,
};

mod apply;
pub(crate) mod chain_task;
pub(crate) mod handle;
mod messages;
mod operate;
mod points;
pub(crate) mod queue_task;
mod reads;
pub(crate) mod replica;
mod scribe;
mod share;
pub(crate) mod start;
mod status;
pub(crate) mod telemetry;

pub use handle::Handle;
pub(crate) use messages::{FromQueue, Message, OnChain, Submit, ToQueue};
pub use operate::{Explanation, OperationExplanation, Overview};
pub use replica::SnapshotSettings;
use replica::{Replica, Snapshotter};
pub use start::{Parts, StartError, start};
pub(crate) use status::{SharedStatus, Status};
use telemetry::Telemetry;

/// The loop looks at its clocks at least this often.
const TICK: Duration = Duration::from_millis(50);
/// A leader asks this often whether it still leads.
const LEAD_EVERY: Duration = Duration::from_secs(1);
/// A store that does not answer is asked again after this.
const RETRY: Duration = Duration::from_millis(100);

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
    /// What readers see.
    pub views: Arc<Views>,
    pub looked_at_workers: Instant,
}

pub(crate) type Pause = Box<dyn Fn(Duration) + Send>;

/// Unix milliseconds; injected, so that a simulation can have its own time.
pub(crate) type Clock = Box<dyn Fn() -> u64 + Send>;

pub(crate) fn system_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
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
        let rows = self.take_rows(&round.log);
        let outcome = self.commit(&round.log, &rows)?;
        if outcome == Committed::Yes && !round.log.is_empty() {
            // Whoever is answered below finds it there.
            self.views.committed(&self.state, &rows);
        }
        self.views.look_at_workers(&self.state, &mut self.looked_at_workers);
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

    fn take_rows(&mut self, log: &[Stamped]) -> Vec<Row> {
        let mut rows = self.state.take_rows();
        rows.extend(log.iter().flat_map(lines::lines).map(Row::Line));
        rows
    }

    /// One durable transaction for the whole group. A store that does not answer is asked until it does: what waits is
    /// answered then, and the state stays right. One that refuses leaves nothing of the round, and the state is read again.
    fn commit(&mut self, log: &[Stamped], rows: &[Row]) -> Result<Committed, StartError> {
        if log.is_empty() {
            return Ok(Committed::Yes);
        }
        let began = Instant::now();
        let mut outage = false;
        points::before_commit(log);
        loop {
            match self.store.commit(self.sequence + 1, log, rows) {
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
