//! What every Ethereum chain does. [`observe`] runs the same calls against any chain and notes what it saw; the tests
//! here say what has to be seen, and `against_anvil` that another implementation sees the same.

use l1::{
    http::HttpLimits,
    node::{FeeLimits, Node},
    rpc::Refusal,
    testing::RawTx,
};
use revm::primitives::{Address, B256, Bytes};
use serde_json::{Value, json};
use testbed::chain::account;

use crate::common::*;
use crate::contract::{self, with_word};

/// P·Q and −P·Q over the generators: the pairing product is one.
const PAIRING_ONE: &str = concat!(
    "0000000000000000000000000000000000000000000000000000000000000001",
    "0000000000000000000000000000000000000000000000000000000000000002",
    "198e9393920d483a7260bfb731fb5d25f1aa493335a9e71297e485b7aef312c2",
    "1800deef121f1e76426a00665e5c4479674322d4f75edadd46debd5cd992f6ed",
    "090689d0585ff075ec9e99ad690c3395bc4b313370b38ef355acdadcd122975b",
    "12c85ea5db8c6deb4aab71808dcb408fe3d1e7690c43d37b4ce6cc0166fa7daa",
    "0000000000000000000000000000000000000000000000000000000000000001",
    "30644e72e131a029b85045b68181585d97816a916871ca8d3c208c16d87cfd45",
    "198e9393920d483a7260bfb731fb5d25f1aa493335a9e71297e485b7aef312c2",
    "1800deef121f1e76426a00665e5c4479674322d4f75edadd46debd5cd992f6ed",
    "090689d0585ff075ec9e99ad690c3395bc4b313370b38ef355acdadcd122975b",
    "12c85ea5db8c6deb4aab71808dcb408fe3d1e7690c43d37b4ce6cc0166fa7daa",
);

/// 2·(1, 2) on bn254.
const TWO: &str = concat!(
    "030644e72e131a029b85045b68181585d97816a916871ca8d3c208c16d87cfd3",
    "15ed738c0e0a7c92e7845f96b2ae9c0a68a6a449e3538fc7ff3ebf7a5a18a2c4",
);

fn word(value: u64) -> String {
    format!("{value:064x}")
}

fn precompile(number: u64, input: &str) -> Value {
    json!([{ "to": Address::left_padding_from(&number.to_be_bytes()), "data": format!("0x{input}") }, "latest"])
}

