//! arkworks and we prove the same circuit, with its keys and with ours, and verify each other's proofs.
//!
//! The circuit goes through the bytes of an `.r1cs` file. Only the reduction to polynomials is not arkworks' own: [`OddCoset`]
//! evaluates the quotient where keys of iden3's kind have their H query; domain, sums and pairings are arkworks'.

use std::sync::Arc;

use crate::common::{Chain, Mixed, witness_of};
use ark_bn254::{
    Bn254, Fq as ArkFq, Fq2 as ArkFq2, Fr as ArkFr, G1Affine as ArkG1, G1Projective, G2Affine as ArkG2,
    G2Projective,
};
use ark_ec::{AffineRepr, PrimeGroup};
use ark_ff::{BigInteger, PrimeField as ArkPrimeField, UniformRand};
use ark_groth16::r1cs_to_qap::{LibsnarkReduction, R1CSToQAP, evaluate_constraint};
use ark_groth16::{
    Groth16, Proof as ArkProof, ProvingKey, VerifyingKey as ArkVerifyingKey, prepare_verifying_key,
};
use ark_poly::EvaluationDomain;
use ark_relations::gr1cs::{
    ConstraintSynthesizer, ConstraintSystemRef, LinearCombination, Matrix, SynthesisError, Variable,
};
use ark_std::rand::{SeedableRng, rngs::StdRng};
use bellman::Circuit;
use bn254::ntt::Generator;
use bn254::{
    Fq, Fq2, Fr, G1Affine, G2Affine, PrimeCurveAffine, fq_from_le_bytes, fq_to_le_bytes, fr_to_le_bytes,
};
use proptest::prelude::*;
use prover::iden3::r1cs;
use prover::matrices::SparseMatrix;
use prover::{
    Cancel, CpuBackend, DevTrapdoor, Key, KeyParts, Matrices, NoProgress, Origin, PreparedVerifyingKey,
    Proof, Prover, VerifyingKey, Witness, generate_for, verify,
};

type Groth = Groth16<Bn254, OddCoset>;

/// The quotient by its values on the odd coset: A·B − C there, for which H has the factor −1/2 of the vanishing polynomial.
struct OddCoset;

impl OddCoset {
    /// The odd coset of a domain of n points: those of the domain of 2n that are not in it.
    fn of<F: ArkPrimeField, D: EvaluationDomain<F>>(domain: &D) -> D {
        let twice = D::new(2 * domain.size()).unwrap();
        domain.get_coset(twice.group_gen()).unwrap()
    }
}

impl R1CSToQAP for OddCoset {
    fn instance_map_with_evaluation<F: ArkPrimeField, D: EvaluationDomain<F>>(
        cs: ConstraintSystemRef<F>,
        t: &F,
    ) -> Result<(Vec<F>, Vec<F>, Vec<F>, F, usize, usize), SynthesisError> {
        LibsnarkReduction::instance_map_with_evaluation::<F, D>(cs, t)
    }

    fn witness_map_from_matrices<F: ArkPrimeField, D: EvaluationDomain<F>>(
        matrices: &[Matrix<F>],
        inputs: usize,
        constraints: usize,
        assignment: &[F],
    ) -> Result<Vec<F>, SynthesisError> {
        let domain = D::new(constraints + inputs).ok_or(SynthesisError::PolynomialDegreeTooLarge)?;
        let coset = Self::of(&domain);
        let on_coset = |matrix: usize| {
            let mut values = vec![F::zero(); domain.size()];
            for (value, row) in values.iter_mut().zip(&matrices[matrix]) {
                *value = evaluate_constraint(row, assignment);
            }
            if matrix == 0 {
                values[constraints..constraints + inputs].copy_from_slice(&assignment[..inputs]);
            }
            domain.ifft_in_place(&mut values);
            coset.fft_in_place(&mut values);
            values
        };
        let [a, b, c] = [0, 1, 2].map(on_coset);
        Ok(a.iter().zip(&b).zip(&c).map(|((a, b), c)| *a * b - c).collect())
    }

    fn h_query_scalars<F: ArkPrimeField, D: EvaluationDomain<F>>(
        max_power: usize,
        t: F,
        zt: F,
        delta_inverse: F,
    ) -> Result<Vec<F>, SynthesisError> {
        let domain = D::new(max_power + 1).ok_or(SynthesisError::PolynomialDegreeTooLarge)?;
        let factor = -(zt * delta_inverse * F::from(2_u64).inverse().unwrap());
        let basis = Self::of(&domain).evaluate_all_lagrange_coefficients(t);
        Ok(basis.into_iter().map(|value| value * factor).collect())
    }
}

/// Our matrices as a circuit of arkworks.
#[derive(Clone, Copy)]
struct OfMatrices<'a> {
    matrices: &'a Matrices,
    witness: &'a Witness,
}

