//! L1 as Rust sees it: the Proofmill contract, and nodes of an EVM chain.
//!
//! Invariant: no type of `ethers` leaves this crate, except through `testing`, which nothing shipped has; what comes from a chain is
//! decoded completely or refused, never guessed. `ethers` 2.0.14 is the last of its line; what it brings is kept to encoding and
//! signing, under a JSON-RPC client of our own. To exchange it is to rewrite this crate.
//!
//! | module | purpose |
//! |---|---|
//! | [`contract`] | the contract's bytecode, calls, logs and errors in plain types |
//! | [`node`] | a node: reads, signing, deployment, what users call |
//! | [`rpc`] | JSON-RPC |
//! | [`http`] | HTTP with TLS, for nodes, remote signers and APIs |
//! | `testing` | for tests (feature `testing`): calls and transactions that nobody honest makes |

pub mod contract;
pub mod http;
pub mod node;
pub mod rpc;
#[cfg(feature = "testing")]
pub mod testing;
