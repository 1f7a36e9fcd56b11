//! Scalars as odd signed digits, for tables without a row for zero.
//!
//! Every odd k with |k| < 2^N is a sum of all the powers of two below 2^N, each with a sign, in exactly one way: bit i of
//! t = (k + 2^N − 1)/2 says whether 2^i is added or subtracted, since Σ (2·tᵢ − 1)·2^i = 2t − (2^N − 1) = k. Signs that stand side by
//! side make a digit, odd and with |digit| < 2^width: no digit is zero, none carries into the next, and a table needs odd multiples
//! only. Of a scalar k and r − k one is odd, since r is, and below 2^254; where k is even the digits of r − k are negated. Zero is
//! −r in this way.
//!
//! Invariant: Σ over places of digit·2^bit is the scalar modulo r. Of the digits below any place the sum is smaller in magnitude than
//! 2^bit, so that on the way up a sum meets neither itself nor its negative before the highest place.
//!
//! Source: Joye and Tunstall, "Exponent recoding and regular exponentiation algorithms", AFRICACRYPT 2009.

use crate::simd::field52::{Modulus, R};
use crate::simd::kernels::NEGATIVE;
use crate::{Fr, PrimeField};

/// Powers of two, each with its sign, that make up a scalar: r is below 2^254.
const SIGNS: u32 = 254;
/// The most signs in a digit.
const WIDEST: u32 = 16;

/// A digit of all scalars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The digit counts multiples of 2^bit.
    pub bit: u32,
    /// Signs in the digit.
    pub width: u32,
    /// The table's row for digit 1; that of digit 2i + 1 is i rows later.
    pub first_row: u32,
}

impl Place {
    /// Rows of a table with the odd multiples below 2^width.
    pub fn rows(&self) -> usize {
        1 << (self.width - 1)
    }
}

/// The fewest places there can be.
pub(super) const FEWEST: u32 = SIGNS.div_ceil(WIDEST);
/// Places of a single sign.
pub(super) const MOST: u32 = SIGNS;

/// So many places, as wide as each other up to one sign, the lowest first.
pub(super) fn places(count: u32) -> Vec<Place> {
    assert!((FEWEST..=MOST).contains(&count), "digits of 1 to {WIDEST} signs");
    let mut first_row = 0;
    (0..count)
        .map(|number| {
            let bit = SIGNS * number / count;
            let place = Place { bit, width: SIGNS * (number + 1) / count - bit, first_row };
            first_row += place.rows() as u32;
            place
        })
        .collect()
}

/// Writes the table's row for each digit of a scalar, with [`NEGATIVE`] where the digit is: that of place p to
/// `entries[p * stride]`.
pub(super) fn write_entries(scalar: &Fr, places: &[Place], entries: &mut [u32], stride: usize) {
    let bytes = scalar.to_repr();
    let (words, _) = bytes.as_ref().as_chunks::<8>();
    let mut k: [u64; 4] = std::array::from_fn(|word| u64::from_le_bytes(words[word]));
    let even = !k[0] & 1;
    if even == 1 {
        k = from_order(&k);
    }
    // t = (k + 2^254 − 1)/2 = ⌊k/2⌋ + 2^253, since k is odd. The word above serves the shifts below.
    let t = [
        (k[0] >> 1) | (k[1] << 63),
        (k[1] >> 1) | (k[2] << 63),
        (k[2] >> 1) | (k[3] << 63),
        (k[3] >> 1) | (1 << (SIGNS - 1 - 192)),
        0,
    ];
    for (place, entry) in places.iter().zip(entries.iter_mut().step_by(stride)) {
        let (word, shift) = ((place.bit / 64) as usize, place.bit % 64);
        let two_words = u128::from(t[word]) | (u128::from(t[word + 1]) << 64);
        let field = (two_words >> shift) as u32;
        // digit = 2·field − (2^width − 1); its highest sign is its own, and for a negative one the others count the other way.
        let negative = (!field >> (place.width - 1)) & 1;
        let row = (field ^ negative.wrapping_neg()) & ((1 << (place.width - 1)) - 1);
        *entry = (place.first_row + row) | ((negative ^ even as u32) * NEGATIVE);
    }
}

/// r − k, for k below r.
fn from_order(k: &[u64; 4]) -> [u64; 4] {
    let mut borrow = false;
    std::array::from_fn(|i| {
        let (difference, under) = R::WORDS[i].overflowing_sub(k[i]);
        let (difference, under_too) = difference.overflowing_sub(u64::from(borrow));
        borrow = under | under_too;
        difference
    })
}

#[cfg(test)]
mod tests;
