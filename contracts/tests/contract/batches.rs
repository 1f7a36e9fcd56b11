//! `submitBatches`: several proven batches in one transaction do what they would do one by one, or nothing.

use bn254::{Curve, Field, Fr, G1, G2};
use l1::contract::{Batch, Record, Word, calls, proof_words};
use l1::testing::{AbiEncode, U256, bindings, submit_batches_call};
use testbed::chain::Backend;

use crate::mill::{ALICE, BOB, Mill, OPERATOR, S3M1, S14M2, S60M4, stranger};

type Proven = Vec<(Batch, [Word; 8])>;

fn refusal(mill: &Mill, chain: &Proven) -> &'static str {
    mill.refusal(OPERATOR, 0, &calls::submit_batches(chain))
}

/// A mill with coins, deposits and forced requests, and four batches of two circuits that use all of them.
fn scene(backend: Backend) -> (Mill, Proven) {
    let mill = Mill::deploy(backend);
    mill.minted(ALICE, 1_000_000);
    let mints = [mill.deposit_coins(ALICE, 500), mill.deposit_coins(BOB, 600), mill.deposit_coins(BOB, 700)];
    let (exit, rekey) = (mill.force_exit(ALICE, 3), mill.force_rekey(BOB, 2));
    let withdraw = |low, high| Record::Withdraw { owner: stranger(1), low, high };
    let mut batches: Vec<Batch> = [S3M1, S14M2, S3M1, S14M2].map(|circuit| mill.batch(circuit)).to_vec();
    batches[0].mints = vec![mints[0]];
    batches[0].records = vec![withdraw(1, 20_000)];
    batches[1].mints = mints[1..].to_vec();
    batches[1].records = vec![
        withdraw(20_001, 60_000),
        Record::Exit { entry: exit, hit: Some((60_001, 90_000)) },
        withdraw(90_001, 90_001),
    ];
    // A coin minted by the first batch of this call leaves in a later one.
    batches[2].records = vec![withdraw(1_000_001, 1_000_500)];
    batches[3].records = vec![Record::Rekey { entry: rekey, hit: false }];
    let chain = mill.chain_of(batches);
    (mill, chain)
}

on_both_chains!(several_batches_at_once_leave_the_state_and_the_events_of_one_by_one);
fn several_batches_at_once_leave_the_state_and_the_events_of_one_by_one(backend: Backend) {
    let (mill, chain) = scene(backend);
    let (single, alone) = scene(backend);
    let together = mill.transact(OPERATOR, 0, &calls::submit_batches(&chain)).unwrap();
    let mut events = Vec::new();
    let mut gas = 0;
    for (batch, proof) in &alone {
        let receipt = single.transact(OPERATOR, 0, &calls::submit_batch(batch, proof)).unwrap();
        events.extend(single.events(&receipt));
        gas += receipt.gas;
    }
    assert_eq!(mill.events(&together), events);
    assert_eq!(mill.state(), single.state());
    assert_eq!(mill.pending(&stranger(1)), single.pending(&stranger(1)));
    for batch_no in 1..=5 {
        let history = calls::history(batch_no);
        assert_eq!(mill.view(&history), single.view(&history));
    }
    assert_eq!(
        mill.view(&bindings::CoinCountsCall.encode()),
        single.view(&bindings::CoinCountsCall.encode())
    );
    assert!(together.gas < gas, "{} together, {gas} one by one", together.gas);
}

on_both_chains!(one_bad_proof_among_good_ones_refuses_all_wherever_it_stands);
fn one_bad_proof_among_good_ones_refuses_all_wherever_it_stands(backend: Backend) {
    let (mill, chain) = scene(backend);
    for bad in 0..chain.len() {
        for word in 0..8 {
            let mut wrong = chain.clone();
            wrong[bad].1[word][31] ^= 1;
            assert_eq!(refusal(&mill, &wrong), "ProofsRejected", "batch {bad}, word {word}");
        }
    }
    let mut alone = chain.clone();
    alone.truncate(2);
    alone[1].1[0][31] ^= 1;
    assert_eq!(refusal(&mill, &alone), "ProofRejected", "the only proof under its key is named");
    mill.transact(OPERATOR, 0, &calls::submit_batches(&chain)).unwrap();
}

