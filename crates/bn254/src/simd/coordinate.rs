//! Coordinates of eight curve points at a time: what batch-affine addition needs of a field.
//!
//! | coordinate | curve | processor |
//! |---|---|---|
//! | `Field52<Avx512, Q>` | G1 | AVX-512 IFMA |
//! | `Pair<Avx512>` | G2 | AVX-512 IFMA |
//! | `Field52<Emulated, Q>`, `Pair<Emulated>`, [outlined](super::outlined) | both | any; for tests |
//! | [`Eight<Fq>`](super::eight::Eight), `Eight<Fq2>` | both | any, with the assembly of halo2curves where it has some |
//!
//! Invariants, for the lazily reduced ones (see [`super::field52`]): coordinates that are kept are loose, those in packed rows
//! canonical, differences wide; each method states what it takes and gives.

use ff::Field;

use super::field52::{Field52, Q, to_limbs};
use super::lanes::Lanes;
use crate::{Fq, Fq2};

/// One coordinate of eight points.
pub trait Coordinate: Copy + 'static {
    /// 64-bit words of one packed coordinate: a packed point is x, then y.
    const WORDS: usize;

    /// Zero in every lane.
    ///
    /// # Safety
    /// The processor has the instructions of this implementation.
    unsafe fn zero() -> Self;

    /// One in every lane.
    ///
    /// # Safety
    /// As for [`Coordinate::zero`].
    unsafe fn one() -> Self;

    /// The packed points at `rows`: x and y.
    ///
    /// # Safety
    /// As for [`Coordinate::zero`]; every row points to `2 * WORDS` readable words.
    unsafe fn gather(rows: &[*const u64; 8]) -> (Self, Self);

    /// Writes loose points as packed rows.
    ///
    /// # Safety
    /// Every row points to `2 * WORDS` writable words; rows that overlap are the same row.
    unsafe fn scatter(x: Self, y: Self, rows: &[*mut u64; 8]);

    /// From the Montgomery form of halo2curves, canonical or loose, to that of this implementation; loose.
    fn import(self) -> Self;

    /// The other way; loose.
    fn export(self) -> Self;

    /// Products of `K` pairs, one of them wide at most; loose.
    fn mul<const K: usize>(a: &[Self; K], b: &[Self; K]) -> [Self; K];

    /// Squares of `K` loose values; loose.
    fn sqr<const K: usize>(a: &[Self; K]) -> [Self; K];

    /// Sum of loose values; wide.
    fn plus(self, other: Self) -> Self;

    /// Three times a loose value; loose.
    fn thrice(self) -> Self;

    /// Difference of loose values; wide.
    fn minus(self, other: Self) -> Self;

    /// (±self) − other, minus in the lanes of `mask`, of loose values; wide.
    fn signed_minus(self, mask: u8, other: Self) -> Self;

    /// Minus self in the lanes of `mask`, for a canonical self; loose.
    fn negate_where(self, mask: u8) -> Self;

    /// x of the sum of two points: slope² − x₁ − x₂, from the square (loose), what [`Coordinate::minus`] gave for x₂ − x₁, and x₁;
    /// loose.
    fn third_x(square: Self, difference: Self, x: Self) -> Self;

    /// y of the sum: product − y₁, of loose values; loose.
    fn third_y(product: Self, y: Self) -> Self;

    /// The lanes in which a wide value is zero.
    fn zeros(self) -> u8;

    /// `other` in the lanes of `mask`, `self` in the others.
    fn blend(self, mask: u8, other: Self) -> Self;

    /// Lane i gets what lane `i ^ BIT` has.
    fn swap<const BIT: usize>(self) -> Self;

    /// The lanes whose word has its highest bit set.
    #[inline(always)]
    fn signs(words: &[u32; 8]) -> u8 {
        words.iter().rev().fold(0, |mask, word| mask << 1 | (word >> 31) as u8)
    }

    /// 1/self, for a loose value that is the same in every lane and not zero.
    fn invert_common(self) -> Self;
}

