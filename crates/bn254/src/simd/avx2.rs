//! [`Lanes`] as two AVX2 registers, with products by doubles.
//!
//! As in [`super::avx512`], the methods are `inline(always)` and are called from functions with `#[target_feature]` only. Field
//! multiplications are such functions themselves, and calls: inlined into the loops over points, which have a dozen of them
//! with 800 instructions each, they would not fit the nearest caches.

use super::field52::{Field52, Modulus};
use super::fused::{self, Fused};
use super::lanes::Lanes;
use super::quad::Quad;

/// Lanes 0 to 3, and 4 to 7. A value exists only where the processor has AVX2 and FMA.
#[derive(Clone, Copy)]
pub struct Avx2([Quad; 2]);

impl Avx2 {
    /// # Safety
    /// The processor has the instructions; eight words can be read.
    #[inline(always)]
    unsafe fn read(words: *const u64) -> Self {
        // SAFETY: the caller promises the instructions and the words.
        Self(unsafe { [Quad::load(words), Quad::load(words.wrapping_add(4))] })
    }

    /// # Safety
    /// Eight words can be written.
    #[inline(always)]
    unsafe fn write(self, words: *mut u64) {
        // SAFETY: the caller promises the words.
        unsafe {
            self.0[0].store(words);
            self.0[1].store(words.wrapping_add(4));
        }
    }
}

/// The halves of several values, each of its own.
#[inline(always)]
fn halves<const N: usize>(values: &[Avx2; N]) -> [[Quad; N]; 2] {
    let mut halves = [[values[0].0[0]; N]; 2];
    for i in 0..N {
        halves[0][i] = values[i].0[0];
        halves[1][i] = values[i].0[1];
    }
    halves
}

#[inline(always)]
fn joined<const N: usize>(halves: &[[Quad; N]; 2]) -> [Avx2; N] {
    let mut values = [Avx2([halves[0][0]; 2]); N];
    for i in 0..N {
        values[i] = Avx2([halves[0][i], halves[1][i]]);
    }
    values
}

#[target_feature(enable = "avx2,fma")]
#[inline(never)]
fn mul<M: Modulus>(a: &[Avx2; 5], b: &[Avx2; 5]) -> [Avx2; 5] {
    // SAFETY: this function has the instructions.
    joined(&unsafe { fused::mul::<M, Quad, 2>(&halves(a), &halves(b)) })
}

#[target_feature(enable = "avx2,fma")]
#[inline(never)]
fn sqr<M: Modulus>(a: &[Avx2; 5]) -> [Avx2; 5] {
    // SAFETY: this function has the instructions.
    joined(&unsafe { fused::sqr::<M, Quad, 2>(&halves(a)) })
}

#[target_feature(enable = "avx2,fma")]
#[inline(never)]
fn product_onto(sum: &[Avx2; 10], a: &[Avx2; 5], b: &[Avx2; 5]) -> [Avx2; 10] {
    let (sum, a, b) = (halves(sum), halves(a), halves(b));
    joined(&[fused::product_onto(sum[0], &a[0], &b[0]), fused::product_onto(sum[1], &a[1], &b[1])])
}

#[target_feature(enable = "avx2,fma")]
#[inline(never)]
fn montgomery<M: Modulus>(t: &[Avx2; 10]) -> [Avx2; 5] {
    joined(&fused::montgomery::<M, Quad, 2>(halves(t)))
}

impl Lanes for Avx2 {
    #[inline(always)]
    unsafe fn splat(word: u64) -> Self {
        // SAFETY: the caller promises the instructions.
        Self([unsafe { Quad::splat(word) }; 2])
    }

    #[inline(always)]
    unsafe fn load(words: &[u64; 8]) -> Self {
        // SAFETY: the caller promises the instructions.
        unsafe { Self::read(words.as_ptr()) }
    }

    #[inline(always)]
    unsafe fn gather(rows: &[*const u64; 8]) -> [Self; 8] {
        // SAFETY: the caller promises the instructions and eight words in each row.
        let mut read = [unsafe { Self::splat(0) }; 8];
        for i in 0..8 {
            // SAFETY: see above.
            read[i] = unsafe { Self::read(rows[i]) };
        }
        Self::transposed(read)
    }

    #[inline(always)]
    unsafe fn gather_four(rows: &[*const u64; 8]) -> [Self; 4] {
        // SAFETY: the caller promises the instructions and four words in each row.
        unsafe {
            let low = [Quad::load(rows[0]), Quad::load(rows[1]), Quad::load(rows[2]), Quad::load(rows[3])];
            let high = [Quad::load(rows[4]), Quad::load(rows[5]), Quad::load(rows[6]), Quad::load(rows[7])];
            joined(&[Quad::transposed(low), Quad::transposed(high)])
        }
    }

    #[inline(always)]
    unsafe fn scatter(words: [Self; 8], rows: &[*mut u64; 8]) {
        let written = Self::transposed(words);
        for i in 0..8 {
            // SAFETY: the caller promises eight writable words in each row.
            unsafe { written[i].write(rows[i]) };
        }
    }

    #[inline(always)]
    fn transposed(v: [Self; 8]) -> [Self; 8] {
        let mut columns = v;
        for i in 0..2 {
            for j in 0..2 {
                let at = 4 * i;
                let block = Quad::transposed([v[at].0[j], v[at + 1].0[j], v[at + 2].0[j], v[at + 3].0[j]]);
                for k in 0..4 {
                    columns[4 * j + k].0[i] = block[k];
                }
            }
        }
        columns
    }

