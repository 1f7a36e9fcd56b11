//! Reorganisations and old states.

use devchain::chain::{Dropped, HISTORY};
use revm::primitives::B256;
use serde_json::{Value, json};

use crate::common::*;
use crate::contract::{self, with_word};
use crate::ethereum::wallet_address;

#[tokio::test]
async fn dropped_transactions_wait_and_are_mined_again_in_other_blocks() {
    let (chain, client) = start().await;
    let address = client.deploy(0).await;
    let set = sign(0, tx(1, Some(address), with_word(contract::SET, 7)));
    let hash = hash_of(&client.mined(&set).await);
    client.mined(&sign(0, tx(2, Some(address), with_word(contract::SET, 8)))).await;
    let old: Vec<_> =
        [client.block_hash(1).await, client.block_hash(2).await, client.block_hash(3).await].into();

    client.call::<Value>("anvil_reorg", json!([2, []])).await;
    assert_eq!(client.head().await, 3);
    assert_eq!(client.block_hash(1).await, old[0]);
    assert_ne!((client.block_hash(2).await, client.block_hash(3).await), (old[1], old[2]));
    let gone: Value = client.call("eth_getBlockByHash", json!([old[2], false])).await;
    assert_eq!(gone, Value::Null);
    let receipt: Value = client.call("eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!(receipt, Value::Null);
    assert_eq!(client.number(address, vec![contract::GET], json!("latest")).await, 0);
    let logs: Vec<Value> = client.call("eth_getLogs", json!([{ "fromBlock": "0x0" }])).await;
    assert!(logs.is_empty());
    let sender = wallet_address(0);
    assert_eq!((client.nonce(sender, "latest").await, client.nonce(sender, "pending").await), (1, 3));
    assert_eq!(client.try_send(&set).await.expect_err("it waits").message, "already known");

    chain.mine(1).expect("mined");
    assert_eq!(client.receipt(hash).await["blockNumber"], "0x4");
    assert_eq!(client.number(address, vec![contract::GET], json!("latest")).await, 8);
}

#[tokio::test]
async fn dropped_transactions_can_be_forgotten() {
    let (_chain, client) = start().await;
    let raw = sign(0, transfer(0, wallet_address(1), 5));
    let hash = hash_of(&client.mined(&raw).await);
    client.call::<Value>("devchain_reorg", json!([1, { "dropTransactions": true }])).await;
    let gone: Value = client.call("eth_getTransactionByHash", json!([hash])).await;
    assert_eq!(gone, Value::Null);
    client.mined(&raw).await;
}

#[tokio::test]
async fn a_second_reorg_of_the_same_blocks_differs_again_also_after_a_revert() {
    let (chain, client) = start().await;
    chain.mine(3).expect("mined");
    let mut seen = vec![client.block_hash(3).await];
    let snapshot = chain.snapshot().expect("taken");
    for _ in 0..3 {
        chain.reorg(2).expect("possible");
        let hash = client.block_hash(3).await;
        assert!(!seen.contains(&hash));
        seen.push(hash);
    }
    assert!(chain.revert(snapshot).expect("written"));
    assert_eq!(client.block_hash(3).await, seen[0]);
    chain.reorg(2).expect("possible");
    assert!(!seen.contains(&client.block_hash(3).await));
}

#[tokio::test]
async fn a_reorg_deeper_than_the_chain_changes_nothing() {
    let (chain, client) = start().await;
    chain.mine(2).expect("mined");
    let head = client.block_hash(2).await;
    let failure = client.try_call::<Value>("anvil_reorg", json!([3, []])).await.expect_err("refused");
    assert_eq!(failure.code, -32_000);
    assert_eq!(client.block_hash(2).await, head);
    let pairs = client.try_call::<Value>("anvil_reorg", json!([1, [["0x00", 0]]])).await;
    assert_eq!(pairs.expect_err("refused").code, -32_602);
}

#[tokio::test]
async fn finalized_and_safe_stay_behind_the_head() {
    let config = devchain::Config { finality_depth: 3, ..devchain::Config::default() };
    let (chain, client) = start_with(config).await;
    let number = async |tag: &str| -> Value {
        let block: Value = client.call("eth_getBlockByNumber", json!([tag, false])).await;
        block["number"].clone()
    };
    assert_eq!(number("finalized").await, "0x0");
    chain.mine(5).expect("mined");
    assert_eq!((number("finalized").await, number("safe").await), (json!("0x2"), json!("0x2")));
    assert_eq!((number("latest").await, number("pending").await), (json!("0x5"), json!("0x6")));
    assert_eq!(number("earliest").await, "0x0");
}

#[tokio::test]
async fn old_states_are_read_as_they_were_and_refused_when_too_old() {
    let (chain, client) = start().await;
    let address = client.deploy(0).await;
    for value in 1..=5 {
        client.mined(&sign(0, tx(value, Some(address), with_word(contract::SET, value)))).await;
    }
    for block in 1..=6u64 {
        let tag = json!(format!("{block:#x}"));
        assert_eq!(client.number(address, vec![contract::GET], tag.clone()).await, block - 1);
        let slot: B256 = client.call("eth_getStorageAt", json!([address, "0x0", tag])).await;
        assert_eq!(slot, word_of(block - 1));
        assert_eq!(client.nonce(wallet_address(0), &format!("{block:#x}")).await, block);
    }
    let by_hash = json!({ "blockHash": client.block_hash(3).await });
    assert_eq!(client.number(address, vec![contract::GET], by_hash).await, 2);
    chain.mine(HISTORY as u64 - 5).expect("mined");
    assert_eq!(client.nonce(wallet_address(0), "0x1").await, 1);
    chain.mine(1).expect("mined");
    let old = client.try_call::<Value>("eth_getBalance", json!([address, "0x0"])).await.expect_err("too old");
    assert!(old.message.contains("PM-DEV-024"), "{}", old.message);
    let unknown = client.try_call::<Value>("eth_getBalance", json!([address, "0xffffff"])).await;
    assert_eq!(unknown.expect_err("unknown").message, "header not found");
    let failure = chain.node().reorg(HISTORY as u64 + 1, Dropped::Requeue).expect_err("too deep");
    assert!(failure.to_string().contains("PM-DEV-020"));
}
