//! Four words in an AVX2 register, for products by doubles and for [`super::avx2`].
//!
//! As in [`super::avx512`], the methods are `inline(always)` and are called from functions with `#[target_feature]` only.

use std::arch::asm;
use std::arch::x86_64::*;

use super::fused::Fused;

/// Four words in a register. A value exists only where the processor has AVX2 and FMA.
#[derive(Clone, Copy)]
pub struct Quad(__m256i);

impl Fused for Quad {
    type Doubles = __m256d;

    #[inline(always)]
    unsafe fn splat(word: u64) -> Self {
        // SAFETY: the caller promises the instructions.
        Self(unsafe { _mm256_set1_epi64x(word.cast_signed()) })
    }

    #[inline(always)]
    fn doubles(self) -> __m256d {
        // SAFETY: the value shows the instructions, here and below.
        unsafe { _mm256_castsi256_pd(self.0) }
    }

    #[inline(always)]
    fn bits(doubles: __m256d) -> Self {
        // SAFETY: see `doubles`.
        Self(unsafe { _mm256_castpd_si256(doubles) })
    }

    #[inline(always)]
    fn fma(a: __m256d, b: __m256d, c: __m256d) -> __m256d {
        // SAFETY: see `doubles`.
        unsafe { _mm256_fmadd_pd(a, b, c) }
    }

    #[inline(always)]
    fn difference(a: __m256d, b: __m256d) -> __m256d {
        // SAFETY: see `doubles`.
        unsafe { _mm256_sub_pd(a, b) }
    }

    #[inline(always)]
    fn larger(a: __m256d, b: __m256d) -> __m256d {
        // SAFETY: see `doubles`.
        unsafe { _mm256_max_pd(a, b) }
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        // SAFETY: see `doubles`.
        Self(unsafe { _mm256_add_epi64(self.0, other.0) })
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        // SAFETY: see `doubles`.
        Self(unsafe { _mm256_sub_epi64(self.0, other.0) })
    }

    #[inline(always)]
    fn both(self, other: Self) -> Self {
        // SAFETY: see `doubles`.
        Self(unsafe { _mm256_and_si256(self.0, other.0) })
    }

    #[inline(always)]
    fn either(self, other: Self) -> Self {
        // SAFETY: see `doubles`.
        Self(unsafe { _mm256_or_si256(self.0, other.0) })
    }

    #[inline(always)]
    fn above52(self) -> Self {
        // SAFETY: see `doubles`.
        Self(unsafe { _mm256_srli_epi64::<52>(self.0) })
    }

    #[inline(always)]
    fn product_onto(
        (low, high): (Self, Self),
        a: __m256d,
        b: __m256d,
        [two_104, start]: [__m256d; 2],
    ) -> (Self, Self) {
        // SAFETY: see `doubles`.
        let (low, high) = unsafe { product_onto(low.0, high.0, a, b, two_104, start) };
        (Self(low), Self(high))
    }
}

/// What [`Fused::product_onto`] does by default. Not `pure`, and so where it is written.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn product_onto(
    mut low: __m256i,
    mut high: __m256i,
    a: __m256d,
    b: __m256d,
    two_104: __m256d,
    start: __m256d,
) -> (__m256i, __m256i) {
    // SAFETY: these instructions touch the operands only.
    unsafe {
        asm!(
            "vmovapd {upper}, {two_104}",
            "vfmadd231pd {upper}, {a}, {b}",
            "vsubpd {lower}, {start}, {upper}",
            "vpaddq {high}, {high}, {upper}",
            "vfmadd231pd {lower}, {a}, {b}",
            "vpsubq {low}, {low}, {lower}",
            upper = out(ymm_reg) _,
            lower = out(ymm_reg) _,
            low = inout(ymm_reg) low,
            high = inout(ymm_reg) high,
            a = in(ymm_reg) a,
            b = in(ymm_reg) b,
            two_104 = in(ymm_reg) two_104,
            start = in(ymm_reg) start,
            options(nomem, nostack, preserves_flags)
        );
    }
    (low, high)
}

impl Quad {
    /// # Safety
    /// The processor has the instructions; four words can be read.
    #[inline(always)]
    pub(super) unsafe fn load(words: *const u64) -> Self {
        // SAFETY: the caller promises the instructions and the words.
        Self(unsafe { _mm256_loadu_si256(words.cast()) })
    }

    /// # Safety
    /// Four words can be written.
    #[inline(always)]
    pub(super) unsafe fn store(self, words: *mut u64) {
        // SAFETY: the value shows the instructions; the caller promises the words.
        unsafe { _mm256_storeu_si256(words.cast(), self.0) };
    }

