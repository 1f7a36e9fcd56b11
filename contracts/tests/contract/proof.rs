//! The verifier: only a valid proof of exactly this D is accepted.

use bn254::{Field, Fr};
use l1::contract::{
    Batch, Record, calls,
    data::{challenge, data_words, evaluate, public_inputs},
};
use l1::testing::{AbiEncode, U256, bindings, submit_batch_call};
use testbed::chain::Backend;

use crate::mill::{ALICE, Mill, OPERATOR, S3M1, S14M2, S60M4, stranger, trapdoor};

/// A mill with coins in it, and a batch of s14m2 with a mint and three records.
fn scene(backend: Backend) -> (Mill, Batch) {
    let mill = Mill::deploy(backend);
    mill.minted(ALICE, 100_000);
    let (mint, exit) = (mill.deposit_coins(ALICE, 500), mill.force_exit(ALICE, 3));
    let mut batch = mill.batch(S14M2);
    batch.mints = vec![mint];
    batch.records = vec![
        Record::Withdraw { owner: stranger(1), low: 1, high: 20_000 },
        Record::Exit { entry: exit, hit: Some((20_001, 60_000)) },
        Record::Withdraw { owner: stranger(2), low: 60_001, high: 60_001 },
    ];
    (mill, batch)
}

on_both_chains!(every_word_of_d_is_bound_a5);
fn every_word_of_d_is_bound_a5(backend: Backend) {
    let (mill, batch) = scene(backend);
    let head = mill.head(batch.circuit);
    let d = data_words(&head, &batch);
    assert_eq!(d.len(), 7 + 2 * 2 + 3 * 3);
    for i in 0..d.len() {
        // A prover whose D' differs in one word: h is fixed, the contract's c and e come from the true D.
        let mut other = d.clone();
        other[i] += Fr::ONE;
        let c = challenge(&batch.h, &d);
        let proof = trapdoor(batch.circuit).prove(&[batch.h, c, evaluate(&c, &other)]);
        let call = calls::submit_batch(&batch, &proof);
        assert_eq!(mill.refusal(OPERATOR, 0, &call), "ProofRejected", "word {i} summed");
        // And one whose challenge leaves the word out of the hash.
        let c = challenge(&batch.h, &other);
        let proof = trapdoor(batch.circuit).prove(&[batch.h, c, evaluate(&c, &d)]);
        let call = calls::submit_batch(&batch, &proof);
        assert_eq!(mill.refusal(OPERATOR, 0, &call), "ProofRejected", "word {i} hashed");
    }
    mill.submit(&batch);
}

on_both_chains!(call_data_changed_after_the_proof_is_refused);
fn call_data_changed_after_the_proof_is_refused(backend: Backend) {
    let (mill, batch) = scene(backend);
    let call = mill.proven_call(&batch);
    let changes: [fn(&mut bindings::Batch); 7] = [
        |batch| batch.h += U256::one(),
        |batch| batch.mid_root += U256::one(),
        |batch| batch.new_root += U256::one(),
        |batch| batch.start += 16,
        |batch| batch.records[0][1] += U256::one(),
        |batch| batch.records[0][2] += U256::one(),
        |batch| batch.records[1][2] -= U256::one(),
    ];
    for (i, change) in changes.into_iter().enumerate() {
        let mut changed = call.clone();
        change(&mut changed.batch);
        assert_eq!(mill.call_refusal(&changed), "ProofRejected", "change {i}");
    }
    let mut without = call.clone();
    without.batch.mints.clear();
    assert_eq!(mill.call_refusal(&without), "ProofRejected");
    let mut without = call.clone();
    without.batch.records.pop();
    assert_eq!(mill.call_refusal(&without), "ProofRejected");
    let mut swapped = call.clone();
    swapped.batch.records.swap(0, 2);
    assert_eq!(mill.call_refusal(&swapped), "ProofRejected");
    mill.transact(OPERATOR, 0, &call.encode()).unwrap();
}

on_both_chains!(a_hit_that_the_proof_does_not_show_is_refused_a2);
fn a_hit_that_the_proof_does_not_show_is_refused_a2(backend: Backend) {
    let (mill, batch) = scene(backend);
    let mut missed = batch.clone();
    let entry = *batch.records[1].forced().unwrap();
    missed.records[1] = Record::Exit { entry, hit: None };
    let mut call = mill.proven_call(&batch);
    call.batch = submit_batch_call(&missed, &[[0; 32]; 8]).batch;
    assert_eq!(mill.call_refusal(&call), "ProofRejected");
}

on_both_chains!(each_word_of_a_proof_counts);
fn each_word_of_a_proof_counts(backend: Backend) {
    let (mill, batch) = scene(backend);
    let call = mill.proven_call(&batch);
    let q =
        U256::from_dec_str("21888242871839275222246405745257275088696311157297823662689037894645226208583")
            .unwrap();
    for i in 0..8 {
        for wrong in [call.proof[i] + 1, call.proof[i] + q, U256::zero(), U256::MAX, q - call.proof[i]] {
            let mut changed = call.clone();
            changed.proof[i] = wrong;
            assert_eq!(mill.call_refusal(&changed), "ProofRejected", "word {i} = {wrong}");
        }
    }
    let mut zero = call.clone();
    zero.proof = [U256::zero(); 8];
    assert_eq!(mill.call_refusal(&zero), "ProofRejected");
    let mut swapped = call.clone();
    swapped.proof.swap(2, 3);
    swapped.proof.swap(4, 5);
    assert_eq!(mill.call_refusal(&swapped), "ProofRejected");
    mill.transact(OPERATOR, 0, &call.encode()).unwrap();
}

on_both_chains!(a_proof_under_the_key_of_another_circuit_is_refused_d7);
fn a_proof_under_the_key_of_another_circuit_is_refused_d7(backend: Backend) {
    let mill = Mill::deploy(backend);
    let batch = mill.batch(S3M1);
    let inputs = public_inputs(&mill.head(S3M1), &batch);
    for circuit in [S14M2, S60M4] {
        let call = calls::submit_batch(&batch, &trapdoor(circuit).prove(&inputs));
        assert_eq!(mill.refusal(OPERATOR, 0, &call), "ProofRejected");
    }
    // Nor does a proof of one circuit's D serve as a batch of another under that other's name.
    let mut renamed = mill.proven_call(&batch);
    renamed.batch.circuit = S14M2;
    assert_eq!(mill.call_refusal(&renamed), "ProofRejected");
}

on_both_chains!(a_proof_for_another_chain_contract_or_number_is_refused);
fn a_proof_for_another_chain_contract_or_number_is_refused(backend: Backend) {
    let mill = Mill::deploy(backend);
    let batch = mill.batch(S3M1);
    let head = mill.head(S3M1);
    let mut heads = [head; 4];
    heads[0].domain = l1::contract::data::domain(1, &mill.address);
    heads[1].domain = l1::contract::data::domain(mill.rpc.chain_id, &stranger(1));
    heads[2].batch_no += 1;
    heads[3].old_root += Fr::ONE;
    for head in heads {
        let call = calls::submit_batch(&batch, &trapdoor(S3M1).prove(&public_inputs(&head, &batch)));
        assert_eq!(mill.refusal(OPERATOR, 0, &call), "ProofRejected");
    }
}
