//! What the prover, proofs and verification refuse.

use std::sync::Arc;

use crate::common::{Chain, Mixed, key_of, prover_of, witness_of};
use bn254::{Bn256, Curve, Field, Fr, G1, G1Affine, G2Affine, PrimeCurveAffine};
use prover::{
    Backend, BackendError, Cancel, CpuBackend, DevTrapdoor, Key, KeyId, KeygenError, Matrices, NoProgress,
    Proof, ProofError, ProveError, Prover, Sums, Timings, VerifyError, Witness, generate, simulate_proof,
    verify,
};

#[test]
fn keys_matrices_and_provers_are_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Prover>();
    shared::<Arc<dyn Backend>>();
    shared::<Key>();
    shared::<Matrices>();
    shared::<Witness>();
    shared::<Cancel>();
}

#[test]
fn a_false_witness_is_named_by_its_constraint() {
    let prover = prover_of(Mixed::shape());
    let good = witness_of(Mixed::new(6));
    let mut aux = good.aux().to_vec();
    aux[40] = Fr::from(2);
    let error = prover.prove(&Witness::new(good.inputs().to_vec(), aux), &Cancel::new()).unwrap_err();
    assert_eq!(error, ProveError::Backend(BackendError::Unsatisfied(40)));
}

#[test]
fn witnesses_of_the_wrong_shape_are_refused() {
    let prover = prover_of(Chain::shape(5));
    let good = witness_of(Chain::new(5, 3));
    let mut zero_first = good.inputs().to_vec();
    zero_first[0] = Fr::ZERO;
    for bad in [
        Witness::new(vec![], vec![]),
        Witness::new(good.inputs().to_vec(), good.aux()[1..].to_vec()),
        Witness::new(good.inputs()[..1].to_vec(), good.values()[1..].to_vec()),
        Witness::new(zero_first, good.aux().to_vec()),
    ] {
        let error = prover.prove(&bad, &Cancel::new()).unwrap_err();
        assert!(matches!(error, ProveError::Backend(BackendError::WitnessShape { .. })), "{error}");
    }
}

#[test]
fn a_key_of_another_circuit_is_refused_by_the_backend() {
    let (_, parts) = key_of(Chain::shape(5));
    let other = Arc::new(Matrices::synthesize(Mixed::shape()).unwrap());
    let key = Arc::new(Key::from_parts(&parts).unwrap());
    let error = Prover::new(Arc::new(CpuBackend::new()), key, other).err().unwrap();
    assert_eq!(error, ProveError::Backend(BackendError::OtherCircuit));
}

#[test]
fn cancelled_work_stops_and_released_keys_are_unknown() {
    let (matrices, parts) = key_of(Chain::shape(5));
    let witness = witness_of(Chain::new(5, 3));
    let backend = CpuBackend::new();
    let id = backend.prepare(Arc::new(Key::from_parts(&parts).unwrap()), matrices).unwrap();
    let cancel = Cancel::new();
    let watcher = cancel.clone();
    assert_eq!(watcher.progress(), 0.0);
    backend.prove(id, &witness, &cancel).unwrap();
    assert_eq!(watcher.progress(), 1.0);
    watcher.cancel();
    assert_eq!(backend.prove(id, &witness, &cancel), Err(BackendError::Cancelled));
    backend.release(id);
    assert_eq!(backend.prove(id, &witness, &Cancel::new()), Err(BackendError::UnknownKey(id)));
}

/// A backend whose card has gone bad: one of the five sums is off by a generator.
struct Broken {
    inner: CpuBackend,
    wrong: usize,
}

impl Backend for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }

    fn prepare(&self, key: Arc<Key>, matrices: Arc<Matrices>) -> Result<KeyId, BackendError> {
        self.inner.prepare(key, matrices)
    }

    fn prove(&self, key: KeyId, witness: &Witness, cancel: &Cancel) -> Result<(Sums, Timings), BackendError> {
        let (mut sums, timings) = self.inner.prove(key, witness, cancel)?;
        let Sums { a, b1, b2, l, h } = &mut sums;
        if self.wrong == 4 {
            *b2 += G2Affine::generator();
        } else {
            *[a, b1, l, h][self.wrong] += G1::generator();
        }
        Ok((sums, timings))
    }

    fn release(&self, key: KeyId) {
        self.inner.release(key);
    }
}

#[test]
fn no_invalid_proof_leaves_whichever_sum_the_backend_gets_wrong() {
    let (matrices, parts) = key_of(Chain::shape(5));
    let key = Arc::new(Key::from_parts(&parts).unwrap());
    let witness = witness_of(Chain::new(5, 3));
    for wrong in 0..5 {
        let backend = Arc::new(Broken { inner: CpuBackend::new(), wrong });
        let prover = Prover::new(backend, Arc::clone(&key), Arc::clone(&matrices)).unwrap();
        let error = prover.prove(&witness, &Cancel::new()).unwrap_err();
        assert_eq!(error, ProveError::Invalid { backend: "broken" }, "sum {wrong}");
    }
}

