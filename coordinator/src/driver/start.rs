//! From a store and adapters to a running coordinator: replay, compare, then listen.

use std::{
    collections::BTreeMap,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use circuits::{public_data::domain, shape::Shape};
use protocol::{
    ecdsa::OperatorKey,
    eip712::SigningDomain,
    l1::{ChainError, ContractState},
};
use queue::CoordinatorQueue;
use sequencer::{
    rules::Rules,
    state::{State, StateError},
};
use store::{
    Leadership, Store, StoreError,
    mark::{Behind, Compared, HighWater, Kept, Loss, Mark, MarkError, Marks},
    snapshots::Snapshots,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Clocks, Driver, Handle, Lost, Replica, SharedStatus, Snapshotter, Time,
    chain_task::{ChainTask, unlisted},
    handle, queue_task,
    replica::SnapshotSettings,
    scribe::{self, Scribe},
    system_clock,
    telemetry::Telemetry,
};
use crate::{
    chain::Chain,
    config::{Config, ConfigError},
    verifier::ProofVerifier,
    views::Views,
};

/// A standby looks this often for new events and whether it leads.
const FOLLOW_EVERY: Duration = Duration::from_millis(50);

/// Rows of the history that are written again in one transaction.
const ROWS_TOGETHER: usize = 2_000;
/// A standby raises the mark in its data directory this often.
const RAISE_EVERY: Duration = Duration::from_secs(1);

/// A store that does not answer at the start is asked again after this.
const BIND_EVERY: Duration = Duration::from_secs(1);

/// What a coordinator is made of.
pub struct Parts {
    pub store: Box<dyn Store>,
    /// Where the state is kept now and then, so that the next start is quick.
    pub snapshots: Option<SnapshotSettings>,
    pub queue: Arc<dyn CoordinatorQueue>,
    pub chain: Arc<dyn Chain>,
    pub verifier: Arc<dyn ProofVerifier>,
    /// Signs promises.
    pub operator: OperatorKey,
    /// What was promised, kept outside the store.
    pub marks: Marks,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Store(StoreError),
    #[error(transparent)]
    State(StateError),
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error(
        "PM-START-001: there is no verifying key for {0}; make or fetch the key of each configured circuit"
    )]
    NoKey(Shape),
    #[error(
        "PM-START-002: the store's last batch is {stored}, its log ends with {replayed}, or their roots differ; restore the \
         data folder from a backup"
    )]
    Checkpoint { stored: u32, replayed: u32 },
    #[error(
        "PM-START-003: the contract stands at batch {contract}, this store proved {proven} (or another root): the database is an \
         old copy or of another deployment. What L1 has settled cannot be given up: restore the newest copy"
    )]
    Contract { contract: u32, proven: u32 },
    #[error("PM-START-006: {0}")]
    Signer(String),
    #[error("PM-START-007: {0}")]
    Behind(Box<Behind>),
    #[error(transparent)]
    Mark(#[from] MarkError),
    #[error("PM-START-004: the driver's thread cannot be started ({0})")]
    Thread(String),
    #[error("PM-START-005: the folder for snapshots cannot be made ({0}); check the permissions")]
    Snapshots(String),
}

