//! Eight 64-bit words side by side, and what the radix-2^52 arithmetic does with them.
//!
//! Everything above this module is written once over [`Lanes`] and compiled for AVX-512 IFMA (`avx512::Avx512`), for AVX2
//! with FMA (`avx2::Avx2`), and for [`Emulated`], plain Rust that runs on every processor and is what the tests compare with.
//!
//! Invariant: each operation of an implementation gives the same words as that of [`Emulated`], bit for bit.

use super::field52::{Field52, Modulus};

/// Low 52 bits.
pub const MASK52: u64 = (1 << 52) - 1;

/// One word in each of eight lanes.
///
/// Only `splat`, `load` and `gather` make a value out of nothing. They are unsafe because the processor must have the
/// instructions; whoever holds a value has shown that already, so everything else is safe.
pub trait Lanes: Copy + 'static {
    /// The same word in every lane.
    ///
    /// # Safety
    /// The processor has the instructions of this implementation.
    unsafe fn splat(word: u64) -> Self;

    /// Lane i gets word i.
    ///
    /// # Safety
    /// As for [`Lanes::splat`].
    unsafe fn load(words: &[u64; 8]) -> Self;

    /// Word w of the eight at `rows[i]` becomes lane i of the result at w.
    ///
    /// # Safety
    /// As for [`Lanes::splat`]; each row points to eight readable words.
    unsafe fn gather(rows: &[*const u64; 8]) -> [Self; 8];

    /// Word w of the four at `rows[i]` becomes lane i of the result at w.
    ///
    /// # Safety
    /// As for [`Lanes::splat`]; each row points to four readable words.
    unsafe fn gather_four(rows: &[*const u64; 8]) -> [Self; 4];

    /// Lane i of the value at w becomes word w of the eight at `rows[i]`.
    ///
    /// # Safety
    /// Each row points to eight writable words, no two of them overlapping.
    unsafe fn scatter(words: [Self; 8], rows: &[*mut u64; 8]);

    /// Lane i of the value at w becomes lane w of the value at i.
    fn transposed(values: [Self; 8]) -> [Self; 8];

    /// Lane i as word i.
    fn store(self) -> [u64; 8];

    /// `self + low52(low52(a) · low52(b))`, modulo 2^64.
    fn madd_low(self, a: Self, b: Self) -> Self;

    /// `self + ((low52(a) · low52(b)) >> 52)`, modulo 2^64.
    fn madd_high(self, a: Self, b: Self) -> Self;

    /// Sum modulo 2^64.
    fn add(self, other: Self) -> Self;

    /// Difference modulo 2^64.
    fn sub(self, other: Self) -> Self;

    /// Bits that both have.
    fn and(self, other: Self) -> Self;

    /// Bits that one has.
    fn or(self, other: Self) -> Self;

    /// Shift to the right, zeros from the left.
    fn shr<const BITS: u32>(self) -> Self;

    /// Shift to the right, the sign from the left.
    fn sar<const BITS: u32>(self) -> Self;

    /// Shift to the left.
    fn shl<const BITS: u32>(self) -> Self;

    /// Low word of the two words `high:self`, shifted to the right by `0 < BITS < 64`.
    fn shr_into<const BITS: u32>(self, high: Self) -> Self;

    /// Shift to the right by the same count in every lane, to zero from 64 on.
    fn shr_by(self, bits: u32) -> Self;

    /// Shift to the left by the same count in every lane, to zero from 64 on.
    fn shl_by(self, bits: u32) -> Self;

    /// The low halves of the words.
    fn low_halves(self) -> [u32; 8];

    /// The entry of `table` that the low three bits of each lane name.
    fn look_up(self, table: Self) -> Self;

    /// Lane i gets what lane `i ^ BIT` has; `BIT` is 1, 2 or 4.
    fn swap<const BIT: usize>(self) -> Self;

    /// `other` in the lanes of `mask`, `self` in the others.
    fn blend(self, mask: u8, other: Self) -> Self;

    /// `-self` modulo 2^64 in the lanes of `mask`, `self` in the others.
    fn negate_where(self, mask: u8) -> Self;

    /// The lanes that are zero.
    fn zeros(self) -> u8;

    /// The lanes whose highest bit is set.
    fn negatives(self) -> u8;

    /// [`Field52::mul`], where the processor has a better way than [`Lanes::madd_low`] and [`Lanes::madd_high`].
    #[inline(always)]
    fn mul<M: Modulus, const K: usize>(
        _a: &[Field52<Self, M>; K],
        _b: &[Field52<Self, M>; K],
    ) -> Option<[Field52<Self, M>; K]> {
        None
    }

    /// [`Field52::sqr`], as with [`Lanes::mul`].
    #[inline(always)]
    fn sqr<M: Modulus, const K: usize>(_a: &[Field52<Self, M>; K]) -> Option<[Field52<Self, M>; K]> {
        None
    }

    /// `Field52::product_onto`, as with [`Lanes::mul`].
    #[inline(always)]
    fn product_onto(_sum: &[Self; 10], _a: &[Self; 5], _b: &[Self; 5]) -> Option<[Self; 10]> {
        None
    }

    /// `Field52::montgomery`, as with [`Lanes::mul`].
    #[inline(always)]
    fn montgomery<M: Modulus, const K: usize>(_t: &[[Self; 10]; K]) -> Option<[Field52<Self, M>; K]> {
        None
    }
}

