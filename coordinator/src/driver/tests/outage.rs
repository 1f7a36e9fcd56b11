//! A store that does not answer, and a lead that was lost and won again.

use std::sync::atomic::AtomicU64;

use sequencer::state::event::Event;

use super::*;

/// What a database on another machine can do to its coordinator.
#[derive(Clone, Default)]
struct Weather {
    /// Commits are durable, but the answer is lost.
    answers_lost: Arc<AtomicBool>,
    away: Arc<AtomicBool>,
    term: Arc<AtomicU64>,
    /// The log holds what another coordinator wrote.
    foreign: Arc<AtomicBool>,
}

struct Remote {
    inner: SqliteStore,
    weather: Weather,
}

impl Remote {
    fn reach(&self) -> Result<(), StoreError> {
        let away = self.weather.away.load(Ordering::Acquire);
        if away { Err(StoreError::Unavailable("connection refused".to_owned())) } else { Ok(()) }
    }
}

impl Store for Remote {
    fn bind(&mut self, deployment: &str) -> Result<(), StoreError> {
        self.inner.bind(deployment)
    }

    fn lead(&mut self) -> Result<Leadership, StoreError> {
        self.reach()?;
        Ok(Leadership::Leading { term: self.weather.term.load(Ordering::Acquire) })
    }

    fn replay(
        &mut self,
        after: u64,
        each: &mut dyn FnMut(u64, Stamped) -> Result<(), StoreError>,
    ) -> Result<Option<Checkpoint>, StoreError> {
        self.reach()?;
        let mut last = after;
        let read = self.inner.replay(after, &mut |number, stamped| {
            last = number;
            each(number, stamped)
        })?;
        if self.weather.foreign.load(Ordering::Acquire) {
            each(last + 1, Stamped { at: 1, event: Event::Opened { batch_no: 1, places: 4 } })?;
        }
        Ok(read)
    }

    fn commit(&mut self, first: u64, events: &[Stamped], rows: &[Row]) -> Result<(), StoreError> {
        self.reach()?;
        self.inner.commit(first, events, rows)?;
        if self.weather.answers_lost.swap(false, Ordering::AcqRel) {
            return Err(StoreError::Unavailable("connection reset".to_owned()));
        }
        Ok(())
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
}

async fn start(world: &World, folder: &Path) -> (Arc<Handle>, Weather) {
    let weather = Weather::default();
    let inner = SqliteStore::open(folder).unwrap();
    let store = Remote { inner, weather: weather.clone() };
    let handle = world.start_with(Box::new(store)).await.unwrap();
    let (alice, bob) = people();
    register(&handle, &alice).await;
    register(&handle, &bob).await;
    fund(world, &handle, &alice, 1_000).await;
    settle(&handle).await;
    (handle, weather)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_while_the_store_is_away_is_answered_when_it_is_back() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let (handle, weather) = start(&world, folder.path()).await;
    let (alice, bob) = people();
    weather.away.store(true, Ordering::Release);
    let sending = tokio::spawn({
        let handle = Arc::clone(&handle);
        async move { send(&handle, &people().0, &people().1, 100, "k").await }
    });
    let status = handle.clone();
    eventually("the outage shows", async || status.status_for_tests().store_unreachable.is_some()).await;
    assert!(!sending.is_finished());
    weather.answers_lost.store(true, Ordering::Release);
    weather.away.store(false, Ordering::Release);
    let sent = sending.await.unwrap().unwrap();
    assert_eq!(handle.account(bob.owner).await.balances.accepted, 100);
    let again = send(&handle, &alice, &bob, 20, "l").await.unwrap();
    assert_ne!(again.id, sent.id);
    settle(&handle).await;
    assert_eq!(handle.ready().await, Ok(()));
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lead_that_is_won_again_goes_on_only_if_nobody_wrote_in_between() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let (handle, weather) = start(&world, folder.path()).await;
    let (alice, bob) = people();
    weather.term.store(1, Ordering::Release);
    tokio::time::sleep(2 * LEAD_EVERY).await;
    send(&handle, &alice, &bob, 100, "k").await.unwrap();
    settle(&handle).await;
    weather.foreign.store(true, Ordering::Release);
    weather.term.store(2, Ordering::Release);
    let reason = handle.ended().await.unwrap();
    assert!(reason.contains("PM-STORE-007"), "{reason}");
    assert!(handle.ready().await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_whose_store_never_comes_back_can_be_stopped() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let (handle, weather) = start(&world, folder.path()).await;
    weather.away.store(true, Ordering::Release);
    world.chain.deposit(people().0.owner, people().0.key_hash, 50);
    world.chain.mine(3);
    eventually("the outage shows", async || handle.status_for_tests().store_unreachable.is_some()).await;
    handle.shutdown().await;
}
