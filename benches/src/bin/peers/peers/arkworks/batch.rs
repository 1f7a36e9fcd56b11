//! arkworks on a key and matrices of iden3's kind: [`OddCoset`] evaluates the quotient where such keys have their H query;
//! domain, sums and pairings are arkworks' own.

use ark_bn254::{Bn254, Fr};
use ark_ff::{PrimeField, UniformRand};
use ark_groth16::r1cs_to_qap::{LibsnarkReduction, R1CSToQAP, evaluate_constraint};
use ark_groth16::{Groth16, prepare_verifying_key};
use ark_poly::EvaluationDomain;
use ark_relations::gr1cs::{ConstraintSystemRef, Matrix, SynthesisError};
use ark_std::rand::{SeedableRng, rngs::StdRng};
use circuits::shape::Shape;
use eyre::bail;
use proofmill_benches::ark;
use prover::Matrices;
use prover::matrices::SparseMatrix;
use rayon::prelude::*;

use crate::child::Work;
use crate::files::Files;

type Groth = Groth16<Bn254, OddCoset>;

/// From what the files hold, which is in memory before.
///
/// # Errors
/// If its proof does not verify.
pub fn batch(shape: Shape) -> eyre::Result<Work> {
    let (key, witness) = Files::of(shape)?.read()?;
    let matrices = [of_ours(&key.matrices, key.matrices.a()), of_ours(&key.matrices, key.matrices.b())];
    let (inputs, constraints) = (key.matrices.inputs(), key.matrices.constraints());
    let assignment: Vec<Fr> = witness.values().iter().map(ark::fr).collect();
    let key = ark::proving_key(&key.parts);
    let mut rng = StdRng::seed_from_u64(3);
    let mut prove = move || {
        let (r, s) = (Fr::rand(&mut rng), Fr::rand(&mut rng));
        let proof = Groth::create_proof_with_reduction_and_matrices(
            &key,
            r,
            s,
            &matrices,
            inputs,
            constraints,
            &assignment,
        );
        proof.map(|proof| (proof, prepare_verifying_key(&key.vk), assignment[1..inputs].to_vec()))
    };
    let (proof, key, public) = prove()?;
    if !Groth::verify_proof(&key, &proof, &public)? {
        bail!("its proof does not verify");
    }
    Ok(Work::here(move || Ok(prove().map(drop)?)))
}

fn of_ours(matrices: &Matrices, matrix: &SparseMatrix) -> Matrix<Fr> {
    let table: Vec<Fr> = matrices.coefficient_table().iter().map(ark::fr).collect();
    let row = |row: usize| {
        let (columns, coefficients) = matrix.row(row);
        let terms = columns.iter().zip(coefficients);
        terms.map(|(column, coefficient)| (table[*coefficient as usize], *column as usize)).collect()
    };
    (0..matrices.constraints()).map(row).collect()
}

/// The quotient by its values on the odd coset: A·B − C there, for which H has the factor −1/2 of the vanishing polynomial. C is
/// taken from A and B, as of a `.zkey`.
struct OddCoset;

impl OddCoset {
    /// The odd coset of a domain of n points: those of the domain of 2n that are not in it.
    fn of<F: PrimeField, D: EvaluationDomain<F>>(domain: &D) -> Result<D, SynthesisError> {
        let twice = D::new(2 * domain.size()).ok_or(SynthesisError::PolynomialDegreeTooLarge)?;
        domain.get_coset(twice.group_gen()).ok_or(SynthesisError::PolynomialDegreeTooLarge)
    }
}

impl R1CSToQAP for OddCoset {
    fn instance_map_with_evaluation<F: PrimeField, D: EvaluationDomain<F>>(
        cs: ConstraintSystemRef<F>,
        t: &F,
    ) -> Result<(Vec<F>, Vec<F>, Vec<F>, F, usize, usize), SynthesisError> {
        LibsnarkReduction::instance_map_with_evaluation::<F, D>(cs, t)
    }

    fn witness_map_from_matrices<F: PrimeField, D: EvaluationDomain<F>>(
        matrices: &[Matrix<F>],
        inputs: usize,
        constraints: usize,
        assignment: &[F],
    ) -> Result<Vec<F>, SynthesisError> {
        let domain = D::new(constraints + inputs).ok_or(SynthesisError::PolynomialDegreeTooLarge)?;
        let coset = Self::of(&domain)?;
        let of_rows = |matrix: &Matrix<F>| {
            let mut values = vec![F::zero(); domain.size()];
            let rows = values[..constraints].par_iter_mut().zip(matrix);
            rows.for_each(|(value, row)| *value = evaluate_constraint(row, assignment));
            values
        };
        let mut a = of_rows(&matrices[0]);
        a[constraints..constraints + inputs].copy_from_slice(&assignment[..inputs]);
        let mut b = of_rows(&matrices[1]);
        let mut c: Vec<F> = a.par_iter().zip(&b).map(|(a, b)| *a * b).collect();
        for values in [&mut a, &mut b, &mut c] {
            domain.ifft_in_place(values);
            coset.fft_in_place(values);
        }
        a.par_iter_mut().zip(&b).zip(&c).for_each(|((a, b), c)| *a = *a * b - c);
        Ok(a)
    }

    fn h_query_scalars<F: PrimeField, D: EvaluationDomain<F>>(
        max_power: usize,
        t: F,
        zt: F,
        delta_inverse: F,
    ) -> Result<Vec<F>, SynthesisError> {
        let domain = D::new(max_power + 1).ok_or(SynthesisError::PolynomialDegreeTooLarge)?;
        let half = F::from(2_u64).inverse().ok_or(SynthesisError::DivisionByZero)?;
        let factor = -(zt * delta_inverse * half);
        let basis = Self::of(&domain)?.evaluate_all_lagrange_coefficients(t);
        Ok(basis.into_iter().map(|value| value * factor).collect())
    }
}
