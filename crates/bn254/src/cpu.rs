//! Whether this processor runs the build.
//!
//! On x86-64 Linux the field arithmetic is assembly that needs BMI2 and ADX (Intel since 2014, AMD since 2017) and does
//! not look before it jumps. Long-running programs call [`check`] first, so that an older processor gives a sentence
//! and not an illegal instruction.

use crate::isa::{Isa, VARIABLE};

/// Why the build does not run here as it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CpuError {
    /// The processor lacks an instruction set that the build needs.
    #[error(
        "PM-CPU-001: this processor lacks {0}, which the field arithmetic of this build uses; run it on an x86-64 \
         processor with BMI2 and ADX, or on arm64"
    )]
    Unsupported(&'static str),
    /// `PROOFMILL_ENGINE` is none of the kernels that there are.
    #[error("PM-CPU-002: PROOFMILL_ENGINE is {0:?}; set it to ifma, avx512, avx2 or portable, or to nothing")]
    UnknownEngine(String),
}

/// Checks that the processor has every instruction that the field arithmetic uses, and that the kernels that the environment asks
/// for exist.
///
/// # Errors
/// [`CpuError`] says what is missing or wrong.
pub fn check() -> Result<(), CpuError> {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    {
        if !std::arch::is_x86_feature_detected!("bmi2") {
            return Err(CpuError::Unsupported("BMI2"));
        }
        if !std::arch::is_x86_feature_detected!("adx") {
            return Err(CpuError::Unsupported("ADX"));
        }
    }
    match std::env::var_os(VARIABLE).filter(|name| !name.is_empty() && Isa::named(name).is_none()) {
        Some(unknown) => Err(CpuError::UnknownEngine(unknown.to_string_lossy().into_owned())),
        None => Ok(()),
    }
}
