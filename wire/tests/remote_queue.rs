//! The TCP adapter keeps the promises of every adapter, refuses strangers, and survives a restarted coordinator.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{net::TcpListener, task::JoinHandle};
use wire::{
    CoordinatorQueue, QueueError, Registration, WorkerEvent, WorkerId, WorkerQueue,
    queue::{
        conformance::{self, Fixture},
        memory::MemoryQueue,
        remote::{RemoteQueue, serve},
    },
};

struct Remote {
    queue: Arc<MemoryQueue>,
    address: String,
    server: JoinHandle<std::io::Result<()>>,
}

impl Remote {
    async fn start(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let queue = Arc::new(MemoryQueue::default());
        let server = tokio::spawn(serve(listener, "secret".to_owned(), Arc::clone(&queue) as _));
        Self { queue, address, server }
    }

    fn join(&self, name: &str, token: &str) -> RemoteQueue {
        RemoteQueue::new(self.address.clone(), token.to_owned(), WorkerId::new(name).unwrap())
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[async_trait]
impl Fixture for Remote {
    async fn coordinator(&self) -> Arc<dyn CoordinatorQueue> {
        Arc::new(self.queue.coordinator())
    }

    async fn worker(&self, id: WorkerId) -> Arc<dyn WorkerQueue> {
        Arc::new(self.join(id.as_str(), "secret"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tcp_queue_keeps_every_promise() {
    conformance::check_all(async || Remote::start("127.0.0.1:0").await).await.unwrap();
}

#[tokio::test]
async fn a_wrong_token_is_refused_and_says_so() {
    let remote = Remote::start("127.0.0.1:0").await;
    let refusal = remote.join("a", "guess").next_control(Duration::ZERO).await.unwrap_err();
    assert!(refusal.to_string().contains("token"), "{refusal}");
}

#[tokio::test]
async fn nobody_there_is_an_error_and_not_a_hang() {
    let queue = RemoteQueue::new("127.0.0.1:1".into(), String::new(), WorkerId::new("a").unwrap());
    assert!(matches!(queue.next_control(Duration::ZERO).await, Err(QueueError::Unreachable(_))));
}

#[tokio::test]
async fn a_worker_registers_again_with_a_coordinator_that_was_restarted() {
    let worker = WorkerId::new("a").unwrap();
    let registration =
        Registration { backend: "cpu".into(), version: "1".into(), memory: 1, circuits: Vec::new() };
    let register =
        |fresh| WorkerEvent::Register { worker: worker.clone(), registration: registration.clone(), fresh };
    let first = Remote::start("127.0.0.1:0").await;
    let address = first.address.clone();
    let remote = first.join("a", "secret");
    remote.emit(&register(true)).await.unwrap();
    drop(first);
    tokio::time::sleep(Duration::from_millis(50)).await;

    let second = Remote::start(&address).await;
    // The first call finds the old connection dead, the next one connects and introduces itself.
    let mut tries = 0;
    while remote.next_control(Duration::ZERO).await.is_err() {
        tries += 1;
        assert!(tries < 20, "the worker does not come back");
    }
    let events = second.queue.coordinator().next_events(Duration::from_secs(5)).await.unwrap();
    assert_eq!(events.events, vec![register(false)]);
}
