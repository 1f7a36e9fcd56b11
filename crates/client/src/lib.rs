//! The coordinator's API for Rust, and what a wallet signs. Links no server.
//!
//! Invariant: nothing is signed that the holder did not compute itself; nothing that the API answers is trusted here.
//!
//! | module | purpose |
//! |---|---|
//! | [`api`] | a typed client of the GraphQL API |
//! | [`holder`] | the keys of a wallet, and what it refuses to sign |

pub mod api;
pub mod holder;
