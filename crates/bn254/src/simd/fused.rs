//! Products in radix 2^52 by fused multiply-adds of double-precision numbers.
//!
//! For processors that multiply integers of 32 bits at most in vectors, but doubles, whose significands have 53 bits, twice in a
//! cycle. Limbs a and b are integers below 2^52, as doubles. With every operation rounded to nearest, ties to even:
//! - h = fma(a, b, 2^104) lies in [2^104, 2^105), where doubles are multiples of 2^52: h = 2^104 + H·2^52 with H the
//!   product over 2^52, rounded to nearest; H ≤ 2^52 − 2. Its bits are those of 2^104, plus H.
//! - s = (2^104 − 3·2^51) − h = −2^51·(2·H + 3) is exact, since 2·H + 3 < 2^53.
//! - l = fma(a, b, s) = L − 3·2^51 with L = a·b − H·2^52 in [−2^51, 2^51] is an integer between −2^53 and −2^52, so exact. Its
//!   bits are those of −3·2^51, less L, also at the ends of that interval.
//!
//! So a·b = H·2^52 + L, and H and L are added to columns of 64-bit integers by adding and subtracting bits. What the bits have
//! too much is known from the number of products, and columns begin with as much less ([`Offsets`]).
//!
//! Invariants: the limbs that functions here take are those of [`super::field52`], below 2^52, and what they give are
//! loose values, as the products there. Columns are signed, below 2^62 in magnitude. The floating-point environment is
//! the one that Rust assumes, and stays as it is.
//!
//! Source: Emmart, Zheng and Weems, "Faster modular exponentiation using double precision floating point arithmetic on the
//! GPU", ARITH 2018, where both products are rounded towards zero. Constants that work with rounding to nearest are ours.

#![expect(
    clippy::needless_range_loop,
    reason = "limbs are counted in the papers too, and iterators hide what goes where"
)]

use super::lanes::MASK52;
use super::modulus::{Constants, Modulus};

/// Some 64-bit words side by side, as integers or as doubles.
///
/// Only [`Fused::splat`] makes a value out of nothing, as with [`super::lanes::Lanes`].
pub trait Fused: Copy + 'static {
    /// As many doubles.
    type Doubles: Copy;

    /// The same word everywhere.
    ///
    /// # Safety
    /// The processor has the instructions of this implementation.
    unsafe fn splat(word: u64) -> Self;

    /// The doubles that have these bits.
    fn doubles(self) -> Self::Doubles;

    /// The bits of doubles.
    fn bits(doubles: Self::Doubles) -> Self;

    /// a·b + c, rounded once.
    fn fma(a: Self::Doubles, b: Self::Doubles, c: Self::Doubles) -> Self::Doubles;

    /// a − b.
    fn difference(a: Self::Doubles, b: Self::Doubles) -> Self::Doubles;

    /// The larger one; neither is NaN.
    fn larger(a: Self::Doubles, b: Self::Doubles) -> Self::Doubles;

    /// Sum modulo 2^64.
    fn plus(self, other: Self) -> Self;

    /// Difference modulo 2^64.
    fn minus(self, other: Self) -> Self;

    /// Bits that both have.
    fn both(self, other: Self) -> Self;

    /// Bits that one has.
    fn either(self, other: Self) -> Self;

    /// Without the lowest 52 bits.
    fn above52(self) -> Self;

    /// With the two constants of [`add_product`], which see. In one piece, so that an implementation can keep a compiler from
    /// computing products long before it adds them, which takes more registers than there are.
    #[inline(always)]
    fn product_onto(
        (low, high): (Self, Self),
        a: Self::Doubles,
        b: Self::Doubles,
        [two_104, start]: [Self::Doubles; 2],
    ) -> (Self, Self) {
        let upper = Self::fma(a, b, two_104);
        let lower = Self::fma(a, b, Self::difference(start, upper));
        (low.minus(Self::bits(lower)), high.plus(Self::bits(upper)))
    }
}

/// The bits of 2^52: with the bits of an integer below 2^52 put in, those of 2^52 and that integer.
const TWO_52: u64 = (1023 + 52) << 52;
const TWO_104: u64 = (1023 + 104) << 52;
/// −3·2^51.
const LOW_ORIGIN: u64 = 1 << 63 | TWO_52 | 1 << 51;
/// 2^104 − 2^51, the double before 2^104.
const BELOW_TWO_104: u64 = TWO_104 - 1;
/// 2^104 − 3·2^51 = 2^51·(2^53 − 3), the third before.
const LOW_START: u64 = TWO_104 - 3;
/// Makes a signed number an unsigned one of the same order.
const SIGN: u64 = 1 << 63;
/// What a signed number has too much without its lowest 52 bits, when it was made unsigned.
const CARRY_ORIGIN: u64 = SIGN >> 52;

