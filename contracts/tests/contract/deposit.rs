//! Deposits: numbering, fees, accounts, deadlines.

use bn254::Fr;
use l1::contract::{Event, calls, data};
use l1::testing::{AbiEncode, U256, bindings, mint_entry};
use testbed::chain::{Backend, ETHER, GWEI};

use crate::mill::{ALICE, BOB, Mill, key_hash, order};

on_both_chains!(coins_are_numbered_from_one_in_deposit_order_and_each_entry_hash_is_stored);
fn coins_are_numbered_from_one_in_deposit_order_and_each_entry_hash_is_stored(backend: Backend) {
    let mill = Mill::deploy(backend);
    let mut expected_low = 1;
    for (id, value) in [ETHER, 3 * ETHER, 20_000 * GWEI].into_iter().enumerate() {
        let owner = mill.who(BOB);
        let receipt = mill.transact(ALICE, value, &calls::deposit(&owner, &key_hash(BOB))).unwrap();
        let [Event::Deposited { id: logged, owner: logged_owner, key_hash: logged_key, entry }] =
            mill.events(&receipt)[..]
        else {
            panic!("one event");
        };
        assert_eq!((logged, logged_owner, logged_key), (id as u64, owner, key_hash(BOB)));
        assert_eq!(entry.low, expected_low);
        let coins = mill.config.coins_after_deposit((value / GWEI) as u64).unwrap();
        assert_eq!(entry.high, expected_low + coins - 1);
        assert_eq!(entry.depositor, mill.who(ALICE));
        let stored = mill.view(&bindings::DepositHashCall { id: id as u64 }.encode());
        assert_eq!(stored, data::deposit_hash(&entry));
        expected_low = entry.high + 1;
    }
}

on_both_chains!(a_deposit_for_nobody_is_refused);
fn a_deposit_for_nobody_is_refused(backend: Backend) {
    let mill = Mill::deploy(backend);
    assert_eq!(mill.refusal(ALICE, ETHER, &calls::deposit(&[0; 20], &Fr::from(1))), "ZeroAddress");
}

on_both_chains!(a_key_hash_of_r_or_more_is_refused_b6);
fn a_key_hash_of_r_or_more_is_refused_b6(backend: Backend) {
    let mill = Mill::deploy(backend);
    for key_hash in [order(), order() + 5, U256::MAX] {
        let call = bindings::DepositCall { owner: mill.who(ALICE).into(), key_hash }.encode();
        assert_eq!(mill.refusal(ALICE, ETHER, &call), "NotInField");
    }
}

on_both_chains!(the_fee_is_rounded_up_to_whole_coins_and_has_a_floor);
fn the_fee_is_rounded_up_to_whole_coins_and_has_a_floor(backend: Backend) {
    let mill = Mill::deploy_with(backend, |config| {
        config.deposit_fee_bps = 37;
        config.deposit_fee_floor = 10;
    });
    let mut fees = 0;
    // (coins sent, coins taken): the floor, the first amount above it, an exact multiple, one more.
    for (coins, fee) in
        [(11, 10), (2_702, 10), (2_703, 11), (10_000, 37), (10_001, 38), (1_000_000_007, 3_700_001)]
    {
        assert_eq!(mill.config.coins_after_deposit(coins), Some(coins - fee));
        let owner = mill.who(ALICE);
        let entry = mill.deposit(ALICE, &owner, &key_hash(ALICE), u128::from(coins) * GWEI);
        assert_eq!(entry.high - entry.low + 1, coins - fee, "{coins} coins");
        fees += u128::from(fee) * GWEI;
        assert_eq!(mill.number(bindings::FeesTotalCall), fees);
    }
}

on_both_chains!(a_deposit_must_be_whole_coins_and_leave_at_least_one);
fn a_deposit_must_be_whole_coins_and_leave_at_least_one(backend: Backend) {
    let mill = Mill::deploy(backend);
    let data = calls::deposit(&mill.who(ALICE), &key_hash(ALICE));
    assert_eq!(mill.refusal(ALICE, ETHER + 1, &data), "ValueNotWhole");
    assert_eq!(mill.refusal(ALICE, 0, &data), "DepositTooSmall");
    let floor = u128::from(mill.config.deposit_fee_floor) * GWEI;
    assert_eq!(mill.refusal(ALICE, floor, &data), "DepositTooSmall");
    let entry = mill.deposit(ALICE, &mill.who(ALICE), &key_hash(ALICE), floor + GWEI);
    assert_eq!((entry.low, entry.high), (1, 1));
}

