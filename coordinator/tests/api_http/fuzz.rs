//! Whatever is sent: an answer in the shape of GraphQL, never 5xx, never nothing, and no memory kept.
//!
//! A short run is part of the tests. `./scripts/hostile requests [N]` sends N inputs (`PROOFMILL_HOSTILE`).

use std::{
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};

use proptest::{
    collection::vec,
    prelude::{Strategy, any, prop_oneof},
    sample::select,
    strategy::Just,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::harness::{Answer, Api, GRAPHQL_RESPONSE, JSON};

/// Inputs of a run that is part of the tests.
const FEW: u32 = 1500;
/// What may be resident at the end beyond what was after a tenth of the inputs.
const MORE_MEMORY: u64 = 64 << 20;
/// For one answer, on a machine that does a lot of other things.
const PATIENCE: Duration = Duration::from_secs(60);

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

/// What nests in a document, opened and closed.
const NESTS: [(&str, &str); 10] = [
    ("[", "]"),
    ("{a:", "}"),
    ("(a:", ")"),
    ("{a", "}"),
    ("{...", "}"),
    ("{...on Query", "}"),
    ("[{a:[", "]}]"),
    ("@include(if:[", "])"),
    ("[#\n", "]"),
    ("\"\"\"a\" [", "]"),
];

/// A document that is nested so deep in one of the places that nest.
fn deep() -> impl Strategy<Value = String> {
    let depth = prop_oneof![1..70_usize, 60..68_usize, 70..3_500_usize];
    let place = select(
        &[
            "{batches(first:@){nodes{number}}}",
            "{nothing(b:@)}",
            "query($v:Int=@){a}",
            "query($v:@){a}",
            "{__typename @include(if:@)}",
            "query @a(b:@){__typename}",
            "{...F} fragment F on Query @a(b:@){a}",
            "mutation{send(input:{leaves:@}){userErrors{code}}}",
            "@",
            "{a@}",
            "query@",
        ][..],
    );
    (place, select(&NESTS[..]), select(&NESTS[..]), depth, any::<bool>()).prop_map(
        |(place, outer, inner, depth, closed)| {
            let half = depth / 2;
            let open = outer.0.repeat(depth - half) + &inner.0.repeat(half);
            let close = inner.1.repeat(half) + &outer.1.repeat(depth - half);
            place.replace('@', &if closed { open + "1" + &close } else { open })
        },
    )
}

/// A well-formed document in which parts are cut out, doubled, exchanged or overwritten.
fn mutated() -> impl Strategy<Value = String> {
    let whole = prop_oneof![
        8 => select(&VALID[..]).prop_map(str::to_owned),
        1 => Just(include_str!("introspection.graphql").to_owned()),
    ];
    let index = any::<proptest::sample::Index>;
    let change = (index(), index(), 0..5_u8, select(&TOKENS[..]));
    (whole, vec(change, 1..6)).prop_map(|(text, changes)| {
        let mut text: Vec<char> = text.chars().collect();
        for (from, to, kind, token) in changes {
            let (a, b) = (from.index(text.len() + 1), to.index(text.len() + 1));
            let (a, b) = (a.min(b), a.max(b));
            let part: Vec<char> = text[a..b].to_vec();
            match kind {
                0 => drop(text.drain(a..b)),
                1 => drop(text.splice(a..a, part)),
                2 => text[a..b].reverse(),
                _ => drop(text.splice(a..a, token.chars())),
            }
            text.truncate(8_000);
        }
        text.into_iter().collect()
    })
}

fn document() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => soup(),
        2 => select(&VALID[..]).prop_map(str::to_owned),
        1 => ".{0,200}",
        2 => deep(),
        3 => mutated(),
    ]
}

