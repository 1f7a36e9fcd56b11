//! Points as ICICLE wants and returns them.
//!
//! In: affine, coordinates canonical (not Montgomery) and little-endian, infinity all zero. Out: homogeneous projective
//! (X/Z, Y/Z), canonical, infinity with Z = 0. Everything that comes out is checked to be on the curve.

use std::ffi::{c_int, c_void};
use std::marker::PhantomData;

use bn254::{CurveAffine, Field, Fq, Fq2, Fr, G1, G1Affine, G2, G2Affine, Group};
use rayon::prelude::*;

use crate::Error;
use crate::abi::{CurveApi, MsmConfig};
use crate::session::OnDevice;

const COORDINATE: usize = 32;

pub(crate) type MsmFunction =
    unsafe extern "C" fn(*const c_void, *const c_void, c_int, *const MsmConfig, *mut c_void) -> c_int;

/// G1 or G2.
pub(crate) trait Curve: 'static {
    /// A point in ICICLE's form.
    type Bytes: OnDevice;
    type Affine: CurveAffine<ScalarExt = Fr>;
    type Sum: Group<Scalar = Fr> + Copy + Send + PartialEq + From<Self::Affine>;
    /// Name of the function that sums.
    const MSM: &'static str;

    fn function(api: &CurveApi) -> MsmFunction;

    fn bytes(point: &Self::Affine) -> Self::Bytes;

    /// The affine point of X, Y, Z; `None` when a coordinate is not reduced.
    fn point(coordinates: &[u8]) -> Option<Self::Affine>;

    fn zero() -> Self::Sum {
        Self::Sum::identity()
    }

    fn add(a: &Self::Sum, b: &Self::Sum) -> Self::Sum {
        *a + b
    }

    /// Points in ICICLE's form.
    fn all_bytes(points: &[Self::Affine]) -> Vec<Self::Bytes> {
        points.par_iter().with_min_len(1 << 8).map(Self::bytes).collect()
    }
}

/// The curve over Fq.
pub(crate) struct InG1;

/// The curve over Fq2.
pub(crate) struct InG2;

impl Curve for InG1 {
    type Bytes = [u8; 64];
    type Affine = G1Affine;
    type Sum = G1;
    const MSM: &'static str = "bn254_msm";

    fn function(api: &CurveApi) -> MsmFunction {
        api.msm_g1
    }

    fn bytes(point: &G1Affine) -> [u8; 64] {
        let mut bytes = [0; 64];
        put(&mut bytes, &[point.x, point.y]);
        bytes
    }

    fn point(coordinates: &[u8]) -> Option<G1Affine> {
        let [x, y, z] = [0, 1, 2].map(|place| take(coordinates, place));
        Some(match Option::from(z?.invert()) {
            Some(inverse) => {
                let inverse: Fq = inverse;
                G1Affine { x: x? * inverse, y: y? * inverse }
            }
            None => G1Affine::default(),
        })
    }
}

impl Curve for InG2 {
    type Bytes = [u8; 128];
    type Affine = G2Affine;
    type Sum = G2;
    const MSM: &'static str = "bn254_g2_msm";

    fn function(api: &CurveApi) -> MsmFunction {
        api.msm_g2
    }

    fn bytes(point: &G2Affine) -> [u8; 128] {
        let mut bytes = [0; 128];
        put(&mut bytes, &[*point.x.c0(), *point.x.c1(), *point.y.c0(), *point.y.c1()]);
        bytes
    }

    fn point(coordinates: &[u8]) -> Option<G2Affine> {
        let pair = |place| Some(Fq2::new(take(coordinates, place)?, take(coordinates, place + 1)?));
        let [x, y, z] = [0, 2, 4].map(pair);
        Some(match Option::from(z?.invert()) {
            Some(inverse) => {
                let inverse: Fq2 = inverse;
                G2Affine { x: x? * inverse, y: y? * inverse }
            }
            None => G2Affine::default(),
        })
    }
}

/// Infinity is (0, 0) in halo2curves too, so it needs no case of its own.
fn put(bytes: &mut [u8], coordinates: &[Fq]) {
    for (bytes, coordinate) in bytes.chunks_exact_mut(COORDINATE).zip(coordinates) {
        bytes.copy_from_slice(&bn254::fq_to_le_bytes(coordinate));
    }
}

fn take(coordinates: &[u8], place: usize) -> Option<Fq> {
    let bytes = coordinates.get(COORDINATE * place..)?.first_chunk()?;
    bn254::fq_from_le_bytes(bytes).ok()
}

/// Room for a projective point of either curve; aligned for whatever moves the library's compiler chose.
#[repr(C, align(32))]
pub(crate) struct Result3<C: Curve> {
    bytes: [u8; 6 * COORDINATE],
    curve: PhantomData<C>,
}

impl<C: Curve> Default for Result3<C> {
    /// Not a point: a call that writes nothing is found out.
    fn default() -> Self {
        Self { bytes: [0xff; 6 * COORDINATE], curve: PhantomData }
    }
}

impl<C: Curve> Result3<C> {
    pub(crate) fn as_mut_ptr(&mut self) -> *mut c_void {
        self.bytes.as_mut_ptr().cast()
    }

    /// # Errors
    /// [`Error::NotOnCurve`].
    pub(crate) fn point(&self) -> Result<C::Sum, Error> {
        let point = C::point(&self.bytes).filter(|point| bool::from(point.is_on_curve()));
        point.map(C::Sum::from).ok_or(Error::NotOnCurve)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bn254::Curve as _;

    #[test]
    fn homogeneous_coordinates_are_divided_by_z() {
        let point = (G1::generator() * Fr::from(5)).to_affine();
        let z = Fq::from(77);
        let mut result = Result3::<InG1>::default();
        put(&mut result.bytes, &[point.x * z, point.y * z, z]);
        assert_eq!(result.point(), Ok(point.into()));
        put(&mut result.bytes, &[Fq::ZERO, Fq::ONE, Fq::ZERO]);
        assert_eq!(result.point(), Ok(G1::identity()));
    }

    #[test]
    fn what_is_not_a_point_is_refused() {
        assert_eq!(Result3::<InG1>::default().point(), Err(Error::NotOnCurve));
        assert_eq!(Result3::<InG2>::default().point(), Err(Error::NotOnCurve));
        let mut result = Result3::<InG1>::default();
        put(&mut result.bytes, &[Fq::ONE, Fq::ONE, Fq::ONE]);
        assert_eq!(result.point(), Err(Error::NotOnCurve));
    }
}
