//! [`Lanes`] as one AVX-512 register.
//!
//! The methods are `inline(always)` and are called from functions with `#[target_feature]` only (see [`super::kernels`]), into
//! which they compile to one instruction each.

use std::arch::x86_64::*;

use super::field52::{Field52, Modulus};
use super::fused;
use super::fused512;
use super::lanes::Lanes;

/// Eight words in a register. A value exists only where the processor has AVX-512 F and DQ, and VBMI2 and IFMA for those that are
/// [`Ifma`]; others multiply by doubles.
#[derive(Clone, Copy)]
pub struct Avx512<const IFMA: bool>(pub(super) __m512i);

/// Words of a processor with IFMA.
pub type Ifma = Avx512<true>;

/// Rows become columns.
///
/// # Safety
/// The processor has AVX-512F.
#[inline(always)]
unsafe fn transpose(rows: [__m512i; 8]) -> [__m512i; 8] {
    // SAFETY: the caller promises the instructions.
    unsafe {
        let mut pairs = rows;
        let mut i = 0;
        while i < 8 {
            pairs[i] = _mm512_unpacklo_epi64(rows[i], rows[i + 1]);
            pairs[i + 1] = _mm512_unpackhi_epi64(rows[i], rows[i + 1]);
            i += 2;
        }
        // Pair 2i + j has words j, j + 2, j + 4, j + 6 of rows 2i and 2i + 1 side by side.
        let mut quads = rows;
        let mut half = 0;
        while half < 8 {
            let mut j = 0;
            while j < 2 {
                let (a, b) = (pairs[half + j], pairs[half + 2 + j]);
                quads[half + j] = _mm512_shuffle_i64x2::<0x88>(a, b);
                quads[half + j + 2] = _mm512_shuffle_i64x2::<0xdd>(a, b);
                j += 1;
            }
            half += 4;
        }
        let mut columns = rows;
        let mut j = 0;
        while j < 2 {
            columns[j] = _mm512_shuffle_i64x2::<0x88>(quads[j], quads[4 + j]);
            columns[j + 4] = _mm512_shuffle_i64x2::<0xdd>(quads[j], quads[4 + j]);
            columns[j + 2] = _mm512_shuffle_i64x2::<0x88>(quads[2 + j], quads[6 + j]);
            columns[j + 6] = _mm512_shuffle_i64x2::<0xdd>(quads[2 + j], quads[6 + j]);
            j += 1;
        }
        columns
    }
}

impl<const IFMA: bool> Lanes for Avx512<IFMA> {
    #[inline(always)]
    unsafe fn splat(word: u64) -> Self {
        // SAFETY: the caller promises the instructions.
        Self(unsafe { _mm512_set1_epi64(word.cast_signed()) })
    }

    #[inline(always)]
    unsafe fn load(words: &[u64; 8]) -> Self {
        // SAFETY: the caller promises the instructions; eight words are 64 bytes.
        Self(unsafe { _mm512_loadu_si512(words.as_ptr().cast()) })
    }

    #[inline(always)]
    unsafe fn gather(rows: &[*const u64; 8]) -> [Self; 8] {
        // SAFETY: the caller promises the instructions and eight readable words in each row.
        unsafe {
            let mut read = [_mm512_setzero_si512(); 8];
            let mut i = 0;
            while i < 8 {
                read[i] = _mm512_loadu_si512(rows[i].cast());
                i += 1;
            }
            let c = transpose(read);
            [Self(c[0]), Self(c[1]), Self(c[2]), Self(c[3]), Self(c[4]), Self(c[5]), Self(c[6]), Self(c[7])]
        }
    }

