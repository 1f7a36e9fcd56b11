//! What time it is.
//!
//! Invariant: the driver's time runs with the monotonic clock, so that whatever is paced by it (the age of an open batch,
//! leases, fees that rise) is not moved by a wall clock that jumps. It follows the wall clock's small corrections at once, and
//! a jump only when another clock confirms it: the database's, or without one a minute in which the wall clock stays there
//! and L1 is not ahead of it.
//!
//! Deadlines are promised by this time, so before anything is promised it is compared with the database's time and with the
//! head of L1. While they disagree nothing new is promised.

use std::time::Duration;

/// Corrections of the wall clock up to this are followed at once.
const SLEW_MS: u64 = 1_000;
/// Without another clock, a wall clock that jumped is believed when it has stayed there for so long.
const SETTLED: Duration = Duration::from_secs(60);

/// Where time comes from; injected, so that a simulation can have its own.
pub struct Clocks {
    /// Unix milliseconds.
    pub wall: Box<dyn Fn() -> u64 + Send>,
    /// Since any moment.
    pub monotonic: Box<dyn Fn() -> Duration + Send>,
}

/// How far clocks may be apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerance {
    /// Of this machine and the database.
    pub database: Duration,
    /// By which L1's head may be ahead of this machine. Behind it may be: blocks take their time.
    pub l1: Duration,
}

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Why nothing may be promised.
    pub refuse: Option<String>,
    /// What is wrong with a clock, whether or not it matters.
    pub alarm: Option<String>,
    /// The time was set to the wall clock's, forwards or back.
    pub stepped: bool,
}

pub struct Time {
    clocks: Clocks,
    tolerance: Tolerance,
    /// This time less the monotonic clock's, in milliseconds.
    offset: i64,
    /// The last time that was told: it does not run backwards but by a step.
    last: u64,
    /// Since when the wall clock is elsewhere.
    jumped: Option<Duration>,
    /// Whether the database agreed with this time when it was asked last.
    confirmed: bool,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn between(a: u64, b: u64) -> i64 {
    i64::try_from(i128::from(a) - i128::from(b)).unwrap_or(i64::MAX)
}

impl Time {
    pub fn new(clocks: Clocks, tolerance: Tolerance) -> Self {
        let offset = between((clocks.wall)(), millis((clocks.monotonic)()));
        Self { clocks, tolerance, offset, last: 0, jumped: None, confirmed: false }
    }

    /// Unix milliseconds.
    pub fn now(&mut self) -> u64 {
        let monotonic = (self.clocks.monotonic)();
        let steady = millis(monotonic).saturating_add_signed(self.offset);
        let drift = between((self.clocks.wall)(), steady);
        if drift.unsigned_abs() <= SLEW_MS {
            self.offset += drift;
            self.jumped = None;
        } else {
            self.jumped.get_or_insert(monotonic);
        }
        self.last = self.last.max(millis(monotonic).saturating_add_signed(self.offset));
        self.last
    }

    /// Why nothing may be promised at this very moment: the wall clock jumped, and no other clock says which is right.
    pub fn doubt(&self) -> Option<String> {
        (self.jumped.is_some() && !self.confirmed)
            .then(|| "this machine's clock jumped, and nothing confirms it yet".to_owned())
    }

    /// Compares the clocks. `database`: its time; nothing if it has none of its own. `head`: the timestamp of L1's head.
    pub fn compare(&mut self, database: Option<u64>, head: Option<u64>) -> Compared {
        let (now, wall) = (self.now(), (self.clocks.wall)());
        let apart = |a: u64, b: u64| between(a, b).unsigned_abs();
        let tolerance = millis(self.tolerance.database);
        let behind_l1 =
            |time: u64| head.is_some_and(|head| between(head, time) > millis(self.tolerance.l1) as i64);
        let mut compared = Compared::default();
        if let Some(since) = self.jumped {
            let stays = (self.clocks.monotonic)().saturating_sub(since) >= SETTLED;
            let right = match database {
                Some(database) => {
                    apart(wall, database) < apart(now, database) && apart(wall, database) <= tolerance
                }
                None => stays && !behind_l1(wall),
            };
            if right {
                tracing::warn!(from = now, to = wall, "the clock was set");
                self.offset = between(wall, millis((self.clocks.monotonic)()));
                (self.last, self.jumped, compared.stepped) = (wall, None, true);
            } else {
                compared.alarm = Some(format!(
                    "this machine's clock jumped by {} s; time goes on without it: look at its time service",
                    between(wall, now) / 1_000
                ));
            }
        }
        let now = self.last;
        self.confirmed = database.is_some_and(|database| apart(now, database) <= tolerance);
        compared.refuse = match database {
            Some(database) if !self.confirmed => Some(format!(
                "this machine's time and the database's are {} s apart: set the wrong one right",
                apart(now, database) / 1_000
            )),
            _ if behind_l1(now) => Some(format!(
                "L1's head is {} s ahead of this machine's time: set the clock right",
                head.map_or(0, |head| between(head, now) / 1_000)
            )),
            _ => self.doubt(),
        };
        if compared.alarm.is_none() {
            compared.alarm.clone_from(&compared.refuse);
        }
        compared
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    };

