//! Proving on NVIDIA cards with our own kernels (`kernels/`, built by `build.sh` into `libproofmill_cuda.so`).
//!
//! The library is loaded at run time: this crate builds and its tests pass on machines without CUDA, where
//! [`CudaBackend::open`] says what is missing. Tests run the very same sources on a simulated card in main memory
//! (`build.sh host`).
//!
//! | module | purpose |
//! |---|---|
//! | [`library`] | finding and loading the library, its functions as Rust functions |
//! | [`kernels`] | single kernels, for tests and benchmarks |
//! | `self_test` | known results, before a card gets work |
//! | [`backend`] | [`prover::Backend`] over them |
//!
//! Invariant: nothing here unwinds into or out of C++, and no pointer given to the library outlives the call.

pub mod backend;
mod ffi;
pub mod kernels;
pub mod library;
mod self_test;

pub use backend::{Counts, CudaBackend, Settings};
pub use library::{Context, Library, LibraryError};
