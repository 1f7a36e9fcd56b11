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
//! | [`outlined`] | the same without inlining |
//! | [`affine`] | batch-affine addition |
//! | [`kernels`] | loops over many points, compiled for their instructions |
//! | `rows` | rows of sparse matrices times a vector |
//!
//! Which implementation runs is decided at run time, by [`has_ifma`], [`has_avx512`] and [`has_avx2`]: the best that the
//! processor has, unless `PROOFMILL_ENGINE` names a lesser one as the best allowed: `ifma`, `avx512`, `avx2` or `portable`
//! ([`crate::cpu::check`] refuses other values). `PROOFMILL_NO_IFMA` set to anything leaves IFMA out.

pub mod affine;
#[cfg(target_arch = "x86_64")]
pub mod avx2;
#[cfg(target_arch = "x86_64")]
pub mod avx512;
pub mod coordinate;
pub mod eight;
pub mod field52;
pub mod fused;
#[cfg(target_arch = "x86_64")]
mod fused512;
pub mod kernels;
pub mod lanes;
mod modulus;
pub mod outlined;
#[cfg(target_arch = "x86_64")]
mod quad;
pub(crate) mod rows;
pub mod uncarried;

use std::sync::OnceLock;

/// Whether this processor has what the AVX-512 IFMA kernels use, and they are allowed.
pub fn has_ifma() -> bool {
    best() >= Instructions::Ifma
}

/// Whether this processor has what the AVX-512 kernels without IFMA use, and they are allowed.
pub fn has_avx512() -> bool {
    best() >= Instructions::Avx512
}

/// Whether this processor has what the AVX2 kernels use, and they are allowed.
pub fn has_avx2() -> bool {
    best() >= Instructions::Avx2
}

/// The variable that names the best kernels allowed.
pub(crate) const ENGINE: &str = "PROOFMILL_ENGINE";

/// What kernels are written for; each has the instructions of those before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Instructions {
    Portable,
    Avx2,
    Avx512,
    Ifma,
}

fn best() -> Instructions {
    static BEST: OnceLock<Instructions> = OnceLock::new();
    *BEST.get_or_init(|| of_processor().min(allowed()))
}

fn allowed() -> Instructions {
    let named = std::env::var_os(ENGINE).and_then(|name| Instructions::named(&name));
    match named {
        Some(instructions) => instructions,
        None if std::env::var_os("PROOFMILL_NO_IFMA").is_some() => Instructions::Avx512,
        None => Instructions::Ifma,
    }
}

impl Instructions {
    /// Those that `PROOFMILL_ENGINE` calls so.
    pub(crate) fn named(name: &std::ffi::OsStr) -> Option<Self> {
        match name.to_str()? {
            "ifma" => Some(Self::Ifma),
            "avx512" => Some(Self::Avx512),
            "avx2" => Some(Self::Avx2),
            "portable" => Some(Self::Portable),
            _ => None,
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn of_processor() -> Instructions {
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let avx512 = avx2
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl");
    let ifma = avx512 && is_x86_feature_detected!("avx512vbmi2") && is_x86_feature_detected!("avx512ifma");
    match (ifma, avx512, avx2) {
        (true, _, _) => Instructions::Ifma,
        (_, true, _) => Instructions::Avx512,
        (_, _, true) => Instructions::Avx2,
        _ => Instructions::Portable,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn of_processor() -> Instructions {
    Instructions::Portable
}

#[cfg(test)]
mod fused_tests;
#[cfg(test)]
mod tests;
