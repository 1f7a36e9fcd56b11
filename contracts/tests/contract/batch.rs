//! What an accepted batch changes, and which places a batch may take.

use bn254::Fr;
use l1::contract::{Event, Record, calls, data};
use l1::testing::{AbiEncode, U256, bindings};
use serde_json::json;
use testbed::chain::{Backend, hex_of};

use crate::mill::{ALICE, BOB, Mill, OPERATOR, S3M1, S14M2, S60M4, S1020M4, order, stranger};

on_both_chains!(an_accepted_batch_moves_root_places_and_queues_and_leaves_a_history_entry);
fn an_accepted_batch_moves_root_places_and_queues_and_leaves_a_history_entry(backend: Backend) {
    let mill = Mill::deploy(backend);
    let (first, second) = (mill.deposit_coins(ALICE, 1_000_000), mill.deposit_coins(BOB, 50_000));
    let mut batch = mill.batch(S14M2);
    batch.mints = vec![first, second];
    let receipt = mill.submit(&batch);
    let state = mill.state();
    assert_eq!((state.batch_no, state.root, state.next, state.minted_up_to), (1, batch.new_root, 16, 2));
    assert_eq!(
        mill.events(&receipt),
        [Event::BatchAccepted {
            batch_no: 1,
            circuit: S14M2,
            mid_root: batch.mid_root,
            new_root: batch.new_root,
            start: 0,
            next: 16,
            minted_up_to: 2,
            forced_up_to: 0,
        }]
    );
    let history = calls::decode_word(&mill.view(&calls::history(1))).unwrap();
    assert_eq!(history, data::history_hash(&batch, 2));

    let mut batch = mill.batch(S3M1);
    batch.records.push(Record::Withdraw { owner: mill.who(BOB), low: 10, high: 200_009 });
    mill.submit(&batch);
    let history = calls::decode_word(&mill.view(&calls::history(2))).unwrap();
    assert_eq!(history, data::history_hash(&batch, 2));
    assert_eq!(calls::decode_word(&mill.view(&calls::history(3))).unwrap(), [0; 32]);
}

on_both_chains!(only_the_operator_submits);
fn only_the_operator_submits(backend: Backend) {
    let mill = Mill::deploy(backend);
    let batch = mill.batch(S3M1);
    let data = calls::submit_batch(&batch, &mill.prove(&batch));
    assert_eq!(mill.refusal(ALICE, 0, &data), "NotOperator");
}

on_both_chains!(a_batch_is_not_accepted_twice_a6);
fn a_batch_is_not_accepted_twice_a6(backend: Backend) {
    let mill = Mill::deploy(backend);
    let batch = mill.batch(S3M1);
    let data = calls::submit_batch(&batch, &mill.prove(&batch));
    mill.transact(OPERATOR, 0, &data).unwrap();
    assert_eq!(mill.refusal(OPERATOR, 0, &data), "StartOutOfWindow");
    // Nor when its proof is presented for the next place: number and root in D have moved on.
    let mut replay = mill.proven_call(&batch);
    replay.batch.start = mill.state().next;
    replay.proof = calls_proof(&data);
    assert_eq!(mill.call_refusal(&replay), "ProofRejected");
}

fn calls_proof(data: &[u8]) -> [U256; 8] {
    let (_, proof) = calls::decode_submit_batch(data).unwrap();
    proof.map(|word| U256::from_big_endian(&word))
}

on_both_chains!(no_place_is_used_twice_and_the_window_is_1024_places_a6);
fn no_place_is_used_twice_and_the_window_is_1024_places_a6(backend: Backend) {
    let mill = Mill::deploy(backend);
    mill.submit(&mill.batch(S14M2));
    let at = |start| {
        let mut batch = mill.batch(S3M1);
        batch.start = start;
        batch
    };
    for start in [0, 4, 12] {
        assert_eq!(mill.batch_refusal(&at(start)), "StartOutOfWindow");
    }
    for start in [16 + 1024, 16 + 2048, 1 << 35, u64::MAX - 3] {
        assert_eq!(mill.batch_refusal(&at(start)), "StartOutOfWindow");
    }
    // The last aligned place of the window is fine, and what was skipped is gone.
    mill.submit(&at(16 + 1020));
    assert_eq!(mill.state().next, 16 + 1024);
    assert_eq!(mill.batch_refusal(&at(20)), "StartOutOfWindow");
}

