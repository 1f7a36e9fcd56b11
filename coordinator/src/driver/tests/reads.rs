//! Readers: what they see, and that nothing they do holds up a payment.

use api::service::BatchView;
use rusqlite::Connection;
use store::history::{KeptPromises, Signatures};

use super::*;

/// A history that never answers while it is told to hang.
struct Hanging {
    inner: Arc<dyn History>,
    hangs: Arc<AtomicBool>,
}

impl Hanging {
    async fn answers(&self) -> &dyn History {
        while self.hangs.load(Ordering::Acquire) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        &*self.inner
    }
}

#[async_trait::async_trait]
impl History for Hanging {
    async fn operation(&self, id: OperationId) -> Result<Option<OperationView>, StoreError> {
        self.answers().await.operation(id).await
    }

    async fn operations(
        &self,
        list: ListOf,
        after: Option<OperationId>,
        limit: usize,
    ) -> Result<Option<Vec<OperationView>>, StoreError> {
        self.answers().await.operations(list, after, limit).await
    }

    async fn batch(&self, batch_no: u32) -> Result<Option<BatchView>, StoreError> {
        self.answers().await.batch(batch_no).await
    }

    async fn batches(&self, below: u32, limit: usize) -> Result<Vec<BatchView>, StoreError> {
        self.answers().await.batches(below, limit).await
    }

    async fn promises(&self, id: OperationId) -> Result<Option<KeptPromises>, StoreError> {
        self.answers().await.promises(id).await
    }

    async fn keep(&self, signed: &[(OperationId, Signatures)]) -> Result<(), StoreError> {
        self.answers().await.keep(signed).await
    }
}

/// A store whose readers may hang.
struct SlowToRead {
    inner: SqliteStore,
    hangs: Arc<AtomicBool>,
}

impl Store for SlowToRead {
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
        Arc::new(Hanging { inner: self.inner.history(), hangs: Arc::clone(&self.hangs) })
    }

    fn is_incomplete(&mut self) -> Result<bool, StoreError> {
        self.inner.is_incomplete()
    }

    fn lines(&mut self, batch_no: u32) -> Result<Vec<Line>, StoreError> {
        self.inner.lines(batch_no)
    }

    fn commit(&mut self, first: u64, events: &[Stamped], rows: &[Row]) -> Result<(), StoreError> {
        self.inner.commit(first, events, rows)
    }
}

fn database(folder: &Path) -> Connection {
    let connection = Connection::open(folder.join("coordinator.sqlite")).unwrap();
    connection.busy_timeout(Duration::from_secs(5)).unwrap();
    connection
}