#[test]
fn proofs_round_trip_through_the_words_of_the_evm() {
    let prover = prover_of(Chain::shape(5));
    let proof = prover.prove(&witness_of(Chain::new(5, 3)), &Cancel::new()).unwrap().proof;
    assert_eq!(Proof::from_bytes(&proof.to_bytes()), Ok(proof));
    assert_eq!(Proof::from_evm_words(&proof.to_evm_words()), Ok(proof));
    let words = proof.to_evm_words();
    assert_eq!(words[2], bn254::fq_to_be_bytes(proof.b().x.c1()));
    assert_eq!(words[3], bn254::fq_to_be_bytes(proof.b().x.c0()));
    assert_eq!(Proof::from_bytes(&proof.to_bytes()[1..]), Err(ProofError::WrongLength(255)));
}

#[test]
fn bytes_that_are_no_valid_points_are_refused() {
    let prover = prover_of(Chain::shape(5));
    let proof = prover.prove(&witness_of(Chain::new(5, 3)), &Cancel::new()).unwrap().proof;
    let words = proof.to_evm_words();
    let changed = |at: usize, word: [u8; 32]| {
        let mut changed = words;
        changed[at] = word;
        Proof::from_evm_words(&changed)
    };
    for (at, name) in ["A", "A", "B", "B", "B", "B", "C", "C"].into_iter().enumerate() {
        assert_eq!(changed(at, [0xff; 32]), Err(ProofError::NotCanonical(name)));
        let mut other = words[at];
        other[31] ^= 1;
        assert_eq!(changed(at, other), Err(ProofError::NotOnCurve(name)));
    }
    let (a, b, c) = (*proof.a(), *proof.b(), *proof.c());
    assert_eq!(Proof::new(G1Affine::identity(), b, c), Err(ProofError::Infinity("A")));
    assert_eq!(Proof::new(a, G2Affine::identity(), c), Err(ProofError::Infinity("B")));
    assert_eq!(Proof::new(a, b, G1Affine::identity()), Err(ProofError::Infinity("C")));
}

#[test]
fn a_point_of_the_twist_outside_the_subgroup_is_refused_although_bellman_reads_it() {
    let outside = (0..20).find_map(bn254::subgroup::twist_point_outside_g2).unwrap();
    let generator = G1Affine::generator();
    let hostile = bellman::groth16::Proof::<Bn256> { a: generator, b: outside, c: generator };
    let mut bytes = Vec::new();
    hostile.write(&mut bytes).unwrap();
    let read = bellman::groth16::Proof::<Bn256>::read(&bytes[..]).unwrap();
    assert_eq!(Proof::from_bellman(&read), Err(ProofError::OutsideSubgroup));
}

#[test]
fn simulated_proofs_verify_for_any_statement_but_only_with_the_dev_trapdoor() {
    let prover = prover_of(Mixed::shape());
    let key = prover.key().verifying_key();
    let statement = [Fr::from(1), Fr::from(2)];
    let proof = simulate_proof(&DevTrapdoor::from_seed("tests"), key, &statement).unwrap();
    assert_eq!(verify(prover.verifying_key(), &proof, &statement), Ok(()));
    assert_eq!(
        verify(prover.verifying_key(), &proof, &[Fr::from(1), Fr::from(3)]),
        Err(VerifyError::Invalid)
    );
    let proof = simulate_proof(&DevTrapdoor::from_seed("another"), key, &statement).unwrap();
    assert_eq!(verify(prover.verifying_key(), &proof, &statement), Err(VerifyError::Invalid));
}

#[test]
fn a_variable_without_constraint_and_degenerate_seeds_give_no_key() {
    struct Loose;
    impl bellman::Circuit<Fr> for Loose {
        fn synthesize<CS: bellman::ConstraintSystem<Fr>>(
            self,
            cs: &mut CS,
        ) -> Result<(), bellman::SynthesisError> {
            let x = cs.alloc(|| "x", || Ok(Fr::ONE))?;
            cs.alloc(|| "loose", || Ok(Fr::ONE))?;
            cs.enforce(|| "x", |lc| lc + x, |lc| lc + x, |lc| lc + x);
            Ok(())
        }
    }
    let matrices = Matrices::synthesize(Loose).unwrap();
    let seed = DevTrapdoor::from_seed("tests");
    assert_eq!(generate(&matrices, &seed, &NoProgress), Err(KeygenError::UnconstrainedVariable(1)));

    let matrices = Matrices::synthesize(Chain::shape(5)).unwrap();
    let [mut same, mut in_domain, mut zero] = [(); 3].map(|()| seed.clone());
    same.delta = same.gamma;
    in_domain.tau = -Fr::ONE;
    zero.alpha = Fr::ZERO;
    for bad in [same, in_domain, zero] {
        assert_eq!(generate(&matrices, &bad, &NoProgress), Err(KeygenError::DegenerateTrapdoor));
    }
    let long = DevTrapdoor::from_seed(&"x".repeat(257));
    assert_eq!(generate(&matrices, &long, &NoProgress), Err(KeygenError::SeedTooLong));
}

#[test]
fn the_key_contains_the_trapdoor_in_the_exponent() {
    let (_, parts) = key_of(Chain::shape(5));
    let seed = DevTrapdoor::from_seed("tests");
    assert_eq!(parts.vk.alpha_g1, (G1Affine::generator() * seed.alpha).to_affine());
    assert_eq!(parts.vk.delta_g2, (G2Affine::generator() * seed.delta).to_affine());
}
