//! What every adapter must do: one function per promise of the queue, each run on a fresh queue.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use queue::{CoordinatorQueue, Cursors, PoolEvent, QueueError, QueueWrite, WorkerQueue};
use wire::{Control, Directive, JobId, ProcessId, WorkerEvent, WorkerId, codec::CodecError};

use super::{PROCESS, QUIET, SOON, directive, event, from, input, job, open, pool, until_event, worker};

/// Events of one pool that the queues under test hold at most.
pub const EVENTS: usize = 400;
/// Directives of one worker that the queues under test hold at most.
pub const DIRECTIVES: usize = 8;

/// A queue with nothing in it, to which either side can connect several times.
#[async_trait]
pub trait Fixture: Send + Sync {
    async fn coordinator(&self) -> Arc<dyn CoordinatorQueue>;
    async fn worker(&self, id: &WorkerId, process: ProcessId) -> Arc<dyn WorkerQueue>;
}

/// Runs every check, each on a queue from `fresh`.
pub async fn check_all<F: Fixture>(fresh: impl AsyncFn() -> F) {
    events_come_in_order_and_again_until_acknowledged(&fresh().await).await;
    an_acknowledgement_may_come_twice_late_or_for_an_unknown_pool(&fresh().await).await;
    the_pool_of_an_event_is_the_stream_it_came_from(&fresh().await).await;
    only_events_of_open_pools_are_read(&fresh().await).await;
    what_is_written_to_a_closed_pool_is_deleted_unread(&fresh().await).await;
    directives_reach_the_process_they_are_for_in_order(&fresh().await).await;
    a_rewound_worker_reads_its_directives_again(&fresh().await).await;
    the_directives_of_a_forgotten_worker_are_gone(&fresh().await).await;
    an_input_is_its_pools_until_it_is_removed(&fresh().await).await;
    writes_are_carried_out_in_order(&fresh().await).await;
    whoever_waits_is_woken_and_returns_in_time(&fresh().await).await;
    heartbeats_come_from_a_plain_thread(&fresh().await).await;
    unread_events_are_bounded_and_reading_goes_on(&fresh().await).await;
    the_oldest_directives_give_way(&fresh().await).await;
    a_message_over_its_limit_is_refused(&fresh().await).await;
}

/// Everything that comes until nothing more does.
async fn all_events(queue: &dyn CoordinatorQueue) -> Vec<PoolEvent> {
    let mut events = Vec::new();
    loop {
        let batch = queue.next_events(QUIET).await.unwrap();
        if batch.is_empty() {
            return events;
        }
        events.extend(batch.events);
    }
}

fn of_pool(events: &[PoolEvent], name: &str) -> Vec<WorkerEvent> {
    let of = events.iter().filter(|event| event.worker.pool.as_str() == name);
    of.map(|event| event.event.clone()).collect()
}

async fn events_come_in_order_and_again_until_acknowledged(queue: &dyn Fixture) {
    let coordinator = queue.coordinator().await;
    coordinator.write(&[open(&["a", "b"])]).await.unwrap();
    let (a, b) = (queue.worker(&worker("a/w"), PROCESS).await, queue.worker(&worker("b/w"), PROCESS).await);
    for number in 0..20 {
        a.emit(&event(number)).await.unwrap();
        b.emit(&event(100 + number)).await.unwrap();
    }
    let of_a: Vec<_> = (0..20).map(event).collect();
    let of_b: Vec<_> = (100..120).map(event).collect();
    let events = all_events(&*coordinator).await;
    assert_eq!((of_pool(&events, "a"), of_pool(&events, "b")), (of_a.clone(), of_b.clone()));

    // Not acknowledged: they come again to whoever connects, and not to this connection.
    let again = queue.coordinator().await;
    again.write(&[open(&["a", "b"])]).await.unwrap();
    let mut events = Vec::new();
    let mut cursors = Cursors::default();
    while events.len() < 40 {
        let batch = again.next_events(SOON).await.unwrap();
        cursors.0.extend(batch.up_to.unwrap().0);
        events.extend(batch.events);
    }
    assert_eq!((of_pool(&events, "a"), of_pool(&events, "b")), (of_a.clone(), of_b));

    // Pool `b` is acknowledged; of pool `a` everything comes again, with what is new behind it.
    cursors.0.remove(&pool("a"));
    again.write(&[QueueWrite::Acknowledge(cursors)]).await.unwrap();
    a.emit(&event(20)).await.unwrap();
    assert_eq!(all_events(&*again).await, [from(&worker("a/w"), event(20))]);
    let third = queue.coordinator().await;
    third.write(&[open(&["a", "b"])]).await.unwrap();
    let events = all_events(&*third).await;
    let whole: Vec<_> = of_a.into_iter().chain([event(20)]).collect();
    assert_eq!((of_pool(&events, "a"), of_pool(&events, "b")), (whole, Vec::new()));
}

