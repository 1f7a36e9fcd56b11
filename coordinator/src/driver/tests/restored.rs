//! A database that lacks what was promised.

use store::mark::{Loss, Mark, MarkError};

use super::*;

/// A backup of the ledger, taken while it is closed.
fn copy(from: &Path, to: &Path) {
    for name in ["coordinator.sqlite", "coordinator.sqlite-wal", "coordinator.sqlite-shm"] {
        let _ = std::fs::remove_file(to.join(name));
        if from.join(name).exists() {
            std::fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

/// A mark of another machine, e.g. in Redis.
#[derive(Clone, Default)]
struct Elsewhere(Arc<Mutex<Option<store::mark::HighWater>>>);

impl Mark for Elsewhere {
    fn place(&self) -> String {
        "elsewhere".to_owned()
    }

    fn read(&mut self) -> Result<Option<store::mark::HighWater>, MarkError> {
        Ok(*self.0.lock().unwrap())
    }

    fn raise(&mut self, to: &store::mark::HighWater) -> Result<(), MarkError> {
        let mut known = self.0.lock().unwrap();
        if known.is_none_or(|known| known.sequence < to.sequence) {
            *known = Some(*to);
        }
        Ok(())
    }

    fn reset(&mut self, to: &store::mark::HighWater) -> Result<(), MarkError> {
        *self.0.lock().unwrap() = Some(*to);
        Ok(())
    }
}

struct Machine {
    world: World,
    ledger: tempfile::TempDir,
    data: tempfile::TempDir,
    elsewhere: Elsewhere,
}

impl Machine {
    fn new() -> Self {
        let folder = || tempfile::tempdir().unwrap();
        Self { world: World::new(), ledger: folder(), data: folder(), elsewhere: Elsewhere::default() }
    }

    async fn start(&self, loss: Loss) -> Result<Arc<Handle>, StartError> {
        let others: Vec<Box<dyn Mark>> = vec![Box::new(self.elsewhere.clone())];
        let marks = Marks::open(self.data.path(), "this one", others, loss).unwrap();
        let store = Box::new(SqliteStore::open(self.ledger.path()).unwrap());
        let snapshots = SnapshotSettings {
            events: 1,
            every: Duration::ZERO,
            ..SnapshotSettings::new(self.data.path().join("snapshots"))
        };
        self.world.start_marked(config(), store, Some(snapshots), marks).await
    }

    /// Lives until a backup, and on: the backup, and the operations that it lacks.
    async fn lives(&self) -> (tempfile::TempDir, Vec<OperationView>) {
        let (alice, bob) = people();
        let handle = self.start(Loss::Refuse).await.unwrap();
        register(&handle, &alice).await;
        register(&handle, &bob).await;
        fund(&self.world, &handle, &alice, 10_000).await;
        send(&handle, &alice, &bob, 1_000, "before").await.unwrap();
        settle(&handle).await;
        handle.shutdown().await;
        let backup = tempfile::tempdir().unwrap();
        copy(self.ledger.path(), backup.path());
        // Nothing settles any more: L1 does not tell that the backup is old.
        self.world.mining.store(false, Ordering::Release);
        self.world.worker.abort();
        let handle = self.start(Loss::Refuse).await.unwrap();
        let mut sent = Vec::new();
        for round in 0..10 {
            sent.push(send(&handle, &alice, &bob, 100 + round, &format!("after {round}")).await.unwrap());
        }
        handle.shutdown().await;
        (backup, sent)
    }
}

fn behind(refused: Result<Arc<Handle>, StartError>) -> Box<store::mark::Behind> {
    match refused.err() {
        Some(StartError::Behind(behind)) => behind,
        other => panic!("not noticed: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_database_is_not_led_on_and_what_it_lacks_is_named() {
    let machine = Machine::new();
    let (backup, sent) = machine.lives().await;
    let newest = tempfile::tempdir().unwrap();
    copy(machine.ledger.path(), newest.path());
    copy(backup.path(), machine.ledger.path());
    let refused = behind(machine.start(Loss::Refuse).await);
    let named: Vec<String> = refused.missing.iter().map(|promised| promised.id.to_string()).collect();
    let expected: Vec<String> = sent.iter().map(|sent| sent.id.clone()).collect();
    assert_eq!(named, expected);
    assert_eq!(refused.missing.iter().map(|promised| promised.amount).sum::<u64>(), 1_045);
    let list = std::fs::read_to_string(machine.data.path().join("missing-promises.txt")).unwrap();
    assert_eq!(list.lines().count(), 10);
    // Also by the snapshot alone, and by a mark on another machine alone.
    std::fs::remove_dir_all(machine.data.path().join("snapshots")).unwrap();
    assert_eq!(behind(machine.start(Loss::Refuse).await).missing.len(), 10);
    let other = Machine { data: tempfile::tempdir().unwrap(), ..machine };
    assert!(behind(other.start(Loss::Refuse).await).to_string().contains("elsewhere knows"));
    // The newest copy goes on, with everything.
    copy(newest.path(), other.ledger.path());
    let handle = other.start(Loss::Refuse).await.unwrap();
    for sent in &sent {
        let id = OperationId::parse(&sent.id).unwrap();
        assert_eq!(handle.promises(id).await.unwrap().len(), 1, "{id}");
    }
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loss_that_an_operator_accepts_is_noted_and_asked_about_once() {
    let machine = Machine::new();
    let (backup, sent) = machine.lives().await;
    copy(backup.path(), machine.ledger.path());
    let handle = machine.start(Loss::Accept).await.unwrap();
    let gone = OperationId::parse(&sent[0].id).unwrap();
    assert!(handle.operation(gone).await.unwrap().is_none());
    let (alice, bob) = people();
    assert_eq!(handle.account(bob.owner).await.balances.accepted, 1_000);
    send(&handle, &alice, &bob, 10, "new").await.unwrap();
    let open = handle.system().await.open_batch;
    let mut lines = Vec::new();
    for batch_no in 1..=open {
        let explained = handle.explain_batch(batch_no).await.unwrap();
        lines.extend(explained.into_iter().flat_map(|explained| explained.lines).map(|line| line.text));
    }
    assert!(lines.iter().any(|line| line.contains("accepted a loss")), "{lines:?}");
    handle.shutdown().await;
    let handle = machine.start(Loss::Refuse).await.unwrap();
    assert_eq!(handle.account(bob.owner).await.balances.accepted, 1_010);
    handle.shutdown().await;
}

/// A store that another, older one is put in the place of.
struct Swapped {
    inner: SqliteStore,
    older: Option<SqliteStore>,
    swap: Arc<AtomicBool>,
    term: u64,
}

impl Swapped {
    fn swapped(&mut self) -> &mut SqliteStore {
        if self.swap.load(Ordering::Acquire)
            && let Some(older) = self.older.take()
        {
            self.inner = older;
            self.term += 1;
        }
        &mut self.inner
    }
}

impl Store for Swapped {
    fn bind(&mut self, deployment: &str) -> Result<(), StoreError> {
        self.swapped().bind(deployment)
    }

    fn lead(&mut self) -> Result<Leadership, StoreError> {
        self.swapped().lead()?;
        Ok(Leadership::Leading { term: self.term })
    }

    fn replay(
        &mut self,
        after: u64,
        each: &mut dyn FnMut(u64, Stamped) -> Result<(), StoreError>,
    ) -> Result<Option<Checkpoint>, StoreError> {
        self.swapped().replay(after, each)
    }

    fn history(&self) -> Arc<dyn History> {
        self.inner.history()
    }

    fn is_incomplete(&mut self) -> Result<bool, StoreError> {
        self.inner.is_incomplete()
    }

    fn lines(&mut self, batch_no: u32) -> Result<Vec<Line>, StoreError> {
        self.swapped().lines(batch_no)
    }

    fn commit(&mut self, first: u64, events: &[Stamped], rows: &[Row]) -> Result<(), StoreError> {
        self.swapped().commit(first, events, rows)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_database_goes_back_under_it_stops() {
    for writes in [true, false] {
        let machine = Machine::new();
        let (backup, _) = machine.lives().await;
        let swap = Arc::new(AtomicBool::new(false));
        let store = Swapped {
            inner: SqliteStore::open(machine.ledger.path()).unwrap(),
            older: Some(SqliteStore::open(backup.path()).unwrap()),
            swap: Arc::clone(&swap),
            term: 50,
        };
        let handle = machine.world.start_with(Box::new(store)).await.unwrap();
        swap.store(true, Ordering::Release);
        let (alice, bob) = people();
        if writes {
            let refused = send(&handle, &alice, &bob, 100, "into the older one").await.unwrap_err();
            assert_eq!(refused.code(), "UNAVAILABLE");
        }
        let reason = handle.ended().await.unwrap();
        assert!(reason.contains("PM-START-007"), "{reason}");
    }
}
