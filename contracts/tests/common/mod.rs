//! What the contract tests share: a chain, known secrets, a deployed contract.

pub mod mill;
pub mod rpc;
pub mod trapdoor;