on_both_chains!(proofs_given_to_each_others_batches_are_refused);
fn proofs_given_to_each_others_batches_are_refused(backend: Backend) {
    let (mill, chain) = scene(backend);
    for (i, j) in [(0, 2), (1, 3), (0, 1)] {
        let mut swapped = chain.clone();
        (swapped[i].1, swapped[j].1) = (chain[j].1, chain[i].1);
        assert_eq!(refusal(&mill, &swapped), "ProofsRejected", "{i} and {j}");
    }
}

on_both_chains!(false_proofs_that_cancel_out_in_a_plain_sum_are_refused);
fn false_proofs_that_cancel_out_in_a_plain_sum_are_refused(backend: Backend) {
    let mill = Mill::deploy(backend);
    let chain = mill.chain(&[S3M1, S3M1, S3M1]);
    let point = |proof: &[Word; 8], at: usize| -> [U256; 2] {
        [U256::from_big_endian(&proof[at]), U256::from_big_endian(&proof[at + 1])]
    };
    // C + D and C' - D: without coefficients the product of both equations is that of the true proofs.
    let d = G1::generator() * Fr::from(77);
    for (i, j) in [(0, 1), (0, 2), (1, 2)] {
        let mut crafted = chain.clone();
        for (k, by) in [(i, d), (j, -d)] {
            let c = add(&chain[k].1, by);
            crafted[k].1[6..].copy_from_slice(&c);
        }
        assert_ne!(point(&crafted[i].1, 6), point(&chain[i].1, 6));
        assert_eq!(refusal(&mill, &crafted), "ProofsRejected", "C of {i} and {j}");
    }
    mill.transact(OPERATOR, 0, &calls::submit_batches(&chain)).unwrap();
}

/// The words of C moved by `by`.
fn add(proof: &[Word; 8], by: G1) -> [Word; 2] {
    let number = |word: &Word| {
        let mut repr = *word;
        repr.reverse();
        Option::from(bn254::Fq::from_bytes(&repr)).unwrap()
    };
    let c = bn254::G1Affine { x: number(&proof[6]), y: number(&proof[7]) };
    let moved = (G1::from(c) + by).to_affine();
    let words = proof_words(&moved, &G2::generator().to_affine(), &moved);
    [words[6], words[7]]
}

on_both_chains!(points_off_the_curve_and_coordinates_of_q_or_more_are_refused);
fn points_off_the_curve_and_coordinates_of_q_or_more_are_refused(backend: Backend) {
    let mill = Mill::deploy(backend);
    let chain = mill.chain(&[S3M1, S3M1]);
    let q =
        U256::from_dec_str("21888242871839275222246405745257275088696311157297823662689037894645226208583")
            .unwrap();
    for batch in 0..2 {
        for word in 0..8 {
            let value = U256::from_big_endian(&chain[batch].1[word]);
            for wrong in [value + q, U256::zero(), U256::MAX, q - value] {
                let mut crafted = chain.clone();
                wrong.to_big_endian(&mut crafted[batch].1[word]);
                assert_eq!(
                    refusal(&mill, &crafted),
                    "ProofsRejected",
                    "batch {batch}, word {word} = {wrong}"
                );
            }
        }
        let mut zero = chain.clone();
        zero[batch].1 = [[0; 32]; 8];
        assert_eq!(refusal(&mill, &zero), "ProofsRejected");
    }
}

on_both_chains!(a_word_changed_after_the_proofs_is_refused);
fn a_word_changed_after_the_proofs_is_refused(backend: Backend) {
    let (mill, chain) = scene(backend);
    for i in 0..chain.len() {
        let changes: [fn(&mut Batch); 3] = [
            |batch| batch.h += Fr::ONE,
            |batch| batch.mid_root += Fr::ONE,
            |batch| batch.new_root += Fr::ONE,
        ];
        for change in changes {
            let mut changed = chain.clone();
            change(&mut changed[i].0);
            assert_eq!(refusal(&mill, &changed), "ProofsRejected", "batch {i}");
        }
    }
}

