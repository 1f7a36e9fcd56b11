//! The file formats of iden3's programs (circom, snarkjs, rapidsnark), read and written.
//!
//! | file | module | what it is here |
//! |---|---|---|
//! | `.r1cs` | [`r1cs`] | [`crate::Matrices`] |
//! | `.wtns` | [`wtns`] | [`crate::Witness`] |
//! | `.zkey` | [`zkey`] | [`crate::KeyParts`], and matrices without C |
//! | `.ptau` | [`ptau`], [`phase_two`] | the powers of tau, from which the first `.zkey` of a circuit is made |
//! | `proof.json`, `public.json`, `verification_key.json` | [`json`] | [`crate::Proof`], public inputs, [`crate::VerifyingKey`] |
//!
//! Invariant: reading takes no more memory than a small multiple of the bytes that there are, whatever they say, and what was
//! read satisfies every invariant of its type; anything else is an [`Iden3Error`].
//!
//! Sources: the specifications in iden3's repositories `r1csfile` and `binfileutils`, and what snarkjs 0.7.6 reads and writes.

mod binfile;
pub mod json;
pub mod phase_two;
pub mod ptau;
pub mod r1cs;
pub mod wtns;
pub mod zkey;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::files::{Input, Output};
use crate::key::KeyError;

/// Why a file is not what it should be, or cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Iden3Error {
    /// The file cannot be read or written.
    #[error("PM-IDEN3-001: {path}: {source}; check the path, the permissions and the free space")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is malformed.
    #[error("PM-IDEN3-002: this is not a well-formed {kind} file: {reason}; make it again")]
    Malformed {
        /// What it should be.
        kind: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
    /// It is of another curve or proof system, or uses what this program does not.
    #[error("PM-IDEN3-003: {0}; only Groth16 over BN254 (bn128) is supported")]
    Unsupported(&'static str),
    /// A key that cannot be used or written.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Two files belong to different circuits.
    #[error("PM-IDEN3-004: {0}; use files of the same circuit")]
    OtherCircuit(&'static str),
    /// The ceremony is too small for the circuit.
    #[error(
        "PM-IDEN3-005: the .ptau file has 2^{power} powers of tau and this circuit needs 2^{needed}; take a larger file of the \
         same ceremony"
    )]
    TooFewPowers {
        /// Of the file.
        power: u32,
        /// Of the circuit.
        needed: u32,
    },
    /// The powers are there, their Lagrange bases are not.
    #[error(
        "PM-IDEN3-006: the .ptau file is not prepared; run `snarkjs powersoftau prepare phase2 IN.ptau OUT.ptau` first"
    )]
    NotPrepared,
}

/// The bytes of a file, of which not more than `limit` come through a pipe; `-` is standard input.
///
/// # Errors
/// [`Iden3Error::Io`].
pub fn open(path: &Path, limit: u64) -> Result<Input, Iden3Error> {
    Input::open(path, limit).map_err(|source| Iden3Error::Io { path: path.to_owned(), source })
}

/// Begins a file.
///
/// # Errors
/// [`Iden3Error::Io`].
pub fn begin(path: &Path) -> Result<Output, Iden3Error> {
    Output::begin(path).map_err(|source| Iden3Error::Io { path: path.to_owned(), source })
}

/// Writes a file that was begun, whole or not at all.
///
/// # Errors
/// [`Iden3Error::Io`].
pub fn finish(mut output: Output, path: &Path, bytes: &[u8]) -> Result<(), Iden3Error> {
    let written = output.write_all(bytes).and_then(|()| output.commit());
    written.map_err(|source| Iden3Error::Io { path: path.to_owned(), source })
}

/// Writes a file, whole or not at all.
///
/// # Errors
/// [`Iden3Error::Io`].
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Iden3Error> {
    finish(begin(path)?, path, bytes)
}