on_both_chains!(coin_numbers_stay_below_2_to_63);
fn coin_numbers_stay_below_2_to_63(backend: Backend) {
    let mill = Mill::deploy_with(backend, |config| {
        config.quantum = 1;
        config.deposit_fee_bps = 0;
        config.deposit_fee_floor = 0;
    });
    let owner = mill.who(ALICE);
    let data = calls::deposit(&owner, &key_hash(ALICE));
    assert_eq!(mill.refusal(ALICE, 1 << 63, &data), "CoinsExhausted");
    let entry = mill.deposit(ALICE, &owner, &key_hash(ALICE), (1 << 63) - 1);
    assert_eq!(entry.high, (1 << 63) - 1);
    assert_eq!(mill.refusal(ALICE, 1, &data), "CoinsExhausted");
}

on_both_chains!(deadlines_are_spaced_so_that_a_flood_delays_and_never_overloads_a7);
fn deadlines_are_spaced_so_that_a_flood_delays_and_never_overloads_a7(backend: Backend) {
    let mill = Mill::deploy_with(backend, |config| {
        config.queue_delay = 1_000;
        config.queue_spacing = 600;
    });
    let first = mill.deposit_coins(ALICE, 10);
    assert_eq!(first.deadline, mill.rpc.block_time() + 1_000);
    let second = mill.deposit_coins(ALICE, 10);
    let third = mill.deposit_coins(BOB, 10);
    assert_eq!(second.deadline, first.deadline + 600);
    assert_eq!(third.deadline, second.deadline + 600);
    mill.rpc.pass_time(5_000);
    let later = mill.deposit_coins(BOB, 10);
    assert_eq!(later.deadline, mill.rpc.block_time() + 1_000);
}

on_both_chains!(the_entry_of_a_minted_deposit_stays_as_a_proof_of_ownership_a8);
fn the_entry_of_a_minted_deposit_stays_as_a_proof_of_ownership_a8(backend: Backend) {
    let mill = Mill::deploy(backend);
    let entry = mill.minted(ALICE, 500);
    let stored = mill.view(&bindings::DepositHashCall { id: 0 }.encode());
    assert_eq!(stored, data::deposit_hash(&entry));
}

on_both_chains!(an_overdue_head_of_the_deposit_queue_can_be_seen);
fn an_overdue_head_of_the_deposit_queue_can_be_seen(backend: Backend) {
    let mill = Mill::deploy(backend);
    let (first, second) = (mill.deposit_coins(ALICE, 10), mill.deposit_coins(BOB, 10));
    let overdue = |entry: &l1::contract::MintEntry| {
        let call = bindings::DepositOverdueCall { entry: mint_entry(entry) }.encode();
        mill.rpc
            .call(&[0; 20], Some(&mill.address), 0, &call)
            .map(|answer| calls::decode_bool(&answer).unwrap())
    };
    assert_eq!(overdue(&first), Ok(false));
    assert_eq!(overdue(&second).unwrap_err().name, "DepositMismatch");
    mill.rpc.pass_time(u64::from(mill.config.queue_delay) + 1);
    assert_eq!(overdue(&first), Ok(true));
    let mut batch = mill.batch(crate::mill::S3M1);
    batch.mints.push(first);
    mill.submit(&batch);
    assert_eq!(overdue(&first).unwrap_err().name, "DepositMismatch");
    mill.rpc.pass_time(u64::from(mill.config.queue_delay) + 1);
    assert_eq!(overdue(&second), Ok(true));
}

on_both_chains!(eth_sent_without_a_call_is_refused);
fn eth_sent_without_a_call_is_refused(backend: Backend) {
    let mill = Mill::deploy(backend);
    assert_eq!(mill.refusal(ALICE, ETHER, &[]), "Unknown");
}
