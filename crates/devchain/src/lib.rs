//! An EVM chain inside the process, with JSON-RPC over HTTP, for the demo and for fast tests.
//!
//! ```no_run
//! # async fn start() -> Result<(), devchain::Error> {
//! let chain = devchain::DevChain::start(devchain::Config::default()).await?;
//! println!("JSON-RPC at {}", chain.url());
//! chain.mine(3)?;
//! chain.reorg(2)?;
//! chain.shutdown().await
//! # }
//! ```
//!
//! It runs real EVM code (revm, Osaka rules, all precompiles) and keeps to the fee, nonce and gas rules of mainnet, but it
//! has no consensus, no peers and no Merkle proofs; [`chain`] says where it differs. Whoever reaches the port controls
//! the chain, so it listens on loopback unless told otherwise, and its funded accounts have publicly known keys.
//!
//! Data goes one way: [`server`] → [`rpc`] → [`node`] → [`chain`] (pure) → [`persist`].
//!
//! - [`config`]: settings, known accounts
//! - [`chain`]: the pure state machine; [`state`], [`pool`], [`evm`], [`tx`], [`types`] are its parts
//! - [`node`]: lock, clock and log around it
//! - [`persist`]: the log that survives a kill
//! - [`rpc`], [`server`]: JSON-RPC and HTTP

pub mod chain;
pub mod config;
pub mod error;
pub mod evm;
pub mod node;
pub mod persist;
pub mod pool;
mod rlp;
pub mod rpc;
pub mod server;
pub mod state;
pub mod tx;
pub mod types;

pub use config::{Config, DEFAULT_CHAIN_ID, DEV_ACCOUNTS, DevAccount, Mining};
pub use error::Error;
pub use server::{DevChain, Handle};
