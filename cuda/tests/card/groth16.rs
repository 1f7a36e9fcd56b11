//! Whole proofs through [`prover::Backend`]: same sums as the processor, and they verify.

use std::sync::Arc;

use bellman::{Circuit, ConstraintSystem, SynthesisError};
use bn254::{Field, Fr};
use cuda::{CudaBackend, Settings};
use prover::{
    Backend, BackendError, Cancel, CpuBackend, DevTrapdoor, Key, Matrices, NoProgress, Prover, Witness,
    generate, synthesize_witness,
};

use crate::card::{exclusive, host_library, is_real};
use crate::sparse::Rows;

/// `steps` times x -> x^2 + 7, the result public.
#[derive(Clone, Copy)]
pub struct Chain {
    pub steps: usize,
    pub start: Option<u64>,
}

impl Circuit<Fr> for Chain {
    fn synthesize<CS: ConstraintSystem<Fr>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
        let mut value = self.start.map(Fr::from);
        let mut x = cs.alloc(|| "start", || value.ok_or(SynthesisError::AssignmentMissing))?;
        for step in 0..self.steps {
            value = value.map(|x| x.square() + Fr::from(7));
            let assigned = || value.ok_or(SynthesisError::AssignmentMissing);
            let next = if step + 1 == self.steps {
                cs.alloc_input(|| "end", assigned)?
            } else {
                cs.alloc(|| "next", assigned)?
            };
            cs.enforce(|| "step", |lc| lc + x, |lc| lc + x, |lc| lc + next - (Fr::from(7), CS::one()));
            x = next;
        }
        Ok(())
    }
}

pub fn settings() -> Settings {
    let library = if is_real() { None } else { Some(host_library().to_owned()) };
    Settings { library, ..Settings::default() }
}

pub fn key_of<C: Circuit<Fr>>(circuit: C) -> (Arc<Matrices>, Arc<Key>) {
    let matrices = Matrices::synthesize(circuit).unwrap();
    let parts = generate(&matrices, &DevTrapdoor::from_seed("card"), &NoProgress).unwrap();
    (Arc::new(matrices), Arc::new(Key::from_parts(&parts).unwrap()))
}

fn agrees<C: Circuit<Fr> + Clone>(circuit: C, settings: &Settings) {
    let (matrices, key) = key_of(circuit.clone());
    let witness = Arc::new(synthesize_witness(circuit).unwrap());
    let card = Arc::new(CudaBackend::open(settings).unwrap());
    let cpu = CpuBackend::new();
    let on_card = card.prepare(Arc::clone(&key), Arc::clone(&matrices)).unwrap();
    let on_cpu = cpu.prepare(Arc::clone(&key), Arc::clone(&matrices)).unwrap();
    let (wanted, _) = cpu.prove(on_cpu, &witness, &Cancel::new()).unwrap();
    let (found, _) = card.prove(on_card, &witness, &Cancel::new()).unwrap();
    assert_eq!(found, wanted);
    let staged = card.stage(on_card, Arc::clone(&witness)).unwrap();
    assert_eq!(card.prove_staged(staged, &Cancel::new()).unwrap().0, wanted);
    let prover = Prover::new(card, key, matrices).unwrap();
    prover.prove(&witness, &Cancel::new()).unwrap();
}

#[test]
fn proofs_of_dense_and_of_sparse_circuits_have_the_processors_sums_and_verify() {
    let _guard = exclusive();
    for steps in [1, 2, 30, 1000] {
        agrees(Chain { steps, start: Some(3) }, &settings());
    }
    let lengths = (0..300).map(|i| i % 90).collect();
    agrees(Rows { lengths, variables: 200, seed: 4 }, &settings());
}

#[test]
fn fewer_copies_of_the_points_give_the_same_proof() {
    let _guard = exclusive();
    for max_copies in [1, 2, 5] {
        agrees(Chain { steps: 200, start: Some(9) }, &Settings { max_copies, ..settings() });
    }
}

