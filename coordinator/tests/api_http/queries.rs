//! What is asked for is what the service said, in the units and forms of the schema.

use serde_json::{Value, json};

use crate::{
    double::{ALICE, NEWEST_BATCH, OPERATIONS, UUID, operation_id},
    harness::Api,
};

fn alice() -> Value {
    json!({ "a": format!("0x{}", hex::encode(ALICE)) })
}

#[tokio::test]
async fn balances_are_wei_as_strings_beyond_64_bits() {
    let api = Api::start().await;
    let query = "query($a: Address!) { account(address: $a) { address balances { accepted proven final } } }";
    let account = &api.ask(query, alice()).await.data()["account"];
    assert_eq!(account["address"], "0xaAaAaAaaAaAaAaaAaAAAAAAAAaaaAaAaAaaAaaAa");
    let expected = json!({
        "accepted": ((1_u128 << 62) * 1_000_000_000).to_string(),
        "proven": "150000000000",
        "final": "100000000000",
    });
    assert_eq!(account["balances"], expected);
    let nobody = api.ask(query, json!({ "a": format!("0x{}", "12".repeat(20)) })).await.data();
    assert_eq!(nobody["account"]["balances"]["accepted"], "0");
}

/// Follows `endCursor` to the end and returns all nodes.
async fn all_pages(api: &Api, query: &str, place: &str, first: u32) -> Vec<Value> {
    let mut nodes = Vec::new();
    let mut after = Value::Null;
    loop {
        let mut variables = json!({ "first": first, "after": after });
        if query.contains("$a:") {
            variables["a"] = alice()["a"].clone();
        }
        let data = api.ask(query, variables).await.data();
        let page = data.pointer(place).unwrap();
        assert_eq!(page["pageInfo"]["hasPreviousPage"], !after.is_null());
        nodes.extend(page["nodes"].as_array().unwrap().iter().cloned());
        after = page["pageInfo"]["endCursor"].clone();
        if page["pageInfo"]["hasNextPage"] == false {
            return nodes;
        }
    }
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repetition() {
    let api = Api::start().await;
    let batches = "query($first: Int, $after: String) { batches(first: $first, after: $after) { \
        nodes { number } pageInfo { hasNextPage hasPreviousPage endCursor } } }";
    let coins = "query($a: Address!, $first: Int, $after: String) { account(address: $a) { \
        coins(first: $first, after: $after) { \
        nodes { index amount stage } pageInfo { hasNextPage hasPreviousPage endCursor } } } }";
    let operations = "query($a: Address!, $first: Int, $after: String) { account(address: $a) { \
        operations(first: $first, after: $after) { \
        nodes { id } pageInfo { hasNextPage hasPreviousPage endCursor } } } }";
    for first in [1, 7, 100] {
        let numbers: Vec<_> = (1..=NEWEST_BATCH).rev().map(|number| json!({ "number": number })).collect();
        assert_eq!(all_pages(&api, batches, "/batches", first).await, numbers);
        let coins = all_pages(&api, coins, "/account/coins", first).await;
        let expected = [("0", "100000000000"), ("5", "50000000000"), ("9", "10000000000")]
            .map(|(index, amount)| json!({ "index": index, "amount": amount, "stage": "PROVEN" }));
        assert_eq!(coins, expected);
        let ids: Vec<_> = (1..=OPERATIONS).map(|number| json!({ "id": operation_id(number) })).collect();
        assert_eq!(all_pages(&api, operations, "/account/operations", first).await, ids);
    }
}

#[tokio::test]
async fn an_operation_tells_its_timeline_promises_and_batch() {
    let api = Api::start().await;
    let query = "query($id: Bytes32!) { operation(id: $id) { id kind amount stage hit \
        timeline { stage at l1Tx } promises { index account deadline signer } batch { number circuit } } }";
    let operation =
        api.ask(query, json!({ "id": operation_id(3).to_uppercase().replace("0X", "0x") })).await.data();
    let expected = json!({
        "id": operation_id(3),
        "kind": "SEND",
        "amount": "12000000000",
        "stage": "ACCEPTED",
        "hit": null,
        "timeline": [{
            "stage": "ACCEPTED",
            "at": "2023-11-14T22:13:20.123+00:00",
            "l1Tx": format!("0x{}", "06".repeat(32)),
        }],
        "promises": [{
            "index": "64",
            "account": format!("0x{:064x}", 5),
            "deadline": u64::MAX.to_string(),
            "signer": "0x0f0f0F0f0f0F0F0f0F0F0F0F0F0F0f0f0F0F0F0F",
        }],
        "batch": { "number": 7, "circuit": "s3m1" },
    });
    assert_eq!(operation["operation"], expected);
    let unknown = api.ask(query, json!({ "id": operation_id(200) })).await.data();
    assert_eq!(unknown["operation"], Value::Null);
}

#[tokio::test]
async fn a_batch_shows_numbers_that_are_too_large_for_json_as_strings() {
    let api = Api::start().await;
    let query = "{ batch(number: 7) { number start oldRoot newRoot publicInputs l1Block gasUsed proveMs witnessMs \
                 operations { nodes { id } } } gone: batch(number: 999) { number } }";
    let expected = json!({
        "number": 7,
        "start": "28",
        "oldRoot": format!("0x{:064x}", 1),
        "newRoot": null,
        "publicInputs": ([1, 2, 3].map(|word| format!("0x{word:064x}"))),
        "l1Block": "4294967296",
        "gasUsed": "456789",
        "proveMs": "2345",
        "witnessMs": null,
        "operations": { "nodes": [{ "id": operation_id(1) }, { "id": operation_id(2) }] },
    });
    assert_eq!(api.query(query).await.data(), json!({ "batch": expected, "gone": null }));
}

#[tokio::test]
async fn workers_tell_their_health_their_card_and_their_energy() {
    let api = Api::start().await;
    let query = "{ workers { nodes { id health reason backend memory circuits seen holds { batch stage } \
        joulesPerProof joulesPerPayment card { name uuid memoryTotal power energy temperature throttleReasons \
        eccUncorrected fields: remapPending } } } }";
    let nodes = api.query(query).await.data()["workers"]["nodes"].clone();
    let expected = json!({
        "id": "b-card",
        "health": "SICK",
        "reason": "PM-CARD-012: too hot",
        "backend": "cuda",
        "memory": "8589934592",
        "circuits": ["s3m1", "s14m2"],
        "seen": "2023-11-14T22:13:20.123+00:00",
        "holds": [{ "batch": "7", "stage": "PROVING" }],
        "joulesPerProof": 30.5,
        "joulesPerPayment": 0.25,
        "card": {
            "name": "NVIDIA H200",
            "uuid": UUID,
            "memoryTotal": "150000000000",
            "power": 412.5,
            "energy": 5000.25,
            "temperature": 93,
            "throttleReasons": ["power limit", "heat (hardware)"],
            "eccUncorrected": "0",
            "fields": null,
        },
    });
    assert_eq!(nodes[1], expected);
    assert_eq!((&nodes[0]["card"], &nodes[0]["health"]), (&Value::Null, &json!("WELL")));
    let pages = "query($first: Int, $after: String) { workers(first: $first, after: $after) { \
        nodes { id } pageInfo { hasNextPage hasPreviousPage endCursor } } }";
    let ids: Vec<_> = ["a-plain", "b-card", "c-plain"].map(|id| json!({ "id": id })).to_vec();
    assert_eq!(all_pages(&api, pages, "/workers", 1).await, ids);
}

#[tokio::test]
async fn all_fields_of_twenty_workers_fit_one_request() {
    let api = Api::start().await;
    let sdl = api::graphql::sdl();
    let card = sdl.split("\ntype Card {").nth(1).unwrap().split("\n}").next().unwrap();
    let fields: Vec<&str> = card
        .lines()
        .filter_map(|line| line.strip_prefix('\t')?.split_once(':'))
        .map(|(name, _)| name)
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        .collect();
    assert!(fields.len() > 30, "{fields:?}");
    let query = format!("{{ workers(first: 20) {{ nodes {{ id card {{ {} }} }} }} }}", fields.join(" "));
    assert_eq!(api.query(&query).await.data()["workers"]["nodes"].as_array().unwrap().len(), 3);
}
