//! Sparse matrices over `Fr` times a vector.
//!
//! A circuit uses the same pieces again and again, so that most of its rows have the coefficients of many others in the same order.
//! [`Groups`] finds such rows, once for a matrix, and multiplies eight of them at a time by vector kernels; the others are left to
//! their owner.
//!
//! Invariant: the result does not depend on the processor. Memory access depends on the matrix only, not on the vector, whose values
//! the kernels do not branch on either.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::bit_order::bit_reversed;
use crate::isa::Isa;
use crate::parallel::Elements;
use crate::simd::rows::{Coefficient, RowKernels};
use crate::{Fr, dispatch};

/// Rows with fewer terms, and one multiplication at most, are hardly slower one by one.
const FEWEST_TERMS: usize = 3;
/// Groups that one task multiplies at least.
const GROUP_CHUNK: usize = 1 << 5;

/// Compressed rows: row i has the terms `ends[i - 1]..ends[i]` (from 0 for the first), which have a column and the number of a
/// coefficient each.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// Where the rows end.
    pub ends: &'a [u64],
    /// Of all terms, row by row.
    pub columns: &'a [u32],
    /// Of all terms, row by row.
    pub coefficients: &'a [u32],
}

impl<'a> Rows<'a> {
    fn row(&self, row: usize) -> (&'a [u32], &'a [u32]) {
        let start = if row == 0 { 0 } else { self.ends[row - 1] as usize };
        let end = self.ends[row] as usize;
        (&self.columns[start..end], &self.coefficients[start..end])
    }
}

/// Coefficients in the form of the kernels.
pub struct Coefficients {
    isa: Isa,
    table: Vec<Coefficient>,
}

impl Coefficients {
    /// `None` where the processor has no vectors of which the kernels could make use.
    pub fn new(table: &[Fr]) -> Option<Self> {
        Self::with_isa(table, Isa::detect())
    }

    /// For an instruction set of one's choice; `None` for [`Isa::Portable`], which has no vectors.
    ///
    /// # Panics
    /// When the instruction set is not available.
    pub fn with_isa(table: &[Fr], isa: Isa) -> Option<Self> {
        isa.check();
        (isa != Isa::Portable).then(|| Self { isa, table: table.iter().map(Coefficient::new).collect() })
    }

    /// Whether these are worth a place in a group.
    fn are_many(&self, coefficients: &[u32]) -> bool {
        let is_other = |one: &&u32| matches!(self.table[**one as usize], Coefficient::Other(_));
        coefficients.len() >= FEWEST_TERMS || coefficients.iter().filter(is_other).count() > 1
    }

    fn multiply(&self, coefficients: &[u32], columns: &[&[u32]; 8], z: &[Fr]) -> [Fr; 8] {
        // SAFETY: the instruction set was checked when the coefficients were made.
        unsafe {
            dispatch!(
                self.isa,
                L => L::eight_rows(&self.table, coefficients, columns, z),
                Portable => unreachable!("there are no coefficients for portable code")
            )
        }
    }
}

/// Rows of a matrix in groups of eight that have the same coefficients in the same order. Takes four bytes for each of them.
#[derive(Default)]
pub struct Groups {
    /// No row is in two groups, or twice in one, and all are below `rows`.
    groups: Vec<[u32; 8]>,
    rows: usize,
    /// A bit for each row; none where there are no groups.
    grouped: Vec<u64>,
}

impl Groups {
    /// Finds the groups of a matrix, of at most 2^32 rows.
    ///
    /// # Panics
    /// When the rows are not within the terms, or have coefficients that are not there.
    pub fn new(matrix: &Rows, coefficients: &Coefficients) -> Self {
        let rows = matrix.ends.len();
        let mut waiting: HashMap<&[u32], Vec<u32>> = HashMap::new();
        let mut groups: Vec<[u32; 8]> = Vec::new();
        for row in 0..rows {
            let own = matrix.row(row).1;
            if !coefficients.are_many(own) {
                continue;
            }
            let alike = waiting.entry(own).or_default();
            alike.push(row as u32);
            // Complete ones in the order of their last rows: their columns lie near those of the groups before.
            if let Ok(group) = <[u32; 8]>::try_from(alike.as_slice()) {
                groups.push(group);
                alike.clear();
            }
        }
        // Rows that differ in their highest three bits are written next to each other.
        let octant = (rows.next_power_of_two() / 8).max(1) as u32;
        groups.sort_by_key(|group| group[7] & (octant - 1));
        groups.shrink_to_fit();
        let mut grouped = vec![0; if groups.is_empty() { 0 } else { rows.div_ceil(64) }];
        for row in groups.iter().flatten() {
            grouped[*row as usize / 64] |= 1 << (row % 64);
        }
        Self { groups, rows, grouped }
    }

    /// Whether a row is in one of the groups.
    pub fn contains(&self, row: usize) -> bool {
        self.grouped.get(row / 64).is_some_and(|rows| rows >> (row % 64) & 1 == 1)
    }

    /// Writes the product of each row that is in a group with `z` to the bit-reversed place of the row, on all threads.
    ///
    /// # Panics
    /// When `out` has no power of two of places or fewer than rows, or it is another matrix, with columns or coefficients that are
    /// not there.
    pub fn multiply_reversed(&self, matrix: &Rows, coefficients: &Coefficients, z: &[Fr], out: &mut [Fr]) {
        assert!(out.len().is_power_of_two() && self.rows <= out.len(), "a place for every row");
        let log = out.len().trailing_zeros();
        let out = Elements(out.as_mut_ptr());
        self.groups.par_iter().with_min_len(GROUP_CHUNK).for_each(|group| {
            let same = matrix.row(group[0] as usize).1;
            let columns = group.map(|row| matrix.row(row as usize).0);
            let out = &out;
            for (row, product) in group.iter().zip(coefficients.multiply(same, &columns, z)) {
                // SAFETY: rows are below the length of `out`, and no other one has this place.
                unsafe { out.0.wrapping_add(bit_reversed(*row as usize, log)).write(product) };
            }
        });
    }
}

#[cfg(test)]
mod tests;
