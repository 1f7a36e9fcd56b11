//! Instruction sets: which ones kernels are written for, which one runs, and the one way from that choice to code.
//!
//! [`Isa::detect`] decides at run time: the best instruction set that the processor has, unless `PROOFMILL_ENGINE` names
//! a lesser one as the best allowed: `ifma`, `avx512`, `avx2` or `portable` ([`crate::cpu::check`] refuses other values).
//! `PROOFMILL_NO_IFMA` set to anything leaves IFMA out.
//!
//! [`dispatch!`](crate::dispatch) turns an [`Isa`] into a type, for which generic kernels are compiled, and
//! `for_each_vector_isa!` compiles a trait's methods for each of them: no other code matches on instruction sets or lists
//! target features.
//!
//! Invariant: code that takes an [`Isa`] from its caller checks that this processor runs it before it dispatches.

use std::ffi::OsStr;
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// The variable that names the best instruction set allowed.
pub(crate) const VARIABLE: &str = "PROOFMILL_ENGINE";

/// An instruction set that kernels are written for; the fastest comes first, and each has the instructions of the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// AVX-512 IFMA, eight elements at a time in radix 2^52.
    Ifma,
    /// AVX-512 without IFMA: the same, with products in double precision.
    Avx512,
    /// AVX2 and FMA, likewise.
    Avx2,
    /// The arithmetic of halo2curves.
    Portable,
    /// The radix-2^52 arithmetic in plain Rust: slow, to test it where the instructions are missing. It is compiled with
    /// the feature `emulation` and in the tests of this crate only.
    Emulated,
}

impl Isa {
    /// All of them, the fastest first.
    const ALL: [Self; 5] = [Self::Ifma, Self::Avx512, Self::Avx2, Self::Portable, Self::Emulated];

    /// The fastest one that this processor has and the environment allows.
    pub fn detect() -> Self {
        static DETECTED: OnceLock<Isa> = OnceLock::new();
        *DETECTED.get_or_init(|| of_processor().max(allowed()))
    }

    /// Every one that runs here, the fastest first.
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|isa| isa.is_available()).collect()
    }

    /// Whether kernels for it run here: the processor has the instructions, and the environment allows them.
    pub fn is_available(self) -> bool {
        match self {
            Self::Emulated => cfg!(any(test, feature = "emulation")),
            _ => self >= Self::detect(),
        }
    }

    /// # Panics
    /// When kernels for it do not run here.
    pub(crate) fn check(self) {
        assert!(self.is_available(), "this processor has no instructions for {self:?}");
    }

    /// The one that a value of `PROOFMILL_ENGINE` names. The emulation cannot be asked for.
    pub(crate) fn named(name: &OsStr) -> Option<Self> {
        name.to_str()?.parse().ok().filter(|isa| *isa != Self::Emulated)
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ifma => "ifma",
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
            Self::Emulated => "emulated",
        })
    }
}

/// No instruction set has this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "PM-ISA-001: no instruction set has this name; the names are ifma, avx512, avx2, portable and emulated"
)]
pub struct UnknownIsa;

impl FromStr for Isa {
    type Err = UnknownIsa;

    fn from_str(name: &str) -> Result<Self, UnknownIsa> {
        Self::ALL.into_iter().find(|isa| isa.to_string() == name).ok_or(UnknownIsa)
    }
}

fn allowed() -> Isa {
    let named = std::env::var_os(VARIABLE).and_then(|name| Isa::named(&name));
    match named {
        Some(isa) => isa,
        None if std::env::var_os("PROOFMILL_NO_IFMA").is_some() => Isa::Avx512,
        None => Isa::Ifma,
    }
}

#[cfg(target_arch = "x86_64")]
fn of_processor() -> Isa {
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let avx512 = avx2
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl");
    let ifma = avx512 && is_x86_feature_detected!("avx512vbmi2") && is_x86_feature_detected!("avx512ifma");
    match (ifma, avx512, avx2) {
        (true, _, _) => Isa::Ifma,
        (_, true, _) => Isa::Avx512,
        (_, _, true) => Isa::Avx2,
        _ => Isa::Portable,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn of_processor() -> Isa {
    Isa::Portable
}

/// What [`dispatch!`](crate::dispatch) does for instruction sets that this build has no kernels for.
#[doc(hidden)]
pub fn unavailable() -> ! {
    unreachable!("no kernels of this instruction set are in this build, so it is never available")
}

/// Evaluates an expression with a type that stands for an instruction set: `dispatch!(isa, L => f::<L>(x))`.
///
/// The type implements [`InstructionSet`](crate::simd::InstructionSet) and, but for that of [`Isa::Portable`],
/// [`Lanes`](crate::simd::lanes::Lanes). Where there is an expression of its own for portable code,
/// `dispatch!(isa, L => f::<L>(x), Portable => g(x))`, the type is always one with lanes.
#[macro_export]
macro_rules! dispatch {
    ($isa:expr, $lanes:ident => $code:expr) => {
        $crate::dispatch!($isa, $lanes => $code, Portable => {
            type $lanes = $crate::simd::Portable;
            $code
        })
    };
    ($isa:expr, $lanes:ident => $code:expr, Portable => $portable:expr) => {
        match $isa {
            #[cfg(target_arch = "x86_64")]
            $crate::isa::Isa::Ifma => {
                type $lanes = $crate::simd::avx512::Ifma;
                $code
            }
            #[cfg(target_arch = "x86_64")]
            $crate::isa::Isa::Avx512 => {
                type $lanes = $crate::simd::avx512::Avx512<false>;
                $code
            }
            #[cfg(target_arch = "x86_64")]
            $crate::isa::Isa::Avx2 => {
                type $lanes = $crate::simd::avx2::Avx2;
                $code
            }
            #[cfg(not(target_arch = "x86_64"))]
            $crate::isa::Isa::Ifma | $crate::isa::Isa::Avx512 | $crate::isa::Isa::Avx2 => $crate::isa::unavailable(),
            $crate::isa::Isa::Portable => $portable,
            $crate::isa::Isa::Emulated => $crate::emulated!($lanes => $code),
        }
    };
}

/// The arm of [`dispatch!`](crate::dispatch) for [`Isa::Emulated`].
#[cfg(any(test, feature = "emulation"))]
#[doc(hidden)]
#[macro_export]
macro_rules! emulated {
    ($lanes:ident => $code:expr) => {{
        type $lanes = $crate::simd::lanes::Emulated;
        $code
    }};
}

/// The arm of [`dispatch!`](crate::dispatch) for [`Isa::Emulated`].
#[cfg(not(any(test, feature = "emulation")))]
#[doc(hidden)]
#[macro_export]
macro_rules! emulated {
    ($lanes:ident => $code:expr) => {
        $crate::isa::unavailable()
    };
}

/// Calls a macro for the lanes of every vector instruction set of this target, with the attribute that compiles a
/// function for it: `$implement!(#[target_feature(enable = "…")] Lanes)`. The emulation, which needs no attribute, is
/// left to the caller.
macro_rules! for_each_vector_isa {
    ($implement:ident) => {
        #[cfg(target_arch = "x86_64")]
        $implement!(
            #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512vbmi2,avx512ifma")]
            $crate::simd::avx512::Ifma
        );
        #[cfg(target_arch = "x86_64")]
        $implement!(
            #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl")]
            $crate::simd::avx512::Avx512<false>
        );
        #[cfg(target_arch = "x86_64")]
        $implement!(
            #[target_feature(enable = "avx2,fma")]
            $crate::simd::avx2::Avx2
        );
    };
}
pub(crate) use for_each_vector_isa;

#[cfg(test)]
mod tests;
