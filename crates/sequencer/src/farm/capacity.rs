//! How long the farm takes for what waits to be proved: whether a further promise can be kept.
//!
//! Jobs are looked at as a fluid: a set of circuits needs at least its work divided by the workers that can prove any of it,
//! and the largest such bound over all sets is reached by a fair schedule (the max-flow min-cut theorem; with six circuits there
//! are 63 sets). What counts is what was measured: medians of accepted proofs, and workers that are alive. Names alone promise
//! nothing: of a pool's workers that have not proven anything yet few count, and all of it no more than its window.

use std::collections::BTreeMap;

use circuits::shape::Shape;
use wire::job::{PoolName, WorkerId};

use super::Farm;

/// Workers are counted anew at most this often: it costs a pass over all pools.
const COUNT_EVERY_MS: u64 = 100;
/// Workers of a pool that count without any proof; beyond that as many as have proven something.
const NEWCOMERS: usize = 4;
/// Sets of circuits, the empty one included.
const SETS: usize = 1 << Shape::ALL.len();

/// By what operations are admitted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CapacityRules {
    /// What is accepted is to be proven within so many milliseconds.
    pub within_ms: u64,
    /// How long a proof takes, in milliseconds, before any was measured.
    pub proof_ms: BTreeMap<Shape, u64>,
    /// Where workers were, one is counted for so long after the last was heard: they come back after an outage of Redis, of a
    /// node, or of the coordinator.
    pub grace_ms: u64,
    /// Workers come when there is work.
    pub scale: Option<Scale>,
}

/// What an autoscaler does when there is work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Within so many milliseconds …
    pub after_ms: u64,
    /// … so many workers prove.
    pub max_workers: usize,
}

/// A set of circuits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Circuits(u8);

impl Circuits {
    fn index(self) -> usize {
        usize::from(self.0)
    }

    fn meets(self, other: Circuits) -> bool {
        self.0 & other.0 != 0
    }

    /// Its subsets but the empty one.
    fn subsets(self) -> impl Iterator<Item = Circuits> {
        let below = move |set: &u8| set.checked_sub(1).map(|set| set & self.0);
        std::iter::successors(Some(self.0), below).take_while(|set| *set != 0).map(Circuits)
    }

    fn every() -> Self {
        Shape::ALL.into_iter().collect()
    }
}

impl FromIterator<Shape> for Circuits {
    fn from_iter<T: IntoIterator<Item = Shape>>(shapes: T) -> Self {
        Self(shapes.into_iter().fold(0, |set, shape| set | 1 << place(shape)))
    }
}

/// Its place among all circuits.
fn place(shape: Shape) -> usize {
    Shape::ALL.iter().position(|known| *known == shape).unwrap_or_default()
}

/// What there is to do, in milliseconds of one worker, by circuit.
#[derive(Clone, Copy, Debug, Default)]
struct Work([u64; Shape::ALL.len()]);

impl Work {
    fn add(&mut self, shape: Shape, ms: u64) {
        let sum = &mut self.0[place(shape)];
        *sum = sum.saturating_add(ms);
    }

    /// Those of which there is any.
    fn circuits(&self) -> Circuits {
        Shape::ALL.into_iter().filter(|shape| self.0[place(*shape)] > 0).collect()
    }

    fn of(&self, set: Circuits) -> u64 {
        let part = self.0.iter().enumerate().filter(|(place, _)| set.0 >> place & 1 == 1);
        part.fold(0, |sum, (_, ms)| sum.saturating_add(*ms))
    }
}

/// What a worker is counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Force {
    circuits: Circuits,
    /// It proved something since this coordinator leads.
    has_proven: bool,
}

/// Workers that prove, by pool and by what they count for.
pub(super) type Crew = BTreeMap<PoolName, BTreeMap<Force, usize>>;

/// The workers that count, as they were last counted.
#[derive(Clone, Debug)]
pub(super) struct Counted {
    /// Those that can prove one of a set of circuits, and when there were any.
    able: [(usize, Option<u64>); SETS],
    at: u64,
    /// Since when there has been more to do than the workers that are alive can do in time.
    short_since: Option<u64>,
    /// When something was proven last, or begun where nothing was in flight.
    moved: u64,
}

impl Default for Counted {
    fn default() -> Self {
        Self { able: [(0, None); SETS], at: 0, short_since: None, moved: 0 }
    }
}

impl Counted {
    pub(super) fn moved(&mut self, now: u64) {
        self.moved = now;
    }

    pub(super) fn clock_was_set(&mut self, now: u64) {
        self.able.iter_mut().filter_map(|(_, seen)| seen.as_mut()).for_each(|seen| *seen = now);
        self.short_since = self.short_since.map(|_| now);
        (self.at, self.moved) = (0, now);
    }
}

/// How long the farm takes for what waits, the batch that is open included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Jobs that wait or are in flight.
    pub jobs: usize,
    /// Workers that count.
    pub workers: usize,
    /// Milliseconds that the workers take that are alive; nothing if none can prove some of it.
    pub alive_ms: Option<u64>,
    /// Milliseconds until those have done it that an autoscaler starts; nothing if there is none, or if it was given its time.
    pub scaled_ms: Option<u64>,
    pub within_ms: u64,
}

impl Load {
    /// Milliseconds until all of it is proven, if ever.
    pub fn expected_ms(&self) -> Option<u64> {
        self.alive_ms.into_iter().chain(self.scaled_ms).min()
    }

    /// Whether what is accepted now is proven in time.
    pub fn is_in_time(&self) -> bool {
        self.expected_ms().is_some_and(|ms| ms <= self.within_ms)
    }