    #[inline(always)]
    unsafe fn gather_four(rows: &[*const u64; 8]) -> [Self; 4] {
        // SAFETY: the caller promises the instructions and four readable words in each row.
        unsafe {
            // Rows i and i + 4 side by side.
            let mut read = [_mm512_setzero_si512(); 4];
            let mut i = 0;
            while i < 4 {
                let low = _mm512_castsi256_si512(_mm256_loadu_si256(rows[i].cast()));
                read[i] = _mm512_inserti64x4::<1>(low, _mm256_loadu_si256(rows[i + 4].cast()));
                i += 1;
            }
            // Words 0 and 2 of two rows, then those of the rows four further on; and words 1 and 3.
            let even = [_mm512_unpacklo_epi64(read[0], read[1]), _mm512_unpacklo_epi64(read[2], read[3])];
            let odd = [_mm512_unpackhi_epi64(read[0], read[1]), _mm512_unpackhi_epi64(read[2], read[3])];
            let first = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
            let second = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
            [
                Self(_mm512_permutex2var_epi64(even[0], first, even[1])),
                Self(_mm512_permutex2var_epi64(odd[0], first, odd[1])),
                Self(_mm512_permutex2var_epi64(even[0], second, even[1])),
                Self(_mm512_permutex2var_epi64(odd[0], second, odd[1])),
            ]
        }
    }

    #[inline(always)]
    unsafe fn scatter(w: [Self; 8], rows: &[*mut u64; 8]) {
        // SAFETY: the values show the instructions; the caller promises eight writable words in each row.
        unsafe {
            let written = transpose([w[0].0, w[1].0, w[2].0, w[3].0, w[4].0, w[5].0, w[6].0, w[7].0]);
            let mut i = 0;
            while i < 8 {
                _mm512_storeu_si512(rows[i].cast(), written[i]);
                i += 1;
            }
        }
    }

    #[inline(always)]
    fn transposed(v: [Self; 8]) -> [Self; 8] {
        // SAFETY: the values show the instructions.
        let c = unsafe { transpose([v[0].0, v[1].0, v[2].0, v[3].0, v[4].0, v[5].0, v[6].0, v[7].0]) };
        [Self(c[0]), Self(c[1]), Self(c[2]), Self(c[3]), Self(c[4]), Self(c[5]), Self(c[6]), Self(c[7])]
    }

