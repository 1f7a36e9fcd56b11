//! Real services for tests and benchmarks, each a private child process in a temporary folder: PostgreSQL, Redis, anvil.
//!
//! Invariant: a service dies with the test that started it, also when the test is killed, and never touches a service that
//! the machine runs for somebody else (unix sockets and ports of its own). Where a program is missing the error names the
//! package and the environment variable that replaces it; no test is skipped for it.
//!
//! | module | service |
//! |---|---|
//! | [`postgres`] | PostgreSQL over a unix socket and a loopback port |
//! | [`redis`] | Redis with the configuration the farm asks for |
//! | [`anvil`] | an Ethereum node for development |
//! | `chain` | anvil or the workspace's dev chain, and proving keys whose secrets are known (feature `chain`) |
//! | [`small_disk`] | a disk that can be filled |
//! | [`process`] | any other child process of a test |
//!
//! And stand-ins: [`nvml`], a driver whose cards a test can break, and [`bend`], files that lie, for the tests of all that reads files.

pub mod anvil;
pub mod bend;
#[cfg(feature = "chain")]
pub mod chain;
mod keeper;
pub mod nvml;
pub mod postgres;
pub mod process;
pub mod redis;
pub mod small_disk;