#[test]
fn the_multiplications_of_a_proof_are_counted() {
    let _guard = exclusive();
    let card = CudaBackend::open(&settings()).unwrap();
    let circuit = Chain { steps: 100, start: Some(3) };
    let (matrices, key) = key_of(circuit);
    let key = card.prepare(key, matrices).unwrap();
    let counts = card.count(key, &synthesize_witness(circuit).unwrap()).unwrap();
    // 2^7 rows: six transforms of 7 * 64 butterflies, three shifts of two, one quotient; the matrices hold only ones.
    assert_eq!(counts.ntt, 6 * 7 * 64 + 3 * 2 * 128 + 128);
    assert_eq!(counts.sparse, 100);
    assert!(counts.msm_b2 > counts.msm_b1 && counts.msm_h > 10 * 128);
}

#[test]
fn several_keys_stay_on_the_card_and_one_can_be_released() {
    let _guard = exclusive();
    let card = CudaBackend::open(&settings()).unwrap();
    let small = Chain { steps: 20, start: Some(1) };
    let large = Chain { steps: 100, start: Some(2) };
    let prepare = |circuit: Chain| {
        let (matrices, key) = key_of(circuit);
        card.prepare(key, matrices).unwrap()
    };
    let (first, second) = (prepare(small), prepare(large));
    let prove = |key, circuit: Chain| {
        card.prove(key, &synthesize_witness(circuit).unwrap(), &Cancel::new()).map(|_| ())
    };
    prove(first, small).unwrap();
    prove(second, large).unwrap();
    assert!(matches!(prove(first, large), Err(BackendError::WitnessShape { .. })));
    card.release(first);
    assert_eq!(prove(first, small), Err(BackendError::UnknownKey(first)));
    prove(second, large).unwrap();
}

#[test]
fn a_witness_goes_up_while_another_is_proved() {
    let _guard = exclusive();
    let card = Arc::new(CudaBackend::open(&settings()).unwrap());
    let (matrices, key) = key_of(Chain { steps: 300, start: Some(1) });
    let prover = Prover::new(Arc::clone(&card) as _, key, matrices).unwrap();
    let witness = |start| Arc::new(synthesize_witness(Chain { steps: 300, start: Some(start) }).unwrap());
    let mut staged = prover.stage(witness(0)).unwrap();
    for start in 1..5 {
        let next = std::thread::scope(|scope| {
            let next = scope.spawn(|| prover.stage(witness(start)).unwrap());
            prover.prove_staged(staged, &Cancel::new()).unwrap();
            next.join().unwrap()
        });
        staged = next;
    }
    prover.prove_staged(staged, &Cancel::new()).unwrap();
}

#[test]
fn a_cancelled_proof_stops_and_the_next_one_is_right() {
    let _guard = exclusive();
    let card = Arc::new(CudaBackend::open(&settings()).unwrap());
    let (matrices, key) = key_of(Chain { steps: 50, start: Some(1) });
    let prover = Prover::new(card, key, matrices).unwrap();
    let witness = synthesize_witness(Chain { steps: 50, start: Some(1) }).unwrap();
    let cancel = Cancel::new();
    cancel.cancel();
    let error = prover.prove(&witness, &cancel).unwrap_err();
    assert!(error.to_string().contains("cancelled"), "{error}");
    prover.prove(&witness, &Cancel::new()).unwrap();
}

#[test]
fn a_witness_that_breaks_a_constraint_gives_no_proof() {
    let _guard = exclusive();
    let card = Arc::new(CudaBackend::open(&settings()).unwrap());
    let (matrices, key) = key_of(Chain { steps: 50, start: Some(1) });
    let prover = Prover::new(card, key, matrices).unwrap();
    let right = synthesize_witness(Chain { steps: 50, start: Some(1) }).unwrap();
    let mut aux = right.aux().to_vec();
    aux[20] += Fr::ONE;
    let wrong = Witness::new(right.inputs().to_vec(), aux);
    let error = prover.prove(&wrong, &Cancel::new()).unwrap_err();
    assert!(error.to_string().contains("no valid proof"), "{error}");
}
