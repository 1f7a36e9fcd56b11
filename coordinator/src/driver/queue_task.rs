//! Eyes and hands on the queue. A proof is verified here, in the blocking pool, before it becomes an event; events are
//! acknowledged only after their effects are durable.

use std::{sync::Arc, time::Duration};

use bn254::Fr;
use circuits::shape::Shape;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;
use wire::{
    WorkerEvent,
    queue::{CoordinatorQueue, EventBatch, QueueError},
};

use super::{FromQueue, Message, ToQueue, handle::Link};
use crate::verifier::{ProofVerifier, pooled};

const WAIT: Duration = Duration::from_millis(500);
const RETRY: Duration = Duration::from_millis(200);

/// Carries effects to the queue, in order, each until it succeeds.
pub(super) async fn write(
    queue: Arc<dyn CoordinatorQueue>,
    mut effects: UnboundedReceiver<ToQueue>,
    cancel: CancellationToken,
) {
    while let Some(effect) = next(&mut effects, &cancel).await {
        let [before, after] = points(&effect);
        wire::failpoint(before);
        while let Err(error) = carry(queue.as_ref(), &effect).await {
            tracing::warn!(%error, "the queue does not take an effect; it is tried again");
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
        wire::failpoint(after);
    }
}

/// Where a test may kill the process before and after an effect.
fn points(effect: &ToQueue) -> [&'static str; 2] {
    match effect {
        ToQueue::Publish { .. } => ["queue.publish", "queue.published"],
        ToQueue::Control { .. } => ["queue.control", "queue.controlled"],
        ToQueue::Retire { .. } => ["queue.retire", "queue.retired"],
        ToQueue::Remove { .. } => ["queue.remove", "queue.removed"],
        ToQueue::Acknowledge(_) => ["queue.acknowledge", "queue.acknowledged"],
    }
}

async fn next(effects: &mut UnboundedReceiver<ToQueue>, cancel: &CancellationToken) -> Option<ToQueue> {
    tokio::select! {
        () = cancel.cancelled() => None,
        effect = effects.recv() => effect,
    }
}

pub(crate) async fn carry(queue: &dyn CoordinatorQueue, effect: &ToQueue) -> Result<(), QueueError> {
    match effect {
        ToQueue::Publish { entry, input, priority } => queue.publish(entry, input, *priority).await,
        // A control that finds no room costs a lease, not a job.
        ToQueue::Control { worker, control } => match queue.control(worker, *control).await {
            Err(QueueError::Full { .. }) => Ok(()),
            other => other,
        },
        ToQueue::Retire { job, attempt } => queue.retire(*job, *attempt).await,
        ToQueue::Remove { job } => queue.remove(*job).await,
        ToQueue::Acknowledge(up_to) => queue.acknowledge(*up_to).await,
    }
}

/// Reads what workers report.
pub(super) async fn read(
    queue: Arc<dyn CoordinatorQueue>,
    verifier: Arc<dyn ProofVerifier>,
    link: Link,
    cancel: CancellationToken,
) {
    while !cancel.is_cancelled() {
        match queue.next_events(WAIT).await {
            Ok(batch) => {
                if !deliver(batch, &verifier, &link).await {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the queue's events cannot be read; they are asked for again");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Hands what was read to the driver; false once that has stopped.
pub(crate) async fn deliver(batch: EventBatch, verifier: &Arc<dyn ProofVerifier>, link: &Link) -> bool {
    if batch.malformed > 0 {
        metrics::counter!("proofmill_queue_malformed_total").increment(batch.malformed as u64);
    }
    if batch.lost {
        tracing::warn!("the queue was wiped; what was published is published again");
        metrics::counter!("proofmill_queue_lost_total").increment(1);
        wire::failpoint("queue.lost");
    } else if batch.up_to.is_none() {
        return true;
    }
    wire::failpoint("queue.read");
    let mut events = Vec::with_capacity(batch.events.len() + 1);
    events.extend(batch.lost.then_some(FromQueue::Lost));
    for event in batch.events {
        events.extend(check(event, verifier, link).await);
    }
    link.send(Message::FromQueue { events, up_to: batch.up_to })
}

/// A proof is verified against the public inputs that were computed at sealing, whatever the worker says they are. One for
/// a batch that is proven already is only noted.
async fn check(event: WorkerEvent, verifier: &Arc<dyn ProofVerifier>, link: &Link) -> Option<FromQueue> {
    let WorkerEvent::Proved { worker, job, attempt, proof, timings, .. } = event else {
        return Some(FromQueue::Event(Box::new(event)));
    };
    let batch_no = job.batch_no()?;
    let wanted: Option<(Shape, [Fr; 3])> = link
        .ask(move |state| {
            let batch = state.batch(batch_no).filter(|_| state.wants_proof(batch_no))?;
            Some((batch.shape, batch.public_inputs))
        })
        .await
        .flatten();
    let Some((shape, public_inputs)) = wanted else {
        return Some(FromQueue::Late { worker, job, attempt });
    };
    let verifier = Arc::clone(verifier);
    let verified = pooled(move || verifier.verify(shape, &public_inputs, &proof.0)).await;
    let valid = verified.unwrap_or(false);
    wire::failpoint("queue.verified");
    Some(FromQueue::Proof { worker, job, attempt, proof: Box::new(proof), timings, valid })
}
