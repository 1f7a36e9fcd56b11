//! The matrix: where who dies, and how it is brought there.
//!
//! A coordinator that dies is either started again, in its data directory, or the standby takes over: by turns.

use std::time::Duration;

use testbed::process::Signal;
use tokio::time::Instant;

use crate::{
    eventually,
    outages::{OUTAGES, reorganise},
    world::{DEATH, SHALLOW, World},
};

/// Who dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Leader,
    /// The one that takes over from a leader which was killed.
    Successor,
    Worker,
}

/// What brings it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Its start.
    Start,
    /// Business as usual.
    Business,
    /// SIGTERM in the middle of business.
    Stop,
    /// The worker that holds a lease is killed.
    WorkerKilled,
    /// The node replaces so many blocks.
    Reorg(u64),
    /// It died at this point before, and was started again.
    After(&'static str),
}

pub struct Point {
    pub name: &'static str,
    pub who: Who,
    pub how: How,
    pub fast: bool,
}

const fn point(name: &'static str, who: Who, how: How) -> Point {
    Point { name, who, how, fast: false }
}

/// One of those that every change is tested with.
const fn fast(name: &'static str, who: Who, how: How) -> Point {
    Point { name, who, how, fast: true }
}

use How::{After, Business, Reorg, Start, Stop, WorkerKilled};
use Who::{Leader, Successor, Worker};

/// In `docs/crash-matrix.md` each says what it pins down.
pub const POINTS: &[Point] = &[
    point("start.bound", Leader, Start),
    point("start.caught_up", Leader, Start),
    point("store.lead.won", Leader, Start),
    point("start.led", Leader, Start),
    point("start.compared", Leader, Start),
    fast("store.lead.won", Successor, Start),
    point("start.led", Successor, Start),
    point("submit.checked", Leader, Business),
    fast("submit.durable", Leader, Business),
    point("submit.promised", Leader, Business),
    point("commit.before.register", Leader, Business),
    point("commit.after.register", Leader, Business),
    fast("commit.before.accept", Leader, Business),
    fast("commit.after.accept", Leader, Business),
    point("commit.before.take_in", Leader, Business),
    point("commit.after.take_in", Leader, Business),
    point("commit.before.seal", Leader, Business),
    fast("commit.after.seal", Leader, Business),
    point("commit.before.grant", Leader, Business),
    point("commit.after.grant", Leader, Business),
    point("commit.before.end", Leader, WorkerKilled),
    point("commit.after.end", Leader, WorkerKilled),
    point("commit.before.proven", Leader, Business),
    fast("commit.after.proven", Leader, Business),
    point("commit.before.sign", Leader, Business),
    point("commit.after.sign", Leader, Business),
    point("commit.before.mined", Leader, Business),
    point("commit.after.mined", Leader, Business),
    point("commit.before.final", Leader, Business),
    point("commit.after.final", Leader, Business),
    fast("store.commit.sent", Leader, Business),
    point("store.commit.before", Leader, Business),
    point("store.commit.after", Leader, Business),
    point("mark.before", Leader, Business),
    point("mark.after", Leader, Business),
    point("round.answered", Leader, Business),
    point("queue.input", Leader, Business),
    point("queue.input_laid", Leader, Business),
    point("queue.dispatch", Leader, Business),
    fast("queue.dispatched", Leader, Business),
    point("queue.control", Leader, Business),
    point("queue.controlled", Leader, Business),
    point("queue.forget", Leader, WorkerKilled),
    point("queue.forgotten", Leader, WorkerKilled),
    point("queue.remove", Leader, Business),
    point("queue.removed", Leader, Business),
    point("queue.acknowledge", Leader, Business),
    point("queue.acknowledged", Leader, Business),
    point("queue.read", Leader, Business),
    point("queue.verified", Leader, Business),
    point("settle.observed", Leader, Business),
    point("settle.verified", Leader, Business),
    point("settle.before_sign", Leader, Business),
    fast("settle.signed", Leader, Business),
    fast("settle.recorded", Leader, Business),
    fast("settle.sent", Leader, Business),
    point("settle.resend", Leader, After("settle.recorded")),
    point("intake.read", Leader, Business),
    point("intake.recorded", Leader, Business),
    point("intake.read_again", Leader, Reorg(6)),
    point("commit.before.read_again", Leader, Reorg(6)),
    point("commit.after.read_again", Leader, Reorg(6)),
    point("drain.sealed", Leader, Stop),
    point("snapshot.written", Leader, Stop),
    point("snapshot.renamed", Leader, Stop),
    point("emit.register", Worker, Start),
    point("emitted.register", Worker, Start),
    point("heartbeat.sent", Worker, Business),
    point("worker.fetched", Worker, Business),
    point("worker.witness", Worker, Business),
    point("worker.proving", Worker, Business),
    point("worker.proved", Worker, Business),
    fast("emit.proved", Worker, Business),
    fast("emitted.proved", Worker, Business),
    point("worker.drained", Worker, Stop),
];

