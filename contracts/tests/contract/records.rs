//! Records: what leaves, to whom, for how much, and every word that must not stand there.

use bn254::Fr;
use l1::contract::{Event, Record};
use l1::testing::{AbiEncode, U256, bindings};
use testbed::chain::{Backend, GWEI};

use crate::{
    mill::{ALICE, BOB, Mill, OPERATOR, S3M1, S14M2, S60M4, S252M4, S1020M4, order, stranger},
    rpc::TX_GAS_CAP,
};

fn withdraw(n: u64, low: u64, high: u64) -> Record {
    Record::Withdraw { owner: stranger(n), low, high }
}

on_both_chains!(withdrawals_credit_their_owners_less_the_fee);
fn withdrawals_credit_their_owners_less_the_fee(backend: Backend) {
    let mill = Mill::deploy(backend);
    mill.minted(ALICE, 1_000_000_000);
    let mut batch = mill.batch(S14M2);
    // The share, the floor, and the same owner twice.
    batch.records = vec![
        withdraw(1, 1, 500_000_000),
        withdraw(2, 500_000_001, 500_020_000),
        withdraw(1, 600_000_000, 600_049_999),
    ];
    let receipt = mill.submit(&batch);
    let credited = |owner, low, high, coins: u128| Event::Credited {
        owner: stranger(owner),
        batch_no: 2,
        amount_wei: coins * GWEI,
        low,
        high,
        kind: 2,
    };
    let events = mill.events(&receipt);
    assert_eq!(
        events[1..],
        [
            credited(1, 1, 500_000_000, 499_500_000),
            credited(2, 500_000_001, 500_020_000, 10_000),
            credited(1, 600_000_000, 600_049_999, 40_000),
        ]
    );
    assert_eq!(mill.pending(&stranger(1)), 499_540_000 * GWEI);
    assert_eq!(mill.pending(&stranger(2)), 10_000 * GWEI);
    assert_eq!(mill.number(bindings::ExitedCoinsCall), 500_000_000 + 20_000 + 50_000);
    assert_eq!(mill.config.coins_after_exit(500_000_000), 499_500_000);
    assert_eq!(mill.config.coins_after_exit(20_000), 10_000);
}

on_both_chains!(dust_under_the_fee_floor_does_not_stop_a_batch_b2);
fn dust_under_the_fee_floor_does_not_stop_a_batch_b2(backend: Backend) {
    let mill = Mill::deploy(backend);
    mill.minted(ALICE, 100_000);
    let exit = mill.force_exit(ALICE, 3);
    let mut batch = mill.batch(S14M2);
    let floor = mill.config.exit_fee_floor;
    batch.records = vec![
        withdraw(1, 1, 1),
        withdraw(2, 2, floor + 1),
        withdraw(3, 50_000, 50_000 + floor),
        Record::Exit { entry: exit, hit: Some((90_000, 90_000)) },
    ];
    mill.submit(&batch);
    assert_eq!(mill.pending(&stranger(1)), 0);
    assert_eq!(mill.pending(&stranger(2)), 0);
    assert_eq!(mill.pending(&stranger(3)), GWEI);
    assert_eq!(mill.pending(&mill.who(ALICE)), 0);
    assert_eq!(mill.config.coins_after_exit(1), 0);
}

on_both_chains!(a_forced_exit_credits_who_asked_when_the_state_says_hit_and_nobody_else);
fn a_forced_exit_credits_who_asked_when_the_state_says_hit_and_nobody_else(backend: Backend) {
    let mill = Mill::deploy(backend);
    mill.minted(ALICE, 1_000_000);
    let (hit, miss) = (mill.force_exit(ALICE, 3), mill.force_exit(BOB, 3));
    let mut batch = mill.batch(S60M4);
    batch.records =
        vec![Record::Exit { entry: hit, hit: Some((1, 1_000_000)) }, Record::Exit { entry: miss, hit: None }];
    let events = mill.events(&mill.submit(&batch));
    assert_eq!(mill.pending(&mill.who(ALICE)), 990_000 * GWEI);
    assert_eq!(mill.pending(&mill.who(BOB)), 0);
    assert_eq!(events.len(), 2);
    let credited = Event::Credited {
        owner: mill.who(ALICE),
        batch_no: 2,
        amount_wei: 990_000 * GWEI,
        low: 1,
        high: 1_000_000,
        kind: 3,
    };
    assert_eq!(events[1], credited);
    assert_eq!(mill.state().forced_up_to, 2);
}

on_both_chains!(a_forced_rekey_credits_nobody_hit_or_not);
fn a_forced_rekey_credits_nobody_hit_or_not(backend: Backend) {
    let mill = Mill::deploy(backend);
    mill.minted(ALICE, 1_000_000);
    let (hit, miss) = (mill.force_rekey(ALICE, 3), mill.force_rekey(BOB, 3));
    let mut batch = mill.batch(S60M4);
    batch.records = vec![Record::Rekey { entry: hit, hit: true }, Record::Rekey { entry: miss, hit: false }];
    assert_eq!(mill.events(&mill.submit(&batch)).len(), 1);
    assert_eq!(mill.number(bindings::ExitedCoinsCall), 0);
}

