//! A recorder that only knows the one counter that the tests ask for.

use std::sync::{
    Arc, Once,
    atomic::{AtomicU64, Ordering},
};

use metrics::{
    Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    set_global_recorder,
};

/// Invalid proofs of all workers of this process.
pub static INVALID_PROOFS: AtomicU64 = AtomicU64::new(0);

struct InvalidProofs;

impl CounterFn for InvalidProofs {
    fn increment(&self, value: u64) {
        INVALID_PROOFS.fetch_add(value, Ordering::SeqCst);
    }

    fn absolute(&self, value: u64) {
        INVALID_PROOFS.store(value, Ordering::SeqCst);
    }
}

struct OneCounter;

impl Recorder for OneCounter {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        if key.name() == "proofmill_worker_invalid_proofs_total" {
            Counter::from_arc(Arc::new(InvalidProofs))
        } else {
            Counter::noop()
        }
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// Counts from now on.
pub fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| set_global_recorder(OneCounter).unwrap());
}
