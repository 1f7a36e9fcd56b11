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
mod tests {
    use super::*;
    use crate::simd::field52::{Q, R, to_limbs};
    use crate::simd::lanes::Emulated;
    use proptest::prelude::*;

    /// a − b, unless that is negative.
    fn minus(a: [u64; 5], b: [u64; 5]) -> Option<[u64; 5]> {
        let (mut out, mut borrow) = ([0; 5], 0_i128);
        for i in 0..5 {
            let limb = i128::from(a[i]) - i128::from(b[i]) + borrow;
            out[i] = (limb & i128::from(MASK52)) as u64;
            borrow = limb >> 52;
        }
        (borrow == 0).then_some(out)
    }

    fn remainder<M: Modulus>(mut value: [u64; 5]) -> [u64; 5] {
        while let Some(less) = minus(value, to_limbs(M::WORDS)) {
            value = less;
        }
        value
    }

    fn check<M: Modulus>(value: [u64; 5]) {
        // SAFETY: the emulation needs no instructions.
        let lanes = unsafe { Field52::<Emulated, M>::splat(&value) };
        let reduced = Uncarried::from(lanes).reduced().limbs.map(|limb| limb.store()[3]);
        let mut bound = to_limbs(M::WORDS);
        bound[0] += 1 << 20;
        bound[3] += 1 << 13;
        assert!(minus(bound, reduced).is_some(), "{value:x?} gives {reduced:x?}");
        assert_eq!(remainder::<M>(reduced), remainder::<M>(value));
        let canonical = Uncarried::from(lanes).canonical().limbs.map(|limb| limb.store()[5]);
        assert_eq!(canonical, remainder::<M>(value));
    }

    #[test]
    fn multiples_of_the_modulus_and_their_neighbours_are_reduced() {
        let mut value = [0; 5];
        for _ in 0..64 {
            for (delta, down) in [(0, true), (1, true), (0, false), (1, false), (5, false)] {
                let mut near = value;
                if down {
                    near = minus(near, [delta, 0, 0, 0, 0]).unwrap_or(near);
                } else {
                    near[0] += delta;
                }
                near = carry(near);
                check::<R>(near);
                check::<Q>(near);
            }
            let p = to_limbs(R::WORDS);
            value = carry(std::array::from_fn(|i| value[i] + p[i]));
        }
    }

    fn carry(mut value: [u64; 5]) -> [u64; 5] {
        for i in 0..4 {
            value[i + 1] += value[i] >> 52;
            value[i] &= MASK52;
        }
        value
    }

    proptest! {
        #[test]
        fn any_value_below_64_p_is_reduced(limbs: [u64; 5]) {
            let mut value = limbs.map(|limb| limb & MASK52);
            // 64·p is a little above 2^259.
            value[4] >>= 1;
            check::<R>(value);
            check::<Q>(value);
        }
    }
}
