//! Consumes what workers report, and publishes the farm's effects. A proof is verified here, in the blocking pool, before it
//! becomes an event; events are acknowledged only after their effects are durable.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bn254::Fr;
use circuits::shape::Shape;
use queue::{CoordinatorQueue, EventBatch, PoolEvent, QueueError, QueueWrite, Trouble};
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;
use wire::{Attempt, Control, JobId, WorkerEvent, WorkerId};

use super::{
    FromQueue, Message, SharedStatus, ToQueue,
    handle::{Link, pooled as in_pool},
};
use crate::{
    explain::Evidence,
    verifier::{ProofVerifier, pooled},
};

const WAIT: Duration = Duration::from_millis(500);
const BACKOFF: Duration = Duration::from_millis(200);
/// Effects that are carried out in one go.
const AT_ONCE: usize = 256;

/// Carries effects to the queue, in order, each until it succeeds.
pub(super) async fn write(
    queue: Arc<dyn CoordinatorQueue>,
    mut effects: Receiver<ToQueue>,
    link: Link,
    status: SharedStatus,
    cancel: CancellationToken,
) {
    let mut waiting = Vec::with_capacity(AT_ONCE);
    while next(&mut effects, &mut waiting, &cancel).await {
        let replay = |batch_no, evidence| {
            tokio::spawn(replay(batch_no, evidence, link.clone()));
        };
        let writes = split(waiting.drain(..), replay);
        failpoints(&writes, 0);
        loop {
            match queue.write(&writes).await {
                Ok(()) => break,
                // Repeating does not help, and what is missing is sent again when heartbeats show it.
                Err(error @ QueueError::Codec(_)) => {
                    tracing::error!(%error, "an effect cannot be encoded; it is dropped");
                    break;
                }
                Err(error) => {
                    tracing::warn!(%error, "the queue does not take an effect; it is tried again");
                    status.set(|status| status.queue_unreachable = Some(error.to_string()));
                }
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(BACKOFF) => {}
            }
        }
        status.set(|status| status.queue_unreachable = None);
        failpoints(&writes, 1);
    }
}

/// Waits for effects; false once there will be none.
async fn next(
    effects: &mut Receiver<ToQueue>,
    waiting: &mut Vec<ToQueue>,
    cancel: &CancellationToken,
) -> bool {
    tokio::select! {
        () = cancel.cancelled() => false,
        count = effects.recv_many(waiting, AT_ONCE) => count > 0,
    }
}

/// The writes among the effects; replays are handed to the caller.
pub fn split(
    effects: impl Iterator<Item = ToQueue>,
    mut replay: impl FnMut(u32, Evidence),
) -> Vec<QueueWrite> {
    let mut writes = Vec::new();
    for effect in effects {
        match effect {
            ToQueue::Write(write) => writes.push(write),
            ToQueue::Replay { batch_no, evidence } => replay(batch_no, evidence),
        }
    }
    writes
}

/// Replays an input in the pool and tells the driver what came of it.
async fn replay(batch_no: u32, evidence: Evidence, link: Link) {
    // Without an answer the coordinator stops.
    let Ok(suspects) = in_pool(move || evidence.bisect()).await else { return };
    let unprovable = suspects.first().map(|suspect| suspect.reason.clone());
    link.send(Message::FromQueue { events: vec![FromQueue::Replayed { batch_no, unprovable }], up_to: None })
        .await;
}

/// Where a test may kill the process before and after an effect.
fn failpoints(writes: &[QueueWrite], moment: usize) {
    for write in writes {
        let points = match write {
            QueueWrite::Pools { .. } => ["queue.pools", "queue.pools_told"],
            QueueWrite::Input { .. } => ["queue.input", "queue.input_laid"],
            QueueWrite::Directive { directive, .. } => match directive.control {
                Control::Job(_) => ["queue.dispatch", "queue.dispatched"],
                _ => ["queue.control", "queue.controlled"],
            },
            QueueWrite::RemoveInput { .. } => ["queue.remove", "queue.removed"],
            QueueWrite::Forget { .. } => ["queue.forget", "queue.forgotten"],
            QueueWrite::Acknowledge(_) => ["queue.acknowledge", "queue.acknowledged"],
        };
        wire::failpoint(points[moment]);
    }
}

