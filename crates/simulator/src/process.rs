//! One coordinator: the real driver and its real tasks, polled by hand. It dies by being dropped.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    task::{Context, Waker},
    time::{Duration, Instant},
};

use bn254::Fr;
use circuits::shape::Shape;
use coordinator::{
    Config, StartError,
    chain::Chain,
    internals::{
        ChainTask, Clocks, Driver, FromQueue, Link, Message, Noted, Outbox, Replica, SharedStatus, Telemetry,
        Time, ToQueue, Views, compare_with_contract, deliver, follow_once, split,
    },
    verifier::ProofVerifier,
};
use protocol::l1::Finality;
use queue::CoordinatorQueue;
use sequencer::{
    rules::Rules,
    state::{State, event::Stamped},
};
use store::{
    Leadership, StoreError,
    mark::HighWater,
    snapshots::{SnapshotError, Snapshots},
};
use tokio::sync::mpsc::Receiver;
use wire::PoolName;

use super::{
    Bug,
    chain::{SimChain, deployment},
    crew::digest,
    disk::SimStore,
    node::tag,
    restore,
    streams::SimQueue,
    world::{Shared, turn},
};

/// A clock that is wrong is so by hours.
pub const WRONG: i64 = 7_200_000;
/// Messages that one round takes at most.
const GROUP: u64 = 12;

/// Believes tags.
struct Tags {
    blind: bool,
}

impl ProofVerifier for Tags {
    fn digest(&self, shape: Shape) -> Option<[u8; 32]> {
        Some(digest(shape))
    }

    fn key_digest(&self, shape: Shape) -> Option<[u8; 32]> {
        Some(digest(shape))
    }

    fn verify(&self, _shape: Shape, public_inputs: &[Fr; 3], proof: &[u8; 256]) -> bool {
        self.blind || *proof == tag(public_inputs)
    }
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

pub struct Process {
    pub holder: u64,
    pub driver: Driver,
    pub link: Link,
    pub status: SharedStatus,
    skew: Arc<AtomicI64>,
    chain_task: Task,
    reader: Task,
    writer: Task,
}

/// The settings of a simulation: everything happens within seconds.
pub fn config(shapes: Vec<Shape>, confirmations: u64, (per_tx, in_flight): (u32, usize)) -> Config {
    Config {
        shapes,
        max_batches_per_tx: per_tx,
        max_in_flight: in_flight,
        min_amount: 10,
        quota: 100_000,
        seal_age: Duration::from_secs(2),
        deposit_wait: Duration::from_secs(1),
        forced_wait: Duration::from_secs(1),
        finality: Finality::Confirmations(confirmations),
        log_range: 50,
        resend_after: Duration::from_secs(3),
        bump_after: Duration::from_secs(8),
        lease: Duration::from_secs(5),
        quarantine_after: 3,
        attempt_limit: Duration::from_secs(60),
        ..Config::default()
    }
}

pub fn circuits_of(shapes: &[Shape]) -> BTreeMap<Shape, [u8; 32]> {
    shapes.iter().map(|shape| (*shape, digest(*shape))).collect()
}

/// A coordinator that follows the log until it leads, as `driver::start` does.
pub struct Standby {
    pub holder: u64,
    store: SimStore,
    replica: Replica,
}

/// What became of a standby.
pub enum Looked {
    Waits(Box<Standby>),
    Leads(Box<Process>),
}

impl Standby {
    /// Begins with what was kept last, or with nothing.
    ///
    /// # Errors
    /// Why what was kept cannot be read.
    pub fn new(
        holder: u64,
        world: &Shared,
        rules: &Arc<Rules>,
        kept: Option<(Vec<u8>, u64)>,
    ) -> Result<Self, SnapshotError> {
        let loaded = kept.map(|(bytes, sequence)| {
            let (state, later) = snapshots().decode(&bytes, sequence, rules)?;
            later.decode()?;
            Ok::<_, SnapshotError>((state, sequence))
        });
        let replica = Replica::from(loaded.transpose()?, Arc::clone(rules));
        Ok(Self { holder, store: SimStore::new(world.clone(), holder), replica })
    }

