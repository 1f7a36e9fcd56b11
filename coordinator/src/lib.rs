//! The coordinator: orders operations, promises them, has them proved and settles them on L1.
//!
//! Every rule is in a pure core (no clock, no I/O, no async, no randomness); adapters carry effects out; one driver loop
//! owns the cores and is the single writer. Data goes one way: API → ledger → batch → job → proof → settlement → final.
//!
//! | module | purpose |
//! |---|---|
//! | [`service`] | what the outside may ask |
//! | [`chain`] | what is needed of an EVM chain |

pub mod chain;
pub mod service;
