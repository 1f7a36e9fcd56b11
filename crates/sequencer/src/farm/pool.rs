//! Pools: what a credential's share of the work is.
//!
//! The window of a pool is the number of attempts that it may have in flight. It begins wide, since an honest farm should
//! not have to earn its work; each attempt that ends badly narrows it by one, each proof widens it by one. So a pool whose
//! attempts mostly fail ends at one attempt at a time, and one that loses a spot instance now and then does not notice.
//!
//! What strangers may make the coordinator write is bounded per pool, too.

use wire::job::PoolName;

use super::{Farm, FarmEffect, FarmRecord, MAX_POOLS, attempt::LEFT};

/// Attempts in flight at first, and at most.
const FIRST_WINDOW: u32 = 256;
const WIDEST_WINDOW: u32 = 1 << 16;
/// Answers per second to reports that the coordinator did not ask for, and how many may come at once.
const REPLIES_PER_SECOND: u64 = 2_000;
const REPLIES_AT_ONCE: u64 = 4_000;

/// What is known of a pool since this coordinator leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    pub workers: usize,
    /// Attempts in flight, and how many may be.
    pub in_flight: u32,
    pub window: u32,
    /// Proofs that were accepted, and attempts that ended badly.
    pub proofs: u64,
    pub bad_ends: u64,
    /// Entries of its stream that could not be read.
    pub malformed: u64,
    /// Answers that may be given, in thousandths, and as of when.
    replies: u64,
    replies_at: u64,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            workers: 0,
            in_flight: 0,
            window: FIRST_WINDOW,
            proofs: 0,
            bad_ends: 0,
            malformed: 0,
            replies: REPLIES_AT_ONCE * 1000,
            replies_at: 0,
        }
    }
}

impl Pool {
    pub(super) fn has_room(&self) -> bool {
        self.in_flight < self.window
    }

    pub(super) fn delivered(&mut self) {
        self.proofs += 1;
        self.window = (self.window + 1).min(WIDEST_WINDOW);
    }

    pub(super) fn ended_badly(&mut self) {
        self.bad_ends += 1;
        self.window = (self.window - 1).max(1);
    }

    pub(super) fn clock_was_set(&mut self, now: u64) {
        self.replies_at = now;
    }

    /// Whether one more answer is within the budget, which it is charged to.
    pub(super) fn may_reply(&mut self, now: u64) -> bool {
        let since = now.saturating_sub(self.replies_at);
        self.replies_at = now;
        let earned = since.saturating_mul(REPLIES_PER_SECOND);
        self.replies = self.replies.saturating_add(earned).min(REPLIES_AT_ONCE * 1000);
        let may = self.replies >= 1000;
        if may {
            self.replies -= 1000;
        }
        may
    }
}

impl Farm {
    /// Adds a pool, if there is room for one.
    pub(super) fn add_pool(&mut self, pool: PoolName, effects: &mut Vec<FarmEffect>) {
        if self.book.pools().contains(&pool) || self.book.pools().len() >= MAX_POOLS {
            return;
        }
        self.work.pools.entry(pool.clone()).or_default();
        self.record(FarmRecord::PoolAdded { pool }, 0, effects);
        effects.push(self.pools_effect());
    }

    /// Removes a pool; its workers are gone.
    pub(super) fn remove_pool(&mut self, pool: &PoolName, now: u64, effects: &mut Vec<FarmEffect>) {
        if !self.book.pools().contains(pool) {
            return;
        }
        for worker in self.work.registry.of_pool(pool) {
            self.depart(&worker, super::AttemptEnd::HandedBack, LEFT, now, effects);
        }
        // Leases of workers that this coordinator has not heard of yet run out.
        self.record(FarmRecord::PoolRemoved { pool: pool.clone() }, now, effects);
        self.work.pools.remove(pool);
        effects.push(self.pools_effect());
    }
}