/// Starts a coordinator. Call it inside a multi-threaded tokio runtime. While another coordinator leads on the same store
/// it waits, following the log, and takes over when that one is gone.
///
/// # Errors
/// `StartError` when the settings cannot work, the store cannot be trusted, or it does not fit the contract.
pub async fn start(config: Config, parts: Parts) -> Result<Arc<Handle>, StartError> {
    config.validate()?;
    let Parts { store, snapshots, queue, chain, verifier, operator, marks } = parts;
    let deployment = chain.deployment().await?;
    let (mut circuits, mut keys) = (BTreeMap::new(), BTreeMap::new());
    for shape in &config.shapes {
        circuits.insert(*shape, verifier.digest(*shape).ok_or(StartError::NoKey(*shape))?);
        keys.insert(*shape, verifier.key_digest(*shape).ok_or(StartError::NoKey(*shape))?);
    }
    let signing = SigningDomain { chain_id: deployment.chain_id, contract: deployment.contract };
    let word = domain(deployment.chain_id, &deployment.contract);
    let rules = Arc::new(Rules { keys, ..config.rules(word, signing, circuits.clone()) });

    let bound = deployment.name();
    let snapshots = snapshots
        .map(|settings| Ok((Snapshots::open(&settings.folder, &bound)?, settings)))
        .transpose()
        .map_err(|error: std::io::Error| StartError::Snapshots(error.to_string()))?;
    let kept = snapshots.as_ref().map(|(snapshots, _)| snapshots.clone());
    let store = bind(store, bound).await?;
    let (loads, knows) = (kept.clone(), Arc::clone(&rules));
    let loaded = blocking(move || {
        wire::failpoint("start.bound");
        Replica::load(loads.as_ref(), knows)
    });
    let replica = loaded.await?;
    let newest = replica.snapshot;
    let status = SharedStatus::default();
    let damaged = status.clone();
    replica.scrub(move |error| {
        damaged.set(|status| status.damaged = Some(error));
    });
    let Led { store, state, reached, term, marks, lost } =
        follow(store, replica, marks, kept, rules, &status).await?;
    compare_with_contract(&state, &chain.contract_state().await?)?;
    if !chain.is_promise_signer(operator.address()).await? {
        return Err(StartError::Signer(unlisted(&operator.address())));
    }
    // What the contract refused before is refused until a look finds that it is not.
    status.set(|status| status.halted = state.settlement().refusal().map(str::to_owned));
    wire::failpoint("start.compared");
    let (store, state) = complete_history(store, state, reached.sequence).await?;
    tracing::info!(
        batch = state.tree().state_batch(),
        proven = state.tree().proven_batch(),
        finalized = state.tree().final_batch(),
        "the log is replayed"
    );

    let (views, history) = (Arc::new(Views::of(&state)), store.history());
    let (scribe, signed) = Scribe::new();
    let (link, inbox) = handle::Link::new();
    let (outbox, to_queue) = super::Outbox::new();
    let began = Instant::now();
    let clocks = Clocks { wall: Box::new(system_clock), monotonic: Box::new(move || began.elapsed()) };
    let driver = Driver {
        state,
        store,
        snapshots: snapshots.map(|(snapshots, settings)| Snapshotter::new(settings, snapshots, newest)),
        inbox,
        outbox,
        status: status.clone(),
        commit_max: config.commit_max,
        commit_window: config.commit_window,
        reached,
        marks,
        lost,
        asked_to_lead: Instant::now(),
        term,
        time: Time::new(clocks, config.tolerance()),
        pause: Box::new(thread::sleep),
        telemetry: Telemetry::default(),
        views: Arc::clone(&views),
        looked_at_workers: Instant::now(),
        refusing: None,
        early: Vec::new(),
    };
    let cancel = CancellationToken::new();
    let ended = CancellationToken::new();
    let end = ended.clone();
    let thread = thread::Builder::new()
        .name("coordinator".to_owned())
        .spawn(move || {
            let _ended = end.drop_guard();
            driver.run();
        })
        .map_err(|error| StartError::Thread(error.to_string()))?;

    let tasks = TaskTracker::new();
    let chain_task = ChainTask {
        chain: Arc::clone(&chain),
        verifier: Arc::clone(&verifier),
        link: link.clone(),
        status: status.clone(),
        deployment: deployment.clone(),
        finality: config.finality,
        poll: config.poll,
        log_range: config.log_range,
        signer: operator.address(),
    };
    tasks.spawn(chain_task.run(cancel.clone()));
    tasks.spawn(queue_task::write(
        Arc::clone(&queue),
        to_queue,
        link.clone(),
        status.clone(),
        cancel.clone(),
    ));
    tasks.spawn(queue_task::read(queue, verifier, link.clone(), status.clone(), cancel.clone()));
    tasks.spawn(scribe::write(Arc::clone(&history), signed, cancel.clone()));
    tasks.close();
    Ok(Arc::new(Handle::new(handle::Running {
        config,
        deployment,
        circuits,
        operator,
        chain,
        link,
        status,
        readings: handle::Readings { views, history, scribe },
        threads: handle::Threads { cancel, ended, tasks, driver: thread },
    })))
}

