//! The hostile suite `wallet`: the built binary against a coordinator that lies in each field in turn, a node that swallows
//! answers, and a kill at each point. The contract is real, on a chain in this process; its key has known secrets, so that any
//! batch can be accepted without a prover.

#![allow(clippy::unwrap_used, reason = "helpers of tests panic with the rest of the test")]

mod api;
mod believes;
mod http;
mod lies;
mod mill;
mod pays_once;
mod transacts_once;
mod world;
