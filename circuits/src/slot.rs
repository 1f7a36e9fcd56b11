//! A slot: one spend of one leaf, of exactly one kind.
//!
//! | kind | leaf before | leaf after | output | record |
//! |---|---|---|---|---|
//! | no-op | any | the same | 0 | – |
//! | send | holder's | change or 0 | recipient's, `low..=split` | – |
//! | withdraw | holder's | change or 0 | 0 | (2, owner, `low..=split`) |
//! | forced exit | any | 0 if hit | 0 | (3 + 16·hit + 256·index, account, hit·range) |
//! | forced re-key | any | same range, new account, if hit | 0 | (4 + 16·hit + 256·index, account, newAccount) |
//!
//! `hit` is computed from the leaf at the index that L1 named: it is non-empty and opens to the account that L1 named.
//! The ledger accepts with `SignedSpend::effect` and `verify_signature`, the witness is made of the same functions.

use bn254::Fr;
use ff::Field;
use serde::{Deserialize, Serialize};

use crate::{
    baby_jubjub::Point,
    eddsa::{CheckedKey, Signature, SignatureError},
    leaf::{CoinRange, account, address_word, key_hash, leaf},
    message::{Message, SignedKind},
    public_data::{Record, TAG_EXIT, TAG_HIT, TAG_INDEX, TAG_REKEY, TAG_WITHDRAW},
    tree::CAPACITY,
};

pub mod gadget;

/// A spend signed by the leaf's holder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedSpend {
    pub kind: SignedKind,
    pub index: u64,
    pub owner: [u8; 20],
    pub key: Point,
    /// The whole range of the leaf.
    pub range: CoinRange,
    /// The last coin that moves.
    pub split: u64,
    /// The account paid; 0 for a withdrawal.
    #[serde(with = "bn254::serde_fr")]
    pub recipient: Fr,
    pub valid_until: u32,
    pub signature: Signature,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForcedKind {
    Exit,
    Rekey,
}

/// A leaf as the operator knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldLeaf {
    #[serde(with = "bn254::serde_fr")]
    pub account: Fr,
    pub range: CoinRange,
}

impl HeldLeaf {
    pub fn hash(&self) -> Fr {
        leaf(&self.account, &self.range)
    }
}

/// An entry of the contract's forced queue, with the leaf found at its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForcedEntry {
    pub kind: ForcedKind,
    pub index: u64,
    #[serde(with = "bn254::serde_fr")]
    pub account: Fr,
    /// 0 for an exit.
    #[serde(with = "bn254::serde_fr")]
    pub new_account: Fr,
    /// What is at the index when the slot runs; nothing if the place is empty.
    pub held: Option<HeldLeaf>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SlotInput {
    Noop,
    Signed(Box<SignedSpend>),
    Forced(ForcedEntry),
}

/// Where and when a slot runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotContext {
    pub domain: Fr,
    pub batch_no: u32,
    /// The slot's own output index, `start + i`.
    pub place: u64,
}

/// What a slot does to the tree and shows to L1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotEffect {
    pub old_leaf: Fr,
    pub new_leaf: Fr,
    /// The leaf at the slot's own place, 0 if it creates none.
    pub output: Fr,
    pub record: Option<Record>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlotError {
    #[error(
        "PM-SLOT-001: coin {split} lies outside the leaf's coins {low}..={high}; sign a split inside the leaf"
    )]
    SplitOutside { split: u64, low: u64, high: u64 },
    #[error(
        "PM-SLOT-002: leaf {index} is not older than the slot's own place {place}; spend it in the next batch"
    )]
    NotOlder { index: u64, place: u64 },
    #[error(
        "PM-SLOT-003: the message was valid until batch {valid_until}, this is batch {batch_no}; sign again"
    )]
    Expired { valid_until: u32, batch_no: u32 },
    #[error("PM-SLOT-004: a withdrawal pays the leaf's owner; sign it with recipient 0")]
    WithdrawalWithRecipient,
    #[error("PM-SLOT-005: owner 0 cannot be paid on L1; send the coins to an address first")]
    NoOwner,
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

/// The hashes of a spend, none of which depends on where it stands: whoever checks signatures has them already.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpendHashes {
    /// The account that the leaf must open to.
    pub account: Fr,
    pub old_leaf: Fr,
    /// 0 if nothing is left.
    pub new_leaf: Fr,
    /// 0 if none is created.
    pub output: Fr,
}

impl SignedSpend {
    pub fn hashes(&self) -> SpendHashes {
        self.hashes_of(self.account())
    }

    /// As `hashes`, of a spend whose account is known already.
    pub fn hashes_of(&self, account: Fr) -> SpendHashes {
        SpendHashes {
            account,
            old_leaf: leaf(&account, &self.range),
            new_leaf: self.rest().map_or(Fr::ZERO, |range| leaf(&account, &range)),
            output: self.output().map_or(Fr::ZERO, |output| output.hash()),
        }
    }

    /// The account that the leaf must open to.
    pub fn account(&self) -> Fr {
        account(&self.owner, &key_hash(&self.key))
    }

    pub fn leaf(&self) -> Fr {
        leaf(&self.account(), &self.range)
    }

    /// What the holder signed.
    pub fn message(&self, domain: &Fr) -> Fr {
        self.message_about(domain, self.leaf())
    }

    fn message_about(&self, domain: &Fr, leaf: Fr) -> Fr {
        Message {
            domain: *domain,
            leaf,
            index: self.index,
            split: self.split,
            kind: self.kind,
            valid_until: self.valid_until,
            recipient: self.recipient,
        }
        .hash()
    }

