//! What all parts of a simulation share: chance, time, the trace, and the first thing that broke.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use parking_lot::{Mutex, MutexGuard};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

use super::{Bug, Seen, disk::Disk, model::Model, node::Node, streams::Streams};

/// Random numbers of one step: leaving a step out does not move the chance of another.
pub struct Dice(ChaCha8Rng);

impl Dice {
    pub fn of(seed: u64, step: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(step);
        Self(rng)
    }

    /// Below `n`, which is not 0.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(n)) >> 64) as u64
    }

    pub fn index(&mut self, n: usize) -> usize {
        self.below(n as u64) as usize
    }

    /// Both ends count.
    pub fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())]
    }
}

/// True time, Unix milliseconds. Processes see it through clocks of their own.
#[derive(Clone)]
pub struct Time(Arc<AtomicU64>);

impl Default for Time {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(1_700_000_000_000)))
    }
}

impl Time {
    pub fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub fn pass(&self, millis: u64) {
        self.0.fetch_add(millis, Ordering::Relaxed);
    }
}

pub struct World {
    pub dice: Dice,
    pub time: Time,
    pub bug: Option<Bug>,
    /// Whether faults have stopped.
    pub quiet: bool,
    pub disk: Disk,
    pub streams: Streams,
    pub node: Node,
    pub model: Model,
    pub seen: Seen,
    pub broken: Option<String>,
    pub trace: Option<Vec<String>>,
}

impl World {
    /// A fault that happens once in `n` times, while faults happen.
    pub fn fault(&mut self, n: u64) -> bool {
        !self.quiet && self.dice.one_in(n)
    }

    pub fn say(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("  {}", what()));
        }
    }

    /// Something must hold; the first that does not ends the schedule.
    pub fn breaks(&mut self, what: impl FnOnce() -> String) {
        if self.broken.is_none() {
            let what = what();
            self.say(|| format!("BROKEN: {what}"));
            self.broken = Some(what);
        }
    }

    pub fn check<E: std::fmt::Display>(&mut self, outcome: Result<(), E>) {
        if let Err(error) = outcome {
            self.breaks(|| error.to_string());
        }
    }
}

#[derive(Clone)]
pub struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub fn new(world: World) -> Self {
        Self(Arc::new(Mutex::new(world)))
    }

    /// Never held across a call into the coordinator, whose adapters lock it.
    pub fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock()
    }

    /// Sometimes something else happens first.
    pub async fn pause(&self) {
        let waits = self.lock().fault(3);
        if waits {
            turn().await;
        }
    }
}

/// Lets the schedule go on with something else once.
pub fn turn() -> Turn {
    Turn { taken: false }
}

pub struct Turn {
    taken: bool,
}

impl Future for Turn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.taken {
            return Poll::Ready(());
        }
        self.taken = true;
        Poll::Pending
    }
}
