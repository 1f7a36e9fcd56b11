//! The worker: gets jobs from the coordinator, proves them on its backend, verifies each proof, reports.
//!
//! Invariant: every attempt that was received ends in exactly one of `Proved`, `Failed`, `HandedBack`, unless the coordinator
//! closes it, and nothing leaves as `Proved` that was not verified here. If the worker dies instead, its heartbeats stop and its leases run out.
//!
//! | file | purpose |
//! |---|---|
//! | `state` | every decision, pure |
//! | `worker` | the loop |
//! | `executor` | the tasks that carry the decisions out |
//! | `prepare` | input bytes → witness, or the reason why not |
//! | `residency` | which keys stay in memory, pure |
//! | `provers` | loads keys and lets them go as that says |
//! | `circuit` | keys and matrices of the circuits it can prove |
//! | `backend` | which backend to prove on |
//! | `child` | proving in a process of its own |
//! | `card` | watches the graphics card |
//! | `heartbeat` | the thread that says the worker is alive |
//! | `memory` | how much memory there is and is used |
//!

#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod backend;
pub mod card;
#[cfg(unix)]
pub mod child;
mod circuit;
mod executor;
mod heartbeat;
mod memory;
pub mod prepare;
mod provers;
mod residency;
pub mod state;
mod worker;

pub use circuit::{Circuit, LoadError, key_path, matrices};
pub use worker::{Config, Worker, WorkerError};
