//! Batches consume prefixes of both queues: nothing is skipped, reordered, invented or taken twice.

use l1::contract::{ForcedEntry, Record, calls};
use testbed::chain::Backend;

use crate::mill::{ALICE, BOB, CAROL, Mill, OPERATOR, S3M1, S4M60, S14M2, S60M4, stranger};

on_both_chains!(deposits_are_minted_in_order_none_skipped_none_twice);
fn deposits_are_minted_in_order_none_skipped_none_twice(backend: Backend) {
    let mill = Mill::deploy(backend);
    let entries: Vec<_> = (0..4).map(|i| mill.deposit_coins(ALICE, 100 + i)).collect();
    let with = |mints: Vec<l1::contract::MintEntry>| {
        let mut batch = mill.batch(S60M4);
        batch.mints = mints;
        batch
    };
    assert_eq!(mill.batch_refusal(&with(vec![entries[1]])), "DepositMismatch");
    assert_eq!(mill.batch_refusal(&with(vec![entries[1], entries[0]])), "DepositMismatch");
    assert_eq!(mill.batch_refusal(&with(vec![entries[0], entries[2]])), "DepositMismatch");
    assert_eq!(mill.batch_refusal(&with(vec![entries[0], entries[0]])), "DepositMismatch");
    mill.submit(&with(vec![entries[0], entries[1]]));
    assert_eq!(mill.state().minted_up_to, 2);
    assert_eq!(mill.batch_refusal(&with(vec![entries[0]])), "DepositMismatch");
    assert_eq!(mill.batch_refusal(&with(vec![entries[1], entries[2]])), "DepositMismatch");
    mill.submit(&with(vec![]));
    mill.submit(&with(vec![entries[2], entries[3]]));
    assert_eq!(mill.state().minted_up_to, 4);
}

on_both_chains!(a_mint_must_be_the_deposit_word_for_word);
fn a_mint_must_be_the_deposit_word_for_word(backend: Backend) {
    let mill = Mill::deploy(backend);
    let entry = mill.deposit_coins(ALICE, 100);
    let changes: [fn(&mut l1::contract::MintEntry); 5] = [
        |entry| entry.account += bn254::Fr::from(1),
        |entry| entry.low += 1,
        |entry| entry.high += 1,
        |entry| entry.depositor[0] ^= 1,
        |entry| entry.deadline += 1,
    ];
    for change in changes {
        let mut batch = mill.batch(S3M1);
        let mut changed = entry;
        change(&mut changed);
        batch.mints = vec![changed];
        assert_eq!(mill.batch_refusal(&batch), "DepositMismatch");
    }
}

on_both_chains!(a_deposit_that_never_came_cannot_be_minted);
fn a_deposit_that_never_came_cannot_be_minted(backend: Backend) {
    let mill = Mill::deploy(backend);
    let mut batch = mill.batch(S3M1);
    let mut entry = mill.deposit_coins(ALICE, 100);
    batch.mints = vec![entry];
    mill.submit(&batch);
    entry.low = entry.high + 1;
    entry.high += 100;
    let mut batch = mill.batch(S3M1);
    batch.mints = vec![entry];
    assert_eq!(mill.batch_refusal(&batch), "DepositMismatch");
}

on_both_chains!(mints_fit_the_circuits_places);
fn mints_fit_the_circuits_places(backend: Backend) {
    let mill = Mill::deploy(backend);
    let entries: Vec<_> = (0..3).map(|_| mill.deposit_coins(ALICE, 100)).collect();
    for (circuit, count) in [(S3M1, 2), (S14M2, 3)] {
        let mut batch = mill.batch(circuit);
        batch.mints = entries[..count].to_vec();
        // The proof cannot exist; the count is refused first.
        let call = calls::submit_batch(&batch, &[[0; 32]; 8]);
        assert_eq!(mill.refusal(OPERATOR, 0, &call), "TooManyMints");
    }
    let mut batch = mill.batch(S4M60);
    batch.mints = entries;
    mill.submit(&batch);
}

fn exit(entry: ForcedEntry) -> Record {
    Record::Exit { entry, hit: None }
}

