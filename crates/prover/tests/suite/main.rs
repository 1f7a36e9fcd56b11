//! Tests of the prover as others use it, in one binary to link once.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod arkworks;
mod common;
mod gnark;
mod hostile;
mod iden3;
mod key_files;
mod matrices;
mod matrices_files;
mod products;
mod prove;
mod ptau;
mod refusals;
mod resumable;
