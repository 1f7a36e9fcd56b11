//! JSON-RPC envelopes.

use revm::primitives::Address;
use serde_json::{Value, json};
use testbed::chain::account;

use crate::common::*;

async fn post(url: &str, body: &str) -> (u16, String) {
    let client = reqwest::Client::new();
    let answer =
        client.post(url).header("content-type", "application/json").body(body.to_owned()).send().await;
    let answer = answer.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("text"))
}

async fn ask(url: &str, body: &str) -> Value {
    serde_json::from_str(&post(url, body).await.1).expect("JSON")
}

#[tokio::test]
async fn a_batch_is_answered_in_order_with_each_error_in_its_place() {
    let (chain, _client) = start().await;
    let batch = json!([
        { "jsonrpc": "2.0", "id": 1, "method": "eth_chainId" },
        { "jsonrpc": "2.0", "id": "b", "method": "eth_nothing", "params": [] },
        { "jsonrpc": "2.0", "method": "evm_mine" },
        7,
        { "jsonrpc": "2.0", "id": null, "method": "eth_blockNumber", "params": [] },
        { "jsonrpc": "2.0", "id": 5, "method": "eth_getBalance", "params": ["0x12"] },
    ]);
    let answers = ask(&chain.url(), &batch.to_string()).await;
    assert_eq!(answers[0], json!({ "jsonrpc": "2.0", "id": 1, "result": "0x7a69" }));
    assert_eq!((&answers[1]["id"], &answers[1]["error"]["code"]), (&json!("b"), &json!(-32_601)));
    assert_eq!(answers[2]["error"]["code"], -32_600);
    // The notification before it was carried out, but not answered.
    assert_eq!(answers[3], json!({ "jsonrpc": "2.0", "id": null, "result": "0x1" }));
    assert_eq!(answers[4]["error"]["code"], -32_602);
    assert_eq!(answers.as_array().map(Vec::len), Some(5));
}

#[tokio::test]
async fn what_is_not_a_request_is_told_so() {
    let (chain, _client) = start().await;
    let url = chain.url();
    assert_eq!(ask(&url, "{").await["error"]["code"], -32_700);
    assert_eq!(ask(&url, "[]").await["error"]["code"], -32_600);
    assert_eq!(ask(&url, r#"{"id":1,"method":"eth_chainId"}"#).await["error"]["code"], -32_600);
    assert_eq!(
        ask(&url, r#"{"jsonrpc":"2.0","id":1,"method":"eth_call","params":{}}"#).await["error"]["code"],
        -32_602
    );
    let large = vec![r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#; 1_001].join(",");
    assert_eq!(ask(&url, &format!("[{large}]")).await["error"]["code"], -32_600);
    let (status, body) = post(&url, r#"{"jsonrpc":"2.0","method":"eth_chainId"}"#).await;
    assert_eq!((status, body.as_str()), (204, ""), "a notification has no answer");
    let too_long = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{}"}}"#, "a".repeat(17 << 20));
    assert_eq!(post(&url, &too_long).await.0, 413);
    assert_eq!(reqwest::get(&url).await.expect("an answer").status().as_u16(), 405);
}

#[tokio::test]
async fn it_listens_on_loopback_and_a_taken_port_is_an_error() {
    let (chain, _client) = start().await;
    assert!(chain.address().ip().is_loopback());
    let config = devchain::Config { port: chain.address().port(), ..devchain::Config::default() };
    let error = devchain::DevChain::start(config).await.expect_err("taken");
    assert!(error.to_string().starts_with("PM-DEV-001"), "{error}");
}

#[tokio::test]
async fn a_chain_can_be_asked_without_http() {
    let (chain, client) = start().await;
    assert_eq!(chain.call("eth_chainId", json!([])).expect("answered"), "0x7a69");
    assert_eq!(chain.call("eth_none", Value::Null).expect_err("unknown").code, -32_601);
    let version: String = client.call("net_version", json!([])).await;
    assert_eq!(version, "31337");
    let accounts: Vec<Address> = client.call("eth_accounts", json!([])).await;
    for (index, address) in accounts.iter().enumerate() {
        assert_eq!(account(index).address(), address.into_array(), "the key belongs to the account");
    }
    assert_eq!(accounts.len(), 10);
}

#[tokio::test]
async fn web_pages_are_kept_out() {
    let (chain, client) = start().await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"evm_mine"}"#;
    let post = |kind: &str, host: &str| {
        let request =
            reqwest::Client::new().post(chain.url()).header("content-type", kind).header("host", host);
        request.body(body).send()
    };
    let status = async |kind: &str, host: &str| post(kind, host).await.expect("an answer").status().as_u16();
    assert_eq!(status("text/plain", "localhost").await, 415);
    assert_eq!(status("application/json", "rebound.example").await, 403);
    assert_eq!(client.head().await, 0);
    assert_eq!(status("application/json; charset=utf-8", "localhost:1").await, 200);
    assert_eq!(client.head().await, 1);
}
