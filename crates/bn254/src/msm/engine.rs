//! Which kernels a sum runs on, and what a curve needs for it.

use super::{Sum, Workers};
use crate::fixed_base::{self, Tables};
use crate::raw::Limbs;
use crate::simd::coordinate::{Coordinate, Pair};
use crate::simd::eight::Eight;
use crate::simd::field52::{Field52, Q};
use crate::simd::kernels::Kernels;
use crate::simd::lanes::Emulated;
use crate::simd::outlined::Outlined;
#[cfg(target_arch = "x86_64")]
use crate::simd::{avx2, avx512};
use crate::{CurveAffine, Fq, Fq2, Fr, G1Affine, G2Affine, simd};

/// Kernels for sums of points and for transforms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Engine {
    /// AVX-512 IFMA, eight points at a time in radix 2^52.
    Ifma,
    /// AVX-512 without IFMA: the same, with products by doubles.
    Avx512,
    /// AVX2 and FMA, likewise.
    Avx2,
    /// The arithmetic of halo2curves.
    Portable,
    /// The radix-2^52 arithmetic in plain Rust: slow, to test it where the instructions are missing.
    Emulated,
}

impl Engine {
    /// The fastest one that this processor runs, and that is allowed (see [`crate::simd`]).
    pub fn best() -> Self {
        Self::all()[0]
    }

    /// Every engine that this processor runs, the fastest first.
    pub fn all() -> Vec<Self> {
        let all = [Self::Ifma, Self::Avx512, Self::Avx2, Self::Portable, Self::Emulated];
        all.into_iter().filter(|engine| engine.runs()).collect()
    }

    fn runs(self) -> bool {
        match self {
            Self::Ifma => simd::has_ifma(),
            Self::Avx512 => simd::has_avx512(),
            Self::Avx2 => simd::has_avx2(),
            Self::Portable | Self::Emulated => true,
        }
    }

    /// # Panics
    /// When this processor does not run the engine.
    pub(crate) fn check(self) {
        assert!(self.runs(), "this processor has no instructions for {self:?}");
    }
}

/// A curve whose points the kernels take.
pub trait MsmCurve: CurveAffine<ScalarExt = Fr> + Limbs {
    /// 64-bit words of a packed point.
    const ROW: usize;
    /// Coordinates with AVX-512 IFMA.
    type Ifma: Kernels;
    /// Coordinates with AVX-512 without IFMA.
    type Avx512: Kernels;
    /// Coordinates with AVX2 and FMA.
    type Avx2: Kernels;
    /// Coordinates with halo2curves.
    type Portable: Kernels;
    /// Coordinates in emulated radix 2^52.
    type Emulated: Kernels;

    /// Converts rows of canonical coordinates in place, from the Montgomery form of halo2curves to the engine's.
    ///
    /// # Panics
    /// When the processor lacks the instructions of the engine.
    fn import_rows(engine: Engine, rows: &mut [u64]);

    /// Works out one share of a sum.
    #[doc(hidden)]
    fn work_share(sum: &Sum<'_, Self>, share: usize, workers: &mut Workers);

    /// The tables of a base point for so many places.
    #[doc(hidden)]
    fn tables(base: Self, places: u32, engine: Engine) -> Tables<Self>;

    /// Appends multiples of a base point; `done` is told how many were finished since its last call.
    #[doc(hidden)]
    fn append_multiples(
        tables: &Tables<Self>,
        scalars: &[Fr],
        points: &mut Vec<Self>,
        done: &(dyn Fn(u64) + Sync),
    );
}

/// The methods of a curve. A generic function is compiled in every crate that calls it, and the kernels of five engines take
/// minutes, so other crates reach them through functions without type parameters, which are compiled here.
macro_rules! compiled_here {
    () => {
        fn import_rows(engine: Engine, rows: &mut [u64]) {
            engine.check();
            // SAFETY: the engine was checked.
            unsafe {
                match engine {
                    Engine::Ifma => Self::Ifma::import_rows(rows),
                    Engine::Avx512 => Self::Avx512::import_rows(rows),
                    Engine::Avx2 => Self::Avx2::import_rows(rows),
                    Engine::Portable => {}
                    Engine::Emulated => Self::Emulated::import_rows(rows),
                }
            }
        }

        fn work_share(sum: &Sum<'_, Self>, share: usize, workers: &mut Workers) {
            sum.work_share(share, workers);
        }

        fn tables(base: Self, places: u32, engine: Engine) -> Tables<Self> {
            Tables::new(base, places, engine)
        }

        fn append_multiples(
            tables: &Tables<Self>,
            scalars: &[Fr],
            points: &mut Vec<Self>,
            done: &(dyn Fn(u64) + Sync),
        ) {
            fixed_base::append_multiples(tables, scalars, points, done);
        }
    };
}

/// Where there are no such instructions the engines are never chosen; any type does.
#[cfg(not(target_arch = "x86_64"))]
mod words {
    pub type Ifma = super::Emulated;
    pub type Avx512 = super::Emulated;
    pub type Avx2 = super::Emulated;
}
#[cfg(target_arch = "x86_64")]
mod words {
    pub type Ifma = super::avx512::Ifma;
    pub type Avx512 = super::avx512::Avx512<false>;
    pub type Avx2 = super::avx2::Avx2;
}
#[cfg(target_arch = "x86_64")]
type Inlined<F> = F;
#[cfg(not(target_arch = "x86_64"))]
type Inlined<F> = Outlined<F>;

impl MsmCurve for G1Affine {
    const ROW: usize = 2 * <Eight<Fq> as Coordinate>::WORDS;
    type Ifma = Inlined<Field52<words::Ifma, Q>>;
    type Avx512 = Inlined<Field52<words::Avx512, Q>>;
    type Avx2 = Inlined<Field52<words::Avx2, Q>>;
    type Portable = Eight<Fq>;
    type Emulated = Outlined<Field52<Emulated, Q>>;

    compiled_here!();
}

impl MsmCurve for G2Affine {
    const ROW: usize = 2 * <Eight<Fq2> as Coordinate>::WORDS;
    type Ifma = Inlined<Pair<words::Ifma>>;
    type Avx512 = Inlined<Pair<words::Avx512>>;
    type Avx2 = Inlined<Pair<words::Avx2>>;
    type Portable = Eight<Fq2>;
    type Emulated = Outlined<Pair<Emulated>>;

    compiled_here!();
}
