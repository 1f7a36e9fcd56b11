//! The contract tests on the workspace's own chain: the same suite, the same gas.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod common;
mod suite;

const BACKEND: common::rpc::Backend = common::rpc::Backend::Devchain;
