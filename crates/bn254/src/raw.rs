//! Field elements and points as bytes in memory, without copying.
//!
//! Layout: an element of Fq or Fr is four 64-bit limbs, least significant first, in Montgomery form (value * 2^256 mod
//! p); Fq2 is c0 then c1; an affine point is x then y; infinity is all zero bytes. On a little-endian machine that is
//! what halo2curves keeps in memory, so a file of points can be mapped and used in place. The types of halo2curves are
//! not `repr(C)`: the constant assertions below stop the build, and [`layout_is_as_documented`] the program, should a
//! compiler ever order their fields in another way.

use std::mem::{align_of, offset_of, size_of};

use halo2curves::CurveAffine;

use crate::simd::field52::Modulus;
use crate::{Fq, Fq2, Fr, G1Affine, G2Affine};

#[cfg(not(target_endian = "little"))]
compile_error!("proofmill maps points from files and needs a little-endian machine");

/// Types that are nothing but limbs: any bytes of the right length and alignment are a value.
///
/// # Safety
/// The type has no padding, no invalid bit pattern and no interior mutability.
pub unsafe trait Limbs: Copy + Send + Sync + 'static {}

// SAFETY: every eight bytes are a u64.
unsafe impl Limbs for u64 {}

// SAFETY: every four bytes are a u32.
unsafe impl Limbs for u32 {}

// SAFETY: every two bytes are an i16.
unsafe impl Limbs for i16 {}

macro_rules! limbs {
    ($($kind:ty: $size:expr),*) => {
        $(
            const _: () = assert!(size_of::<$kind>() == $size && align_of::<$kind>() == 8);
            // SAFETY: the type holds limbs only, and the assertion above shows that they fill it.
            unsafe impl Limbs for $kind {}
        )*
    };
}

limbs!(Fr: 32, Fq: 32, Fq2: 64, G1Affine: 64, G2Affine: 128);
const _: () = assert!(offset_of!(G1Affine, x) == 0 && offset_of!(G1Affine, y) == 32);
const _: () = assert!(offset_of!(G2Affine, x) == 0 && offset_of!(G2Affine, y) == 64);
const _: () = assert!(offset_of!(Fq, 0) == 0 && offset_of!(Fr, 0) == 0);

/// The bytes of these values as they lie in memory.
pub fn as_bytes<T: Limbs>(values: &[T]) -> &[u8] {
    // SAFETY: `Limbs` types have no padding, so every byte is initialised; u8 needs no alignment.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// The bytes of these values as they lie in memory, to be written over: any bytes are a value.
pub fn as_bytes_mut<T: Limbs>(values: &mut [T]) -> &mut [u8] {
    let len = size_of_val(values);
    // SAFETY: as in `as_bytes`, and every bit pattern is a value of a `Limbs` type.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), len) }
}

/// These bytes as values, or `None` when address or length do not fit the type (points need a multiple of 8).
///
/// The values are not checked: limbs may be at or above the modulus and points off the curve.
pub fn from_bytes<T: Limbs>(bytes: &[u8]) -> Option<&[T]> {
    let aligned = bytes.as_ptr().addr().is_multiple_of(align_of::<T>());
    if !aligned || !bytes.len().is_multiple_of(size_of::<T>()) {
        return None;
    }
    // SAFETY: length and alignment were checked, and every bit pattern is a value of a `Limbs` type.
    Some(unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len() / size_of::<T>()) })
}

/// As [`from_bytes`], to be written.
pub fn from_bytes_mut<T: Limbs>(bytes: &mut [u8]) -> Option<&mut [T]> {
    from_bytes::<T>(bytes)?;
    // SAFETY: length and alignment were checked, every bit pattern is a value of a `Limbs` type, and the borrow is exclusive.
    Some(unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len() / size_of::<T>()) })
}

/// q, least significant limb first.
const Q: [u64; 4] = <crate::simd::field52::Q as Modulus>::WORDS;

/// Whether the limbs of this element are below the modulus.
pub fn is_reduced(value: &Fq) -> bool {
    value.0.iter().rev().lt(Q.iter().rev())
}

/// Whether a G1 point from raw bytes is canonical and on the curve (infinity is).
pub fn is_valid_g1(point: &G1Affine) -> bool {
    is_reduced(&point.x) && is_reduced(&point.y) && bool::from(point.is_on_curve())
}

/// Whether a G2 point from raw bytes is canonical, on the twist and in the subgroup of order r (infinity is).
pub fn is_valid_g2(point: &G2Affine) -> bool {
    is_on_twist(point) && crate::is_in_g2(point)
}

/// Whether a G2 point from raw bytes is canonical and on the twist (infinity is), in whichever subgroup.
pub fn is_on_twist(point: &G2Affine) -> bool {
    [point.x.c0(), point.x.c1(), point.y.c0(), point.y.c1()].into_iter().all(is_reduced)
        && bool::from(point.is_on_curve())
}

/// Whether the fields that the compiler does not let us look at lie as this module says.
pub fn layout_is_as_documented() -> bool {
    let (c0, c1) = (Fq::from(2), Fq::from(3));
    as_bytes(&[Fq2::new(c0, c1)]) == as_bytes(&[c0, c1]) && as_bytes(&[G1Affine::default()]) == [0; 64]
}

#[cfg(test)]
mod tests;
