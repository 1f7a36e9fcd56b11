//! Drafts: all that a wallet needs to compute the messages itself, and ownership proofs.

use async_graphql::{Enum, SimpleObject};
use circuits::{leaf, message::SignedKind as KindView};
use protocol::{Draft as DraftView, DraftSpend as SpendView};

use super::{
    Units,
    account::{DirectoryEntry, SpendingKey},
    refusal::UserError,
    scalars::{Address, BigInt, Bytes32},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "KindView")]
pub enum SignedKind {
    /// 1 in the message.
    Send,
    /// 2 in the message.
    Withdraw,
}

/// One leaf to sign for: leaf = P2(P2(sender, P2(key.x, key.y)), low * 2^64 + high).
#[derive(Clone, Debug, SimpleObject)]
pub struct DraftLeaf {
    pub index: BigInt,
    pub low: BigInt,
    pub high: BigInt,
    /// The last coin that moves.
    pub split: BigInt,
    /// Wei that move from this leaf.
    pub amount: BigInt,
    pub key: SpendingKey,
    pub key_hash: Bytes32,
    pub account: Bytes32,
    pub leaf: Bytes32,
    /// M, for comparison only: refuse a draft whose M differs from your own.
    pub message: Bytes32,
}

impl DraftLeaf {
    fn new(view: SpendView, sender: &[u8; 20], units: Units) -> Self {
        let key_hash = leaf::key_hash(&view.key);
        let moved = view.range.split_at(view.split).map_or(0, |(moved, _)| moved.amount());
        Self {
            index: view.index.into(),
            low: view.range.low().into(),
            high: view.range.high().into(),
            split: view.split.into(),
            amount: units.wei(moved),
            key: (&view.key).into(),
            key_hash: key_hash.into(),
            account: leaf::account(sender, &key_hash).into(),
            leaf: view.leaf.into(),
            message: view.message.into(),
        }
    }
}

/// What to sign, one signature for each leaf, over
/// M = P4(domain, leaf, index + split * 2^36 + kind * 2^100 + validUntil * 2^104, recipientAccount).
/// Nothing is reserved: sign and submit soon.
#[derive(Clone, Debug, SimpleObject)]
pub struct Draft {
    pub kind: SignedKind,
    pub sender: Address,
    pub recipient: Option<Address>,
    /// The account paid; 0 for a withdrawal.
    pub recipient_account: Bytes32,
    /// The entry that the account comes from; null: a vault that only L1 can open, or a withdrawal.
    pub recipient_entry: Option<DirectoryEntry>,
    /// Wei.
    pub amount: BigInt,
    pub domain: Bytes32,
    /// The last batch that may execute the operation.
    pub valid_until: u32,
    pub leaves: Vec<DraftLeaf>,
}

impl Draft {
    pub fn new(view: DraftView, units: Units) -> Self {
        let leaves =
            view.spends.into_iter().map(|spend| DraftLeaf::new(spend, &view.sender, units)).collect();
        Self {
            kind: view.kind.into(),
            sender: Address(view.sender),
            recipient: view.recipient.map(Address),
            recipient_account: view.recipient_account.into(),
            recipient_entry: view.recipient_entry.map(DirectoryEntry::from),
            amount: units.wei(view.amount),
            domain: view.domain.into(),
            valid_until: view.valid_until,
            leaves,
        }
    }
}

/// A draft, or why there is none.
#[derive(Clone, Debug, SimpleObject)]
pub struct PrepareResult {
    pub draft: Option<Draft>,
    pub user_errors: Vec<UserError>,
}

impl PrepareResult {
    pub fn new(outcome: Result<DraftView, UserError>, units: Units) -> Self {
        match outcome {
            Ok(view) => Self { draft: Some(Draft::new(view, units)), user_errors: Vec::new() },
            Err(error) => Self { draft: None, user_errors: vec![error] },
        }
    }
}

/// A self-contained proof that a leaf stood under a root that L1 knows.
#[derive(Clone, Debug, SimpleObject)]
pub struct OwnershipProof {
    pub batch_number: u32,
    /// newRoot of the batch.
    pub root: Bytes32,
    pub index: BigInt,
    pub owner: Address,
    pub key_hash: Bytes32,
    pub low: BigInt,
    pub high: BigInt,
    /// Wei.
    pub amount: BigInt,
    pub leaf: Bytes32,
    /// From the leaf level up: the three siblings of each level, in child order with the node left out.
    pub siblings: Vec<Vec<Bytes32>>,
    pub final_on_l1: bool,
}

/// A proof, or why there is none.
#[derive(Clone, Debug, SimpleObject)]
pub struct OwnershipProofResult {
    pub proof: Option<OwnershipProof>,
    pub user_errors: Vec<UserError>,
}

impl OwnershipProofResult {
    pub fn new(outcome: Result<protocol::OwnershipProof, UserError>, units: Units) -> Self {
        let view = match outcome {
            Ok(view) => view,
            Err(error) => return Self { proof: None, user_errors: vec![error] },
        };
        let siblings = view.siblings.into_iter().map(|level| level.map(Bytes32::from).to_vec()).collect();
        let proof = OwnershipProof {
            batch_number: view.batch_no,
            root: view.root.into(),
            index: view.index.into(),
            owner: Address(view.owner),
            key_hash: view.key_hash.into(),
            low: view.range.low().into(),
            high: view.range.high().into(),
            amount: units.wei(view.range.amount()),
            leaf: view.leaf.into(),
            siblings,
            final_on_l1: view.final_on_l1,
        };
        Self { proof: Some(proof), user_errors: Vec::new() }
    }
}