on_both_chains!(batches_out_of_order_twice_or_with_a_gap_are_refused);
fn batches_out_of_order_twice_or_with_a_gap_are_refused(backend: Backend) {
    let mill = Mill::deploy(backend);
    let chain = mill.chain(&[S3M1, S3M1, S3M1]);
    let pick = |order: &[usize]| order.iter().map(|&i| chain[i].clone()).collect::<Proven>();
    assert_eq!(refusal(&mill, &pick(&[1, 0])), "StartOutOfWindow");
    assert_eq!(refusal(&mill, &pick(&[0, 0])), "StartOutOfWindow");
    assert_eq!(refusal(&mill, &pick(&[0, 2])), "ProofsRejected");
    assert_eq!(refusal(&mill, &pick(&[1, 2])), "ProofsRejected");
    let last = calls::submit_batches(&pick(&[0, 1, 2]));
    mill.transact(OPERATOR, 0, &last).unwrap();
    assert_eq!(mill.refusal(OPERATOR, 0, &last), "StartOutOfWindow");
}

on_both_chains!(an_empty_list_and_lists_of_different_lengths_are_refused);
fn an_empty_list_and_lists_of_different_lengths_are_refused(backend: Backend) {
    let mill = Mill::deploy(backend);
    assert_eq!(refusal(&mill, &vec![]), "NoBatches");
    let call = submit_batches_call(&mill.chain(&[S3M1, S3M1]));
    for (batches, proofs) in [(2, 1), (1, 2), (0, 1)] {
        let mut cut = call.clone();
        cut.batches.truncate(batches);
        cut.proofs.truncate(proofs);
        let expected = if batches == 0 { "NoBatches" } else { "ProofsUnequal" };
        assert_eq!(mill.refusal(OPERATOR, 0, &cut.encode()), expected);
    }
}

on_both_chains!(only_the_operator_submits_batches);
fn only_the_operator_submits_batches(backend: Backend) {
    let mill = Mill::deploy(backend);
    let data = calls::submit_batches(&mill.chain(&[S3M1, S3M1]));
    assert_eq!(mill.refusal(ALICE, 0, &data), "NotOperator");
}

on_both_chains!(a_rule_broken_by_one_batch_stops_all_under_its_own_name);
fn a_rule_broken_by_one_batch_stops_all_under_its_own_name(backend: Backend) {
    let (mill, chain) = scene(backend);
    let mut late = chain.clone();
    late[1].0.mints.swap(0, 1);
    assert_eq!(refusal(&mill, &late), "DepositMismatch");
    let mut early = chain.clone();
    let coin_of_batch_1 = early[1].0.mints[0].low;
    early[0].0.records =
        vec![Record::Withdraw { owner: stranger(1), low: coin_of_batch_1, high: coin_of_batch_1 }];
    assert_eq!(refusal(&mill, &early), "BadRange");
    let mut unknown = chain;
    unknown[3].0.circuit = 99;
    assert_eq!(refusal(&mill, &unknown), "UnknownCircuit");
}

on_both_chains!(three_circuits_interleaved_are_verified_under_their_own_keys);
fn three_circuits_interleaved_are_verified_under_their_own_keys(backend: Backend) {
    let mill = Mill::deploy(backend);
    let chain = mill.chain(&[S3M1, S14M2, S60M4, S3M1, S14M2, S60M4, S3M1]);
    let mut renamed = chain.clone();
    renamed[0].1 = chain[1].1;
    assert_eq!(refusal(&mill, &renamed), "ProofsRejected");
    mill.transact(OPERATOR, 0, &calls::submit_batches(&chain)).unwrap();
    assert_eq!(mill.state().batch_no, 7);
    let read = calls::decode_submit_batches(&calls::submit_batches(&chain)).unwrap();
    assert_eq!(read, chain);
}
