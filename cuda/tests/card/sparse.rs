//! Products of sparse matrices, rows of every length.

use bellman::{Circuit, ConstraintSystem, SynthesisError};
use bn254::{Field, Fr};
use prover::{Matrices, Witness, synthesize_witness};
use rand_core::RngCore;

use crate::card::context;
use crate::samples::rng;

/// Rows of the given lengths; coefficients 1, -1 and others.
#[derive(Clone)]
pub struct Rows {
    pub lengths: Vec<usize>,
    pub variables: usize,
    pub seed: u64,
}

impl Circuit<Fr> for Rows {
    fn synthesize<CS: ConstraintSystem<Fr>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
        let mut rng = rng(self.seed);
        let values: Vec<Fr> = (0..self.variables).map(|_| Fr::random(&mut rng)).collect();
        let variables =
            values.iter().map(|v| cs.alloc(|| "value", || Ok(*v))).collect::<Result<Vec<_>, _>>()?;
        for length in self.lengths {
            let terms: Vec<(Fr, usize)> = (0..length)
                .map(|i| {
                    let coefficient = match rng.next_u32() % 4 {
                        0 => Fr::ONE,
                        1 => -Fr::ONE,
                        2 => Fr::from(u64::from(rng.next_u32() % 9)),
                        _ => Fr::random(&mut rng),
                    };
                    (coefficient, (i * 31 + length) % self.variables)
                })
                .collect();
            let sum = terms.iter().fold(Fr::ZERO, |sum, (coefficient, i)| sum + *coefficient * values[*i]);
            let result = cs.alloc(|| "result", || Ok(sum))?;
            let add = |mut lc: bellman::LinearCombination<Fr>| {
                for (coefficient, i) in &terms {
                    lc = lc + (*coefficient, variables[*i]);
                }
                lc
            };
            cs.enforce(|| "row", add, |lc| lc + CS::one(), |lc| lc + result);
        }
        Ok(())
    }
}

fn agrees(rows: Rows) {
    let matrices = Matrices::synthesize(rows.clone()).unwrap();
    let witness: Witness = synthesize_witness(rows).unwrap();
    for matrix in [matrices.a(), matrices.b(), matrices.c()] {
        let mut wanted = vec![Fr::ZERO; matrix.row_count()];
        matrices.multiply(matrix, witness.values(), &mut wanted);
        let found = context().sparse_product(matrix, matrices.table(), witness.values()).unwrap();
        assert!(found.value == wanted);
    }
}

#[test]
fn rows_around_the_size_of_a_piece_and_of_a_slice_agree() {
    let lengths = vec![0, 1, 2, 31, 32, 33, 63, 64, 65, 127, 128, 129, 500, 0, 1];
    agrees(Rows { lengths, variables: 600, seed: 1 });
    for rows in [0, 1, 31, 32, 33, 64, 65] {
        agrees(Rows { lengths: vec![3; rows], variables: 5, seed: rows as u64 });
    }
}

#[test]
fn many_rows_of_mixed_lengths_agree() {
    let mut rng = rng(7);
    let lengths = (0..3000).map(|_| (rng.next_u32() % 8 * (rng.next_u32() % 12)) as usize).collect();
    agrees(Rows { lengths, variables: 400, seed: 2 });
}

#[test]
fn a_column_that_does_not_exist_is_refused() {
    let rows = Rows { lengths: vec![4; 4], variables: 10, seed: 3 };
    let matrices = Matrices::synthesize(rows).unwrap();
    let error = context().sparse_product(matrices.a(), matrices.table(), &[Fr::ONE; 3]).unwrap_err();
    assert!(error.to_string().contains("column"), "{error}");
}
