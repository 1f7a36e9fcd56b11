//! Whether this processor runs the build.
//!
//! On x86-64 Linux the field arithmetic is assembly that needs BMI2 and ADX (Intel since 2014, AMD since 2017) and does
//! not look before it jumps. Long-running programs call [`check`] first, so that an older processor gives a sentence
//! and not an illegal instruction.

/// The processor lacks an instruction set that the build needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "PM-CPU-001: this processor lacks {missing}, which the field arithmetic of this build uses; run it on an x86-64 \
     processor with BMI2 and ADX, or on arm64"
)]
pub struct UnsupportedCpu {
    missing: &'static str,
}

/// Checks that the processor has every instruction that the field arithmetic uses.
///
/// # Errors
/// [`UnsupportedCpu`] names what is missing.
pub fn check() -> Result<(), UnsupportedCpu> {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    {
        if !std::arch::is_x86_feature_detected!("bmi2") {
            return Err(UnsupportedCpu { missing: "BMI2" });
        }
        if !std::arch::is_x86_feature_detected!("adx") {
            return Err(UnsupportedCpu { missing: "ADX" });
        }
    }
    Ok(())
}
