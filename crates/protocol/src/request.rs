//! What a wallet asks for: drafts to sign, and signed operations.

use bn254::Fr;
use circuits::{baby_jubjub::Point, eddsa::Signature, leaf::CoinRange, message::SignedKind};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{Address, operation::DirectoryEntry};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrepareSend {
    pub sender: Address,
    pub recipient: Address,
    pub amount: u64,
    /// Pay to the key-less account of a recipient without a directory entry.
    pub allow_vault: bool,
    /// Default: the open batch plus a small number.
    pub valid_until: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrepareWithdraw {
    pub sender: Address,
    pub amount: u64,
    pub valid_until: Option<u32>,
}

/// One leaf to sign for, with all that a wallet needs to compute M itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DraftSpend {
    pub index: u64,
    pub range: CoinRange,
    pub split: u64,
    pub key: Point,
    pub leaf: Fr,
    /// M, for comparison only: a wallet refuses a draft whose M differs from its own.
    pub message: Fr,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub kind: SignedKind,
    pub sender: Address,
    pub recipient: Option<Address>,
    /// The account paid (0 for a withdrawal), and the entry it comes from (none: a vault).
    pub recipient_account: Fr,
    pub recipient_entry: Option<DirectoryEntry>,
    pub amount: u64,
    pub domain: Fr,
    pub valid_until: u32,
    pub spends: Vec<DraftSpend>,
}

/// A leaf and the signature over M for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpendRequest {
    pub index: u64,
    pub range: CoinRange,
    pub split: u64,
    pub key: Point,
    pub signature: Signature,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmitRequest {
    pub idempotency_key: String,
    pub kind: SignedKind,
    pub sender: Address,
    /// For a send: who is paid, and to which account.
    pub recipient: Option<Address>,
    pub recipient_account: Fr,
    pub valid_until: u32,
    pub spends: Vec<SpendRequest>,
}

impl SubmitRequest {
    /// What an idempotency key stands for, and with it the operation's id.
    pub fn hash(&self) -> [u8; 32] {
        let spends = self.spends.iter().map(|spend| CanonicalSpend {
            index: spend.index,
            range: spend.range.into(),
            split: spend.split,
            key: &spend.key,
            signature: &spend.signature,
        });
        let canonical = Canonical {
            kind: self.kind,
            sender: self.sender,
            recipient: self.recipient,
            recipient_account: self.recipient_account,
            valid_until: self.valid_until,
            spends: spends.collect(),
        };
        // Writing integers and field elements to memory cannot fail.
        Sha256::digest(postcard::to_stdvec(&canonical).unwrap_or_default()).into()
    }
}

#[derive(Serialize)]
struct Canonical<'a> {
    kind: SignedKind,
    sender: Address,
    recipient: Option<Address>,
    #[serde(with = "bn254::serde_fr")]
    recipient_account: Fr,
    valid_until: u32,
    spends: Vec<CanonicalSpend<'a>>,
}

#[derive(Serialize)]
struct CanonicalSpend<'a> {
    index: u64,
    range: (u64, u64),
    split: u64,
    key: &'a Point,
    signature: &'a Signature,
}