async fn an_acknowledgement_may_come_twice_late_or_for_an_unknown_pool(queue: &dyn Fixture) {
    let coordinator = queue.coordinator().await;
    coordinator.write(&[open(&["a"])]).await.unwrap();
    let a = queue.worker(&worker("a/w"), PROCESS).await;
    a.emit(&event(1)).await.unwrap();
    let early = coordinator.next_events(SOON).await.unwrap().up_to.unwrap();
    a.emit(&event(2)).await.unwrap();
    let late = coordinator.next_events(SOON).await.unwrap().up_to.unwrap();
    a.emit(&event(3)).await.unwrap();
    let stranger = Cursors(BTreeMap::from([(pool("stranger"), late.0[&pool("a")])]));
    for cursors in [&late, &late, &early, &stranger] {
        coordinator.write(&[QueueWrite::Acknowledge(cursors.clone())]).await.unwrap();
    }
    let next = queue.coordinator().await;
    next.write(&[open(&["a"])]).await.unwrap();
    assert_eq!(all_events(&*next).await, [from(&worker("a/w"), event(3))]);
}

async fn the_pool_of_an_event_is_the_stream_it_came_from(queue: &dyn Fixture) {
    let coordinator = queue.coordinator().await;
    coordinator.write(&[open(&["a", "b"])]).await.unwrap();
    // The same instance name in two pools are two workers, and a process says which it is.
    queue.worker(&worker("a/w"), ProcessId(1)).await.emit(&event(1)).await.unwrap();
    queue.worker(&worker("b/w"), ProcessId(2)).await.emit(&event(1)).await.unwrap();
    let mut from: Vec<_> =
        all_events(&*coordinator).await.into_iter().map(|e| (e.worker, e.process)).collect();
    from.sort();
    assert_eq!(from, [(worker("a/w"), ProcessId(1)), (worker("b/w"), ProcessId(2))]);
}

async fn only_events_of_open_pools_are_read(queue: &dyn Fixture) {
    let coordinator = queue.coordinator().await;
    let (a, b) = (queue.worker(&worker("a/w"), PROCESS).await, queue.worker(&worker("b/w"), PROCESS).await);
    coordinator.write(&[open(&["a"])]).await.unwrap();
    a.emit(&event(1)).await.unwrap();
    b.emit(&event(2)).await.unwrap();
    assert_eq!(all_events(&*coordinator).await, [from(&worker("a/w"), event(1))]);
    coordinator.write(&[open(&["a", "b"])]).await.unwrap();
    b.emit(&event(3)).await.unwrap();
    until_event(&*coordinator, |found| found.event == event(3)).await;
}

async fn what_is_written_to_a_closed_pool_is_deleted_unread(queue: &dyn Fixture) {
    let coordinator = queue.coordinator().await;
    let a = queue.worker(&worker("a/w"), PROCESS).await;
    coordinator.write(&[open(&["a", "b"])]).await.unwrap();
    a.emit(&event(1)).await.unwrap();
    let closed = BTreeSet::from([pool("a")]);
    coordinator.write(&[QueueWrite::Pools { open: BTreeSet::from([pool("b")]), closed }]).await.unwrap();
    a.emit(&event(2)).await.unwrap();
    assert!(coordinator.next_events(QUIET).await.unwrap().is_empty());
    coordinator.write(&[open(&["a", "b"])]).await.unwrap();
    a.emit(&event(3)).await.unwrap();
    assert_eq!(all_events(&*coordinator).await, [from(&worker("a/w"), event(3))]);
}

