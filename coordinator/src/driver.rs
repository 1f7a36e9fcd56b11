//! The one loop that owns the cores: the single writer.
//!
//! A round: collect what waits (the group), decide and apply it, commit everything in **one** durable transaction, and only
//! then show it to readers, answer, promise and let effects out. If the commit fails nobody hears of success; if the store
//! does not answer, everybody waits. Readers look at views (`crate::views`) and at the store's projections, on threads of
//! their own; the few questions that need the whole state are answered in the loop after the commit. Nobody sees what is not
//! durable.
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
//! | `outbox` | what waits for the queue |
//! | `apply` | what each message does to the cores |
//! | `commit` | a round to the store, and what follows when that is away, full, or refuses a value |
//! | `leadership` | whether it still leads, in which term, and by whose clock |
//! | `time` | what time it is, and whether other clocks agree |
//! | `status` | what goes wrong without stopping it |
//! | `health` | whether it is ready, and every reason why not |
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
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use context::trace::TraceId;
use protocol::OperationId;
use sequencer::{
    farm::FarmCommand,
    state::{State, StateError, event::Stamped, rows::Row},
};
use store::{
    Store, StoreError,
    mark::{HighWater, Kept},
};

use crate::{explain, views::Views};

mod apply;
pub(crate) mod chain_task;
mod commit;
pub(crate) mod handle;
pub(crate) mod health;
mod known_keys;
mod leadership;
mod messages;
mod operate;
mod outbox;
mod points;
pub(crate) mod queue_task;
mod reads;
pub(crate) mod replica;
mod scribe;
mod share;
pub(crate) mod start;
mod status;
pub(crate) mod telemetry;
pub(crate) mod time;

pub(crate) use commit::Refusing;
pub use handle::Handle;
pub(crate) use messages::{FromQueue, Message, OnChain, Submit, ToQueue};
pub use outbox::Outbox;
pub use replica::SnapshotSettings;
use replica::{Replica, Snapshotter};
pub use start::{Parts, StartError, start};
pub(crate) use status::{SharedStatus, Status};
use telemetry::Telemetry;
pub(crate) use time::{Clocks, Compared, Time, Tolerance};

/// The loop and the tasks at its sides in parts, for the simulator, which polls them by hand.
#[cfg(feature = "testing")]
pub mod internals {
    pub use super::{
        Driver,
        chain_task::{ChainTask, Noted},
        handle::Link,
        messages::{FromQueue, Message, ToQueue},
        outbox::Outbox,
        queue_task::{deliver, split},
        replica::Replica,
        start::{compare_with_contract, follow_once},
        status::SharedStatus,
        telemetry::Telemetry,
        time::{Clocks, Time},
    };
    pub use crate::views::Views;
}

/// The loop looks at its clocks at least this often.
const TICK: Duration = Duration::from_millis(50);
/// A leader asks this often whether it still leads.
const LEAD_EVERY: Duration = Duration::from_secs(1);
/// A store that does not answer is asked again after this.
const RETRY: Duration = Duration::from_millis(100);

/// What happens after the commit, told whether it succeeded. What may be tried again alone is handed back.
type AfterCommit = Box<dyn FnOnce(&State, Committed) -> Vec<Message>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Committed {
    Yes,
    No,
    /// The store refuses a value of the round: nothing of it is durable, and its messages are tried one by one.
    NotAValue,
    /// It is a value of this message.
    Refused,
}

pub struct Driver {
    pub state: State,
    pub store: Box<dyn Store>,
    pub snapshots: Option<Snapshotter>,
    pub inbox: Receiver<Message>,
    pub outbox: Outbox,
    pub status: SharedStatus,
    pub commit_max: usize,
    pub commit_window: Duration,
    /// The last event in the store.
    pub reached: HighWater,
    /// Where that is kept besides.
    pub marks: Kept,
    /// An operator accepted that what lay behind `found` is lost; to be noted in the log.
    pub lost: Option<Lost>,
    pub asked_to_lead: Instant,
    /// The term in which the state was read.
    pub term: u64,
    pub time: Time,
    /// Waits before a store that does not answer is asked again.
    pub pause: Pause,
    pub telemetry: Telemetry,
    /// What readers see.
    pub views: Arc<Views>,
    pub looked_at_workers: Instant,
    /// While the store refuses what is written.
    pub refusing: Option<Refusing>,
    /// Requests that came before the state was whole.
    pub early: Vec<Message>,
}