    use super::*;

    const START: u64 = 1_700_000_000_000;
    const HOURS: i64 = 2 * 3_600_000;

    /// True time that passes, and a wall clock that is off.
    #[derive(Clone, Default)]
    struct World {
        passed: Arc<AtomicU64>,
        off: Arc<AtomicI64>,
    }

    impl World {
        fn time(&self) -> Time {
            let (wall, steady) = (self.clone(), self.clone());
            let clocks = Clocks {
                wall: Box::new(move || wall.wall()),
                monotonic: Box::new(move || Duration::from_millis(steady.passed.load(Ordering::Relaxed))),
            };
            Time::new(clocks, Tolerance { database: Duration::from_secs(30), l1: Duration::from_secs(900) })
        }

        fn truth(&self) -> u64 {
            START + self.passed.load(Ordering::Relaxed)
        }

        fn wall(&self) -> u64 {
            self.truth().saturating_add_signed(self.off.load(Ordering::Relaxed))
        }

        fn pass(&self, seconds: u64) {
            self.passed.fetch_add(seconds * 1_000, Ordering::Relaxed);
        }

        fn off(&self, ms: i64) {
            self.off.store(ms, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_jump_of_hours_for_seconds_changes_nothing() {
        for database in [true, false] {
            for jump in [HOURS, -HOURS] {
                let world = World::default();
                let mut time = world.time();
                let asked = |world: &World| database.then(|| world.truth());
                assert_eq!(time.compare(asked(&world), None).refuse, None);
                world.off(jump);
                for _ in 0..4 {
                    world.pass(1);
                    assert_eq!(time.now(), world.truth());
                    let compared = time.compare(asked(&world), None);
                    assert!(compared.alarm.is_some() && !compared.stepped, "{compared:?}");
                    // With a database that says who is right, promises go on.
                    assert_eq!(compared.refuse.is_none(), database);
                    assert_eq!(time.doubt().is_none(), database);
                }
                world.off(0);
                world.pass(1);
                assert_eq!(time.now(), world.truth());
                assert_eq!(time.compare(asked(&world), None), Compared::default());
            }
        }
    }

    #[test]
    fn a_clock_that_is_set_right_is_followed_forwards_and_back_and_time_never_sticks() {
        for wrong in [HOURS, -HOURS] {
            let world = World::default();
            world.off(wrong);
            let mut time = world.time();
            let compared = time.compare(Some(world.truth()), None);
            assert!(compared.refuse.is_some_and(|reason| reason.contains("7200 s apart")));
            world.off(0);
            world.pass(1);
            let compared = time.compare(Some(world.truth()), None);
            assert_eq!(compared, Compared { stepped: true, ..Compared::default() });
            assert_eq!(time.now(), world.truth());
            world.pass(5);
            assert_eq!(time.now(), world.truth());
        }
    }

    #[test]
    fn without_a_database_a_clock_is_believed_when_it_stays_and_l1_does_not_contradict() {
        let world = World::default();
        let mut time = world.time();
        world.off(HOURS);
        assert!(time.compare(None, None).refuse.is_some());
        world.pass(30);
        assert!(time.compare(None, None).refuse.is_some());
        world.pass(31);
        let compared = time.compare(None, Some(world.truth()));
        assert!(compared.stepped && compared.refuse.is_none(), "{compared:?}");
        assert_eq!(time.now(), world.wall());
        // Back, where L1 is far ahead of it: not believed, and nothing is promised.
        world.off(-HOURS);
        time.now();
        world.pass(61);
        let compared = time.compare(None, Some(world.truth()));
        assert!(!compared.stepped && compared.refuse.is_some(), "{compared:?}");
    }

    #[test]
    fn time_is_compared_with_l1_on_one_side() {
        let world = World::default();
        let mut time = world.time();
        assert_eq!(time.compare(None, Some(0)).refuse, None, "a chain that stands still");
        assert_eq!(time.compare(None, Some(START + 800_000)).refuse, None);
        let compared = time.compare(None, Some(START + 1_000_000));
        assert!(compared.refuse.is_some_and(|reason| reason.contains("1000 s ahead")));
    }

    #[test]
    fn small_corrections_are_followed_and_time_stands_still_rather_than_going_back() {
        let world = World::default();
        let mut time = world.time();
        world.pass(1);
        assert_eq!(time.now(), START + 1_000);
        world.off(-600);
        assert_eq!(time.now(), START + 1_000);
        world.pass(1);
        assert_eq!(time.now(), START + 1_400);
        world.off(300);
        assert_eq!(time.now(), START + 2_300);
        assert_eq!(time.doubt(), None);
    }
}
