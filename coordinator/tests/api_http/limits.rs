//! Everything is bounded: bodies, documents, depth, cost, rate, time.

use std::time::Duration;

use api::{ApiConfig, Budget, Network, Proxies, RateLimit};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    double::{PANICKER, SLEEPER},
    harness::{Answer, Api, GRAPHQL_RESPONSE, JSON},
};

fn unlimited() -> ApiConfig {
    ApiConfig { rate_limit: None, read_budget: None, send_budget: None, ..ApiConfig::default() }
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
        let query = "query($a: Address!) { account(address: $a) { balances { accepted } } }";
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

/// Asks as somebody behind a proxy on this machine.
async fn ask_as(api: &Api, client: &str, query: &str) -> Answer {
    let headers = [("content-type", JSON), ("accept", GRAPHQL_RESPONSE), ("x-forwarded-for", client)];
    api.raw(&headers, json!({ "query": query }).to_string()).await
}

#[tokio::test]
async fn clients_behind_a_trusted_proxy_have_limits_of_their_own() {
    let limit = RateLimit { per_second: 1, burst: 2 };
    let behind = |trusted: Vec<Network>| ApiConfig {
        rate_limit: Some(limit),
        proxies: Proxies { trusted, ..Proxies::default() },
        ..ApiConfig::default()
    };
    let api = Api::with(behind(vec!["127.0.0.0/8".parse().unwrap()])).await;
    for client in ["198.51.100.1", "198.51.100.2", "198.51.100.3", "2001:db8::1", "2001:db8:0:1::1"] {
        for _ in 0..2 {
            assert_eq!(ask_as(&api, client, "{ __typename }").await.status, 200, "{client}");
        }
    }
    // What a client claims in front of what the proxy saw is its own word; an IPv6 network is one client.
    for client in ["203.0.113.9, 198.51.100.1", "2001:db8::2"] {
        ask_as(&api, client, "{ __typename }").await.assert_refused(429, "RATE_LIMITED");
    }

    let api = Api::with(behind(vec![])).await;
    for n in 0..2 {
        assert_eq!(ask_as(&api, &format!("198.51.100.{n}"), "{ __typename }").await.status, 200);
    }
    // Nobody is trusted: one more address is the same peer.
    ask_as(&api, "198.51.100.77", "{ __typename }").await.assert_refused(429, "RATE_LIMITED");
}

const INTROSPECTION: &str = "{ __schema { types { name description fields { name description args { name } type { name kind } } } } }";

#[tokio::test]
async fn a_reader_that_has_spent_its_time_is_refused_and_recovers_while_it_can_still_pay() {
    let ms = Duration::from_millis;
    let config = ApiConfig {
        read_budget: Some(Budget { per_second: ms(20), burst: ms(20) }),
        send_budget: Some(Budget { per_second: ms(200), burst: ms(200) }),
        proxies: Proxies { trusted: vec!["127.0.0.1".parse().unwrap()], ..Proxies::default() },
        ..unlimited()
    };
    let api = Api::with(config).await;
    let (mut answered, mut refused) = (0, None);
    for _ in 0..1_000 {
        let answer = ask_as(&api, "198.51.100.1", INTROSPECTION).await;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
        answered += 1;
    }
    let refused = refused.expect("a thousand of them cost more than 20 ms and what comes back meanwhile");
    refused.assert_refused(429, "RATE_LIMITED");
    assert!(answered > 0);
    // Others have their own, and payments another one.
    assert_eq!(ask_as(&api, "198.51.100.2", "{ __typename }").await.status, 200);
    let pay = "mutation { __typename }";
    assert_eq!(ask_as(&api, "198.51.100.1", pay).await.status, 200);
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    tokio::time::sleep(Duration::from_secs(wait)).await;
    assert_eq!(ask_as(&api, "198.51.100.1", "{ __typename }").await.status, 200);
}

#[tokio::test]
async fn documents_that_are_refused_cost_their_client_too() {
    let ms = Duration::from_millis;
    let config = ApiConfig { read_budget: Some(Budget { per_second: ms(1), burst: ms(5) }), ..unlimited() };
    let api = Api::with(config).await;
    // Measured until the end: a fragment that does not exist.
    let wrong = format!("{{ {} ...Nowhere }}", "a: __typename ".repeat(1_000));
    let mut statuses = Vec::new();
    for _ in 0..200 {
        api.query(&wrong).await;
        let answer = api.query("{ __typename }").await;
        statuses.push(answer.status);
        if answer.status == 429 {
            return;
        }
    }
    panic!("never refused: {statuses:?}");
}

#[tokio::test]
async fn what_is_not_selected_is_not_computed() {
    let api = Api::start().await;
    let list = |fields: &str| {
        format!("{{ batches(first: 3) {{ nodes {{ number operations {{ nodes {{ {fields} }} }} }} }} }}")
    };
    let asked = || api.double.promises_asked.load(std::sync::atomic::Ordering::SeqCst);
    api.query(&list("id amount stage timeline { stage }")).await.data();
    assert_eq!(asked(), 0);
    api.query(&list("id promises { index }")).await.data();
    assert_eq!(asked(), 6, "two operations of each of three batches");
}
