//! Proving keys from a development trapdoor.
//!
//! Everything is evaluated in the Lagrange basis: the polynomial of variable i in matrix A has the value A\[row\]\[i\] at
//! the row's domain point, so at tau it is the sum over the column of A\[row\]\[i\] * L_row(tau). Then each query is a
//! vector of scalars times a fixed base.

use bn254::fixed_base::FixedBase;
use bn254::ntt::{DomainTooLarge, Generator};
use bn254::{Curve, Domain, Field, Fr, G1Affine, G2Affine, PrimeField};
use rayon::prelude::*;

use crate::dev::DevTrapdoor;
use crate::key::{KeyParts, MAX_ORIGIN_BYTES, Origin};
use crate::matrices::{Matrices, SparseMatrix};
use crate::progress::Progress;
use crate::verifying_key::VerifyingKey;

/// Why no key could be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeygenError {
    /// The circuit has too many rows.
    #[error(transparent)]
    Domain(#[from] DomainTooLarge),
    /// A private variable occurs in no constraint.
    #[error(
        "PM-KEYGEN-001: private variable {0} occurs in no constraint; constrain it or do not allocate it"
    )]
    UnconstrainedVariable(usize),
    /// The secrets of the trapdoor do not make a key (a secret is zero, delta = gamma, or tau is in the domain).
    #[error("PM-KEYGEN-002: this seed gives a degenerate key; choose another seed")]
    DegenerateTrapdoor,
    /// The seed does not fit a key file.
    #[error("PM-KEYGEN-003: the seed is longer than {MAX_ORIGIN_BYTES} bytes; choose a shorter one")]
    SeedTooLong,
}

/// Makes the proving key of a circuit from a development trapdoor, in bellman's order of the domain. The key is marked UNSAFE.
///
/// # Errors
/// [`KeygenError`].
pub fn generate(
    matrices: &Matrices,
    trapdoor: &DevTrapdoor,
    progress: &dyn Progress,
) -> Result<KeyParts, KeygenError> {
    generate_for(Generator::Seven, matrices, trapdoor, progress)
}

/// As [`generate`], for the order of either generator: keys that go to iden3's programs need [`Generator::Five`].
///
/// # Errors
/// [`KeygenError`].
pub fn generate_for(
    generator: Generator,
    matrices: &Matrices,
    trapdoor: &DevTrapdoor,
    progress: &dyn Progress,
) -> Result<KeyParts, KeygenError> {
    if trapdoor.seed().len() > MAX_ORIGIN_BYTES {
        return Err(KeygenError::SeedTooLong);
    }
    let domain = Domain::with_generator(matrices.domain_log(), generator)?;
    let secrets = [trapdoor.tau, trapdoor.alpha, trapdoor.beta, trapdoor.gamma, trapdoor.delta];
    if secrets.contains(&Fr::ZERO) || trapdoor.gamma == trapdoor.delta {
        return Err(KeygenError::DegenerateTrapdoor);
    }
    let scalars = QueryScalars::evaluate(matrices, trapdoor, &domain)?;
    let inputs = matrices.inputs();

    let (a_columns, a) = without_zeros(&scalars.a);
    let (b_columns, b) = without_zeros(&scalars.b);
    let (ic, l) = scalars.combined.split_at(inputs);
    if let Some(variable) = l.iter().position(|value| *value == Fr::ZERO) {
        return Err(KeygenError::UnconstrainedVariable(variable));
    }

    let g1_count = a.len() + b.len() + scalars.combined.len() + scalars.h.len();
    let steps = |stage, scalars: &[Fr]| progress.begin(stage, scalars.len() as u64);
    let g1 = FixedBase::new(G1Affine::generator(), g1_count);
    let multiples = |stage: &'static str, scalars: &[Fr]| {
        steps(stage, scalars);
        g1.multiples(scalars, |done| progress.advance(done))
    };
    let vk_g1 = g1.multiples(&[trapdoor.alpha, trapdoor.beta, trapdoor.delta], |_| ());
    let ic = g1.multiples(ic, |_| ());
    let a = multiples("A in G1", &a);
    let b1 = multiples("B in G1", &b);
    let l = multiples("L in G1", l);
    let h = multiples("H in G1", &scalars.h);
    drop(g1);

    steps("B in G2", &b);
    let g2 = FixedBase::new(G2Affine::generator(), b.len());
    let b2 = g2.multiples(&b, |done| progress.advance(done));
    let multiple_of_g2 = |secret: Fr| (G2Affine::generator() * secret).to_affine();

    Ok(KeyParts {
        origin: Origin::UnsafeDev { seed: trapdoor.seed().to_owned() },
        circuit: matrices.digest(),
        inputs,
        aux: matrices.aux(),
        constraints: matrices.constraints(),
        generator,
        vk: VerifyingKey {
            alpha_g1: vk_g1[0],
            beta_g1: vk_g1[1],
            delta_g1: vk_g1[2],
            beta_g2: multiple_of_g2(trapdoor.beta),
            gamma_g2: multiple_of_g2(trapdoor.gamma),
            delta_g2: multiple_of_g2(trapdoor.delta),
            ic,
        },
        a_columns,
        a,
        b_columns,
        b1,
        b2,
        l,
        h,
    })
}