    #[inline(always)]
    fn store(self) -> [u64; 8] {
        let mut words = [0; 8];
        // SAFETY: the value shows the instructions; eight words are 64 bytes.
        unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), self.0) };
        words
    }

    #[inline(always)]
    fn madd_low(self, a: Self, b: Self) -> Self {
        if !IFMA {
            return self.add(fused::halves(a, b).0);
        }
        // SAFETY: the value shows the instructions, here and below.
        Self(unsafe { _mm512_madd52lo_epu64(self.0, a.0, b.0) })
    }

    #[inline(always)]
    fn madd_high(self, a: Self, b: Self) -> Self {
        if !IFMA {
            return self.add(fused::halves(a, b).1);
        }
        // SAFETY: see `madd_low`.
        Self(unsafe { _mm512_madd52hi_epu64(self.0, a.0, b.0) })
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: see `madd_low`.
        Self(unsafe { _mm512_add_epi64(self.0, other.0) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: see `madd_low`.
        Self(unsafe { _mm512_sub_epi64(self.0, other.0) })
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        // SAFETY: see `madd_low`.
        Self(unsafe { _mm512_and_si512(self.0, other.0) })
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        // SAFETY: see `madd_low`.
        Self(unsafe { _mm512_or_si512(self.0, other.0) })
    }

    #[inline(always)]
    fn shr<const BITS: u32>(self) -> Self {
        // SAFETY: see `madd_low`.
        Self(unsafe { _mm512_srli_epi64::<BITS>(self.0) })
    }

    #[inline(always)]
    fn sar<const BITS: u32>(self) -> Self {
        // SAFETY: see `madd_low`.
        Self(unsafe { _mm512_srai_epi64::<BITS>(self.0) })
    }

    #[inline(always)]
    fn shl<const BITS: u32>(self) -> Self {
        // SAFETY: see `madd_low`.
        Self(unsafe { _mm512_slli_epi64::<BITS>(self.0) })
    }

    #[inline(always)]
    fn shr_into<const BITS: u32>(self, high: Self) -> Self {
        if !IFMA {
            return self.shr_by(BITS).or(high.shl_by(64 - BITS));
        }
        // A variable count, since the immediate one would need another type of constant; LLVM folds it.
        // SAFETY: see `madd_low`.
        Self(unsafe { _mm512_shrdv_epi64(self.0, high.0, _mm512_set1_epi64(i64::from(BITS))) })
    }

    #[inline(always)]
    fn shr_by(self, bits: u32) -> Self {
        // SAFETY: see `madd_low`.
        Self(unsafe { _mm512_srl_epi64(self.0, _mm_cvtsi32_si128(bits.cast_signed())) })
    }

    #[inline(always)]
    fn shl_by(self, bits: u32) -> Self {
        // SAFETY: see `madd_low`.
        Self(unsafe { _mm512_sll_epi64(self.0, _mm_cvtsi32_si128(bits.cast_signed())) })
    }

    #[inline(always)]
    fn low_halves(self) -> [u32; 8] {
        let mut halves = [0; 8];
        // SAFETY: see `madd_low`; eight halves are 32 bytes.
        unsafe { _mm256_storeu_si256(halves.as_mut_ptr().cast(), _mm512_cvtepi64_epi32(self.0)) };
        halves
    }

    #[inline(always)]
    fn look_up(self, table: Self) -> Self {
        // SAFETY: see `madd_low`.
        Self(unsafe { _mm512_permutexvar_epi64(self.0, table.0) })
    }

    #[inline(always)]
    fn swap<const BIT: usize>(self) -> Self {
        const { assert!(BIT == 1 || BIT == 2 || BIT == 4) };
        // SAFETY: see `madd_low`.
        Self(unsafe {
            match BIT {
                1 => _mm512_permutex_epi64::<0b10_11_00_01>(self.0),
                2 => _mm512_permutex_epi64::<0b01_00_11_10>(self.0),
                _ => _mm512_shuffle_i64x2::<0b01_00_11_10>(self.0, self.0),
            }
        })
    }

    #[inline(always)]
    fn blend(self, mask: u8, other: Self) -> Self {
        // SAFETY: see `madd_low`.
        Self(unsafe { _mm512_mask_blend_epi64(mask, self.0, other.0) })
    }

    #[inline(always)]
    fn negate_where(self, mask: u8) -> Self {
        // SAFETY: see `madd_low`.
        Self(unsafe { _mm512_mask_sub_epi64(self.0, mask, _mm512_setzero_si512(), self.0) })
    }

    #[inline(always)]
    fn zeros(self) -> u8 {
        // SAFETY: see `madd_low`.
        unsafe { _mm512_testn_epi64_mask(self.0, self.0) }
    }

    #[inline(always)]
    fn negatives(self) -> u8 {
        // SAFETY: see `madd_low`.
        unsafe { _mm512_movepi64_mask(self.0) }
    }

    #[inline(always)]
    fn mul<M: Modulus, const K: usize>(
        a: &[Field52<Self, M>; K],
        b: &[Field52<Self, M>; K],
    ) -> Option<[Field52<Self, M>; K]> {
        if IFMA { None } else { Some(fused512::mul(a, b)) }
    }

    #[inline(always)]
    fn sqr<M: Modulus, const K: usize>(a: &[Field52<Self, M>; K]) -> Option<[Field52<Self, M>; K]> {
        if IFMA { None } else { Some(fused512::sqr(a)) }
    }

    #[inline(always)]
    fn product_onto(sum: &[Self; 10], a: &[Self; 5], b: &[Self; 5]) -> Option<[Self; 10]> {
        if IFMA { None } else { Some(fused512::product_onto(sum, a, b)) }
    }

    #[inline(always)]
    fn montgomery<M: Modulus, const K: usize>(t: &[[Self; 10]; K]) -> Option<[Field52<Self, M>; K]> {
        if IFMA { None } else { Some(fused512::montgomery(t)) }
    }
}
