//! The rank-1 constraint system of a circuit as three sparse matrices, made once per circuit.
//!
//! Columns are the variables: the public inputs (column 0 is the constant one), then the private variables in order of
//! allocation. Row i says (A_i . z) * (B_i . z) = C_i . z. In a row, equal variables are merged, zero coefficients are
//! dropped and columns ascend: two circuits with the same meaning term by term have the same matrices. Coefficients are
//! indices into one table without duplicates, since a hash function repeats the same few constants everywhere.
//!
//! Groth16 as bellman does it appends one row `input_i * 0 = 0` per public input (the constant one included), so that
//! the A polynomials of the inputs are independent. Those rows are implied: they are not stored, not counted by
//! [`Matrices::constraints`] and not hashed, but [`Matrices::rows`] and the domain contain them.
//!
//! # Digest
//! BLAKE2b is RFC 7693 with an output of 32 bytes and no key; all integers are little-endian; tags are ASCII without a
//! terminator. For each matrix M in A, B, C:
//! `digest(M) = BLAKE2b("proofmill.matrix.v1" || rows)`, where `rows` has for each stored row the number of its terms
//! as u32, then for each term its column as u32 and its coefficient as the 32 bytes of its canonical form.
//! `digest = BLAKE2b("proofmill.r1cs.v1" || u64 inputs (with one) || u64 private variables || u64 stored rows ||
//! digest(A) || digest(B) || digest(C))`. Where C is not known, the tag is "proofmill.ab.v1" and digest(C) is missing.

mod builder;
mod digest;
mod file;

use std::sync::OnceLock;

use bellman::{Circuit, SynthesisError};
use bn254::sparse::Rows;
use bn254::{Field, Fr, ProductSum};
use rayon::prelude::*;

use crate::witness::Witness;

pub use builder::RowBuilder;
pub use file::MatricesError;

/// Rows that one task multiplies.
const ROW_CHUNK: usize = 1 << 9;

/// Index of the coefficient 1 in every coefficient table.
pub const COEFFICIENT_ONE: u32 = 0;
/// Index of the coefficient -1 in every coefficient table.
pub const COEFFICIENT_MINUS_ONE: u32 = 1;

/// The identity of a circuit: see the module documentation.
pub type CircuitDigest = [u8; 32];

/// log2 of the domain of so many rows, which are at most 2^40. A single row gets a second point, as in snarkjs: the coset of a domain of one
/// point is that point again.
pub(crate) fn domain_log(rows: usize) -> u32 {
    rows.max(2).next_power_of_two().trailing_zeros()
}

/// One sparse matrix in compressed rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SparseMatrix {
    /// Row i has the terms `row_ends[i - 1]..row_ends[i]` (from 0 for the first).
    row_ends: Vec<u64>,
    columns: Vec<u32>,
    coefficients: Vec<u32>,
}

impl SparseMatrix {
    /// Number of terms.
    pub fn terms(&self) -> usize {
        self.columns.len()
    }

    /// Number of stored rows.
    pub fn row_count(&self) -> usize {
        self.row_ends.len()
    }

    /// `(columns, coefficient indices)` of a row.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn row(&self, row: usize) -> (&[u32], &[u32]) {
        let start = if row == 0 { 0 } else { self.row_ends[row - 1] as usize };
        let end = self.row_ends[row] as usize;
        (&self.columns[start..end], &self.coefficients[start..end])
    }

    pub(crate) fn as_rows(&self) -> Rows<'_> {
        Rows { ends: &self.row_ends, columns: &self.columns, coefficients: &self.coefficients }
    }

    /// Ends of the rows in [`Self::columns`] and [`Self::coefficients`], for backends that copy the matrix.
    pub fn row_ends(&self) -> &[u64] {
        &self.row_ends
    }

    /// Columns of all terms, row by row.
    pub fn columns(&self) -> &[u32] {
        &self.columns
    }

    /// Coefficient indices of all terms, row by row.
    pub fn coefficients(&self) -> &[u32] {
        &self.coefficients
    }
}

/// The matrices A, B, C of a circuit.
#[derive(Clone, Debug)]
pub struct Matrices {
    inputs: usize,
    aux: usize,
    a: SparseMatrix,
    b: SparseMatrix,
    c: SparseMatrix,
    /// Whether C is known. It is not in proving keys of snarkjs, which make do with C*z = A*z ∘ B*z.
    c_known: bool,
    table: Vec<Fr>,
    digest: OnceLock<CircuitDigest>,
}

impl Matrices {
    /// Runs `circuit` for its constraints. Assignments are not computed, so a circuit without values is enough.
    ///
    /// # Errors
    /// Whatever the circuit returns, and [`SynthesisError::PolynomialDegreeTooLarge`] when its rows exceed 2^27 or its
    /// variables 2^31.
    pub fn synthesize<C: Circuit<Fr>>(circuit: C) -> Result<Self, SynthesisError> {
        let mut builder = builder::MatrixBuilder::new();
        circuit.synthesize(&mut builder)?;
        builder.finish()
    }