/// The discrete logarithms of all queries.
struct QueryScalars {
    /// u_i(tau) per variable.
    a: Vec<Fr>,
    /// v_i(tau) per variable.
    b: Vec<Fr>,
    /// (beta*u_i + alpha*v_i + w_i)(tau), over gamma for the inputs and over delta for the rest.
    combined: Vec<Fr>,
    /// -1/2 * M_j(tau) * Z(tau) / delta, M_j the Lagrange basis of the odd coset: see [`crate::key`].
    h: Vec<Fr>,
}

impl QueryScalars {
    fn evaluate(matrices: &Matrices, trapdoor: &DevTrapdoor, domain: &Domain) -> Result<Self, KeygenError> {
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
        let mut combined: Vec<Fr> =
            a.par_iter().zip(&b).zip(&c).map(|((a, b), c)| beta * a + alpha * b + c).collect();
        for (i, value) in combined.iter_mut().enumerate() {
            *value *= if i < matrices.inputs() { gamma_inverse } else { delta_inverse };
        }
        let vanishing = tau.pow_vartime([domain.size() as u64]) - Fr::ONE;
        let factor = -(Fr::TWO_INV * vanishing * delta_inverse);
        let mut h = domain.lagrange_at(tau, domain.coset_shift()).ok_or(KeygenError::DegenerateTrapdoor)?;
        h.par_iter_mut().for_each(|value| *value *= factor);
        Ok(Self { a, b, combined, h })
    }
}

/// For every column the sum of coefficient * basis\[row\].
fn column_sums(matrices: &Matrices, matrix: &SparseMatrix, basis: &[Fr]) -> Vec<Fr> {
    let table = matrices.coefficient_table();
    let mut sums = vec![Fr::ZERO; matrices.variables()];
    for (row, basis) in basis.iter().enumerate().take(matrix.row_count()) {
        let (columns, coefficients) = matrix.row(row);
        for (column, coefficient) in columns.iter().zip(coefficients) {
            sums[*column as usize] += match *coefficient {
                crate::matrices::COEFFICIENT_ONE => *basis,
                crate::matrices::COEFFICIENT_MINUS_ONE => -*basis,
                index => table[index as usize] * basis,
            };
        }
    }
    sums
}

/// Places and values of the elements that are not zero.
fn without_zeros(values: &[Fr]) -> (Vec<u32>, Vec<Fr>) {
    values
        .iter()
        .enumerate()
        .filter(|(_, value)| **value != Fr::ZERO)
        .map(|(i, value)| (i as u32, *value))
        .unzip()
}
