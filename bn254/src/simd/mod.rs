//! Vector kernels: field and curve arithmetic on eight elements at a time.
//!
//! | module | purpose |
//! |---|---|
//! | [`lanes`] | eight words: what the arithmetic needs of a processor, and its emulation |
//! | [`avx512`] | the same in one AVX-512 register |
//! | `modulus` | the two primes and constants made of them |
//! | [`field52`] | Fq and Fr in radix 2^52 |
//! | [`uncarried`] | their sums and differences before the carries |
//! | [`coordinate`], [`eight`] | coordinates of G1 and G2, vectorised and portable |
//! | [`outlined`] | the same without inlining |
//! | [`affine`] | batch-affine addition |
//! | [`kernels`] | loops over many points, compiled for their instructions |
//!
//! Which implementation runs is decided once, at run time, by [`has_ifma`].

pub mod affine;
#[cfg(target_arch = "x86_64")]
pub mod avx512;
pub mod coordinate;
pub mod eight;
pub mod field52;
pub mod kernels;
pub mod lanes;
mod modulus;
pub mod outlined;
pub mod uncarried;

use std::sync::OnceLock;

/// Whether this processor has what the AVX-512 IFMA kernels use, and nobody set `PROOFMILL_NO_IFMA`.
pub fn has_ifma() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| std::env::var_os("PROOFMILL_NO_IFMA").is_none() && processor_has_ifma())
}

#[cfg(target_arch = "x86_64")]
fn processor_has_ifma() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vbmi2")
        && is_x86_feature_detected!("avx512ifma")
}

#[cfg(not(target_arch = "x86_64"))]
fn processor_has_ifma() -> bool {
    false
}

#[cfg(test)]
mod tests;