fn count(folder: &Path, sql: &str) -> u64 {
    database(folder).query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_whose_store_hangs_delay_no_payment_and_no_balance() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let hangs = Arc::new(AtomicBool::new(false));
    let inner = SqliteStore::open(folder.path()).unwrap();
    let store = SlowToRead { inner, hangs: Arc::clone(&hangs) };
    let handle = world.start_with(Box::new(store)).await.unwrap();
    let (alice, bob) = people();
    register(&handle, &alice).await;
    register(&handle, &bob).await;
    fund(&world, &handle, &alice, 1_000).await;
    let first = send(&handle, &alice, &bob, 20, "first").await.unwrap();

    hangs.store(true, Ordering::Release);
    let reader = |handle: Arc<Handle>| async move {
        let page = handle.operations(ListOf::Address([1; 20]), None, 100).await;
        (page, handle.batches(None, 100).await)
    };
    let readers: Vec<_> = (0..50).map(|_| tokio::spawn(reader(Arc::clone(&handle)))).collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let begun = Instant::now();
    for n in 0..5 {
        send(&handle, &alice, &bob, 20, &format!("send {n}")).await.unwrap();
    }
    assert_eq!(handle.account(bob.owner).await.balances.accepted, 120);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(readers.iter().all(|reader| !reader.is_finished()), "they hang");

    hangs.store(false, Ordering::Release);
    for reader in readers {
        let (page, batches) = reader.await.unwrap();
        assert!(page.is_ok() && batches.is_ok());
    }
    assert_eq!(operation(&handle, &first.id).await.amount, 20);
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_of_more_than_a_thousand_operations_is_read_to_its_end() {
    const SENDS: usize = 1_050;
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let handle = world.start(folder.path()).await;
    let (alice, bob) = people();
    register(&handle, &alice).await;
    register(&handle, &bob).await;
    fund(&world, &handle, &alice, 100_000).await;
    let mut ids = Vec::new();
    for n in 0..SENDS {
        ids.push(send(&handle, &alice, &bob, 10, &format!("send {n}")).await.unwrap().id);
        if n == 0 {
            // Whoever was answered finds it in the list at once.
            assert_eq!(operations_of(&handle, &bob).await.len(), 1);
        }
    }
    let all = operations_of(&handle, &bob).await;
    let listed: Vec<&String> = all.iter().map(|view| &view.id).collect();
    assert_eq!(listed, ids.iter().rev().collect::<Vec<_>>(), "newest first, each once");
    // A cursor from the very beginning is good for ever.
    let oldest = OperationId::parse(&ids[0]);
    let list = ListOf::Address(bob.owner);
    assert_eq!(handle.operations(list, oldest, 10).await.unwrap().unwrap(), []);
    let second = OperationId::parse(&ids[1]);
    assert_eq!(handle.operations(list, second, 10).await.unwrap().unwrap()[0].id, ids[0]);
    // One of another list is not.
    let of_nobody = handle.operations(ListOf::Address([9; 20]), second, 10).await.unwrap();
    assert_eq!(of_nobody, None);
    // In its batch an operation stands where its slots are.
    let batch_no = all.last().unwrap().batch_no;
    let page = handle.operations(ListOf::Batch(batch_no), None, 100).await.unwrap().unwrap();
    assert!(page.iter().any(|view| view.id == ids[0]));
    assert!(page.iter().all(|view| view.batch_no == batch_no));
    let rest = handle.operations(ListOf::Batch(batch_no), OperationId::parse(&page[0].id), 100).await;
    assert_eq!(rest.unwrap().unwrap(), page[1..]);
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promise_is_signed_once_and_again_only_if_its_signature_was_lost() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let handle = world.start(folder.path()).await;
    let (alice, bob) = people();
    register(&handle, &alice).await;
    register(&handle, &bob).await;
    fund(&world, &handle, &alice, 1_000).await;
    let sent = send(&handle, &alice, &bob, 100, "s").await.unwrap();
    let kept = || count(folder.path(), "SELECT count(*) FROM promises");
    eventually("the signature is kept", async || kept() == 1).await;
    assert_eq!(promises(&handle, &sent.id).await, sent.promises);

    // What readers get is what is kept: another byte shows.
    let change = "UPDATE promises SET signatures = CAST(zeroblob(65) AS BLOB)";
    database(folder.path()).execute(change, []).unwrap();
    assert_eq!(promises(&handle, &sent.id).await[0].signature, [0; 65]);

    // As if a death had come between the commit and the signature.
    database(folder.path()).execute("DELETE FROM promises", []).unwrap();
    assert_eq!(promises(&handle, &sent.id).await, sent.promises);
    eventually("the first reader has it kept", async || kept() == 1).await;
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_is_answered_and_a_conflict_refused_before_anything_is_verified() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let mut handle = world.start(folder.path()).await;
    let (alice, bob) = people();
    register(&handle, &alice).await;
    register(&handle, &bob).await;
    fund(&world, &handle, &alice, 1_000).await;
    let ask = PrepareSend {
        sender: alice.owner,
        recipient: bob.owner,
        amount: 100,
        allow_vault: false,
        valid_until: None,
    };
    let request = alice.sign(&handle.prepare_send(ask).await.unwrap(), "s");
    let sent = handle.submit(request.clone()).await.unwrap();
    // Signatures of another payment are garbage here, and the request is another one.
    let mut forged = request.clone();
    forged.spends[0].signature.s = -forged.spends[0].signature.s;
    let code = |refused: Result<OperationView, Rejection>| refused.unwrap_err().code();
    assert_eq!(code(handle.submit(forged.clone()).await), "IDEMPOTENCY_CONFLICT");
    forged.idempotency_key = "other".to_owned();
    assert_eq!(code(handle.submit(forged.clone()).await), "INVALID_SIGNATURE");
    // Nothing of a restarted coordinator has verified a signature yet, and none is for a repeat. It reads no snapshot, whose
    // old keys would come a moment later.
    for _ in 0..2 {
        handle.shutdown().await;
        drop(handle);
        handle = world.start_with(Box::new(SqliteStore::open(folder.path()).unwrap())).await.unwrap();
        let again = handle.submit(request.clone()).await.unwrap();
        assert_eq!((again.id, again.promises), (sent.id.clone(), sent.promises.clone()));
        assert_eq!(handle.keys_known(), 0);
    }
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_that_an_older_version_wrote_is_completed_at_the_start() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let handle = world.start(folder.path()).await;
    let (alice, bob) = people();
    register(&handle, &alice).await;
    register(&handle, &bob).await;
    fund(&world, &handle, &alice, 1_000).await;
    let sent = send(&handle, &alice, &bob, 100, "s").await.unwrap();
    settle(&handle).await;
    let before = (operations_of(&handle, &alice).await, handle.batches(None, 100).await.unwrap());
    handle.shutdown().await;
    drop(handle);

    let stripped =
        "DELETE FROM promises; UPDATE operations SET number = NULL, deadline = NULL, promised = NULL;
        UPDATE batches SET public_inputs = NULL, worker = NULL, attempts = NULL, timeline = NULL;";
    database(folder.path()).execute_batch(stripped).unwrap();
    let handle = world.start(folder.path()).await;
    let after = (operations_of(&handle, &alice).await, handle.batches(None, 100).await.unwrap());
    assert_eq!(after, before);
    assert_eq!(promises(&handle, &sent.id).await, sent.promises);
    handle.shutdown().await;
}