/// Binds the store to the deployment; waits while it does not answer.
async fn bind(mut store: Box<dyn Store>, deployment: String) -> Result<Box<dyn Store>, StartError> {
    loop {
        let name = deployment.clone();
        let bound;
        (store, bound) = blocking(move || {
            let bound = store.bind(&name);
            (store, bound)
        })
        .await?;
        match bound {
            Ok(()) => return Ok(store),
            Err(StoreError::Unavailable(reason)) => {
                tracing::warn!(reason, "the store does not answer; it is asked again");
            }
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(BIND_EVERY).await;
    }
}

/// A store that leads, and the state to lead with.
struct Led {
    store: Box<dyn Store>,
    state: State,
    reached: HighWater,
    term: u64,
    marks: Kept,
    lost: Option<Lost>,
}

/// One that follows, and what it needs to begin anew.
struct Follower {
    store: Box<dyn Store>,
    replica: Replica,
    marks: Marks,
    snapshots: Option<Snapshots>,
    rules: Arc<Rules>,
    lost: Option<Lost>,
    /// When the mark in the data directory was raised last.
    raised: Instant,
}

impl Follower {
    /// One look at the log and at who leads; with the lead, the log is compared with all that was promised.
    fn look(&mut self, status: &SharedStatus) -> Result<Leadership, StartError> {
        let looked = follow_once(self.store.as_mut(), &mut self.replica);
        let looked = looked.and_then(|led| {
            if matches!(led, Leadership::Leading { .. }) {
                self.compare(status)?;
            } else if self.raised.elapsed() >= RAISE_EVERY {
                self.raised = Instant::now();
                // A standby that is started again on an older copy notices as well.
                if let Some(journal) = &mut self.marks.journal {
                    journal.raise(self.replica.reached())?;
                }
            }
            Ok(led)
        });
        match looked {
            Err(StartError::Behind(behind)) => self.behind(*behind),
            other => other,
        }
    }

    fn compare(&mut self, status: &SharedStatus) -> Result<(), StartError> {
        let reached = *self.replica.reached();
        match self.marks.compare(self.store.as_mut(), &reached) {
            Ok(unread) => {
                for problem in &unread {
                    tracing::warn!(problem, "a high-water mark cannot be compared");
                }
                status.set(|status| status.mark_alarm = unread.into_iter().next());
                Ok(())
            }
            Err(Compared::Behind(behind)) => Err(StartError::Behind(behind)),
            Err(Compared::Mark(error)) => Err(error.into()),
            Err(Compared::Store(error)) => Err(error.into()),
        }
    }

    /// What is missing is given up, if an operator says so: begins anew with what is there.
    fn behind(&mut self, behind: Behind) -> Result<Leadership, StartError> {
        // A snapshot knows how far the log was, not what was promised: the data directory does.
        let behind = if behind.missing.is_empty() { behind.with(self.marks.recent()) } else { behind };
        let behind = self.marks.listed(behind);
        if self.marks.loss == Loss::Refuse || self.lost.is_some() {
            return Err(StartError::Behind(Box::new(behind)));
        }
        tracing::error!(%behind, "an operator accepts this loss");
        self.lost = Some(Lost { known: behind.known.sequence, found: behind.found });
        if let Some(snapshots) = &self.snapshots {
            snapshots.clear().map_err(|error| StartError::Snapshots(error.to_string()))?;
        }
        let mut replica = Replica::from(None, Arc::clone(&self.rules));
        let leads = self.store.lead()?;
        replica.catch_up(self.store.as_mut())?;
        let (_, reached, recent) = replica.into_state();
        self.marks.reset(&reached, &recent)?;
        self.replica = Replica::from(None, Arc::clone(&self.rules));
        let holder = match leads {
            Leadership::Following { holder } => holder,
            Leadership::Leading { .. } => "this one".to_owned(),
        };
        Ok(Leadership::Following { holder })
    }
}

/// Follows the log until this store leads; then the state to lead with. A standby waits here, its state ready, for as long
/// as another leads or the database does not answer.
async fn follow(
    store: Box<dyn Store>,
    replica: Replica,
    marks: Marks,
    snapshots: Option<Snapshots>,
    rules: Arc<Rules>,
    status: &SharedStatus,
) -> Result<Led, StartError> {
    let raised = Instant::now();
    let mut follower = Follower { store, replica, marks, snapshots, rules, lost: None, raised };
    let mut leader = None;
    loop {
        let told = status.clone();
        let step = blocking(move || {
            let led = follower.look(&told);
            (follower, led)
        });
        let led;
        (follower, led) = step.await?;
        match led {
            Ok(Leadership::Leading { term }) => {
                tracing::info!(term, "this coordinator leads");
                let Follower { store, replica, marks, lost, .. } = follower;
                let (state, reached, recent) = replica.into_state();
                let told = status.clone();
                let tell = move |alarm| told.set(|status| status.mark_alarm = alarm);
                let marks = blocking(move || marks.keep(&reached, &recent, tell)).await??;
                return Ok(Led { store, state, reached, term, marks, lost });
            }
            Ok(Leadership::Following { holder }) => {
                if leader.as_ref() != Some(&holder) {
                    tracing::warn!(holder, "another coordinator leads; this one stands by");
                    leader = Some(holder);
                }
            }
            Err(StartError::Store(StoreError::Unavailable(reason))) => {
                tracing::warn!(reason, "the store does not answer; it is asked again");
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(FOLLOW_EVERY).await;
    }
}

/// Writes rows again that were written by a version that knew less about the history. It can be cut off at any time: the
/// next start goes on with it.
async fn complete_history(
    mut store: Box<dyn Store>,
    state: State,
    sequence: u64,
) -> Result<(Box<dyn Store>, State), StartError> {
    let completed = blocking(move || {
        if store.is_incomplete()? {
            while !state.is_whole() {
                std::thread::sleep(FOLLOW_EVERY);
            }
            let batches = state.batcher().open_batch().batch_no;
            tracing::info!(batches, "the history in the store is completed for its readers");
            let mut rows = Vec::new();
            for batch_no in 1..=batches {
                rows.extend(state.history_rows(batch_no));
                if rows.len() >= ROWS_TOGETHER || batch_no == batches {
                    store.commit(sequence + 1, &[], &rows)?;
                    rows.clear();
                }
            }
        }
        Ok::<_, StoreError>((store, state))
    });
    Ok(completed.await??)
}

/// Follows the log and asks who leads; if it is this store, the replica knows all that was written before.
pub fn follow_once(store: &mut dyn Store, replica: &mut Replica) -> Result<Leadership, StartError> {
    replica.catch_up(store)?;
    wire::failpoint("start.caught_up");
    let led = store.lead()?;
    if matches!(led, Leadership::Leading { .. }) {
        replica.catch_up_to_lead(store)?;
        wire::failpoint("start.led");
    }
    Ok(led)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StartError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| StartError::Thread(error.to_string()))
}

/// The contract may be behind (not submitted yet) but never ahead, and stands at one of our roots.
pub fn compare_with_contract(state: &State, contract: &ContractState) -> Result<(), StartError> {
    let proven = state.tree().proven_batch();
    let mismatch = StartError::Contract { contract: contract.batch_no, proven };
    if contract.batch_no > proven {
        return Err(mismatch);
    }
    let ours = match contract.batch_no {
        0 => circuits::tree::empty_root(circuits::tree::DEPTH),
        batch_no => match state.batch(batch_no) {
            Some(batch) => batch.new_root,
            None => return Err(mismatch),
        },
    };
    if ours == contract.root { Ok(()) } else { Err(mismatch) }
}
