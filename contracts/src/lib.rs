//! The compiled contracts, and their tests.
//!
//! Sources are in `solidity/`, compiled by `build.mjs` into `abi/` (committed; `tests/committed_abi.rs` compares). The crate `l1` makes calls of
//! them and reads their logs.
//!
//! The contract has no penalty yet for an operator who stops or breaks a promise: see `contracts/README.md`.

/// ABI and bytecode of `Proofmill`, as JSON.
pub const PROOFMILL: &str = include_str!("../abi/Proofmill.json");
/// ABI and bytecode of the library `PoseidonT3`, as JSON.
pub const POSEIDON_T3: &str = include_str!("../abi/PoseidonT3.json");
