//! The in-process adapter: the promises of every adapter, and its own limits.

use std::sync::Arc;

use async_trait::async_trait;
use queue::{
    CoordinatorQueue, Replaced, Trouble, WorkerQueue,
    memory::{Limits, MemoryQueue},
};
use wire::{ProcessId, WorkerId};

use super::{
    PROCESS, QUIET, SOON,
    conformance::{self, DIRECTIVES, EVENTS, Fixture},
    event, from, open, pool, worker,
};

#[async_trait]
impl Fixture for MemoryQueue {
    async fn coordinator(&self) -> Arc<dyn CoordinatorQueue> {
        Arc::new(MemoryQueue::coordinator(self))
    }

    async fn worker(&self, id: &WorkerId, process: ProcessId) -> Arc<dyn WorkerQueue> {
        Arc::new(MemoryQueue::worker(self, id.clone(), process))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_in_process_queue_keeps_every_promise() {
    let limits = Limits { events: EVENTS, directives: DIRECTIVES, ..Limits::default() };
    conformance::check_all(async || MemoryQueue::new(limits)).await;
}

#[tokio::test]
async fn one_event_too_many_replaces_those_of_its_pool_and_says_so() {
    let queue = MemoryQueue::new(Limits { events: 2, ..Limits::default() });
    let coordinator = queue.coordinator();
    coordinator.write(&[open(&["a"])]).await.unwrap();
    let a = queue.worker(worker("a/w"), PROCESS);
    for number in 0..3 {
        a.emit(&event(number)).await.unwrap();
    }
    let batch = coordinator.next_events(SOON).await.unwrap();
    assert!(batch.events.is_empty());
    assert_eq!(batch.troubles, [(pool("a"), Trouble::Replaced(Replaced::Oversized))]);
    a.emit(&event(3)).await.unwrap();
    assert_eq!(coordinator.next_events(SOON).await.unwrap().events, [from(&worker("a/w"), event(3))]);
}

#[tokio::test]
async fn a_batch_is_bounded_and_the_rest_comes_next() {
    let queue = MemoryQueue::new(Limits { batch: 3, ..Limits::default() });
    let coordinator = queue.coordinator();
    coordinator.write(&[open(&["a"])]).await.unwrap();
    let a = queue.worker(worker("a/w"), PROCESS);
    for number in 0..5 {
        a.emit(&event(number)).await.unwrap();
    }
    let mut lengths = Vec::new();
    for _ in 0..3 {
        lengths.push(coordinator.next_events(QUIET).await.unwrap().events.len());
    }
    assert_eq!(lengths, [3, 2, 0]);
}
