//! Where queries are executed: threads that only read, fewer than there are processors, behind whatever else wants one.
//!
//! Invariant: a query takes no thread that takes payments, and where processors are short payments come first: these threads
//! are nice. What waits here is bounded.

use std::{future::Future, io, sync::Arc};

use tokio::{
    runtime::{Builder, Runtime},
    sync::Semaphore,
    task::JoinHandle,
};

/// Queries that run or wait at most.
const AT_ONCE: usize = 256;
/// Threads that wait for a disk at most.
const BLOCKING: usize = 8;
/// What the kernel's scheduler makes of it: about a tenth of the weight of a thread that takes payments.
const NICE: i32 = 10;

pub struct Readers {
    /// Nothing only while it is dropped.
    runtime: Option<Runtime>,
    places: Arc<Semaphore>,
}

impl Readers {
    /// # Errors
    /// If threads cannot be made.
    pub fn new(threads: usize) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .max_blocking_threads(BLOCKING)
            .thread_name("reader")
            .on_thread_start(|| {
                // On Linux the priority belongs to the thread. Where it cannot be lowered readers have their share.
                let _ = rustix::process::setpriority_process(None, NICE);
            })
            .enable_all()
            .build()?;
        Ok(Self { runtime: Some(runtime), places: Arc::new(Semaphore::new(AT_ONCE)) })
    }

    /// Runs a query to its end, whether anybody still waits for it or not. Nothing if too many run.
    pub fn run<T: Send + 'static>(
        &self,
        query: impl Future<Output = T> + Send + 'static,
    ) -> Option<JoinHandle<T>> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let task = async move {
            let _place = place;
            query.await
        };
        Some(self.runtime.as_ref()?.spawn(task))
    }
}

impl Drop for Readers {
    /// Without waiting: that may be forbidden where it is dropped.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn readers_are_nice_and_no_more_wait_than_there_is_room_for() {
        let readers = Readers::new(1).unwrap();
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let theirs = readers.run(async move { nice() }).unwrap().await.unwrap();
        assert_eq!((theirs, nice()), (NICE, 0));
        let gate = Arc::new(Semaphore::new(0));
        let wait = |gate: Arc<Semaphore>| async move { drop(gate.acquire().await) };
        // The place of the one above may be given back a moment after its answer.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        let waiting: Vec<_> = (0..AT_ONCE).map(|_| readers.run(wait(Arc::clone(&gate))).unwrap()).collect();
        assert!(readers.run(async {}).is_none());
        gate.add_permits(1);
        for task in waiting {
            task.await.unwrap();
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert!(readers.run(async {}).is_some());
    }
}
