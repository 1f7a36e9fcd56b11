//! L1 as Rust sees it: the Proofmill contract, and nodes of an EVM chain.
//!
//! Invariant: no type of `ethers` leaves this crate except through [`contract::bindings`]; what comes from a chain is decoded completely or
//! refused, never guessed. `ethers` 2.0.14 is the last of its line; what it brings is kept to encoding, signing and the JSON-RPC
//! trait, under our own transport without its TLS stack. To exchange it is to rewrite this crate.
//!
//! | module | purpose |
//! |---|---|
//! | [`contract`] | the contract's bytecode, calls, logs and errors in plain types |
//! | [`node`] | JSON-RPC: reads, signing, deployment, what users call |
//! | [`http`] | HTTP with TLS, for nodes, remote signers and APIs |

pub mod contract;
pub mod http;
pub mod node;