on_both_chains!(a_start_must_be_a_multiple_of_the_batch_size);
fn a_start_must_be_a_multiple_of_the_batch_size(backend: Backend) {
    let mill = Mill::deploy(backend);
    for (circuit, start) in [(S3M1, 1), (S3M1, 2), (S14M2, 4), (S60M4, 16), (S1020M4, 256)] {
        let mut batch = mill.batch(circuit);
        batch.start = start;
        assert_eq!(mill.batch_refusal(&batch), "StartNotAligned");
    }
}

on_both_chains!(roots_and_h_of_r_or_more_are_refused_though_the_proof_holds_modulo_r_a5);
fn roots_and_h_of_r_or_more_are_refused_though_the_proof_holds_modulo_r_a5(backend: Backend) {
    let mill = Mill::deploy(backend);
    let call = mill.proven_call(&mill.batch(S3M1));
    for word in 0..3 {
        let mut call = call.clone();
        let field = match word {
            0 => &mut call.batch.h,
            1 => &mut call.batch.mid_root,
            _ => &mut call.batch.new_root,
        };
        *field += order();
        assert_eq!(mill.call_refusal(&call), "NotInField");
    }
    mill.transact(OPERATOR, 0, &call.encode()).unwrap();
}

on_both_chains!(a_circuit_that_was_not_deployed_is_refused);
fn a_circuit_that_was_not_deployed_is_refused(backend: Backend) {
    let mill = Mill::deploy(backend);
    let mut call = mill.proven_call(&mill.batch(S3M1));
    for circuit in [0, 7, u32::MAX] {
        call.batch.circuit = circuit;
        assert_eq!(mill.call_refusal(&call), "UnknownCircuit");
    }
}

on_both_chains!(mixed_circuits_share_one_tree);
fn mixed_circuits_share_one_tree(backend: Backend) {
    let mill = Mill::deploy(backend);
    for (circuit, next) in [(S3M1, 4), (S14M2, 32), (S3M1, 36), (S60M4, 128), (S1020M4, 2048), (S3M1, 2052)] {
        mill.submit(&mill.batch(circuit));
        assert_eq!(mill.state().next, next);
    }
}

on_both_chains!(the_native_domain_is_the_contracts);
fn the_native_domain_is_the_contracts(backend: Backend) {
    let mill = Mill::deploy(backend);
    let domain: Fr = calls::decode_fr(&mill.view(&bindings::DomainCall.encode())).unwrap();
    assert_eq!(domain, data::domain(mill.rpc.chain_id, &mill.address));
    assert_ne!(domain, data::domain(mill.rpc.chain_id, &stranger(0)));
    assert_ne!(domain, data::domain(1, &mill.address));
}

on_both_chains!(call_data_of_a_batch_decodes_to_the_batch);
fn call_data_of_a_batch_decodes_to_the_batch(backend: Backend) {
    let mill = Mill::deploy(backend);
    let mint = mill.minted(ALICE, 5_000);
    let (exit, rekey) = (mill.force_exit(ALICE, 0), mill.force_rekey(BOB, 1));
    let mut batch = mill.batch(S60M4);
    batch.mints = vec![mint];
    batch.records = vec![
        Record::Withdraw { owner: stranger(1), low: 3, high: 9 },
        Record::Exit { entry: exit, hit: Some((10, 12)) },
        Record::Exit { entry: exit, hit: None },
        Record::Rekey { entry: rekey, hit: true },
        Record::Rekey { entry: rekey, hit: false },
    ];
    let proof = [[9; 32]; 8];
    let data = calls::submit_batch(&batch, &proof);
    assert_eq!(calls::decode_submit_batch(&data), Ok((batch, proof)));
    assert!(calls::decode_submit_batch(&data[..data.len() - 32]).is_err());
}

// On anvil alone: no other way leads to the end of the tree than writing to storage, which the dev chain does not offer.
#[test]
fn the_tree_ends_at_4_to_the_18() {
    let mill = Mill::deploy(Backend::Anvil);
    // Slot 0 packs batchNo (32 bits), next, mintedUpTo, forcedUpTo (64 each): put `next` four places before the end.
    let next = (1u64 << 36) - 4;
    let slot = format!("0x{:0>64x}", U256::from(next) << 32);
    mill.rpc.ask("anvil_setStorageAt", json!([hex_of(mill.address), "0x0", slot]));
    assert_eq!(mill.state().next, next);
    let mut batch = mill.batch(S3M1);
    batch.start = 1 << 36;
    assert_eq!(mill.batch_refusal(&batch), "TreeFull");
    batch.start = next;
    mill.submit(&batch);
    assert_eq!(mill.state().next, 1 << 36);
}