/// Reads what workers report.
pub(super) async fn read(
    queue: Arc<dyn CoordinatorQueue>,
    verifier: Arc<dyn ProofVerifier>,
    link: Link,
    status: SharedStatus,
    cancel: CancellationToken,
) {
    while !cancel.is_cancelled() {
        match queue.next_events(WAIT).await {
            Ok(batch) => {
                status.set(|status| status.events_unreachable = None);
                if !deliver(batch, &verifier, &link).await {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the queue's events cannot be read; they are asked for again");
                status.set(|status| status.events_unreachable = Some(error.to_string()));
                tokio::time::sleep(BACKOFF).await;
            }
        }
    }
}

/// Hands what was read to the driver; false once that has stopped.
pub async fn deliver(batch: EventBatch, verifier: &Arc<dyn ProofVerifier>, link: &Link) -> bool {
    if batch.is_empty() {
        return true;
    }
    wire::failpoint("queue.read");
    let mut events = Vec::with_capacity(batch.events.len());
    if batch.wiped {
        tracing::warn!("the queue was wiped; attempts in flight are sent again");
        events.push(FromQueue::Wiped);
    }
    for (pool, trouble) in batch.troubles {
        let entries = match trouble {
            Trouble::Malformed { count, reason } => {
                tracing::warn!(%pool, count, reason, "PM-FARM-003: a pool's events cannot be read; they are skipped");
                metrics::counter!("proofmill_queue_malformed_total").increment(count as u64);
                count as u64
            }
            Trouble::Replaced(why) => {
                tracing::warn!(%pool, why = why.name(), "PM-FARM-004: a pool's stream of events was replaced by an empty one");
                metrics::counter!("proofmill_queue_replaced_total", "why" => why.name()).increment(1);
                0
            }
        };
        events.push(FromQueue::Trouble { pool, entries });
    }
    let mut seen = BTreeSet::new();
    for event in batch.events {
        events.extend(check(event, &mut seen, verifier, link).await);
    }
    link.send(Message::FromQueue { events, up_to: batch.up_to }).await
}

/// A proof is verified against the public inputs that were computed at sealing. One for a batch that is proven already, or
/// of an attempt that the worker never had, is only answered: it costs no verification. `seen`: what was verified of this
/// batch of events, since each attempt of a worker is worth one verification.
async fn check(
    event: PoolEvent,
    seen: &mut BTreeSet<(WorkerId, JobId, Attempt)>,
    verifier: &Arc<dyn ProofVerifier>,
    link: &Link,
) -> Option<FromQueue> {
    let PoolEvent { worker, process, event } = event;
    let WorkerEvent::Proved { job, attempt, proof, timings } = event else {
        return Some(FromQueue::Report { worker, process, event: Box::new(event) });
    };
    if !seen.insert((worker.clone(), job, attempt)) {
        return None;
    }
    let asked = worker.clone();
    let wanted: Option<(Shape, [Fr; 3])> = link
        .ask(move |state| {
            let batch_no = job.batch_no()?;
            let wants = state.wants_proof(batch_no) && state.farm().was_granted(&asked, job, attempt);
            let batch = state.batch(batch_no).filter(|_| wants)?;
            Some((batch.shape, batch.public_inputs))
        })
        .await
        .flatten();
    let Some((shape, public_inputs)) = wanted else {
        return Some(FromQueue::Late { worker, process, job, attempt });
    };
    let verifier = Arc::clone(verifier);
    let verified = pooled(move || verifier.verify(shape, &public_inputs, &proof.0)).await;
    let valid = verified.unwrap_or(false);
    wire::failpoint("queue.verified");
    Some(FromQueue::Proof { worker, process, job, attempt, proof: Box::new(proof), timings, valid })
}
