//! What a spender signs: `M = P4(domain, inLeaf, packed, recipientAccount)` with
//! `packed = index + split·2^36 + kind·2^100 + validUntil·2^104`.
//!
//! index has 36 bits, split 63, kind 4, validUntil 32: the parts do not overlap and the word stays below 2^136. A
//! wallet computes M itself from data it verified; it never signs a hash it was given.

use bn254::Fr;
use ff::Field;
use serde::{Deserialize, Serialize};

use crate::poseidon;

/// Bits of a leaf's index.
pub const INDEX_BITS: usize = 36;
/// Bits of a batch number.
pub const BATCH_BITS: usize = 32;
pub(crate) const SPLIT_SHIFT: u64 = 36;
pub(crate) const KIND_SHIFT: u64 = 100;
pub(crate) const VALID_UNTIL_SHIFT: u64 = 104;

/// The kinds a holder can sign for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SignedKind {
    Send = 1,
    Withdraw = 2,
}

/// The fields of a message in the order they are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    pub domain: Fr,
    pub leaf: Fr,
    /// Below 2^36.
    pub index: u64,
    /// The last coin that moves, below 2^63.
    pub split: u64,
    pub kind: SignedKind,
    /// The last batch that may execute this message.
    pub valid_until: u32,
    /// Zero for a withdrawal.
    pub recipient: Fr,
}

impl Message {
    /// The field element that is signed.
    pub fn hash(&self) -> Fr {
        let packed = Fr::from(self.index)
            + Fr::from(self.split) * two_to(SPLIT_SHIFT)
            + Fr::from(self.kind as u64) * two_to(KIND_SHIFT)
            + Fr::from(u64::from(self.valid_until)) * two_to(VALID_UNTIL_SHIFT);
        poseidon::hash4([self.domain, self.leaf, packed, self.recipient])
    }
}

pub(crate) fn two_to(bits: u64) -> Fr {
    Fr::from(2).pow_vartime([bits])
}