/// The table of the documentation names exactly these points.
pub fn compare_with_the_table() {
    let table = include_str!("../../../docs/crash-matrix.md");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let told: Vec<(&str, &str)> =
        rows.map(|(name, rest)| (name, rest.split(" | ").next().unwrap_or_default())).collect();
    let here: Vec<(&str, &str)> = POINTS.iter().map(|point| (point.name, who(point.who))).collect();
    let outages: Vec<(&str, &str)> = OUTAGES.iter().map(|outage| (outage.name, outage.what)).collect();
    assert_eq!(told, [here, outages].concat(), "docs/crash-matrix.md and this file name the same");
}

fn who(who: Who) -> &'static str {
    match who {
        Leader => "coordinator",
        Successor => "standby",
        Worker => "worker",
    }
}

/// Has the process die there, and the farm survive it.
pub async fn survive(world: &mut World, point: &Point, turn: u32) {
    world.finality(SHALLOW).await;
    let died = match point.who {
        Leader => leader_dies(world, point, turn).await,
        Successor => successor_dies(world, point).await,
        Worker => worker_dies(world, point, turn).await,
    };
    world.settle().await;
    println!("{:28} {:11} {}", point.name, who(point.who), died.words());
    world.everybody_up().await;
}

/// When it died, what followed, and when somebody answered again.
pub struct Died {
    at: Instant,
    /// Until a coordinator answered.
    answered: Duration,
    then: &'static str,
}

impl Died {
    /// `then`: what is done about it, just now.
    pub async fn at(at: Instant, world: &World, then: &'static str) -> Self {
        world.leader().await;
        Self { at, answered: at.elapsed(), then }
    }

    pub fn words(&self) -> String {
        let (answered, healed) = (self.answered.as_secs_f64(), self.at.elapsed().as_secs_f64());
        format!("answers after {answered:4.1} s, all final after {healed:5.1} s; {}", self.then)
    }
}

/// Business goes on while something happens.
pub async fn in_business(world: &mut World, what: impl AsyncFnOnce(&mut World) -> Died) -> Died {
    let business = world.business();
    let (book, died) = tokio::join!(business, what(world));
    world.book = book;
    died
}

async fn leader_dies(world: &mut World, point: &Point, turn: u32) -> Died {
    let dies = world.leader().await;
    for seat in &mut world.coordinators {
        seat.kill();
    }
    let first = match point.how {
        After(first) => first,
        _ => point.name,
    };
    world.coordinators[dies].start_coordinator(&world.settings, Some(first));
    world.leads_or_is_dead(dies).await;
    if !matches!(point.how, After(_) | Start) {
        world.coordinators[1 - dies].start_coordinator(&world.settings, None);
    }
    in_business(world, async |world: &mut World| {
        bring(world, point.how, dies).await;
        world.coordinators[dies].running().dies(first, DEATH).await;
        if matches!(point.how, After(_)) {
            world.coordinators[dies].start_coordinator(&world.settings, Some(point.name));
            world.coordinators[dies].running().dies(point.name, DEATH).await;
        }
        let at = Instant::now();
        let alone = !world.coordinators[1 - dies].is_up();
        if alone || turn.is_multiple_of(2) {
            world.coordinators[dies].start_coordinator(&world.settings, None);
            return Died::at(at, world, "started again").await;
        }
        Died::at(at, world, "the standby took over").await
    })
    .await
}

/// What brings a leader to its point.
async fn bring(world: &mut World, how: How, leader: usize) {
    match how {
        Start | Business | After(_) => {}
        Stop => {
            world.lease().await;
            world.coordinators[leader].running().signal(Signal::TERM);
        }
        WorkerKilled => world.kill_a_prover().await,
        Reorg(depth) => {
            world.deposit_taken_in().await;
            reorganise(world, depth).await;
        }
    }
}

async fn successor_dies(world: &mut World, point: &Point) -> Died {
    let leader = world.leader().await;
    let dies = 1 - leader;
    world.coordinators[dies].start_coordinator(&world.settings, Some(point.name));
    let stands = eventually(DEATH, async || world.coordinators[dies].said("stands by"));
    assert!(stands.await, "it does not stand by");
    in_business(world, async |world: &mut World| {
        world.lease().await;
        world.coordinators[leader].kill();
        world.coordinators[dies].running().dies(point.name, DEATH).await;
        let at = Instant::now();
        world.coordinators[leader].start_coordinator(&world.settings, None);
        Died::at(at, world, "the killed leader was started again").await
    })
    .await
}

async fn worker_dies(world: &mut World, point: &Point, turn: u32) -> Died {
    for seat in &mut world.workers {
        seat.kill();
    }
    let [dies, other] = &mut world.workers;
    dies.start_worker(&world.settings, &dies.name.clone(), Some(point.name));
    let other = other.name.clone();
    in_business(world, async |world: &mut World| {
        if point.how == Stop {
            world.lease().await;
            world.workers[0].running().signal(Signal::TERM);
        }
        world.workers[0].running().dies(point.name, DEATH).await;
        let at = Instant::now();
        if turn.is_multiple_of(2) {
            let same = world.workers[0].name.clone();
            world.workers[0].start_worker(&world.settings, &same, None);
            return Died::at(at, world, "started again").await;
        }
        world.workers[1].start_worker(&world.settings, &other, None);
        Died::at(at, world, "another worker went on").await
    })
    .await
}