on_both_chains!(forced_requests_are_answered_in_order_none_skipped_none_twice);
fn forced_requests_are_answered_in_order_none_skipped_none_twice(backend: Backend) {
    let mill = Mill::deploy(backend);
    mill.submit(&mill.batch(S3M1));
    let entries = [mill.force_exit(ALICE, 0), mill.force_exit(BOB, 1), mill.force_exit(CAROL, 2)];
    let with = |records: Vec<Record>| {
        let mut batch = mill.batch(S60M4);
        batch.records = records;
        batch
    };
    assert_eq!(mill.batch_refusal(&with(vec![exit(entries[1])])), "ForcedMismatch");
    assert_eq!(mill.batch_refusal(&with(vec![exit(entries[1]), exit(entries[0])])), "ForcedMismatch");
    assert_eq!(mill.batch_refusal(&with(vec![exit(entries[0]), exit(entries[2])])), "ForcedMismatch");
    assert_eq!(mill.batch_refusal(&with(vec![exit(entries[0]), exit(entries[0])])), "ForcedMismatch");
    mill.submit(&with(vec![exit(entries[0]), exit(entries[1])]));
    assert_eq!(mill.state().forced_up_to, 2);
    assert_eq!(mill.batch_refusal(&with(vec![exit(entries[0])])), "ForcedMismatch");
    mill.submit(&with(vec![exit(entries[2])]));
    assert_eq!(mill.batch_refusal(&with(vec![exit(entries[2])])), "ForcedMismatch");
}

on_both_chains!(a_forced_entry_must_be_the_request_word_for_word_a1);
fn a_forced_entry_must_be_the_request_word_for_word_a1(backend: Backend) {
    let mill = Mill::deploy(backend);
    mill.minted(ALICE, 1_000);
    let entry = mill.force_exit(ALICE, 0);
    let changes: [fn(&mut ForcedEntry); 5] = [
        |entry| entry.index += 1,
        |entry| entry.account += bn254::Fr::from(1),
        |entry| entry.new_account += bn254::Fr::from(1),
        |entry| entry.owner = stranger(1),
        |entry| entry.deadline += 1,
    ];
    for change in changes {
        let mut changed = entry;
        change(&mut changed);
        let mut batch = mill.batch(S3M1);
        batch.records = vec![Record::Exit { entry: changed, hit: Some((1, 1_000)) }];
        assert_eq!(mill.batch_refusal(&batch), "ForcedMismatch");
    }
    let mut batch = mill.batch(S3M1);
    let as_rekey = ForcedEntry { kind: l1::contract::ForcedKind::Rekey, ..entry };
    batch.records = vec![Record::Rekey { entry: as_rekey, hit: true }];
    assert_eq!(mill.batch_refusal(&batch), "ForcedMismatch");
}

on_both_chains!(forced_entries_and_forced_records_come_in_pairs);
fn forced_entries_and_forced_records_come_in_pairs(backend: Backend) {
    let mill = Mill::deploy(backend);
    mill.submit(&mill.batch(S3M1));
    let entry = mill.force_exit(ALICE, 0);
    let mut batch = mill.batch(S3M1);
    batch.records = vec![exit(entry)];
    let mut call = mill.proven_call(&batch);
    let entries = std::mem::take(&mut call.batch.forced);
    assert_eq!(mill.call_refusal(&call), "ForcedEntriesUnequal");
    let mut call = mill.proven_call(&mill.batch(S3M1));
    call.batch.forced = entries;
    assert_eq!(mill.call_refusal(&call), "ForcedEntriesUnequal");
}

on_both_chains!(a_batch_answers_at_most_an_eighth_of_its_slots_in_forced_requests);
fn a_batch_answers_at_most_an_eighth_of_its_slots_in_forced_requests(backend: Backend) {
    let mill = Mill::deploy(backend);
    mill.submit(&mill.batch(S3M1));
    let entries: Vec<_> = (0..10).map(|_| mill.force_exit(ALICE, 0)).collect();
    // F = max(1, N / 8): 1 for s3m1 and s14m2, 7 for s60m4.
    for (circuit, count) in [(S3M1, 1), (S14M2, 1), (S60M4, 7)] {
        let mut batch = mill.batch(circuit);
        let from = mill.state().forced_up_to as usize;
        batch.records = entries[from..=from + count].iter().copied().map(exit).collect();
        assert_eq!(mill.batch_refusal(&batch), "TooManyForced");
        batch.records.pop();
        mill.submit(&batch);
    }
    assert_eq!(mill.state().forced_up_to, 9);
}
