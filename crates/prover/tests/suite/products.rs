//! The products of matrices: rows that are alike, eight at a time, against rows one by one.

use bellman::{Circuit, ConstraintSystem, LinearCombination, SynthesisError, Variable};
use bn254::bit_order::bit_reversed;
use bn254::{Field, Fr};
use prover::products::{Products, sparse_products};
use prover::{Matrices, Witness, synthesize_witness};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

/// Constraints of a few kinds, each used again and again: long and short rows, of any coefficients and of ones.
struct Pieces {
    uses: usize,
    seed: u64,
}

type Values = Vec<(Variable, Fr)>;

/// A row with these coefficients over variables drawn at random, and what it is worth.
fn row(coefficients: &[Fr], of: &Values, rng: &mut ChaCha20Rng) -> (LinearCombination<Fr>, Fr) {
    let mut sum = (LinearCombination::zero(), Fr::ZERO);
    let first = rng.next_u32() as usize % (of.len() - coefficients.len());
    for (coefficient, (variable, value)) in coefficients.iter().zip(&of[first..]) {
        sum = (sum.0 + (*coefficient, *variable), sum.1 + *coefficient * value);
    }
    sum
}

impl Circuit<Fr> for Pieces {
    fn synthesize<CS: ConstraintSystem<Fr>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
        let mut rng = ChaCha20Rng::seed_from_u64(self.seed);
        let kinds: Vec<[Vec<Fr>; 3]> = [[1, 1, 0], [2, 3, 1], [50, 5, 2], [4, 4, 40], [90, 1, 3]]
            .iter()
            .map(|lengths| {
                lengths.map(|length| {
                    let drawn = |rng: &mut ChaCha20Rng| match rng.next_u32() % 3 {
                        0 => Fr::ONE,
                        1 => -Fr::ONE,
                        _ => Fr::random(rng),
                    };
                    (0..length).map(|_| drawn(&mut rng)).collect()
                })
            })
            .collect();
        let mut known: Values = Vec::new();
        for i in 0..100 {
            let value = if i == 0 { Fr::ZERO } else { Fr::random(&mut rng) };
            known.push((cs.alloc(|| "drawn", || Ok(value))?, value));
        }
        for used in 0..self.uses {
            let [a, b, c] = &kinds[used % kinds.len()];
            let (a, b, c) = (row(a, &known, &mut rng), row(b, &known, &mut rng), row(c, &known, &mut rng));
            let value = a.1 * b.1 - c.1;
            let made = cs.alloc(|| "made", || Ok(value))?;
            cs.enforce(|| "piece", |_| a.0, |_| b.0, |_| c.0 + made);
            known.push((made, value));
        }
        Ok(())
    }
}

fn pieces(uses: usize, seed: u64) -> (Matrices, Witness) {
    let of = |uses| Pieces { uses, seed };
    (Matrices::synthesize(of(uses)).unwrap(), synthesize_witness(of(uses)).unwrap())
}

#[test]
fn products_of_rows_alike_are_those_of_single_rows() {
    for (seed, uses) in [1, 7, 39, 40, 41, 500, 3000].into_iter().enumerate() {
        let (matrices, witness) = pieces(uses, seed as u64);
        let expected = sparse_products(&matrices, &witness).unwrap();
        for matrices in [matrices.without_c(), matrices] {
            let found = Products::new(&matrices).reversed(&matrices, &witness).unwrap();
            for (found, expected) in found.iter().zip(&expected) {
                for (i, value) in expected.iter().enumerate() {
                    assert_eq!(found[bit_reversed(i, matrices.domain_log())], *value, "{uses} uses, row {i}");
                }
            }
        }
    }
}

#[test]
fn the_first_constraint_that_is_broken_is_named_whoever_multiplies_it() {
    let (matrices, witness) = pieces(1000, 77);
    let products = Products::new(&matrices);
    let mut rng = ChaCha20Rng::seed_from_u64(78);
    for _ in 0..50 {
        let mut aux = witness.aux().to_vec();
        let place = rng.next_u32() as usize % aux.len();
        aux[place] += Fr::ONE;
        let broken = Witness::new(witness.inputs().to_vec(), aux);
        let expected = sparse_products(&matrices, &broken).unwrap_err();
        assert_eq!(products.reversed(&matrices, &broken).unwrap_err(), expected);
    }
}
