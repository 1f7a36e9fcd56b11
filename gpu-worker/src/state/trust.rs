//! What the worker thinks of the card it proves on.
//!
//! - A card whose proof does not verify gets a second try; then the processor proves. If that works, the witness was
//!   good and the card is *suspect*. If the processor finds the statement false, the card was right to fail.
//! - So is a card that gets proofs wrong now and then: [`WRONG_PROOFS`] good witnesses with a wrong proof are enough.
//! - A suspect card gets no more work from this worker, which leaves. Starting it again is a decision of people.
//! - A card that fails (crash, out of memory, lost) [`FAILURES`] times in a row is *sick*: it gets no work for a while, then
//!   one more chance each time. A proof makes it well.
//! - Who watches the card from outside can call it sick, until they call it well.
//!
//! The processor is never suspect: there is nothing better to ask.

use std::time::Duration;

use crate::card::Condition;

/// Witnesses whose first proof was wrong before a card is suspect.
pub const WRONG_PROOFS: u32 = 3;
/// Failures in a row before a card is sick.
pub const FAILURES: u32 = 3;

#[derive(Clone, Debug)]
pub struct Trust {
    /// Whether this is a card at all.
    is_card: bool,
    wrong: u32,
    failures: u32,
    /// After failures: no work before then, and why.
    rests: Option<(Duration, String)>,
    watched: Condition,
}

impl Trust {
    pub fn new(is_card: bool) -> Self {
        Self { is_card, wrong: 0, failures: 0, rests: None, watched: Condition::Well }
    }

    /// Whether the processor may be asked when the device gets it wrong.
    pub fn has_fallback(&self) -> bool {
        self.is_card
    }

    /// The device delivered a proof that verifies, after `wrong` that did not. Why it is suspect now, if it is.
    pub fn proved(&mut self, wrong: u32) -> Option<String> {
        self.failures = 0;
        self.rests = None;
        self.wrong += u32::from(wrong > 0);
        (self.is_card && self.wrong >= WRONG_PROOFS).then(|| {
            format!(
                "PM-WORKER-050: the card is suspect: {} of its proofs did not verify although their witnesses were \
                 good; test it before it gets work again",
                self.wrong
            )
        })
    }

    /// The processor proved what the card got wrong. Why the card is suspect now.
    pub fn replaced(&self, wrong: u32) -> String {
        format!(
            "PM-WORKER-051: the card is suspect: {wrong} proofs of one witness did not verify, and the processor's did; \
             test it before it gets work again"
        )
    }

    /// The device failed.
    pub fn failed(&mut self, reason: &str, now: Duration, rest: Duration) {
        self.failures += 1;
        if self.failures >= FAILURES {
            let why = format!(
                "PM-WORKER-052: the card is sick: it failed {} times in a row, at last with: {reason}",
                self.failures
            );
            self.rests = Some((now + rest, why));
        }
    }

    pub fn watch(&mut self, condition: Condition) {
        self.watched = condition;
    }

    /// Why the card should get no work now.
    pub fn sick(&self, now: Duration) -> Option<&str> {
        match (&self.watched, &self.rests) {
            (Condition::Sick(why), _) => Some(why),
            (Condition::Well, Some((until, why))) if now < *until => Some(why),
            (Condition::Well, _) => None,
        }
    }
}