/// Things seen on a chain, in order, that do not depend on the clock or on how hashes are made.
pub type Observations = Vec<(&'static str, Value)>;

/// Deploys, calls, reverts, fills the pool and goes back, on a chain that was just started with automine.
pub async fn observe(client: &Client) -> Observations {
    let mut seen: Observations = Vec::new();
    let mut see = |what, value: Value| seen.push((what, value));

    let receipt = client.mined(&sign(0, tx(0, None, contract::creation()))).await;
    let address = created(&receipt);
    see("deployment", json!([address, receipt["gasUsed"], receipt["status"], receipt["blockNumber"]]));
    let code: Bytes = client.call("eth_getCode", json!([address, "latest"])).await;
    see("code", json!(code));

    let receipt = client.mined(&sign(0, tx(1, Some(address), with_word(contract::SET, 77)))).await;
    let of = |name: &str| receipt[name].clone();
    see("set", json!([of("gasUsed"), of("status"), of("logsBloom"), of("cumulativeGasUsed")]));
    for log in receipt["logs"].as_array().expect("logs") {
        see("log", json!([log["address"], log["topics"], log["data"], log["logIndex"], log["removed"]]));
    }
    let slot: B256 = client.call("eth_getStorageAt", json!([address, "0x0", "latest"])).await;
    see("storage", json!(slot));
    see("get", json!(client.word(address, vec![contract::GET], json!("latest")).await));
    see("get before", json!(client.word(address, vec![contract::GET], json!("0x1")).await));

    for selector in [contract::FAIL, contract::REASON] {
        for method in ["eth_call", "eth_estimateGas"] {
            let call = json!([{ "to": address, "data": Bytes::from(vec![selector]) }]);
            let failure = client.try_call::<Value>(method, call).await.expect_err("reverts");
            see("revert", json!([failure.code, failure.data]));
        }
    }
    let receipt = client.mined(&sign(0, tx(2, Some(address), vec![contract::FAIL]))).await;
    see("reverted", json!([receipt["gasUsed"], receipt["status"], receipt["logs"]]));
    let receipt = client.mined(&sign(0, tx(3, Some(address), vec![contract::INVALID]))).await;
    see("halted", json!([receipt["gasUsed"], receipt["status"]]));

    let to = wallet_address(5);
    let receipt = client.mined(&sign(1, transfer(0, to, 12_345))).await;
    see("transfer", json!([receipt["gasUsed"], receipt["type"]]));
    see("balance", client.call("eth_getBalance", json!([to, "latest"])).await);
    let access_list = vec![(address.into_array(), vec![[0; 32]])];
    let listed = RawTx { access_list, ..tx(1, Some(address), with_word(contract::SET, 78)) };
    let receipt = client.mined(&sign(1, listed)).await;
    see("with an access list", receipt["gasUsed"].clone());

    for (number, input) in [
        (6, [word(1), word(2), word(1), word(2)].concat()),
        (7, [word(1), word(2), word(2)].concat()),
        (8, PAIRING_ONE.to_owned()),
        (8, PAIRING_ONE.replacen(&word(2), &format!("{:0>64}", &PAIRING_ONE[64 * 7..64 * 8]), 1)),
        (8, String::new()),
    ] {
        let output: Bytes = client.call("eth_call", precompile(number, &input)).await;
        see("precompile", json!([number, output]));
    }
    let off_curve = [word(1), word(3), word(1), word(2)].concat();
    see(
        "off the curve",
        json!(client.try_call::<Value>("eth_call", precompile(6, &off_curve)).await.is_err()),
    );

    client.call::<Value>("evm_setAutomine", json!([false])).await;
    let sender = wallet_address(2);
    client.send(&sign(2, tx(1, Some(to), vec![]))).await;
    see(
        "nonce with a gap",
        json!([client.nonce(sender, "latest").await, client.nonce(sender, "pending").await]),
    );
    client.send(&sign(2, tx(0, Some(to), vec![]))).await;
    see(
        "nonce without",
        json!([client.nonce(sender, "latest").await, client.nonce(sender, "pending").await]),
    );
    see("underpriced", refusal(client.try_send(&sign(2, tx(0, Some(to), vec![9]))).await));
    let more = tx(0, Some(to), vec![1]);
    let more = RawTx { max_fee: (11 * GWEI).into(), max_priority: (2 * GWEI).into(), ..more };
    let replacement = client.send(&sign(2, more)).await;
    client.call::<Value>("evm_mine", json!([])).await;
    see("mined both", json!(client.nonce(sender, "latest").await));
    see("the replacement", client.receipt(replacement).await["transactionIndex"].clone());
    client.call::<Value>("evm_setAutomine", json!([true])).await;

    see("nonce too low", refusal(client.try_send(&sign(2, tx(0, Some(to), vec![2]))).await));
    let poor = RawTx { value: 10u128.pow(24).into(), ..tx(0, Some(to), vec![]) };
    see("no funds", refusal(client.try_send(&sign(3, poor)).await));
    let foreign = RawTx { chain_id: Some(1), ..tx(0, Some(to), vec![]) };
    see("another chain", json!(client.try_send(&sign(3, foreign)).await.is_err()));
    let starved = RawTx { gas: 20_999.into(), ..tx(0, Some(to), vec![]) };
    see("too little gas", json!(client.try_send(&sign(3, starved)).await.is_err()));

    let before = client.head().await;
    let snapshot: Value = client.call("evm_snapshot", json!([])).await;
    client.mined(&sign(0, tx(4, Some(address), with_word(contract::SET, 99)))).await;
    see("reverts", client.call("evm_revert", json!([snapshot])).await);
    see("gone back", json!([client.head().await - before, client.nonce(wallet_address(0), "latest").await]));
    see("value again", json!(client.word(address, vec![contract::GET], json!("latest")).await));
    see("once only", client.call("evm_revert", json!([snapshot])).await);
    seen
}

/// Code and the first words of a refusal: the rest of the text is each client's own.
fn refusal(result: Result<B256, Refusal>) -> Value {
    let failure = result.expect_err("refused");
    let words: Vec<_> = failure.message.split([' ', ':']).take(3).map(str::to_lowercase).collect();
    json!([failure.code, words])
}

pub fn wallet_address(index: usize) -> Address {
    devchain::DEV_ACCOUNTS[index].address
}

fn all<'a>(seen: &'a Observations, what: &str) -> Vec<&'a Value> {
    seen.iter().filter(|(name, _)| *name == what).map(|(_, value)| value).collect()
}

