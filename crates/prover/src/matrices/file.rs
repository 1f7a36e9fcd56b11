//! Matrices in a file, so that a proving process gets them without synthesising the circuit again.
//!
//! # File, version 1
//! Little-endian, without padding. A header of 104 bytes, then the sections; nothing follows.
//!
//! | at | bytes | header |
//! |---|---|---|
//! | 0 | 8 | magic `PMMAT\r\n\x1a` |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | 0, or 1 where C is not known |
//! | 16 | 8 | public inputs with the constant one |
//! | 24 | 8 | private variables |
//! | 32 | 8 | rows |
//! | 40 | 8 | coefficients in the table |
//! | 48 | 3 * 8 | terms of A, B, C |
//! | 72 | 32 | digest of the circuit |
//!
//! Sections: the coefficient table (canonical form, 32 bytes each), then for each of A, B and C the row ends (u64), the
//! columns (u32) and the coefficient indices (u32).
//!
//! What is read satisfies every invariant of [`Matrices`] and has the digest that the file names. No more memory is
//! taken than the file is long, whatever its header says.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use bn254::{Field, Fr, PrimeField, fr_from_le_bytes, fr_to_le_bytes};
use rayon::prelude::*;

use super::{CircuitDigest, Matrices, ROW_CHUNK, SparseMatrix};

const MAGIC: [u8; 8] = *b"PMMAT\r\n\x1a";
const VERSION: u32 = 1;
const HEADER: usize = 104;
/// Bytes that are converted at once.
const BUFFER: usize = 1 << 16;

/// Why a file gives no matrices.
#[derive(Debug, thiserror::Error)]
pub enum MatricesError {
    /// The file cannot be read or written.
    #[error("PM-MATRICES-001: {path}: {source}; check the path, the permissions and the free space")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another kind of file, or of another version.
    #[error("PM-MATRICES-002: this is not a file of matrices that this program reads; make it again")]
    Format,
    /// The header asks for another length than the file has.
    #[error(
        "PM-MATRICES-003: the file of matrices has {got} bytes and does not fit its header; make it again"
    )]
    Length {
        /// Bytes there are.
        got: u64,
    },
    /// A value breaks an invariant.
    #[error("PM-MATRICES-004: the file of matrices is malformed: {0}; make it again")]
    Malformed(&'static str),
    /// The contents are not those of the circuit that the header names.
    #[error(
        "PM-MATRICES-005: the contents of the file of matrices do not have the digest it names; make it again"
    )]
    Digest,
}

impl Matrices {
    /// Writes the matrices to a new file or over an old one.
    ///
    /// # Errors
    /// [`MatricesError::Io`].
    pub fn write(&self, path: &Path) -> Result<(), MatricesError> {
        let write = || {
            let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
            self.write_to(&mut out)?;
            out.flush()
        };
        write().map_err(|source| MatricesError::Io { path: path.to_owned(), source })
    }

    /// Reads a file of matrices and checks all of it.
    ///
    /// # Errors
    /// [`MatricesError`] for everything that can be wrong.
    pub fn open(path: &Path) -> Result<Self, MatricesError> {
        let io = |source| MatricesError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        let len = file.metadata().map_err(io)?.len();
        Self::read_from(BufReader::with_capacity(1 << 20, file), len).map_err(|error| error.at(path))
    }

    /// Writes the bytes of a file.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        out.write_all(&u32::from(!self.c_known).to_le_bytes())?;
        let matrices = [&self.a, &self.b, &self.c];
        let sizes = [self.inputs, self.aux, self.constraints(), self.table.len()];
        for size in sizes.into_iter().chain(matrices.map(SparseMatrix::terms)) {
            out.write_all(&(size as u64).to_le_bytes())?;
        }
        out.write_all(&self.digest())?;
        for value in &self.table {
            out.write_all(&fr_to_le_bytes(value))?;
        }
        for matrix in matrices {
            write_values(out, &matrix.row_ends, u64::to_le_bytes)?;
            write_values(out, &matrix.columns, u32::to_le_bytes)?;
            write_values(out, &matrix.coefficients, u32::to_le_bytes)?;
        }
        Ok(())
    }

    /// Reads the `len` bytes of a file.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn read_from(mut input: impl Read, len: u64) -> Result<Self, MatricesError> {
        let header = Header::read(&mut input, len)?;
        let table = read_values(&mut input, header.table, |bytes: [u8; 32]| fr_from_le_bytes(&bytes).ok())?;
        let table: Option<Vec<Fr>> = table.into_iter().collect();
        let table = table.ok_or(MatricesError::Malformed("a coefficient is not below the modulus"))?;
        if table.get(..2) != Some(&[Fr::ONE, -Fr::ONE]) {
            return Err(MatricesError::Malformed("the coefficients do not begin with 1 and -1"));
        }
        let mut matrix = |terms: usize| -> Result<SparseMatrix, MatricesError> {
            let matrix = SparseMatrix {
                row_ends: read_values(&mut input, header.rows, u64::from_le_bytes)?,
                columns: read_values(&mut input, terms, u32::from_le_bytes)?,
                coefficients: read_values(&mut input, terms, u32::from_le_bytes)?,
            };
            check(&matrix, header.inputs + header.aux, table.len())?;
            Ok(matrix)
        };
        let [a, b, c] = header.terms;
        let (a, b, c) = (matrix(a)?, matrix(b)?, matrix(c)?);
        let matrices = Self {
            inputs: header.inputs,
            aux: header.aux,
            a,
            b,
            c,
            c_known: header.c_known,
            table,
            digest: OnceLock::new(),
        };
        if !matrices.c_known && matrices.c.terms() > 0 {
            return Err(MatricesError::Malformed("C has terms and is said to be unknown"));
        }
        if matrices.digest() != header.digest {
            return Err(MatricesError::Digest);
        }
        Ok(matrices)
    }
}

