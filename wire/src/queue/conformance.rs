//! What every adapter must do: one function per promise of the queue, each run on a fresh queue.
//!
//! For tests: a broken promise panics with the promise's name in the backtrace.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use circuits::shape::Shape;

use super::{CoordinatorQueue, Depth, Priority, QueueError, WorkerQueue};
use crate::{
    event::{Control, FailureKind, Hold, Registration, Stage, WorkerEvent},
    job::{Attempt, JobEntry, JobId, WorkerId},
};

/// A queue with nothing in it, to which either side can connect several times.
#[async_trait]
pub trait Fixture: Send + Sync {
    async fn coordinator(&self) -> Arc<dyn CoordinatorQueue>;
    async fn worker(&self, id: WorkerId) -> Arc<dyn WorkerQueue>;
}

/// Long enough for anything that is on its way.
const SOON: Duration = Duration::from_secs(10);
/// How long nothing must come.
const QUIET: Duration = Duration::from_millis(40);

type Outcome = Result<(), QueueError>;

/// Runs every check, each on a queue from `fresh`.
///
/// # Errors
/// The first error of the adapter that no check expects.
///
/// # Panics
/// At the first broken promise.
pub async fn check_all<F: Fixture>(fresh: impl AsyncFn() -> F) -> Outcome {
    entries_come_in_order_urgent_first(&fresh().await).await?;
    an_entry_goes_to_one_claimer_of_its_circuit(&fresh().await).await?;
    an_excluded_worker_does_not_get_the_entry(&fresh().await).await?;
    a_waiting_claimer_is_woken(&fresh().await).await?;
    an_input_stays_until_its_job_is_removed(&fresh().await).await?;
    events_come_in_order_and_again_until_acknowledged(&fresh().await).await?;
    controls_reach_their_worker_once(&fresh().await).await?;
    depth_counts_waiting_and_claimed_entries(&fresh().await).await?;
    heartbeats_come_from_a_plain_thread(&fresh().await).await
}

fn worker(name: &str) -> WorkerId {
    match WorkerId::new(name) {
        Ok(id) => id,
        Err(error) => panic!("{error}"),
    }
}

fn entry(job: u64, shape: Shape) -> JobEntry {
    JobEntry {
        job: JobId(job),
        attempt: Attempt(1),
        shape,
        circuit_digest: [1; 32],
        input_hash: [2; 32],
        excluded: Vec::new(),
    }
}

fn heartbeat(id: &WorkerId, job: u64) -> WorkerEvent {
    let hold = Hold { job: JobId(job), attempt: Attempt(1), stage: Stage::Proving };
    WorkerEvent::Heartbeat { worker: id.clone(), holds: vec![hold], card: None }
}

fn failed(id: &WorkerId, entry: &JobEntry) -> WorkerEvent {
    WorkerEvent::Failed {
        worker: id.clone(),
        job: entry.job,
        attempt: entry.attempt,
        kind: FailureKind::Infrastructure,
        message: "conformance".to_owned(),
    }
}

async fn entries_come_in_order_urgent_first(queue: &dyn Fixture) -> Outcome {
    let coordinator = queue.coordinator().await;
    for (job, priority) in
        [(1, Priority::Normal), (2, Priority::Normal), (3, Priority::Urgent), (4, Priority::Urgent)]
    {
        coordinator.publish(&entry(job, Shape::S3M1), b"input", priority).await?;
    }
    let a = queue.worker(worker("a")).await;
    for expected in [3, 4, 1, 2] {
        assert_eq!(a.claim(&[Shape::S3M1], SOON).await?, Some(entry(expected, Shape::S3M1)));
    }
    assert_eq!(a.claim(&[Shape::S3M1], QUIET).await?, None);
    Ok(())
}

async fn an_entry_goes_to_one_claimer_of_its_circuit(queue: &dyn Fixture) -> Outcome {
    let coordinator = queue.coordinator().await;
    let (a, b) = (queue.worker(worker("a")).await, queue.worker(worker("b")).await);
    coordinator.publish(&entry(1, Shape::S14M2), b"input", Priority::Normal).await?;
    assert_eq!(a.claim(&[Shape::S3M1, Shape::S60M4], QUIET).await?, None);
    let both = [Shape::S3M1, Shape::S14M2];
    let (first, second) = tokio::join!(a.claim(&both, QUIET), b.claim(&both, QUIET));
    assert_eq!(first?.into_iter().chain(second?).collect::<Vec<_>>(), [entry(1, Shape::S14M2)]);
    Ok(())
}

async fn an_excluded_worker_does_not_get_the_entry(queue: &dyn Fixture) -> Outcome {
    let coordinator = queue.coordinator().await;
    let (a, b) = (queue.worker(worker("a")).await, queue.worker(worker("b")).await);
    let retry = JobEntry { attempt: Attempt(2), excluded: vec![worker("a")], ..entry(1, Shape::S3M1) };
    coordinator.publish(&retry, b"input", Priority::Urgent).await?;
    coordinator.publish(&entry(2, Shape::S3M1), b"input", Priority::Normal).await?;
    assert_eq!(a.claim(&[Shape::S3M1], SOON).await?, Some(entry(2, Shape::S3M1)));
    assert_eq!(b.claim(&[Shape::S3M1], SOON).await?, Some(retry));
    Ok(())
}

async fn a_waiting_claimer_is_woken(queue: &dyn Fixture) -> Outcome {
    let coordinator = queue.coordinator().await;
    let a = queue.worker(worker("a")).await;
    let late = async {
        tokio::time::sleep(QUIET).await;
        coordinator.publish(&entry(1, Shape::S3M1), b"input", Priority::Normal).await
    };
    let (claimed, published) = tokio::join!(a.claim(&[Shape::S3M1], SOON), late);
    published?;
    assert_eq!(claimed?, Some(entry(1, Shape::S3M1)));
    Ok(())
}

