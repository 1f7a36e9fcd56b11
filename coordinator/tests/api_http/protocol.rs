//! GraphQL over HTTP: media types, methods, statuses, the shape of errors.

use reqwest::Method;
use serde_json::json;

use crate::{
    double::ALICE,
    harness::{Answer, Api, GRAPHQL_RESPONSE, JSON},
};

const REGISTER: &str = "mutation { registerKey(input: { idempotencyKey: \"k\", owner: \
    \"0xbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\", key: { x: \
    \"0x0000000000000000000000000000000000000000000000000000000000000001\", y: \
    \"0x0000000000000000000000000000000000000000000000000000000000000002\" }, keyEpoch: 0, signature: \"0x\" }) \
    { entry { keyEpoch } userErrors { code } } }";

#[tokio::test]
async fn the_answer_has_the_media_type_that_was_asked_for() {
    let api = Api::start().await;
    let body = json!({ "query": "{ __typename }" });
    for (accept, expected) in [
        (JSON, "application/json; charset=utf-8"),
        (GRAPHQL_RESPONSE, "application/graphql-response+json; charset=utf-8"),
        ("*/*", "application/graphql-response+json; charset=utf-8"),
        ("application/graphql-response+json;q=0.2, application/json", "application/json; charset=utf-8"),
    ] {
        let answer = api.post_as(accept, &body).await;
        assert_eq!((answer.status, answer.content_type.as_str()), (200, expected), "{accept}");
        assert_eq!(answer.data()["__typename"], "Query");
    }
    api.post_as("text/html", &body).await.assert_refused(406, "NOT_ACCEPTABLE");
}

#[tokio::test]
async fn parse_and_validation_errors_are_400_without_data() {
    let api = Api::start().await;
    for (query, code) in [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("", "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ system }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ system { version(a: 1) } }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ ...A } fragment A on Query { ...A }", "GRAPHQL_VALIDATION_FAILED"),
        ("query($a: Nope = 1) { __typename }", "GRAPHQL_VALIDATION_FAILED"),
        ("query($a: Nope) { batch(number: $a) { number } }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { x }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ account(address: \"nonsense\") { address } }", "BAD_USER_INPUT"),
        ("query A { __typename } query B { __typename }", "BAD_USER_INPUT"),
    ] {
        api.query(query).await.assert_refused(400, code);
        // Under application/json a well-formed request is answered with 200, still without data.
        api.post_as(JSON, &json!({ "query": query })).await.assert_refused(200, code);
    }
}

#[tokio::test]
async fn bodies_that_are_no_graphql_request_are_400_in_the_shape_of_graphql() {
    let api = Api::start().await;
    for body in [
        "",
        "nonsense",
        "{\"query\":",
        "null",
        "7",
        "{}",
        "{\"qeury\": \"{ __typename }\"}",
        "{\"query\": 7}",
        "{\"query\": \"{ __typename }\", \"variables\": [7]}",
        "{\"query\": \"{ __typename }\", \"variables\": \"x\"}",
        "{\"query\": \"{ __typename }\", \"operationName\": 7}",
        "{\"query\": \"{ __typename }\", \"extensions\": 7}",
    ] {
        for accept in [JSON, GRAPHQL_RESPONSE] {
            let answer = api.raw(&[("content-type", JSON), ("accept", accept)], body).await;
            answer.assert_refused(400, "BAD_REQUEST");
            assert!(answer.content_type.starts_with(accept));
        }
    }
    let deep = "[".repeat(100_000);
    api.raw(&[("content-type", JSON)], deep).await.assert_refused(400, "BAD_REQUEST");
    api.raw(&[("content-type", JSON)], vec![0xff, 0xfe]).await.assert_refused(400, "BAD_REQUEST");
}

#[tokio::test]
async fn null_parameters_are_as_good_as_none() {
    let api = Api::start().await;
    let body =
        json!({ "query": "{ __typename }", "operationName": null, "variables": null, "extensions": null });
    assert_eq!(api.post(&body).await.data()["__typename"], "Query");
}

#[tokio::test]
async fn batches_of_requests_are_refused() {
    let api = Api::start().await;
    let answer = api.post(&json!([{ "query": "{ __typename }" }])).await;
    answer.assert_refused(400, "BATCHING_NOT_SUPPORTED");
}

#[tokio::test]
async fn a_body_that_another_site_could_send_without_preflight_is_415() {
    let api = Api::start().await;
    let body = json!({ "query": REGISTER }).to_string();
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "application/json; charset=utf-16",
        "",
    ] {
        let answer = api.raw(&[("content-type", content_type)], body.clone()).await;
        answer.assert_refused(415, "UNSUPPORTED_MEDIA_TYPE");
    }
    api.raw(&[], body.clone()).await.assert_refused(415, "UNSUPPORTED_MEDIA_TYPE");
    let zipped = api.raw(&[("content-type", JSON), ("content-encoding", "gzip")], body.clone()).await;
    zipped.assert_refused(415, "UNSUPPORTED_MEDIA_TYPE");
    assert!(api.is_unchanged());
    let answer = api.raw(&[("content-type", "application/json; charset=UTF-8")], body).await;
    assert_eq!(answer.data()["registerKey"]["entry"]["keyEpoch"], 0);
    assert!(!api.is_unchanged());
}

