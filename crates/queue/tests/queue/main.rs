//! The queue: what every adapter promises, and what Redis, networks and thieves of a credential do to it.
//!
//! | module | what it pins down |
//! |---|---|
//! | `conformance` | one function per promise of the traits; every adapter runs all of them |
//! | `memory`, `redis` | the adapters: their own limits; a Redis that is wiped, killed, demoted, or partly gone |
//! | `access` | who gets in, what each user may do, and what a bad network does |
//! | `hostile` | what a stolen credential of one pool costs the coordinator and the other pools |
//! | `farm`, `proxy` | a deployment on a private Redis; a network that cuts, swallows and turns around |

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod access;
mod conformance;
mod farm;
mod hostile;
mod memory;
mod proxy;
mod redis;

use std::{collections::BTreeSet, time::Duration};

use circuits::shape::Shape;
use queue::{CoordinatorQueue, PoolEvent, QueueWrite};
use wire::{Attempt, Control, Directive, JobEntry, JobId, PoolName, ProcessId, WorkerEvent, WorkerId};

/// Long enough for anything that is on its way.
const SOON: Duration = Duration::from_secs(20);
/// How long nothing must come.
const QUIET: Duration = Duration::from_millis(40);
/// The process of each worker here, unless a test says otherwise.
const PROCESS: ProcessId = ProcessId(7);

fn pool(name: &str) -> PoolName {
    PoolName::new(name).unwrap()
}

/// `POOL/INSTANCE`.
fn worker(name: &str) -> WorkerId {
    WorkerId::parse(name).unwrap()
}

fn open(pools: &[&str]) -> QueueWrite {
    QueueWrite::Pools { open: pools.iter().map(|name| pool(name)).collect(), closed: BTreeSet::new() }
}

fn job(number: u64) -> Control {
    Control::Job(JobEntry {
        job: JobId(number),
        attempt: Attempt(1),
        shape: Shape::S3M1,
        circuit_digest: [1; 32],
        input_hash: [2; 32],
    })
}

fn directive(to: &WorkerId, control: Control) -> QueueWrite {
    QueueWrite::Directive { worker: to.clone(), directive: Directive { process: PROCESS, control } }
}

fn input(of: &str, number: u64, bytes: &[u8]) -> QueueWrite {
    QueueWrite::Input { pool: pool(of), job: JobId(number), input: bytes.into() }
}

/// An event that a reader tells from others by its number.
fn event(number: usize) -> WorkerEvent {
    WorkerEvent::Left { message: number.to_string() }
}

fn from(worker: &WorkerId, event: WorkerEvent) -> PoolEvent {
    PoolEvent { worker: worker.clone(), process: PROCESS, event }
}

/// Reads and acknowledges events until one is like this: all up to the end of its batch. Errors are passed over.
async fn until_event(queue: &dyn CoordinatorQueue, wanted: impl Fn(&PoolEvent) -> bool) -> Vec<PoolEvent> {
    let search = async {
        let mut events = Vec::new();
        loop {
            let Ok(batch) = queue.next_events(QUIET).await else {
                tokio::time::sleep(QUIET).await;
                continue;
            };
            if let Some(up_to) = batch.up_to {
                let _ = queue.write(&[QueueWrite::Acknowledge(up_to)]).await;
            }
            events.extend(batch.events);
            if events.iter().any(&wanted) {
                return events;
            }
        }
    };
    tokio::time::timeout(SOON, search).await.unwrap()
}