#[tokio::test]
async fn a_chain_keeps_to_the_rules_of_ethereum() {
    let (chain, client) = start().await;
    let seen = observe(&client).await;
    let one = |what: &str| all(&seen, what)[0].clone();
    assert_eq!(one("code"), json!(Bytes::from(contract::runtime())));
    assert_eq!(one("storage"), json!(word_of(77)));
    assert_eq!((one("get"), one("get before")), (json!(word_of(77)), json!(word_of(0))));
    let log = one("log");
    assert_eq!(log[1], json!([word_of(0xaa), word_of(77)]));
    for (failure, data) in all(&seen, "revert").chunks(2).zip(["0xdeadbeef", "0x08c379a0"]) {
        for failure in failure {
            assert_eq!(failure[0], json!(3));
            assert!(failure[1].as_str().is_some_and(|bytes| bytes.starts_with(data)), "{failure}");
        }
    }
    assert_eq!((one("reverted")[1].clone(), one("halted")[1].clone()), (json!("0x0"), json!("0x0")));
    assert_eq!(one("halted")[0], json!("0x7a120"), "an invalid instruction takes all gas");
    assert_eq!(one("transfer"), json!(["0x5208", "0x0"]));
    let two = json!(format!("0x{TWO}"));
    let (yes, no) = (json!(format!("0x{}", word(1))), json!(format!("0x{}", word(0))));
    let answers: Vec<_> = all(&seen, "precompile").iter().map(|answer| answer[1].clone()).collect();
    assert_eq!(answers, [two.clone(), two, yes.clone(), no, yes]);
    assert_eq!(one("off the curve"), json!(true));
    assert_eq!((one("nonce with a gap"), one("nonce without")), (json!([0, 0]), json!([0, 2])));
    assert_eq!(one("underpriced")[1], json!(["replacement", "transaction", "underpriced"]));
    assert_eq!(one("nonce too low"), json!([-32_003, ["nonce", "too", "low"]]));
    assert_eq!(one("no funds")[1][0], "insufficient");
    assert_eq!((one("another chain"), one("too little gas")), (json!(true), json!(true)));
    assert_eq!(one("gone back"), json!([0, 4]));
    assert_eq!((one("reverts"), one("once only")), (json!(true), json!(false)));
    chain.shutdown().await.expect("ends well");
}

#[tokio::test]
async fn gas_above_the_cap_of_eip_7825_is_refused_and_at_the_cap_is_taken() {
    let (_chain, client) = start().await;
    let to = wallet_address(1);
    let with_gas = |gas: u64| sign(0, RawTx { gas: gas.into(), ..tx(0, Some(to), vec![]) });
    let failure = client.try_send(&with_gas(16_777_217)).await.expect_err("refused");
    assert_eq!(failure.code, -32_003);
    assert!(failure.message.contains("cap: 16777216"), "{}", failure.message);
    let receipt = client.mined(&with_gas(16_777_216)).await;
    assert_eq!(receipt["status"], "0x1");
}

#[tokio::test]
async fn unprotected_malleable_and_padded_transactions_are_refused() {
    let (_chain, client) = start().await;
    let to = wallet_address(1);
    let good = sign(0, tx(0, Some(to), vec![]));
    let mut padded = good.to_vec();
    padded.push(0);
    assert!(client.try_send(&Bytes::from(padded)).await.is_err());

    let malleable = tx(0, Some(to), vec![]).sign_malleably(&account(0)).expect("signs");
    let failure = client.try_send(&malleable.into()).await.expect_err("refused");
    assert!(failure.message.contains("EIP-2"), "{}", failure.message);

    let unprotected = sign(0, RawTx { chain_id: None, ..transfer(0, to, 1) });
    let failure = client.try_send(&unprotected).await.expect_err("refused");
    assert!(failure.message.contains("EIP-155"), "{}", failure.message);
    assert_eq!(client.head().await, 0);
    client.mined(&good).await;
    assert_eq!(client.try_send(&good).await.expect_err("known").message, "already known");
}

#[tokio::test]
async fn estimates_suffice_and_are_close() {
    let (_chain, client) = start().await;
    let address = client.deploy(0).await;
    for (to, data) in [
        (Some(address), with_word(contract::SET, 5)),
        (Some(wallet_address(7)), vec![]),
        (None, contract::creation()),
    ] {
        let nonce = client.nonce(wallet_address(0), "latest").await;
        let call = json!([{ "from": wallet_address(0), "to": to, "data": Bytes::from(data.clone()) }]);
        let estimate = small(&client.call("eth_estimateGas", call).await);
        let receipt = client.mined(&sign(0, RawTx { gas: estimate.into(), ..tx(nonce, to, data) })).await;
        assert_eq!(receipt["status"], "0x1", "{estimate} is enough");
        let used = small(&receipt["gasUsed"]);
        assert!(estimate - used <= estimate / 32, "{estimate} for {used}");
    }
}

