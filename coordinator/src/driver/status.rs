//! What goes wrong without stopping the service, shared with those who show it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use sequencer::tree::TreeError;

/// What comes while the store is away is taken in and answered when it is back, but not after this: nobody waits so long.
const LONG_OUTAGE: Duration = Duration::from_secs(5);
/// A loop that has not turned for so long is stuck: no statement, no seal and no commit takes nearly as long.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// What goes wrong without stopping the service; shown by `ready` and `system`.
#[derive(Clone, Debug, Default)]
pub struct Status {
    pub intake_alarm: Option<String>,
    pub settlement_alarm: Option<String>,
    /// Why the contract would take no batch, as of the last look: nothing new is promised meanwhile.
    pub halted: Option<String>,
    /// Settlement cannot read the chain.
    pub chain_unreachable: Option<String>,
    /// The intake of deposits cannot.
    pub intake_unreachable: Option<String>,
    /// A node that is not used, since it contradicts the others.
    pub node_alarm: Option<String>,
    pub store_unreachable: Option<String>,
    /// Effects cannot be written to the queue.
    pub queue_unreachable: Option<String>,
    /// Events cannot be read from the queue.
    pub events_unreachable: Option<String>,
    /// Since when; only while it is.
    pub store_away_since: Option<Instant>,
    /// The store answers and takes nothing that is written, e.g. since its disk is full.
    pub store_refuses: Option<String>,
    /// A high-water mark beside the one in the data directory cannot be kept.
    pub mark_alarm: Option<String>,
    /// Found in the background; the driver stops.
    pub damaged: Option<TreeError>,
    pub fatal: Option<String>,
    pub head: u64,
    /// Its timestamp, Unix seconds, and when it was read.
    pub head_at: u64,
    /// Why nothing may be promised: clocks disagree.
    pub clock: Option<String>,
    /// What is wrong with a clock, whether or not it matters.
    pub clock_alarm: Option<String>,
    pub final_block: u64,
    /// The term in which this one leads.
    pub term: u64,
}

/// When this process began to count.
#[derive(Clone, Copy)]
struct Began(Instant);

impl Default for Began {
    fn default() -> Self {
        Self(Instant::now())
    }
}

#[derive(Clone, Default)]
pub struct SharedStatus {
    status: Arc<Mutex<Status>>,
    /// Whether the driver is to stop, also while it waits for its store.
    stop: Arc<AtomicBool>,
    /// When the driver's loop turned last, in milliseconds since `began`; waiting for the store is turning too.
    turned: Arc<AtomicU64>,
    /// It reads its state again, which may take long.
    reads: Arc<AtomicBool>,
    began: Began,
}

impl SharedStatus {
    pub fn set(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.status.lock());
    }

    pub fn get(&self) -> Status {
        self.status.lock().clone()
    }

    /// Why nothing new may be promised, if so.
    pub fn halted(&self) -> Option<String> {
        self.status.lock().halted.clone()
    }

    /// The store does not answer.
    pub fn store_away(&self, reason: String) {
        self.set(|status| {
            status.store_unreachable = Some(reason);
            status.store_away_since.get_or_insert_with(Instant::now);
        });
    }

    /// It does.
    pub fn store_back(&self) {
        self.set(|status| (status.store_unreachable, status.store_away_since) = (None, None));
    }

    /// Whether a request that is taken in now would only wait: the store refuses, or has been away for a while.
    pub fn takes_nothing(&self) -> bool {
        let status = self.status.lock();
        let long = status.store_away_since.is_some_and(|since| since.elapsed() >= LONG_OUTAGE);
        long || status.store_refuses.is_some()
    }

    /// The timestamp of L1's head, Unix milliseconds; nothing before it was read.
    pub fn head_time(&self) -> Option<u64> {
        let head_at = self.status.lock().head_at;
        (head_at > 0).then(|| head_at.saturating_mul(1_000))
    }

    /// Why clocks forbid promises, if so.
    pub fn clock(&self) -> Option<String> {
        self.status.lock().clock.clone()
    }

    /// The driver's loop turns.
    pub fn turns(&self) {
        let passed = u64::try_from(self.began.0.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.turned.store(passed, Ordering::Release);
    }

    /// It reads its state again, or has done so.
    pub fn reads(&self, reads: bool) {
        self.reads.store(reads, Ordering::Release);
        self.turns();
    }

    /// Whether the loop has not turned for too long.
    pub fn stuck(&self) -> bool {
        let turned = Duration::from_millis(self.turned.load(Ordering::Acquire));
        let since = self.began.0.elapsed().saturating_sub(turned);
        since >= STUCK_AFTER && !self.reads.load(Ordering::Acquire)
    }

    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    pub fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_has_not_turned_for_a_minute_is_stuck_unless_it_reads_its_state() {
        let mut status = SharedStatus::default();
        assert!(!status.stuck());
        let Some(long_ago) = Instant::now().checked_sub(STUCK_AFTER) else { return };
        status.began = Began(long_ago);
        assert!(status.stuck());
        status.reads(true);
        status.turned.store(0, Ordering::Release);
        assert!(!status.stuck(), "that may take long");
        status.reads(false);
        assert!(!status.stuck(), "it has turned");
        status.turned.store(0, Ordering::Release);
        assert!(status.stuck());
        status.turns();
        assert!(!status.stuck());
    }

    #[test]
    fn nothing_is_taken_while_the_store_refuses_or_is_away_for_long() {
        let status = SharedStatus::default();
        status.store_away("no answer".to_owned());
        assert!(!status.takes_nothing(), "a moment is waited for");
        status.set(|status| status.store_away_since = Instant::now().checked_sub(LONG_OUTAGE));
        assert!(status.takes_nothing());
        status.store_back();
        assert!(!status.takes_nothing());
        status.set(|status| status.store_refuses = Some("no room".to_owned()));
        assert!(status.takes_nothing());
    }
}
