//! The part of a proof that every backend without sparse kernels of its own does on the processor: from a witness to the values
//! of A*z, B*z, C*z on the domain.
//!
//! Invariant: what leaves [`sparse_products`] or [`Products::reversed`] satisfies every constraint, unless C is not known
//! ([`Matrices::c_is_known`]): then the finished proof tells.

use std::sync::atomic::{AtomicUsize, Ordering};

use bn254::bit_order::{bit_reversed, fill_reversed};
use bn254::pages::Pages;
use bn254::sparse::{Coefficients, Groups};
use bn254::{Field, Fr};
use rayon::prelude::*;

use crate::backend::BackendError;
use crate::matrices::{Matrices, SparseMatrix};
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

/// How the processor works out the products of a circuit's matrices, made once for the circuit: eight rows at a time of those that
/// are alike, where it has the instructions.
pub struct Products {
    coefficients: Option<Coefficients>,
    groups: [Groups; 3],
}

impl Products {
    /// Looks for rows that are alike.
    pub fn new(matrices: &Matrices) -> Self {
        let Some(coefficients) = Coefficients::new(matrices.table()) else {
            return Self { coefficients: None, groups: Default::default() };
        };
        let of = |matrix: &SparseMatrix| Groups::new(&matrix.as_rows(), &coefficients);
        let (a, (b, c)) =
            rayon::join(|| of(matrices.a()), || rayon::join(|| of(matrices.b()), || of(matrices.c())));
        Self { coefficients: Some(coefficients), groups: [a, b, c] }
    }

    /// A*z, B*z and their products in bit-reversed order, as [`bn254::Domain::quotient`] takes them. The products are what C*z has
    /// to be, with which they are compared row by row, and zero in the implied rows. The matrices are those that this was made for.
    ///
    /// # Errors
    /// As [`sparse_products`].
    pub fn reversed(&self, matrices: &Matrices, witness: &Witness) -> Result<[Pages<Fr>; 3], BackendError> {
        check_shape(matrices, witness)?;
        let (rows, z) = (matrices.constraints(), witness.values());
        let all = [matrices.a(), matrices.b(), matrices.c()];
        let mut products: [Pages<Fr>; 3] = std::array::from_fn(|_| Pages::zeroed(1 << matrices.domain_log()));
        if let Some(coefficients) = &self.coefficients {
            for ((groups, matrix), out) in self.groups.iter().zip(all).zip(&mut products) {
                groups.multiply_reversed(&matrix.as_rows(), coefficients, z, out);
            }
        }
        let [a, b, c] = &mut products;
        fill_reversed([&mut *a, &mut *b, &mut *c], |row| {
            if row >= rows {
                return [witness.inputs().get(row - rows).copied(), None, None];
            }
            std::array::from_fn(|which| {
                (!self.groups[which].contains(row)).then(|| matrices.dot(all[which], row, z))
            })
        });
        let (broken, log) = (AtomicUsize::new(usize::MAX), matrices.domain_log());
        let places = a.par_iter().zip(&**b).zip(&mut **c).enumerate().with_min_len(MIN_CHUNK);
        places.for_each(|(place, ((a, b), c))| {
            let product = a * b;
            if product != *c && matrices.c_is_known() {
                broken.fetch_min(bit_reversed(place, log), Ordering::Relaxed);
            }
            *c = product;
        });
        match broken.into_inner() {
            usize::MAX => Ok(products),
            row => Err(BackendError::Unsatisfied(row)),
        }
    }
}