on_both_chains!(withdrawals_and_forced_records_mix_in_slot_order);
fn withdrawals_and_forced_records_mix_in_slot_order(backend: Backend) {
    let mill = Mill::deploy(backend);
    mill.minted(ALICE, 1_000_000);
    let entries = [mill.force_exit(ALICE, 3), mill.force_rekey(BOB, 2), mill.force_exit(BOB, 1)];
    let mut batch = mill.batch(S60M4);
    batch.records = vec![
        withdraw(1, 1, 100_000),
        Record::Exit { entry: entries[0], hit: Some((100_001, 200_000)) },
        withdraw(2, 200_001, 300_000),
        Record::Rekey { entry: entries[1], hit: true },
        Record::Exit { entry: entries[2], hit: None },
        withdraw(3, 300_001, 400_000),
    ];
    mill.submit(&batch);
    for owner in [stranger(1), stranger(2), stranger(3), mill.who(ALICE)] {
        assert_eq!(mill.pending(&owner), 90_000 * GWEI);
    }
    assert_eq!(mill.state().forced_up_to, 3);
}

/// Puts words in place of the first record of an otherwise proper call. The checks come before the proof.
fn with_words(mill: &Mill, records: Vec<Record>, words: [U256; 3]) -> &'static str {
    let mut batch = mill.batch(S3M1);
    batch.records = records;
    let mut call = mill.proven_call(&batch);
    call.batch.records[0] = words;
    mill.call_refusal(&call)
}

fn range(low: u64, high: u64) -> U256 {
    (U256::from(low) << 64) | U256::from(high)
}

on_both_chains!(a_withdrawal_to_no_address_is_refused_d4);
fn a_withdrawal_to_no_address_is_refused_d4(backend: Backend) {
    let mill = Mill::deploy(backend);
    mill.minted(ALICE, 1_000);
    let alice = U256::from_big_endian(&mill.who(ALICE));
    for owner in [U256::zero(), U256::one() << 160, alice + (U256::one() << 160), alice + order(), U256::MAX]
    {
        assert_eq!(with_words(&mill, vec![withdraw(1, 1, 1)], [2.into(), owner, range(1, 1)]), "BadOwner");
    }
}

on_both_chains!(empty_reversed_unminted_and_overflowing_ranges_are_refused_a3_a4);
fn empty_reversed_unminted_and_overflowing_ranges_are_refused_a3_a4(backend: Backend) {
    let mill = Mill::deploy(backend);
    mill.minted(ALICE, 1_000);
    let entry = mill.force_exit(ALICE, 3);
    let owner = U256::from_big_endian(&stranger(1));
    let wrapped = (U256::from(98) << 64) + U256::from(199) + (U256::one() << 64 << 64);
    let bad = [
        U256::zero(),
        range(0, 0),
        range(0, 10),
        range(11, 10),
        range(1, 1_001),
        range(1_001, 1_002),
        range(1, 1 << 63),
        range(1, u64::MAX),
        range(1, 10) + order(),
        range(1, 10) + (U256::one() << 127),
        range(1, 10) + (U256::one() << 128),
        wrapped,
        U256::MAX,
    ];
    for third in bad {
        assert_eq!(with_words(&mill, vec![withdraw(1, 1, 1)], [2.into(), owner, third]), "BadRange");
        let record = Record::Exit { entry, hit: Some((1, 1)) };
        let tag = l1::contract::calls::word(&record.words()[0]);
        let account = l1::contract::calls::word(&entry.account);
        let words = [U256::from_big_endian(&tag), U256::from_big_endian(&account), third];
        assert_eq!(with_words(&mill, vec![record], words), "BadRange");
    }
}

on_both_chains!(a_coin_minted_in_a_batch_cannot_leave_in_it_e2);
fn a_coin_minted_in_a_batch_cannot_leave_in_it_e2(backend: Backend) {
    let mill = Mill::deploy(backend);
    let entry = mill.deposit_coins(ALICE, 1_000);
    let mut batch = mill.batch(S3M1);
    batch.mints = vec![entry];
    batch.records = vec![withdraw(1, 1, 1_000)];
    assert_eq!(mill.batch_refusal(&batch), "BadRange");
}

on_both_chains!(unknown_tags_are_refused);
fn unknown_tags_are_refused(backend: Backend) {
    let mill = Mill::deploy(backend);
    mill.minted(ALICE, 1_000);
    let owner = U256::from_big_endian(&stranger(1));
    // 18 and 258 would be a withdrawal with a hit bit or an index.
    for tag in [U256::zero(), 1.into(), 5.into(), 16.into(), 18.into(), 258.into(), U256::MAX, order() + 2] {
        let refusal = with_words(&mill, vec![withdraw(1, 1, 1)], [tag, owner, range(1, 1)]);
        // order() + 2 ends in the nibble of a forced exit and lacks its entry: refused all the same.
        assert!(["UnknownRecord", "ForcedEntriesUnequal"].contains(&refusal), "{tag}: {refusal}");
    }
}