/// [`Lanes`] in plain Rust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Emulated([u64; 8]);

impl Emulated {
    fn zip(self, other: Self, f: impl Fn(u64, u64) -> u64) -> Self {
        Self(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }

    fn map(self, f: impl Fn(u64) -> u64) -> Self {
        Self(self.0.map(f))
    }

    fn mask(self, f: impl Fn(u64) -> bool) -> u8 {
        (0..8).fold(0, |mask, i| mask | (u8::from(f(self.0[i])) << i))
    }
}

fn wide(a: u64, b: u64) -> u128 {
    u128::from(a & MASK52) * u128::from(b & MASK52)
}

// Never inlined: the kernels unroll everything, and would become enormous.
impl Lanes for Emulated {
    #[inline(never)]
    unsafe fn splat(word: u64) -> Self {
        Self([word; 8])
    }

    #[inline(never)]
    unsafe fn load(words: &[u64; 8]) -> Self {
        Self(*words)
    }

    #[inline(never)]
    unsafe fn gather(rows: &[*const u64; 8]) -> [Self; 8] {
        // SAFETY: the caller promises eight readable words in each row.
        let row = |i: usize| unsafe { rows[i].cast::<[u64; 8]>().read_unaligned() };
        let read: [[u64; 8]; 8] = std::array::from_fn(row);
        std::array::from_fn(|word| Self(std::array::from_fn(|lane| read[lane][word])))
    }

    #[inline(never)]
    unsafe fn gather_four(rows: &[*const u64; 8]) -> [Self; 4] {
        // SAFETY: the caller promises four readable words in each row.
        let row = |i: usize| unsafe { rows[i].cast::<[u64; 4]>().read_unaligned() };
        let read: [[u64; 4]; 8] = std::array::from_fn(row);
        std::array::from_fn(|word| Self(std::array::from_fn(|lane| read[lane][word])))
    }

    #[inline(never)]
    unsafe fn scatter(words: [Self; 8], rows: &[*mut u64; 8]) {
        for (lane, row) in rows.iter().enumerate() {
            let values: [u64; 8] = std::array::from_fn(|word| words[word].0[lane]);
            // SAFETY: the caller promises eight writable words in each row.
            unsafe { row.cast::<[u64; 8]>().write_unaligned(values) };
        }
    }

    #[inline(never)]
    fn transposed(values: [Self; 8]) -> [Self; 8] {
        std::array::from_fn(|i| Self(std::array::from_fn(|w| values[w].0[i])))
    }

    #[inline(never)]
    fn store(self) -> [u64; 8] {
        self.0
    }

    #[inline(never)]
    fn madd_low(self, a: Self, b: Self) -> Self {
        self.add(a.zip(b, |a, b| wide(a, b) as u64 & MASK52))
    }

    #[inline(never)]
    fn madd_high(self, a: Self, b: Self) -> Self {
        self.add(a.zip(b, |a, b| (wide(a, b) >> 52) as u64))
    }

    #[inline(never)]
    fn add(self, other: Self) -> Self {
        self.zip(other, u64::wrapping_add)
    }

    #[inline(never)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, u64::wrapping_sub)
    }

    #[inline(never)]
    fn and(self, other: Self) -> Self {
        self.zip(other, |a, b| a & b)
    }

    #[inline(never)]
    fn or(self, other: Self) -> Self {
        self.zip(other, |a, b| a | b)
    }

    #[inline(never)]
    fn shr<const BITS: u32>(self) -> Self {
        self.map(|a| a >> BITS)
    }

    #[inline(never)]
    fn sar<const BITS: u32>(self) -> Self {
        self.map(|a| (a.cast_signed() >> BITS).cast_unsigned())
    }

    #[inline(never)]
    fn shl<const BITS: u32>(self) -> Self {
        self.map(|a| a << BITS)
    }

    #[inline(never)]
    fn shr_into<const BITS: u32>(self, high: Self) -> Self {
        self.zip(high, |low, high| (low >> BITS) | (high << (64 - BITS)))
    }

    #[inline(never)]
    fn shr_by(self, bits: u32) -> Self {
        self.map(|a| a.checked_shr(bits).unwrap_or(0))
    }

    #[inline(never)]
    fn shl_by(self, bits: u32) -> Self {
        self.map(|a| a.checked_shl(bits).unwrap_or(0))
    }

    #[inline(never)]
    fn low_halves(self) -> [u32; 8] {
        self.0.map(|a| a as u32)
    }

    #[inline(never)]
    fn look_up(self, table: Self) -> Self {
        self.map(|a| table.0[(a & 7) as usize])
    }

    #[inline(never)]
    fn swap<const BIT: usize>(self) -> Self {
        Self(std::array::from_fn(|i| self.0[i ^ BIT]))
    }

    #[inline(never)]
    fn blend(self, mask: u8, other: Self) -> Self {
        Self(std::array::from_fn(|i| if mask >> i & 1 == 1 { other.0[i] } else { self.0[i] }))
    }

    #[inline(never)]
    fn negate_where(self, mask: u8) -> Self {
        self.blend(mask, self.map(u64::wrapping_neg))
    }

    #[inline(never)]
    fn zeros(self) -> u8 {
        self.mask(|a| a == 0)
    }

    #[inline(never)]
    fn negatives(self) -> u8 {
        self.mask(|a| a >> 63 == 1)
    }
}
