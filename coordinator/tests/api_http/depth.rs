//! No nesting takes the process down: at the bound a request is read, one level beyond it is refused before any parser.
//!
//! The server's threads are those of a real one, with the stack that they have there: a level too many would end this process.

use api::{check_body, check_document};
use reqwest::Url;
use serde_json::json;

use crate::harness::{Answer, Api, JSON};

/// As in `protocol::depth`: well-formed requests have about twenty.
const MAX_DEPTH: usize = protocol::depth::MAX_DEPTH;
/// Selections inside each other.
const MAX_SELECTIONS: usize = 32;
/// As deep as a document or a body can be by its bytes.
const FAR: usize = 7_000;

fn nested(open: &str, close: &str, levels: usize) -> String {
    open.repeat(levels) + &close.repeat(levels)
}

/// Each place of a document that nests, with brackets inside each other so often; all are well-formed.
fn documents(depth: usize) -> Vec<String> {
    let list = |outer| nested("[", "]", depth - outer);
    let object = |outer| format!("{}1{}", "{a:".repeat(depth - outer), "}".repeat(depth - outer));
    let ty = |outer| format!("{}Int{}", "[".repeat(depth - outer), "]".repeat(depth - outer));
    let inline = format!("{}__typename{}", "{...".repeat(depth - 1) + "{", "}".repeat(depth));
    let commented = format!("{{a(b:{})}}", nested("[#]\n", "]", depth - 2));
    vec![
        format!("{{batches(first:{}){{nodes{{number}}}}}}", list(2)),
        format!("{{batches(first:{}){{nodes{{number}}}}}}", object(2)),
        format!("{{nothing(b:[{{c:{}}}])}}", list(4)),
        format!("{{__typename(b:{})}}", list(2)),
        format!("query($v:Int={}){{__typename}}", list(1)),
        format!("query($v:Input={}){{__typename}}", object(1)),
        format!("query($v:{}){{__typename}}", ty(1)),
        format!("query($v:Int@a(b:{})){{__typename}}", list(2)),
        format!("query @a(b:{}){{__typename}}", list(1)),
        format!("{{__typename @include(if:{})}}", list(2)),
        format!("{{system{{version @include(if:{})}}}}", object(3)),
        format!("{{...F @a(b:{})}} fragment F on Query{{__typename}}", list(2)),
        format!("{{...F}} fragment F on Query @a(b:{}){{__typename}}", object(1)),
        format!("mutation{{send(input:{{leaves:{}}}){{userErrors{{code}}}}}}", list(3)),
        format!("{{{}}}", nested("a{", "}", depth - 1).replace("{}", "{a}")),
        inline,
        commented,
    ]
}

async fn by_get(api: &Api, pairs: &[(&str, &str)]) -> Answer {
    let url = Url::parse_with_params(&api.url("/graphql"), pairs).unwrap();
    Answer::of(api.http.get(url).send().await.unwrap()).await
}

#[tokio::test]
async fn documents_nested_to_the_bound_are_read_and_deeper_ones_refused_before_the_parser() {
    let api = Api::start().await;
    for document in documents(MAX_DEPTH) {
        for answer in [api.query(&document).await, by_get(&api, &[("query", &document)]).await] {
            let said = answer.text.contains("brackets inside each other");
            assert!(answer.status < 500 && !said, "{document}: {answer:?}");
            assert!(
                !answer.text.contains("PARSE_FAILED"),
                "the document is well-formed: {document} {answer:?}"
            );
        }
    }
    for depth in [MAX_DEPTH + 1, 1_000, 1_600, 3_000] {
        for document in documents(depth) {
            api.query(&document).await.assert_refused(400, "QUERY_TOO_DEEP");
            by_get(&api, &[("query", &document)]).await.assert_refused(400, "QUERY_TOO_DEEP");
        }
    }
    for document in [nested("[", "", FAR), format!("{{a(b:{}", "[".repeat(FAR)), "(".repeat(FAR)] {
        api.query(&document).await.assert_refused(400, "QUERY_TOO_DEEP");
    }
    // A parser that takes an open block string for an empty one goes on behind it.
    let hidden = format!("{{a(b:[\"\"\"a\" {}", "[".repeat(FAR));
    api.query(&hidden).await.assert_refused(400, "GRAPHQL_PARSE_FAILED");
    assert_eq!(api.query("{ __typename }").await.data()["__typename"], "Query");
}

