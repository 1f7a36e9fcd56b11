//! Gas of each call, held against `contracts/gas.snapshot`. `UPDATE_GAS=1` writes the file anew.

use std::{fmt::Write as _, path::Path};

use bn254::Fr;
use l1::contract::{Config, Event, MintEntry, Record, calls, decode_log};
use l1::testing::{AbiEncode, bindings, selector};
use serde_json::json;
use testbed::chain::{Backend, DEV_CHAIN, ETHER, hex_of};

use crate::{
    mill::{ALICE, BOB, Mill, OPERATOR, S3M1, S60M4, circuits, key_hash, stranger},
    rpc::{Rpc, log},
};

const HEADER: &str = "# Gas of whole transactions, intrinsic cost included. `UPDATE_GAS=1 cargo test -p proofmill-contracts gas` writes this file.\n";

const SUBMIT_BATCHES: [&str; 4] = [
    "submitBatches, 1 of s3m1, 0 mints, 0 records",
    "submitBatches, 2 of s3m1, 0 mints, 0 records",
    "submitBatches, 8 of s3m1, 0 mints, 0 records",
    "submitBatches, 32 of s3m1, 0 mints, 0 records",
];

/// Withdrawals to owners nobody has credited before.
fn withdrawals(from: u64, count: u64) -> Vec<Record> {
    (from..from + count)
        .map(|i| Record::Withdraw { owner: stranger(i), low: i * 100_000, high: i * 100_000 + 50_000 })
        .collect()
}

fn measure(backend: Backend) -> Vec<(&'static str, u64)> {
    let mut list = Vec::new();
    let rpc = Rpc::start(backend, DEV_CHAIN);
    let deploy = calls::deploy_bytecode(&Config::new(stranger(9)), &circuits());
    list.push(("constructor, six circuits", rpc.transact(OPERATOR, None, 0, &deploy).unwrap().gas));

    let mill = Mill::deploy(backend);
    let deposit = |who| mill.transact(who, ETHER, &calls::deposit(&mill.who(who), &key_hash(who))).unwrap();
    list.push(("deposit, the first", deposit(ALICE).gas));
    list.push(("deposit, another", deposit(BOB).gas));
    let entries: Vec<_> = (0..2).map(|_| mill.deposit_coins(ALICE, 5_000_000)).collect();
    // From here on no slot of the contract's own counters is zero.
    let mut warm = mill.batch(S60M4);
    warm.mints = vec![];
    warm.records = vec![];
    mill.submit(&warm);

    let mut batch = mill.batch(S3M1);
    list.push(("submitBatch s3m1, 0 mints, 0 records", mill.submit(&batch).gas));
    let deposited = first_two(&mill);
    batch = mill.batch(S3M1);
    batch.mints = vec![deposited[0]];
    list.push(("submitBatch s3m1, 1 mint, 0 records", at_any_second(mill.submit(&batch).gas, &batch.mints)));
    batch = mill.batch(S3M1);
    batch.records = withdrawals(1, 1);
    mill.submit(&batch);
    batch = mill.batch(S3M1);
    batch.records = withdrawals(2, 1);
    list.push(("submitBatch s3m1, 0 mints, 1 record", mill.submit(&batch).gas));
    batch = mill.batch(S3M1);
    batch.records = withdrawals(3, 3);
    list.push(("submitBatch s3m1, 0 mints, 3 records", mill.submit(&batch).gas));
    batch = mill.batch(S3M1);
    batch.mints = vec![deposited[1]];
    batch.records = withdrawals(6, 3);
    list.push(("submitBatch s3m1, 1 mint, 3 records", at_any_second(mill.submit(&batch).gas, &batch.mints)));
    batch = mill.batch(S60M4);
    batch.mints = entries;
    batch.records = withdrawals(9, 60);
    let gas = at_any_second(mill.submit(&batch).gas, &batch.mints);
    list.push(("submitBatch s60m4, 2 mints, 60 withdrawals", gas));

    for (name, count) in SUBMIT_BATCHES.into_iter().zip([1, 2, 8, 32]) {
        let chain = mill.chain(&vec![S3M1; count]);
        list.push((name, mill.transact(OPERATOR, 0, &calls::submit_batches(&chain)).unwrap().gas));
    }

    let fee = mill.force_fee().0;
    let exit = calls::force_exit(0, &key_hash(ALICE));
    list.push(("forceExit, empty queue", mill.transact(ALICE, fee, &exit).unwrap().gas));
    let (base, surcharge) = mill.force_fee();
    let rekey = calls::force_rekey(0, &key_hash(ALICE), &Fr::from(1));
    list.push(("forceRekey, one open", mill.transact(ALICE, base + surcharge, &rekey).unwrap().gas));
    list.push((
        "withdrawFor, new account",
        mill.transact(BOB, 0, &calls::withdraw_for(&stranger(1))).unwrap().gas,
    ));
    batch = mill.batch(S3M1);
    batch.records = vec![Record::Withdraw { owner: mill.who(BOB), low: 90_000_000, high: 95_000_000 }];
    mill.submit(&batch);
    list.push((
        "withdraw, existing account",
        mill.transact(BOB, 0, &calls::withdraw(&mill.who(BOB))).unwrap().gas,
    ));

    let poseidon: [u8; 20] = mill.view(&bindings::PoseidonCall.encode())[12..].try_into().unwrap();
    let mut hash = selector("hash(uint256,uint256)").to_vec();
    hash.extend(calls::word(&Fr::from(1)));
    hash.extend(calls::word(&Fr::from(2)));
    let whole = mill.rpc.transact(BOB, Some(&poseidon), 0, &hash).unwrap().gas;
    list.push(("P2(1, 2), less the transaction's own cost", whole - intrinsic(&hash)));
    list
}

