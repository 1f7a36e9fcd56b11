//! Deposits: numbering, fees, accounts, deadlines.

use bn254::Fr;
use contracts::{Event, bindings, calls, data};
use ethers::abi::AbiEncode;

use crate::BACKEND;
use crate::common::mill::{ALICE, BOB, ETHER, GWEI, Mill, key_hash, order};

#[test]
fn coins_are_numbered_from_one_in_deposit_order_and_each_entry_hash_is_stored() {
    let mill = Mill::deploy(BACKEND);
    let mut expected_low = 1;
    for (id, value) in [ETHER, 3 * ETHER, 20_000 * GWEI].into_iter().enumerate() {
        let owner = mill.who(BOB);
        let receipt = mill.transact(ALICE, value, &calls::deposit(&owner, &key_hash(BOB))).unwrap();
        let [Event::Deposited { id: logged, owner: logged_owner, key_hash: logged_key, entry }] = mill.events(&receipt)[..]
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

#[test]
fn a_deposit_for_nobody_is_refused() {
    let mill = Mill::deploy(BACKEND);
    assert_eq!(mill.refusal(ALICE, ETHER, &calls::deposit(&[0; 20], &Fr::from(1))), "ZeroAddress");
}

#[test]
fn a_key_hash_of_r_or_more_is_refused_b6() {
    let mill = Mill::deploy(BACKEND);
    for key_hash in [order(), order() + 5, ethers::types::U256::MAX] {
        let call = bindings::DepositCall { owner: mill.who(ALICE).into(), key_hash }.encode();
        assert_eq!(mill.refusal(ALICE, ETHER, &call), "NotInField");
    }
}
