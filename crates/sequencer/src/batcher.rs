//! The open batch: where the next operation stands, when it is sealed, and with which circuit.
//!
//! Invariants: `start` is fixed at opening by the class alone, so slot i's output stands at `start + i` whatever circuit
//! seals the batch (attack C1); the slots of one operation lie in one batch (C3); forced requests go behind everything
//! accepted, in the order of their queue, never skipped (C6); at most 256 records a batch.
//!
//! While forced requests wait, accepted operations leave them up to F slots. An operation that needs the whole batch goes
//! behind a batch of forced requests, so neither can starve the other.

use std::collections::VecDeque;

use circuits::{
    shape::{MAX_RECORDS, Shape},
    slot::{SlotEffect, SlotInput},
    tree::CAPACITY,
};
use protocol::{
    OperationId, Placement,
    l1::{Deposit, ForcedRequest},
};
use serde::{Deserialize, Serialize};

/// Batches whose load decides the next class.
const LOAD_MEMORY: usize = 4;

/// When a batch is sealed before it is full. All in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealRules {
    /// After its first operation.
    pub age_ms: u64,
    /// After the oldest waiting deposit was taken in.
    pub deposit_wait_ms: u64,
    /// After the oldest waiting forced request was taken in.
    pub forced_wait_ms: u64,
}

/// An accepted spend and what it does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Filled {
    pub input: SlotInput,
    pub effect: SlotEffect,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OpenBatch {
    pub batch_no: u32,
    pub start: u64,
    /// The class: places that every circuit it may be sealed with fits into.
    pub places: usize,
    pub slots: Vec<Filled>,
    pub operations: Vec<OperationId>,
    pub records: usize,
    pub first_at: Option<u64>,
}

/// A queue entry of L1 and when it was taken in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Waiting<T> {
    entry: T,
    since: u64,
}

/// What an operation needs of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    pub slots: usize,
    pub records: usize,
}

/// Where an operation can stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    Here(Placement),
    /// The open batch is empty, and its class too small.
    AfterReopening,
    AfterSealing,
}

/// How the open batch is to be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealPlan {
    pub shape: Shape,
    /// Deposits minted, a prefix of the queue.
    pub mints: usize,
    /// Forced requests answered, a prefix of the queue.
    pub forced: usize,
}

/// Why a batch was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SealReason {
    Full,
    /// It shows L1 as many records as a batch may.
    Records,
    /// Its first operation waited long enough.
    Age,
    /// Deposits waited long enough, or fill its places.
    Deposits,
    /// A forced request waited long enough.
    Forced,
    /// The next operation did not fit.
    NoRoom,
    /// The coordinator drains.
    Drain,
}

