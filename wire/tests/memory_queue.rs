//! The in-process adapter: the promises of every adapter, and its own limits.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use circuits::shape::Shape;
use wire::{
    Attempt, Control, CoordinatorQueue, JobEntry, JobId, Priority, QueueError, WorkerEvent, WorkerId,
    WorkerQueue,
    codec::MAX_INPUT,
    queue::{
        conformance::{self, Fixture},
        memory::{Limits, MemoryQueue},
    },
};

struct Memory(MemoryQueue);

#[async_trait]
impl Fixture for Memory {
    async fn coordinator(&self) -> Arc<dyn CoordinatorQueue> {
        Arc::new(self.0.coordinator())
    }

    async fn worker(&self, id: WorkerId) -> Arc<dyn WorkerQueue> {
        Arc::new(self.0.worker(id))
    }
}

fn id(name: &str) -> WorkerId {
    WorkerId::new(name).unwrap()
}

fn entry(job: u64) -> JobEntry {
    JobEntry {
        job: JobId(job),
        attempt: Attempt(1),
        shape: Shape::S3M1,
        circuit_digest: [0; 32],
        input_hash: [0; 32],
        excluded: Vec::new(),
    }
}

fn left(message: &str) -> WorkerEvent {
    WorkerEvent::Left { worker: id("a"), message: message.to_owned() }
}

#[tokio::test]
async fn the_in_process_queue_keeps_every_promise() {
    conformance::check_all(async || Memory(MemoryQueue::default())).await.unwrap();
}

#[tokio::test]
async fn a_full_queue_refuses_entries_and_controls() {
    let limits = Limits { entries: 2, controls: 1, workers: 1, ..Limits::default() };
    let queue = MemoryQueue::new(limits);
    let coordinator = queue.coordinator();
    coordinator.publish(&entry(1), b"", Priority::Normal).await.unwrap();
    coordinator.publish(&entry(2), b"", Priority::Urgent).await.unwrap();
    let full = coordinator.publish(&entry(3), b"", Priority::Urgent).await;
    assert_eq!(full, Err(QueueError::Full { what: "entries", limit: 2 }));
    let cancel = Control::Cancel { job: JobId(1), attempt: Attempt(1) };
    coordinator.control(&id("a"), cancel).await.unwrap();
    assert!(matches!(
        coordinator.control(&id("a"), cancel).await,
        Err(QueueError::Full { what: "controls", .. })
    ));
    assert!(coordinator.control(&id("b"), cancel).await.is_err());
    queue.worker(id("a")).next_control(Duration::ZERO).await.unwrap().unwrap();
    coordinator.control(&id("b"), cancel).await.unwrap();
}

#[tokio::test]
async fn an_input_over_the_limit_is_refused() {
    let coordinator = MemoryQueue::default().coordinator();
    let input = vec![0; MAX_INPUT + 1];
    assert!(matches!(
        coordinator.publish(&entry(1), &input, Priority::Normal).await,
        Err(QueueError::Codec(_))
    ));
}

#[tokio::test]
async fn a_writer_waits_for_room_while_a_heartbeat_does_not() {
    let queue = MemoryQueue::new(Limits { events: 1, ..Limits::default() });
    let worker = queue.worker(id("a"));
    worker.emit(&left("first")).await.unwrap();
    let beat = worker.liveness().unwrap().beat(&left("beat"));
    assert_eq!(beat, Err(QueueError::Full { what: "events", limit: 1 }));

    let coordinator = queue.coordinator();
    let second = tokio::spawn(async move { worker.emit(&left("second")).await });
    let first = coordinator.next_events(Duration::from_secs(10)).await.unwrap();
    assert_eq!(first.events, [left("first")]);
    assert!(coordinator.next_events(Duration::from_millis(30)).await.unwrap().events.is_empty());
    coordinator.acknowledge(first.up_to.unwrap()).await.unwrap();
    second.await.unwrap().unwrap();
    assert_eq!(coordinator.next_events(Duration::from_secs(10)).await.unwrap().events, [left("second")]);
}
