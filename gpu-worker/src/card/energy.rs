//! What a proof cost, in millijoules.
//!
//! The card's own counter is used where there is one (Volta and later), else power over time. Either is all that the card
//! used meanwhile, idle draw and foreign work included. Drivers renew both only some ten times a second: of short proofs
//! only the average over many is meaningful.

use std::time::{Duration, Instant};

use super::monitor::Card;

/// The card at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Millijoules since some beginning.
    pub counter: Option<u64>,
    /// Milliwatts.
    pub power: Option<u32>,
}

/// Counts from its making to [`EnergyMeter::stop`].
pub struct EnergyMeter {
    card: Card,
    began: Instant,
    start: Mark,
}

impl EnergyMeter {
    pub(super) fn start(card: Card) -> Self {
        let start = card.mark();
        Self { card, began: Instant::now(), start }
    }

    /// Millijoules since the start; nothing if the card tells neither energy nor power.
    pub fn stop(self) -> Option<u64> {
        let took = self.began.elapsed();
        let stop = self.card.mark();
        let between = self.card.powers_since(self.began);
        used(self.start, &between, stop, took)
    }
}

/// Millijoules between two marks, `took` apart; `between` are powers in milliwatts at times since the first.
fn used(start: Mark, between: &[(Duration, u32)], stop: Mark, took: Duration) -> Option<u64> {
    if let (Some(first), Some(last)) = (start.counter, stop.counter) {
        // A counter that ran backwards was reset by a new driver.
        return last.checked_sub(first);
    }
    let ends = [start.power.map(|power| (Duration::ZERO, power)), stop.power.map(|power| (took, power))];
    let [first, last] = ends;
    let within = between.iter().copied().filter(|(at, _)| *at < took);
    let points: Vec<(Duration, u32)> = first.into_iter().chain(within).chain(last).collect();
    let (&(early, first), &(late, last)) = (points.first()?, points.last()?);
    // Level before the first and after the last point, straight in between: milliwatts times microseconds.
    let area = |power: u32, time: Duration| u128::from(power) * time.as_micros();
    let edges = area(first, early) + area(last, took.saturating_sub(late));
    let trapezoids = points.windows(2).map(|pair| {
        let [(from, a), (to, b)] = [pair[0], pair[1]];
        (area(a, to.saturating_sub(from)) + area(b, to.saturating_sub(from))) / 2
    });
    u64::try_from((edges + trapezoids.sum::<u128>()) / 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Mark = Mark { counter: None, power: None };

    fn counted(counter: u64) -> Mark {
        Mark { counter: Some(counter), power: Some(1) }
    }

    fn drawing(power: u32) -> Mark {
        Mark { counter: None, power: Some(power) }
    }

    #[test]
    fn the_counter_is_believed_before_power_samples() {
        assert_eq!(used(counted(1_000), &[], counted(31_500), Duration::from_secs(1)), Some(30_500));
    }

    #[test]
    fn a_counter_that_was_reset_gives_no_energy() {
        assert_eq!(used(counted(1_000), &[], counted(10), Duration::from_secs(1)), None);
    }

    #[test]
    fn without_a_counter_power_is_integrated_over_time() {
        let second = Duration::from_secs(1);
        assert_eq!(used(drawing(300_000), &[], drawing(300_000), 2 * second), Some(600_000));
        // 100 W rising to 500 W within a second, then level for another.
        let between = [(second, 500_000), (3 * second, 1)];
        assert_eq!(used(drawing(100_000), &between, drawing(500_000), 2 * second), Some(800_000));
        assert_eq!(used(NOTHING, &[(second, 200_000)], NOTHING, 2 * second), Some(400_000));
    }

    #[test]
    fn a_card_that_tells_nothing_costs_nothing_known() {
        assert_eq!(used(NOTHING, &[], NOTHING, Duration::from_secs(1)), None);
    }
}
