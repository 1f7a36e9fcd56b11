//! Every rule that makes a card sick, and what makes it well again.

use std::time::Duration;

use gpu_worker::card::{
    Look,
    health::{Health, Limits, judge},
};
use wire::{CardReading, Throttle};

/// A card that is looked at once a second.
struct Patient {
    health: Health,
    seconds: u64,
}

impl Patient {
    fn new() -> Self {
        Self { health: Health::default(), seconds: 0 }
    }

    /// The reason after another second.
    fn after(&mut self, look: &Look) -> Option<&str> {
        self.seconds += 1;
        let now = Duration::from_secs(self.seconds);
        self.health = judge(&self.health, look, &Limits::default(), now);
        self.health.reason()
    }

    fn is_sick_with(&mut self, look: &Look, code: &str) -> bool {
        self.after(look).is_some_and(|reason| reason.contains(code))
    }

    /// Looks until the card has settled.
    fn settles(&mut self, look: &Look) -> bool {
        let settle = Limits::default().settle.as_secs();
        let early = (0..settle).all(|_| self.after(look).is_some());
        early && self.after(look).is_none()
    }
}

fn seen(reading: CardReading) -> Look {
    Look::Seen(Box::new(reading))
}

fn well() -> Look {
    seen(CardReading::default())
}

fn degrees(temperature: u32) -> Look {
    let slowdown_temperature = Some(90);
    seen(CardReading { temperature: Some(temperature), slowdown_temperature, ..CardReading::default() })
}

fn errors(ecc_uncorrected: u64) -> Look {
    seen(CardReading { ecc_uncorrected: Some(ecc_uncorrected), ..CardReading::default() })
}

#[test]
fn a_card_that_tells_nothing_is_well() {
    assert_eq!(Patient::new().after(&well()), None);
}

#[test]
fn a_lost_card_stays_sick_until_the_worker_starts_again() {
    let mut patient = Patient::new();
    assert!(patient.is_sick_with(&Look::Lost("fell off the bus".to_owned()), "fell off the bus"));
    assert!((0..60).all(|_| patient.is_sick_with(&well(), "PM-CARD-010")));
}

#[test]
fn uncorrectable_errors_from_before_the_worker_are_forgiven_and_new_ones_are_not() {
    let mut patient = Patient::new();
    assert_eq!(patient.after(&errors(5)), None);
    assert_eq!(patient.after(&errors(5)), None);
    assert!(patient.is_sick_with(&errors(6), "PM-CARD-011"));
    assert!((0..60).all(|_| patient.is_sick_with(&errors(6), "PM-CARD-011")));
}

#[test]
fn a_counter_that_starts_anew_hides_no_new_error() {
    let mut patient = Patient::new();
    assert_eq!(patient.after(&errors(5)), None);
    assert_eq!(patient.after(&errors(0)), None);
    assert!(patient.is_sick_with(&errors(1), "PM-CARD-011"));
}

#[test]
fn memory_that_waits_for_repair_or_cannot_be_repaired_is_a_reason() {
    for (reading, words) in [
        (CardReading { retirement_pending: Some(true), ..CardReading::default() }, "waits for a reset"),
        (CardReading { remap_pending: Some(true), ..CardReading::default() }, "waits for a reset"),
        (CardReading { remap_failed: Some(true), ..CardReading::default() }, "replace the card"),
    ] {
        let mut patient = Patient::new();
        assert!(patient.is_sick_with(&seen(reading), words), "{words}");
        assert!(patient.settles(&well()));
    }
}

#[test]
fn a_hot_card_must_cool_by_a_margin_and_stay_cool() {
    let mut patient = Patient::new();
    assert_eq!(patient.after(&degrees(89)), None);
    assert!(patient.is_sick_with(&degrees(90), "PM-CARD-012"));
    // At the edge it stays sick however long it lasts.
    assert!((0..60).all(|_| patient.is_sick_with(&degrees(86), "PM-CARD-012")));
    assert!(patient.after(&degrees(84)).is_some());
    assert!(patient.is_sick_with(&degrees(91), "PM-CARD-012"));
    assert!(patient.settles(&degrees(84)));
    assert_eq!(patient.after(&degrees(89)), None);
}

#[test]
fn only_hardware_throttling_that_lasts_is_a_reason() {
    let throttled = |bits| seen(CardReading { throttle: Some(Throttle(bits)), ..CardReading::default() });
    let limit = Limits::default().throttled.as_secs();
    for bits in [Throttle::HARD_THERMAL, Throttle::POWER_BRAKE] {
        let mut patient = Patient::new();
        assert!((0..limit).all(|_| patient.after(&throttled(bits)).is_none()));
        // A moment without begins the count anew.
        assert_eq!(patient.after(&throttled(0)), None);
        assert!((0..limit).all(|_| patient.after(&throttled(bits)).is_none()));
        assert!(patient.is_sick_with(&throttled(bits), "PM-CARD-013"));
        assert!(patient.settles(&throttled(0)));
    }
    // A power limit is how a card is meant to run.
    let mut patient = Patient::new();
    assert!((0..60).all(|_| patient.after(&throttled(Throttle::POWER_CAP)).is_none()));
}

#[test]
fn little_memory_is_a_reason_only_when_others_hold_it() {
    let memory = |free: u64, foreign: u64| {
        let (memory_free, foreign_memory) = (Some(free << 20), Some(foreign << 20));
        seen(CardReading { memory_free, foreign_memory, ..CardReading::default() })
    };
    let mut patient = Patient::new();
    assert_eq!(patient.after(&memory(100, 0)), None);
    assert_eq!(patient.after(&memory(100, 100)), None);
    assert_eq!(patient.after(&memory(600, 9_000)), None);
    assert!(patient.is_sick_with(&memory(500, 9_000), "PM-CARD-015"));
    assert!((0..60).all(|_| patient.is_sick_with(&memory(600, 9_000), "PM-CARD-015")));
    assert!(patient.settles(&memory(700, 9_000)));
}

#[test]
fn all_reasons_are_told_at_once() {
    let mut patient = Patient::new();
    let both = CardReading { remap_pending: Some(true), temperature: Some(95), ..CardReading::default() };
    let look = seen(CardReading { slowdown_temperature: Some(90), ..both });
    let reason = patient.after(&look).unwrap();
    assert!(reason.contains("PM-CARD-014") && reason.contains("PM-CARD-012"), "{reason}");
}
