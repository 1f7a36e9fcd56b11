//! Products by doubles in AVX-512 registers, for processors without IFMA.
//!
//! The multiplications are calls, as in [`super::avx2`]. With 32 registers they need no care about the order of products.

use std::arch::x86_64::*;

use super::avx512::Avx512;
use super::field52::{Field52, Modulus};
use super::fused::{self, Fused};
use super::lanes::Lanes;

impl<const IFMA: bool> Fused for Avx512<IFMA> {
    type Doubles = __m512d;

    #[inline(always)]
    unsafe fn splat(word: u64) -> Self {
        // SAFETY: the caller promises the instructions.
        Self(unsafe { _mm512_set1_epi64(word.cast_signed()) })
    }

    #[inline(always)]
    fn doubles(self) -> __m512d {
        // SAFETY: the value shows the instructions, here and below.
        unsafe { _mm512_castsi512_pd(self.0) }
    }

    #[inline(always)]
    fn bits(doubles: __m512d) -> Self {
        // SAFETY: see `doubles`.
        Self(unsafe { _mm512_castpd_si512(doubles) })
    }

    #[inline(always)]
    fn fma(a: __m512d, b: __m512d, c: __m512d) -> __m512d {
        // SAFETY: see `doubles`.
        unsafe { _mm512_fmadd_pd(a, b, c) }
    }

    #[inline(always)]
    fn difference(a: __m512d, b: __m512d) -> __m512d {
        // SAFETY: see `doubles`.
        unsafe { _mm512_sub_pd(a, b) }
    }

    #[inline(always)]
    fn larger(a: __m512d, b: __m512d) -> __m512d {
        // SAFETY: see `doubles`.
        unsafe { _mm512_max_pd(a, b) }
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.add(other)
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        self.sub(other)
    }

    #[inline(always)]
    fn both(self, other: Self) -> Self {
        self.and(other)
    }

    #[inline(always)]
    fn either(self, other: Self) -> Self {
        self.or(other)
    }

    #[inline(always)]
    fn above52(self) -> Self {
        self.shr::<52>()
    }
}

#[target_feature(enable = "avx512f,avx512dq")]
#[inline(never)]
fn multiply<W: Fused, M: Modulus, const K: usize>(a: &[[W; 5]; K], b: &[[W; 5]; K]) -> [[W; 5]; K] {
    // SAFETY: the values show the instructions, here and below.
    unsafe { fused::mul::<M, W, K>(a, b) }
}

#[target_feature(enable = "avx512f,avx512dq")]
#[inline(never)]
fn square<W: Fused, M: Modulus, const K: usize>(a: &[[W; 5]; K]) -> [[W; 5]; K] {
    // SAFETY: see `multiply`.
    unsafe { fused::sqr::<M, W, K>(a) }
}

#[target_feature(enable = "avx512f,avx512dq")]
#[inline(never)]
fn add_products<W: Fused>(sum: &[W; 10], a: &[W; 5], b: &[W; 5]) -> [W; 10] {
    fused::product_onto(*sum, a, b)
}

#[target_feature(enable = "avx512f,avx512dq")]
#[inline(never)]
fn reduce<W: Fused, M: Modulus, const K: usize>(t: &[[W; 10]; K]) -> [[W; 5]; K] {
    fused::montgomery::<M, W, K>(*t)
}

type Element<const IFMA: bool, M> = Field52<Avx512<IFMA>, M>;

#[inline(always)]
fn limbs<const IFMA: bool, M: Modulus, const K: usize>(a: &[Element<IFMA, M>; K]) -> [[Avx512<IFMA>; 5]; K] {
    let mut limbs = [a[0].limbs; K];
    for k in 1..K {
        limbs[k] = a[k].limbs;
    }
    limbs
}

#[inline(always)]
fn elements<const IFMA: bool, M: Modulus, const K: usize>(
    limbs: &[[Avx512<IFMA>; 5]; K],
) -> [Element<IFMA, M>; K] {
    let mut elements = [Field52::new(limbs[0]); K];
    for k in 1..K {
        elements[k] = Field52::new(limbs[k]);
    }
    elements
}

/// See [`Lanes::mul`].
#[inline(always)]
pub fn mul<const IFMA: bool, M: Modulus, const K: usize>(
    a: &[Element<IFMA, M>; K],
    b: &[Element<IFMA, M>; K],
) -> [Element<IFMA, M>; K] {
    // SAFETY: see `multiply`, here and below.
    elements(&unsafe { multiply::<_, M, K>(&limbs(a), &limbs(b)) })
}

/// See [`Lanes::sqr`].
#[inline(always)]
pub fn sqr<const IFMA: bool, M: Modulus, const K: usize>(a: &[Element<IFMA, M>; K]) -> [Element<IFMA, M>; K] {
    // SAFETY: see `mul`.
    elements(&unsafe { square::<_, M, K>(&limbs(a)) })
}

/// See [`Lanes::product_onto`].
#[inline(always)]
pub fn product_onto<const IFMA: bool>(
    sum: &[Avx512<IFMA>; 10],
    a: &[Avx512<IFMA>; 5],
    b: &[Avx512<IFMA>; 5],
) -> [Avx512<IFMA>; 10] {
    // SAFETY: see `mul`.
    unsafe { add_products(sum, a, b) }
}

/// See [`Lanes::montgomery`].
#[inline(always)]
pub fn montgomery<const IFMA: bool, M: Modulus, const K: usize>(
    t: &[[Avx512<IFMA>; 10]; K],
) -> [Element<IFMA, M>; K] {
    // SAFETY: see `mul`.
    elements(&unsafe { reduce::<_, M, K>(t) })
}