async fn an_input_stays_until_its_job_is_removed(queue: &dyn Fixture) -> Outcome {
    let coordinator = queue.coordinator().await;
    let a = queue.worker(worker("a")).await;
    let input: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
    coordinator.publish(&entry(1, Shape::S3M1), &input, Priority::Normal).await?;
    assert!(a.claim(&[Shape::S3M1], SOON).await?.is_some());
    assert_eq!(a.input(JobId(1)).await?, input);
    assert_eq!(queue.worker(worker("b")).await.input(JobId(1)).await?, input);
    coordinator.remove(JobId(1)).await?;
    assert_eq!(a.input(JobId(1)).await, Err(QueueError::NoInput(JobId(1))));
    Ok(())
}

async fn events_come_in_order_and_again_until_acknowledged(queue: &dyn Fixture) -> Outcome {
    let a = queue.worker(worker("a")).await;
    let sent: Vec<WorkerEvent> = (1..=3).map(|job| heartbeat(&worker("a"), job)).collect();
    let first = queue.coordinator().await;
    assert_eq!(first.next_events(QUIET).await?.up_to, None);
    for event in &sent[..2] {
        a.emit(event).await?;
    }
    let read = drain(&*first, 2).await?;
    assert_eq!(read.0, sent[..2]);
    a.emit(&sent[2]).await?;
    assert_eq!(drain(&*first, 1).await?.0, sent[2..], "what was returned is not returned twice");

    let second = queue.coordinator().await;
    let again = drain(&*second, 3).await?;
    assert_eq!(again.0, sent);
    second.acknowledge(read.1).await?;
    assert_eq!(drain(&*queue.coordinator().await, 1).await?.0, sent[2..]);
    second.acknowledge(again.1).await?;
    assert!(queue.coordinator().await.next_events(QUIET).await?.events.is_empty());

    let register = WorkerEvent::Register {
        worker: worker("a"),
        registration: Registration {
            backend: "cpu".to_owned(),
            version: "1".to_owned(),
            memory: 1,
            circuits: Vec::new(),
        },
        fresh: true,
    };
    a.emit(&register).await?;
    assert_eq!(drain(&*second, 1).await?.0, [register]);
    Ok(())
}

/// Reads exactly `n` events, over several batches if need be.
async fn drain(
    coordinator: &dyn CoordinatorQueue,
    n: usize,
) -> Result<(Vec<WorkerEvent>, super::EventCursor), QueueError> {
    let mut events = Vec::new();
    let mut cursor = super::EventCursor::default();
    while events.len() < n {
        let batch = coordinator.next_events(SOON).await?;
        let up_to = batch.up_to.unwrap_or_else(|| panic!("{} of {n} events came", events.len()));
        assert!(up_to > cursor, "cursors rise");
        assert_eq!(batch.malformed, 0);
        cursor = up_to;
        events.extend(batch.events);
    }
    Ok((events, cursor))
}

async fn controls_reach_their_worker_once(queue: &dyn Fixture) -> Outcome {
    let coordinator = queue.coordinator().await;
    let (a, b) = (queue.worker(worker("a")).await, queue.worker(worker("b")).await);
    let grant = Control::Grant { job: JobId(1), attempt: Attempt(1) };
    let cancel = Control::Cancel { job: JobId(1), attempt: Attempt(1) };
    let other = Control::Grant { job: JobId(2), attempt: Attempt(7) };
    coordinator.control(&worker("a"), grant).await?;
    coordinator.control(&worker("b"), other).await?;
    coordinator.control(&worker("a"), cancel).await?;
    assert_eq!(a.next_control(SOON).await?, Some(grant));
    assert_eq!(a.next_control(SOON).await?, Some(cancel));
    assert_eq!(a.next_control(QUIET).await?, None);
    assert_eq!(b.next_control(SOON).await?, Some(other));
    Ok(())
}

async fn depth_counts_waiting_and_claimed_entries(queue: &dyn Fixture) -> Outcome {
    let coordinator = queue.coordinator().await;
    let a = queue.worker(worker("a")).await;
    let depth = async || coordinator.depth(Shape::S3M1).await;
    for job in 1..=4 {
        coordinator.publish(&entry(job, Shape::S3M1), b"input", Priority::Normal).await?;
    }
    coordinator.publish(&entry(5, Shape::S14M2), b"input", Priority::Normal).await?;
    assert_eq!(depth().await?, Depth { waiting: 4, claimed: 0 });
    for _ in 0..3 {
        assert!(a.claim(&[Shape::S3M1], SOON).await?.is_some());
    }
    assert_eq!(depth().await?, Depth { waiting: 1, claimed: 3 });
    a.emit(&failed(&worker("a"), &entry(1, Shape::S3M1))).await?;
    assert_eq!(depth().await?, Depth { waiting: 1, claimed: 2 });
    coordinator.retire(JobId(2), Attempt(1)).await?;
    coordinator.remove(JobId(3)).await?;
    assert_eq!(depth().await?, Depth { waiting: 1, claimed: 0 });
    Ok(())
}

async fn heartbeats_come_from_a_plain_thread(queue: &dyn Fixture) -> Outcome {
    let coordinator = queue.coordinator().await;
    let mut liveness = queue.worker(worker("a")).await.liveness()?;
    let beat = std::thread::spawn(move || liveness.beat(&heartbeat(&worker("a"), 9)));
    assert_eq!(drain(&*coordinator, 1).await?.0, [heartbeat(&worker("a"), 9)]);
    match beat.join() {
        Ok(sent) => sent,
        Err(_) => panic!("the heartbeat thread panicked"),
    }
}