/// What columns begin with, modulo 2^64: minus what the bits of the products to come will have too much.
struct Offsets;

impl Offsets {
    /// For the products of limbs i and j with `from[i]` ≤ j.
    const fn products(from: [usize; 5]) -> [u64; 10] {
        let (mut columns, mut i) = ([0_u64; 10], 0);
        while i < 5 {
            let mut j = from[i];
            while j < 5 {
                columns[i + j] = columns[i + j].wrapping_add(LOW_ORIGIN);
                columns[i + j + 1] = columns[i + j + 1].wrapping_sub(TWO_104);
                j += 1;
            }
            i += 1;
        }
        columns
    }

    const fn sum(a: [u64; 10], b: [u64; 10]) -> [u64; 10] {
        let (mut columns, mut i) = (a, 0);
        while i < 10 {
            columns[i] = columns[i].wrapping_add(b[i]);
            i += 1;
        }
        columns
    }

    /// For a product of five limbs by five.
    const PRODUCT: [u64; 10] = Self::products([0; 5]);

    /// For [`add_multiple`] and [`carried`]: multiples of p, of whose lowest products the upper half only is added, and carries from each column to the
    /// next, of which those that are left at the end are given their sign here.
    const REDUCTION: [u64; 10] = {
        let mut columns = Self::products([1; 5]);
        let mut i = 0;
        while i < 9 {
            if i < 5 {
                columns[i + 1] = columns[i + 1].wrapping_sub(TWO_104);
            } else {
                columns[i] = columns[i].wrapping_add(SIGN);
            }
            columns[i + 1] = columns[i + 1].wrapping_sub(CARRY_ORIGIN);
            i += 1;
        }
        columns
    };

    const PRODUCT_AND_REDUCTION: [u64; 10] = Self::sum(Self::PRODUCT, Self::REDUCTION);

    /// For a square, whose columns are doubled between the products of different limbs and the squares of limbs.
    const SQUARE_AND_REDUCTION: [u64; 10] = {
        let cross = Self::products([1, 2, 3, 4, 5]);
        let mut squares = Self::REDUCTION;
        let mut i = 0;
        while i < 5 {
            squares[2 * i] = squares[2 * i].wrapping_add(LOW_ORIGIN);
            squares[2 * i + 1] = squares[2 * i + 1].wrapping_sub(TWO_104);
            i += 1;
        }
        let mut halves = [0; 10];
        let mut i = 0;
        while i < 10 {
            assert!(squares[i].is_multiple_of(2));
            halves[i] = squares[i] / 2;
            i += 1;
        }
        Self::sum(cross, halves)
    };
}

/// Constants of a modulus as bits of doubles.
struct Doubled<M>(std::marker::PhantomData<M>);

impl<M: Modulus> Doubled<M> {
    const P: [u64; 5] = {
        let (mut bits, mut i) = ([0; 5], 0);
        while i < 5 {
            let limb = Constants::<M>::MULTIPLES[1][i];
            // A digit is 2^52 − 1 at most, and so H is 2^52 − 2, as it must be.
            assert!(limb < MASK52);
            bits[i] = (limb as f64).to_bits();
            i += 1;
        }
        bits
    };

    const MINUS_INVERSE: u64 = (Constants::<M>::MINUS_INVERSE as f64).to_bits();

    /// What carries from a column that p·q will make a multiple of 2^52, but for the upper half H of the product of the lowest limbs:
    /// the column's low bits t and L then make 0 or 2^52, the latter if L is positive, and so if t is above 2^51. For t = 2^51, q is 2^51
    /// too, and the product of p's lowest limb p₀ by it lies in the middle: H is p₀/2 rounded to an even number, and L is positive
    /// if that was down. So 2^51 is added, or one less.
    const ROUND: u64 = {
        let down = (Constants::<M>::MULTIPLES[1][0] / 2).is_multiple_of(2);
        if down { 1 << 51 } else { (1 << 51) - 1 }
    };
}

/// A limb below 2^52 as a double.
#[inline(always)]
fn double<W: Fused>(limb: W) -> W::Doubles {
    // SAFETY: there is a value of `W`.
    let two_52 = unsafe { W::splat(TWO_52) };
    W::difference(limb.either(two_52).doubles(), two_52.doubles())
}

#[inline(always)]
fn all_doubles<W: Fused>(limbs: &[W; 5]) -> [W::Doubles; 5] {
    [double(limbs[0]), double(limbs[1]), double(limbs[2]), double(limbs[3]), double(limbs[4])]
}

