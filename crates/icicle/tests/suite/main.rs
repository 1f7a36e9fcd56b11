//! The backend against a fake ICICLE that is compiled here, and against a real one where there is one.
//!
//! ICICLE is global to a process and may kill it, so every scenario runs in a process of its own: this binary, started
//! again (`child`).

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod child;
mod circuit;
mod conformance;
mod fake;
mod faults;
mod proofs;
mod search;