fn replace_from<T>(
    waiting: &mut VecDeque<Waiting<T>>,
    from: u64,
    entries: Vec<T>,
    id: impl Fn(&T) -> u64,
    now: u64,
) {
    let kept = waiting.partition_point(|waiting| id(&waiting.entry) < from);
    let before: Vec<u64> = waiting.drain(kept..).map(|waiting| waiting.since).collect();
    let since = before.into_iter().map(Some).chain(std::iter::repeat(None));
    let again =
        entries.into_iter().zip(since).map(|(entry, since)| Waiting { entry, since: since.unwrap_or(now) });
    waiting.extend(again);
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Batcher {
    /// Configured circuits, smallest first.
    shapes: Vec<Shape>,
    rules: SealRules,
    /// The first place no batch has passed.
    next: u64,
    open: OpenBatch,
    deposits: VecDeque<Waiting<Deposit>>,
    forced: VecDeque<Waiting<ForcedRequest>>,
    /// Slots used by the last batches.
    load: VecDeque<usize>,
    /// Whether the last batch answered forced requests.
    yielded: bool,
}

impl Batcher {
    /// `shapes` is not empty; `Config::validate` sees to it.
    pub fn new(mut shapes: Vec<Shape>, rules: SealRules) -> Self {
        shapes.sort_by_key(|shape| (shape.places(), shape.slots()));
        let mut batcher = Self {
            shapes,
            rules,
            next: 0,
            open: OpenBatch { batch_no: 1, ..OpenBatch::default() },
            deposits: VecDeque::new(),
            forced: VecDeque::new(),
            load: VecDeque::new(),
            yielded: false,
        };
        batcher.open.places = batcher.class_for(1);
        batcher
    }

    /// After a restart from a snapshot, with settings that may have changed.
    pub(crate) fn restart(&mut self, mut shapes: Vec<Shape>, rules: SealRules) {
        shapes.sort_by_key(|shape| (shape.places(), shape.slots()));
        (self.shapes, self.rules) = (shapes, rules);
    }

    /// Spends that one operation can hold at most.
    pub fn most_slots(&self) -> usize {
        self.shapes.iter().map(|shape| shape.slots()).max().unwrap_or(0)
    }

    /// The largest circuit that the open batch may be sealed with.
    pub fn largest(&self) -> Option<Shape> {
        self.fitting(self.open.places).max_by_key(|shape| shape.slots())
    }

    pub fn open_batch(&self) -> &OpenBatch {
        &self.open
    }

    pub fn next_place(&self) -> u64 {
        self.next
    }

    /// The deposit that is minted next.
    pub fn first_waiting(&self) -> Option<&Deposit> {
        self.deposits.front().map(|waiting| &waiting.entry)
    }

    pub fn waiting(&self) -> (usize, usize) {
        (self.deposits.len(), self.forced.len())
    }

    fn fitting(&self, places: usize) -> impl Iterator<Item = Shape> {
        self.shapes.iter().copied().filter(move |shape| shape.places() <= places)
    }

    fn most_in(&self, places: usize, of: impl Fn(Shape) -> usize) -> usize {
        self.fitting(places).map(of).max().unwrap_or(0)
    }

    /// The class to open with: the smallest that holds the need and twice the recent load, and mints a burst of deposits.
    pub fn class_for(&self, slots: usize) -> usize {
        self.class(slots, self.load.iter().copied().max().unwrap_or(0), self.deposits.len())
    }

    fn class(&self, slots: usize, load: usize, deposits: usize) -> usize {
        let wanted = slots.max(2 * load).min(self.most_slots());
        let most_mints = self.shapes.iter().map(|shape| shape.mint_places()).max().unwrap_or(0);
        let fits = |places: usize| {
            let mints = self.most_in(places, Shape::mint_places);
            self.most_in(places, Shape::slots) >= wanted && (deposits <= 4 * mints || mints == most_mints)
        };
        let largest = self.shapes.last().map_or(0, |shape| shape.places());
        self.shapes.iter().map(|shape| shape.places()).find(|places| fits(*places)).unwrap_or(largest)
    }

    /// Slots of the open batch left to forced requests that wait.
    fn reserve(&self) -> usize {
        self.forced.len().min(self.most_in(self.open.places, Shape::forced_slots))
    }

    pub fn room(&self, need: Need) -> Room {
        let used = self.open.slots.len();
        let most = self.most_in(self.open.places, Shape::slots);
        let reserve = self.reserve();
        let fits = |reserve: usize| {
            used + need.slots + reserve <= most && self.open.records + need.records + reserve <= MAX_RECORDS
        };
        // An operation too large to leave a reserve comes after one batch of forced requests, then without reserve.
        let oversized = need.slots + reserve > most;
        if fits(reserve)
            || (oversized && used == 0 && self.open.first_at.is_none() && self.yielded && fits(0))
        {
            return Room::Here(Placement {
                batch_no: self.open.batch_no,
                place: self.open.start + used as u64,
            });
        }
        if used == 0 && need.slots > most { Room::AfterReopening } else { Room::AfterSealing }
    }

    /// Opens the batch after the last sealed one, or the empty open one again, with a class.
    pub fn reopen(&mut self, batch_no: u32, places: usize) {
        assert!(self.open.slots.is_empty(), "an open batch with operations is sealed, not opened again");
        let start = self.next.div_ceil(places as u64) * places as u64;
        self.open = OpenBatch { batch_no, start, places, ..OpenBatch::default() };
    }

    pub fn fill(&mut self, operation: OperationId, slots: Vec<Filled>, now: u64) {
        self.open.records += slots.iter().filter(|slot| slot.effect.record.is_some()).count();
        self.open.slots.extend(slots);
        self.open.operations.push(operation);
        self.open.first_at.get_or_insert(now);
    }

    pub fn take_in(&mut self, deposits: Vec<Deposit>, forced: Vec<ForcedRequest>, now: u64) {
        self.deposits.extend(deposits.into_iter().map(|entry| Waiting { entry, since: now }));
        self.forced.extend(forced.into_iter().map(|entry| Waiting { entry, since: now }));
    }

    /// Replaces what waits from these ids on, after a reorganisation of L1. What waited before keeps its time.
    pub fn take_in_again(
        &mut self,
        (deposit, deposits): (u64, Vec<Deposit>),
        (request, forced): (u64, Vec<ForcedRequest>),
        now: u64,
    ) {
        replace_from(&mut self.deposits, deposit, deposits, |entry| entry.id, now);
        replace_from(&mut self.forced, request, forced, |entry| entry.id, now);
    }

    /// The clock was set back: what waits does so from now on, not from a time that is still to come.
    pub fn not_later_than(&mut self, now: u64) {
        let earlier = |at: &mut u64| *at = (*at).min(now);
        self.open.first_at.iter_mut().for_each(earlier);
        self.deposits.iter_mut().for_each(|waiting| waiting.since = waiting.since.min(now));
        self.forced.iter_mut().for_each(|waiting| waiting.since = waiting.since.min(now));
    }

    /// For a comparison: since when something waits is not recorded if a clock was set back.
    #[cfg(feature = "sim")]
    pub(crate) fn without_times(&self) -> Self {
        let mut batcher = self.clone();
        batcher.not_later_than(0);
        batcher
    }

    /// How to seal now and why, if it is time: full, old, or L1's queues have waited long enough.
    pub fn due(&self, now: u64) -> Option<(SealPlan, SealReason)> {
        let used = self.open.slots.len();
        let reserve = self.reserve();
        let full = used > 0 && used + reserve >= self.most_in(self.open.places, Shape::slots);
        let recorded = used > 0 && self.open.records + reserve >= MAX_RECORDS;
        let passed =
            |since: Option<u64>, wait: u64| since.is_some_and(|since| since.saturating_add(wait) <= now);
        let old = passed(self.open.first_at, self.rules.age_ms);
        let deposits = passed(self.deposits.front().map(|w| w.since), self.rules.deposit_wait_ms)
            || (!self.deposits.is_empty()
                && self.deposits.len() >= self.most_in(self.open.places, Shape::mint_places));
        let forced = passed(self.forced.front().map(|w| w.since), self.rules.forced_wait_ms);
        let reasons = [
            (full, SealReason::Full),
            (recorded, SealReason::Records),
            (forced, SealReason::Forced),
            (deposits, SealReason::Deposits),
            (old, SealReason::Age),
        ];
        let (_, reason) = reasons.into_iter().find(|(holds, _)| *holds)?;
        Some((self.plan(), reason))
    }

    /// The circuit that answers most forced requests, then mints most, then is smallest.
    pub fn plan(&self) -> SealPlan {
        let used = self.open.slots.len();
        let plan_with = |shape: Shape| SealPlan {
            shape,
            mints: self.deposits.len().min(shape.mint_places()),
            forced: self
                .forced
                .len()
                .min(shape.forced_slots())
                .min(shape.slots() - used)
                .min(MAX_RECORDS - self.open.records),
        };
        let plans = self.fitting(self.open.places).filter(|shape| shape.slots() >= used).map(plan_with);
        match plans.max_by_key(|plan| (plan.forced, plan.mints, std::cmp::Reverse(plan.shape.slots()))) {
            Some(plan) => plan,
            None => unreachable!("a batch never takes more slots than a circuit of its class has"),
        }
    }

    /// The queue entries that a batch sealed by this plan answers.
    pub fn next_entries(&self, plan: &SealPlan) -> (Vec<Deposit>, Vec<ForcedRequest>) {
        let deposits = self.deposits.iter().take(plan.mints).map(|waiting| waiting.entry.clone());
        let forced = self.forced.iter().take(plan.forced).map(|waiting| waiting.entry.clone());
        (deposits.collect(), forced.collect())
    }

    /// The class to open with once the open batch is sealed by this plan.
    pub fn class_after(&self, plan: &SealPlan, slots: usize) -> usize {
        let load = self.load.iter().skip(usize::from(self.load.len() == LOAD_MEMORY)).copied();
        let load = load.chain([self.open.slots.len()]).max().unwrap_or(0);
        self.class(slots, load, self.deposits.len() - plan.mints)
    }

    /// The open batch is sealed: what it answers leaves the queues, and the next place is behind its circuit's places.
    pub fn seal(&mut self, plan: &SealPlan) {
        self.deposits.drain(..plan.mints);
        self.forced.drain(..plan.forced);
        self.next = self.open.start + plan.shape.places() as u64;
        assert!(self.next <= CAPACITY, "the tree has room for every batch that was opened");
        if self.load.len() == LOAD_MEMORY {
            self.load.pop_front();
        }
        self.load.push_back(self.open.slots.len());
        self.yielded = plan.forced > 0;
        self.open = OpenBatch { batch_no: self.open.batch_no + 1, start: self.next, ..OpenBatch::default() };
    }
}