/// # Safety
/// The processor has the instructions of `W`.
#[inline(always)]
unsafe fn columns<W: Fused>(words: &[u64; 10]) -> [W; 10] {
    // SAFETY: the caller promises the instructions.
    let mut columns = [unsafe { W::splat(0) }; 10];
    for i in 0..10 {
        // SAFETY: see above.
        columns[i] = unsafe { W::splat(words[i]) };
    }
    columns
}

/// The halves of low52(a)·low52(b).
#[inline(always)]
pub fn halves<W: Fused>(a: W, b: W) -> (W, W) {
    // SAFETY: there is a value of `W`.
    let (zero, mask, two_104, origin, sign, carry_origin) = unsafe {
        (
            W::splat(0),
            W::splat(MASK52),
            W::splat(TWO_104),
            W::splat(LOW_ORIGIN),
            W::splat(SIGN),
            W::splat(CARRY_ORIGIN),
        )
    };
    let mut t = [zero; 10];
    add_product(&mut t, 0, double(a.both(mask)), double(b.both(mask)));
    let low = t[0].plus(origin);
    let borrow = low.plus(sign).above52().minus(carry_origin);
    (low.both(mask), t[1].minus(two_104).plus(borrow))
}

/// Adds a·b to columns `at` and `at + 1`.
#[inline(always)]
fn add_product<W: Fused>(t: &mut [W; 10], at: usize, a: W::Doubles, b: W::Doubles) {
    // SAFETY: there is a value of `W`.
    let (two_104, start) = unsafe { (W::splat(TWO_104), W::splat(LOW_START)) };
    (t[at], t[at + 1]) = W::product_onto((t[at], t[at + 1]), a, b, [two_104.doubles(), start.doubles()]);
}

/// Does the same for 0 to 4. As a loop it is too long for the compiler to unroll, and then columns cannot stay in registers.
macro_rules! five_times {
    ($i:ident: $body:block) => {
        five_times!(@each $i, $body, 0, 1, 2, 3, 4)
    };
    (@each $i:ident, $body:block, $($value:literal),*) => {
        $({
            let $i = $value;
            $body
        })*
    };
}

/// Adds a·b to the columns from `at` on.
#[inline(always)]
fn add_row<W: Fused>(t: &mut [W; 10], at: usize, a: W::Doubles, b: &[W::Doubles; 5]) {
    for j in 0..5 {
        add_product(t, at + j, a, b[j]);
    }
}

/// The digit that makes a column a multiple of 2^52 when so many times p are added: low52(t)·(−1/p) modulo 2^52, as a double.
///
/// The product is rounded down: 2^104 − 2^51 is half of what counts there less than 2^104. Where it is so small that the sum is
/// below 2^104, the larger one is 2^104, and all of the product is low. Where it is a multiple of 2^52 it may be rounded to
/// one less; then t is zero, since 1/p is odd, and the product is small.
#[inline(always)]
fn digit<M: Modulus, W: Fused>(t: W) -> W::Doubles {
    // SAFETY: there is a value of `W`.
    let (mask, two_104, below, inverse) = unsafe {
        (
            W::splat(MASK52),
            W::splat(TWO_104).doubles(),
            W::splat(BELOW_TWO_104).doubles(),
            W::splat(Doubled::<M>::MINUS_INVERSE).doubles(),
        )
    };
    let t = double(t.both(mask));
    let high = W::larger(W::fma(t, inverse, below), two_104);
    W::fma(t, inverse, W::difference(two_104, high))
}

/// Makes column `at` a multiple of 2^52 by adding `digit` times p from there on, and carries it to the next. Gives the digit of that.
#[inline(always)]
fn add_multiple<M: Modulus, W: Fused>(t: &mut [W; 10], at: usize, q: W::Doubles) -> W::Doubles {
    // SAFETY: there is a value of `W`, here and below.
    let (two_104, round) = unsafe { (W::splat(TWO_104), W::splat(SIGN + Doubled::<M>::ROUND)) };
    // SAFETY: see above.
    let p = unsafe { W::splat(Doubled::<M>::P[0]) }.doubles();
    let high = W::fma(q, p, two_104.doubles());
    t[at + 1] = t[at + 1].plus(t[at].plus(round).above52()).plus(W::bits(high));
    // SAFETY: see above.
    let p = unsafe { W::splat(Doubled::<M>::P[1]) }.doubles();
    add_product(t, at + 1, q, p);
    // As soon as it is known: all the rest needs it, so that its latency counts.
    let next = digit::<M, W>(t[at + 1]);
    for j in 2..5 {
        // SAFETY: see above.
        let p = unsafe { W::splat(Doubled::<M>::P[j]) }.doubles();
        add_product(t, at + j, q, p);
    }
    next
}

