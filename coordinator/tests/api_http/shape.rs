//! Answers look as the specification says: conditions, order, nulls, the range of `Int`.

use serde_json::{Value, json};

use crate::{
    double::ENDLESS,
    harness::{Answer, Api},
};

/// The names of the fields of an object in the order of the text.
fn order(answer: &Answer, names: &[&str]) -> bool {
    let places: Vec<_> =
        names.iter().map(|name| answer.text.find(&format!("\"{name}\":")).expect(name)).collect();
    places.is_sorted()
}

#[tokio::test]
async fn keys_come_in_the_order_of_the_request() {
    let api = Api::start().await;
    let query = "query($no: Boolean!) { z: __typename system { version chainId ...F contract } a: __typename \
        b: batch(number: 1) { stage number @skip(if: $no) attempts } operation(id: $id) { id } ...G } \
        fragment F on System { draining version operator } fragment G on Query { m: __typename z: __typename }";
    let query = query.replace("operation(id: $id) { id }", "");
    let answer = api.ask(&query, json!({ "no": false })).await;
    answer.data();
    let names = [
        "z", "system", "version", "chainId", "draining", "operator", "contract", "a", "b", "stage", "number",
    ];
    assert!(order(&answer, &names), "{}", answer.text);
    assert!(order(&answer, &["number", "attempts", "m"]), "{}", answer.text);
    assert!(order(&answer, &["data", "z"]));
    let backwards = api.query("{ m: __typename batch(number: 1) { number circuit } a: __typename }").await;
    assert!(order(&backwards, &["m", "batch", "number", "circuit", "a"]), "{}", backwards.text);
    // What waits for the service does not fall behind.
    let page = api
        .query("{ batches(first: 2) { nodes { operations { nodes { id } } number } } z: __typename }")
        .await;
    assert!(order(&page, &["batches", "nodes", "operations", "id", "number", "z"]), "{}", page.text);
}

#[tokio::test]
async fn conditions_are_validated_wherever_they_stand() {
    let api = Api::start().await;
    let places = |condition: &str| {
        [
            format!("{{ a: __typename __typename {condition} }}"),
            format!("{{ __typename system {{ version {condition} chainId }} }}"),
            format!("{{ __typename ...F {condition} }} fragment F on Query {{ x: __typename }}"),
            format!("{{ __typename ... {condition} {{ x: __typename }} }}"),
            format!("{{ system {{ __typename ... on System {{ __typename {condition} }} }} }}"),
        ]
    };
    for wrong in [
        "if: \"yes\"",
        "if: 1",
        "if: null",
        "if: [true]",
        "if: {a: true}",
        "if: TRUE",
        "unless: true",
        "if: $nothing",
    ] {
        for name in ["include", "skip"] {
            for document in places(&format!("@{name}({wrong})")) {
                let answer = api.query(&document).await;
                assert_eq!(answer.status, 400, "{document}: {answer:?}");
                assert!(answer.json().get("data").is_none());
            }
        }
    }
    for wrong in ["@include", "@nothing", "@skip(if: true) @skip(if: true)", "@deprecated"] {
        for document in places(wrong) {
            assert_eq!(api.query(&document).await.status, 400, "{document}");
        }
    }
    for document in ["{ __typename(a: 1) }", "{ __typename { a } }"] {
        api.query(document).await.assert_refused(400, "GRAPHQL_VALIDATION_FAILED");
    }
}

#[tokio::test]
async fn a_variable_in_a_condition_is_used_has_its_default_and_is_a_boolean() {
    let api = Api::start().await;
    let both = |definition: &str| {
        format!(
            "query({definition}) {{ a: __typename @include(if: $v) b: __typename @skip(if: $v) \
             system {{ version @include(if: $v) chainId @skip(if: $v) }} }}"
        )
    };
    let shown = |yes: bool| {
        if yes {
            json!({ "a": "Query", "system": { "version": "0.1.0" } })
        } else {
            json!({ "b": "Query", "system": { "chainId": "31337" } })
        }
    };
    for yes in [true, false] {
        assert_eq!(api.ask(&both("$v: Boolean!"), json!({ "v": yes })).await.data(), shown(yes));
        for ty in ["Boolean", "Boolean!"] {
            let with_default = both(&format!("$v: {ty} = {yes}"));
            assert_eq!(api.ask(&with_default, json!({})).await.data(), shown(yes), "{with_default}");
            assert_eq!(api.ask(&with_default, json!({ "v": !yes })).await.data(), shown(!yes));
            let null = api.ask(&with_default, json!({ "v": null })).await;
            assert_eq!((null.status, null.code().as_str()), (400, "BAD_USER_INPUT"), "{null:?}");
        }
    }
    for (definition, value) in [
        ("$v: Boolean!", json!("yes")),
        ("$v: Boolean!", json!(1)),
        ("$v: Boolean!", Value::Null),
        ("$v: Boolean", json!(true)),
        ("$v: Boolean", Value::Null),
        ("$v: String!", json!("true")),
        ("$v: [Boolean!]!", json!([true])),
        ("$v: Boolean = \"yes\"", json!(true)),
    ] {
        let answer = api.ask(&both(definition), json!({ "v": value })).await;
        assert_eq!(answer.status, 400, "{definition} {value}: {answer:?}");
    }
    let alone = "query($v: Boolean!) { a: __typename __typename @include(if: $v) }";
    assert_eq!(api.ask(alone, json!({ "v": false })).await.data(), json!({ "a": "Query" }));
}