    /// One look at the log and at who leads.
    ///
    /// # Errors
    /// Why it does not start.
    pub fn look(mut self, world: &Shared, config: &Config, rules: &Arc<Rules>) -> Result<Looked, StartError> {
        let followed = follow_once(&mut self.store, &mut self.replica);
        let term = match followed {
            Ok(Leadership::Leading { term }) => term,
            Ok(Leadership::Following { .. }) | Err(StartError::Store(StoreError::Unavailable(_))) => {
                return Ok(Looked::Waits(Box::new(self)));
            }
            Err(error) => return Err(error),
        };
        let snapshot = self.replica.snapshot;
        let (state, reached, _) = self.replica.into_state();
        restore::compare(world, &mut self.store, &reached)?;
        let contract = {
            let mut world = world.lock();
            let checked = world.time.now().is_multiple_of(4) || snapshot > 0;
            if let Some(part) = checked.then(|| replayed_differs(&state, &world.disk.log, rules)).flatten() {
                world.breaks(|| format!("a start from event {snapshot} on gives another state: {part}"));
            }
            world.node.contract()
        };
        compare_with_contract(&state, &contract)?;
        let Self { holder, store, .. } = self;
        Ok(Looked::Leads(Box::new(Process::start(holder, store, (state, reached, term), world, config))))
    }
}

/// What is not as the whole log gives it.
fn replayed_differs(state: &State, log: &[Stamped], rules: &Arc<Rules>) -> Option<String> {
    let mut replayed = State::new(Arc::clone(rules));
    let applied = log.iter().try_for_each(|stamped| replayed.apply(stamped).map(drop));
    replayed.take_rows();
    applied.err().map(|error| error.to_string()).or_else(|| state.difference(&replayed))
}

fn snapshots() -> Snapshots {
    Snapshots::in_memory("a simulation")
}

impl Process {
    fn start(
        holder: u64,
        store: SimStore,
        led: (State, HighWater, u64),
        world: &Shared,
        config: &Config,
    ) -> Self {
        let (state, reached, term) = led;
        let (link, inbox) = Link::new();
        let (outbox, to_queue) = Outbox::new();
        let status = SharedStatus::default();
        let (skew, time) = {
            let mut world = world.lock();
            // One in many starts with a clock that is wrong.
            let off = if world.fault(12) { world.dice.pick(&[-WRONG, WRONG, 20_000]) } else { 0 };
            (Arc::new(AtomicI64::new(off)), world.time.clone())
        };
        let (seen, pause, steady) = (Arc::clone(&skew), time.clone(), time.clone());
        let clocks = Clocks {
            wall: Box::new(move || time.now().saturating_add_signed(seen.load(Ordering::Relaxed))),
            monotonic: Box::new(move || Duration::from_millis(steady.now())),
        };
        let views = Arc::new(Views::of(&state));
        let mut driver = Driver {
            state,
            store: Box::new(store),
            inbox,
            outbox,
            status: status.clone(),
            commit_max: config.commit_max,
            commit_window: config.commit_window,
            snapshots: None,
            reached,
            marks: restore::kept(world),
            lost: None,
            asked_to_lead: Instant::now(),
            term,
            pause: Box::new(move |wait| pause.pass(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))),
            time: Time::new(clocks, config.tolerance()),
            views,
            looked_at_workers: Instant::now(),
            telemetry: Telemetry::default(),
            refusing: None,
            early: Vec::new(),
        };
        driver.begin();
        let blind = world.lock().bug == Some(Bug::VerifierIsBlind);
        let verifier: Arc<dyn ProofVerifier> = Arc::new(Tags { blind });
        let chain: Arc<dyn Chain> = Arc::new(SimChain { world: world.clone() });
        let queue: Arc<dyn CoordinatorQueue> = Arc::new(SimQueue::new(world.clone()));
        let replays = link.clone();
        let looks = ChainTask {
            chain,
            verifier: Arc::clone(&verifier),
            link: link.clone(),
            status: status.clone(),
            deployment: deployment(),
            finality: config.finality,
            poll: config.poll,
            log_range: config.log_range,
            signer: deployment().operator,
        };
        Self {
            holder,
            driver,
            link: link.clone(),
            status,
            skew,
            chain_task: Box::pin(look(looks)),
            reader: Box::pin(read(Arc::clone(&queue), verifier, link)),
            writer: Box::pin(write(queue, to_queue, replays)),
        }
    }

