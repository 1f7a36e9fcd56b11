//! Groth16 over BN254 for any bellman circuit. Nothing here knows what a circuit is for.
//!
//! ```text
//! circuit ──synthesize──> Matrices ──generate──> KeyParts ──write──> file ──open──> Key
//!    └──synthesize_witness──> Witness ──┐                                           │
//!                       Matrices, Key ──┴── Backend (unblinded sums) ── Prover ──> Proof ──verify
//! ```
//!
//! | module | purpose |
//! |---|---|
//! | [`matrices`] | the constraint system as sparse matrices, and the digest of a circuit |
//! | [`witness`] | the assignment of all variables |
//! | [`witness_cs`] | the bellman constraint system that computes it |
//! | [`keygen`] | proving keys from a development trapdoor |
//! | [`dev`] | that trapdoor, and proofs simulated with it |
//! | [`key`] | the key file: memory-mapped, checked |
//! | [`verifying_key`] | the verifying key, its checks and digest |
//! | [`backend`], [`cpu`] | who does the heavy sums; the portable one |
//! | [`products`] | the products of the matrices, for backends without sparse kernels of their own |
//! | [`groth16`] | blinding, assembly, and verification before a proof leaves |
//! | [`proof`] | proofs with valid points, and verification |
//! | [`progress`] | progress of long work |
//! | [`files`] | inputs that may be pipes, outputs that are whole or not there |
//! | [`iden3`] | files of circom, snarkjs and rapidsnark |
//! | [`gnark`] | verifying keys and proofs as gnark writes them |
//!
//! Invariants: a [`Proof`] has valid points and was verified by the [`Prover`] that made it; a [`Key`] belongs to the
//! circuit whose digest it was opened with.

pub mod backend;
pub mod cpu;
pub mod dev;
pub mod files;
pub mod gnark;
pub mod groth16;
mod hash;
pub mod iden3;
pub mod key;
pub mod keygen;
pub mod matrices;
pub mod products;
pub mod progress;
pub mod proof;
pub mod verifying_key;
pub mod witness;
pub mod witness_cs;

pub use backend::{Backend, BackendError, Cancel, DeviceInfo, KeyId, Staged, Sums, Timings};
pub use cpu::CpuBackend;
pub use dev::{DevTrapdoor, simulate_proof};
pub use groth16::{ProveError, Proven, Prover};
pub use key::{Key, KeyError, KeyParts, Origin};
pub use keygen::{KeygenError, Resumable, generate, generate_for};
pub use matrices::{CircuitDigest, Matrices, MatricesError};
pub use progress::{NoProgress, Progress};
pub use proof::{PreparedVerifyingKey, Proof, ProofError, VerifyError, verify};
pub use verifying_key::{PublicKey, VerifyingKey, VerifyingKeyError};
pub use witness::{Witness, synthesize_witness};
pub use witness_cs::WitnessCs;

/// The examples of the README, compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