impl MatricesError {
    /// Names the file in an error of the system.
    fn at(self, path: &Path) -> Self {
        match self {
            Self::Io { source, .. } => Self::Io { path: path.to_owned(), source },
            other => other,
        }
    }
}

impl From<io::Error> for MatricesError {
    fn from(source: io::Error) -> Self {
        Self::Io { path: PathBuf::new(), source }
    }
}

struct Header {
    inputs: usize,
    aux: usize,
    rows: usize,
    table: usize,
    terms: [usize; 3],
    digest: CircuitDigest,
    c_known: bool,
}

impl Header {
    fn read(input: &mut impl Read, len: u64) -> Result<Self, MatricesError> {
        let mut bytes = [0; HEADER];
        if len < HEADER as u64 {
            return Err(MatricesError::Length { got: len });
        }
        input.read_exact(&mut bytes)?;
        let (known, rest) = bytes.split_at(16);
        if known[..8] != MAGIC
            || known[8..12] != VERSION.to_le_bytes()
            || known[13..] != [0; 3]
            || known[12] > 1
        {
            return Err(MatricesError::Format);
        }
        let mut sizes = [0; 7];
        for (size, word) in sizes.iter_mut().zip(rest.as_chunks::<8>().0) {
            // Nothing that is counted takes less than a byte, but for private variables; those are bounded below.
            *size =
                usize::try_from(u64::from_le_bytes(*word)).map_err(|_| MatricesError::Length { got: len })?;
        }
        let [inputs, aux, rows, table, a, b, c] = sizes;
        let mut digest = [0; 32];
        digest.copy_from_slice(&rest[56..]);
        if Self::len(rows, table, [a, b, c]) != Some(len) {
            return Err(MatricesError::Length { got: len });
        }
        // The bounds of `Matrices::synthesize`.
        let variables = inputs.checked_add(aux).filter(|variables| inputs > 0 && *variables < 1 << 31);
        let all_rows = rows.checked_add(inputs).filter(|rows| *rows <= 1 << (Fr::S - 1));
        if variables.is_none() || all_rows.is_none() {
            return Err(MatricesError::Malformed("it has no inputs, or too many variables or rows"));
        }
        Ok(Self { inputs, aux, rows, table, terms: [a, b, c], digest, c_known: known[12] == 0 })
    }

    /// Bytes of a file with so much in it, if they can be counted.
    fn len(rows: usize, table: usize, terms: [usize; 3]) -> Option<u64> {
        let mut len = (HEADER as u64).checked_add((table as u64).checked_mul(32)?)?;
        for terms in terms {
            let bytes = (rows as u64).checked_add(terms as u64)?.checked_mul(8)?;
            len = len.checked_add(bytes)?;
        }
        Some(len)
    }
}

/// Rows end in order, the last one at the end; in a row the columns ascend; every number refers to something.
fn check(matrix: &SparseMatrix, variables: usize, table: usize) -> Result<(), MatricesError> {
    let ends = &matrix.row_ends;
    if !ends.is_sorted() || ends.last().copied().unwrap_or(0) != matrix.terms() as u64 {
        return Err(MatricesError::Malformed("rows do not end in order"));
    }
    let ordered = |row: usize| {
        let (columns, coefficients) = matrix.row(row);
        columns.is_sorted_by(|first, second| first < second)
            && columns.last().is_none_or(|column| (*column as usize) < variables)
            && coefficients.iter().all(|index| (*index as usize) < table)
    };
    if !(0..matrix.row_count()).into_par_iter().with_min_len(ROW_CHUNK).all(ordered) {
        return Err(MatricesError::Malformed(
            "a row has columns out of order or refers to what is not there",
        ));
    }
    Ok(())
}

fn write_values<T: Copy, const N: usize>(
    out: &mut impl Write,
    values: &[T],
    bytes: impl Fn(T) -> [u8; N],
) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER);
    for chunk in values.chunks(BUFFER / N) {
        buffer.clear();
        buffer.extend(chunk.iter().flat_map(|value| bytes(*value)));
        out.write_all(&buffer)?;
    }
    Ok(())
}

fn read_values<T, const N: usize>(
    input: &mut impl Read,
    count: usize,
    value: impl Fn([u8; N]) -> T,
) -> Result<Vec<T>, MatricesError> {
    let mut values = Vec::with_capacity(count);
    let mut buffer = vec![0; BUFFER];
    while values.len() < count {
        let part = &mut buffer[..(count - values.len()).min(BUFFER / N) * N];
        input.read_exact(part)?;
        values.extend(part.as_chunks::<N>().0.iter().map(|bytes| value(*bytes)));
    }
    Ok(values)
}
