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
mod tests {
    use super::*;
    use crate::Field;
    use rand_chacha::ChaCha20Rng;
    use rand_core::{RngCore, SeedableRng};

    struct Matrix {
        ends: Vec<u64>,
        columns: Vec<u32>,
        coefficients: Vec<u32>,
    }

    impl Matrix {
        /// Rows of these coefficients, with random columns below `columns`.
        fn of<'a>(patterns: impl Iterator<Item = &'a [u32]>, columns: u32, rng: &mut ChaCha20Rng) -> Self {
            let mut matrix = Self { ends: Vec::new(), columns: Vec::new(), coefficients: Vec::new() };
            for pattern in patterns {
                matrix.columns.extend(pattern.iter().map(|_| rng.next_u32() % columns));
                matrix.coefficients.extend(pattern);
                matrix.ends.push(matrix.columns.len() as u64);
            }
            matrix
        }

        fn rows(&self) -> Rows<'_> {
            Rows { ends: &self.ends, columns: &self.columns, coefficients: &self.coefficients }
        }
    }

    /// 0, 1, −1, and elements whose Montgomery form has the largest limbs, among random ones.
    fn elements(count: usize, rng: &mut ChaCha20Rng) -> Vec<Fr> {
        let mut edges = vec![Fr::ONE, -Fr::ONE, Fr::ZERO, Fr::from(2), -Fr::from(2)];
        let p = <crate::simd::field52::R as crate::simd::field52::Modulus>::WORDS;
        edges.extend([Fr([p[0] - 1, p[1], p[2], p[3]]), Fr([u64::MAX, u64::MAX, u64::MAX, p[3] - 1])]);
        let random = (edges.len()..count).map(|i| {
            if rng.next_u32().is_multiple_of(4) { edges[i % edges.len()] } else { Fr::random(&mut *rng) }
        });
        let random: Vec<Fr> = random.collect();
        edges.into_iter().chain(random).collect()
    }

    #[test]
    fn groups_of_every_instruction_set_give_what_single_terms_do() {
        let mut rng = ChaCha20Rng::seed_from_u64(31);
        let (table, z) = (elements(40, &mut rng), elements(500, &mut rng));
        // Lengths around what is compacted, of any coefficients; and of the ones of one kind only.
        let mut patterns: Vec<Vec<u32>> = [1, 3, 4, 5, 41, 42, 43, 44, 83, 84, 85, 86, 127, 300]
            .into_iter()
            .map(|len| (0..len).map(|_| rng.next_u32() % 40).collect())
            .collect();
        for one in [0, 1, 5, 6] {
            patterns.extend([40, 42, 43, 45, 84, 85, 200].map(|len| vec![one; len]));
        }
        patterns.push((0..200).map(|i| i % 2).collect());
        let count = patterns.len();
        let rows = (0..20 * count + 7).map(|i| patterns[(i * i + i / count) % count].as_slice());
        let matrix = Matrix::of(rows, 500, &mut rng);
        let groups = Groups::new(&matrix.rows(), &Coefficients::with_isa(&table, Isa::Emulated).unwrap());
        let mut seen: Vec<u32> = groups.groups.iter().flatten().copied().collect();
        seen.sort_unstable();
        assert!(seen.windows(2).all(|rows| rows[0] < rows[1]) && seen.len() > matrix.ends.len() / 2);
        for isa in Isa::available() {
            let Some(coefficients) = Coefficients::with_isa(&table, isa) else { continue };
            let untouched = Fr::from(1234567);
            let mut out = vec![untouched; matrix.ends.len().next_power_of_two()];
            let log = out.len().trailing_zeros();
            groups.multiply_reversed(&matrix.rows(), &coefficients, &z, &mut out);
            for row in 0..out.len() {
                let expected = if groups.contains(row) {
                    let (columns, coefficients) = matrix.rows().row(row);
                    let terms = columns.iter().zip(coefficients);
                    terms.map(|(column, one)| z[*column as usize] * table[*one as usize]).sum()
                } else {
                    untouched
                };
                assert_eq!(out[bit_reversed(row, log)], expected, "{isa}, row {row}");
            }
        }
    }

    #[test]
    fn a_matrix_without_eight_rows_alike_has_no_groups() {
        let mut rng = ChaCha20Rng::seed_from_u64(32);
        let coefficients = Coefficients::with_isa(&[Fr::ONE, -Fr::ONE, Fr::from(2)], Isa::Emulated).unwrap();
        let long = [0, 1, 0, 2];
        // Those that are alike are short.
        let rows = (0..7).map(|_| long.as_slice()).chain((0..100).map(|_| &long[..2]));
        let groups = Groups::new(&Matrix::of(rows, 9, &mut rng).rows(), &coefficients);
        assert!(groups.groups.is_empty() && groups.grouped.is_empty() && !groups.contains(3));
    }
}