    /// # Errors
    /// `SlotError::Signature` for each thing that the circuit refuses in a signature or key.
    pub fn verify_signature(&self, domain: &Fr) -> Result<(), SlotError> {
        self.verify_signature_with(domain, &CheckedKey::new(&self.key)?, &self.hashes())
    }

    /// As `verify_signature`, with the spend's key and hashes as they are known already.
    ///
    /// # Errors
    /// `SlotError::Signature` for each thing that the circuit refuses in a signature.
    pub fn verify_signature_with(
        &self,
        domain: &Fr,
        key: &CheckedKey,
        hashes: &SpendHashes,
    ) -> Result<(), SlotError> {
        Ok(key.verify(&self.message_about(domain, hashes.old_leaf), &self.signature)?)
    }

    /// The coins that are left of the leaf, if any.
    pub fn rest(&self) -> Option<CoinRange> {
        self.range.split_at(self.split)?.1
    }

    /// The leaf after the spend, if anything is left.
    pub fn change(&self) -> Option<HeldLeaf> {
        self.rest().map(|range| HeldLeaf { account: self.account(), range })
    }

    /// The leaf created at the slot's own place, if it is a send.
    pub fn output(&self) -> Option<HeldLeaf> {
        let (paid, _) = self.range.split_at(self.split)?;
        (self.kind == SignedKind::Send).then_some(HeldLeaf { account: self.recipient, range: paid })
    }

    /// All rules but the signature.
    ///
    /// # Errors
    /// `SlotError` for the first rule that is broken.
    pub fn effect(&self, at: &SlotContext) -> Result<SlotEffect, SlotError> {
        self.effect_with(at, &self.hashes())
    }

    /// As `effect`, with hashes that are known already.
    ///
    /// # Errors
    /// `SlotError` for the first rule that is broken.
    pub fn effect_with(&self, at: &SlotContext, hashes: &SpendHashes) -> Result<SlotEffect, SlotError> {
        let (low, high) = (self.range.low(), self.range.high());
        let (paid, _) = self.range.split_at(self.split).ok_or(SlotError::SplitOutside {
            split: self.split,
            low,
            high,
        })?;
        if self.index >= at.place || at.place >= CAPACITY {
            return Err(SlotError::NotOlder { index: self.index, place: at.place });
        }
        if self.valid_until < at.batch_no {
            return Err(SlotError::Expired { valid_until: self.valid_until, batch_no: at.batch_no });
        }
        let record = match self.kind {
            SignedKind::Send => None,
            SignedKind::Withdraw if self.recipient != Fr::ZERO => {
                return Err(SlotError::WithdrawalWithRecipient);
            }
            SignedKind::Withdraw if self.owner == [0; 20] => return Err(SlotError::NoOwner),
            SignedKind::Withdraw => Some([Fr::from(TAG_WITHDRAW), address_word(&self.owner), paid.packed()]),
        };
        let SpendHashes { old_leaf, new_leaf, output, .. } = *hashes;
        Ok(SlotEffect { old_leaf, new_leaf, output, record })
    }
}

impl ForcedEntry {
    /// Whether the leaf at the index is the account's. The state decides, nobody chooses.
    pub fn hit(&self) -> bool {
        self.held.is_some_and(|held| held.account == self.account)
    }

    /// The leaf after the entry.
    pub fn after(&self) -> Option<HeldLeaf> {
        match (self.hit(), self.kind) {
            (false, _) => self.held,
            (true, ForcedKind::Exit) => None,
            (true, ForcedKind::Rekey) => self.held.map(|held| HeldLeaf { account: self.new_account, ..held }),
        }
    }

    /// # Errors
    /// `SlotError::NotOlder` if the index is not below the slot's place, which the contract excludes.
    pub fn effect(&self, at: &SlotContext) -> Result<SlotEffect, SlotError> {
        if self.index >= at.place || at.place >= CAPACITY {
            return Err(SlotError::NotOlder { index: self.index, place: at.place });
        }
        let hit = self.hit();
        let kind = match self.kind {
            ForcedKind::Exit => TAG_EXIT,
            ForcedKind::Rekey => TAG_REKEY,
        };
        let tag = Fr::from(kind + TAG_HIT * u64::from(hit)) + Fr::from(TAG_INDEX) * Fr::from(self.index);
        let detail = match (self.kind, self.held) {
            (ForcedKind::Rekey, _) => self.new_account,
            (ForcedKind::Exit, Some(held)) if hit => held.range.packed(),
            (ForcedKind::Exit, _) => Fr::ZERO,
        };
        let hash = |leaf: Option<HeldLeaf>| leaf.map_or(Fr::ZERO, |leaf| leaf.hash());
        Ok(SlotEffect {
            old_leaf: hash(self.held),
            new_leaf: hash(self.after()),
            output: Fr::ZERO,
            record: Some([tag, self.account, detail]),
        })
    }
}

impl SlotInput {
    /// The index of the leaf that the slot opens; nothing for a no-op.
    pub fn index(&self) -> Option<u64> {
        match self {
            SlotInput::Noop => None,
            SlotInput::Signed(spend) => Some(spend.index),
            SlotInput::Forced(entry) => Some(entry.index),
        }
    }

    /// The effect of anything but a no-op, all rules but the signature checked.
    ///
    /// # Errors
    /// `SlotError` for the first rule that is broken.
    pub fn effect(&self, at: &SlotContext) -> Result<Option<SlotEffect>, SlotError> {
        match self {
            SlotInput::Noop => Ok(None),
            SlotInput::Signed(spend) => spend.effect(at).map(Some),
            SlotInput::Forced(entry) => entry.effect(at).map(Some),
        }
    }
}
