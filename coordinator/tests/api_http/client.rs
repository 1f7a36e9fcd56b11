//! The typed client: each of its documents against the running API.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
};

use api::{ApiConfig, RateLimit};
use circuits::eddsa;
use client::api::{Client, ClientError, OperationKind, PrepareSend, PrepareWithdraw, RegisterKey, Stage};
use serde_json::{Value, json};

use crate::{
    double::{ALICE, BOB, NEWEST_BATCH, OPERATIONS, QUANTUM, alice_key, bob_entry, domain, operation_id},
    harness::Api,
};

fn payment(coins: u64) -> PrepareSend {
    PrepareSend {
        sender: ALICE,
        recipient: BOB,
        amount: u128::from(coins) * u128::from(QUANTUM),
        allow_vault: false,
        valid_until: None,
    }
}

#[tokio::test]
async fn a_payment_is_prepared_checked_signed_and_sent() {
    let api = Api::start().await;
    let client = Client::new(&api.server.url);
    let draft = client.prepare_send(&payment(12)).await.unwrap();
    assert_eq!((draft.domain, draft.amount, draft.valid_until), (domain(), 12_000_000_000, 50));
    let entry = draft.recipient_entry.clone().unwrap();
    assert_eq!((entry.owner, entry.key, entry.signature), (BOB, bob_entry().key, bob_entry().signature));
    let signatures: Vec<_> =
        draft.messages().unwrap().iter().map(|message| alice_key().sign(&message.hash())).collect();
    let operation = client.send(&draft.signed("key-1", &signatures)).await.unwrap();
    assert_eq!((operation.id, operation.kind), (operation_id(1), OperationKind::Send));
    assert_eq!((operation.promises[0].deadline, operation.promises[0].index), (u64::MAX, 64));
    let submitted = api.double.submitted.lock().unwrap().pop().unwrap();
    assert_eq!((submitted.idempotency_key.as_str(), submitted.recipient), ("key-1", Some(BOB)));
    assert_eq!(submitted.spends[0].signature, signatures[0]);
}

#[tokio::test]
async fn a_draft_that_was_tampered_with_is_not_signed() {
    let api = Api::start().await;
    let good = Client::new(&api.server.url).prepare_send(&payment(12)).await.unwrap();
    let mut other_split = good.clone();
    other_split.spends[0].split += 1;
    let mut other_recipient = good.clone();
    other_recipient.recipient_account = domain();
    let mut other_owner = good.clone();
    other_owner.sender = BOB;
    let mut outside = good.clone();
    outside.spends[0].split = outside.spends[0].high + 1;
    let mut no_range = good.clone();
    no_range.spends[0].low = 0;
    for draft in [other_split, other_recipient, other_owner, outside, no_range] {
        assert!(draft.messages().unwrap_err().to_string().starts_with("PM-CLIENT-003"));
    }
    assert!(good.messages().is_ok());
}

#[tokio::test]
async fn every_question_has_a_typed_answer() {
    let api = Api::start().await;
    let client = Client::new(format!("{}/graphql", api.server.url));
    let system = client.system().await.unwrap();
    assert_eq!((system.chain_id, system.limits.quantum, system.circuits[0].slots), (31337, 1_000_000_000, 3));
    let account = client.account(ALICE).await.unwrap();
    assert_eq!(account.balances.accepted, (1 << 62) * 1_000_000_000);
    assert_eq!(account.coins.iter().map(|coin| coin.index).collect::<Vec<_>>(), [0, 5, 9]);
    assert_eq!(client.history(ALICE).await.unwrap().len(), usize::from(OPERATIONS));
    assert_eq!(client.directory_entry(BOB).await.unwrap().unwrap().key_epoch, 3);
    assert_eq!(client.directory_entry(ALICE).await.unwrap(), None);
    assert_eq!(client.operation(&operation_id(2)).await.unwrap().unwrap().stage, Stage::Accepted);
    assert_eq!(client.operation(&operation_id(250)).await.unwrap(), None);
    let batch = client.batch(NEWEST_BATCH).await.unwrap().unwrap();
    assert_eq!((batch.circuit.as_deref(), batch.l1_block), (Some("s3m1"), Some(1 << 32)));
    assert_eq!(batch.proof.unwrap().len(), 256);
    assert_eq!(client.batch(NEWEST_BATCH + 1).await.unwrap(), None);
    let proof = client.ownership_proof(5, None).await.unwrap();
    assert_eq!((proof.owner, proof.siblings.len(), proof.low), (ALICE, 18, 201));
}