#[tokio::test]
async fn logs_are_found_by_address_topic_range_and_block() {
    let (_chain, client) = start().await;
    let (first, second) = (client.deploy(0).await, client.deploy(1).await);
    for (nonce, (address, value)) in (2..).zip([(first, 1), (second, 2), (first, 3), (second, 1)]) {
        client.mined(&sign(0, tx(nonce, Some(address), with_word(contract::SET, value)))).await;
    }
    let topic = word_of;
    let numbers = async |filter: Value| {
        let logs: Vec<Value> = client.call("eth_getLogs", json!([filter])).await;
        logs.iter().map(|log| log["blockNumber"].as_str().expect("a number").to_owned()).collect::<Vec<_>>()
    };
    let all = json!({ "fromBlock": "earliest" });
    assert_eq!(numbers(all).await, ["0x3", "0x4", "0x5", "0x6"]);
    assert_eq!(numbers(json!({ "fromBlock": "0x0", "address": first })).await, ["0x3", "0x5"]);
    assert_eq!(numbers(json!({ "fromBlock": "0x4", "toBlock": "0x5" })).await, ["0x4", "0x5"]);
    assert_eq!(numbers(json!({ "fromBlock": "0x0", "address": [first, second] })).await.len(), 4);
    assert_eq!(numbers(json!({ "fromBlock": "0x0", "topics": [null, topic(1)] })).await, ["0x3", "0x6"]);
    let any = json!({ "fromBlock": "0x0", "topics": [topic(0xaa), [topic(2), topic(3)]] });
    assert_eq!(numbers(any).await, ["0x4", "0x5"]);
    assert!(numbers(json!({ "fromBlock": "0x0", "topics": [topic(1)] })).await.is_empty());
    assert!(numbers(json!({ "fromBlock": "0x0", "topics": [null, null, null] })).await.is_empty());
    assert_eq!(numbers(json!({})).await, ["0x6"], "from and to are latest if they are left out");
    assert!(numbers(json!({ "fromBlock": "0x7" })).await.is_empty(), "beyond the head is nothing yet");
    let inverted = json!([{ "fromBlock": "0x3", "toBlock": "0x2" }]);
    assert_eq!(client.try_call::<Value>("eth_getLogs", inverted).await.expect_err("refused").code, -32_602);
    let hash = client.block_hash(4).await;
    assert_eq!(numbers(json!({ "blockHash": hash })).await, ["0x4"]);
    let both =
        client.try_call::<Value>("eth_getLogs", json!([{ "blockHash": hash, "toBlock": "0x1" }])).await;
    assert_eq!(both.expect_err("refused").code, -32_602);
    let unknown = client.try_call::<Value>("eth_getLogs", json!([{ "blockHash": B256::ZERO }])).await;
    assert_eq!(unknown.expect_err("refused").code, -32_000);
}

#[tokio::test]
async fn the_base_fee_follows_eip_1559() {
    let config = devchain::Config { block_gas_limit: 42_000, ..devchain::Config::default() };
    let (chain, client) = start_with(config).await;
    chain.node().set_mining(devchain::Mining::Manual).expect("set");
    let to = wallet_address(1);
    let fee = async |number: u64| {
        let block: Value = client.call("eth_getBlockByNumber", json!([format!("{number:#x}"), false])).await;
        let hex = block["baseFeePerGas"].as_str().expect("a fee").trim_start_matches("0x").to_owned();
        u64::from_str_radix(&hex, 16).expect("a fee")
    };
    chain.mine(2).expect("mined");
    // Empty blocks: down by an eighth.
    assert_eq!((fee(0).await, fee(1).await, fee(2).await), (GWEI, 875_000_000, 765_625_000));
    // A full block (two transfers in a block of two): up by an eighth. A half full one: as before.
    for nonce in 0..3 {
        client.send(&sign(0, transfer(nonce, to, 1))).await;
    }
    chain.mine(3).expect("mined");
    let full = fee(3).await;
    assert_eq!(full, 669_921_875);
    assert_eq!((fee(4).await, fee(5).await), (full + full / 8, full + full / 8));
    let history: Value = client.call("eth_feeHistory", json!(["0x2", "0x4", [50.0]])).await;
    assert_eq!(history["oldestBlock"], "0x3");
    assert_eq!(history["gasUsedRatio"], json!([1.0, 0.5]));
    assert_eq!(history["baseFeePerGas"].as_array().map(Vec::len), Some(3));
    assert_eq!(history["reward"][0][0], json!(format!("{:#x}", 10 * GWEI - full)));
    // What wallets make of it pays for the next block.
    let wallet = Node::connect(&chain.url().into(), HttpLimits::default()).expect("a URL");
    let fees = wallet.fees(&FeeLimits::default()).await.expect("fees");
    assert!(fees.max_fee >= u128::from(fee(5).await));
}

