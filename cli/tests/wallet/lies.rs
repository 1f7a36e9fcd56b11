//! A coordinator that lies in each field in turn: before the signature nothing is signed, after it the evidence is kept and
//! nothing is paid twice.

use std::path::PathBuf;

use bn254::{Fr, fr_to_hex};
use serde_json::{Value, json};

use crate::{
    api::{hex, mallory, now, sign},
    world::World,
};

type Lie = (&'static str, fn(&mut Value, &World));

fn first(operation: &mut Value) -> &mut Value {
    &mut operation["promises"][0]
}

/// Lies about what was accepted, with their codes. The operator signs what it says, but where the signature is the lie.
const PROMISES: [Lie; 22] = [
    ("PM-PROMISE-001", |o, _| o["id"] = json!(hex(&[7; 32]))),
    ("PM-PROMISE-002", |o, _| o["kind"] = json!("WITHDRAW")),
    ("PM-PROMISE-002", |o, w| o["sender"] = json!(hex(&w.bob.address()))),
    ("PM-PROMISE-002", |o, w| o["recipient"] = json!(hex(&w.alice.address()))),
    ("PM-PROMISE-002", |o, _| o["amount"] = json!("1")),
    ("PM-PROMISE-003", |o, _| o["promises"] = json!([])),
    ("PM-PROMISE-003", |o, _| {
        let again = o["promises"][0].clone();
        o["promises"].as_array_mut().unwrap().push(again);
    }),
    ("PM-PROMISE-004", |o, _| first(o)["operationId"] = json!(hex(&[7; 32]))),
    ("PM-PROMISE-005", |o, _| first(o)["kind"] = json!(2)),
    ("PM-PROMISE-006", |o, _| {
        first(o)["batchNumber"] = json!(0);
        o["batchNumber"] = json!(0);
    }),
    ("PM-PROMISE-006", |o, _| {
        first(o)["batchNumber"] = json!(100_000);
        o["batchNumber"] = json!(100_000);
    }),
    ("PM-PROMISE-006", |o, _| o["batchNumber"] = json!(2)),
    ("PM-PROMISE-007", |o, _| first(o)["index"] = json!("1")),
    ("PM-PROMISE-007", |o, _| first(o)["index"] = json!((1u64 << 36).to_string())),
    ("PM-PROMISE-008", |o, _| first(o)["account"] = json!(fr_to_hex(&Fr::from(7)))),
    ("PM-PROMISE-009", |o, _| first(o)["low"] = json!("2")),
    ("PM-PROMISE-009", |o, _| first(o)["high"] = json!("9")),
    ("PM-PROMISE-010", |o, _| first(o)["deadline"] = json!((now() - 1).to_string())),
    ("PM-PROMISE-011", |o, _| first(o)["deadline"] = json!((now() + 4000).to_string())),
    ("PM-PROMISE-012", |o, _| first(o)["signature"] = json!("0x00")),
    ("PM-PROMISE-012", |o, w| {
        let elsewhere = protocol::eip712::SigningDomain { chain_id: 1, ..w.api.domain() };
        sign(o, &w.api.operator, &elsewhere);
    }),
    ("PM-PROMISE-013", |o, w| {
        let (key, _) = mallory(w.mill.contract);
        first(o)["signer"] = json!(hex(&key.address()));
        sign(o, &key, &w.api.domain());
    }),
];

#[test]
fn a_promise_that_is_not_what_was_signed_is_kept_as_evidence_and_nothing_is_paid_twice() {
    let world: &'static World = Box::leak(Box::new(World::new()));
    let to = world.to_bob();
    let pay = ["send", &to, "1000gwei", "--no-wait"];
    for (place, (code, lie)) in PROMISES.into_iter().enumerate() {
        world.fresh_folder();
        let before = world.api.accepted();
        world.api.lies("send", move |payload| {
            let operation = &mut payload["operation"];
            lie(operation, world);
            if !["PM-PROMISE-012", "PM-PROMISE-013"].contains(&code) {
                sign(operation, &world.api.operator, &world.api.domain());
            }
        });
        let said = world.refuses(&pay, code);
        let right = said.contains("PM-WALLET-002") && said.contains("do not repeat it");
        assert!(right, "lie {place}: {said}");
        let [evidence]: [PathBuf; 1] = world.entries("evidence").try_into().unwrap();
        let evidence: Value = serde_json::from_slice(&std::fs::read(evidence).unwrap()).unwrap();
        assert!(evidence["answer"].as_str().unwrap().contains("promises") && evidence["request"].is_string());

        // The same command again asks for the same payment, and finds it.
        world.api.is_honest_again();
        let said = world.does(&pay);
        assert!(said.contains("nothing was paid twice"), "lie {place}: {said}");
        assert_eq!(world.api.accepted(), before + 1, "lie {place}");
        assert_eq!(world.entries("promises").len(), 1, "lie {place}");
    }
}

#[test]
fn the_whole_answer_of_an_earlier_payment_is_no_promise_for_this_one() {
    let world = World::new();
    let to = world.to_bob();
    let pay = ["send", &to, "1000gwei", "--no-wait"];
    world.does(&pay);
    let earlier = world.api.ledger.lock().unwrap().accepted.values().next().unwrap().1.clone();
    world.api.lies("send", move |payload| payload["operation"] = earlier.clone());
    world.refuses(&pay, "PM-PROMISE-001");
}

/// Lies in a draft, with a word of the refusal. What follows from a lie is made to fit by the messages' own check.
const DRAFTS: [Lie; 13] = [
    ("PM-WALLET-001", |d, _| d["domain"] = json!(fr_to_hex(&Fr::from(7)))),
    ("PM-WALLET-001", |d, _| d["kind"] = json!("WITHDRAW")),
    ("PM-WALLET-001", |d, w| d["sender"] = json!(hex(&w.bob.address()))),
    ("PM-WALLET-001", |d, w| d["recipient"] = json!(hex(&w.alice.address()))),
    ("PM-WALLET-001", |d, _| d["recipientAccount"] = json!(fr_to_hex(&Fr::from(7)))),
    ("PM-WALLET-001", |d, _| d["recipientEntry"] = Value::Null),
    ("PM-WALLET-001", |d, w| {
        let (_, other) = mallory(w.mill.contract);
        d["recipientEntry"]["owner"] = json!(hex(&other.address()));
    }),
    ("PM-WALLET-001", |d, _| d["recipientEntry"]["keyEpoch"] = json!(1)),
    ("PM-WALLET-001", |d, _| d["validUntil"] = json!(100_000)),
    ("PM-CLIENT-003", |d, _| d["leaves"][0]["split"] = json!("2000")),
    ("PM-CLIENT-003", |d, _| d["leaves"][0]["index"] = json!("77")),
    ("PM-CLIENT-003", |d, _| d["leaves"][0]["message"] = json!(fr_to_hex(&Fr::from(7)))),
    ("PM-WALLET-001", |d, w| {
        let (_, other) = mallory(w.mill.contract);
        d["leaves"][0]["key"]["x"] = json!(fr_to_hex(&other.key.x));
    }),
];

#[test]
fn a_draft_that_is_not_what_was_asked_for_gets_no_signature() {
    let world: &'static World = Box::leak(Box::new(World::new()));
    let to = world.to_bob();
    for (place, (code, lie)) in DRAFTS.into_iter().enumerate() {
        world.api.lies("prepareSend", move |payload| lie(&mut payload["draft"], world));
        let (well, said) = world.run(&["send", &to, "1000gwei", "--no-wait"]);
        assert!(!well && said.contains(code), "lie {place}: {said}");
        assert_eq!(world.api.submissions(), 0, "lie {place}: nothing was sent");
        assert!(world.entries("requests").is_empty(), "lie {place}: nothing was signed");
    }
}

#[test]
fn a_coordinator_of_another_contract_or_chain_is_asked_for_nothing() {
    let world = World::new();
    let to = world.to_bob();
    for (code, field, value) in
        [("PM-WALLET-010", "contract", hex(&[7; 20])), ("PM-WALLET-009", "chainId", "1".to_owned())]
    {
        world.api.lies("system", move |system| system[field] = json!(value));
        for command in [&["send", &to, "1000gwei"][..], &["withdraw", "100000gwei"], &["register"]] {
            world.refuses(command, code);
        }
    }
    assert_eq!(world.api.submissions(), 0);
}
