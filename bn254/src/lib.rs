//! BN254 (alt_bn128, EIP-196/197) arithmetic for the whole workspace: one place that names the curve implementation.
//!
//! | module | purpose |
//! |---|---|
//! | [`witness`] | value-only bellman synthesis |
//!
//! `Fr` is the scalar field (order r), `Fq` the base field (order q), both halo2curves' `bn256`, whose limbs are in
//! Montgomery form. Nothing here knows about circuits, keys or payments.

pub mod witness;

pub use ff::{Field, PrimeField, PrimeFieldBits};
pub use group::{Curve, Group, GroupEncoding, prime::PrimeCurveAffine};
pub use halo2curves::bn256::{Bn256, Fq, Fq2, Fq12, Fr, G1, G1Affine, G2, G2Affine, Gt};
pub use halo2curves::{CurveAffine, CurveExt};
pub use pairing::{Engine, MillerLoopResult, MultiMillerLoop};