pub type Pause = Box<dyn Fn(Duration) + Send>;

pub fn system_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// What an operator has given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The last event that was promised.
    pub known: u64,
    /// The last one that is there.
    pub found: u64,
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
        self.begin();
        loop {
            self.status.turns();
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
                snapshots.look(&self.state, self.reached.sequence);
            }
        }
        if let Some(snapshots) = self.snapshots {
            snapshots.finish(&self.state, self.reached.sequence);
        }
    }

    /// Compares the clocks for the first time. The log may have been written by one that was ahead.
    pub fn begin(&mut self) {
        if let Err(error) = self.look_at_clocks() {
            tracing::warn!(%error, "the clocks are not compared");
        }
        let now = self.time.now();
        self.state.clock_was_set(now);
    }

    /// What waits; if something is to be committed, a little longer for company.
    fn collect(&mut self) -> (Vec<Message>, bool) {
        let mut group = Vec::new();
        let first = match self.inbox.recv_timeout(TICK) {
            Ok(first) => first,
            Err(error) => return (group, error == RecvTimeoutError::Disconnected),
        };
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
                next = self.inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok();
            }
        }
        (group, false)
    }

    pub fn round(&mut self, group: Vec<Message>) -> Result<(), StartError> {
        let group = self.once_whole(group);
        let Some((group, probe)) = self.admitted(group) else { return Ok(()) };
        let now = self.time.now();
        let mut round = Round::default();
        let size = group.len();
        if probe.is_some() {
            self.state.probe(now, &mut round.log)?;
        }
        self.decide(group, now, &mut round)?;
        let rows = self.take_rows(&round.log);
        let outcome = self.commit(&round.log, &rows, probe)?;
        if outcome == Committed::NotAValue {
            return self.one_by_one(round.after, size);
        }
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
            // Only what is not a value is handed back.
            let _ = after(&self.state, outcome);
        }
        if outcome == Committed::Yes {
            if !round.to_queue.is_empty() {
                wire::failpoint("round.answered");
            }
            for effect in round.to_queue {
                self.outbox.send(effect);
            }
        }
        Ok(())
    }

    /// Requests wait until the state is whole; what workers and L1 say does not.
    fn once_whole(&mut self, group: Vec<Message>) -> Vec<Message> {
        if self.state.is_whole() {
            let mut early = std::mem::take(&mut self.early);
            early.extend(group);
            return early;
        }
        let (early, now) = group.into_iter().partition(Message::is_request);
        self.early.extend::<Vec<_>>(early);
        now
    }

    fn decide(&mut self, group: Vec<Message>, now: u64, round: &mut Round) -> Result<(), StateError> {
        if self.reached.sequence == 0 {
            self.state.begin(now, &mut round.log)?;
        }
        self.state.led(self.term, now, &mut round.log)?;
        if let Some(Lost { known, found }) = self.lost {
            self.state.loss_accepted(known, found, now, &mut round.log)?;
        }
        for message in group {
            self.message(message, now, round)?;
        }
        self.state.seal_due(now, &mut round.log)?;
        if self.outbox.recovered() {
            let effects = self.state.farm_step(FarmCommand::QueueWiped, now, &mut round.log);
            self.farm_effects(effects, round);
        }
        let effects = self.state.farm_step(FarmCommand::Tick, now, &mut round.log);
        self.farm_effects(effects, round);
        Ok(())
    }

    fn take_rows(&mut self, log: &[Stamped]) -> Vec<Row> {
        let mut rows = self.state.take_rows();
        rows.extend(log.iter().flat_map(explain::lines).map(Row::Line));
        rows
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