#[tokio::test]
async fn withdrawing_and_registering_work_alike() {
    let api = Api::start().await;
    let client = Client::new(&api.server.url);
    let request = PrepareWithdraw { sender: ALICE, amount: u128::from(QUANTUM), valid_until: Some(50) };
    let draft = client.prepare_withdraw(&request).await.unwrap();
    let signature = alice_key().sign(&draft.messages().unwrap()[0].hash());
    client.withdraw(&draft.signed("key-2", &[signature])).await.unwrap();
    let entry = bob_entry();
    let request = RegisterKey {
        idempotency_key: "key-3".to_owned(),
        owner: entry.owner,
        key: entry.key,
        key_epoch: entry.key_epoch,
        signature: entry.signature.clone(),
    };
    assert_eq!(client.register_key(&request).await.unwrap().key, entry.key);
    assert_eq!(*api.double.registered.lock().unwrap(), [entry]);
}

#[tokio::test]
async fn errors_carry_their_code() {
    let limit = RateLimit { per_second: 1, burst: 4 };
    let api = Api::with(ApiConfig { rate_limit: Some(limit), ..ApiConfig::default() }).await;
    let client = Client::new(&api.server.url);
    let refused = client.prepare_send(&payment(101)).await.unwrap_err();
    assert!(matches!(refused, ClientError::Refused(_)));
    assert_eq!((refused.code(), refused.is_retryable()), ("INSUFFICIENT_BALANCE", false));
    assert_eq!(client.operation("nonsense").await.unwrap_err().code(), "BAD_USER_INPUT");
    let draft = client.prepare_send(&payment(12)).await.unwrap();
    let wrong = alice_key().sign(&domain());
    let wrong = draft.signed("key", &[eddsa::Signature { s: wrong.s, r8: wrong.r8 }]);
    assert_eq!(client.send(&wrong).await.unwrap_err().code(), "INVALID_SIGNATURE");
    assert!(api.is_unchanged());
    let mut limited = None;
    for _ in 0..10 {
        limited = client.system().await.err().or(limited);
    }
    let limited = limited.expect("a call beyond the burst");
    assert_eq!((limited.code(), limited.is_retryable()), ("RATE_LIMITED", true));
    let gone = Client::new("http://127.0.0.1:1").system().await.unwrap_err();
    assert_eq!((gone.code(), gone.is_retryable()), ("PM-CLIENT-001", true));
}

/// Reads a request to its end; whether there was one.
fn take_request(connection: &mut TcpStream) -> bool {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    while !request.ends_with(b"\"variables\":null}") {
        match connection.read(&mut chunk) {
            Ok(read @ 1..) => request.extend_from_slice(&chunk[..read]),
            _ => return false,
        }
    }
    true
}

/// A server whose connections end as the second request arrives, however often: what a server that closes idle
/// connections does to a request that it meets. `answered` requests of each connection get an answer.
fn closing_server(answered: usize) -> (String, tokio::task::JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::task::spawn_blocking(move || {
        for connections in 1.. {
            let mut connection = listener.accept().unwrap().0;
            for _ in 0..answered {
                if !take_request(&mut connection) {
                    return connections;
                }
                let body = format!(r#"{{"data":{{"connections":{connections}}}}}"#);
                write!(connection, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
                    .unwrap();
            }
            if !take_request(&mut connection) {
                return connections;
            }
        }
        unreachable!("connections do not end")
    });
    (url, serving)
}

#[tokio::test]
async fn a_request_that_meets_the_end_of_its_connection_is_sent_once_more() {
    let (url, serving) = closing_server(1);
    let client = Client::new(&url);
    for connections in 1..=3 {
        let data: Value = client.request("{ system { chainId } }", Value::Null).await.unwrap();
        assert_eq!(data, json!({ "connections": connections }));
    }
    drop(client);
    assert_eq!(serving.await.unwrap(), 3);
    // Never answered: given up after the second time.
    let (url, serving) = closing_server(0);
    let client = Client::new(&url);
    let lost = client.request::<Value>("{ system { chainId } }", Value::Null).await.unwrap_err();
    assert_eq!(lost.code(), "PM-CLIENT-001");
    TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    assert_eq!(serving.await.unwrap(), 3);
}
