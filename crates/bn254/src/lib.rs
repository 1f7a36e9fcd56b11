//! BN254 (alt_bn128, EIP-196/197) arithmetic for the whole workspace: one place that names the curve implementation.
//!
//! | module | purpose |
//! |---|---|
//! | [`encoding`] | canonical bytes, hex and serde of field elements |
//! | [`inner`] | inner products with one reduction |
//! | [`sparse`] | sparse matrices times a vector |
//! | [`bit_order`] | arrays in bit-reversed order |
//! | [`ntt`] | number-theoretic transforms over `Fr`, without bit reversal |
//! | [`msm`] | multi-scalar multiplication in G1 and G2 |
//! | [`fixed_base`] | many multiples of one point |
//! | [`subgroup`] | membership of G2 points in the subgroup of order r |
//! | [`isa`] | instruction sets: which one runs, and dispatch to its kernels |
//! | [`simd`] | field and curve arithmetic on eight elements at a time |
//! | [`pages`] | large arrays in huge pages |
//! | [`raw`] | field elements and points as bytes in memory, without copying |
//! | [`cpu`] | whether this processor runs the build |
//!
//! `Fr` is the scalar field (order r), `Fq` the base field (order q), both halo2curves' `bn256`, whose limbs are in
//! Montgomery form. Nothing here knows about circuits, keys or payments.

pub mod bit_order;
pub mod cpu;
pub mod encoding;
pub mod fixed_base;
pub mod inner;
pub mod isa;
pub mod msm;
pub mod ntt;
pub mod pages;
mod parallel;
pub mod raw;
pub mod simd;
pub mod sparse;
pub mod subgroup;

pub use encoding::{
    EncodingError, SerdeFr, fq_from_be_bytes, fq_from_le_bytes, fq_to_be_bytes, fq_to_le_bytes,
    fr_from_be_bytes, fr_from_hex, fr_from_le_bytes, fr_from_u64, fr_from_u128, fr_to_be_bytes, fr_to_hex,
    fr_to_le_bytes, serde_fr, serde_fr_array, serde_fr_vec,
};
pub use ff::{Field, PrimeField, PrimeFieldBits};
pub use group::{Curve, Group, GroupEncoding, prime::PrimeCurveAffine};
pub use halo2curves::bn256::{Bn256, Fq, Fq2, Fq12, Fr, G1, G1Affine, G2, G2Affine, Gt};
pub use halo2curves::msm::msm_serial;
pub use halo2curves::{CurveAffine, CurveExt};
pub use inner::{ProductSum, inner_product};
pub use isa::Isa;
pub use msm::{msm_g1, msm_g2};
pub use ntt::Domain;
pub use pairing::{Engine, MillerLoopResult, MultiMillerLoop};
pub use subgroup::is_in_g2;
