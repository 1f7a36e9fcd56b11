//! Heartbeats from a thread of their own.
//!
//! A farm once declared a live worker dead because load starved the task that sent its heartbeats, and gave the work
//! away. So this thread shares nothing with the async runtime but one small lock. The price: a wedged runtime looks
//! alive, until its leases are cancelled by hand.

use std::{
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use wire::{Hold, Liveness, WorkerEvent, WorkerId};

/// What the next heartbeat says.
pub type Holds = Arc<Mutex<Vec<Hold>>>;

/// A running heartbeat; stops when dropped.
pub struct Heartbeat {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        id: WorkerId,
        holds: Holds,
        mut liveness: Box<dyn Liveness>,
        every: Duration,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new().name("heartbeat".to_owned()).spawn(move || {
            while stopped.recv_timeout(every) == Err(mpsc::RecvTimeoutError::Timeout) {
                let holds = holds.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Err(error) = liveness.beat(&WorkerEvent::Heartbeat { worker: id.clone(), holds }) {
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
