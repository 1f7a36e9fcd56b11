//! Raw transactions come from outside: nothing in them may panic, and nothing but the canonical form is taken.

use devchain::tx::decode;
use ethers::types::transaction::eip2718::TypedTransaction;
use ethers::types::transaction::eip2930::AccessListItem;
use ethers::types::{Bytes, H256};

use crate::common::*;
use crate::ethereum::wallet_address;

fn examples() -> [Bytes; 4] {
    let to = wallet_address(1);
    let list = vec![AccessListItem { address: to, storage_keys: vec![H256::repeat_byte(3); 2] }];
    let legacy = transfer(7, to, 1_000_000_007);
    let listed = legacy.clone().with_access_list(list.clone());
    [
        sign(0, legacy),
        sign(0, TypedTransaction::Eip2930(listed)),
        sign(0, tx(200, Some(to), vec![5; 60]).access_list(list)),
        sign(0, tx(0, None, vec![0xfe])),
    ]
}

#[test]
fn what_is_taken_is_what_was_signed() {
    for (raw, tx_type) in examples().iter().zip([0, 1, 2, 2]) {
        let tx = decode(raw).expect("signed well");
        assert_eq!((tx.tx_type, tx.chain_id), (tx_type, CHAIN_ID));
        assert_eq!(tx.sender.into_array(), wallet_address(0).0);
        assert_eq!(tx.raw.as_ref(), raw.as_ref());
    }
}

#[test]
fn no_changed_byte_panics_or_keeps_the_sender() {
    for raw in examples() {
        for at in 0..raw.len() {
            let interesting = [0x00, 0x01, 0x7f, 0x80, 0x88, 0xb7, 0xb8, 0xbf, 0xc0, 0xc1, 0xf7, 0xf8, 0xff];
            let flipped = (0..8).map(|bit| raw[at] ^ (1 << bit));
            for value in interesting.into_iter().chain(flipped).filter(|value| *value != raw[at]) {
                let mut changed = raw.to_vec();
                changed[at] = value;
                if let Ok(tx) = decode(&changed) {
                    assert_ne!(tx.sender.into_array(), wallet_address(0).0, "byte {at} to {value:#x}");
                }
            }
        }
    }
}

#[test]
fn no_cut_or_repeated_transaction_is_taken() {
    for raw in examples() {
        for length in 0..raw.len() {
            assert!(decode(&raw[..length]).is_err());
        }
        assert!(decode(&[raw.as_ref(), raw.as_ref()].concat()).is_err());
    }
    assert!(decode(&vec![0xf8; devchain::tx::MAX_TX_BYTES + 1]).is_err());
}

#[test]
fn numbers_that_do_not_fit_are_refused() {
    let huge = ethers::types::U256::MAX;
    let to = Some(wallet_address(1));
    for request in [
        tx(0, to, vec![]).gas(huge),
        tx(0, to, vec![]).nonce(huge),
        tx(0, to, vec![]).max_fee_per_gas(huge),
        tx(0, to, vec![]).max_priority_fee_per_gas(huge),
    ] {
        assert!(decode(&sign(0, request)).is_err());
    }
    assert!(decode(&sign(0, tx(0, to, vec![]).value(huge))).is_ok(), "value has 256 bits");
}