    /// Rows become columns.
    #[inline(always)]
    pub(super) fn transposed(rows: [Self; 4]) -> [Self; 4] {
        // SAFETY: the values show the instructions, here and below.
        unsafe {
            // Words 0 and 2 of two rows side by side, and words 1 and 3.
            let even =
                [_mm256_unpacklo_epi64(rows[0].0, rows[1].0), _mm256_unpacklo_epi64(rows[2].0, rows[3].0)];
            let odd =
                [_mm256_unpackhi_epi64(rows[0].0, rows[1].0), _mm256_unpackhi_epi64(rows[2].0, rows[3].0)];
            [
                Self(_mm256_permute2x128_si256::<0x20>(even[0], even[1])),
                Self(_mm256_permute2x128_si256::<0x20>(odd[0], odd[1])),
                Self(_mm256_permute2x128_si256::<0x31>(even[0], even[1])),
                Self(_mm256_permute2x128_si256::<0x31>(odd[0], odd[1])),
            ]
        }
    }

    /// Shift to the right by the same count in every lane.
    #[inline(always)]
    pub(super) fn shr_by(self, bits: u32) -> Self {
        // SAFETY: see `transposed`.
        Self(unsafe { _mm256_srl_epi64(self.0, _mm_cvtsi32_si128(bits.cast_signed())) })
    }

    /// Shift to the left by the same count in every lane.
    #[inline(always)]
    pub(super) fn shl_by(self, bits: u32) -> Self {
        // SAFETY: see `transposed`.
        Self(unsafe { _mm256_sll_epi64(self.0, _mm_cvtsi32_si128(bits.cast_signed())) })
    }

    /// Lane i gets what lane `i ^ BIT` has; `BIT` is 1 or 2.
    #[inline(always)]
    pub(super) fn swap<const BIT: usize>(self) -> Self {
        // SAFETY: see `transposed`.
        Self(unsafe {
            match BIT {
                1 => _mm256_permute4x64_epi64::<0b10_11_00_01>(self.0),
                _ => _mm256_permute4x64_epi64::<0b01_00_11_10>(self.0),
            }
        })
    }

    /// The entry that the low three bits of each lane name, of a table of eight.
    #[inline(always)]
    pub(super) fn look_up(self, table: [Self; 2]) -> Self {
        // SAFETY: see `transposed`.
        unsafe {
            // Entry e of a register is its halves 2·e and 2·e + 1; a permutation of halves looks at three bits.
            let even = _mm256_add_epi64(self.0, self.0);
            let odd = _mm256_slli_epi64::<32>(_mm256_add_epi64(even, _mm256_set1_epi64x(1)));
            let halves = _mm256_or_si256(_mm256_and_si256(even, _mm256_set1_epi64x(6)), odd);
            let low = _mm256_permutevar8x32_epi32(table[0].0, halves);
            let high = _mm256_permutevar8x32_epi32(table[1].0, halves);
            Self(low).chosen(Self(_mm256_slli_epi64::<61>(self.0)), Self(high))
        }
    }

    /// `other` in the lanes in which the highest bit of `which` is set, `self` in the others.
    #[inline(always)]
    pub(super) fn chosen(self, which: Self, other: Self) -> Self {
        // SAFETY: see `transposed`.
        unsafe {
            let (a, b) = (_mm256_castsi256_pd(self.0), _mm256_castsi256_pd(other.0));
            Self(_mm256_castpd_si256(_mm256_blendv_pd(a, b, _mm256_castsi256_pd(which.0))))
        }
    }

    /// All ones in the lanes that the low four bits of `mask` name.
    #[inline(always)]
    pub(super) fn lanes_of(self, mask: u8) -> Self {
        // SAFETY: see `transposed`.
        unsafe {
            let bits = _mm256_set_epi64x(8, 4, 2, 1);
            let mask = _mm256_set1_epi64x(i64::from(mask));
            Self(_mm256_cmpeq_epi64(_mm256_and_si256(mask, bits), bits))
        }
    }

    /// The lanes that are zero.
    #[inline(always)]
    pub(super) fn zeros(self) -> u8 {
        // SAFETY: see `transposed`.
        Self(unsafe { _mm256_cmpeq_epi64(self.0, _mm256_setzero_si256()) }).negatives()
    }

    /// The lanes whose highest bit is set.
    #[inline(always)]
    pub(super) fn negatives(self) -> u8 {
        // SAFETY: see `transposed`.
        unsafe { _mm256_movemask_pd(_mm256_castsi256_pd(self.0)) as u8 }
    }

    /// -self modulo 2^64 in the lanes in which `which` is all ones, `self` in those in which it is zero.
    #[inline(always)]
    pub(super) fn negated(self, which: Self) -> Self {
        // SAFETY: see `transposed`.
        Self(unsafe { _mm256_xor_si256(self.0, which.0) }).minus(which)
    }
}
