//! The part of a proof that every backend without sparse kernels does on the processor: from a witness to the values
//! of A*z, B*z, C*z on the domain.
//!
//! Invariant: what leaves [`sparse_products`] or [`reversed_products`] satisfies every constraint, unless C is not known
//! ([`Matrices::c_is_known`]): then the finished proof tells.

use std::sync::atomic::{AtomicUsize, Ordering};

use bn254::ntt::fill_reversed;
use bn254::{Field, Fr};
use rayon::prelude::*;

use crate::backend::BackendError;
use crate::matrices::Matrices;
use crate::witness::Witness;

/// Elements that one task takes at least.
const MIN_CHUNK: usize = 1 << 10;

/// Whether the witness has the shape of the circuit and begins with one.
///
/// # Errors
/// [`BackendError::WitnessShape`].
pub fn check_shape(matrices: &Matrices, witness: &Witness) -> Result<(), BackendError> {
    let (inputs, aux) = (witness.inputs().len(), witness.aux().len());
    let fits = inputs == matrices.inputs() && aux == matrices.aux();
    if fits && witness.inputs().first() == Some(&Fr::ONE) {
        Ok(())
    } else {
        Err(BackendError::WitnessShape { inputs, aux })
    }
}

/// A*z, B*z, C*z on the domain, with the implied rows.
///
/// # Errors
/// [`BackendError::WitnessShape`]; [`BackendError::Unsatisfied`] with the first constraint that the witness breaks.
pub fn sparse_products(matrices: &Matrices, witness: &Witness) -> Result<[Vec<Fr>; 3], BackendError> {
    check_shape(matrices, witness)?;
    let [mut a, b, mut c] = [matrices.a(), matrices.b(), matrices.c()].map(|matrix| {
        let mut values = vec![Fr::ZERO; 1 << matrices.domain_log()];
        matrices.multiply(matrix, witness.values(), &mut values);
        values
    });
    let rows = matrices.constraints();
    if !matrices.c_is_known() {
        c.par_iter_mut().zip(&a).zip(&b).with_min_len(MIN_CHUNK).for_each(|((c, a), b)| *c = a * b);
    }
    let broken =
        (0..rows).into_par_iter().with_min_len(MIN_CHUNK).find_first(|row| a[*row] * b[*row] != c[*row]);
    if let Some(row) = broken {
        return Err(BackendError::Unsatisfied(row));
    }
    a[rows..rows + matrices.inputs()].copy_from_slice(witness.inputs());
    Ok([a, b, c])
}

/// A*z, B*z and their products in bit-reversed order, as [`bn254::Domain::quotient`] takes them. The products are what C*z has to
/// be, with which they are compared row by row, and zero in the implied rows.
///
/// # Errors
/// As [`sparse_products`].
pub fn reversed_products(matrices: &Matrices, witness: &Witness) -> Result<[Vec<Fr>; 3], BackendError> {
    check_shape(matrices, witness)?;
    let (rows, z) = (matrices.constraints(), witness.values());
    let broken = AtomicUsize::new(usize::MAX);
    let mut products: [Vec<Fr>; 3] = std::array::from_fn(|_| vec![Fr::ZERO; 1 << matrices.domain_log()]);
    let [a, b, c] = &mut products;
    fill_reversed([a, b, c], |row| {
        if row >= rows {
            let input = witness.inputs().get(row - rows).copied();
            return [input.unwrap_or(Fr::ZERO), Fr::ZERO, Fr::ZERO];
        }
        let [a, b, c] = [matrices.a(), matrices.b(), matrices.c()].map(|matrix| matrices.dot(matrix, row, z));
        let product = a * b;
        if product != c && matrices.c_is_known() {
            broken.fetch_min(row, Ordering::Relaxed);
        }
        [a, b, product]
    });
    match broken.into_inner() {
        usize::MAX => Ok(products),
        row => Err(BackendError::Unsatisfied(row)),
    }
}
