//! The contract tests on the workspace's own chain: the same suite, the same gas.

mod common;
mod suite;

const BACKEND: common::rpc::Backend = common::rpc::Backend::Devchain;
