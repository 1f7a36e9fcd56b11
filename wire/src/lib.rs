//! What crosses a process: jobs, results, controls and EIP-712 messages, their one encoding, and the queue that carries
//! them.
//!
//! Invariant: bytes from another process are decoded by [`codec`] and nothing else, which refuses what it does not know
//! (another version, another kind, a cut or an overlong message) with an error of its own and never panics.
//!
//! | module | purpose |
//! |---|---|
//! | [`codec`] | magic, version, kind, then postcard |
//! | [`depth`] | how deep text from outside may be nested |
//! | [`job`] | a job's entry and its input |
//! | [`card`] | what a worker tells of its graphics card |
//! | [`event`] | what workers report, what the coordinator answers |
//! | [`queue`] | the traits of both sides, the in-process adapter, the conformance suite of every adapter |
//! | [`eip712`] | domain separator and digests of `SpendKey`, `DirectoryEntry`, `Promise` |
//! | [`ecdsa`] | secp256k1: sign with the operator's key, recover an address |
//! | [`spend_key`] | a wallet's Baby Jubjub key from its Ethereum signature |

pub mod card;
pub mod codec;
pub mod depth;
pub mod ecdsa;
pub mod eip712;
pub mod event;
mod failpoint;
pub mod job;
pub mod queue;
pub mod spend_key;

pub use card::{CardReading, EnergyAverage, Throttle};
pub use event::{
    CircuitSupport, Control, FailureKind, Hold, ProofBytes, Registration, Stage, Timings, WorkerEvent,
};
pub use failpoint::failpoint;
pub use job::{Attempt, JobEntry, JobId, WorkerId};
pub use queue::{
    CoordinatorQueue, Depth, EventBatch, EventCursor, Liveness, Priority, QueueError, WorkerQueue,
};
