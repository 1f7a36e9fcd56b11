//! Nodes that are down, slow, wrong or hostile.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use coordinator::chain::{
    Chain,
    evm::{EvmChain, EvmSettings},
};
use l1::{contract::calls, node::Wallet};
use protocol::l1::{At, ChainError, DryRun};
use serde_json::{Value, json};
use testbed::chain::{Backend, DEV_CHAIN, ETHER, hex_of};

use crate::{
    fake::{CONTRACT, Fake, Reply, key},
    mill::{Mill, alice, dead_url, key_hash, operator},
};

async fn connect_error(settings: EvmSettings) -> ChainError {
    EvmChain::connect(settings, key()).await.unwrap_err()
}

#[tokio::test]
async fn a_node_that_is_down_is_asked_again_and_its_path_stays_secret() {
    let error = connect_error(EvmSettings::new(dead_url(), CONTRACT, 0)).await;
    assert!(matches!(&error, ChainError::Unreachable(words) if words.contains("127.0.0.1")), "{error}");
    assert!(!error.to_string().contains("secret-path"), "{error}");
}

#[tokio::test]
async fn an_address_that_is_not_spoken_is_refused_with_a_sentence() {
    for (url, word) in
        [("ws://node.example/key", "https://"), ("ftp://node", "http://"), ("localhost port 8545", "URL")]
    {
        let error = connect_error(EvmSettings::new(url, CONTRACT, 0)).await;
        assert!(matches!(&error, ChainError::Unexpected(words) if words.contains(word)), "{error}");
        assert!(!error.to_string().contains("/key"), "{error}");
    }
}

#[tokio::test]
async fn an_overloaded_node_is_asked_again() {
    let overloaded: [fn() -> Reply; 5] = [
        || Reply::Raw(503, b"busy".to_vec()),
        || Reply::Raw(429, b"<html>slow down</html>".to_vec()),
        || Reply::Error(-32_005, "daily limit exceeded"),
        || Reply::Error(-32_000, "request timed out"),
        || Reply::Silence(Duration::from_secs(2)),
    ];
    for reply in overloaded {
        let fake = Fake::start(move |_, _| reply());
        let mut settings = fake.settings();
        settings.transport.timeout = Duration::from_millis(300);
        let error = connect_error(settings).await;
        assert!(matches!(error, ChainError::Unreachable(_)), "{error}");
    }
}

