//! The Proofmill contract as Rust sees it: its bytecode, calls, logs and errors in plain types.
//!
//! Sources are in `contracts/solidity`, compiled into `contracts/abi`. Invariant: this module speaks `[u8; 20]`, `[u8; 32]`, integers and
//! [`bn254::Fr`], and what comes from the chain is decoded completely or refused, never guessed.
//!
//! | module | purpose |
//! |---|---|
//! | [`types`] | configuration, circuits, queue entries, records, batches |
//! | [`data`] | native mirror of what the contract hashes: D, (c, e), queue and history hashes, the domain |
//! | [`code`] | whether the code at an address is this contract |
//! | [`calls`] | deployment code, call data, and the answers of views |
//! | [`events`] | logs |
//! | [`errors`] | custom errors of the contract as sentences |
//! | [`settings`] | the settings of the contract in words |
//! | [`key`] | Groth16 keys and proofs as the words of EIP-196/197 |
//! | `bindings` | generated from the ABI; tests see it through `testing` |
//!
//! The contract has no penalty yet for an operator who stops or breaks a promise: see `contracts/README.md`.

pub(crate) mod bindings;
pub mod calls;
pub mod code;
mod convert;
pub mod data;
pub mod errors;
pub mod events;
pub mod key;
pub mod settings;
pub mod types;

pub use errors::{ContractError, DecodeError};
pub use events::{Event, decode_log};
pub use key::{VerifyingKey, proof_words};
pub use types::{
    Address, Batch, ChainState, CircuitKey, Config, ForcedEntry, ForcedKind, MintEntry, Record, Word,
};
