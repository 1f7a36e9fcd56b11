//! What a wallet asks for: drafts to sign, and signed operations.

use bn254::Fr;
use circuits::{baby_jubjub::Point, eddsa::Signature, leaf::CoinRange, message::SignedKind};

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