/// JSON that is nested so deep, well-formed or not.
fn deep_json() -> impl Strategy<Value = String> {
    let nests = select(&[("[", "]"), ("{\"a\":", "}"), ("[{\"\\\"[\":", "}]")][..]);
    let depth = prop_oneof![1..70_usize, 60..68_usize, 70..20_000_usize];
    (nests, depth, any::<bool>()).prop_map(|((open, close), depth, closed)| {
        open.repeat(depth) + "1" + &if closed { close.repeat(depth) } else { String::new() }
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let request = (document(), value(), value(), any::<bool>()).prop_map(|(query, a, name, named)| {
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
    let member = select(&["query", "variables", "extensions", "operationName", "a"][..]);
    let nested = (member, deep_json())
        .prop_map(|(name, json)| format!("{{\"query\":\"{{__typename}}\",\"{name}\":{json}}}").into_bytes());
    prop_oneof![
        8 => cut,
        2 => nested,
        1 => deep_json().prop_map(String::into_bytes),
        1 => value().prop_map(|value| value.to_string().into_bytes()),
        1 => vec(any::<u8>(), 0..300),
    ]
}

/// The query string of a GET.
fn query_string() -> impl Strategy<Value = String> {
    let names = select(&["query", "variables", "extensions", "operationName", "%71uery", ""][..]);
    let value = prop_oneof![document(), deep_json(), ".{0,60}", "[%&=+a-f0-9]{0,40}"];
    vec((names, value, any::<bool>()), 0..4).prop_map(|pairs| {
        let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
        let pairs = pairs.iter().map(|(name, value, encoded)| {
            let plain = value.chars().all(|c| c.is_ascii_graphic() && c != '#');
            format!("{name}={}", if *encoded || !plain { encode(value) } else { value.clone() })
        });
        let text: String = pairs.collect::<Vec<_>>().join("&");
        text.chars().take(20_000).collect()
    })
}

/// Bytes made of what HTTP is made of.
fn bytes_on_the_wire() -> impl Strategy<Value = Vec<u8>> {
    let part = select(
        &[
            "GET /graphql HTTP/1.1\r\n",
            "POST /graphql HTTP/1.1\r\n",
            "OPTIONS * HTTP/1.0\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "GET /health/ready HTTP/9.9\r\n",
            "host: x\r\n",
            "content-length: 5\r\n",
            "content-length: -1\r\n",
            "content-length: 99999999999999999999\r\n",
            "transfer-encoding: chunked\r\n",
            "transfer-encoding: gzip, chunked\r\n",
            "expect: 100-continue\r\n",
            "connection: close\r\n",
            "upgrade: websocket\r\n",
            "content-type: application/json\r\n",
            "accept: \u{ff}\r\n",
            "\r\n",
            "\n",
            "ffffffffffffffff\r\n",
            "0\r\n\r\n",
            "5\r\n{\"a\":\r\n",
            "{\"query\":\"{__typename}\"}",
            "\0",
            " ",
            ": ",
        ][..],
    );
    let parts = vec(part, 1..12).prop_map(|parts| parts.concat().into_bytes());
    prop_oneof![4 => parts, 1 => vec(any::<u8>(), 1..200)]
}

#[derive(Clone, Debug)]
enum Input {
    Post(Vec<u8>),
    Get(String),
    Wire(Vec<u8>),
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        8 => body().prop_map(Input::Post),
        2 => query_string().prop_map(Input::Get),
        1 => bytes_on_the_wire().prop_map(Input::Wire),
    ]
}

fn check_answer(answer: &Answer, accept: &str) {
    assert!(answer.status < 500, "{answer:?}");
    // A request line that is too long for the server is refused before `/graphql`.
    if matches!(answer.status, 400 | 414 | 431) && answer.text.is_empty() {
        return;
    }
    assert!(answer.content_type.starts_with(accept), "{answer:?}");
    let reply = answer.json();
    assert!(reply.get("data").is_some() || reply["errors"][0]["extensions"]["code"].is_string(), "{reply}");
    for error in reply["errors"].as_array().unwrap_or(&Vec::new()) {
        assert!(error["message"].is_string() && error["extensions"]["code"].is_string(), "{reply}");
    }
}

/// Sends bytes and reads to the end: every answer has a status below 500, and the connection ends.
async fn talk(address: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may have closed by now.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard).await;
    for line in String::from_utf8_lossy(&heard).lines() {
        assert!(!line.starts_with("HTTP/1.1 5") && !line.starts_with("HTTP/1.0 5"), "{line}");
    }
}

/// Bytes that this process has in memory, where that can be told.
pub fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? << 10)
}

async fn send(api: &Api, input: Input, accept: &str) {
    match input {
        Input::Post(body) => {
            let answer = api.raw(&[("content-type", JSON), ("accept", accept)], body).await;
            check_answer(&answer, accept);
        }
        Input::Get(query) => {
            let request = api.http.get(api.url(&format!("/graphql?{query}"))).header("accept", accept);
            // What the client refuses to send was sent to nobody.
            if let Ok(request) = request.build() {
                check_answer(&Answer::of(api.http.execute(request).await.unwrap()).await, accept);
            }
        }
        Input::Wire(bytes) => talk(api.server.address, &bytes).await,
    }
}

#[test]
fn whatever_is_sent_is_answered_and_costs_no_memory() {
    let count = std::env::var("PROOFMILL_HOSTILE").map_or(FEW, |count| count.parse().expect("a number"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let api = runtime.block_on(Api::start());
    let accepts = select(&[GRAPHQL_RESPONSE, JSON][..]);
    let begin = Instant::now();
    let mut after_a_tenth = None;
    for tenth in 1..=10 {
        let config = Config { cases: count.div_ceil(10), failure_persistence: None, ..Config::default() };
        let outcome = TestRunner::new(config).run(&(input(), accepts.clone()), |(input, accept)| {
            let sent = async { timeout(PATIENCE, send(&api, input, accept)).await };
            runtime.block_on(sent).expect("an answer in time");
            Ok(())
        });
        outcome.unwrap();
        let now = resident();
        let first = *after_a_tenth.get_or_insert(now);
        println!(
            "{} inputs in {:.1?}, {} MiB resident",
            count.div_ceil(10) * tenth,
            begin.elapsed(),
            now.unwrap_or_default() >> 20
        );
        if let (Some(now), Some(first)) = (now, first) {
            assert!(now <= first + MORE_MEMORY, "{first} bytes grew to {now}");
        }
    }
    assert!(api.is_unchanged(), "no made-up signature passes");
}