    /// Whether that is so without workers that are yet to come.
    pub fn needs_no_more(&self) -> bool {
        self.alive_ms.is_some_and(|ms| ms <= self.within_ms)
    }
}

impl Farm {
    /// How long the farm takes for what waits and a further batch of this circuit. `has_proven`: whether it ever proved anything,
    /// so that workers are known to be somewhere.
    pub fn load(&self, next: Option<Shape>, has_proven: bool, now: u64) -> Load {
        let counted = &self.work.counted;
        let mut work = Work::default();
        let mut jobs = 0;
        for shape in Shape::ALL {
            let waiting = self.waiting(shape);
            if waiting > 0 {
                work.add(shape, self.proof_ms(shape).saturating_mul(waiting as u64));
                jobs += waiting;
            }
        }
        if let Some(shape) = next {
            // What was measured is proven wrong only by another proof: one that was endless must not be the last.
            let measured = self.proof_ms(shape);
            let ms = if jobs > 0 { measured } else { measured.min(self.expected_ms(shape)) };
            work.add(shape, ms);
        }
        let slower = self.slower(now);
        let alive_ms = work.circuits().subsets().try_fold(0_u64, |longest, set| {
            let (able, seen) = counted.able[set.index()];
            let seen = seen.or(has_proven.then_some(self.work.active_since));
            let returns = seen.is_some_and(|seen| now < seen.saturating_add(self.capacity.grace_ms));
            let able = able.max(usize::from(returns));
            let ms = work.of(set).saturating_mul(slower);
            (able > 0).then(|| longest.max(ms.div_ceil(able as u64)))
        });
        let total = work.of(Circuits::every());
        let scaled_ms = self.capacity.scale.and_then(|scale| {
            let waited = counted.short_since.map_or(0, |since| now.saturating_sub(since));
            let left = scale.after_ms.checked_sub(waited)?;
            Some(left.saturating_add(total.div_ceil(scale.max_workers.max(1) as u64)))
        });
        let workers = counted.able[SETS - 1].0;
        Load { jobs, workers, alive_ms, scaled_ms, within_ms: self.capacity.within_ms }
    }

    /// When the workers were counted last: the time by which those ask who have no clock of the loop.
    pub fn counted_at(&self) -> u64 {
        self.work.counted.at
    }

    /// Jobs of a circuit that wait or are in flight.
    fn waiting(&self, shape: Shape) -> usize {
        let of = |jobs: Option<usize>| jobs.unwrap_or(0);
        of(self.work.due.get(&shape).map(std::collections::BTreeSet::len))
            + of(self.work.alone.get(&shape).map(std::collections::BTreeSet::len))
            + of(self.work.in_flight.get(&shape).map(std::collections::BTreeSet::len))
    }

    /// Milliseconds that a worker takes for a proof.
    fn proof_ms(&self, shape: Shape) -> u64 {
        self.work.pace.median_ms(shape).map_or_else(|| self.expected_ms(shape), |median| median.max(1))
    }

    /// … before any was measured.
    fn expected_ms(&self, shape: Shape) -> u64 {
        self.capacity.proof_ms.get(&shape).copied().unwrap_or(1_000).max(1)
    }

    /// By how much proofs take longer than they did: nothing was proven for so many times what an attempt takes until it is
    /// overdue.
    fn slower(&self, now: u64) -> u64 {
        let in_flight = |shape: &&Shape| self.work.in_flight.get(shape).is_some_and(|jobs| !jobs.is_empty());
        let longest = Shape::ALL
            .iter()
            .filter(in_flight)
            .map(|shape| self.work.pace.overdue_after_ms(*shape).max(3 * self.proof_ms(*shape)));
        longest.max().map_or(1, |longest| (now.saturating_sub(self.work.counted.moved) / longest).max(1))
    }

    /// Whether nothing is in flight.
    pub(super) fn is_at_rest(&self) -> bool {
        self.work.in_flight.values().all(std::collections::BTreeSet::is_empty)
    }

    /// Counts the workers anew, if that was a while ago.
    pub(super) fn count(&mut self, now: u64) {
        let work = &mut self.work;
        if now < work.counted.at.saturating_add(COUNT_EVERY_MS) {
            return;
        }
        work.counted.at = now;
        let crew = work.registry.crew();
        for set in Circuits::every().subsets() {
            let of_pool = |(pool, workers): (&PoolName, &BTreeMap<Force, usize>)| {
                let able = |has_proven| {
                    let able = workers.iter().filter(move |(force, _)| {
                        force.circuits.meets(set) && force.has_proven == has_proven
                    });
                    able.map(|(_, count)| count).sum::<usize>()
                };
                let window = work.pools.get(pool).map_or(0, |pool| pool.window as usize);
                let proven = able(true);
                proven.saturating_add(able(false).min(NEWCOMERS + proven)).min(window)
            };
            let able = crew.iter().map(of_pool).sum();
            let (count, seen) = &mut work.counted.able[set.index()];
            *count = able;
            if able > 0 {
                *seen = Some(now);
            }
        }
        let load = self.load(None, false, now);
        let is_short = load.jobs > 0 && !load.needs_no_more();
        let since = self.work.counted.short_since.filter(|_| is_short);
        self.work.counted.short_since = since.or(is_short.then_some(now));
    }

    /// What a worker counts for, if it gets work.
    pub(super) fn counts_for(&self, id: &WorkerId) -> Option<Force> {
        let worker = self.work.registry.get(id)?;
        let circuits = Circuits::from_iter(worker.circuits());
        let gets_work = !worker.is_draining && !worker.is_sick() && circuits != Circuits::default();
        gets_work.then_some(Force { circuits, has_proven: worker.has_proven() })
    }
}
