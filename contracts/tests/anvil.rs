//! The contract tests on npm's anvil (`npm ci --prefix contracts`).

mod common;
mod suite;

const BACKEND: common::rpc::Backend = common::rpc::Backend::Anvil;
