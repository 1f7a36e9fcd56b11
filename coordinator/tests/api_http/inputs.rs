//! Each bad input: a stable code, a sentence, and nothing changed.

use client::api::{Client, PrepareSend, PrepareWithdraw, Submit};
use serde_json::{Value, json};

use crate::{
    double::{ALICE, BOB, QUANTUM, alice_key},
    harness::{Answer, Api},
};

const SEND: &str = "mutation($input: SendInput!) { send(input: $input) { operation { id } \
                    userErrors { code message path retryable } } }";
const WITHDRAW: &str = "mutation($input: WithdrawInput!) { withdraw(input: $input) { operation { id } \
                        userErrors { code message path retryable } } }";
const PREPARE: &str = "query($input: PrepareSendInput!) { prepareSend(input: $input) { draft { amount } \
                       userErrors { code message path retryable } } }";

fn hex(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

/// Asserts one business error in the payload of `field`.
#[track_caller]
fn assert_user_error(answer: &Answer, field: &str, code: &str, path: Value) {
    assert_eq!(answer.status, 200, "{answer:?}");
    let payload = &answer.data()[field];
    let errors = payload["userErrors"].as_array().unwrap();
    assert_eq!(errors.len(), 1, "{payload}");
    assert_eq!((&errors[0]["code"], &errors[0]["path"]), (&json!(code), &path), "{payload}");
    assert!(errors[0]["message"].as_str().unwrap().contains(';'), "it says what to do: {payload}");
    assert!(payload["operation"].is_null() && payload["draft"].is_null());
}

/// A payment that the double accepts.
async fn signed_send(api: &Api) -> Submit {
    let client = Client::new(&api.server.url);
    let request = PrepareSend {
        sender: ALICE,
        recipient: BOB,
        amount: 12 * u128::from(QUANTUM),
        allow_vault: false,
        valid_until: None,
    };
    let draft = client.prepare_send(&request).await.unwrap();
    let signatures: Vec<_> =
        draft.messages().unwrap().iter().map(|message| alice_key().sign(&message.hash())).collect();
    draft.signed("key-1", &signatures)
}

#[tokio::test]
async fn amounts_that_are_no_positive_multiple_of_the_quantum_are_refused() {
    let api = Api::start().await;
    let prepare = async |amount: &str| {
        let input = json!({ "sender": hex(&ALICE), "recipient": hex(&BOB), "amount": amount });
        api.ask(PREPARE, json!({ "input": input })).await
    };
    let one_too_many = (1_u128 << 63) * u128::from(QUANTUM);
    for amount in ["0", "1", "1000000001", "999999999", &one_too_many.to_string(), &"9".repeat(77)] {
        let answer = prepare(amount).await;
        assert_user_error(&answer, "prepareSend", "AMOUNT_OUT_OF_RANGE", json!(["input", "amount"]));
    }
    for amount in ["-1", "1.5", "1e9", "", "ten", "0x10", "007"] {
        prepare(amount).await.assert_refused(400, "BAD_USER_INPUT");
    }
    assert_eq!(prepare("1000000000").await.data()["prepareSend"]["draft"]["amount"], "1000000000");
    // The largest number of coins reaches the service, which knows that nobody holds it.
    let largest = (one_too_many - u128::from(QUANTUM)).to_string();
    assert_user_error(
        &prepare(&largest).await,
        "prepareSend",
        "INSUFFICIENT_BALANCE",
        json!(["input", "amount"]),
    );
    let number =
        json!({ "input": { "sender": hex(&ALICE), "recipient": hex(&BOB), "amount": 1_000_000_000 } });
    api.ask(PREPARE, number).await.assert_refused(400, "BAD_USER_INPUT");
}

#[tokio::test]
async fn malformed_addresses_and_ids_are_refused_with_what_to_send() {
    let api = Api::start().await;
    let query = "query($a: Address!) { account(address: $a) { address } }";
    let checksummed = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
    for address in [
        "",
        "0x",
        "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAe",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAedff",
        "0xzzAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0x5aaeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "vitalik.eth",
    ] {
        let answer = api.ask(query, json!({ "a": address })).await;
        answer.assert_refused(400, "BAD_USER_INPUT");
        assert!(answer.text.contains("40 hexadecimal digits"), "{answer:?}");
    }
    for value in [json!(7), json!({}), json!([]), json!(true)] {
        api.ask(query, json!({ "a": value })).await.assert_refused(400, "BAD_USER_INPUT");
    }
    api.ask(query, json!({ "a": null })).await.assert_refused(400, "BAD_USER_INPUT");
    api.ask(query, json!({})).await.assert_refused(400, "BAD_USER_INPUT");
    for case in
        [checksummed.to_lowercase(), checksummed.to_uppercase().replace("0X", "0x"), checksummed.to_owned()]
    {
        assert_eq!(api.ask(query, json!({ "a": case })).await.data()["account"]["address"], checksummed);
    }
    let operation = "query($id: Bytes32!) { operation(id: $id) { id } }";
    for id in ["", "op_1", "0x12"] {
        api.ask(operation, json!({ "id": id })).await.assert_refused(400, "BAD_USER_INPUT");
    }
}

#[tokio::test]
async fn a_spend_outside_its_bounds_is_refused_by_name_and_changes_nothing() {
    let api = Api::start().await;
    let good = serde_json::to_value(signed_send(&api).await).unwrap();
    let above_r = hex(&[0xff; 32]);
    let cases = [
        ("/leaves/0/split", json!("0"), "SPLIT_OUTSIDE_LEAF", json!(["input", "leaves", "0", "split"])),
        ("/leaves/0/split", json!("101"), "SPLIT_OUTSIDE_LEAF", json!(["input", "leaves", "0", "split"])),
        ("/leaves/0/low", json!("0"), "COIN_RANGE_INVALID", json!(["input", "leaves", "0", "low"])),
        (
            "/leaves/0/high",
            json!("9223372036854775808"),
            "COIN_RANGE_INVALID",
            json!(["input", "leaves", "0", "low"]),
        ),
        (
            "/leaves/0/index",
            json!("68719476736"),
            "INDEX_OUT_OF_RANGE",
            json!(["input", "leaves", "0", "index"]),
        ),
        (
            "/leaves/0/key/x",
            json!(above_r),
            "FIELD_ELEMENT_OUT_OF_RANGE",
            json!(["input", "leaves", "0", "key", "x"]),
        ),
        (
            "/leaves/0/signature/s",
            json!(above_r),
            "FIELD_ELEMENT_OUT_OF_RANGE",
            json!(["input", "leaves", "0", "signature", "s"]),
        ),
        (
            "/leaves/0/signature/r8y",
            json!(above_r),
            "FIELD_ELEMENT_OUT_OF_RANGE",
            json!(["input", "leaves", "0", "signature", "r8y"]),
        ),
        (
            "/recipientAccount",
            json!(above_r),
            "FIELD_ELEMENT_OUT_OF_RANGE",
            json!(["input", "recipientAccount"]),
        ),
        ("/leaves", json!([]), "NO_LEAVES", json!(["input", "leaves"])),
        ("/idempotencyKey", json!(""), "IDEMPOTENCY_KEY_INVALID", json!(["input", "idempotencyKey"])),
        (
            "/idempotencyKey",
            json!("k".repeat(65)),
            "IDEMPOTENCY_KEY_INVALID",
            json!(["input", "idempotencyKey"]),
        ),
        ("/idempotencyKey", json!("a b"), "IDEMPOTENCY_KEY_INVALID", json!(["input", "idempotencyKey"])),
        // What only the service can know comes through as it says it.
        ("/validUntil", json!(51), "INVALID_SIGNATURE", json!(["input", "leaves"])),
        ("/sender", json!(hex(&BOB)), "INVALID_SIGNATURE", json!(["input", "leaves"])),
        ("/leaves/0/split", json!("13"), "INVALID_SIGNATURE", json!(["input", "leaves"])),
    ];
    for (place, value, code, path) in cases {
        let mut input = good.clone();
        *input.pointer_mut(place).unwrap() = value;
        assert_user_error(&api.ask(SEND, json!({ "input": input })).await, "send", code, path);
    }
    assert!(api.is_unchanged());
    let answer = api.ask(SEND, json!({ "input": good })).await;
    assert!(answer.data()["send"]["operation"]["id"].is_string(), "{answer:?}");
    assert_eq!(api.double.submitted.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn input_of_the_wrong_type_is_a_request_error_and_changes_nothing() {
    let api = Api::start().await;
    let good = serde_json::to_value(signed_send(&api).await).unwrap();
    for (place, value) in [
        ("/leaves/0/key/x", json!("0x1")),
        ("/leaves/0/signature/s", json!("nonsense")),
        ("/leaves/0/index", json!("-1")),
        ("/leaves/0/index", json!(1)),
        ("/validUntil", json!("50")),
        ("/idempotencyKey", json!(7)),
        ("/sender", json!("0x12")),
        ("/leaves/0/signature", json!(null)),
        ("/leaves", json!(null)),
    ] {
        let mut input = good.clone();
        *input.pointer_mut(place).unwrap() = value;
        api.ask(SEND, json!({ "input": input })).await.assert_refused(400, "BAD_USER_INPUT");
    }
    let mut unknown = good.clone();
    unknown["amount"] = json!("1");
    api.ask(SEND, json!({ "input": unknown })).await.assert_refused(400, "BAD_USER_INPUT");
    let mut missing = good.clone();
    missing.as_object_mut().unwrap().remove("sender");
    api.ask(SEND, json!({ "input": missing })).await.assert_refused(400, "BAD_USER_INPUT");
    // A number that fits JSON and not the field is refused when the argument is read.
    for number in [json!(-1), json!(1_u64 << 33)] {
        let mut input = good.clone();
        input["validUntil"] = number;
        assert_eq!(api.ask(SEND, json!({ "input": input })).await.code(), "BAD_USER_INPUT");
    }
    assert!(api.is_unchanged());
}

#[tokio::test]
async fn a_withdrawal_pays_nobody_else() {
    let api = Api::start().await;
    let client = Client::new(&api.server.url);
    let request = PrepareWithdraw { sender: ALICE, amount: 5 * u128::from(QUANTUM), valid_until: None };
    let draft = client.prepare_withdraw(&request).await.unwrap();
    let signatures = [alice_key().sign(&draft.messages().unwrap()[0].hash())];
    let mut input = serde_json::to_value(draft.signed("w", &signatures)).unwrap();
    assert!(api.ask(WITHDRAW, json!({ "input": input })).await.data()["withdraw"]["operation"].is_object());
    let submitted = api.double.submitted.lock().unwrap().pop().unwrap();
    assert_eq!((submitted.recipient, submitted.recipient_account), (None, bn254::Fr::from(0)));
    input["recipient"] = json!(hex(&BOB));
    api.ask(WITHDRAW, json!({ "input": input })).await.assert_refused(400, "BAD_USER_INPUT");
}

#[tokio::test]
async fn refusals_of_the_service_come_through_with_code_and_path() {
    let api = Api::start().await;
    let prepare = |sender: [u8; 20], recipient: [u8; 20], vault: bool| {
        let amount = (12 * QUANTUM).to_string();
        json!({ "input": { "sender": hex(&sender), "recipient": hex(&recipient), "amount": amount, "allowVault": vault } })
    };
    let stranger = [0x44; 20];
    let unknown = api.ask(PREPARE, prepare(BOB, ALICE, false)).await;
    assert_user_error(&unknown, "prepareSend", "UNKNOWN_SENDER", json!(["input", "sender"]));
    let no_entry = api.ask(PREPARE, prepare(ALICE, stranger, false)).await;
    assert_user_error(&no_entry, "prepareSend", "RECIPIENT_NOT_REGISTERED", json!(["input", "recipient"]));
    let vault = api.ask(PREPARE, prepare(ALICE, stranger, true)).await;
    assert!(vault.data()["prepareSend"]["draft"].is_object());
    let proof = "query($i: BigInt!) { ownershipProof(index: $i) { proof { root } userErrors { code message path } } }";
    for (index, code) in [("6", "LEAF_EMPTY"), ("68719476736", "INDEX_OUT_OF_RANGE")] {
        let answer = api.ask(proof, json!({ "i": index })).await;
        assert_user_error(&answer, "ownershipProof", code, json!(["index"]));
    }
}
