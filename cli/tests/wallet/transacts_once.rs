//! L1 transactions under a node that loses answers and a wallet that is killed: one for each order.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bn254::Fr;
use circuits::leaf::{CoinRange, address_word};
use serde_json::json;

use crate::{
    http::Reply,
    world::{Call, World, until},
};

const SEND: &str = "eth_sendRawTransaction";
const RECEIPT: &str = "eth_getTransactionReceipt";
const DEPOSIT: [&str; 3] = ["deposit", "0.01", "--no-wait"];

fn indexing() -> Reply {
    Reply::Json(json!({ "error": { "code": -32000, "message": "transaction indexing is in progress" } }))
}

#[test]
fn a_deposit_whose_receipt_nobody_can_give_is_found_again_and_not_made_twice() {
    let world = World::new();
    for case in 0..3 {
        let before = world.mill.deposits();
        world.node(move |method, _| match (case, method) {
            (0, RECEIPT) => Call::Instead(indexing()),
            // The node takes it, and its answer is lost or senseless.
            (1, SEND) => Call::After(|_| Reply::Nothing),
            (2, SEND) => Call::After(|_| Reply::Text("<html>".into())),
            (1 | 2, RECEIPT) => Call::Instead(Reply::Status(500, "", json!({}))),
            _ => Call::Pass,
        });
        let said = world.refuses(&DEPOSIT, "PM-WALLET-007");
        assert!(said.contains("nonce") && said.contains("makes no second one"), "{said}");
        assert_eq!(world.entries("transactions").len(), 1, "case {case}");
        let said = world.does(&["status"]);
        assert!(said.contains("deposit of 0.01 ETH: transaction 0x"), "{said}");
        world.honest_node();
        let said = world.does(&DEPOSIT);
        assert!(said.contains("none was made now"), "case {case}: {said}");
        assert_eq!(world.mill.deposits(), before + 1, "case {case}");
        assert!(world.entries("transactions").is_empty());
        world.does(&DEPOSIT);
        assert_eq!(world.mill.deposits(), before + 2, "the next one is another deposit");
    }
}

#[test]
fn a_wallet_killed_at_each_point_of_a_transaction_makes_one() {
    let world = World::new();
    let owner = world.alice.address();
    // A deposit that is minted, so that the contract has coins to let out for `collect`.
    world.does(&DEPOSIT);
    world.mill.accept(Fr::from(5), 1, Vec::new());
    let mut low = 1;
    // Before the node hears of it, after it did, and while the receipt is asked for.
    for (point, method) in [("before", SEND), ("after", SEND), ("receipt", RECEIPT)] {
        let range = CoinRange::new(low, low + 999_999).unwrap();
        low += 1_000_000;
        world.mill.accept(Fr::from(low), 0, vec![[Fr::from(2), address_word(&owner), range.packed()]]);
        for command in [
            &DEPOSIT[..],
            &["collect"],
            &["force-exit", "1", "--anyway"],
            &["force-rekey", "1", "--anyway"],
            &["bump-key-epoch", "--yes"],
        ] {
            let count = || world.mill.transactions(owner);
            let (before, reached) = (count(), Arc::new(AtomicUsize::new(0)));
            let counter = Arc::clone(&reached);
            world.node(move |called, _| {
                if called != method {
                    return Call::Pass;
                }
                counter.fetch_add(1, Ordering::SeqCst);
                match point {
                    "after" => Call::After(|_| Reply::Silence),
                    _ => Call::Instead(Reply::Silence),
                }
            });
            let mut child = world.start(command);
            until("it is sent", || reached.load(Ordering::SeqCst) > 0);
            if point == "after" {
                until("it is mined", || count() > before);
            }
            child.kill().unwrap();
            child.wait().unwrap();
            world.honest_node();
            world.does(command);
            assert_eq!(count(), before + 1, "{command:?}, killed {point}");
            assert!(world.entries("transactions").is_empty());
        }
    }
}

#[test]
fn what_is_signed_after_a_refusal_has_the_same_nonce_and_one_in_doubt_is_dropped_only_when_told_so() {
    let world = World::new();
    world.node(|method, _| match method {
        SEND => Call::Instead(Reply::Json(
            json!({ "error": { "code": -32000, "message": "insufficient funds for gas * price + value" } }),
        )),
        _ => Call::Pass,
    });
    for _ in 0..2 {
        world.refuses(&DEPOSIT, "PM-EVM-013");
        assert_eq!(world.entries("transactions").len(), 1, "the same bytes: the fees are the same");
    }
    world.honest_node();
    world.does(&["deposit", "0.02", "--no-wait"]);
    assert_eq!((world.mill.deposits(), world.entries("transactions").len()), (1, 0));
    world.node(|method, _| match method {
        SEND => Call::Instead(Reply::Nothing),
        _ => Call::Pass,
    });
    let said = world.refuses(&DEPOSIT, "PM-WALLET-007");
    let hash = said.split("transaction 0x").nth(1).unwrap()[..64].to_owned();
    world.refuses(&["forget", &"1".repeat(64)], "PM-WALLET-021");
    world.does(&["forget", &hash]);
    world.honest_node();
    world.does(&DEPOSIT);
    assert_eq!(world.mill.deposits(), 2);
}

#[test]
fn a_node_that_refuses_a_transaction_and_sends_it_on_makes_no_second_one() {
    let world = World::new();
    for words in
        ["insufficient funds for gas * price + value", "nonce too low", "replacement transaction underpriced"]
    {
        let before = world.mill.deposits();
        world.node(move |method, _| match method {
            SEND => Call::After(match words {
                "nonce too low" => {
                    |_| Reply::Json(json!({ "error": { "code": -32000, "message": "nonce too low" } }))
                }
                "replacement transaction underpriced" => |_| {
                    let message = "replacement transaction underpriced";
                    Reply::Json(json!({ "error": { "code": -32000, "message": message } }))
                },
                _ => |_| {
                    let message = "insufficient funds for gas * price + value";
                    Reply::Json(json!({ "error": { "code": -32000, "message": message } }))
                },
            }),
            _ => Call::Pass,
        });
        world.refuses(&DEPOSIT, "PM-EVM-013");
        world.honest_node();
        let said = world.does(&DEPOSIT);
        assert!(said.contains("none was made now"), "{words}: {said}");
        assert_eq!(world.mill.deposits(), before + 1, "{words}");
    }
}

#[test]
fn another_command_finishes_what_was_begun_before_it_does_its_own() {
    let world = World::new();
    world.node(|method, _| match method {
        RECEIPT => Call::Instead(indexing()),
        _ => Call::Pass,
    });
    world.refuses(&DEPOSIT, "PM-WALLET-007");
    world.honest_node();
    let said = world.does(&["deposit", "0.02", "--no-wait"]);
    assert!(said.contains("an earlier command sent"), "{said}");
    assert_eq!(world.mill.deposits(), 2);
}
