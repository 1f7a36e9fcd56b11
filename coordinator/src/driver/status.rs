//! What goes wrong without stopping the service, shared with those who show it.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use crate::tree::TreeError;

/// What goes wrong without stopping the service; shown by `ready` and `system`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
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
    /// Found in the background; the driver stops.
    pub damaged: Option<TreeError>,
    pub fatal: Option<String>,
    pub head: u64,
    pub final_block: u64,
    /// The term in which this one leads.
    pub term: u64,
}

#[derive(Clone, Default)]
pub(crate) struct SharedStatus {
    status: Arc<Mutex<Status>>,
    /// Whether the driver is to stop, also while it waits for its store.
    stop: Arc<AtomicBool>,
}

impl SharedStatus {
    pub fn set(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub fn get(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why nothing new may be promised, if so.
    pub fn halted(&self) -> Option<String> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).halted.clone()
    }

    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    pub fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}
