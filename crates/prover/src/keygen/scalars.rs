//! The discrete logarithms of all queries, for a development trapdoor.
//!
//! Everything is evaluated in the Lagrange basis: the polynomial of variable i in matrix A has the value A\[row\]\[i\] at
//! the row's domain point, so at tau it is the sum over the column of A\[row\]\[i\] * L_row(tau).

use bn254::{Domain, Field, Fr, PrimeField};
use rayon::prelude::*;

use super::KeygenError;
use crate::dev::DevTrapdoor;
use crate::matrices::{COEFFICIENT_MINUS_ONE, COEFFICIENT_ONE, Matrices, SparseMatrix};

/// The discrete logarithms of all queries.
pub(super) struct QueryScalars {
    /// u_i(tau) per variable.
    pub a: Vec<Fr>,
    /// v_i(tau) per variable.
    pub b: Vec<Fr>,
    /// (beta*u_i + alpha*v_i + w_i)(tau), over gamma for the inputs and over delta for the rest.
    pub combined: Vec<Fr>,
    /// -1/2 * M_j(tau) * Z(tau) / delta, M_j the Lagrange basis of the odd coset: see [`crate::key`].
    pub h: Vec<Fr>,
}

impl QueryScalars {
    pub fn evaluate(
        matrices: &Matrices,
        trapdoor: &DevTrapdoor,
        domain: &Domain,
    ) -> Result<Self, KeygenError> {
        let DevTrapdoor { tau, alpha, beta, .. } = *trapdoor;
        let lagrange = domain.lagrange_at(tau, Fr::ONE).ok_or(KeygenError::DegenerateTrapdoor)?;
        let (mut a, (b, c)) = rayon::join(
            || column_sums(matrices, matrices.a(), &lagrange),
            || {
                rayon::join(
                    || column_sums(matrices, matrices.b(), &lagrange),
                    || column_sums(matrices, matrices.c(), &lagrange),
                )
            },
        );
        // The implied rows: input i stands alone in A of row constraints + i.
        for (value, basis) in a.iter_mut().zip(&lagrange[matrices.constraints()..]).take(matrices.inputs()) {
            *value += basis;
        }
        let invert = |secret: Fr| Option::<Fr>::from(secret.invert()).ok_or(KeygenError::DegenerateTrapdoor);
        let (gamma_inverse, delta_inverse) = (invert(trapdoor.gamma)?, invert(trapdoor.delta)?);
        let inverse = |i: usize| if i < matrices.inputs() { gamma_inverse } else { delta_inverse };
        let each = a.par_iter().zip(&b).zip(&c).enumerate();
        let combined = each.map(|(i, ((a, b), c))| (beta * a + alpha * b + c) * inverse(i)).collect();
        let vanishing = tau.pow_vartime([domain.size() as u64]) - Fr::ONE;
        let factor = -(Fr::TWO_INV * vanishing * delta_inverse);
        let mut h = domain.lagrange_at(tau, domain.coset_shift()).ok_or(KeygenError::DegenerateTrapdoor)?;
        h.par_iter_mut().for_each(|value| *value *= factor);
        Ok(Self { a, b, combined, h })
    }
}

/// For every column the sum of coefficient * basis\[row\]. Each thread reads all terms for a range of columns: reading costs little,
/// and no thread needs sums of its own for all columns.
fn column_sums(matrices: &Matrices, matrix: &SparseMatrix, basis: &[Fr]) -> Vec<Fr> {
    let table = matrices.coefficient_table();
    let mut sums = vec![Fr::ZERO; matrices.variables()];
    let range = sums.len().div_ceil(rayon::current_num_threads()).max(1);
    sums.par_chunks_mut(range).enumerate().for_each(|(number, sums)| {
        let first = number * range;
        for (row, basis) in basis.iter().enumerate().take(matrix.row_count()) {
            let (columns, coefficients) = matrix.row(row);
            for (column, coefficient) in columns.iter().zip(coefficients) {
                let Some(sum) = sums.get_mut((*column as usize).wrapping_sub(first)) else { continue };
                match *coefficient {
                    COEFFICIENT_ONE => *sum += basis,
                    COEFFICIENT_MINUS_ONE => *sum -= basis,
                    index => *sum += table[index as usize] * basis,
                }
            }
        }
    });
    sums
}

/// Places and values of the elements that are not zero.
pub(super) fn without_zeros(values: &[Fr]) -> (Vec<u32>, Vec<Fr>) {
    values
        .iter()
        .enumerate()
        .filter(|(_, value)| **value != Fr::ZERO)
        .map(|(i, value)| (i as u32, *value))
        .unzip()
}
