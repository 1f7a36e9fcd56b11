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
}

/// What the workers that are alive can prove.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Capacity {
    /// Workers that can prove the circuit.
    pub workers: usize,
    /// Milliseconds that one of them takes for a proof, the median; nothing before the first.
    pub proof_ms: Option<u64>,
    /// Jobs that wait or are in flight.
    pub backlog: usize,
}

impl Pace {
    pub(super) fn proved(&mut self, shape: Shape, ms: u64) {
        let recent = self.recent.entry(shape).or_default();
        if recent.len() == WINDOW {
            recent.pop_front();
        }
        recent.push_back(ms);
    }

    /// Nothing before the first proof.
    pub(super) fn median_ms(&self, shape: Shape) -> Option<u64> {
        let mut sorted: Vec<u64> = self.recent.get(&shape)?.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
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

impl super::Farm {
    /// What the workers that are alive can prove of a circuit.
    pub fn capacity(&self, shape: Shape) -> Capacity {
        let count = |jobs: Option<usize>| jobs.unwrap_or(0);
        let due = count(self.work.due.get(&shape).map(std::collections::BTreeSet::len))
            + count(self.work.alone.get(&shape).map(std::collections::BTreeSet::len));
        let in_flight = count(self.work.in_flight.get(&shape).map(std::collections::BTreeSet::len));
        Capacity {
            workers: self.work.registry.count_able(shape),
            proof_ms: self.work.pace.median_ms(shape),
            backlog: due + in_flight,
        }
    }
}
