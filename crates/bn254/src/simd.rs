//! Vector kernels: field and curve arithmetic on eight elements at a time.
//!
//! | module | purpose |
//! |---|---|
//! | [`lanes`] | eight words: what the arithmetic needs of a processor, and its emulation |
//! | [`avx512`] | the same in one AVX-512 register |
//! | [`avx2`], `quad` | the same in two AVX2 registers |
//! | [`fused`], `fused512` | products of radix-2^52 limbs in double precision, where there is no IFMA |
//! | `modulus` | the two primes and constants made of them |
//! | [`field52`] | Fq and Fr in radix 2^52 |
//! | [`uncarried`] | their sums and differences before the carries |
//! | [`coordinate`], [`eight`] | coordinates of G1 and G2, vectorised and portable |
//! | `outlined` | the same without inlining, for the emulation |
//! | [`affine`] | batch-affine addition |
//! | [`kernels`] | loops over many points, compiled for their instructions |
//! | `rows` | rows of sparse matrices times a vector |
//! | [`InstructionSet`], [`SimdCurve`] | the types of an instruction set, and those of a curve in it |
//!
//! Which implementation runs is decided at run time: see [`crate::isa`].

pub mod affine;
#[cfg(target_arch = "x86_64")]
pub mod avx2;
#[cfg(target_arch = "x86_64")]
pub mod avx512;
pub mod coordinate;
mod curve;
pub mod eight;
pub mod field52;
pub mod fused;
#[cfg(target_arch = "x86_64")]
mod fused512;
mod instruction_set;
pub mod kernels;
pub mod lanes;
mod modulus;
#[cfg(any(test, feature = "emulation"))]
pub mod outlined;
#[cfg(target_arch = "x86_64")]
mod quad;
pub(crate) mod rows;
pub mod uncarried;

pub use curve::SimdCurve;
pub use instruction_set::{InstructionSet, Portable};

#[cfg(test)]
mod tests;
