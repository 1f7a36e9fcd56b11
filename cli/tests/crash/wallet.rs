//! The wallet's own code: it signs nothing that it did not compute itself, also while the farm dies.

#[path = "../../src/wallet/holder.rs"]
#[allow(dead_code, reason = "the binary uses all of it")]
pub mod holder;
