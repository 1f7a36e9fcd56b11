//! Tests of the prover as others use it, in one binary to link once.

mod common;
mod key_files;
mod matrices;
mod prove;
mod refusals;
