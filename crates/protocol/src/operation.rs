//! What is done with coins, and how far it has come: the words that the event log, the API and wallets share.
//!
//! The log serialises these types (`Stage`, `OperationKind`, `OperationId`, …): variants and fields are only ever added at the end.

use std::fmt;

use bn254::Fr;
use circuits::{baby_jubjub::Point, leaf::CoinRange};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Address;

/// 32 bytes that name an operation: a hash of what makes it unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OperationId(pub [u8; 32]);

impl OperationId {
    fn of(label: &[u8], parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        hash.update(label);
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    pub fn of_request(sender: &Address, key: &str, request_hash: &[u8; 32]) -> Self {
        Self::of(b"proofmill.operation.request", &[sender, key.as_bytes(), request_hash])
    }

    pub fn of_deposit(id: u64) -> Self {
        Self::of(b"proofmill.operation.deposit", &[&id.to_be_bytes()])
    }

    pub fn of_forced(id: u64) -> Self {
        Self::of(b"proofmill.operation.forced", &[&id.to_be_bytes()])
    }

    /// `0x` and 64 digits; nothing for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.strip_prefix("0x")?, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

/// How far something has come. The order is the order of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stage {
    Accepted,
    Sealed,
    Proving,
    Proven,
    Submitted,
    Final,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperationKind {
    Mint,
    Send,
    Withdraw,
    ForcedExit,
    ForcedRekey,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineEntry {
    pub stage: Stage,
    /// Unix milliseconds.
    pub at: u64,
    pub l1_tx: Option<[u8; 32]>,
}

/// Coins of an address: accepted by the coordinator, under the proven root, under a final root on L1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balances {
    pub accepted: u64,
    pub proven: u64,
    pub finalized: u64,
}

/// A directory entry as its owner signed it (EIP-712 `DirectoryEntry`); clients verify it themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryEntry {
    pub owner: Address,
    pub key: Point,
    pub key_epoch: u32,
    pub signature: Vec<u8>,
}

/// Where an operation will stand: its first slot's batch and place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    pub batch_no: u32,
    pub place: u64,
}

/// A self-contained proof that a leaf stood under a root that L1 knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnershipProof {
    pub batch_no: u32,
    pub root: Fr,
    pub index: u64,
    pub owner: Address,
    pub key_hash: Fr,
    pub range: CoinRange,
    pub leaf: Fr,
    /// From the leaf level up: three siblings a level, in child order with the node left out.
    pub siblings: Vec<[Fr; 3]>,
    pub final_on_l1: bool,
}
