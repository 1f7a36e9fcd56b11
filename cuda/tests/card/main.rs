//! The library's kernels against the processor.
//!
//! By default the library is the simulated card, built from the same sources; with `PROOFMILL_CUDA_LIBRARY` it is whatever
//! that names, so that the same tests run on a real card.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod card;
mod curve;
mod failures;
mod field;
mod groth16;
mod msm;
mod ntt;
mod samples;
mod sparse;
