//! The whole coordinator in one process: a real store, the in-process queue, a worker that makes real batches of its inputs,
//! and a chain in memory. Only the proof is a tag.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use api::service::{ListOf, OperationView, Operator as _, PromiseView, Service};
use circuits::{batch::Prepared, shape::Shape};
use protocol::{OperationId, PrepareSend, PrepareWithdraw, Stage, l1::Finality};
use queue::{
    CoordinatorQueue, WorkerQueue,
    memory::{Limits, MemoryQueue},
};
use sequencer::{
    rejection::Rejection,
    state::rows::{Checkpoint, Line, Row},
    testkit::Holder,
};
use store::{History, Leadership, SqliteStore, mark::Marks};
use tokio::task::JoinHandle;
use wire::{
    CircuitSupport, Control, JobEntry, ProcessId, ProofBytes, Registration, Timings, WorkerEvent, WorkerId,
    job::decode_batch_input,
};

use super::*;
use crate::{
    chain::{Chain, memory::MemoryChain},
    config::{Config, ScaleFromZero},
    testkit::TagVerifier,
    verifier::ProofVerifier,
};

fn config() -> Config {
    Config {
        shapes: vec![Shape::S3M1, Shape::S14M2],
        min_amount: 10,
        seal_age: Duration::from_millis(40),
        deposit_wait: Duration::from_millis(20),
        forced_wait: Duration::from_millis(20),
        poll: Duration::from_millis(10),
        finality: Finality::Confirmations(2),
        resend_after: Duration::from_millis(50),
        lease: Duration::from_secs(5),
        quota: 100_000,
        scale: Some(ScaleFromZero { within: Duration::from_secs(60), max_workers: 1_000_000 }),
        ..Config::default()
    }
}

struct World {
    chain: Arc<MemoryChain>,
    queue: MemoryQueue,
    /// Proofs the worker makes badly before it makes good ones.
    bad_proofs: Arc<AtomicUsize>,
    worker: JoinHandle<()>,
    miner: JoinHandle<()>,
    mining: Arc<AtomicBool>,
}