/// 2^264 mod q: multiplied by it, the Montgomery form with 2^256 becomes that with 2^260.
const IMPORT: [u64; 5] = to_limbs(power_of_two(264));
/// 2^256 mod q, for the way back.
const EXPORT: [u64; 5] = to_limbs(power_of_two(256));
/// 2^260 mod q, one in Montgomery form.
const ONE: [u64; 5] = to_limbs(power_of_two(260));

/// 2^`exponent` mod q.
const fn power_of_two(exponent: u32) -> [u64; 4] {
    let q = <Q as super::field52::Modulus>::WORDS;
    let mut value = [1u64, 0, 0, 0];
    let mut step = 0;
    while step < exponent {
        let doubled = [
            value[0] << 1,
            value[1] << 1 | value[0] >> 63,
            value[2] << 1 | value[1] >> 63,
            value[3] << 1 | value[2] >> 63,
        ];
        let (mut less, mut borrow, mut i) = ([0u64; 4], 0u64, 0);
        while i < 4 {
            let (d, under) = doubled[i].overflowing_sub(q[i]);
            let (d, under_too) = d.overflowing_sub(borrow);
            less[i] = d;
            borrow = (under | under_too) as u64;
            i += 1;
        }
        value = if borrow == 1 { doubled } else { less };
        step += 1;
    }
    value
}

/// Words of lane 0.
#[inline(always)]
fn first_lane<L: Lanes>(value: Field52<L, Q>) -> [u64; 4] {
    let w = value.canonical().to_packed();
    [w[0].store()[0], w[1].store()[0], w[2].store()[0], w[3].store()[0]]
}

impl<L: Lanes> Coordinate for Field52<L, Q> {
    const WORDS: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller promises the instructions.
        unsafe { Self::splat(&[0; 5]) }
    }

    #[inline(always)]
    unsafe fn one() -> Self {
        // SAFETY: the caller promises the instructions.
        unsafe { Self::splat(&ONE) }
    }

    #[inline(always)]
    unsafe fn gather(rows: &[*const u64; 8]) -> (Self, Self) {
        // SAFETY: the caller promises the instructions and eight words in each row.
        let w = unsafe { L::gather(rows) };
        (Self::from_packed([w[0], w[1], w[2], w[3]]), Self::from_packed([w[4], w[5], w[6], w[7]]))
    }

    #[inline(always)]
    unsafe fn scatter(x: Self, y: Self, rows: &[*mut u64; 8]) {
        let (x, y) = (x.canonical().to_packed(), y.canonical().to_packed());
        // SAFETY: the caller promises eight words in each row.
        unsafe { L::scatter([x[0], x[1], x[2], x[3], y[0], y[1], y[2], y[3]], rows) };
    }

    #[inline(always)]
    fn import(self) -> Self {
        // SAFETY: there is a value of `L`.
        Self::mul(&[self], &[unsafe { Self::splat(&IMPORT) }])[0]
    }

    #[inline(always)]
    fn export(self) -> Self {
        // SAFETY: there is a value of `L`.
        Self::mul(&[self], &[unsafe { Self::splat(&EXPORT) }])[0]
    }

    #[inline(always)]
    fn mul<const K: usize>(a: &[Self; K], b: &[Self; K]) -> [Self; K] {
        Field52::mul(a, b)
    }

    #[inline(always)]
    fn sqr<const K: usize>(a: &[Self; K]) -> [Self; K] {
        Field52::sqr(a)
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.add(other)
    }

    #[inline(always)]
    fn thrice(self) -> Self {
        Field52::thrice(self)
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        self.sub::<3>(other)
    }

    #[inline(always)]
    fn signed_minus(self, mask: u8, other: Self) -> Self {
        self.signed_sub::<5>(mask, other)
    }

    #[inline(always)]
    fn negate_where(self, mask: u8) -> Self {
        Field52::negate_where(self, mask)
    }

    #[inline(always)]
    fn third_x(square: Self, difference: Self, x: Self) -> Self {
        // The difference is x2 - x1 + 3p; what is left is square - x1 - x2 + 6p, above p.
        square.sub_double::<9>(difference, x)
    }

    #[inline(always)]
    fn third_y(product: Self, y: Self) -> Self {
        product.sub_reduced::<3>(y)
    }

    #[inline(always)]
    fn zeros(self) -> u8 {
        Field52::zeros(self)
    }

    #[inline(always)]
    fn blend(self, mask: u8, other: Self) -> Self {
        Field52::blend(self, mask, other)
    }

    #[inline(always)]
    fn swap<const BIT: usize>(self) -> Self {
        Field52::swap::<BIT>(self)
    }

    #[inline(always)]
    fn invert_common(self) -> Self {
        let inverse = Fq(first_lane(self.export())).invert().unwrap_or(Fq::ZERO);
        // SAFETY: there is a value of `L`.
        unsafe { Self::splat(&to_limbs(inverse.0)) }.import()
    }
}

