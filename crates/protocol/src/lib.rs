//! The vocabulary below everything: addresses, operations and how far they are, what wallets ask for and sign, and L1's queues and
//! transactions as plain data.
//!
//! Invariant: nothing here decides, reads a clock or opens a connection, and no type belongs to a library of Ethereum, HTTP or SQL.
//! The event log and snapshots are written in these types, so an API or an adapter can be renamed without touching the store.
//!
//! | module | purpose |
//! |---|---|
//! | [`operation`] | operations, their stages, balances, directory entries |
//! | [`history`] | what became of operations and batches, for readers |
//! | [`request`] | drafts that wallets sign, and what they send back |
//! | [`l1`] | the contract's queues and history, and transactions to it |
//! | [`eip712`] | domain separator and digests of `SpendKey`, `DirectoryEntry`, `Promise` |
//! | [`ecdsa`] | secp256k1: sign with the operator's key, recover an address |
//! | [`depth`] | how deep text from outside may be nested |
//! | [`spend_key`] | a wallet's Baby Jubjub key from its Ethereum signature |

mod address;
mod amount;
pub mod depth;
pub mod ecdsa;
pub mod eip712;
pub mod history;
pub mod l1;
pub mod operation;
pub mod request;
pub mod spend_key;

pub use address::{Address, AddressError, checksummed, parse_address};
pub use amount::eth;
pub use operation::{
    Balances, DirectoryEntry, OperationId, OperationKind, OwnershipProof, Placement, Stage, TimelineEntry,
};
pub use request::{Draft, DraftSpend, PrepareSend, PrepareWithdraw, SpendRequest, SubmitRequest};