impl World {
    fn new() -> Self {
        let (chain, queue) = (Arc::new(MemoryChain::default()), MemoryQueue::new(Limits::default()));
        let bad_proofs = Arc::new(AtomicUsize::new(0));
        let worker = tokio::spawn(work(queue.clone(), Arc::clone(&bad_proofs)));
        let mining = Arc::new(AtomicBool::new(true));
        let (mined, goes_on) = (Arc::clone(&chain), Arc::clone(&mining));
        let miner = tokio::spawn(async move {
            loop {
                if goes_on.load(Ordering::Acquire) {
                    mined.mine(1);
                }
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
        });
        Self { chain, queue, bad_proofs, worker, miner, mining }
    }

    async fn start_with(&self, store: Box<dyn Store>) -> Result<Arc<Handle>, StartError> {
        self.start_configured(config(), store, None).await
    }

    async fn start_as(&self, config: Config, folder: &Path) -> Arc<Handle> {
        let store = Box::new(SqliteStore::open(folder).unwrap());
        self.start_configured(config, store, Some(often(folder))).await.unwrap()
    }

    async fn start_configured(
        &self,
        config: Config,
        store: Box<dyn Store>,
        snapshots: Option<SnapshotSettings>,
    ) -> Result<Arc<Handle>, StartError> {
        self.start_marked(config, store, snapshots, Marks::default()).await
    }

    async fn start_marked(
        &self,
        config: Config,
        store: Box<dyn Store>,
        snapshots: Option<SnapshotSettings>,
        marks: Marks,
    ) -> Result<Arc<Handle>, StartError> {
        let parts = Parts {
            store,
            snapshots,
            queue: Arc::new(self.queue.coordinator()) as Arc<dyn CoordinatorQueue>,
            chain: Arc::clone(&self.chain) as Arc<dyn Chain>,
            verifier: Arc::new(TagVerifier),
            operator: Holder::new(200).ethereum,
            marks,
        };
        start(config, parts).await
    }

    async fn start(&self, folder: &Path) -> Arc<Handle> {
        self.start_as(config(), folder).await
    }
}

/// A snapshot at every look.
fn often(folder: &Path) -> SnapshotSettings {
    SnapshotSettings { folder: folder.join("snapshots"), events: 1, every: Duration::ZERO }
}

impl Drop for World {
    fn drop(&mut self) {
        self.worker.abort();
        self.miner.abort();
    }
}

/// A registration with a verifying key of this first byte for each circuit.
fn registers(verifying_key: impl Fn(Shape) -> [u8; 32]) -> WorkerEvent {
    let circuit =
        |shape: Shape| CircuitSupport { shape, digest: [1; 32], verifying_key: verifying_key(shape) };
    let registration = Registration {
        backend: "tag".to_owned(),
        version: "1".to_owned(),
        memory: 1,
        circuits: config().shapes.into_iter().map(circuit).collect(),
        slots: 2,
    };
    WorkerEvent::Register { registration, in_flight: Vec::new() }
}

/// A worker whose proofs are tags, made from the input alone. It registers again and again, which keeps it alive, too.
async fn work(queue: MemoryQueue, bad_proofs: Arc<AtomicUsize>) {
    let queue = queue.worker(WorkerId::parse("tagger").unwrap(), ProcessId(1));
    let mut registered = Instant::now() - Duration::from_secs(60);
    loop {
        if registered.elapsed() > Duration::from_millis(200) {
            registered = Instant::now();
            queue.emit(&registers(key)).await.unwrap();
        }
        if let Some(Control::Job(entry)) = queue.next_control(Duration::from_millis(20)).await.unwrap() {
            prove(&queue, &entry, &bad_proofs).await;
        }
    }
}

/// The digest of the verifying key that `TagVerifier` has.
fn key(shape: Shape) -> [u8; 32] {
    TagVerifier.key_digest(shape).unwrap()
}

async fn prove(queue: &dyn WorkerQueue, entry: &JobEntry, bad_proofs: &AtomicUsize) {
    let (job, attempt) = (entry.job, entry.attempt);
    // Proven meanwhile.
    let Ok(input) = queue.input(job).await else { return };
    let prepared = Prepared::new(decode_batch_input(&input).unwrap()).unwrap();
    prepared.check_signatures().unwrap();
    let mut proof = TagVerifier::proof(&prepared.public_inputs());
    if bad_proofs.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1)).is_ok() {
        proof[0] ^= 1;
    }
    let timings = Timings { energy_millijoules: Some(12_000), ..Timings::default() };
    queue.emit(&WorkerEvent::Proved { job, attempt, proof: ProofBytes(proof), timings }).await.unwrap();
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..3_000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never came true: {what}");
}

async fn operation(handle: &Handle, id: &str) -> OperationView {
    let view = handle.operation(OperationId::parse(id).unwrap()).await.unwrap();
    view.unwrap_or_else(|| panic!("{id} was accepted and is lost"))
}

async fn promises(handle: &Handle, id: &str) -> Vec<PromiseView> {
    handle.promises(OperationId::parse(id).unwrap()).await.unwrap()
}

