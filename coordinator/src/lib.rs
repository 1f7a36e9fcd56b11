//! The coordinator: orders operations, promises them, has them proved and settles them on L1.
//!
//! Every rule is in a pure core (no clock, no I/O, no async, no randomness); adapters carry effects out; one driver loop
//! owns the cores and is the single writer. Data goes one way: API → ledger → batch → job → proof → settlement → final.
//!
//! | module | purpose |
//! |---|---|
//! | [`service`], [`refusal`] | what the outside may ask, and every refusal it can meet |
//! | [`api`] | GraphQL over HTTP, health, metrics, a typed client |
//! | [`ledger`] | who holds which coins, and whether an operation is acceptable |
//! | [`tree`] | the state, proven and final trees |
//! | [`batcher`] | the open batch |
//! | [`farm`] | who proves what |
//! | [`settlement`] | from a proven batch to a final one |
//! | [`state`] | the cores as one, moved by the event log |
//! | [`store`] | where the log and its projections live |
//! | [`mark`] | how far the log was when something was promised, kept outside the store |
//! | [`verifier`] | which proofs are believed |
//! | [`driver`] | the loop that owns the cores, and the tasks at its sides |
//! | [`chain`] | what is needed of an EVM chain |
//! | `views` | what readers see of the durable state |
//! | `cost` | what a request costs |
//! | [`config`] | settings |
//! | `sim` | the deterministic simulator; only with the feature `sim`, which nothing that is shipped has |

pub mod api;
pub mod batcher;
pub mod chain;
pub mod config;
mod cost;
pub mod driver;
pub mod farm;
mod layered;
pub mod ledger;
pub mod mark;
pub mod refusal;
pub mod service;
pub mod settlement;
#[cfg(feature = "sim")]
pub mod sim;
pub mod state;
pub mod store;
pub mod trace;
pub mod tree;
pub mod verifier;
mod views;

#[cfg(test)]
mod testkit;

pub use config::{Config, SETTLES_WITHIN, SETTLES_WITHIN_TAGGED, ScaleFromZero};
pub use driver::{Handle, Parts, SnapshotSettings, StartError, start};
