//! Curves whose points the kernels take.

use super::coordinate::Coordinate;
use super::eight::Eight;
use super::instruction_set::InstructionSet;
use super::kernels::Kernels;
use crate::isa::Isa;
use crate::raw::Limbs;
use crate::{CurveAffine, Fq, Fq2, Fr, G1Affine, G2Affine, dispatch};

/// A curve whose points the kernels take.
///
/// A generic function is compiled in every crate that calls it, and the kernels of all instruction sets take minutes.
/// What other crates reach kernels through are therefore methods of the curves ([`SimdCurve`],
/// [`MsmCurve`](crate::msm::MsmCurve), [`FixedBaseCurve`](crate::fixed_base::FixedBaseCurve)), which have no type
/// parameters and are compiled here, once.
pub trait SimdCurve: CurveAffine<ScalarExt = Fr> + Limbs {
    /// 64-bit words of a packed point.
    const ROW: usize;
    /// Coordinates of eight points, with the instructions of `I`.
    type Coordinate<I: InstructionSet>: Kernels;

    /// Converts rows of canonical coordinates in place, from the Montgomery form of halo2curves to that of the kernels.
    ///
    /// # Panics
    /// When the instruction set is not available.
    fn import_rows(isa: Isa, rows: &mut [u64]);
}

macro_rules! simd_curve {
    ($curve:ty, $field:ty, $coordinate:ident) => {
        impl SimdCurve for $curve {
            const ROW: usize = 2 * <Eight<$field> as Coordinate>::WORDS;
            type Coordinate<I: InstructionSet> = I::$coordinate;

            fn import_rows(isa: Isa, rows: &mut [u64]) {
                isa.check();
                // SAFETY: the instruction set was checked.
                unsafe { dispatch!(isa, L => Self::Coordinate::<L>::import_rows(rows), Portable => {}) }
            }
        }
    };
}

simd_curve!(G1Affine, Fq, G1);
simd_curve!(G2Affine, Fq2, G2);
