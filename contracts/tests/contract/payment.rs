//! ETH leaves by pull only: what is credited, to its owner, once; fees to the operator; stake not at all.

use l1::contract::{Address, Event, Record, calls};
use l1::testing::{AbiEncode, U256, bindings, selector};
use testbed::chain::{Backend, ETHER, GWEI};

use crate::mill::{ALICE, BOB, CAROL, Mill, OPERATOR, S3M1, stranger};

/// Credits `owner` with 990,000 coins less nothing else.
fn credit(mill: &Mill, owners: &[Address]) {
    mill.minted(ALICE, 1_000_000 * owners.len() as u64);
    let base = mill.number(bindings::MintedCoinsCall) as u64 - 1_000_000 * owners.len() as u64;
    let mut batch = mill.batch(S3M1);
    batch.records = (0..)
        .zip(owners)
        .map(|(i, owner)| Record::Withdraw {
            owner: *owner,
            low: base + 1_000_000 * i + 1,
            high: base + 1_000_000 * (i + 1),
        })
        .collect();
    mill.submit(&batch);
}

const CREDIT: u128 = 990_000 * GWEI;

on_both_chains!(an_owner_collects_to_any_address_exactly_once);
fn an_owner_collects_to_any_address_exactly_once(backend: Backend) {
    let mill = Mill::deploy(backend);
    credit(&mill, &[mill.who(BOB), mill.who(CAROL)]);
    assert_eq!(mill.refusal(BOB, 0, &calls::withdraw(&[0; 20])), "ZeroAddress");
    let receipt = mill.transact(BOB, 0, &calls::withdraw(&stranger(1))).unwrap();
    assert_eq!(mill.events(&receipt), [Event::Collected { owner: mill.who(BOB), amount_wei: CREDIT }]);
    assert_eq!(mill.rpc.balance(&stranger(1)), CREDIT);
    assert_eq!(mill.refusal(BOB, 0, &calls::withdraw(&stranger(1))), "NothingPending");
    assert_eq!(mill.pending(&mill.who(CAROL)), CREDIT);
}

on_both_chains!(anybody_may_have_an_owner_paid_but_only_that_owner);
fn anybody_may_have_an_owner_paid_but_only_that_owner(backend: Backend) {
    let mill = Mill::deploy(backend);
    credit(&mill, &[stranger(1)]);
    mill.transact(CAROL, 0, &calls::withdraw_for(&stranger(1))).unwrap();
    assert_eq!(mill.rpc.balance(&stranger(1)), CREDIT);
    assert_eq!(mill.refusal(CAROL, 0, &calls::withdraw_for(&stranger(1))), "NothingPending");
    assert_eq!(mill.refusal(CAROL, 0, &calls::withdraw(&mill.who(CAROL))), "NothingPending");
}

fn deploy(mill: &Mill, json: &str, args: &[u8]) -> Address {
    let artifact: serde_json::Value = serde_json::from_str(json).unwrap();
    let mut code = hex::decode(artifact["bytecode"].as_str().unwrap().trim_start_matches("0x")).unwrap();
    code.extend(args);
    mill.rpc.transact(CAROL, None, 0, &code).unwrap().contract.unwrap()
}

on_both_chains!(a_payee_that_calls_back_is_paid_once);
fn a_payee_that_calls_back_is_paid_once(backend: Backend) {
    let mill = Mill::deploy(backend);
    let argument = U256::from_big_endian(&mill.address).encode();
    let payee = deploy(&mill, include_str!("../abi/ReenteringPayee.json"), &argument);
    credit(&mill, &[payee, mill.who(BOB)]);
    mill.rpc.transact(CAROL, Some(&payee), 0, &selector("collect()")).unwrap();
    mill.assert_solvent();
    assert_eq!(mill.rpc.balance(&payee), CREDIT);
    let read = |name: &str| {
        calls::decode_u128(&mill.rpc.call(&[0; 20], Some(&payee), 0, &selector(name)).unwrap()).unwrap()
    };
    assert_eq!((read("attempts()"), read("successes()")), (1, 0));
    assert_eq!(mill.pending(&mill.who(BOB)), CREDIT);
}

on_both_chains!(a_payee_that_refuses_blocks_neither_the_batch_nor_the_others);
fn a_payee_that_refuses_blocks_neither_the_batch_nor_the_others(backend: Backend) {
    let mill = Mill::deploy(backend);
    let payee = deploy(&mill, include_str!("../abi/RevertingPayee.json"), &[]);
    credit(&mill, &[payee, mill.who(BOB)]);
    assert_eq!(mill.refusal(CAROL, 0, &calls::withdraw_for(&payee)), "PaymentFailed");
    assert_eq!(mill.pending(&payee), CREDIT);
    mill.transact(BOB, 0, &calls::withdraw(&stranger(1))).unwrap();
    // It can still be collected to an address that takes it.
    let mut data = selector("collect(address,address)").to_vec();
    data.extend((U256::from_big_endian(&mill.address), U256::from_big_endian(&stranger(2))).encode());
    mill.rpc.transact(CAROL, Some(&payee), 0, &data).unwrap();
    mill.assert_solvent();
    assert_eq!(mill.rpc.balance(&stranger(2)), CREDIT);
}