    /// An operator opens or closes a pool of workers.
    pub fn set_pool(&self, pool: PoolName, is_open: bool) {
        // Nobody waits for the answer.
        let message = match is_open {
            true => Message::AddPool(pool, tokio::sync::oneshot::channel().0),
            false => Message::RemovePool(pool, tokio::sync::oneshot::channel().0),
        };
        self.link.try_send(message);
    }

    /// What the next start may begin with, and its last event.
    ///
    /// # Errors
    /// Why it cannot be written.
    pub fn snapshot(&self) -> Result<(Vec<u8>, u64), SnapshotError> {
        let sequence = self.driver.reached.sequence;
        Ok((snapshots().encode(&self.driver.state, sequence)?.concat(), sequence))
    }

    /// Its clock is off by so much from now on.
    pub fn set_skew(&self, millis: i64) {
        self.skew.store(millis, Ordering::Relaxed);
    }

    /// One round with some of what waits, or all of it.
    ///
    /// # Errors
    /// Why the driver stops.
    pub fn round(&mut self, world: &Shared) -> Result<(), StartError> {
        let (most, asks) = {
            let mut world = world.lock();
            world.renew(self.holder);
            if world.quiet {
                (usize::MAX, true)
            } else {
                (world.dice.within(0, GROUP) as usize, world.dice.one_in(4))
            }
        };
        let group = self.driver.inbox.try_iter().take(most).collect();
        self.driver.round(group)?;
        if asks {
            // Long enough ago, whatever the machine's clock says.
            let now = Instant::now();
            self.driver.asked_to_lead = now.checked_sub(Duration::from_secs(60)).unwrap_or(now);
            self.driver.keep_leading()?;
        }
        Ok(())
    }

    pub fn poll_chain(&mut self) {
        poll(&mut self.chain_task);
    }

    pub fn poll_reader(&mut self) {
        poll(&mut self.reader);
    }

    pub fn poll_writer(&mut self) {
        poll(&mut self.writer);
    }
}

/// The whole executor: a task goes on until it waits, and goes on again when the schedule says so.
fn poll(task: &mut Task) {
    // Tasks never end; a pending one is asked again whether or not it was woken.
    let _ = task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
}

async fn look(task: ChainTask) {
    let (mut scanned, mut noted) = (None, Noted::of_before(task.status.get().halted));
    loop {
        task.look_at_queues(&mut scanned).await;
        task.look_at_batches(&mut noted).await;
        turn().await;
    }
}

async fn read(queue: Arc<dyn CoordinatorQueue>, verifier: Arc<dyn ProofVerifier>, link: Link) {
    loop {
        if let Ok(batch) = queue.next_events(Duration::ZERO).await {
            deliver(batch, &verifier, &link).await;
        }
        turn().await;
    }
}

async fn write(queue: Arc<dyn CoordinatorQueue>, mut effects: Receiver<ToQueue>, link: Link) {
    let mut waiting = Vec::new();
    while effects.recv_many(&mut waiting, 16).await > 0 {
        // Signatures are not real here, so a replay would blame them. That an input is the one in the log is checked where it
        // is laid down.
        let replay = |batch_no, _| {
            let events = vec![FromQueue::Replayed { batch_no, unprovable: None }];
            link.try_send(Message::FromQueue { events, up_to: None });
        };
        let writes = split(waiting.drain(..), replay);
        while queue.write(&writes).await.is_err() {
            turn().await;
        }
    }
}
