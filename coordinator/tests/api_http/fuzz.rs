//! Whatever is sent: an answer in the shape of GraphQL, never 5xx, never nothing.

use std::time::Duration;

use proptest::{
    collection::vec,
    prelude::{Strategy, any, prop_oneof},
    sample::select,
    strategy::Just,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};

use crate::harness::{Api, GRAPHQL_RESPONSE, JSON};

const TOKENS: [&str; 48] = [
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ":",
    "!",
    "$",
    "@",
    "...",
    "\"",
    "\"\"\"",
    "#",
    "&",
    "|",
    "=",
    ",",
    "query",
    "mutation",
    "subscription",
    "fragment",
    "on",
    "A",
    "Query",
    "Account",
    "$a",
    "account",
    "address",
    "coins",
    "batches",
    "first",
    "after",
    "nodes",
    "number",
    "__schema",
    "__typename",
    "__type",
    "input",
    "send",
    "null",
    "true",
    "-1",
    "1e999",
    "9999999999999999999999",
    "\"0x\"",
    "@include(if: true)",
    "\u{feff}",
];

/// Text made of what GraphQL is made of.
fn soup() -> impl Strategy<Value = String> {
    vec(select(&TOKENS[..]), 0..60).prop_map(|tokens| tokens.join(" "))
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        "0x[0-9a-fA-F]{0,70}".prop_map(Value::from),
        "[0-9]{0,80}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((select(&["input", "a", "leaves", "amount", "sender", "key", "x"][..]), inner), 0..4)
                .prop_map(|pairs| pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}

/// Documents that are valid, to be given variables that are not.
const VALID: [&str; 5] = [
    "query($a: Address!) { account(address: $a) { address } }",
    "query($a: BigInt!) { ownershipProof(index: $a) { userErrors { code } } }",
    "query($a: Int!) { batch(number: $a) { number } batches(first: $a) { nodes { number } } }",
    "query($input: PrepareSendInput!) { prepareSend(input: $input) { userErrors { code } } }",
    "mutation($input: SendInput!) { send(input: $input) { userErrors { code } } }",
];

fn body() -> impl Strategy<Value = Vec<u8>> {
    let document = prop_oneof![soup(), select(&VALID[..]).prop_map(str::to_owned), ".{0,200}"];
    let request = (document, value(), value(), any::<bool>()).prop_map(|(query, a, name, named)| {
        let mut request = json!({ "query": query, "variables": { "a": a, "input": a } });
        if named {
            request["operationName"] = name;
        }
        request.to_string().into_bytes()
    });
    let cut =
        (request, any::<proptest::sample::Index>(), any::<bool>()).prop_map(|(mut bytes, index, cut)| {
            if cut {
                bytes.truncate(index.index(bytes.len()));
            }
            bytes
        });
    prop_oneof![4 => cut, 1 => value().prop_map(|value| value.to_string().into_bytes()), 1 => vec(any::<u8>(), 0..300)]
}

#[test]
fn any_body_gets_an_answer_that_is_graphql() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let api = runtime.block_on(Api::start());
    let config = Config { cases: 1500, failure_persistence: None, ..Config::default() };
    let accepts = select(&[GRAPHQL_RESPONSE, JSON][..]);
    let outcome = TestRunner::new(config).run(&(body(), accepts), |(body, accept)| {
        let headers = [("content-type", JSON), ("accept", accept)];
        let answer = api.raw(&headers, body);
        let answer = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), answer).await });
        let answer = answer.expect("an answer");
        assert!(answer.status < 500, "{answer:?}");
        assert!(answer.content_type.starts_with(accept), "{answer:?}");
        let reply = answer.json();
        assert!(
            reply.get("data").is_some() || reply["errors"][0]["extensions"]["code"].is_string(),
            "{reply}"
        );
        for error in reply["errors"].as_array().unwrap_or(&Vec::new()) {
            assert!(error["message"].is_string() && error["extensions"]["code"].is_string(), "{reply}");
        }
        Ok(())
    });
    outcome.unwrap();
    assert!(api.is_unchanged(), "no made-up signature passes");
}
