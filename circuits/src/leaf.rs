//! Leaves: who holds which coins.
//!
//! `keyHash = P2(A.x, A.y)`, `account = P2(owner, keyHash)`, `leaf = P2(account, low·2^64 + high)`. The empty leaf is 0,
//! and so is the packed word of "no coins"; coins are numbered from 1 and stay below 2^63.

use bn254::Fr;
use ff::Field;
use serde::{Deserialize, Serialize};

use crate::{baby_jubjub::Point, poseidon};

/// Bits of a coin number.
pub const COIN_BITS: usize = 63;

/// A non-empty range of coins `low..=high`, `1 <= low <= high < 2^63`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "(u64, u64)", into = "(u64, u64)")]
pub struct CoinRange {
    low: u64,
    high: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("PM-LEAF-001: {low}..={high} is not a coin range: it needs 1 <= low <= high < 2^63")]
pub struct RangeError {
    pub low: u64,
    pub high: u64,
}

impl CoinRange {
    /// # Errors
    /// `RangeError` unless `1 <= low <= high < 2^63`.
    pub fn new(low: u64, high: u64) -> Result<Self, RangeError> {
        if low >= 1 && low <= high && high < 1 << COIN_BITS {
            Ok(Self { low, high })
        } else {
            Err(RangeError { low, high })
        }
    }

    pub fn low(&self) -> u64 {
        self.low
    }

    pub fn high(&self) -> u64 {
        self.high
    }

    /// The number of coins, at least 1.
    pub fn amount(&self) -> u64 {
        self.high - self.low + 1
    }

    /// `low·2^64 + high`.
    pub fn packed(&self) -> Fr {
        pack(self.low, self.high)
    }

    /// The coins up to and including `split`, and the rest if any. Nothing if `split` lies outside.
    pub fn split_at(&self, split: u64) -> Option<(CoinRange, Option<CoinRange>)> {
        if split < self.low || split > self.high {
            return None;
        }
        let rest = (split < self.high).then_some(CoinRange { low: split + 1, high: self.high });
        Some((CoinRange { low: self.low, high: split }, rest))
    }
}

impl TryFrom<(u64, u64)> for CoinRange {
    type Error = RangeError;

    fn try_from((low, high): (u64, u64)) -> Result<Self, RangeError> {
        Self::new(low, high)
    }
}

impl From<CoinRange> for (u64, u64) {
    fn from(range: CoinRange) -> Self {
        (range.low, range.high)
    }
}

pub(crate) fn pack(low: u64, high: u64) -> Fr {
    Fr::from(low) * two_to_64() + Fr::from(high)
}

pub(crate) fn two_to_64() -> Fr {
    Fr::from(1 << 32).square()
}

/// An Ethereum address as a field element, below 2^160.
pub fn address_word(address: &[u8; 20]) -> Fr {
    address.iter().fold(Fr::ZERO, |acc, byte| acc * Fr::from(256) + Fr::from(u64::from(*byte)))
}

/// `keyHash = P2(A.x, A.y)`.
pub fn key_hash(key: &Point) -> Fr {
    poseidon::hash2(key.x, key.y)
}

/// `account = P2(owner, keyHash)`.
pub fn account(owner: &[u8; 20], key_hash: &Fr) -> Fr {
    poseidon::hash2(address_word(owner), *key_hash)
}

/// `leaf = P2(account, range)`.
pub fn leaf(account: &Fr, range: &CoinRange) -> Fr {
    poseidon::hash2(*account, range.packed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_wrapped_and_zero_ranges_are_refused() {
        for (low, high) in [(0, 0), (0, 5), (6, 5), (1, 1 << 63), (1 << 63, 1 << 63), (u64::MAX, u64::MAX)] {
            assert_eq!(CoinRange::new(low, high), Err(RangeError { low, high }));
        }
        assert_eq!(CoinRange::new(1, (1 << 63) - 1).unwrap().amount(), (1 << 63) - 1);
    }

    #[test]
    fn a_split_keeps_every_coin_once() {
        let range = CoinRange::new(10, 20).unwrap();
        assert_eq!(range.split_at(9), None);
        assert_eq!(range.split_at(21), None);
        assert_eq!(range.split_at(20), Some((range, None)));
        let (paid, rest) = range.split_at(12).unwrap();
        assert_eq!((paid.amount(), rest.unwrap().amount()), (3, 8));
    }
}
