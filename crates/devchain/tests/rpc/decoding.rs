//! Raw transactions come from outside: nothing in them may panic, and nothing but the canonical form is taken.

use devchain::tx::decode;
use l1::testing::{RawTx, TxType, U256};
use revm::primitives::Bytes;

use crate::common::*;
use crate::ethereum::wallet_address;

fn examples() -> [Bytes; 4] {
    let to = wallet_address(1);
    let access_list = vec![(to.into_array(), vec![[3; 32]; 2])];
    let legacy = transfer(7, to, 1_000_000_007);
    let listed = RawTx { tx_type: TxType::AccessList, access_list: access_list.clone(), ..legacy.clone() };
    [
        sign(0, legacy),
        sign(0, listed),
        sign(0, RawTx { access_list, ..tx(200, Some(to), vec![5; 60]) }),
        sign(0, tx(0, None, vec![0xfe])),
    ]
}

#[test]
fn what_is_taken_is_what_was_signed() {
    for (raw, tx_type) in examples().iter().zip([0, 1, 2, 2]) {
        let tx = decode(raw).expect("signed well");
        assert_eq!((tx.tx_type, tx.chain_id), (tx_type, CHAIN_ID));
        assert_eq!(tx.sender, wallet_address(0));
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
                    assert_ne!(tx.sender, wallet_address(0), "byte {at} to {value:#x}");
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
    let plain = || tx(0, Some(wallet_address(1)), vec![]);
    for (request, words) in [
        (RawTx { gas: U256::MAX, ..plain() }, "the gas limit does not fit 64 bits"),
        (RawTx { nonce: U256::MAX, ..plain() }, "the nonce does not fit 64 bits"),
        (RawTx { max_fee: U256::MAX, ..plain() }, "a fee does not fit 128 bits"),
        (RawTx { max_priority: U256::MAX, ..plain() }, "a fee does not fit 128 bits"),
    ] {
        let error = decode(&sign(0, request)).expect_err("refused").to_string();
        assert!(error.contains(words), "{error}");
    }
    assert!(decode(&sign(0, RawTx { value: U256::MAX, ..plain() })).is_ok(), "value has 256 bits");
}
