//! Rows of sparse matrices that are alike, eight at a time, against sums of single products.

use bn254::bit_order::bit_reversed;
use bn254::sparse::{Coefficients, Groups, Rows};
use bn254::{Field, Fr, Isa};
use rand_chacha::ChaCha8Rng;
use rand_core::RngCore;

use crate::operands::Element;

/// Terms of a row: at most a few times as many as are summed before a reduction.
const FEWEST_TERMS: u32 = 3;
const MOST_TERMS: u32 = 140;
/// Coefficients and values that rows choose from.
const POOL: u32 = 24;

/// # Errors
/// What is wrong, and the operands.
pub fn check(rng: &mut ChaCha8Rng) -> Result<(), String> {
    let draw = |rng: &mut ChaCha8Rng| -> Vec<Fr> { (0..POOL).map(|_| Fr::draw(rng)).collect() };
    let (mut table, z) = (draw(rng), draw(rng));
    // Those that need no multiplication are not left to chance.
    table.splice(..2, [Fr::ONE, -Fr::ONE]);
    let terms = FEWEST_TERMS + rng.next_u32() % (MOST_TERMS - FEWEST_TERMS + 1);
    // Of a few coefficients only, so that there are runs of ones and of others too.
    let few = 1 + rng.next_u32() % POOL;
    let coefficients: Vec<u32> = (0..terms).map(|_| rng.next_u32() % few).collect();
    let columns: Vec<u32> = (0..8 * terms).map(|_| rng.next_u32() % POOL).collect();
    let ends: Vec<u64> = (1..=8).map(|row| row * u64::from(terms)).collect();
    let alike = coefficients.repeat(8);
    let matrix = Rows { ends: &ends, columns: &columns, coefficients: &alike };
    let expected: Vec<Fr> = columns
        .chunks(terms as usize)
        .map(|row| {
            let products = row.iter().zip(&coefficients);
            products.map(|(column, one)| z[*column as usize] * table[*one as usize]).sum()
        })
        .collect();
    for isa in Isa::available() {
        let Some(kernels) = Coefficients::with_isa(&table, isa) else { continue };
        let mut found = vec![Fr::ZERO; 8];
        Groups::new(&matrix, &kernels).multiply_reversed(&matrix, &kernels, &z, &mut found);
        if (0..8).any(|row| found[bit_reversed(row, 3)] != expected[row]) {
            return Err(format!(
                "{isa}: rows are {found:?} (bit-reversed), not {expected:?}; coefficients {coefficients:?} of {table:?}, \
                 columns {columns:?} of {z:?}"
            ));
        }
    }
    Ok(())
}
