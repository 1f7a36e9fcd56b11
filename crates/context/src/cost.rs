//! What a request costs: processor time, measured where it is spent.
//!
//! Invariant: time counts once. A task is measured while it is polled; work that it has done elsewhere (in a pool, by a
//! database) is measured there and charged to the task by [`charge`] when its answer is there.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

tokio::task_local! {
    static METER: Meter;
}

/// Nanoseconds of one request.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<AtomicU64>);

impl Meter {
    pub fn add(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

    /// Runs work of the request on this thread.
    pub fn measure<T>(&self, work: impl FnOnce() -> T) -> T {
        let begun = thread_time();
        let done = work();
        self.add(thread_time().saturating_sub(begun));
        done
    }

    /// Runs a task of the request.
    pub async fn follow<T>(&self, work: impl Future<Output = T> + Send) -> T {
        METER.scope(self.clone(), Followed { meter: self.clone(), work: Box::pin(work) }).await
    }
}

/// Charges time that was spent elsewhere to the request whose task this is, if it is one.
pub fn charge(time: Duration) {
    // A task that belongs to no request is not measured.
    let _ = METER.try_with(|meter| meter.add(time));
}

/// Processor time of this thread.
pub fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

struct Followed<'a, T> {
    meter: Meter,
    work: Pin<Box<dyn Future<Output = T> + Send + 'a>>,
}

impl<T> Future for Followed<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let meter = self.meter.clone();
        meter.measure(|| self.work.as_mut().poll(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spin(time: Duration) {
        let begun = thread_time();
        while thread_time().saturating_sub(begun) < time {
            std::hint::spin_loop();
        }
    }

    #[tokio::test]
    async fn a_task_pays_for_its_polls_and_for_what_it_has_done_elsewhere_but_not_for_waiting() {
        let meter = Meter::default();
        let work = async {
            spin(Duration::from_millis(5));
            tokio::time::sleep(Duration::from_millis(300)).await;
            charge(Duration::from_millis(40));
            spin(Duration::from_millis(5));
        };
        meter.follow(work).await;
        let total = meter.total();
        assert!(total >= Duration::from_millis(50), "{total:?}");
        assert!(total < Duration::from_millis(200), "{total:?}");
        // Nobody's time.
        charge(Duration::from_secs(1));
        assert_eq!(meter.total(), total);
    }
}
