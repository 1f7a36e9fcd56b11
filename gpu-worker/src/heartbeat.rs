//! Heartbeats from a thread of their own.
//!
//! A farm once declared a live worker dead because load starved the task that sent its heartbeats, and gave the work
//! away. So this thread shares nothing with the async runtime but one small lock. The price: a wedged runtime looks
//! alive, until its leases are cancelled by hand.

use std::{
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use parking_lot::Mutex;
use queue::Liveness;
use wire::{CardReading, InFlight, WorkerEvent};

/// What the next heartbeat says.
pub type SharedInFlight = Arc<Mutex<Vec<InFlight>>>;

/// Says how the card is, at each heartbeat; nothing for a worker without one.
pub type AskCard = Box<dyn FnMut() -> Option<CardReading> + Send>;

/// A running heartbeat; stops when dropped.
pub struct Heartbeat {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    /// `card` is asked for each heartbeat.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        in_flight: SharedInFlight,
        mut card: AskCard,
        mut liveness: Box<dyn Liveness>,
        every: Duration,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new().name("heartbeat".to_owned()).spawn(move || {
            while stopped.recv_timeout(every) == Err(mpsc::RecvTimeoutError::Timeout) {
                let in_flight = in_flight.lock().clone();
                let card = card().map(Box::new);
                if let Err(error) = liveness.beat(&WorkerEvent::Heartbeat { in_flight, card }) {
                    metrics::counter!("proofmill_worker_heartbeats_lost_total").increment(1);
                    tracing::warn!(%error, "heartbeat lost");
                }
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the heartbeat thread panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use queue::{CoordinatorQueue, QueueWrite, WorkerQueue, memory::MemoryQueue};
    use wire::{ProcessId, WorkerId};

    use super::*;

    #[tokio::test]
    async fn heartbeats_tell_of_the_card_as_it_is_then() {
        let queue = MemoryQueue::default();
        let id = WorkerId::parse("watched").unwrap();
        let pools = QueueWrite::Pools { open: BTreeSet::from([id.pool.clone()]), closed: BTreeSet::new() };
        let coordinator = queue.coordinator();
        coordinator.write(&[pools]).await.unwrap();
        let liveness = queue.worker(id, ProcessId(1)).liveness().unwrap();
        let mut degrees = 50;
        let ask: AskCard = Box::new(move || {
            degrees += 1;
            Some(CardReading { temperature: Some(degrees), ..CardReading::default() })
        });
        let every = Duration::from_millis(5);
        let heartbeat = Heartbeat::start(SharedInFlight::default(), ask, liveness, every).unwrap();
        let mut seen = Vec::new();
        while seen.len() < 2 {
            let batch = coordinator.next_events(Duration::from_secs(60)).await.unwrap();
            seen.extend(batch.events.into_iter().map(|event| match event.event {
                WorkerEvent::Heartbeat { card, .. } => card.unwrap().temperature.unwrap(),
                other => panic!("{other:?}"),
            }));
            coordinator.write(&[QueueWrite::Acknowledge(batch.up_to.unwrap())]).await.unwrap();
        }
        drop(heartbeat);
        assert_eq!(seen[..2], [51, 52]);
    }
}
