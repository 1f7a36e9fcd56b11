//! Whether a card should get work. Pure: looks and the time go in, a condition comes out.
//!
//! Two kinds of reason. What is broken stays broken until somebody acts and the worker starts again: a lost card, memory
//! errors that rose. What can pass (heat, throttling, crowding, a pending repair) makes the card well again once it has been
//! gone for a while, and heat and memory must be gone by a margin, so that a card at the edge does not flap.
//!
//! The words of a reason hold no reading that moves: a condition that stays the same is the same text.

use std::time::Duration;

use wire::{CardReading, Throttle};

use super::{Condition, Look};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that must be free, or free but for other processes.
    pub free_memory: u64,
    /// How long the hardware may hold the clocks down.
    pub throttled: Duration,
    /// Degrees below the slowdown temperature at which a hot card counts as cool.
    pub cooler_by: u32,
    /// How long a reason must be gone.
    pub settle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            free_memory: 512 << 20,
            throttled: Duration::from_secs(10),
            cooler_by: 5,
            settle: Duration::from_secs(10),
        }
    }
}

/// What is known of a card's health.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    condition: Condition,
    /// What no look can take back.
    lost: Option<String>,
    failing: bool,
    /// Uncorrectable errors at the first look, or after the driver counted anew.
    first_errors: Option<u64>,
    hot: bool,
    crowded: bool,
    throttled_since: Option<Duration>,
    /// Since when no reason holds, while the card still counts as sick.
    better_since: Option<Duration>,
}

impl Health {
    pub fn condition(&self) -> &Condition {
        &self.condition
    }

    /// Why the card is sick.
    pub fn reason(&self) -> Option<&str> {
        match &self.condition {
            Condition::Well => None,
            Condition::Sick(reason) => Some(reason),
        }
    }

    /// Heeds a look and names what speaks against the card now.
    fn reasons(&mut self, look: &Look, limits: &Limits, now: Duration) -> Vec<String> {
        match look {
            Look::Lost(reason) => {
                self.lost.get_or_insert_with(|| reason.clone());
            }
            Look::Seen(reading) => {
                self.heed_errors(reading);
                self.heed_heat(reading, limits);
                self.heed_throttling(reading, now);
                self.heed_crowding(reading, limits);
            }
        }
        let repair = match look {
            Look::Seen(reading) => repair(reading),
            Look::Lost(_) => None,
        };
        let lost = self.lost.as_ref().map(|reason| {
            format!("PM-CARD-010: the card is lost ({reason}); reset it or the machine, then start the worker again")
        });
        let failing = self.failing.then(|| {
            "PM-CARD-011: its memory has uncorrectable errors since the worker started; reset the card, start the worker \
             again, and replace the card if they come back"
                .to_owned()
        });
        let hot = self.hot.then(|| {
            "PM-CARD-012: it reached the temperature at which it slows down; look at its cooling".to_owned()
        });
        let held = self.throttled_since.is_some_and(|since| now >= since + limits.throttled).then(|| {
            "PM-CARD-013: the hardware holds its clocks down, against heat or for the power supply; look at both"
                .to_owned()
        });
        let crowded = self.crowded.then(|| {
            format!(
                "PM-CARD-015: less than {} MiB of its memory are free and other processes hold more than that; stop them or \
                 give the worker another card",
                limits.free_memory >> 20
            )
        });
        [lost, failing, repair, hot, held, crowded].into_iter().flatten().collect()
    }

    fn heed_errors(&mut self, reading: &CardReading) {
        let Some(errors) = reading.ecc_uncorrected else { return };
        let first = *self.first_errors.get_or_insert(errors);
        // The count starts anew when the driver is loaded anew.
        self.first_errors = Some(first.min(errors));
        self.failing |= errors > first.min(errors);
    }

    fn heed_heat(&mut self, reading: &CardReading, limits: &Limits) {
        let (Some(degrees), Some(slowdown)) = (reading.temperature, reading.slowdown_temperature) else {
            return;
        };
        let enough = if self.hot { slowdown.saturating_sub(limits.cooler_by) } else { slowdown };
        self.hot = degrees >= enough;
    }

    fn heed_throttling(&mut self, reading: &CardReading, now: Duration) {
        let held = |throttle: Throttle| throttle.any(Throttle::HARD_THERMAL | Throttle::POWER_BRAKE);
        if reading.throttle.is_some_and(held) {
            self.throttled_since.get_or_insert(now);
        } else {
            self.throttled_since = None;
        }
    }

    /// Only others count: the worker itself may fill the card with its keys.
    fn heed_crowding(&mut self, reading: &CardReading, limits: &Limits) {
        let (Some(free), Some(foreign)) = (reading.memory_free, reading.foreign_memory) else { return };
        let margin = if self.crowded { limits.free_memory / 4 } else { 0 };
        self.crowded = free < limits.free_memory + margin && foreign >= limits.free_memory;
    }
}

/// Memory that a reset will repair, or that could not be.
fn repair(reading: &CardReading) -> Option<String> {
    let pending = [reading.retirement_pending, reading.remap_pending].contains(&Some(true));
    if reading.remap_failed == Some(true) {
        Some("PM-CARD-014: it could not replace a broken row of its memory; replace the card".to_owned())
    } else {
        pending.then(|| {
            "PM-CARD-014: broken memory waits for a reset to be taken out of use; reset the card".to_owned()
        })
    }
}

/// What is known after another look.
pub fn judge(previous: &Health, look: &Look, limits: &Limits, now: Duration) -> Health {
    let mut health = previous.clone();
    let reasons = health.reasons(look, limits, now);
    if !reasons.is_empty() {
        health.better_since = None;
        health.condition = Condition::Sick(reasons.join("; "));
    } else if health.reason().is_some() {
        let since = *health.better_since.get_or_insert(now);
        if now >= since + limits.settle {
            health.better_since = None;
            health.condition = Condition::Well;
        }
    }
    health
}