#[tokio::test]
async fn a_transaction_below_the_base_fee_waits_until_the_fee_falls() {
    let (chain, client) = start().await;
    let cheap = RawTx { max_fee: 800_000_000.into(), ..transfer(0, wallet_address(1), 1) };
    let hash = client.send(&sign(0, cheap)).await;
    let seen: Value = client.call("eth_getTransactionByHash", json!([hash])).await;
    assert_eq!((&seen["blockHash"], client.head().await), (&Value::Null, 0));
    chain.mine(2).expect("mined");
    assert_eq!(client.receipt(hash).await["blockNumber"], "0x2");
}

#[tokio::test]
async fn time_travels_forward_and_never_back() {
    let (chain, client) = start().await;
    let address = client.deploy(0).await;
    let before = client.number(address, vec![contract::TIME], json!("latest")).await;
    client.call::<Value>("evm_increaseTime", json!([86_400])).await;
    chain.mine(1).expect("mined");
    let after = client.number(address, vec![contract::TIME], json!("latest")).await;
    assert!(after >= before + 86_400);
    let target = after + 1_000_000;
    client.call::<Value>("evm_setNextBlockTimestamp", json!([target])).await;
    assert_eq!(client.number(address, vec![contract::TIME], json!("pending")).await, target);
    chain.mine(1).expect("mined");
    assert_eq!(client.number(address, vec![contract::TIME], json!("latest")).await, target);
    chain.mine(1).expect("mined");
    assert!(client.number(address, vec![contract::TIME], json!("latest")).await >= target, "time goes on");
    let back = client.try_call::<Value>("evm_setNextBlockTimestamp", json!([target - 1])).await;
    assert_eq!(back.expect_err("refused").code, -32_000);
    client.call::<Value>("evm_mine", json!([target + 50_000])).await;
    assert_eq!(client.number(address, vec![contract::TIME], json!("latest")).await, target + 50_000);
}

#[tokio::test]
async fn contracts_see_block_hashes() {
    let (_chain, client) = start().await;
    let address = client.deploy(0).await;
    let seen = client.word(address, with_word(contract::HASH, 0), json!("pending")).await;
    assert_eq!(seen, client.block_hash(0).await);
}

#[tokio::test]
async fn a_block_is_made_each_interval_with_what_waits() {
    let config = devchain::Config {
        mining: devchain::Mining::Interval(std::time::Duration::from_millis(30)),
        ..devchain::Config::default()
    };
    let (chain, client) = start_with(config).await;
    let receipt = client.mined(&sign(0, transfer(0, wallet_address(1), 1))).await;
    assert_eq!(receipt["status"], "0x1");
    let mined = client.head().await;
    while client.head().await < mined + 2 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    client.call::<Value>("evm_setIntervalMining", json!([0])).await;
    let hash = client.send(&sign(0, transfer(1, wallet_address(1), 1))).await;
    let receipt: Value = client.call("eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!(receipt, Value::Null);
    chain.mine(1).expect("mined");
    client.receipt(hash).await;
}

#[tokio::test]
async fn a_balance_can_be_set() {
    let (_chain, client) = start().await;
    let account = Address::repeat_byte(0xbe);
    client.call::<Value>("anvil_setBalance", json!([account, "0x1234"])).await;
    assert_eq!(client.balance(account).await, 0x1234);
}

#[tokio::test]
async fn a_replacement_pays_a_tenth_more_in_both_fees() {
    let (chain, client) = start().await;
    chain.node().set_mining(devchain::Mining::Manual).expect("set");
    let to = wallet_address(1);
    let with = |fee: u64, tip: u64| {
        sign(0, RawTx { max_fee: fee.into(), max_priority: tip.into(), ..tx(0, Some(to), vec![]) })
    };
    let first = client.send(&with(10 * GWEI, GWEI)).await;
    let (fee, tip) = (11 * GWEI, GWEI / 10 * 11);
    for (fee, tip) in [(fee - 1, tip), (fee, tip - 1), (fee, GWEI), (9 * GWEI, 2 * GWEI)] {
        let failure = client.try_send(&with(fee, tip)).await.expect_err("refused");
        assert_eq!(failure.message, "replacement transaction underpriced");
    }
    let second = client.send(&with(fee, tip)).await;
    chain.mine(1).expect("mined");
    client.receipt(second).await;
    let gone: Value = client.call("eth_getTransactionByHash", json!([first])).await;
    assert_eq!(gone, Value::Null);
}
