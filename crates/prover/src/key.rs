//! The key file: everything a prover needs for one circuit, memory-mapped and checked.
//!
//! # Queries
//! With u_i, v_i, w_i the polynomials of column i in A, B, C, Z = x^n - 1 on the domain of n = 2^k points, and M_j the
//! Lagrange basis of the odd coset s*w^j (s*s = w):
//! - `A`: \[u_i(tau)\] in G1, `B1`, `B2`: \[v_i(tau)\] in G1 and G2; columns whose polynomial vanishes are left out, and
//!   `A columns`, `B columns` say which are there;
//! - `L`: \[(beta*u_i + alpha*v_i + w_i)(tau) / delta\] for every private variable;
//! - `H`: \[-1/2 * M_j(tau) * Z(tau) / delta\] for every point of the coset. Z is -2 there, so the prover multiplies H
//!   with the values of A*B - C on the coset as they are: six transforms and no division. snarkjs has the same basis.
//!
//! # File, version 1
//! Little-endian. A header of 1,024 bytes, then the sections, each starting at the next multiple of 64; the bytes
//! between are zero. Points are as [`bn254::raw`] says: affine, Montgomery limbs, usable in place.
//!
//! | at | bytes | header |
//! |---|---|---|
//! | 0 | 8 | magic `PMKEY\r\n\x1a` |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | origin, UNSAFE both: 0 imported, 1 from a public seed |
//! | 16 | 8 | length of the file |
//! | 24 | 8 | public inputs with the constant one |
//! | 32 | 8 | private variables |
//! | 40 | 8 | constraints, without the implied rows |
//! | 48 | 4 | k |
//! | 52 | 4 | length of the origin text |
//! | 56 | 4 | order of the domain: 0 for the root of unity of generator 7 (bellman), 5 for that of 5 (iden3) |
//! | 60 | 4 | zero |
//! | 64 | 32 | digest of the circuit |
//! | 96 | 32 | digest of the verifying key |
//! | 128 | 256 | origin text (UTF-8, zero-padded): the seed, or the hex hash of what the imported file says of its ceremony |
//! | 384 | 8 * 48 | per section: offset (8), length (8), BLAKE3 of its bytes (32) |
//! | 768 | 224 | zero |
//! | 992 | 32 | BLAKE3 of the 992 bytes before |
//!
//! Sections in order: verifying key (alpha, beta, delta in G1; beta, gamma, delta in G2; the input points), A columns
//! (u32), A, B columns (u32), B1, B2, L, H.
//!
//! Every byte of a file is covered by a checksum or known to be zero, so any change is refused. Checksums find damage,
//! not malice: [`Key::check_points`] verifies the points of a key from elsewhere.

mod bellman;
mod file;
mod header;

use std::ops::Range;
use std::path::{Path, PathBuf};

use bn254::ntt::Generator;
use bn254::raw::{self, Limbs};
use bn254::{G1Affine, G2Affine};
use rayon::prelude::*;

use crate::matrices::CircuitDigest;
use crate::verifying_key::{VerifyingKey, VerifyingKeyError};
use file::Storage;
use header::{Header, SectionId};

/// Bytes that a key file has for the seed or the transcript hash.
pub const MAX_ORIGIN_BYTES: usize = 256;

/// Where a key comes from. None is safe: what a file says of its ceremony anybody can write, and this program cannot verify a
/// transcript yet (decision D44).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From a public seed: everybody can forge proofs. For dev chains only.
    UnsafeDev {
        /// The seed of [`crate::DevTrapdoor`].
        seed: String,
    },
    /// From a file of another program: whoever made it may be able to forge proofs.
    UnsafeImported {
        /// Hash of the transcript in the file, which nobody verified.
        transcript: [u8; 32],
    },
}

impl Origin {
    /// Whether proofs for this key can be trusted.
    pub fn is_safe(&self) -> bool {
        match self {
            Self::UnsafeDev { .. } | Self::UnsafeImported { .. } => false,
        }
    }
}

