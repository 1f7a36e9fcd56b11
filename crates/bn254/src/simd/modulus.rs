//! The two primes, and what radix-2^52 arithmetic needs to know of them, worked out by the compiler.

use std::marker::PhantomData;

use super::lanes::MASK52;

/// A prime between 2^253 and 2^254.
pub trait Modulus: Copy + Send + Sync + 'static {
    /// The prime, least significant word first.
    const WORDS: [u64; 4];
}

/// The modulus of the base field.
#[derive(Clone, Copy, Debug)]
pub struct Q;

impl Modulus for Q {
    const WORDS: [u64; 4] =
        [0x3c20_8c16_d87c_fd47, 0x9781_6a91_6871_ca8d, 0xb850_45b6_8181_585d, 0x3064_4e72_e131_a029];
}

/// The modulus of the scalar field.
#[derive(Clone, Copy, Debug)]
pub struct R;

impl Modulus for R {
    const WORDS: [u64; 4] =
        [0x43e1_f593_f000_0001, 0x2833_e848_79b9_7091, 0xb850_45b6_8181_585d, 0x3064_4e72_e131_a029];
}

/// Four 64-bit words as five 52-bit limbs.
pub const fn to_limbs(w: [u64; 4]) -> [u64; 5] {
    [
        w[0] & MASK52,
        (w[0] >> 52 | w[1] << 12) & MASK52,
        (w[1] >> 40 | w[2] << 24) & MASK52,
        (w[2] >> 28 | w[3] << 36) & MASK52,
        w[3] >> 16,
    ]
}

const fn add_limbs(a: [u64; 5], b: [u64; 5]) -> [u64; 5] {
    let mut sum = [0; 5];
    let (mut i, mut carry) = (0, 0);
    while i < 5 {
        let limb = a[i] + b[i] + carry;
        sum[i] = if i < 4 { limb & MASK52 } else { limb };
        carry = limb >> 52;
        i += 1;
    }
    sum
}

const fn is_above(a: [u64; 5], b: [u64; 5]) -> bool {
    let mut i = 5;
    while i > 0 {
        i -= 1;
        if a[i] != b[i] {
            return a[i] > b[i];
        }
    }
    false
}

/// What the arithmetic needs of a modulus.
pub(super) struct Constants<M>(PhantomData<M>);

impl<M: Modulus> Constants<M> {
    /// k·p for k < 12.
    pub(super) const MULTIPLES: [[u64; 5]; 12] = {
        let p = to_limbs(M::WORDS);
        let mut multiples = [[0; 5]; 12];
        let mut k = 1;
        while k < 12 {
            multiples[k] = add_limbs(multiples[k - 1], p);
            k += 1;
        }
        multiples
    };
    /// −1/p modulo 2^52.
    pub(super) const MINUS_INVERSE: u64 = {
        let p = M::WORDS[0];
        let (mut inverse, mut i) = (1u64, 0);
        while i < 6 {
            inverse = inverse.wrapping_mul(2u64.wrapping_sub(p.wrapping_mul(inverse)));
            i += 1;
        }
        inverse.wrapping_neg() & MASK52
    };
    /// (k·p + 1)/2^52, where k·p ends in 52 ones (k is −1/p modulo 2^52): 2^52 times it is 1 more than a multiple of p. Below p/7.
    pub(super) const FOLD: [u64; 5] = {
        let p = to_limbs(M::WORDS);
        let (mut product, mut carry, mut i) = ([0; 6], 1_u128, 0);
        while i < 5 {
            carry += Self::MINUS_INVERSE as u128 * p[i] as u128;
            product[i] = carry as u64 & MASK52;
            carry >>= 52;
            i += 1;
        }
        product[5] = carry as u64;
        assert!(product[0] == 0);
        [product[1], product[2], product[3], product[4], product[5]]
    };
    /// 2^260 − p.
    pub(super) const MINUS_P: [u64; 5] = {
        let p = to_limbs(M::WORDS);
        let mut minus = [0; 5];
        let (mut i, mut borrow) = (0, 0);
        while i < 5 {
            minus[i] = (1 << 52) - p[i] - borrow;
            borrow = 1 - (minus[i] >> 52);
            minus[i] &= MASK52;
            i += 1;
        }
        minus
    };
    /// 2^300/p, rounded down: from the highest limb of a value, its multiple of p.
    pub(super) const QUOTIENT_SCALE: u64 = {
        // Long division, bit by bit; the remainder stays below 2·p.
        let p = to_limbs(M::WORDS);
        let (mut quotient, mut remainder, mut bit) = (0, [0; 5], 0);
        while bit <= 300 {
            remainder = add_limbs(remainder, remainder);
            if bit == 0 {
                remainder[0] = 1;
            }
            quotient <<= 1;
            if !is_above(p, remainder) {
                remainder = add_limbs(remainder, Self::MINUS_P);
                remainder[4] &= MASK52;
                quotient |= 1;
            }
            bit += 1;
        }
        quotient
    };
    /// 28·p², in 52-bit limbs.
    pub(super) const LIFT: [u64; 10] = {
        let p = to_limbs(M::WORDS);
        let (mut square, mut column) = ([0; 10], 0);
        let mut carry = 0_u128;
        while column < 10 {
            let mut i = 0;
            while i < 5 && column < 9 {
                if i <= column && column - i < 5 {
                    carry += 28 * (p[i] as u128) * (p[column - i] as u128);
                }
                i += 1;
            }
            square[column] = carry as u64 & MASK52;
            carry >>= 52;
            column += 1;
        }
        square
    };
    /// Limb l of the largest multiple of p up to i·2^254 at `[l][i]`.
    pub(super) const FLOORS: [[u64; 8]; 5] = {
        let mut floors = [[0; 8]; 5];
        let (mut i, mut k) = (0, 0);
        while i < 8 {
            // 2^254 is bit 46 of the highest limb.
            let bound = [0, 0, 0, 0, (i as u64) << 46];
            while !is_above(Self::MULTIPLES[k + 1], bound) {
                k += 1;
            }
            let mut limb = 0;
            while limb < 5 {
                floors[limb][i] = Self::MULTIPLES[k][limb];
                limb += 1;
            }
            i += 1;
        }
        floors
    };
}
