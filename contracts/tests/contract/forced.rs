//! Forced requests: who may ask, what it costs, when they fall due.

use bn254::Fr;
use l1::contract::{Event, ForcedKind, calls, data};
use l1::testing::{AbiEncode, U256, bindings, forced_entry};
use testbed::chain::{Backend, ETHER};

use crate::mill::{ALICE, BOB, Mill, S3M1, key_hash, order};

on_both_chains!(a_request_beyond_the_tree_is_refused_because_no_batch_could_prove_it_b1);
fn a_request_beyond_the_tree_is_refused_because_no_batch_could_prove_it_b1(backend: Backend) {
    let mill = Mill::deploy(backend);
    assert_eq!(mill.refusal(ALICE, ETHER, &calls::force_exit(0, &key_hash(ALICE))), "IndexNotAppended");
    mill.submit(&mill.batch(S3M1));
    let next = mill.state().next;
    assert_eq!(next, 4);
    for index in [next, next + 1, (1 << 36) - 1, u64::MAX] {
        assert_eq!(
            mill.refusal(ALICE, ETHER, &calls::force_exit(index, &key_hash(ALICE))),
            "IndexNotAppended"
        );
        let rekey = calls::force_rekey(index, &key_hash(ALICE), &Fr::from(1));
        assert_eq!(mill.refusal(ALICE, ETHER, &rekey), "IndexNotAppended");
    }
    assert_eq!(mill.force_exit(ALICE, next - 1).index, next - 1);
}

on_both_chains!(the_stored_hash_binds_kind_place_accounts_owner_and_deadline_a1);
fn the_stored_hash_binds_kind_place_accounts_owner_and_deadline_a1(backend: Backend) {
    let mill = Mill::deploy(backend);
    mill.submit(&mill.batch(S3M1));
    let exit = mill.force_exit(ALICE, 1);
    let rekey = mill.force_rekey(BOB, 2);
    assert_eq!((exit.kind, exit.owner, exit.new_account), (ForcedKind::Exit, mill.who(ALICE), Fr::from(0)));
    assert_eq!((rekey.kind, rekey.owner, rekey.index), (ForcedKind::Rekey, mill.who(BOB), 2));
    for (id, entry) in [(0, exit), (1, rekey)] {
        assert_eq!(mill.view(&bindings::ForcedHashCall { id }.encode()), data::forced_hash(&entry));
    }
}

on_both_chains!(key_hashes_of_r_or_more_are_refused_b6);
fn key_hashes_of_r_or_more_are_refused_b6(backend: Backend) {
    let mill = Mill::deploy(backend);
    mill.submit(&mill.batch(S3M1));
    let fine = U256::from(1);
    let calls = [
        bindings::ForceExitCall { index: 0, key_hash: order() }.encode(),
        bindings::ForceRekeyCall { index: 0, key_hash: order(), new_key_hash: fine }.encode(),
        bindings::ForceRekeyCall { index: 0, key_hash: fine, new_key_hash: order() }.encode(),
    ];
    for call in calls {
        assert_eq!(mill.refusal(ALICE, ETHER, &call), "NotInField");
    }
}

on_both_chains!(the_surcharge_rises_with_open_requests_and_is_burned_and_excess_is_credited_b5);
fn the_surcharge_rises_with_open_requests_and_is_burned_and_excess_is_credited_b5(backend: Backend) {
    let mill = Mill::deploy(backend);
    mill.submit(&mill.batch(S3M1));
    let (base, step) = (mill.config.force_base_fee, mill.config.force_surcharge_step);
    for open in 0..4 {
        assert_eq!(mill.force_fee(), (base, open * step));
        let due = base + open * step;
        assert_eq!(mill.refusal(ALICE, due - 1, &calls::force_exit(0, &key_hash(ALICE))), "ForceFeeTooLow");
        let burned = mill.rpc.balance(&[0; 20]);
        let pending = mill.pending(&mill.who(ALICE));
        let receipt = mill.transact(ALICE, due + 5, &calls::force_exit(0, &key_hash(ALICE))).unwrap();
        let excess = Event::ExcessCredited { owner: mill.who(ALICE), amount_wei: 5 };
        assert!(mill.events(&receipt).contains(&excess));
        assert_eq!(mill.rpc.balance(&[0; 20]) - burned, open * step);
        assert_eq!(mill.pending(&mill.who(ALICE)) - pending, 5);
        assert_eq!(mill.number(bindings::FeesTotalCall), (open + 1) * base);
    }
}

on_both_chains!(a_flood_moves_deadlines_apart_and_deadlines_only_grow_b5);
fn a_flood_moves_deadlines_apart_and_deadlines_only_grow_b5(backend: Backend) {
    let mill = Mill::deploy_with(backend, |config| {
        config.queue_delay = 100;
        config.queue_spacing = 50;
    });
    mill.submit(&mill.batch(S3M1));
    let first = mill.force_exit(ALICE, 0).deadline;
    assert_eq!(first, mill.rpc.block_time() + 100);
    let flood: Vec<u64> = (0..5).map(|_| mill.force_exit(BOB, 0).deadline).collect();
    for (i, deadline) in flood.iter().enumerate() {
        assert_eq!(*deadline, first + 50 * (i as u64 + 1));
    }
    mill.rpc.pass_time(1_000);
    assert_eq!(mill.force_exit(ALICE, 0).deadline, mill.rpc.block_time() + 100);
}

on_both_chains!(an_overdue_head_of_the_forced_queue_can_be_seen);
fn an_overdue_head_of_the_forced_queue_can_be_seen(backend: Backend) {
    let mill = Mill::deploy(backend);
    mill.submit(&mill.batch(S3M1));
    let (first, second) = (mill.force_exit(ALICE, 0), mill.force_exit(BOB, 1));
    let overdue = |entry: &l1::contract::ForcedEntry| {
        let call = bindings::ForcedOverdueCall { entry: forced_entry(entry) }.encode();
        mill.rpc
            .call(&[0; 20], Some(&mill.address), 0, &call)
            .map(|answer| calls::decode_bool(&answer).unwrap())
    };
    assert_eq!(overdue(&first), Ok(false));
    mill.rpc.pass_time(u64::from(mill.config.queue_delay) + 1);
    assert_eq!(overdue(&first), Ok(true));
    assert_eq!(overdue(&second).unwrap_err().name, "ForcedMismatch");
}