/// The upper columns, which have the offsets of the whole [`Offsets::REDUCTION`], in carried limbs.
#[inline(always)]
fn carried<W: Fused>(mut t: [W; 10]) -> [W; 5] {
    // SAFETY: there is a value of `W`.
    let mask = unsafe { W::splat(MASK52) };
    let mut limbs = [t[9]; 5];
    for i in 5..9 {
        t[i + 1] = t[i + 1].plus(t[i].above52());
        limbs[i - 5] = t[i].both(mask);
    }
    limbs[4] = t[9];
    limbs
}

/// t/R modulo p of columns with [`Offsets::REDUCTION`], in carried limbs; several at once, so that their latencies overlap.
#[inline(always)]
fn reduced<M: Modulus, W: Fused, const N: usize>(mut t: [[W; 10]; N]) -> [[W; 5]; N] {
    let mut q = [digit::<M, W>(t[0][0]); N];
    for n in 1..N {
        q[n] = digit::<M, W>(t[n][0]);
    }
    five_times!(i: {
        for n in 0..N {
            q[n] = add_multiple::<M, W>(&mut t[n], i, q[n]);
        }
    });
    let mut limbs = [carried(t[0]); N];
    for n in 1..N {
        limbs[n] = carried(t[n]);
    }
    limbs
}

/// As [`super::field52::Field52::mul`].
///
/// A row of products, then a multiple of p: so that six columns are in use at a time. While a digit is being found for one of the
/// `N`, the others have their rows.
///
/// # Safety
/// The processor has the instructions of `W`, here and below.
#[inline(always)]
pub unsafe fn mul<M: Modulus, W: Fused, const N: usize>(a: &[[W; 5]; N], b: &[[W; 5]; N]) -> [[W; 5]; N] {
    // SAFETY: the caller promises the instructions.
    let mut t = [unsafe { columns(&Offsets::PRODUCT_AND_REDUCTION) }; N];
    let mut factors = [all_doubles(&b[0]); N];
    let mut q = [factors[0][0]; N];
    for n in 0..N {
        factors[n] = all_doubles(&b[n]);
        add_row(&mut t[n], 0, double(a[n][0]), &factors[n]);
        q[n] = digit::<M, W>(t[n][0]);
    }
    five_times!(i: {
        for n in 0..N {
            if i < 4 {
                add_row(&mut t[n], i + 1, double(a[n][i + 1]), &factors[n]);
            }
            q[n] = add_multiple::<M, W>(&mut t[n], i, q[n]);
        }
    });
    let mut limbs = [carried(t[0]); N];
    for n in 1..N {
        limbs[n] = carried(t[n]);
    }
    limbs
}

/// As [`super::field52::Field52::sqr`].
///
/// # Safety
/// See [`mul`].
#[inline(always)]
pub unsafe fn sqr<M: Modulus, W: Fused, const N: usize>(a: &[[W; 5]; N]) -> [[W; 5]; N] {
    // SAFETY: the caller promises the instructions.
    let mut t = [unsafe { columns::<W>(&Offsets::SQUARE_AND_REDUCTION) }; N];
    for n in 0..N {
        let (t, a) = (&mut t[n], all_doubles(&a[n]));
        five_times!(i: {
            for j in i + 1..5 {
                add_product(t, i + j, a[i], a[j]);
            }
        });
        for i in 0..10 {
            t[i] = t[i].plus(t[i]);
        }
        for i in 0..5 {
            add_product(t, 2 * i, a[i], a[i]);
        }
    }
    reduced::<M, W, N>(t)
}

/// As `Field52::product_onto`.
#[inline(always)]
pub fn product_onto<W: Fused>(mut sum: [W; 10], a: &[W; 5], b: &[W; 5]) -> [W; 10] {
    // SAFETY: there is a value of `W`.
    let offsets = unsafe { columns::<W>(&Offsets::PRODUCT) };
    for i in 0..10 {
        sum[i] = sum[i].plus(offsets[i]);
    }
    let b = all_doubles(b);
    five_times!(i: { add_row(&mut sum, i, double(a[i]), &b) });
    sum
}

/// As `Field52::montgomery`.
#[inline(always)]
pub fn montgomery<M: Modulus, W: Fused, const N: usize>(mut t: [[W; 10]; N]) -> [[W; 5]; N] {
    for n in 0..N {
        // SAFETY: there is a value of `W`.
        let offsets = unsafe { columns::<W>(&Offsets::REDUCTION) };
        for i in 0..10 {
            t[n][i] = t[n][i].plus(offsets[i]);
        }
    }
    reduced::<M, W, N>(t)
}

#[cfg(test)]
mod tests;
