//! How long proofs take, as the coordinator saw it: from the grant, or from the worker's last proof, to the proof that
//! counted. What workers say about it does not count.

use std::collections::{BTreeMap, VecDeque};

use circuits::shape::Shape;

/// Proofs of a circuit that the median is taken over.
const WINDOW: usize = 33;
/// An attempt is overdue after so many medians, but not before [`SHORTEST_OVERDUE_MS`]; without any measured proof after
/// [`UNKNOWN_OVERDUE_MS`].
const OVERDUE_MEDIANS: u64 = 3;
const SHORTEST_OVERDUE_MS: u64 = 3_000;
const UNKNOWN_OVERDUE_MS: u64 = 10_000;
/// An attempt ends after so many medians, but not before [`SHORTEST_LIMIT_MS`].
const LIMIT_MEDIANS: u64 = 20;
pub(super) const SHORTEST_LIMIT_MS: u64 = 30_000;

#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    recent: BTreeMap<Shape, VecDeque<u64>>,
    medians: BTreeMap<Shape, u64>,
}

impl Pace {
    pub(super) fn proved(&mut self, shape: Shape, ms: u64) {
        let recent = self.recent.entry(shape).or_default();
        if recent.len() == WINDOW {
            recent.pop_front();
        }
        recent.push_back(ms);
        let mut sorted: Vec<u64> = recent.iter().copied().collect();
        sorted.sort_unstable();
        self.medians.insert(shape, sorted[sorted.len() / 2]);
    }

    /// Nothing before the first proof.
    pub(super) fn median_ms(&self, shape: Shape) -> Option<u64> {
        self.medians.get(&shape).copied()
    }

    /// After this an idle worker makes a second attempt.
    pub(super) fn overdue_after_ms(&self, shape: Shape) -> u64 {
        let median = self.median_ms(shape);
        median.map_or(UNKNOWN_OVERDUE_MS, |median| (OVERDUE_MEDIANS * median).max(SHORTEST_OVERDUE_MS))
    }

    /// After this an attempt ends. Nothing before the first proof.
    pub(super) fn limit_ms(&self, shape: Shape) -> Option<u64> {
        self.median_ms(shape).map(|median| (LIMIT_MEDIANS * median).max(SHORTEST_LIMIT_MS))
    }
}