    #[inline(always)]
    fn store(self) -> [u64; 8] {
        let mut words = [0; 8];
        // SAFETY: eight words.
        unsafe { self.write(words.as_mut_ptr()) };
        words
    }

    #[inline(always)]
    fn madd_low(self, a: Self, b: Self) -> Self {
        let (low, _) = fused::halves(a.0[0], b.0[0]);
        let (high_lanes, _) = fused::halves(a.0[1], b.0[1]);
        Self([self.0[0].plus(low), self.0[1].plus(high_lanes)])
    }

    #[inline(always)]
    fn madd_high(self, a: Self, b: Self) -> Self {
        let (_, high) = fused::halves(a.0[0], b.0[0]);
        let (_, high_lanes) = fused::halves(a.0[1], b.0[1]);
        Self([self.0[0].plus(high), self.0[1].plus(high_lanes)])
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self([self.0[0].plus(other.0[0]), self.0[1].plus(other.0[1])])
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self([self.0[0].minus(other.0[0]), self.0[1].minus(other.0[1])])
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        Self([self.0[0].both(other.0[0]), self.0[1].both(other.0[1])])
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        Self([self.0[0].either(other.0[0]), self.0[1].either(other.0[1])])
    }

    // The instructions' counts are constants of another type, into which a constant of this one cannot be turned; LLVM makes these
    // the same instructions.
    #[inline(always)]
    fn shr<const BITS: u32>(self) -> Self {
        self.shr_by(BITS)
    }

    /// The processor has no such shift of 64-bit words.
    #[inline(always)]
    fn sar<const BITS: u32>(self) -> Self {
        // SAFETY: there is a value.
        let (sign, shifted) = unsafe { (Self::splat(1 << 63), Self::splat(1 << 63 >> BITS)) };
        self.add(sign).shr::<BITS>().sub(shifted)
    }

    #[inline(always)]
    fn shl<const BITS: u32>(self) -> Self {
        self.shl_by(BITS)
    }

    #[inline(always)]
    fn shr_into<const BITS: u32>(self, high: Self) -> Self {
        self.shr::<BITS>().or(high.shl_by(64 - BITS))
    }

    #[inline(always)]
    fn shr_by(self, bits: u32) -> Self {
        Self([self.0[0].shr_by(bits), self.0[1].shr_by(bits)])
    }

    #[inline(always)]
    fn shl_by(self, bits: u32) -> Self {
        Self([self.0[0].shl_by(bits), self.0[1].shl_by(bits)])
    }

    #[inline(always)]
    fn low_halves(self) -> [u32; 8] {
        let words = self.store();
        let mut halves = [0; 8];
        for i in 0..8 {
            halves[i] = words[i] as u32;
        }
        halves
    }

    #[inline(always)]
    fn look_up(self, table: Self) -> Self {
        Self([self.0[0].look_up(table.0), self.0[1].look_up(table.0)])
    }

    #[inline(always)]
    fn swap<const BIT: usize>(self) -> Self {
        const { assert!(BIT == 1 || BIT == 2 || BIT == 4) };
        if BIT == 4 {
            return Self([self.0[1], self.0[0]]);
        }
        Self([self.0[0].swap::<BIT>(), self.0[1].swap::<BIT>()])
    }

    #[inline(always)]
    fn blend(self, mask: u8, other: Self) -> Self {
        let [low, high] = self.0;
        Self([low.chosen(low.lanes_of(mask), other.0[0]), high.chosen(high.lanes_of(mask >> 4), other.0[1])])
    }

    #[inline(always)]
    fn negate_where(self, mask: u8) -> Self {
        let [low, high] = self.0;
        Self([low.negated(low.lanes_of(mask)), high.negated(high.lanes_of(mask >> 4))])
    }

    #[inline(always)]
    fn zeros(self) -> u8 {
        self.0[0].zeros() | self.0[1].zeros() << 4
    }

    #[inline(always)]
    fn negatives(self) -> u8 {
        self.0[0].negatives() | self.0[1].negatives() << 4
    }

    #[inline(always)]
    fn mul<M: Modulus, const K: usize>(
        a: &[Field52<Self, M>; K],
        b: &[Field52<Self, M>; K],
    ) -> Option<[Field52<Self, M>; K]> {
        let mut products = *a;
        for k in 0..K {
            // SAFETY: the values show the instructions, here and below.
            products[k] = Field52::new(unsafe { mul::<M>(&a[k].limbs, &b[k].limbs) });
        }
        Some(products)
    }

    #[inline(always)]
    fn sqr<M: Modulus, const K: usize>(a: &[Field52<Self, M>; K]) -> Option<[Field52<Self, M>; K]> {
        let mut squares = *a;
        for k in 0..K {
            // SAFETY: see `mul`.
            squares[k] = Field52::new(unsafe { sqr::<M>(&a[k].limbs) });
        }
        Some(squares)
    }

    #[inline(always)]
    fn product_onto(sum: &[Self; 10], a: &[Self; 5], b: &[Self; 5]) -> Option<[Self; 10]> {
        // SAFETY: see `mul`.
        Some(unsafe { product_onto(sum, a, b) })
    }

    #[inline(always)]
    fn montgomery<M: Modulus, const K: usize>(t: &[[Self; 10]; K]) -> Option<[Field52<Self, M>; K]> {
        // SAFETY: see `mul`.
        let mut reduced = [Field52::new(unsafe { montgomery::<M>(&t[0]) }); K];
        for k in 1..K {
            // SAFETY: see `mul`.
            reduced[k] = Field52::new(unsafe { montgomery::<M>(&t[k]) });
        }
        Some(reduced)
    }
}
