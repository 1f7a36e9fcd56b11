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