#[tokio::test]
async fn an_object_without_fields_is_empty_and_not_null() {
    let api = Api::start().await;
    for (query, expected) in [
        ("{ __typename @skip(if: true) }", json!({})),
        ("{ system { version @skip(if: true) } }", json!({ "system": {} })),
        ("{ system { ... on System @include(if: false) { version } } }", json!({ "system": {} })),
        ("{ ...F } fragment F on Query { system { version @skip(if: true) } }", json!({ "system": {} })),
        ("{ batch(number: 999) { number @skip(if: true) } }", json!({ "batch": null })),
        (
            "{ batches(first: 2) { nodes { number @skip(if: true) } } }",
            json!({ "batches": { "nodes": [{}, {}] } }),
        ),
        ("{ __schema { queryType { name @skip(if: true) } } }", json!({ "__schema": { "queryType": {} } })),
    ] {
        assert_eq!(api.query(query).await.data(), expected, "{query}");
    }
}

#[tokio::test]
async fn a_field_that_fails_is_null_or_makes_its_parent_null() {
    let api = Api::start().await;
    let query = "{ before: __typename batch(number: 1) { number operations(first: 0) { edges { cursor } } } \
        batches(first: 1) { nodes { number } } }";
    let body = api.query(query).await.json();
    assert_eq!(body["errors"][0]["path"], json!(["batch", "operations"]));
    // `operations` is not nullable, `batch` is.
    assert_eq!(body["data"]["batch"], Value::Null);
    assert_eq!(body["data"]["batches"], json!({ "nodes": [{ "number": 45 }] }));
    let whole = api.query("{ __typename batches(first: 0) { nodes { number } } }").await.json();
    assert_eq!((&whole["data"], &whole["errors"][0]["path"]), (&Value::Null, &json!(["batches"])));
    assert!(whole.as_object().unwrap().contains_key("data"));
}

#[tokio::test]
async fn no_int_has_more_than_32_bits() {
    let api = Api::start().await;
    let readings = api.query("{ workers { nodes { card { pcieReplays temperature } } } }").await.data();
    assert_eq!(readings["workers"]["nodes"][1]["card"], json!({ "pcieReplays": null, "temperature": 93 }));
    let body = api.query(&format!("{{ batch(number: {ENDLESS}) {{ attempts }} __typename }}")).await.json();
    assert_eq!(body["data"], json!({ "batch": null, "__typename": "Query" }));
    let error = &body["errors"][0];
    assert_eq!(
        (&error["extensions"]["code"], &error["path"]),
        (&json!("INT_OUT_OF_RANGE"), &json!(["batch", "attempts"]))
    );

    let send = "query($v: Int) { prepareSend(input: { sender: \"0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\", recipient: \
        \"0xbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\", amount: \"12000000000\", validUntil: $v }) { draft { validUntil } } }";
    let proof = "query($v: Int) { ownershipProof(index: \"5\", batch: $v) { proof { batchNumber } } }";
    let batch = "query($v: Int!) { batch(number: $v) { number } }";
    for query in [send, proof, batch] {
        assert_eq!(api.ask(query, json!({ "v": i32::MAX })).await.json().get("errors"), None, "{query}");
        for beyond in
            [u64::from(i32::MAX.unsigned_abs()) + 1, u64::from(u32::MAX), u64::from(u32::MAX) + 1, u64::MAX]
        {
            let answer = api.ask(query, json!({ "v": beyond })).await;
            assert_eq!(answer.code(), "BAD_USER_INPUT", "{query} {beyond}: {answer:?}");
        }
    }
}