/// Why a key cannot be used or stored.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("PM-KEY-001: {path}: {source}; check the path, the permissions and the free space")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Another kind of file.
    #[error("PM-KEY-002: this is not a proofmill key file; make the key with `proofmill keys setup-dev`")]
    NotAKey,
    /// A later or earlier format.
    #[error("PM-KEY-003: the key file has format version {0}, this program reads 1; make the key again")]
    Version(u32),
    /// The file ends early or has bytes too many.
    #[error("PM-KEY-004: the key file has {got} bytes and should have {expected}; copy or make it again")]
    Length {
        /// What the header says (its own length when even that is missing).
        expected: u64,
        /// Bytes there are.
        got: u64,
    },
    /// The header is damaged.
    #[error("PM-KEY-005: the header of the key file is damaged; copy or make it again")]
    CorruptHeader,
    /// A section is damaged.
    #[error("PM-KEY-006: section {0} of the key file is damaged; copy or make it again")]
    CorruptSection(&'static str),
    /// A key of another circuit.
    #[error(
        "PM-KEY-007: the key belongs to the circuit {}, not to {}; make the key of this circuit",
        hex(found),
        hex(expected)
    )]
    OtherCircuit {
        /// The circuit that was asked for.
        expected: CircuitDigest,
        /// The circuit of the key.
        found: CircuitDigest,
    },
    /// Sizes or columns do not fit together.
    #[error("PM-KEY-008: the key is malformed: {0}; make it again")]
    Malformed(&'static str),
    /// The verifying key is not fit for use.
    #[error("PM-KEY-009: {0}")]
    VerifyingKey(#[from] VerifyingKeyError),
    /// Points lie differently in memory than in the file.
    #[error(
        "PM-KEY-010: this build keeps points in another layout than key files; use a released compiler version"
    )]
    Layout,
    /// A point of a query is not on its curve or not in its group.
    #[error("PM-KEY-011: section {0} has a point that is invalid; do not use this key")]
    InvalidPoint(&'static str),
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A key in memory as it comes from a generator, before it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyParts {
    /// Where it comes from.
    pub origin: Origin,
    /// Digest of the circuit.
    pub circuit: CircuitDigest,
    /// Public inputs with the constant one.
    pub inputs: usize,
    /// Private variables.
    pub aux: usize,
    /// Constraints without the implied rows.
    pub constraints: usize,
    /// The order of the domain.
    pub generator: Generator,
    /// The verifying key.
    pub vk: VerifyingKey,
    /// Columns of `a`, ascending.
    pub a_columns: Vec<u32>,
    /// Query A.
    pub a: Vec<G1Affine>,
    /// Columns of `b1` and `b2`, ascending.
    pub b_columns: Vec<u32>,
    /// Query B in G1.
    pub b1: Vec<G1Affine>,
    /// Query B in G2.
    pub b2: Vec<G2Affine>,
    /// Query L.
    pub l: Vec<G1Affine>,
    /// Query H.
    pub h: Vec<G1Affine>,
}

/// A checked proving key, mapped from its file or held in memory.
#[derive(Debug)]
pub struct Key {
    storage: Storage,
    header: Header,
    vk: VerifyingKey,
}

impl Key {
    /// Maps a key file and checks all of it: format, circuit, checksums, verifying key.
    ///
    /// `expected` is the digest of the circuit the key must belong to; `None` takes a key of any circuit.
    ///
    /// # Errors
    /// [`KeyError`] with a code of its own for everything that can be wrong.
    pub fn open(path: &Path, expected: Option<CircuitDigest>) -> Result<Self, KeyError> {
        let storage = Storage::map(path).map_err(|source| KeyError::Io { path: path.to_owned(), source })?;
        Self::check(storage, expected)
    }

    /// A key in memory, without a file.
    ///
    /// # Errors
    /// As [`Key::open`], for parts that do not fit together.
    pub fn from_parts(parts: &KeyParts) -> Result<Self, KeyError> {
        Self::check(Storage::from_parts(parts)?, Some(parts.circuit))
    }

    fn check(storage: Storage, expected: Option<CircuitDigest>) -> Result<Self, KeyError> {
        if !raw::layout_is_as_documented() {
            return Err(KeyError::Layout);
        }
        let bytes = storage.bytes();
        let header = Header::parse(bytes)?;
        if let Some(expected) = expected.filter(|expected| *expected != header.circuit) {
            return Err(KeyError::OtherCircuit { expected, found: header.circuit });
        }
        header.check_contents(bytes)?;
        let vk = header::read_verifying_key(section(bytes, header.range(SectionId::VerifyingKey)))?;
        vk.validate()?;
        if vk.digest() != header.vk_digest {
            return Err(KeyError::Malformed("the digest of the verifying key is wrong"));
        }
        let key = Self { storage, header, vk };
        for columns in [key.a_columns(), key.b_columns()] {
            let ascending = columns.windows(2).all(|pair| pair[0] < pair[1]);
            if !ascending || columns.last().is_some_and(|last| *last as usize >= key.variables()) {
                return Err(KeyError::Malformed("columns do not ascend"));
            }
        }
        Ok(key)
    }

    /// Where the key comes from.
    pub fn origin(&self) -> &Origin {
        &self.header.origin
    }

    /// Digest of the circuit.
    pub fn circuit(&self) -> CircuitDigest {
        self.header.circuit
    }

    /// Public inputs with the constant one.
    pub fn inputs(&self) -> usize {
        self.header.inputs
    }

    /// Private variables.
    pub fn aux(&self) -> usize {
        self.header.aux
    }

    /// Inputs and private variables.
    pub fn variables(&self) -> usize {
        self.header.inputs + self.header.aux
    }

    /// Constraints without the implied rows.
    pub fn constraints(&self) -> usize {
        self.header.constraints
    }

    /// The order of the domain: row i belongs to the i-th power of this generator's root of unity.
    pub fn generator(&self) -> Generator {
        self.header.generator
    }

    /// log2 of the domain.
    pub fn domain_log(&self) -> u32 {
        self.header.domain_log
    }

    /// The file that the key was opened from; `None` for a key in memory.
    pub fn path(&self) -> Option<&Path> {
        match &self.storage {
            Storage::Mapped { path, .. } => Some(path),
            Storage::Memory { .. } => None,
        }
    }

    /// The bytes of the key's file, also when the key is in memory only.
    pub fn file_bytes(&self) -> &[u8] {
        self.storage.bytes()
    }

    /// Bytes of the file.
    pub fn file_len(&self) -> u64 {
        self.storage.bytes().len() as u64
    }

    /// The verifying key.
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.vk
    }

    /// Columns of [`Self::a`], ascending.
    pub fn a_columns(&self) -> &[u32] {
        self.values(SectionId::AColumns)
    }

    /// Query A.
    pub fn a(&self) -> &[G1Affine] {
        self.values(SectionId::A)
    }

    /// Columns of [`Self::b1`] and [`Self::b2`], ascending.
    pub fn b_columns(&self) -> &[u32] {
        self.values(SectionId::BColumns)
    }

    /// Query B in G1.
    pub fn b1(&self) -> &[G1Affine] {
        self.values(SectionId::B1)
    }

    /// Query B in G2.
    pub fn b2(&self) -> &[G2Affine] {
        self.values(SectionId::B2)
    }

    /// Query L, one point per private variable.
    pub fn l(&self) -> &[G1Affine] {
        self.values(SectionId::L)
    }

    /// Query H, one point per element of the domain.
    pub fn h(&self) -> &[G1Affine] {
        self.values(SectionId::H)
    }

    /// Checks that every point of every query is on its curve and in its group: for keys from elsewhere.
    ///
    /// # Errors
    /// [`KeyError::InvalidPoint`].
    pub fn check_points(&self) -> Result<(), KeyError> {
        let sections = [
            (SectionId::A, self.a()),
            (SectionId::B1, self.b1()),
            (SectionId::L, self.l()),
            (SectionId::H, self.h()),
        ];
        for (id, points) in sections {
            if !points.par_iter().all(raw::is_valid_g1) {
                return Err(KeyError::InvalidPoint(id.name()));
            }
        }
        if !self.b2().par_iter().all(raw::is_valid_g2) {
            return Err(KeyError::InvalidPoint(SectionId::B2.name()));
        }
        Ok(())
    }

    fn values<T: Limbs>(&self, id: SectionId) -> &[T] {
        // Sections are aligned to 64 and their lengths were checked, so this is never None.
        raw::from_bytes(section(self.storage.bytes(), self.header.range(id))).unwrap_or_default()
    }
}

fn section(bytes: &[u8], range: Range<usize>) -> &[u8] {
    bytes.get(range).unwrap_or_default()
}