/// Eight elements c0 + c1·u of Fq2, u² = −1.
#[derive(Clone, Copy)]
pub struct Pair<L> {
    c0: Field52<L, Q>,
    c1: Field52<L, Q>,
}

impl<L: Lanes> Coordinate for Pair<L> {
    const WORDS: usize = 8;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller promises the instructions.
        unsafe { Self { c0: Field52::splat(&[0; 5]), c1: Field52::splat(&[0; 5]) } }
    }

    #[inline(always)]
    unsafe fn one() -> Self {
        // SAFETY: the caller promises the instructions.
        unsafe { Self { c0: Field52::splat(&ONE), c1: Field52::splat(&[0; 5]) } }
    }

    #[inline(always)]
    unsafe fn gather(rows: &[*const u64; 8]) -> (Self, Self) {
        let mut second = *rows;
        for row in &mut second {
            *row = row.wrapping_add(8);
        }
        // SAFETY: the caller promises the instructions and sixteen words in each row.
        let ((x0, x1), (y0, y1)) = unsafe {
            (<Field52<L, Q> as Coordinate>::gather(rows), <Field52<L, Q> as Coordinate>::gather(&second))
        };
        (Self { c0: x0, c1: x1 }, Self { c0: y0, c1: y1 })
    }

    #[inline(always)]
    unsafe fn scatter(x: Self, y: Self, rows: &[*mut u64; 8]) {
        let mut second = *rows;
        for row in &mut second {
            *row = row.wrapping_add(8);
        }
        // SAFETY: the caller promises sixteen words in each row.
        unsafe {
            <Field52<L, Q> as Coordinate>::scatter(x.c0, x.c1, rows);
            <Field52<L, Q> as Coordinate>::scatter(y.c0, y.c1, &second);
        }
    }

    #[inline(always)]
    fn import(self) -> Self {
        Self { c0: self.c0.import(), c1: self.c1.import() }
    }

    #[inline(always)]
    fn export(self) -> Self {
        Self { c0: self.c0.export(), c1: self.c1.export() }
    }

    /// Karatsuba with delayed reduction: three products of Fq, and two reductions. With p = a0·b0 and q = a1·b1, which are below
    /// 28·p², c0 is p − q + 28·p² and c1 is (a0 + a1)·(b0 + b1) − p − q, which is not negative.
    #[inline(always)]
    fn mul<const K: usize>(a: &[Self; K], b: &[Self; K]) -> [Self; K] {
        let mut products = *a;
        for k in 0..K {
            let (a, b) = (a[k], b[k]);
            // SAFETY: there is a value of `L`.
            let zero = unsafe { L::splat(0) };
            let p = Field52::product_onto([zero; 10], a.c0, b.c0);
            let q = Field52::product_onto([zero; 10], a.c1, b.c1);
            let lift = Field52::<L, Q>::lift(zero);
            let mut real = lift;
            let mut start = lift;
            for i in 0..10 {
                real[i] = lift[i].add(p[i].sub(q[i]));
                start[i] = zero.sub(p[i].add(q[i]));
            }
            let imaginary = Field52::product_onto(start, a.c0.add(a.c1), b.c0.add(b.c1));
            let [c0, c1] = Field52::montgomery([real, imaginary]);
            products[k] = Self { c0, c1 };
        }
        products
    }

    /// (c0 + c1)·(c0 − c1) and 2·c0·c1.
    #[inline(always)]
    fn sqr<const K: usize>(a: &[Self; K]) -> [Self; K] {
        let (mut sum, mut difference, mut twice) = (a.map_c0(), a.map_c0(), a.map_c0());
        let c1 = a.map_c1();
        for k in 0..K {
            sum[k] = a[k].c0.add(a[k].c1);
            difference[k] = a[k].c0.sub::<3>(a[k].c1);
            twice[k] = a[k].c0.add(a[k].c0);
        }
        let c0 = Field52::mul(&sum, &difference);
        let c1 = Field52::mul(&twice, &c1);
        let mut squares = *a;
        for k in 0..K {
            squares[k] = Self { c0: c0[k], c1: c1[k] };
        }
        squares
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        Self { c0: self.c0.plus(other.c0), c1: self.c1.plus(other.c1) }
    }

    #[inline(always)]
    fn thrice(self) -> Self {
        Self { c0: self.c0.thrice(), c1: self.c1.thrice() }
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        Self { c0: self.c0.minus(other.c0), c1: self.c1.minus(other.c1) }
    }

    #[inline(always)]
    fn signed_minus(self, mask: u8, other: Self) -> Self {
        Self { c0: self.c0.signed_minus(mask, other.c0), c1: self.c1.signed_minus(mask, other.c1) }
    }

    #[inline(always)]
    fn negate_where(self, mask: u8) -> Self {
        Self { c0: self.c0.negate_where(mask), c1: self.c1.negate_where(mask) }
    }

    #[inline(always)]
    fn third_x(square: Self, difference: Self, x: Self) -> Self {
        Self {
            c0: Coordinate::third_x(square.c0, difference.c0, x.c0),
            c1: Coordinate::third_x(square.c1, difference.c1, x.c1),
        }
    }

    #[inline(always)]
    fn third_y(product: Self, y: Self) -> Self {
        Self { c0: Coordinate::third_y(product.c0, y.c0), c1: Coordinate::third_y(product.c1, y.c1) }
    }

    #[inline(always)]
    fn zeros(self) -> u8 {
        self.c0.zeros() & self.c1.zeros()
    }

    #[inline(always)]
    fn blend(self, mask: u8, other: Self) -> Self {
        Self { c0: self.c0.blend(mask, other.c0), c1: self.c1.blend(mask, other.c1) }
    }

    #[inline(always)]
    fn swap<const BIT: usize>(self) -> Self {
        Self { c0: self.c0.swap::<BIT>(), c1: self.c1.swap::<BIT>() }
    }

    #[inline(always)]
    fn invert_common(self) -> Self {
        let value = self.export();
        let inverse = Fq2::new(Fq(first_lane(value.c0)), Fq(first_lane(value.c1)));
        let inverse = inverse.invert().unwrap_or(Fq2::ZERO);
        // SAFETY: there is a value of `L`.
        let splat = |limb: &Fq| unsafe { Field52::splat(&to_limbs(limb.0)) };
        Self { c0: splat(inverse.c0()), c1: splat(inverse.c1()) }.import()
    }
}

/// The halves of several pairs.
trait Halves<L, const K: usize> {
    fn map_c0(&self) -> [Field52<L, Q>; K];
    fn map_c1(&self) -> [Field52<L, Q>; K];
}

impl<L: Lanes, const K: usize> Halves<L, K> for [Pair<L>; K] {
    #[inline(always)]
    fn map_c0(&self) -> [Field52<L, Q>; K] {
        let mut halves = [self[0].c0; K];
        for k in 0..K {
            halves[k] = self[k].c0;
        }
        halves
    }

    #[inline(always)]
    fn map_c1(&self) -> [Field52<L, Q>; K] {
        let mut halves = [self[0].c1; K];
        for k in 0..K {
            halves[k] = self[k].c1;
        }
        halves
    }
}
