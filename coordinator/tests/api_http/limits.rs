//! Everything is bounded: bodies, documents, depth, cost, rate, time.

use std::time::Duration;

use coordinator::api::{ApiConfig, RateLimit};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    double::{PANICKER, SLEEPER},
    harness::{Api, JSON},
};

fn unlimited() -> ApiConfig {
    ApiConfig { rate_limit: None, ..ApiConfig::default() }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_413_and_one_at_the_limit_is_read() {
    let api = Api::with(ApiConfig { max_body: 1000, ..unlimited() }).await;
    let body = |length: usize| {
        let body = json!({ "query": "{ __typename }", "x": "" }).to_string();
        body.replace("\"\"", &format!("\"{}\"", "x".repeat(length - body.len())))
    };
    assert_eq!(api.raw(&[("content-type", JSON)], body(1000)).await.data()["__typename"], "Query");
    for length in [1001, 15_000] {
        api.raw(&[("content-type", JSON)], body(length)).await.assert_refused(413, "PAYLOAD_TOO_LARGE");
    }
}

#[tokio::test]
async fn documents_too_large_too_deep_or_too_costly_are_refused() {
    let api = Api::start().await;
    let large = format!("{{ __typename }} #{}", "x".repeat(16 * 1024));
    api.query(&large).await.assert_refused(400, "QUERY_TOO_LARGE");

    let down = "batch { operations { nodes { ";
    let deep = format!(
        "{{ batch(number: 1) {{ operations {{ nodes {{ {} id {} }} }} }} }}",
        down.repeat(3),
        "} } }".repeat(3)
    );
    api.query(&deep).await.assert_refused(400, "QUERY_TOO_DEEP");

    let costly = |first| {
        format!("{{ batches(first: {first}) {{ nodes {{ operations(first: 20) {{ nodes {{ id }} }} }} }} }}")
    };
    api.query(&costly(100)).await.assert_refused(400, "QUERY_TOO_COMPLEX");
    api.query(&costly(10)).await.data();
    // A variable hides nothing, and neither do numbers that no page has.
    let query = "query($n: Int!) { batches(first: $n) { nodes { operations(first: $n) { nodes { id } } } } }";
    for first in [100, i32::MAX] {
        api.ask(query, json!({ "n": first })).await.assert_refused(400, "QUERY_TOO_COMPLEX");
    }
    let aliases: String = (0..1050).map(|i| format!("a{i:x}:number ")).collect();
    api.query(&format!("{{ batch(number: 1) {{ {aliases} }} }}"))
        .await
        .assert_refused(400, "QUERY_TOO_COMPLEX");
    let directives = "@include(if: true) ".repeat(200);
    api.query(&format!("{{ __typename {directives} }}"))
        .await
        .assert_refused(400, "GRAPHQL_VALIDATION_FAILED");
}

#[tokio::test]
async fn fragments_that_double_at_each_step_are_refused_at_once() {
    let api = Api::start().await;
    let mut bomb = String::from("{ ...F0 }");
    for i in 0..25 {
        bomb += &format!(" fragment F{i} on Query {{ ...F{j} ...F{j} }}", j = i + 1);
    }
    bomb += " fragment F25 on Query { __typename }";
    api.query(&bomb).await.assert_refused(400, "QUERY_TOO_COMPLEX");
    let nested = "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }";
    api.query(nested).await.assert_refused(400, "QUERY_TOO_DEEP");
}

#[tokio::test]
async fn pages_have_from_1_to_100_nodes_and_cursors_of_their_own() {
    let api = Api::start().await;
    for arguments in ["first: 0", "first: -1", "first: 101", "after: \"nonsense\"", "after: \"\""] {
        let answer = api.query(&format!("{{ batches({arguments}) {{ pageInfo {{ endCursor }} }} }}")).await;
        assert_eq!((answer.status, answer.code().as_str()), (200, "BAD_USER_INPUT"), "{arguments}");
    }
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let limit = RateLimit { per_second: 1, burst: 3 };
    let api = Api::with(ApiConfig { rate_limit: Some(limit), ..ApiConfig::default() }).await;
    let mut refused = None;
    // At most one token a second comes back: among ten calls within a few seconds some are refused.
    for _ in 0..10 {
        let answer = api.query("{ __typename }").await;
        if answer.status != 200 {
            refused = Some(answer);
        }
    }
    let refused = refused.expect("a call beyond the burst");
    refused.assert_refused(429, "RATE_LIMITED");
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(api.get("/health/live").await.status, 200);
}

#[tokio::test]
async fn a_service_that_hangs_or_panics_is_answered_for() {
    let api = Api::with(ApiConfig { timeout: Duration::from_millis(200), ..unlimited() }).await;
    let ask = async |address: [u8; 20]| {
        let query = "query($a: Address!) { account(address: $a) { address } }";
        api.ask(query, json!({ "a": format!("0x{}", hex::encode(address)) })).await
    };
    let hung = ask(SLEEPER).await;
    hung.assert_refused(503, "UNAVAILABLE");
    assert!(hung.headers.contains_key("retry-after"));
    let panicked = ask(PANICKER).await;
    panicked.assert_refused(500, "INTERNAL");
    assert!(!panicked.text.contains("asked to panic"), "nothing internal leaks");
    assert_eq!(api.query("{ __typename }").await.data()["__typename"], "Query");
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let api = Api::with(ApiConfig { timeout: Duration::from_millis(200), ..unlimited() }).await;
    let mut stream = TcpStream::connect(api.server.address).await.unwrap();
    let head =
        "POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
}