async fn directives_reach_the_process_they_are_for_in_order(queue: &dyn Fixture) {
    let coordinator = queue.coordinator().await;
    let (w, other) = (worker("a/w"), worker("a/other"));
    let reader = queue.worker(&w, PROCESS).await;
    let to = |worker: &WorkerId, process, number| {
        let directive = Directive { process, control: job(number) };
        QueueWrite::Directive { worker: worker.clone(), directive }
    };
    // One that started before the other process of its name, one of another name, one of another pool.
    let writes = [
        to(&w, PROCESS, 1),
        to(&w, ProcessId(8), 2),
        to(&other, PROCESS, 3),
        to(&worker("b/w"), PROCESS, 4),
        to(&w, PROCESS, 5),
    ];
    coordinator.write(&writes).await.unwrap();
    for expected in [job(1), job(5)] {
        assert_eq!(reader.next_control(SOON).await.unwrap(), Some(expected));
    }
    assert_eq!(reader.next_control(QUIET).await.unwrap(), None);
    let second = queue.worker(&w, ProcessId(8)).await;
    assert_eq!(second.next_control(SOON).await.unwrap(), Some(job(2)));
    assert_eq!(second.next_control(QUIET).await.unwrap(), None);
    let elsewhere = queue.worker(&worker("b/w"), PROCESS).await;
    assert_eq!(elsewhere.next_control(SOON).await.unwrap(), Some(job(4)));
    assert_eq!((reader.id(), elsewhere.id()), (&w, &worker("b/w")));
}

async fn a_rewound_worker_reads_its_directives_again(queue: &dyn Fixture) {
    let coordinator = queue.coordinator().await;
    let w = worker("a/w");
    let reader = queue.worker(&w, PROCESS).await;
    coordinator.write(&[directive(&w, job(1)), directive(&w, Control::Drain)]).await.unwrap();
    assert_eq!(reader.next_control(SOON).await.unwrap(), Some(job(1)));
    reader.rewind();
    for expected in [job(1), Control::Drain] {
        assert_eq!(reader.next_control(SOON).await.unwrap(), Some(expected));
    }
    assert_eq!(reader.next_control(QUIET).await.unwrap(), None);
}

async fn the_directives_of_a_forgotten_worker_are_gone(queue: &dyn Fixture) {
    let coordinator = queue.coordinator().await;
    let (w, other) = (worker("a/w"), worker("a/other"));
    coordinator.write(&[directive(&w, job(1)), directive(&other, job(2))]).await.unwrap();
    let forget = QueueWrite::Forget { worker: w.clone() };
    coordinator.write(&[forget.clone(), forget]).await.unwrap();
    let reader = queue.worker(&w, PROCESS).await;
    assert_eq!(reader.next_control(QUIET).await.unwrap(), None);
    let kept = queue.worker(&other, PROCESS).await;
    assert_eq!(kept.next_control(SOON).await.unwrap(), Some(job(2)));
    // It comes back: what is sent then arrives.
    coordinator.write(&[directive(&w, job(3))]).await.unwrap();
    assert_eq!(reader.next_control(SOON).await.unwrap(), Some(job(3)));
}

async fn an_input_is_its_pools_until_it_is_removed(queue: &dyn Fixture) {
    let coordinator = queue.coordinator().await;
    let (a, b) = (queue.worker(&worker("a/w"), PROCESS).await, queue.worker(&worker("b/w"), PROCESS).await);
    let bytes: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let write = input("a", 1, &bytes);
    coordinator.write(&[write.clone(), write, input("a", 2, b"other")]).await.unwrap();
    for _ in 0..2 {
        assert_eq!(a.input(JobId(1)).await.unwrap(), bytes, "it can be read again");
    }
    assert_eq!(b.input(JobId(1)).await, Err(QueueError::NoInput(JobId(1))), "another pool's");
    let remove = QueueWrite::RemoveInput { pool: pool("a"), job: JobId(1) };
    let not_this = QueueWrite::RemoveInput { pool: pool("b"), job: JobId(2) };
    coordinator.write(&[remove.clone(), remove, not_this]).await.unwrap();
    assert_eq!(a.input(JobId(1)).await, Err(QueueError::NoInput(JobId(1))));
    assert_eq!(a.input(JobId(2)).await.unwrap(), b"other");
}

async fn writes_are_carried_out_in_order(queue: &dyn Fixture) {
    let coordinator = queue.coordinator().await;
    let w = worker("a/w");
    let reader = queue.worker(&w, PROCESS).await;
    let large = vec![7; 3 << 20];
    let mut writes = Vec::new();
    // More than fits one round trip, and each job with its input before it.
    for number in 1..=6 {
        writes.push(input("a", number, &large));
        writes.push(directive(&w, job(number)));
    }
    let write = async { coordinator.write(&writes).await.unwrap() };
    let read = async {
        for number in 1..=6 {
            assert_eq!(reader.next_control(SOON).await.unwrap(), Some(job(number)));
            assert_eq!(reader.input(JobId(number)).await.unwrap().len(), large.len());
        }
    };
    tokio::join!(write, read);
}