/// What a call with these mints takes when no byte of their deadlines is zero: a deadline is the clock's, and a zero byte
/// of call data costs 12 gas less than another (EIP-2028). The upper four bytes are zero until 2106.
fn at_any_second(gas: u64, mints: &[MintEntry]) -> u64 {
    let zeros = |mint: &MintEntry| mint.deadline.to_be_bytes()[4..].iter().filter(|&&byte| byte == 0).count();
    gas + 12 * mints.iter().map(zeros).sum::<usize>() as u64
}

/// 21000, 4 for each zero byte of data and 16 for each other one (EIP-2028).
fn intrinsic(data: &[u8]) -> u64 {
    21_000 + data.iter().map(|&byte| if byte == 0 { 4 } else { 16 }).sum::<u64>()
}

fn first_two(mill: &Mill) -> Vec<MintEntry> {
    let filter = json!([{"fromBlock": "0x0", "toBlock": "latest", "address": hex_of(mill.address)}]);
    let logs = mill.rpc.ask("eth_getLogs", filter);
    let logs = logs.as_array().unwrap().iter().map(log);
    logs.filter_map(|log| match decode_log(&log.topics, &log.data) {
        Ok(Event::Deposited { entry, .. }) => Some(entry),
        _ => None,
    })
    .take(2)
    .collect()
}

#[test]
fn gas_of_each_call_is_that_of_the_snapshot_and_the_same_on_both_chains() {
    let list = measure(Backend::Anvil);
    assert_eq!(measure(Backend::DevChain), list, "(the dev chain's, anvil's)");
    let mut text = HEADER.to_string();
    for (call, gas) in &list {
        writeln!(text, "{call}: {gas}").unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("gas.snapshot");
    if std::env::var_os("UPDATE_GAS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let snapshot =
        std::fs::read_to_string(&path).expect("contracts/gas.snapshot; write it with UPDATE_GAS=1");
    assert_eq!(
        text, snapshot,
        "gas has changed; if that is meant, run the test with UPDATE_GAS=1 and commit the file"
    );
    let p2 = list.iter().find(|(call, _)| call.starts_with("P2")).unwrap().1;
    assert!(p2 < 20_000, "P2 takes {p2} gas");
}
