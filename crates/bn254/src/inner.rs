//! Inner products over `Fr` with a single Montgomery reduction.
//!
//! A product of two elements is 512 bits wide and is reduced to 254; summing the wide products first and reducing once
//! costs 16 word multiplications a term instead of 36. Invariant: results are canonical, whatever number of products of canonical
//! elements was summed.
//!
//! Source: Montgomery, "Modular multiplication without trial division", 1985, word by word (REDC).

use ff::Field;
use halo2curves::bn256::Fr;

use crate::simd::field52::{Modulus, R};

/// r, least significant word first.
const MODULUS: [u64; 4] = R::WORDS;
/// −r⁻¹ mod 2^64.
const MINUS_INVERSE: u64 = 0xc2e1f593efffffff;

/// Σ aᵢ·bᵢ. Not constant-time.
pub fn inner_product<const N: usize>(a: &[Fr; N], b: &[Fr; N]) -> Fr {
    let mut sum = ProductSum::default();
    for (a, b) in a.iter().zip(b) {
        sum.add(a, b);
    }
    sum.total()
}

/// A sum of products that is not reduced yet: `wide + over·2^512`.
#[derive(Clone, Copy, Default)]
pub struct ProductSum {
    wide: [u64; 8],
    over: u64,
}

impl ProductSum {
    /// Adds a·b.
    #[inline(always)]
    pub fn add(&mut self, a: &Fr, b: &Fr) {
        let mut over = false;
        for (i, a) in a.0.iter().enumerate() {
            over = add_row(&mut self.wide, i, *a, &b.0, over);
        }
        self.over += u64::from(over);
    }

    /// The sum as an element: what was added, times 2^-256, modulo r. Not constant-time.
    #[inline(always)]
    pub fn total(self) -> Fr {
        let reduced = reduce(self.wide);
        // 2^512 of the sum is 2^256 here, which is the Montgomery form of one.
        if self.over == 0 { reduced } else { reduced + Fr::from(self.over) }
    }
}

/// wide·2^-256 mod r, in canonical form.
#[inline(always)]
fn reduce(mut wide: [u64; 8]) -> Fr {
    let mut over = false;
    for i in 0..4 {
        let multiple = wide[i].wrapping_mul(MINUS_INVERSE);
        over = add_row(&mut wide, i, multiple, &MODULUS, over);
    }
    let mut reduced = [wide[4], wide[5], wide[6], wide[7]];
    if over {
        // 2^256 was carried out, which is the Montgomery form of one; what is left is below r, so that their sum fits.
        reduced = add(&reduced, &Fr::ONE.0);
    }
    loop {
        let (less, negative) = subtract(&reduced, &MODULUS);
        if negative {
            return Fr(reduced);
        }
        reduced = less;
    }
}

/// `wide += a·b·2^(64·i)`, of which word `i + 4` also gets the carry of the row before; its own goes to the next.
#[inline(always)]
fn add_row(wide: &mut [u64; 8], i: usize, a: u64, b: &[u64; 4], over: bool) -> bool {
    let mut carry = 0u64;
    for (j, b) in b.iter().enumerate() {
        (wide[i + j], carry) = multiply_add(wide[i + j], a, *b, carry);
    }
    let sum = u128::from(wide[i + 4]) + u128::from(carry) + u128::from(over);
    wide[i + 4] = sum as u64;
    (sum >> 64) != 0
}

/// `sum + a·b + carry` as its low and high word; it always fits two.
#[inline(always)]
fn multiply_add(sum: u64, a: u64, b: u64, carry: u64) -> (u64, u64) {
    let wide = u128::from(a) * u128::from(b) + u128::from(sum) + u128::from(carry);
    (wide as u64, (wide >> 64) as u64)
}

/// `a + b`, which must fit.
#[inline(always)]
fn add(a: &[u64; 4], b: &[u64; 4]) -> [u64; 4] {
    let mut sum = [0; 4];
    let mut carry = false;
    for j in 0..4 {
        let wide = u128::from(a[j]) + u128::from(b[j]) + u128::from(carry);
        (sum[j], carry) = (wide as u64, wide >> 64 != 0);
    }
    sum
}

/// `a − b` and whether it is negative.
#[inline(always)]
fn subtract(a: &[u64; 4], b: &[u64; 4]) -> ([u64; 4], bool) {
    let mut difference = [0; 4];
    let mut borrow = false;
    for j in 0..4 {
        let (partly, first) = a[j].overflowing_sub(b[j]);
        let (whole, second) = partly.overflowing_sub(u64::from(borrow));
        (difference[j], borrow) = (whole, first || second);
    }
    (difference, borrow)
}

#[cfg(test)]
mod tests;
