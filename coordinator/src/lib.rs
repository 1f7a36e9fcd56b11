//! The coordinator: orders operations, promises them, has them proved and settles them on L1.
//!
//! Every rule is in the crate `sequencer`; the log and its projections live in `store`; what the outside
//! may ask is `api::service`; one driver loop owns its state and is the single writer.
//!
//! | module | purpose |
//! |---|---|
//! | [`verifier`] | which proofs are believed |
//! | `driver` | the loop that owns the cores, and the tasks at its sides |
//! | [`chain`] | what is needed of an EVM chain |
//! | `views` | what readers see of the durable state |
//! | `explain` | the state in sentences, for operators |
//! | [`config`] | settings |

pub mod chain;
pub mod config;
mod driver;
mod explain;
pub mod verifier;
mod views;

#[cfg(test)]
mod testkit;

pub use config::{Config, SETTLES_WITHIN, SETTLES_WITHIN_TAGGED, ScaleFromZero};
#[cfg(feature = "testing")]
pub use driver::internals;
pub use driver::{Handle, Parts, SnapshotSettings, StartError, start};
