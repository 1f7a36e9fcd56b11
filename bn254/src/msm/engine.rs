//! Which kernels a sum runs on, and what a curve needs for it.

use crate::raw::Limbs;
#[cfg(target_arch = "x86_64")]
use crate::simd::avx512::Avx512;
use crate::simd::coordinate::{Coordinate, Pair};
use crate::simd::eight::Eight;
use crate::simd::field52::{Field52, Q};
use crate::simd::kernels::Kernels;
use crate::simd::lanes::Emulated;
use crate::simd::outlined::Outlined;
use crate::{CurveAffine, Fq, Fq2, Fr, G1Affine, G2Affine, simd};

/// Kernels for sums of points and for transforms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Engine {
    /// AVX-512 IFMA, eight points at a time in radix 2^52.
    Ifma,
    /// The arithmetic of halo2curves.
    Portable,
    /// The radix-2^52 arithmetic in plain Rust: slow, to test it where the instructions are missing.
    Emulated,
}

impl Engine {
    /// The fastest one that this processor runs.
    pub fn best() -> Self {
        if simd::has_ifma() { Self::Ifma } else { Self::Portable }
    }

    /// Every engine that this processor runs.
    pub fn all() -> Vec<Self> {
        let ifma = simd::has_ifma().then_some(Self::Ifma);
        ifma.into_iter().chain([Self::Portable, Self::Emulated]).collect()
    }

    /// # Panics
    /// When this processor does not run the engine.
    pub(crate) fn check(self) {
        assert!(self != Self::Ifma || simd::has_ifma(), "this processor has no AVX-512 IFMA");
    }
}

/// A curve whose points the kernels take.
pub trait MsmCurve: CurveAffine<ScalarExt = Fr> + Limbs {
    /// 64-bit words of a packed point.
    const ROW: usize;
    /// Coordinates with AVX-512 IFMA.
    type Ifma: Kernels;
    /// Coordinates with halo2curves.
    type Portable: Kernels;
    /// Coordinates in emulated radix 2^52.
    type Emulated: Kernels;

    /// Converts rows of canonical coordinates in place, from the Montgomery form of halo2curves to the engine's.
    fn import_rows(engine: Engine, rows: &mut [u64]) {
        engine.check();
        // SAFETY: the engine was checked.
        unsafe {
            match engine {
                Engine::Ifma => Self::Ifma::import_rows(rows),
                Engine::Portable => {}
                Engine::Emulated => Self::Emulated::import_rows(rows),
            }
        }
    }
}

/// Where there is no AVX-512 the engine is never chosen; any type does.
#[cfg(target_arch = "x86_64")]
type Fast = Avx512;
#[cfg(not(target_arch = "x86_64"))]
type Fast = Emulated;
#[cfg(target_arch = "x86_64")]
type Inlined<F> = F;
#[cfg(not(target_arch = "x86_64"))]
type Inlined<F> = Outlined<F>;

impl MsmCurve for G1Affine {
    const ROW: usize = 2 * <Eight<Fq> as Coordinate>::WORDS;
    type Ifma = Inlined<Field52<Fast, Q>>;
    type Portable = Eight<Fq>;
    type Emulated = Outlined<Field52<Emulated, Q>>;
}

impl MsmCurve for G2Affine {
    const ROW: usize = 2 * <Eight<Fq2> as Coordinate>::WORDS;
    type Ifma = Inlined<Pair<Fast>>;
    type Portable = Eight<Fq2>;
    type Emulated = Outlined<Pair<Emulated>>;
}
