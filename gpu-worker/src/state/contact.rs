//! What the coordinator must hear: who this worker is, and how each attempt ended. Both are repeated until they are answered,
//! since the queue may lose any message, and the coordinator may be another one tomorrow.
//!
//! - A registration is repeated, at growing intervals, until `Registered` comes, and made again after a long silence.
//! - After several that were not answered the directives are read from their start again: the stream may have been replaced
//!   by one whose ids lie before the cursor.
//! - The end of an attempt is repeated until `Close` comes.

use std::time::Duration;

use wire::WorkerEvent;

use super::{Effect, Key, State};

/// Between a registration and its first repetition; each further one waits longer by this, up to [`SLOWEST`].
const FIRST: Duration = Duration::from_secs(1);
const SLOWEST: Duration = Duration::from_secs(5);
/// A registered worker that hears nothing for so long registers again: if it is known, that is answered.
const SILENCE: Duration = Duration::from_secs(15);
/// Registrations without an answer before the directives are read again from their start.
const BEFORE_REWIND: u32 = 3;
/// Between two reports of one end.
const REPEAT: Duration = Duration::from_secs(3);
/// Ends that are repeated at once, at most; the oldest gives way.
const MAX_ENDED: usize = 64;

#[derive(Clone, Debug, Default)]
pub(super) struct Contact {
    is_registered: bool,
    /// Registrations since the last answer.
    unanswered: u32,
    /// When the next registration is due.
    register_at: Duration,
    /// Ends of attempts, and when each is reported again.
    ended: Vec<(Key, WorkerEvent, Duration)>,
}

impl Contact {
    /// Any directive shows that the coordinator is there.
    pub(super) fn heard(&mut self, now: Duration) {
        if self.is_registered {
            self.register_at = now + SILENCE;
        }
    }

    pub(super) fn registered(&mut self, now: Duration) {
        self.is_registered = true;
        self.unanswered = 0;
        self.register_at = now + SILENCE;
    }

    /// The coordinator does not know this worker.
    pub(super) fn forgotten(&mut self) {
        self.is_registered = false;
        self.register_at = Duration::ZERO;
    }

    pub(super) fn repeat(&mut self, event: &WorkerEvent, now: Duration) {
        let Some(key) = event.ends() else { return };
        self.ended.push((key, event.clone(), now + REPEAT));
        if self.ended.len() > MAX_ENDED {
            self.ended.remove(0);
        }
    }

    pub(super) fn close(&mut self, key: Key) {
        self.ended.retain(|(ended, ..)| *ended != key);
    }

    /// How the attempt ended, if it did and that was not answered yet: to be said again now.
    pub(super) fn ended(&mut self, key: Key, now: Duration) -> Option<WorkerEvent> {
        let (_, event, again) = self.ended.iter_mut().find(|(ended, ..)| *ended == key)?;
        *again = now + REPEAT;
        Some(event.clone())
    }
}

impl State {
    /// Says again what is due.
    pub(super) fn contact(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if now >= self.contact.register_at {
            if self.contact.unanswered >= BEFORE_REWIND {
                effects.push(Effect::Rewind);
            }
            self.contact.unanswered = self.contact.unanswered.saturating_add(1);
            self.contact.register_at = now + (FIRST * self.contact.unanswered).min(SLOWEST);
            let (registration, in_flight) = (self.registration.clone(), self.in_flight());
            effects.push(Effect::Emit(WorkerEvent::Register { registration, in_flight }));
        }
        for (_, event, again) in self.contact.ended.iter_mut().filter(|(.., again)| now >= *again) {
            *again = now + REPEAT;
            effects.push(Effect::Emit(event.clone()));
        }
    }
}
