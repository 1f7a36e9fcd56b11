//! What goes out to the queue. The loop never waits for it.
//!
//! Invariant: it is bounded. If the queue takes nothing for so long that it is full, further effects are dropped, with an alarm.
//! Once it is empty the farm is told that the queue lost what was written, and sends again what is in flight; which pools there
//! are is never lost. What was to be removed stays in the queue until its worker or pool goes.

use queue::QueueWrite;
use tokio::sync::mpsc::{Receiver, Sender, channel, error::TrySendError};

use super::ToQueue;

/// Effects that may wait. While a queue is away no worker reports, so that far fewer come together.
const OUTBOX: usize = 1 << 18;

pub struct Outbox {
    sender: Sender<ToQueue>,
    /// Since it was full: how many effects were dropped, and the pools of the last that told them.
    dropped: u64,
    pools: Option<QueueWrite>,
}

impl Outbox {
    pub fn new() -> (Self, Receiver<ToQueue>) {
        Self::with_room(OUTBOX)
    }

    fn with_room(room: usize) -> (Self, Receiver<ToQueue>) {
        let (sender, receiver) = channel(room);
        (Self { sender, dropped: 0, pools: None }, receiver)
    }

    pub fn send(&mut self, effect: ToQueue) {
        if self.dropped == 0 {
            match self.sender.try_reserve() {
                Ok(room) => return room.send(effect),
                // The queue's task ends only when the coordinator does.
                Err(TrySendError::Closed(())) => return,
                Err(TrySendError::Full(())) => {}
            }
        }
        if self.dropped == 0 {
            tracing::error!(
                room = self.sender.max_capacity(),
                "PM-FARM-006: the queue has taken nothing for so long that effects are dropped; check Redis. What is in flight is \
                 sent again once it takes them"
            );
        }
        self.dropped += 1;
        if let ToQueue::Write(pools @ QueueWrite::Pools { .. }) = effect {
            self.pools = Some(pools);
        }
    }

    /// Whether effects were dropped and what had waited is gone out: the farm is to be told.
    pub fn recovered(&mut self) -> bool {
        if self.dropped == 0 || self.sender.capacity() < self.sender.max_capacity() {
            return false;
        }
        tracing::warn!(dropped = self.dropped, "the queue takes effects again");
        self.dropped = 0;
        if let Some(pools) = self.pools.take() {
            self.send(ToQueue::Write(pools));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn pools(name: &str) -> ToQueue {
        let open = BTreeSet::from([name.parse::<wire::job::PoolName>().unwrap()]);
        ToQueue::Write(QueueWrite::Pools { open, closed: BTreeSet::new() })
    }

    #[test]
    fn a_full_outbox_drops_and_says_so_when_it_is_empty_and_pools_are_never_lost() {
        let (mut outbox, mut receiver) = Outbox::with_room(2);
        for name in ["a", "b", "c", "d"] {
            outbox.send(pools(name));
        }
        assert!(!outbox.recovered(), "it is still full");
        receiver.try_recv().unwrap();
        outbox.send(pools("e"));
        assert!(!outbox.recovered(), "order is kept: nothing is let in before it is empty");
        receiver.try_recv().unwrap();
        assert!(outbox.recovered());
        let ToQueue::Write(QueueWrite::Pools { open, .. }) = receiver.try_recv().unwrap() else { panic!() };
        assert_eq!(open.first().unwrap().to_string(), "e", "the last ones");
        assert!(receiver.try_recv().is_err() && !outbox.recovered());
        drop(receiver);
        outbox.send(pools("f"));
        assert_eq!(outbox.dropped, 0, "a coordinator that ends drops nothing with an alarm");
    }
}