#[tokio::test]
async fn a_get_answers_queries_and_changes_nothing() {
    let api = Api::start().await;
    let get = async |pairs: &[(&str, &str)]| {
        let url = reqwest::Url::parse_with_params(&api.url("/graphql"), pairs).unwrap();
        Answer::of(api.http.get(url).send().await.unwrap()).await
    };
    assert_eq!(get(&[("query", "{ __typename }")]).await.data()["__typename"], "Query");
    let address = format!("{{\"a\": \"0x{}\"}}", hex::encode(ALICE));
    let query = "query A($a: Address!) { account(address: $a) { address } } query B { __typename }";
    let pairs = [("query", query), ("operationName", "A"), ("variables", address.as_str())];
    assert!(get(&pairs).await.data()["account"]["address"].is_string());

    let answer = get(&[("query", REGISTER)]).await;
    answer.assert_refused(405, "METHOD_NOT_ALLOWED");
    assert_eq!(answer.headers["allow"], "POST");
    // The operation that is named decides, not the first one.
    let both = format!("query A {{ __typename }} {}", REGISTER.replacen("mutation", "mutation B", 1));
    get(&[("query", &both), ("operationName", "B")]).await.assert_refused(405, "METHOD_NOT_ALLOWED");
    assert!(api.is_unchanged());
    assert_eq!(get(&[("query", &both), ("operationName", "A")]).await.data()["__typename"], "Query");

    get(&[]).await.assert_refused(400, "BAD_REQUEST");
    get(&[("query", "{a}"), ("query", "{b}")]).await.assert_refused(400, "BAD_REQUEST");
    get(&[("query", "{ __typename }"), ("variables", "[")]).await.assert_refused(400, "BAD_REQUEST");
    // URLSearchParams reads bytes that are no UTF-8 as U+FFFD.
    api.get("/graphql?query=%FF%zz").await.assert_refused(400, "GRAPHQL_PARSE_FAILED");
}

#[tokio::test]
async fn a_persisted_query_without_its_document_is_answered_so_that_clients_send_it() {
    let api = Api::start().await;
    let hash = "ecf4edb46db40b5132295c0291d62fb65d6759a9eedfa4d5d612dd5ec54a6b38";
    let extensions = json!({ "persistedQuery": { "version": 1, "sha256Hash": hash } });
    let refused = json!({ "errors": [{
        "message": "PersistedQueryNotSupported",
        "extensions": { "code": "PERSISTED_QUERY_NOT_SUPPORTED" },
    }] });
    let (text, name) = (extensions.to_string(), "A");
    let url = [("operationName", name), ("variables", "{}"), ("extensions", &text)];
    let url = reqwest::Url::parse_with_params(&api.url("/graphql"), url).unwrap();
    for (accept, status) in [(JSON, 200), (GRAPHQL_RESPONSE, 400)] {
        let body = json!({ "operationName": name, "variables": {}, "extensions": extensions });
        let by_post = api.post_as(accept, &body).await;
        let by_get = api.http.get(url.clone()).header("accept", accept).send().await.unwrap();
        for answer in [by_post, Answer::of(by_get).await] {
            assert_eq!((answer.status, answer.json()), (status, refused.clone()));
        }
    }
    // What the client sends then is answered, with the hash beside the document.
    let again = json!({ "query": "query A { __typename }", "operationName": "A", "extensions": extensions });
    assert_eq!(api.post(&again).await.data()["__typename"], "Query");
    // Other extensions are no query.
    let other = json!({ "extensions": { "trace": true } });
    api.post(&other).await.assert_refused(400, "BAD_REQUEST");
}

#[tokio::test]
async fn other_methods_are_405() {
    let api = Api::start().await;
    for method in [Method::PUT, Method::DELETE, Method::PATCH] {
        let answer = Answer::of(api.http.request(method, api.url("/graphql")).send().await.unwrap()).await;
        answer.assert_refused(405, "METHOD_NOT_ALLOWED");
        assert_eq!(answer.headers["allow"], "GET, POST");
    }
}

#[tokio::test]
async fn errors_of_fields_keep_status_200_and_the_other_fields() {
    let api = Api::start().await;
    let query = "{ batch(number: 1) { number operations(first: 0) { edges { cursor } } } }";
    let answer = api.query(query).await;
    assert_eq!((answer.status, answer.code().as_str()), (200, "BAD_USER_INPUT"));
    let body = answer.json();
    assert_eq!(body["data"], json!({ "batch": null }));
    assert_eq!(body["errors"][0]["path"], json!(["batch", "operations"]));
}

#[tokio::test]
async fn introspection_is_on() {
    let api = Api::start().await;
    let answer = api.query(include_str!("introspection.graphql")).await;
    let types = answer.data()["__schema"]["types"].as_array().unwrap().clone();
    for name in ["Address", "Bytes", "Bytes32", "BigInt", "DateTime", "OperationPayload", "BatchConnection"] {
        assert!(types.iter().any(|kind| kind["name"] == name), "{name}");
    }
}

#[tokio::test]
async fn an_answer_names_the_trace_of_its_request() {
    let api = Api::start().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let ask = async |parent: Option<String>| {
        let mut request = api.http.post(format!("{}/graphql", api.server.url));
        if let Some(parent) = parent {
            request = request.header("traceparent", parent);
        }
        let answer = request.json(&json!({ "query": "{ __typename }" })).send().await.unwrap();
        answer.headers()["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(ask(Some(format!("00-{trace}-00f067aa0ba902b7-01"))).await, trace);
    let (one, other) = (ask(None).await, ask(Some("no trace".to_owned())).await);
    assert!(one != other && [&one, &other].into_iter().all(|id| id.len() == 32), "{one} {other}");
}