async fn whoever_waits_is_woken_and_returns_in_time(queue: &dyn Fixture) {
    let coordinator = queue.coordinator().await;
    coordinator.write(&[open(&["a"])]).await.unwrap();
    let w = worker("a/w");
    let reader = queue.worker(&w, PROCESS).await;
    let wait = Duration::from_millis(120);
    let start = Instant::now();
    assert_eq!(reader.next_control(wait).await.unwrap(), None);
    assert!(coordinator.next_events(wait).await.unwrap().is_empty());
    let waited = start.elapsed();
    assert!(waited >= 2 * wait && waited < SOON, "{waited:?}");

    let (emitter, sender) = (queue.worker(&w, PROCESS).await, queue.coordinator().await);
    let later = async {
        tokio::time::sleep(QUIET).await;
        emitter.emit(&event(1)).await.unwrap();
        sender.write(&[directive(&w, job(1))]).await.unwrap();
    };
    let start = Instant::now();
    let (control, batch, ()) = tokio::join!(reader.next_control(SOON), coordinator.next_events(SOON), later);
    assert_eq!((control.unwrap(), batch.unwrap().events), (Some(job(1)), vec![from(&w, event(1))]));
    assert!(start.elapsed() < SOON / 2, "woken by what came");
}

async fn heartbeats_come_from_a_plain_thread(queue: &dyn Fixture) {
    let coordinator = queue.coordinator().await;
    coordinator.write(&[open(&["a"])]).await.unwrap();
    let w = worker("a/w");
    let mut liveness = queue.worker(&w, PROCESS).await.liveness().unwrap();
    let beat = WorkerEvent::Heartbeat { in_flight: Vec::new(), card: None };
    let sent = beat.clone();
    std::thread::spawn(move || (0..2).for_each(|_| liveness.beat(&sent).unwrap())).join().unwrap();
    assert_eq!(all_events(&*coordinator).await, [from(&w, beat.clone()), from(&w, beat)]);
}

async fn unread_events_are_bounded_and_reading_goes_on(queue: &dyn Fixture) {
    let coordinator = queue.coordinator().await;
    coordinator.write(&[open(&["a", "b"])]).await.unwrap();
    let (a, b) = (queue.worker(&worker("a/w"), PROCESS).await, queue.worker(&worker("b/w"), PROCESS).await);
    for number in 0..3 * EVENTS {
        a.emit(&event(number)).await.unwrap();
    }
    b.emit(&event(1)).await.unwrap();
    let events = all_events(&*coordinator).await;
    assert!(of_pool(&events, "a").len() <= EVENTS, "{} were kept", of_pool(&events, "a").len());
    assert_eq!(of_pool(&events, "b"), [event(1)], "another pool's stay");
    a.emit(&event(1)).await.unwrap();
    assert_eq!(all_events(&*coordinator).await, [from(&worker("a/w"), event(1))]);
}

async fn the_oldest_directives_give_way(queue: &dyn Fixture) {
    let coordinator = queue.coordinator().await;
    let (w, other) = (worker("a/w"), worker("a/other"));
    let all = 3 * DIRECTIVES as u64;
    let mut writes: Vec<_> = (1..=all).map(|number| directive(&w, job(number))).collect();
    writes.push(directive(&other, job(1)));
    coordinator.write(&writes).await.unwrap();
    let reader = queue.worker(&w, PROCESS).await;
    for number in all - DIRECTIVES as u64 + 1..=all {
        assert_eq!(reader.next_control(SOON).await.unwrap(), Some(job(number)));
    }
    assert_eq!(reader.next_control(QUIET).await.unwrap(), None);
    let kept = queue.worker(&other, PROCESS).await;
    assert_eq!(kept.next_control(SOON).await.unwrap(), Some(job(1)));
}

async fn a_message_over_its_limit_is_refused(queue: &dyn Fixture) {
    let a = queue.worker(&worker("a/w"), PROCESS).await;
    let long = WorkerEvent::Left { message: "x".repeat(wire::codec::MAX_MESSAGE) };
    let refused = QueueError::Codec(CodecError::TooLong { length: 0, limit: wire::codec::MAX_MESSAGE });
    let error = a.emit(&long).await.unwrap_err();
    assert_eq!(std::mem::discriminant(&error), std::mem::discriminant(&refused), "{error}");
    assert!(error.to_string().contains("PM-WIRE-006"), "{error}");
}
