//! An EVM chain over JSON-RPC.
//!
//! Invariant: reads are complete or errors; what is signed was estimated on the node and fits into one transaction
//! (EIP-7825); keys that everybody knows sign nothing on a real chain.
//!
//! | part | purpose |
//! |---|---|
//! | [`Node`] | one node: blocks, logs, fees, calls, receipts |
//! | [`contract`] | views of the contract |
//! | [`deploy()`] | a new contract |
//! | [`wallet`] | what users call |
//! | [`signer`], [`key`] | signing, by a key in this process or by a remote signer |
//! | [`error`], [`fees`] | words of nodes, EIP-1559 |
//! | `logs`, `span` | logs, and how many blocks a node gives them for at once |
//!
//! Known limit: logs are polled, not pushed.

mod client;
pub mod contract;
mod deploy;
pub mod error;
pub mod fees;
pub mod key;
mod logs;
pub mod signer;
mod span;
mod tx;
pub mod wallet;

pub use client::{Call, Node};
pub use contract::{Contract, FeeRules, chain_id};
pub use deploy::{Deployed, Deployer, Plan, deploy};
pub use error::{TX_GAS_CAP, TxError};
pub use fees::FeeLimits;
pub use key::{AccountKey, DEV_CHAIN_IDS};
pub use logs::submit_call;
pub use signer::{RemoteSigner, Signer};
pub use tx::{Broadcast, Draft, Mined};
pub use wallet::{UserCall, Wallet};
