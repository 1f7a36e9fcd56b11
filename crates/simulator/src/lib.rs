//! The deterministic simulator: the real driver, its real tasks and a real replay, in a world that fails in every way it can.
//!
//! Invariant: a seed is a schedule. Everything that is left to chance is drawn from one stream of random numbers per step,
//! nothing looks at a real clock, and nothing runs on another thread; so the same seed gives the same trace, byte for byte,
//! and a schedule without some of its steps can be run again to find the shortest one that fails.
//!
//! Real are the driver with all its cores, `ChainTask`, `queue_task` and the replay at the start. Simulated are the store,
//! the queue, the workers, the chain with its contract, the users, the clocks and the deaths of processes. A proof is a tag
//! over its public inputs, and spends are not signed.
//!
//! A schedule has two parts. In the first anything can happen between any two effects. In the second faults have stopped, and
//! all that was accepted must become final within a bounded number of steps.
//!
//! | file | concept |
//! |---|---|
//! | `schedule` | which step comes next; the quiet end |
//! | `faults` | what fails |
//! | `process` | a coordinator: the driver, its tasks, and their executor |
//! | `world` | what all share: chance, time, the first thing that broke |
//! | `disk` | the store, its outages and its leader |
//! | `restore` | a backup in its place, and the mark by which that is noticed |
//! | `streams` | the queue, and messages lost, doubled and reordered |
//! | `crew` | workers: honest, slow, dying, lying |
//! | `chain` | the chain as the coordinator sees it |
//! | `node` | its blocks, the contract's rules, reorganisations |
//! | `users` | who pays whom, and what was answered |
//! | `model` | what the log says, worked out a second time, and the promises |
//! | `shrink` | the shortest schedule that fails the same way |

use std::collections::BTreeSet;

mod chain;
mod crew;
mod disk;
mod faults;
mod model;
mod node;
mod process;
mod restore;
mod schedule;
mod shrink;
mod streams;
mod users;
mod world;

pub use schedule::run;
pub use shrink::shrink;

/// A bug to be planted in an adapter, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The store says it wrote, and did not.
    CommitIsLost,
    /// The store answers first and writes with the next commit.
    CommitIsLate,
    /// Whoever led once can always write.
    DeposedWrites,
    /// The store forgets idempotency keys.
    KeysAreForgotten,
    /// A grant reaches two workers.
    GrantedTwice,
    /// Every proof verifies.
    VerifierIsBlind,
    /// The nonce that is read never moves.
    NonceStands,
    /// A deposit is read twice.
    DepositTwice,
    /// Blocks are called final before they are.
    FinalTooEarly,
    /// A replay leaves out the last event.
    ReplayStopsShort,
    /// The mark of what was promised is not found.
    MarkIsLost,
    /// The store does not say what time it is.
    NoOtherClock,
    /// The store panics.
    StorePanics,
}

impl Bug {
    pub const ALL: [Bug; 13] = [
        Bug::CommitIsLost,
        Bug::CommitIsLate,
        Bug::DeposedWrites,
        Bug::KeysAreForgotten,
        Bug::GrantedTwice,
        Bug::VerifierIsBlind,
        Bug::NonceStands,
        Bug::DepositTwice,
        Bug::FinalTooEarly,
        Bug::ReplayStopsShort,
        Bug::MarkIsLost,
        Bug::NoOtherClock,
        Bug::StorePanics,
    ];
}

/// What to run.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub seed: u64,
    pub bug: Option<Bug>,
    /// Whether to write down what happens.
    pub traced: bool,
    /// The number of steps, if not the seed decides.
    pub steps: Option<usize>,
    /// Steps to leave out.
    pub skipped: BTreeSet<usize>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub seed: u64,
    pub steps: usize,
    /// What broke first; nothing if all held.
    pub broken: Option<String>,
    pub trace: Vec<String>,
    pub seen: Seen,
}

/// What a schedule met, so that one can see that the faults happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub batches: u64,
    pub operations: u64,
    pub answers: u64,
    pub refusals: u64,
    pub crashes: u64,
    pub takeovers: u64,
    pub deposed: u64,
    pub outages: u64,
    pub reorgs: u64,
    pub wipes: u64,
    pub lies: u64,
    pub deaths: u64,
    pub jumps: u64,
    pub spikes: u64,
    pub evictions: u64,
    pub replacements: u64,
    pub snapshots: u64,
    pub foreign: u64,
    pub restores: u64,
    pub restores_noticed: u64,
    pub clock_refusals: u64,
    pub no_capacity: u64,
    pub quiet_steps: u64,
}

impl Seen {
    /// By name, for printing and adding up.
    pub fn counts(&self) -> [(&'static str, u64); 23] {
        [
            ("batches", self.batches),
            ("operations", self.operations),
            ("answers", self.answers),
            ("refusals", self.refusals),
            ("crashes", self.crashes),
            ("takeovers", self.takeovers),
            ("commits refused to the deposed", self.deposed),
            ("store outages", self.outages),
            ("reorganisations", self.reorgs),
            ("queue wipes", self.wipes),
            ("worker lies", self.lies),
            ("worker deaths", self.deaths),
            ("clock jumps", self.jumps),
            ("fee spikes", self.spikes),
            ("evictions", self.evictions),
            ("replaced transactions", self.replacements),
            ("snapshots", self.snapshots),
            ("nonces taken by others", self.foreign),
            ("backups restored", self.restores),
            ("backups noticed", self.restores_noticed),
            ("refused for a clock", self.clock_refusals),
            ("refused for want of provers", self.no_capacity),
            ("quiet steps", self.quiet_steps),
        ]
    }
}
