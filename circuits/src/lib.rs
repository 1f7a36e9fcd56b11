//! The rules of the validium, each twice side by side: a native function and, below it, its bellman constraints.
//!
//! The ledger accepts an operation with the same native functions that the witness is made of, so that whatever was
//! accepted can be proved. Nothing here knows how a proof is made.
//!
//! | file | concept |
//! |---|---|
//! | `poseidon` | the hash |
//! | `baby_jubjub`, `eddsa`, `blake512` | keys and signatures |
//! | `leaf`, `tree` | who holds which coins, and the tree of it |
//! | `message` | what a spender signs |
//! | `slot` | one spend: no-op, send, withdraw, forced exit, forced re-key |
//! | `batch` | appended outputs and mints, then the slots in order |
//! | `public_data` | D, its hash chain and its evaluation: what L1 sees |
//! | `r1cs` | the language of the gadgets |
//! | `fixture` | a small ledger that makes valid batches, for tests and benches |
//! | `shape` | the circuits `s3m1` … `s1020m4` |

pub mod baby_jubjub;
pub mod batch;
mod blake512;
pub mod eddsa;
#[cfg(any(test, feature = "testing"))]
pub mod fixture;
pub mod leaf;
pub mod message;
pub mod poseidon;
pub mod public_data;
pub mod r1cs;
pub mod shape;
pub mod slot;
pub mod tree;

#[cfg(test)]
pub(crate) mod testing;