#[test]
fn reading_at_the_bound_takes_an_eighth_of_the_stack_of_a_thread() {
    let read = || {
        for document in documents(MAX_DEPTH) {
            let code = check_document(&document).err();
            assert_ne!(code, Some("GRAPHQL_PARSE_FAILED"), "{document}");
            let body = json!({ "query": document, "variables": { "a": [] } }).to_string();
            assert_eq!(check_body(body.as_bytes()).err(), code, "{document}");
        }
        let deep = nested("[", "]", MAX_DEPTH - 2);
        let body = format!("{{\"query\":\"{{__typename}}\",\"variables\":{{\"a\":{deep}}}}}");
        assert_eq!(check_body(body.as_bytes()), Ok(()));
    };
    let stack = 2 << 20;
    std::thread::Builder::new().stack_size(stack / 8).spawn(read).unwrap().join().unwrap();
}

#[tokio::test]
async fn brackets_in_strings_and_comments_are_no_depth() {
    let api = Api::start().await;
    let many = "[{(".repeat(1_000);
    let document = format!("# {many}\n{{ account(address: \"{many}\") {{ address }} }}");
    api.query(&document).await.assert_refused(400, "BAD_USER_INPUT");
    let block = format!("{{ account(address: \"\"\"{many} \\\"\"\" \" {many}\"\"\") {{ address }} }}");
    api.query(&block).await.assert_refused(400, "BAD_USER_INPUT");
}

#[tokio::test]
async fn bodies_variables_and_extensions_are_bounded_as_well() {
    let api = Api::start().await;
    let body = |name: &str, depth: usize| {
        let value = format!("{}1{}", "[{\"a\":".repeat(depth / 2), "}]".repeat(depth / 2));
        format!("{{\"query\":\"{{__typename}}\",\"{name}\":{{\"a\":{value}}}}}")
    };
    let post = async |body: String| api.raw(&[("content-type", JSON)], body).await;
    for name in ["variables", "extensions", "unknown"] {
        assert_eq!(post(body(name, MAX_DEPTH - 2)).await.data()["__typename"], "Query", "{name}");
        for depth in [MAX_DEPTH, 120, 130, 2_000, 10_000] {
            let answer = post(body(name, depth)).await;
            answer.assert_refused(400, "BAD_REQUEST");
            assert!(answer.text.contains("brackets inside each other"), "{answer:?}");
        }
    }
    for batch in [nested("[", "]", 5_000), "[".repeat(250_000), nested("{\"a\":[", "]}", 5_000)] {
        post(batch).await.assert_refused(400, "BAD_REQUEST");
    }
    for name in ["variables", "extensions"] {
        let value = |depth: usize| format!("{{\"a\":{}}}", nested("[", "]", depth - 1));
        let ask = async |value: String| by_get(&api, &[("query", "{__typename}"), (name, &value)]).await;
        assert_eq!(ask(value(MAX_DEPTH)).await.data()["__typename"], "Query");
        for depth in [MAX_DEPTH + 1, 1_600] {
            ask(value(depth)).await.assert_refused(400, "BAD_REQUEST");
        }
    }
    // A variable that is used is converted and compared with its type as deep as it is.
    let query = "query($a: Int!) { batch(number: $a) { number } }";
    let deep: serde_json::Value = serde_json::from_str(&nested("[", "]", MAX_DEPTH - 2)).unwrap();
    api.ask(query, json!({ "a": deep })).await.assert_refused(400, "BAD_USER_INPUT");
}

#[tokio::test]
async fn fragments_in_a_chain_are_as_deep_as_written_out() {
    let api = Api::start().await;
    let chain = |links: usize| {
        let link = |i: usize| format!("fragment F{i} on Query{{...F{}}}", i + 1);
        (0..links).map(link).collect::<String>() + &format!("fragment F{links} on Query{{__typename}}")
    };
    let used = |links: usize| format!("{{...F0}}{}", chain(links));
    assert_eq!(api.query(&used(MAX_SELECTIONS - 2)).await.data()["__typename"], "Query");
    for links in [MAX_SELECTIONS - 1, 300, 450] {
        api.query(&used(links)).await.assert_refused(400, "QUERY_TOO_DEEP");
    }
    let unused = format!("{{__typename}}{}", chain(450));
    api.query(&unused).await.assert_refused(400, "GRAPHQL_VALIDATION_FAILED");
    // Each is used twice, at the end of two paths.
    let half = MAX_SELECTIONS / 2;
    let twice = format!("{{...F0 ...F{half}}}{}", chain(half));
    assert_eq!(api.query(&twice).await.data()["__typename"], "Query");
}