#[tokio::test]
async fn garbage_is_an_error_and_not_a_panic() {
    let garbage: [&[u8]; 9] = [
        b"",
        b"<html>login</html>",
        b"{",
        b"[]",
        b"null",
        br#"{"jsonrpc":"2.0","id":77,"result":"0x1"}"#,
        br#"{"jsonrpc":"2.0","id":1}"#,
        br#"{"jsonrpc":"2.0","id":1,"result":{"a":[1]}}"#,
        br#"{"jsonrpc":"2.0","id":1,"result":"0xffffffffffffffffffffffff"}"#,
    ];
    for bytes in garbage {
        let fake = Fake::start(move |_, _| Reply::Raw(200, bytes.to_vec()));
        let error = connect_error(fake.settings()).await;
        assert!(matches!(error, ChainError::Unexpected(_)), "{error}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let fake = Fake::start(|_, _| Reply::Raw(307, b"elsewhere".to_vec()));
    assert!(matches!(connect_error(fake.settings()).await, ChainError::Unexpected(_)));
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let fake = Fake::start(|_, _| Reply::Raw(200, vec![b' '; 1 << 20]));
    let mut settings = fake.settings();
    settings.transport.max_answer_bytes = 10_000;
    let error = connect_error(settings).await;
    assert!(matches!(&error, ChainError::Unexpected(words) if words.contains("10000 bytes")), "{error}");
}

// ---- logs

fn deposited(id: u64, block: u64) -> Value {
    let topic = |word: [u8; 32]| hex_of(word);
    let number = |x: u64| format!("{x:064x}");
    let signature = "Deposited(uint256,address,uint256,uint256,uint64,uint64,address,uint64)";
    let data = [7, 8, 10 * id + 1, 10 * id + 10, 5, 1_000].map(number).concat();
    json!({
        "address": hex_of(CONTRACT),
        "topics": [
            topic(protocol::ecdsa::keccak256(signature.as_bytes())),
            topic(calls::word(&id.into())),
            topic(calls::word(&0xabcd_u64.into())),
        ],
        "data": format!("0x{data}"),
        "blockNumber": format!("{block:#x}"),
        "blockHash": hex_of([1; 32]),
        "transactionHash": hex_of([2; 32]),
        "transactionIndex": "0x0",
        "logIndex": format!("{id:#x}"),
        "removed": false,
    })
}

/// The logs of a node whose contract logged deposit n in block 10 n, as `change` leaves them.
async fn logs_with(change: impl Fn(&mut Vec<Value>) + Send + Sync + 'static) -> Result<Vec<u64>, ChainError> {
    let fake = Fake::with_contract(move |method, params| {
        assert_eq!(method, "eth_getLogs");
        let mut logs = logs_between(params, 1..6);
        change(&mut logs);
        Reply::Result(Value::Array(logs))
    });
    let logs = fake.connect().await.logs(1, 100).await?;
    Ok(logs.deposits.iter().map(|deposit| deposit.id).collect())
}

pub fn logs_between(params: &Value, ids: std::ops::Range<u64>) -> Vec<Value> {
    let number = |name: &str| {
        u64::from_str_radix(params[0][name].as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
    };
    let blocks = number("fromBlock")..=number("toBlock");
    ids.filter(|id| blocks.contains(&(10 * id))).map(|id| deposited(id, 10 * id)).collect()
}

#[tokio::test]
async fn logs_out_of_order_are_put_in_order() {
    assert_eq!(logs_with(|logs| logs.reverse()).await, Ok(vec![1, 2, 3, 4, 5]));
}

#[tokio::test]
async fn a_log_that_is_not_known_stops_the_intake_and_names_its_block() {
    let changes: [fn(&mut Value); 5] = [
        |log| log["topics"][0] = json!(hex_of([9; 32])),
        |log| log["topics"] = json!([]),
        |log| log["data"] = json!("0x00"),
        // keyHash not below the order of the field
        |log| log["data"] = json!(format!("0x{}{}", "f".repeat(64), &log["data"].as_str().unwrap()[66..])),
        // low above high
        |log| {
            let data = log["data"].as_str().unwrap();
            log["data"] = json!(format!("{}{:064x}{}", &data[..130], 999, &data[194..]));
        },
    ];
    for change in changes {
        let error = logs_with(move |logs| change(&mut logs[2])).await.unwrap_err();
        assert!(matches!(error, ChainError::Undecodable { block: 30, .. }), "{error}");
    }
}

#[tokio::test]
async fn a_log_left_out_given_twice_or_taken_back_is_an_error() {
    let changes: [fn(&mut Vec<Value>); 5] = [
        |logs| drop(logs.remove(2)),
        |logs| logs.push(logs[2].clone()),
        |logs| logs[2]["removed"] = json!(true),
        |logs| logs[2]["blockNumber"] = json!("0x65"),
        |logs| logs[2]["address"] = json!(hex_of([3; 20])),
    ];
    for change in changes {
        let error = logs_with(change).await.unwrap_err();
        assert!(matches!(error, ChainError::Unexpected(_)), "{error}");
    }
}

/// A node that gives logs of seven blocks at once, and refuses more in this way.
async fn few_at_once(refuse: impl Fn() -> Reply + Send + Sync + 'static) -> usize {
    let fake = Fake::with_contract(move |_, params| {
        let number = |name: &str| {
            u64::from_str_radix(params[0][name].as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
        };
        match number("toBlock") - number("fromBlock") + 1 {
            blocks if blocks > 7 => refuse(),
            _ => Reply::Result(Value::Array(logs_between(params, 0..11))),
        }
    });
    let mut settings = fake.settings();
    settings.transport.timeout = Duration::from_millis(200);
    let chain = EvmChain::connect(settings, key()).await.unwrap();
    let before = fake.requests.load(Ordering::SeqCst);
    let logs = chain.logs(0, 100).await.unwrap();
    let ids: Vec<u64> = logs.deposits.iter().map(|deposit| deposit.id).collect();
    assert_eq!(ids, (0..=10).collect::<Vec<_>>());
    fake.requests.load(Ordering::SeqCst) - before
}

#[tokio::test]
async fn a_range_is_made_smaller_whatever_a_node_refuses_it_with() {
    let refusals: Vec<Value> = serde_json::from_str(include_str!("ranges.json")).unwrap();
    assert_eq!(refusals.len(), 13);
    for refusal in refusals {
        let name = refusal["n"].as_str().unwrap().to_owned();
        let status = refusal["status"].as_u64().unwrap_or(200) as u16;
        let requests = few_at_once(move || match refusal["raw"].as_str() {
            Some(raw) => Reply::Raw(status, raw.as_bytes().to_vec()),
            None => Reply::ErrorWith(
                status,
                json!({
                    "code": refusal["code"],
                    "message": refusal.get("message").cloned().unwrap_or_default(),
                    "data": refusal["data"],
                }),
            ),
        })
        .await;
        assert!(requests < 40, "{name}: {requests}");
    }
    let others: [fn() -> Reply; 5] = [
        || Reply::Raw(200, br#"{"jsonrpc":"2.0","id":1,"result":[{"#.to_vec()),
        || Reply::Raw(200, vec![b' '; 40 << 20]),
        || Reply::Raw(502, Vec::new()),
        || Reply::Error(-32_601, "the method eth_getLogs is not available"),
        || Reply::Silence(Duration::from_secs(1)),
    ];
    for refuse in others {
        assert!(few_at_once(refuse).await < 40);
    }
}

#[tokio::test]
async fn a_node_that_gives_no_logs_at_all_is_not_asked_forever() {
    let fake = Fake::with_contract(|_, _| Reply::Error(-32_602, "block range is too wide"));
    let chain = fake.connect().await;
    let error = chain.logs(0, 100).await.unwrap_err();
    assert!(matches!(error, ChainError::Unexpected(_)), "{error}");
    assert!(fake.requests.load(Ordering::SeqCst) < 30);
}

#[tokio::test]
async fn a_chain_without_the_finalized_tag_has_no_final_block() {
    for reply in [|| Reply::Result(Value::Null), || Reply::Error(-39_001, "finalized block not found")] {
        let fake = Fake::with_contract(move |_, _| reply());
        assert_eq!(fake.connect().await.finalized().await, Ok(None));
    }
}

#[tokio::test]
async fn a_deposit_over_a_node_that_is_still_indexing_is_made_once_and_has_its_receipt() {
    let mill = Mill::start(Backend::DevChain).await;
    let errors = AtomicUsize::new(0);
    let fake = Fake::before(&mill.node.url, move |method, _| {
        let indexing = method == "eth_getTransactionReceipt" && errors.fetch_add(1, Ordering::SeqCst) < 4;
        indexing.then(|| Reply::Error(-32_000, "transaction indexing is in progress"))
    });
    let wallet = Wallet::connect(&fake.url, mill.deployed.contract, alice(), None).await.unwrap();
    let made = wallet.deposit(wallet.address(), key_hash(), ETHER).await.unwrap();
    assert!(made.mined.gas_used > 21_000);
    assert_eq!(mill.chain.contract_state().await.unwrap().deposit_count, 1);
}

#[tokio::test]
async fn an_error_for_a_receipt_is_an_error_and_not_the_word_that_there_is_none() {
    let fake = Fake::with_contract(|_, _| Reply::Error(-32_000, "transaction indexing is in progress"));
    assert!(fake.connect().await.receipt([1; 32]).await.is_err());
}

#[tokio::test]
async fn a_node_without_pending_state_only_has_later_batches_wait() {
    let mill = Mill::start(Backend::DevChain).await;
    let fake = Fake::before(&mill.node.url, |method, params| {
        let pending = matches!(method, "eth_call" | "eth_estimateGas") && params[1] == "pending";
        pending.then(|| Reply::Error(-32_000, "pending block is not available"))
    });
    let mut settings = EvmSettings::new(&fake.url, mill.deployed.contract, mill.deployed.block);
    settings.chain_id = Some(DEV_CHAIN);
    let chain = EvmChain::connect(settings, operator()).await.unwrap();
    let batch = [mill.batch(vec![], &[], vec![]).await];
    assert!(matches!(chain.dry_run(&batch, At::Latest).await, Ok(DryRun::Accepted { .. })));
    let held = chain.dry_run(&batch, At::Pending).await;
    assert!(
        matches!(&held, Ok(DryRun::Reverted(words)) if words.contains("pending block is not available")),
        "{held:?}"
    );
}

#[tokio::test]
async fn logs_that_are_not_indexed_yet_show_by_the_lengths_of_the_queues() {
    let mill = Mill::start(Backend::DevChain).await;
    let deposit = mill.deposit().await;
    assert_eq!(mill.chain.queue_lengths(deposit.block).await, Ok(Some((1, 0))));
    assert_eq!(mill.chain.queue_lengths(deposit.block - 1).await, Ok(Some((0, 0))));
    let forgotten = Fake::with_contract(|_, _| Reply::Error(-32_000, "missing trie node 0f"));
    assert_eq!(forgotten.connect().await.queue_lengths(7).await, Ok(None));
}