on_both_chains!(a_forced_record_must_show_its_request_a1_a2);
fn a_forced_record_must_show_its_request_a1_a2(backend: Backend) {
    let mill = Mill::deploy(backend);
    mill.minted(ALICE, 1_000);
    let entry = mill.force_exit(ALICE, 3);
    let word = |x: Fr| U256::from_big_endian(&l1::contract::calls::word(&x));
    let record = Record::Exit { entry, hit: Some((1, 10)) };
    let [tag, account, third] = record.words().map(word);
    let high_bit = U256::one() << 72;
    let bad = [
        [tag + 1, account, third],        // the other kind
        [tag + 256, account, third],      // another place
        [tag + 32, account, third],       // bits between hit and index
        [tag + high_bit, account, third], // index of more than 64 bits
        [tag + high_bit * 2, account, third],
        [tag, account + 1, third],  // another account
        [tag - 16, account, third], // no hit, yet a range leaves
        [tag - 16, account, U256::one()],
    ];
    for words in bad {
        assert_eq!(with_words(&mill, vec![record], words), "ForcedRecordMismatch");
    }
    assert_eq!(with_words(&mill, vec![record], [tag, account + order(), third]), "ForcedRecordMismatch");
    // A hit that shows the zero of a miss is no exit of coin 0.
    assert_eq!(with_words(&mill, vec![record], [tag, account, U256::zero()]), "BadRange");
}

on_both_chains!(a_rekey_record_must_show_the_new_account_a1);
fn a_rekey_record_must_show_the_new_account_a1(backend: Backend) {
    let mill = Mill::deploy(backend);
    mill.minted(ALICE, 1_000);
    let entry = mill.force_rekey(ALICE, 3);
    let word = |x: Fr| U256::from_big_endian(&l1::contract::calls::word(&x));
    for hit in [true, false] {
        let record = Record::Rekey { entry, hit };
        let [tag, account, third] = record.words().map(word);
        for wrong in [U256::zero(), third + 1, third + order()] {
            assert_eq!(with_words(&mill, vec![record], [tag, account, wrong]), "ForcedRecordMismatch");
        }
    }
}

on_both_chains!(records_fit_the_circuits_slots);
fn records_fit_the_circuits_slots(backend: Backend) {
    let mill = Mill::deploy(backend);
    mill.minted(ALICE, 100_000_000);
    for (circuit, slots) in [(S3M1, 3), (S14M2, 14), (S252M4, 252)] {
        let mut batch = mill.batch(circuit);
        batch.records = (1..=slots + 1).map(|i| withdraw(i, i * 10, i * 10)).collect();
        assert_eq!(mill.batch_refusal(&batch), "TooManyRecords");
    }
}

on_both_chains!(the_largest_batch_of_256_records_fits_a_transaction_and_257_are_refused_b3);
fn the_largest_batch_of_256_records_fits_a_transaction_and_257_are_refused_b3(backend: Backend) {
    let mill = Mill::deploy(backend);
    mill.minted(ALICE, 1_000_000_000);
    let mut batch = mill.batch(S1020M4);
    batch.records = (1..=257).map(|i| withdraw(i, i * 100_000, i * 100_000 + 50_000)).collect();
    assert_eq!(mill.batch_refusal(&batch), "TooManyRecords");
    batch.records.pop();
    let gas = mill.submit(&batch).gas;
    assert!(gas < TX_GAS_CAP / 2, "{gas} gas");
    for i in 1..=256 {
        assert_eq!(mill.pending(&stranger(i)), 40_001 * GWEI);
    }
}

on_both_chains!(fee_settings_do_not_stand_in_d_so_that_a_proof_outlives_them_b4);
fn fee_settings_do_not_stand_in_d_so_that_a_proof_outlives_them_b4(backend: Backend) {
    // The same batch, proven once, is good on two deployments that differ in fees alone if they had one address: D holds only
    // the circuit, the domain, the number, the roots, the start, the mints and the records.
    let mill = Mill::deploy(backend);
    mill.minted(ALICE, 1_000);
    let mut batch = mill.batch(S3M1);
    batch.records = vec![withdraw(1, 1, 10)];
    let call = mill.proven_call(&batch);
    // Deposits, forced requests, key epochs and time change nothing in it.
    mill.deposit_coins(BOB, 77);
    mill.force_exit(BOB, 0);
    mill.transact(BOB, 0, &l1::contract::calls::bump_key_epoch()).unwrap();
    mill.rpc.pass_time(100_000);
    mill.transact(OPERATOR, 0, &call.encode()).unwrap();
}
