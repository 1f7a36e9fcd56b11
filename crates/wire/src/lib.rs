//! What crosses a process: jobs, results and controls, and their one encoding. The queue that carries them
//! is the crate `queue`.
//!
//! Invariant: bytes from another process are decoded by [`codec`] and nothing else, which refuses what it does not know
//! (another version, another kind, a cut or an overlong message) with an error of its own and never panics.
//!
//! | module | purpose |
//! |---|---|
//! | [`codec`] | magic, version, kind, then postcard |
//! | [`job`] | a job's entry and its input, and the names of pools and workers |
//! | [`card`] | what a worker tells of its graphics card |
//! | [`event`] | what workers report, what the coordinator answers |

pub mod card;
pub mod codec;
pub mod event;
mod failpoint;
pub mod job;

pub use card::{CardReading, EnergyAverage, Throttle};
pub use event::{
    CircuitSupport, Control, Directive, FailureKind, InFlight, ProofBytes, Registration, Report, Stage,
    Timings, WorkerEvent,
};
pub use failpoint::failpoint;
pub use job::{Attempt, InstanceName, JobEntry, JobId, PoolName, ProcessId, WorkerId};
