//! The rules of `Backend`: what is refused, staging, one backend per process.

use std::sync::Arc;

use icicle::IcicleBackend;
use prover::{Backend, BackendError, Cancel, KeyId, Prover, Witness};

use crate::child::{Child, settings};
use crate::circuit::{false_witness, key_of, witness_of};

#[test]
fn wrong_keys_witnesses_and_second_thoughts_are_refused_and_do_no_harm() {
    let outcome = Child::new("refusals").run();
    assert!(outcome.is_clean(), "{}", outcome.all());
}

pub fn refusals(backend: Arc<IcicleBackend>) {
    let ((key, matrices), (_, others)) = (key_of(3), key_of(4));
    let cancel = Cancel::new();
    let good = witness_of(3, 2);
    assert_eq!(backend.prepare(Arc::clone(&key), others), Err(BackendError::OtherCircuit));
    let id = backend.prepare(key, matrices).unwrap();
    assert_eq!(backend.prove(KeyId(99), &good, &cancel), Err(BackendError::UnknownKey(KeyId(99))));
    let broken = backend.prove(id, &false_witness(3), &cancel);
    assert!(matches!(broken, Err(BackendError::Unsatisfied(_))), "{broken:?}");
    let shape = backend.prove(id, &Witness::new(good.inputs().to_vec(), Vec::new()), &cancel);
    assert_eq!(shape, Err(BackendError::WitnessShape { inputs: 2, aux: 0 }));
    cancel.cancel();
    assert_eq!(backend.prove(id, &good, &cancel), Err(BackendError::Cancelled));
    assert!(backend.prove(id, &good, &Cancel::new()).is_ok());
    backend.release(id);
    backend.release(KeyId(99));
    assert_eq!(backend.prove(id, &good, &Cancel::new()), Err(BackendError::UnknownKey(id)));
}

#[test]
fn staged_witnesses_prove_in_any_order_and_from_many_threads() {
    let outcome = Child::new("staging").run();
    assert!(outcome.is_clean(), "{}", outcome.all());
}

pub fn staging(backend: Arc<IcicleBackend>) {
    let (key, matrices) = key_of(5);
    let prover = Prover::new(backend, key, matrices).unwrap();
    let staged: Vec<_> = (0..3).map(|start| prover.stage(Arc::new(witness_of(5, start))).unwrap()).collect();
    std::thread::scope(|scope| {
        for witness in 0..3 {
            let prover = &prover;
            scope.spawn(move || prover.prove(&witness_of(5, witness), &Cancel::new()).unwrap());
        }
        for staged in staged.into_iter().rev() {
            prover.prove_staged(staged, &Cancel::new()).unwrap();
        }
    });
    assert!(prover.stage(Arc::new(false_witness(5))).is_err());
}

#[test]
fn a_process_has_one_backend_at_a_time() {
    let outcome = Child::new("two at once").run();
    assert!(outcome.is_clean(), "{}", outcome.all());
}

pub fn two_at_once() {
    let first = IcicleBackend::open(&settings()).unwrap();
    let second = IcicleBackend::open(&settings()).err().unwrap().to_string();
    assert!(second.contains("PM-ICICLE-013"), "{second}");
    drop(first);
    IcicleBackend::open(&settings()).unwrap();
}
