//! The digest of a circuit, as the parent module specifies it.

use blake2::Digest;
use bn254::fr_to_le_bytes;

use super::{CircuitDigest, Matrices, SparseMatrix};
use crate::hash::tagged;

/// Bytes that are collected before they go to the hash function.
const BUFFER: usize = 1 << 16;

pub(super) fn digest(matrices: &Matrices) -> CircuitDigest {
    let canonical: Vec<[u8; 32]> = matrices.table.iter().map(fr_to_le_bytes).collect();
    let (a, (b, c)) = rayon::join(
        || matrix_digest(&matrices.a, &canonical),
        || rayon::join(|| matrix_digest(&matrices.b, &canonical), || matrix_digest(&matrices.c, &canonical)),
    );
    let mut hasher = tagged(if matrices.c_known { "proofmill.r1cs.v1" } else { "proofmill.ab.v1" });
    for size in [matrices.inputs, matrices.aux, matrices.constraints()] {
        hasher.update((size as u64).to_le_bytes());
    }
    hasher.update(a);
    hasher.update(b);
    if matrices.c_known {
        hasher.update(c);
    }
    hasher.finalize().into()
}

fn matrix_digest(matrix: &SparseMatrix, canonical: &[[u8; 32]]) -> [u8; 32] {
    let mut hasher = tagged("proofmill.matrix.v1");
    let mut buffer = Vec::with_capacity(BUFFER + 64);
    for row in 0..matrix.row_count() {
        let (columns, coefficients) = matrix.row(row);
        buffer.extend_from_slice(&(columns.len() as u32).to_le_bytes());
        for (column, coefficient) in columns.iter().zip(coefficients) {
            buffer.extend_from_slice(&column.to_le_bytes());
            buffer.extend_from_slice(&canonical[*coefficient as usize]);
            if buffer.len() >= BUFFER {
                hasher.update(&buffer);
                buffer.clear();
            }
        }
    }
    hasher.update(&buffer);
    hasher.finalize().into()
}
