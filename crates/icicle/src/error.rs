//! What can go wrong with the user's ICICLE, each with a stable code and with what to do.

use std::path::PathBuf;

use prover::BackendError;

pub(crate) const NAME: &str = "icicle";

/// Why ICICLE is not used, or did not deliver.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No folder has the libraries.
    #[error(
        "PM-ICICLE-001: no libicicle_device.so in {searched}; install ICICLE 3.1 or later and set \
         ICICLE_FRONTEND_INSTALL_DIR to the folder of its libraries"
    )]
    NotFound {
        /// The folders looked into.
        searched: String,
    },
    /// A library is there, but the loader refuses it.
    #[error(
        "PM-ICICLE-002: {library} does not load: {reason}; install ICICLE built for this machine with BN254"
    )]
    Load {
        /// The file.
        library: String,
        /// What the loader says.
        reason: String,
    },
    /// A library lacks a function.
    #[error(
        "PM-ICICLE-003: {library} has no {symbol}; build ICICLE for the curve bn254 with MSM, G2 and NTT"
    )]
    Symbol {
        /// The file.
        library: String,
        /// The function.
        symbol: &'static str,
    },
    /// Before 3.1 the configuration of vector operations had another layout.
    #[error(
        "PM-ICICLE-004: this ICICLE is older than 3.1 (it has no bn254_vector_sum); install 3.1 or later"
    )]
    TooOld,
    /// The NVIDIA driver is missing or does not start.
    #[error("PM-ICICLE-005: {0}; install the NVIDIA driver, or prove with --backend cpu")]
    Driver(String),
    /// There are fewer cards than asked for.
    #[error("PM-ICICLE-006: there is no card {device}, the driver shows {count}; use --device 0 to {}", count.saturating_sub(1))]
    NoCard {
        /// The ordinal asked for.
        device: u32,
        /// Cards there are.
        count: u32,
    },
    /// No folder with backends.
    #[error(
        "PM-ICICLE-007: no folder of ICICLE backends at {}; set ICICLE_BACKEND_INSTALL_DIR to the one that has the \
         CUDA backend", .0.display()
    )]
    NoBackends(PathBuf),
    /// The backends were loaded, and the device is still unknown.
    #[error(
        "PM-ICICLE-008: ICICLE does not know the device {0} after loading its backends; install the CUDA backend of the \
         same ICICLE version and set ICICLE_BACKEND_INSTALL_DIR to its folder"
    )]
    Unavailable(&'static str),
    /// A call returned an error.
    #[error("PM-ICICLE-009: {call} failed with {code} ({}); {}", meaning(*code), remedy(*code))]
    Call {
        /// The function.
        call: &'static str,
        /// Its return code.
        code: i32,
    },
    /// ICICLE computes somewhere else than it was told.
    #[error(
        "PM-ICICLE-010: ICICLE was told to use {wanted} and uses {active}; restart the worker, and check the driver if \
         it comes back"
    )]
    WrongDevice {
        /// The device asked for.
        wanted: String,
        /// The device in use.
        active: String,
    },
    /// A result is no point of the curve.
    #[error("PM-ICICLE-011: ICICLE delivered a sum that is not on the curve; take the card out of service")]
    NotOnCurve,
    /// The known answers were not met.
    #[error(
        "PM-ICICLE-012: ICICLE gives a wrong {0} for a known answer; do not prove with this build or card, use another \
         backend"
    )]
    SelfTest(&'static str),
    /// Another backend of this process has the device.
    #[error("PM-ICICLE-013: this process already drives ICICLE; use one process per card")]
    InUse,
    /// The thread that owns the device has ended.
    #[error("PM-ICICLE-014: the thread that drives ICICLE has ended; restart the proving process")]
    Gone,
    /// The circuit is larger than the field allows, or than ICICLE counts.
    #[error("PM-ICICLE-015: a circuit of 2^{0} rows is too large for ICICLE; use a smaller one")]
    TooLarge(u32),
    /// Two runs of one sum differ.
    #[error("PM-ICICLE-016: ICICLE gave two answers for one sum; take the card out of service")]
    Unsteady,
}

/// Codes after which the device may be lost: freeing, copying, waiting or a stream failed, or something unknown.
const PERHAPS_LOST: [i32; 6] = [5, 6, 7, 8, 9, 14];

impl From<Error> for BackendError {
    fn from(error: Error) -> Self {
        let reason = error.to_string();
        match error {
            // A CUDA error can spoil the context for good, and ICICLE does not say whether it did.
            Error::Call { code, .. } if PERHAPS_LOST.contains(&code) => Self::Lost { backend: NAME, reason },
            Error::WrongDevice { .. } | Error::Gone => Self::Lost { backend: NAME, reason },
            _ => Self::Device { backend: NAME, reason },
        }
    }
}

/// The codes of `eIcicleError`.
fn meaning(code: i32) -> &'static str {
    const NAMES: [&str; 15] = [
        "success",
        "invalid device",
        "out of memory",
        "invalid pointer",
        "allocation failed",
        "deallocation failed",
        "copy failed",
        "synchronisation failed",
        "stream creation failed",
        "stream destruction failed",
        "not implemented",
        "invalid argument",
        "backend did not load",
        "license check failed",
        "unknown error",
    ];
    usize::try_from(code)
        .ok()
        .and_then(|code| NAMES.get(code))
        .copied()
        .unwrap_or("a code of no known meaning")
}

fn remedy(code: i32) -> &'static str {
    match code {
        2 | 4 => "free memory on the card, or prove smaller circuits on it",
        10 => "install an ICICLE with MSM, G2 and NTT for bn254",
        12 => "install frontend and backends of the same ICICLE version",
        13 => "set ICICLE_LICENSE, or install open-icicle, which needs no license",
        _ => "restart the worker, and take the card out of service if it comes back",
    }
}