impl ConstraintSynthesizer<ArkFr> for OfMatrices<'_> {
    fn generate_constraints(self, cs: ConstraintSystemRef<ArkFr>) -> Result<(), SynthesisError> {
        let mut variables = vec![Variable::One];
        for (i, value) in self.witness.values().iter().enumerate().skip(1) {
            let value = || Ok(ark_fr(value));
            let input = i < self.matrices.inputs();
            variables.push(if input {
                cs.new_input_variable(value)?
            } else {
                cs.new_witness_variable(value)?
            });
        }
        let table: Vec<ArkFr> = self.matrices.coefficient_table().iter().map(ark_fr).collect();
        let combination = |matrix: &SparseMatrix, row: usize| {
            let (columns, coefficients) = matrix.row(row);
            let terms = columns.iter().zip(coefficients);
            terms.fold(LinearCombination::new(), |sum, (column, coefficient)| {
                sum + (table[*coefficient as usize], variables[*column as usize])
            })
        };
        for row in 0..self.matrices.constraints() {
            cs.enforce_r1cs_constraint(
                || combination(self.matrices.a(), row),
                || combination(self.matrices.b(), row),
                || combination(self.matrices.c(), row),
            )?;
        }
        Ok(())
    }
}

fn ark_fr(value: &Fr) -> ArkFr {
    ArkFr::from_le_bytes_mod_order(&fr_to_le_bytes(value))
}

fn ark_fq(value: &Fq) -> ArkFq {
    ArkFq::from_le_bytes_mod_order(&fq_to_le_bytes(value))
}

fn fq(value: ArkFq) -> Fq {
    fq_from_le_bytes(&value.into_bigint().to_bytes_le().try_into().unwrap()).unwrap()
}

fn ark_g1(point: &G1Affine) -> ArkG1 {
    let finite = !bool::from(point.is_identity());
    if finite { ArkG1::new(ark_fq(&point.x), ark_fq(&point.y)) } else { ArkG1::zero() }
}

fn ark_g2(point: &G2Affine) -> ArkG2 {
    let fq2 = |value: &Fq2| ArkFq2::new(ark_fq(value.c0()), ark_fq(value.c1()));
    let finite = !bool::from(point.is_identity());
    if finite { ArkG2::new(fq2(&point.x), fq2(&point.y)) } else { ArkG2::zero() }
}

fn g1(point: &ArkG1) -> G1Affine {
    point.xy().map_or_else(G1Affine::identity, |(x, y)| G1Affine { x: fq(x), y: fq(y) })
}

fn g2(point: &ArkG2) -> G2Affine {
    let fq2 = |value: ArkFq2| Fq2::new(fq(value.c0), fq(value.c1));
    point.xy().map_or_else(G2Affine::identity, |(x, y)| G2Affine { x: fq2(x), y: fq2(y) })
}

fn ark_proof(proof: &Proof) -> ArkProof<Bn254> {
    ArkProof { a: ark_g1(proof.a()), b: ark_g2(proof.b()), c: ark_g1(proof.c()) }
}

fn our_proof(proof: &ArkProof<Bn254>) -> Proof {
    Proof::new(g1(&proof.a), g2(&proof.b), g1(&proof.c)).unwrap()
}

/// Our key as arkworks has it, with a point for every variable.
fn ark_key(parts: &KeyParts) -> ProvingKey<Bn254> {
    let variables = parts.inputs + parts.aux;
    let (mut a_query, mut b_g1_query) = (vec![ArkG1::zero(); variables], vec![ArkG1::zero(); variables]);
    let mut b_g2_query = vec![ArkG2::zero(); variables];
    for (column, point) in parts.a_columns.iter().zip(&parts.a) {
        a_query[*column as usize] = ark_g1(point);
    }
    for ((column, of_g1), of_g2) in parts.b_columns.iter().zip(&parts.b1).zip(&parts.b2) {
        b_g1_query[*column as usize] = ark_g1(of_g1);
        b_g2_query[*column as usize] = ark_g2(of_g2);
    }
    ProvingKey {
        vk: ArkVerifyingKey {
            alpha_g1: ark_g1(&parts.vk.alpha_g1),
            beta_g2: ark_g2(&parts.vk.beta_g2),
            gamma_g2: ark_g2(&parts.vk.gamma_g2),
            delta_g2: ark_g2(&parts.vk.delta_g2),
            gamma_abc_g1: parts.vk.ic.iter().map(ark_g1).collect(),
        },
        beta_g1: ark_g1(&parts.vk.beta_g1),
        delta_g1: ark_g1(&parts.vk.delta_g1),
        a_query,
        b_g1_query,
        b_g2_query,
        h_query: parts.h.iter().map(ark_g1).collect(),
        l_query: parts.l.iter().map(ark_g1).collect(),
    }
}