on_both_chains!(the_operator_collects_the_fees_and_nothing_but_the_fees);
fn the_operator_collects_the_fees_and_nothing_but_the_fees(backend: Backend) {
    let mill = Mill::deploy(backend);
    credit(&mill, &[mill.who(BOB)]);
    mill.transact(CAROL, ETHER, &calls::deposit_stake()).unwrap();
    let (base, _) = mill.force_fee();
    mill.force_exit(BOB, 0);
    // Deposit: the floor of 10,000 coins; withdrawal: 10,000 of 1,000,000 coins; forced request: its base fee.
    let fees = 10_000 * GWEI + 10_000 * GWEI + base;
    assert_eq!(mill.number(bindings::FeesTotalCall), fees);
    assert_eq!(mill.refusal(BOB, 0, &calls::collect_fees(&stranger(3))), "NotOperator");
    assert_eq!(mill.refusal(OPERATOR, 0, &calls::collect_fees(&[0; 20])), "ZeroAddress");
    let receipt = mill.transact(OPERATOR, 0, &calls::collect_fees(&stranger(3))).unwrap();
    assert_eq!(mill.events(&receipt), [Event::FeesCollected { to: stranger(3), amount_wei: fees }]);
    assert_eq!(mill.rpc.balance(&stranger(3)), fees);
    assert_eq!(mill.refusal(OPERATOR, 0, &calls::collect_fees(&stranger(3))), "NothingPending");
    assert_eq!(mill.number(bindings::StakeTotalCall), ETHER);
}

on_both_chains!(stake_is_kept_apart_from_user_funds);
fn stake_is_kept_apart_from_user_funds(backend: Backend) {
    let mill = Mill::deploy(backend);
    let receipt = mill.transact(OPERATOR, 5 * ETHER, &calls::deposit_stake()).unwrap();
    assert_eq!(
        mill.events(&receipt),
        [Event::StakeAdded { from: mill.who(OPERATOR), amount_wei: 5 * ETHER }]
    );
    assert_eq!(mill.number(bindings::StakeTotalCall), 5 * ETHER);
    assert_eq!(mill.refusal(OPERATOR, 0, &calls::collect_fees(&stranger(1))), "NothingPending");
    assert_eq!(mill.refusal(OPERATOR, 0, &calls::withdraw(&stranger(1))), "NothingPending");
}

on_both_chains!(promise_signers_are_added_by_the_operator_and_never_removed);
fn promise_signers_are_added_by_the_operator_and_never_removed(backend: Backend) {
    let mill = Mill::deploy(backend);
    let listed = |who: &Address| calls::decode_bool(&mill.view(&calls::is_promise_signer(who))).unwrap();
    assert!(listed(&mill.who(OPERATOR)));
    assert!(!listed(&stranger(1)));
    assert_eq!(mill.refusal(BOB, 0, &calls::add_promise_signer(&stranger(1))), "NotOperator");
    assert_eq!(mill.refusal(OPERATOR, 0, &calls::add_promise_signer(&[0; 20])), "ZeroAddress");
    let receipt = mill.transact(OPERATOR, 0, &calls::add_promise_signer(&stranger(1))).unwrap();
    assert_eq!(mill.events(&receipt), [Event::PromiseSignerAdded(stranger(1))]);
    assert!(listed(&stranger(1)) && listed(&mill.who(OPERATOR)));
    let abi = include_str!("../../abi/Proofmill.json");
    for power in ["remove", "upgrade", "owner()", "pause", "setFee", "setKey", "addCircuit\"", "selfdestruct"]
    {
        assert!(!abi.contains(power), "the ABI has something called {power}");
    }
}

on_both_chains!(a_key_epoch_is_bumped_by_its_owner_alone);
fn a_key_epoch_is_bumped_by_its_owner_alone(backend: Backend) {
    let mill = Mill::deploy(backend);
    let epoch = |who| calls::decode_u128(&mill.view(&calls::key_epoch(&mill.who(who)))).unwrap();
    let receipt = mill.transact(BOB, 0, &calls::bump_key_epoch()).unwrap();
    assert_eq!(mill.events(&receipt), [Event::KeyEpochBumped { owner: mill.who(BOB), key_epoch: 1 }]);
    mill.transact(BOB, 0, &calls::bump_key_epoch()).unwrap();
    assert_eq!((epoch(BOB), epoch(ALICE)), (2, 0));
}