/// All operations of a holder, page by page.
async fn operations_of(handle: &Handle, holder: &Holder) -> Vec<OperationView> {
    let mut all: Vec<OperationView> = Vec::new();
    loop {
        let after = all.last().and_then(|last| OperationId::parse(&last.id));
        let page = handle.operations(ListOf::Address(holder.owner), after, 100).await.unwrap().unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

async fn settle(handle: &Handle) {
    eventually("everything is final", async || handle.settled().await).await;
}

async fn fund(world: &World, handle: &Handle, holder: &Holder, coins: u64) {
    let before = handle.account(holder.owner).await.balances.accepted;
    world.chain.deposit(holder.owner, holder.key_hash, coins);
    eventually("the deposit is minted", async || {
        handle.account(holder.owner).await.balances.accepted == before + coins
    })
    .await;
}

async fn send(
    handle: &Handle,
    from: &Holder,
    to: &Holder,
    amount: u64,
    key: &str,
) -> Result<OperationView, Rejection> {
    let ask = PrepareSend {
        sender: from.owner,
        recipient: to.owner,
        amount,
        allow_vault: false,
        valid_until: None,
    };
    let draft = handle.prepare_send(ask).await?;
    handle.submit(from.sign(&draft, key)).await
}

fn people() -> (Holder, Holder) {
    (Holder::new(1), Holder::new(2))
}

async fn register(handle: &Handle, holder: &Holder) {
    handle.register_key(holder.entry(0), format!("key of {:?}", holder.owner[0])).await.unwrap();
}

mod damage;
mod halt;
mod kill;
mod operators;
mod outage;
mod reads;
mod refusals;
mod reorg;
mod restored;
mod tracing;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deposit_send_and_withdraw_go_all_the_way_and_end_final() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let handle = world.start(folder.path()).await;
    let (alice, bob) = people();
    register(&handle, &alice).await;
    register(&handle, &bob).await;
    fund(&world, &handle, &alice, 1_000).await;
    fund(&world, &handle, &alice, 500).await;

    let sent = send(&handle, &alice, &bob, 1_200, "s").await.unwrap();
    assert_eq!(sent.promises.len(), 2, "two leaves, two promises");
    for promise in &sent.promises {
        let message = protocol::eip712::Promise {
            operation_id: promise.operation_id,
            kind: promise.kind,
            batch_no: promise.batch_no,
            index: promise.index,
            account: promise.account,
            range: promise.range,
            deadline: promise.deadline,
        };
        use protocol::eip712::TypedMessage;
        let signer = message.recover(&sequencer::testkit::SIGNING, &promise.signature).unwrap();
        assert_eq!(signer, Holder::new(200).owner);
    }
    let draft = handle
        .prepare_withdraw(PrepareWithdraw { sender: bob.owner, amount: 700, valid_until: None })
        .await
        .unwrap();
    let withdrawn = handle.submit(bob.sign(&draft, "w")).await.unwrap();
    settle(&handle).await;

    let view = operation(&handle, &withdrawn.id).await;
    assert_eq!(view.stage, Stage::Final);
    let stages: Vec<Stage> = view.timeline.iter().map(|entry| entry.stage).collect();
    assert!(stages.is_sorted(), "{stages:?}");
    let balances = handle.account(bob.owner).await.balances;
    assert_eq!((balances.accepted, balances.proven, balances.finalized), (500, 500, 500));
    let system = handle.system().await;
    assert_eq!(system.final_root, world.chain.contract().root);
    assert_eq!(system.final_batch, world.chain.contract().batch_no);
    assert_eq!(handle.ready().await, Ok(()));
    // Every proof cost 12 J, whatever its batch held.
    // Workers are looked at a few times a second.
    eventually("readers see what a proof cost", async || {
        handle.workers().await.iter().any(|worker| worker.joules_per_proof.is_some())
    })
    .await;
    let workers = handle.workers().await;
    let [tagger] = workers.as_slice() else { panic!("{workers:?}") };
    assert_eq!((tagger.id.as_str(), tagger.backend.as_deref()), ("default/tagger", Some("tag")));
    assert!((tagger.joules_per_proof.unwrap() - 12.0).abs() < 1e-9, "{tagger:?}");
    assert!(tagger.joules_per_payment.is_some_and(|joules| joules > 0.0), "{tagger:?}");
    let coin = &handle.account(alice.owner).await.coins[0];
    assert!(handle.ownership_proof(coin.index, None).await.unwrap().final_on_l1);
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_at_any_time_loses_and_doubles_nothing() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let (alice, bob) = people();
    let mut handle = world.start(folder.path()).await;
    register(&handle, &alice).await;
    register(&handle, &bob).await;
    fund(&world, &handle, &alice, 10_000).await;
    let mut ids = Vec::new();
    for round in 0..8u64 {
        let key = format!("send {round}");
        let ask = PrepareSend {
            sender: alice.owner,
            recipient: bob.owner,
            amount: 100 + round,
            allow_vault: false,
            valid_until: None,
        };
        let request = alice.sign(&handle.prepare_send(ask).await.unwrap(), &key);
        let sent = handle.submit(request.clone()).await.unwrap();
        // Whatever is under way now (an open batch, a job, a transaction) is cut off.
        tokio::time::sleep(Duration::from_millis(round * 13)).await;
        handle.shutdown().await;
        drop(handle);
        handle = world.start(folder.path()).await;
        // The client did not hear and asks again: the same operation, the same promise.
        let again = handle.submit(request).await.unwrap();
        assert_eq!((&again.id, &again.promises), (&sent.id, &sent.promises));
        ids.push(sent.id);
    }
    settle(&handle).await;
    let total: u64 = (0..8).map(|round| 100 + round).sum();
    let balances = handle.account(bob.owner).await.balances;
    assert_eq!((balances.accepted, balances.finalized), (total, total));
    assert_eq!(handle.account(alice.owner).await.balances.finalized, 10_000 - total);
    for id in ids {
        assert_eq!(operation(&handle, &id).await.stage, Stage::Final);
    }
    assert_eq!(handle.system().await.final_root, world.chain.contract().root);
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_proof_is_refused_and_its_job_goes_to_another_attempt() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    world.bad_proofs.store(2, Ordering::Release);
    let handle = world.start(folder.path()).await;
    let (alice, _) = people();
    fund(&world, &handle, &alice, 1_000).await;
    settle(&handle).await;
    let batch = handle.batch(1).await.unwrap().unwrap();
    assert_eq!((batch.stage, batch.attempts), (Stage::Final, 3));
    assert_eq!(world.chain.sent(), 1, "no bad proof was broadcast");
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reorganisation_brings_a_submitted_batch_back() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let handle = world.start(folder.path()).await;
    let (alice, _) = people();
    world.mining.store(false, Ordering::Release);
    world.chain.deposit(alice.owner, alice.key_hash, 1_000);
    world.chain.mine(3);
    eventually("the batch is broadcast", async || world.chain.sent() > 0).await;
    world.chain.mine(1);
    let mined = async || handle.batch(1).await.unwrap().is_some_and(|batch| batch.l1_block.is_some());
    eventually("the coordinator sees the batch mined", mined).await;
    world.chain.reorg(1);
    assert_eq!(world.chain.contract().batch_no, 0, "the batch's block is gone");
    eventually("the coordinator sees it dropped", async || !mined().await).await;
    world.mining.store(true, Ordering::Release);
    settle(&handle).await;
    assert_eq!(world.chain.contract().batch_no, 1);
    assert_eq!(handle.account(alice.owner).await.balances.finalized, 1_000);
    assert_eq!(handle.ready().await, Ok(()));
    handle.shutdown().await;
}

/// A store whose commits can be made to fail.
struct Flaky {
    inner: SqliteStore,
    broken: Arc<AtomicBool>,
}

impl Store for Flaky {
    fn bind(&mut self, deployment: &str) -> Result<(), StoreError> {
        self.inner.bind(deployment)
    }

    fn lead(&mut self) -> Result<Leadership, StoreError> {
        self.inner.lead()
    }

    fn replay(
        &mut self,
        after: u64,
        each: &mut dyn FnMut(u64, Stamped) -> Result<(), StoreError>,
    ) -> Result<Option<Checkpoint>, StoreError> {
        self.inner.replay(after, each)
    }

    fn history(&self) -> Arc<dyn History> {
        self.inner.history()
    }

    fn is_incomplete(&mut self) -> Result<bool, StoreError> {
        self.inner.is_incomplete()
    }

    fn lines(&mut self, batch_no: u32) -> Result<Vec<Line>, StoreError> {
        self.inner.lines(batch_no)
    }

    fn commit(&mut self, first: u64, events: &[Stamped], rows: &[Row]) -> Result<(), StoreError> {
        if self.broken.load(Ordering::Acquire) {
            return Err(StoreError::Unusable("the disk is full".to_owned()));
        }
        self.inner.commit(first, events, rows)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_commit_answers_nobody_with_success_and_nothing_of_it_stays() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let broken = Arc::new(AtomicBool::new(false));
    let inner = SqliteStore::open(folder.path()).unwrap();
    let handle = world.start_with(Box::new(Flaky { inner, broken: Arc::clone(&broken) })).await.unwrap();
    let (alice, bob) = people();
    register(&handle, &alice).await;
    register(&handle, &bob).await;
    fund(&world, &handle, &alice, 1_000).await;
    settle(&handle).await;
    broken.store(true, Ordering::Release);
    let refused = send(&handle, &alice, &bob, 100, "k").await.unwrap_err();
    assert_eq!((refused.code(), refused.retryable()), ("UNAVAILABLE", true));
    broken.store(false, Ordering::Release);
    assert_eq!(handle.account(bob.owner).await.balances.accepted, 0);
    eventually("it is taken again", async || send(&handle, &alice, &bob, 100, "k").await.is_ok()).await;
    assert_eq!(handle.account(bob.owner).await.balances.accepted, 100);
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draining_refuses_new_operations_and_seals_what_is_open() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let handle = world.start(folder.path()).await;
    let (alice, bob) = people();
    register(&handle, &alice).await;
    register(&handle, &bob).await;
    fund(&world, &handle, &alice, 1_000).await;
    let sent = send(&handle, &alice, &bob, 100, "k").await.unwrap();
    handle.drain().await;
    assert!(operation(&handle, &sent.id).await.stage >= Stage::Sealed);
    let refused = send(&handle, &alice, &bob, 100, "k2").await.unwrap_err();
    assert_eq!((refused.code(), refused.retryable()), ("DRAINING", true));
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_registered_only_by_their_owner_at_the_current_epoch() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let handle = world.start(folder.path()).await;
    let (alice, bob) = people();
    let code = async |entry, key: &str| {
        handle.register_key(entry, key.to_owned()).await.map(|_| ()).map_err(|error| error.code())
    };
    let mut foreign = alice.entry(0);
    foreign.owner = bob.owner;
    assert_eq!(code(foreign, "k").await, Err("INVALID_ENTRY_SIGNATURE"));
    let mut small = alice.entry(0);
    small.key = circuits::baby_jubjub::Point::IDENTITY;
    assert_eq!(code(small, "k").await, Err("INVALID_KEY"));
    assert_eq!(code(alice.entry(1), "k").await, Err("KEY_EPOCH_STALE"));
    assert_eq!(code(alice.entry(0), "k").await, Ok(()));
    assert_eq!(code(alice.entry(0), "k").await, Ok(()));
    world.chain.bump_key_epoch(alice.owner);
    assert_eq!(code(alice.entry(0), "k2").await, Err("KEY_EPOCH_STALE"));
    assert_eq!(code(alice.entry(1), "k").await, Err("IDEMPOTENCY_CONFLICT"));
    assert_eq!(code(alice.entry(1), "k3").await, Ok(()));
    assert_eq!(handle.directory_entry(alice.owner).await.unwrap().key_epoch, 1);
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_is_locked_and_tied_to_its_deployment() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let handle = world.start(folder.path()).await;
    assert!(matches!(SqliteStore::open(folder.path()), Err(StoreError::Locked(_))));
    handle.shutdown().await;
    let mut store = SqliteStore::open(folder.path()).unwrap();
    assert!(matches!(store.bind("chain 1 contract 0x00"), Err(StoreError::Deployment { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_older_than_the_contract_refuses_to_start() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let handle = world.start(folder.path()).await;
    let (alice, _) = people();
    fund(&world, &handle, &alice, 1_000).await;
    settle(&handle).await;
    handle.shutdown().await;
    let fresh = tempfile::tempdir().unwrap();
    let refused = world.start_with(Box::new(SqliteStore::open(fresh.path()).unwrap())).await;
    assert!(matches!(refused.err(), Some(StartError::Contract { contract: 1, proven: 0 })));
}