/// A key of arkworks as ours.
fn our_key(key: &ProvingKey<Bn254>, matrices: &Matrices) -> KeyParts {
    let places = |infinite: Vec<bool>| -> Vec<u32> {
        (0..).zip(infinite).filter(|(_, infinite)| !infinite).map(|(place, _)| place).collect()
    };
    let a_columns = places(key.a_query.iter().map(AffineRepr::is_zero).collect());
    let b_columns = places(key.b_g1_query.iter().map(AffineRepr::is_zero).collect());
    KeyParts {
        origin: Origin::UnsafeDev { seed: "arkworks".to_owned() },
        circuit: matrices.digest(),
        inputs: matrices.inputs(),
        aux: matrices.aux(),
        constraints: matrices.constraints(),
        generator: Generator::Five,
        vk: VerifyingKey {
            alpha_g1: g1(&key.vk.alpha_g1),
            beta_g1: g1(&key.beta_g1),
            beta_g2: g2(&key.vk.beta_g2),
            gamma_g2: g2(&key.vk.gamma_g2),
            delta_g1: g1(&key.delta_g1),
            delta_g2: g2(&key.vk.delta_g2),
            ic: key.vk.gamma_abc_g1.iter().map(g1).collect(),
        },
        a: a_columns.iter().map(|column| g1(&key.a_query[*column as usize])).collect(),
        a_columns,
        b1: b_columns.iter().map(|column| g1(&key.b_g1_query[*column as usize])).collect(),
        b2: b_columns.iter().map(|column| g2(&key.b_g2_query[*column as usize])).collect(),
        b_columns,
        l: key.l_query.iter().map(g1).collect(),
        h: key.h_query.iter().map(g1).collect(),
    }
}

/// Both prove with the key, in the form of each, and verify both proofs; both refuse them for other inputs.
fn both_prove(
    matrices: &Matrices,
    witness: &Witness,
    parts: &KeyParts,
    key: &ProvingKey<Bn254>,
    rng: &mut StdRng,
) {
    let our_vk = PreparedVerifyingKey::new(&parts.vk).unwrap();
    let ark_vk = prepare_verifying_key(&key.vk);
    let prover = Prover::new(
        Arc::new(CpuBackend::new()),
        Arc::new(Key::from_parts(parts).unwrap()),
        Arc::new(matrices.clone()),
    )
    .unwrap();
    let ours = prover.prove(witness, &Cancel::new()).unwrap().proof;
    let circuit = OfMatrices { matrices, witness };
    let (r, s) = (ArkFr::rand(rng), ArkFr::rand(rng));
    let theirs = Groth::create_proof_with_reduction(circuit, key, r, s).unwrap();

    let inputs = witness.public_inputs();
    let mut others = inputs.to_vec();
    others[0] += Fr::from(1);
    for proof in [ark_proof(&ours), theirs.clone()] {
        for (inputs, holds) in [(inputs, true), (&others, false)] {
            let inputs: Vec<ArkFr> = inputs.iter().map(ark_fr).collect();
            assert_eq!(Groth::verify_proof(&ark_vk, &proof, &inputs).unwrap(), holds);
        }
    }
    for proof in [ours, our_proof(&theirs)] {
        for (inputs, holds) in [(inputs, true), (&others, false)] {
            assert_eq!(verify(&our_vk, &proof, inputs).is_ok(), holds);
        }
    }
}

fn exchange<C: Circuit<Fr>>(shape: C, circuit: C, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let witness = witness_of(circuit);
    let matrices = r1cs::read(&r1cs::write(&Matrices::synthesize(shape).unwrap()).unwrap()).unwrap();

    let trapdoor = DevTrapdoor::from_seed(&format!("arkworks {seed}"));
    let parts = generate_for(Generator::Five, &matrices, &trapdoor, &NoProgress).unwrap();
    both_prove(&matrices, &witness, &parts, &ark_key(&parts), &mut rng);

    let circuit = OfMatrices { matrices: &matrices, witness: &witness };
    // With the generators that everybody has: arkworks' random keys are over random ones.
    let [alpha, beta, gamma, delta] = std::array::from_fn(|_| ArkFr::rand(&mut rng));
    let (of_g1, of_g2) = (G1Projective::generator(), G2Projective::generator());
    let key = Groth::generate_parameters_with_qap(circuit, alpha, beta, gamma, delta, of_g1, of_g2, &mut rng)
        .unwrap();
    both_prove(&matrices, &witness, &our_key(&key, &matrices), &key, &mut rng);
}

#[test]
fn a_circuit_with_everything_is_proved_with_keys_of_both() {
    exchange(Mixed::shape(), Mixed::new(77), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn chains_of_any_length_are_proved_with_keys_of_both(steps in 1_usize..200, start: u64, seed: u64) {
        exchange(Chain::shape(steps), Chain::new(steps, start), seed);
    }
}
