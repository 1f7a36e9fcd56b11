//! Proofs of real circuits, checked by bellman's verifier and made by bellman's prover from our keys.

use crate::common::{Chain, Mixed, prover_of, witness_of};
use bellman::groth16;
use bn254::{Bn256, Field, Fr};
use prover::{Cancel, VerifyError, Witness, verify};
use rand_core::OsRng;

fn bellman_accepts(prover: &prover::Prover, proof: &prover::Proof, inputs: &[Fr]) -> bool {
    let prepared = groth16::prepare_verifying_key(&prover.key().verifying_key().to_bellman());
    groth16::verify_proof(&prepared, &proof.to_bellman(), inputs).is_ok()
}

#[test]
fn proofs_verify_with_bellman_at_every_domain_size() {
    // 2^k constraints and one more or less: the implied rows decide the domain.
    for steps in [1, 2, 5, 6, 7, 30, 31, 1022, 1023, 1 << 12] {
        let prover = prover_of(Chain::shape(steps));
        let witness = witness_of(Chain::new(steps, 3));
        let proven = prover.prove(&witness, &Cancel::new()).unwrap();
        assert!(bellman_accepts(&prover, &proven.proof, witness.public_inputs()), "{steps} steps");
        assert!(!bellman_accepts(&prover, &proven.proof, &[witness.public_inputs()[0] + Fr::ONE]));
    }
}

#[test]
fn bits_gaps_and_repeated_variables_prove() {
    let prover = prover_of(Mixed::shape());
    for number in [0, 1, 2, 0xdead_beef, u64::MAX - 2] {
        let witness = witness_of(Mixed::new(number));
        let proven = prover.prove(&witness, &Cancel::new()).unwrap();
        let mut inputs = witness.public_inputs().to_vec();
        assert!(bellman_accepts(&prover, &proven.proof, &inputs));
        assert_eq!(verify(prover.verifying_key(), &proven.proof, &inputs), Ok(()));
        inputs[1] += Fr::ONE;
        assert_eq!(verify(prover.verifying_key(), &proven.proof, &inputs), Err(VerifyError::Invalid));
        assert_eq!(
            verify(prover.verifying_key(), &proven.proof, &inputs[1..]),
            Err(VerifyError::WrongInputCount { expected: 2, got: 1 })
        );
    }
}

#[test]
fn bellmans_prover_makes_proofs_with_our_key() {
    let prover = prover_of(Mixed::shape());
    let parameters = prover.key().to_bellman_parameters().unwrap();
    let proof: groth16::Proof<Bn256> =
        groth16::create_random_proof(Mixed::new(12345), &parameters, &mut OsRng).unwrap();
    let inputs = witness_of(Mixed::new(12345)).public_inputs().to_vec();
    let proof = prover::Proof::from_bellman(&proof).unwrap();
    assert_eq!(verify(prover.verifying_key(), &proof, &inputs), Ok(()));
    assert_eq!(verify(prover.verifying_key(), &proof, &[inputs[0], Fr::ONE]), Err(VerifyError::Invalid));
}

#[test]
fn two_proofs_of_one_witness_differ() {
    let prover = prover_of(Chain::shape(5));
    let witness: Witness = witness_of(Chain::new(5, 3));
    let [first, second] = [(); 2].map(|()| prover.prove(&witness, &Cancel::new()).unwrap().proof);
    assert_ne!(first.a(), second.a());
    assert_ne!(first.b(), second.b());
    assert_ne!(first.c(), second.c());
}
