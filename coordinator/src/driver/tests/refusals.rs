//! A store that answers and refuses: a full disk, or one value among many.

use sequencer::state::event::Event;
use testbed::small_disk::SmallDisk;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_requests_at_once_and_heals_when_there_is_room() {
    let Some(disk) = SmallDisk::mount(8).unwrap() else {
        eprintln!("not tested: only root may mount a small disk");
        return;
    };
    let world = World::new();
    let handle = world.start_with(Box::new(SqliteStore::open(disk.path()).unwrap())).await.unwrap();
    let (alice, bob) = people();
    register(&handle, &alice).await;
    register(&handle, &bob).await;
    fund(&world, &handle, &alice, 1_000_000).await;
    settle(&handle).await;
    disk.fill().unwrap();
    let mut accepted = 0;
    let refused = loop {
        match send(&handle, &alice, &bob, 10, &format!("before {accepted}")).await {
            Ok(_) => accepted += 1,
            Err(refused) => break refused,
        }
        assert!(accepted < 5_000, "the disk never was full");
    };
    assert_eq!((refused.code(), refused.retryable()), ("UNAVAILABLE", true));
    assert!(handle.ready().await.unwrap_err().contains("PM-STORE-009"));
    // Nobody waits, and what is there can be read.
    let began = Instant::now();
    for number in 0..50 {
        let refused = send(&handle, &alice, &bob, 10, &format!("during {number}")).await.unwrap_err();
        assert_eq!(refused.code(), "UNAVAILABLE");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(handle.account(bob.owner).await.balances.accepted, 10 * accepted);
    disk.empty().unwrap();
    eventually("it is taken again", async || send(&handle, &alice, &bob, 10, "after").await.is_ok()).await;
    settle(&handle).await;
    assert_eq!(handle.account(bob.owner).await.balances.finalized, 10 * (accepted + 1));
    assert_eq!(handle.ready().await, Ok(()));
    handle.shutdown().await;
}

/// A store that refuses one value, of an operation under a certain key.
struct Narrow {
    inner: SqliteStore,
    refused: Arc<AtomicUsize>,
}

const POISON: &str = "poison";

impl Store for Narrow {
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
        let poison =
            |event: &Event| matches!(event, Event::Accepted(accepted) if accepted.idempotency_key == POISON);
        if events.iter().any(|stamped| poison(&stamped.event)) {
            self.refused.fetch_add(1, Ordering::AcqRel);
            return Err(StoreError::Value("a key that is not liked".to_owned()));
        }
        self.inner.commit(first, events, rows)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_round_with_a_refused_value_only_that_request_fails() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let refused = Arc::new(AtomicUsize::new(0));
    let inner = SqliteStore::open(folder.path()).unwrap();
    let store = Narrow { inner, refused: Arc::clone(&refused) };
    // A round waits for company, so that all of them are in one.
    let config = Config { commit_window: Duration::from_millis(400), ..config() };
    let handle = world.start_configured(config, Box::new(store), None).await.unwrap();
    let holders: Vec<Holder> = (1..=6).map(Holder::new).collect();
    for holder in &holders {
        register(&handle, holder).await;
        fund(&world, &handle, holder, 1_000).await;
    }
    settle(&handle).await;
    let sends = (0..6).map(|number| {
        let (handle, holders) = (&handle, &holders);
        async move {
            let key = if number == 3 { POISON.to_owned() } else { format!("key {number}") };
            send(handle, &holders[number], &holders[(number + 1) % 6], 100, &key).await
        }
    });
    let answers = futures::future::join_all(sends).await;
    for (number, answer) in answers.into_iter().enumerate() {
        match (number, answer) {
            (3, Err(error)) => assert_eq!((error.code(), error.retryable()), ("VALUE_REFUSED", false)),
            (3, Ok(_)) => panic!("the poison was taken"),
            (_, answer) => drop(answer.unwrap()),
        }
    }
    assert!(refused.load(Ordering::Acquire) >= 2, "it was in a group, and then alone");
    assert_eq!(handle.account(holders[4].owner).await.balances.accepted, 900, "it got nothing of the poison");
    // The service is well, and the same holder may send otherwise.
    send(&handle, &holders[3], &holders[4], 100, "another key").await.unwrap();
    settle(&handle).await;
    assert_eq!(handle.ready().await, Ok(()));
    handle.shutdown().await;
}
