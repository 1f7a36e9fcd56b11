//! Sums and differences of field elements whose carries wait.
//!
//! A butterfly adds and subtracts more often than it multiplies, and only a multiplication needs limbs of 52 bits. Until then
//! the limbs are signed 64-bit numbers: invariant, the value that they stand for is not negative and below 64·p, and no limb
//! is larger than 2^60 in magnitude, for which a few dozen operations on carried elements are not enough.

use std::marker::PhantomData;

use super::field52::{Field52, Modulus};
use super::lanes::{Lanes, MASK52};
use super::modulus::Constants;

/// Eight values that are congruent to elements of the field with modulus `M`.
#[derive(Clone, Copy)]
pub struct Uncarried<L, M> {
    limbs: [L; 5],
    modulus: PhantomData<M>,
}

impl<L: Lanes, M: Modulus> From<Field52<L, M>> for Uncarried<L, M> {
    #[inline(always)]
    fn from(value: Field52<L, M>) -> Self {
        Self::new(value.limbs)
    }
}

impl<L: Lanes, M: Modulus> Uncarried<L, M> {
    #[inline(always)]
    fn new(limbs: [L; 5]) -> Self {
        Self { limbs, modulus: PhantomData }
    }

    /// a + b.
    #[inline(always)]
    pub fn plus(self, other: Self) -> Self {
        let mut l = self.limbs;
        for (l, other) in l.iter_mut().zip(other.limbs) {
            *l = l.add(other);
        }
        Self::new(l)
    }

    /// a − b + `LIFT`·p, for b ≤ `LIFT`·p and `LIFT` < 12.
    #[inline(always)]
    pub fn minus<const LIFT: usize>(self, other: Self) -> Self {
        let mut l = Field52::<L, M>::multiple(LIFT, self.limbs[0]);
        for ((l, a), b) in l.iter_mut().zip(self.limbs).zip(other.limbs) {
            *l = l.add(a.sub(b));
        }
        Self::new(l)
    }

    /// The same value in 52-bit limbs.
    #[inline(always)]
    pub fn carried(self) -> Field52<L, M> {
        Field52::new(Field52::<L, M>::carried(self.limbs))
    }

    /// Below p·(1 + 2^-40).
    ///
    /// The highest limb of v is v/2^208 rounded down. Times 2^300/p and without its low 92 bits it is v/p rounded down, or one
    /// less where v lies closer than 2^-40·p above a multiple of p. That many p are taken away by adding as often 2^260 − p.
    #[inline(always)]
    pub fn reduced(self) -> Field52<L, M> {
        let value = self.carried().limbs;
        // SAFETY: there is a value of `L`.
        let (zero, mask, scale) =
            unsafe { (L::splat(0), L::splat(MASK52), L::splat(Constants::<M>::QUOTIENT_SCALE)) };
        let quotient = zero.madd_high(value[4], scale).shr::<40>();
        let mut l = value;
        for i in 0..5 {
            // SAFETY: there is a value of `L`.
            let minus_p = unsafe { L::splat(Constants::<M>::MINUS_P[i]) };
            l[i] = l[i].madd_low(quotient, minus_p);
            if i < 4 {
                l[i + 1] = l[i + 1].madd_high(quotient, minus_p);
            }
        }
        let mut l = Field52::<L, M>::carried(l);
        l[4] = l[4].and(mask);
        Field52::new(l)
    }

    /// The canonical representative.
    #[inline(always)]
    pub fn canonical(self) -> Field52<L, M> {
        self.reduced().below_modulus()
    }

    /// Lane i of the value at w becomes lane w of the value at i.
    #[inline(always)]
    pub fn transposed(values: [Self; 8]) -> [Self; 8] {
        let mut columns = values;
        for limb in 0..5 {
            let mut words = [values[0].limbs[limb]; 8];
            for (word, value) in words.iter_mut().zip(&values) {
                *word = value.limbs[limb];
            }
            let words = L::transposed(words);
            for (column, word) in columns.iter_mut().zip(words) {
                column.limbs[limb] = word;
            }
        }
        columns
    }
}

#[cfg(test)]
mod tests;