    /// Number of public inputs, the constant one included.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Number of private variables.
    pub fn aux(&self) -> usize {
        self.aux
    }

    /// Number of variables: inputs and private ones.
    pub fn variables(&self) -> usize {
        self.inputs + self.aux
    }

    /// Number of the circuit's own constraints.
    pub fn constraints(&self) -> usize {
        self.a.row_count()
    }

    /// Number of rows with the implied one per public input.
    pub fn rows(&self) -> usize {
        self.constraints() + self.inputs
    }

    /// log2 of the domain that the rows need.
    pub fn domain_log(&self) -> u32 {
        domain_log(self.rows())
    }

    /// The coefficients that the matrices name by index; 1 and -1 come first.
    pub fn table(&self) -> &[Fr] {
        &self.table
    }

    /// Matrix A (stored rows).
    pub fn a(&self) -> &SparseMatrix {
        &self.a
    }

    /// Matrix B (stored rows).
    pub fn b(&self) -> &SparseMatrix {
        &self.b
    }

    /// Matrix C (stored rows).
    pub fn c(&self) -> &SparseMatrix {
        &self.c
    }

    /// Whether C is known. If not, its rows are empty and C*z is A*z ∘ B*z, so that only the finished proof shows whether a
    /// witness is one; and the circuit has another digest than with C.
    pub fn c_is_known(&self) -> bool {
        self.c_known
    }

    /// A and B of the same circuit.
    pub fn without_c(&self) -> Self {
        let c = SparseMatrix { row_ends: vec![0; self.constraints()], ..SparseMatrix::default() };
        Self { c, c_known: false, digest: OnceLock::new(), ..self.clone() }
    }

    /// What the coefficient indices stand for; [`COEFFICIENT_ONE`] and [`COEFFICIENT_MINUS_ONE`] are always there.
    pub fn coefficient_table(&self) -> &[Fr] {
        &self.table
    }

    /// Bytes that the matrices take in memory.
    pub fn size_in_bytes(&self) -> usize {
        let of = |m: &SparseMatrix| 8 * m.row_ends.len() + 8 * m.columns.len();
        of(&self.a) + of(&self.b) + of(&self.c) + 32 * self.table.len()
    }

    /// The digest of the circuit; the first call hashes all terms, later ones are free.
    pub fn digest(&self) -> CircuitDigest {
        *self.digest.get_or_init(|| digest::digest(self))
    }

    /// `matrix * z` for the stored rows, written to `out`; `z` has the inputs, then the private variables.
    ///
    /// # Panics
    /// When `out` is shorter than the number of stored rows or `z` than the number of variables.
    pub fn multiply(&self, matrix: &SparseMatrix, z: &[Fr], out: &mut [Fr]) {
        assert!(z.len() >= self.variables(), "one value per variable");
        let out = &mut out[..matrix.row_count()];
        out.par_chunks_mut(ROW_CHUNK).enumerate().for_each(|(chunk, out)| {
            for (row, value) in (chunk * ROW_CHUNK..).zip(out) {
                *value = self.dot(matrix, row, z);
            }
        });
    }

    /// One row times z.
    #[inline]
    pub(crate) fn dot(&self, matrix: &SparseMatrix, row: usize, z: &[Fr]) -> Fr {
        let (columns, coefficients) = matrix.row(row);
        match (columns, coefficients) {
            // What most rows are: short enough that the processor looks far ahead for their values.
            ([column], [COEFFICIENT_ONE]) => z[*column as usize],
            _ => self.dot_of_many(columns, coefficients, z),
        }
    }

    fn dot_of_many(&self, columns: &[u32], coefficients: &[u32], z: &[Fr]) -> Fr {
        let mut plain = Fr::ZERO;
        let mut products: Option<ProductSum> = None;
        for (column, coefficient) in columns.iter().zip(coefficients) {
            let value = &z[*column as usize];
            match *coefficient {
                COEFFICIENT_ONE => plain += value,
                COEFFICIENT_MINUS_ONE => plain -= value,
                index => products.get_or_insert_default().add(&self.table[index as usize], value),
            }
        }
        products.map_or(plain, |products| products.total() + plain)
    }

    /// Whether the witness satisfies every constraint.
    ///
    /// # Errors
    /// The number of the first constraint that it breaks; a witness of another shape breaks constraint 0.
    pub fn is_satisfied(&self, witness: &Witness) -> Result<(), usize> {
        if witness.inputs().len() != self.inputs
            || witness.aux().len() != self.aux
            || witness.inputs()[0] != Fr::ONE
        {
            return Err(0);
        }
        if !self.c_known {
            return Ok(());
        }
        let z = witness.values();
        let broken = (0..self.constraints()).into_par_iter().with_min_len(ROW_CHUNK).find_first(|row| {
            self.dot(&self.a, *row, z) * self.dot(&self.b, *row, z) != self.dot(&self.c, *row, z)
        });
        broken.map_or(Ok(()), Err)
    }
}
