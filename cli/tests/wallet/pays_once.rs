//! A lost answer, a killed wallet, a busy coordinator, five commands at once: one payment for each order.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::json;

use crate::{
    api::Ledger,
    believes::{knows_at, proof_of},
    http::Reply,
    world::{World, said, until},
};

fn promised(world: &World) -> usize {
    world.entries("promises").len()
}

#[test]
fn an_order_whose_answer_was_lost_is_sent_again_as_it_was() {
    let world = World::new();
    let to = world.to_bob();
    for (place, pay) in [
        &["send", &to, "1000gwei", "--no-wait"][..],
        &["send", &to, "1000gwei", "--no-wait", "--idempotency-key", "rent-may"],
        &["withdraw", "100000gwei", "--no-wait"],
    ]
    .into_iter()
    .enumerate()
    {
        world.fresh_folder();
        let (before, sent) = (world.api.accepted(), world.api.submissions());
        *world.api.after_submit.lock().unwrap() = Some(Box::new(|_| Some(Reply::Nothing)));
        let said = world.refuses(pay, "PM-WALLET-003");
        assert!(said.contains("unknown") && !said.contains("fresh key"), "{said}");
        world.api.is_honest_again();
        let said = world.does(pay);
        assert!(said.contains("nothing was paid twice"), "{said}");
        assert_eq!(world.api.accepted(), before + 1, "case {place}");
        let bodies = world.api.ledger.lock().unwrap().submitted[sent..].to_vec();
        assert!(bodies.iter().all(|body| *body == bodies[0]), "byte for byte");
    }
    // Answers that are no answers say nothing either.
    for odd in ["<html>502</html>", "{\"data\":{\"send\":null}}", "{}"] {
        world.fresh_folder();
        let before = world.api.accepted();
        *world.api.after_submit.lock().unwrap() = Some(Box::new(|_| Some(Reply::Text(odd.to_owned()))));
        world.refuses(&["send", &to, "2000gwei", "--no-wait"], "PM-WALLET-003");
        world.api.is_honest_again();
        world.does(&["resume"]);
        assert_eq!((world.api.accepted(), promised(&world)), (before + 1, 1), "{odd}");
    }
}

#[test]
fn a_wallet_killed_before_or_after_the_coordinator_heard_of_it_pays_once() {
    let world = World::new();
    let to = world.to_bob();
    let pay = ["send", &to, "1000gwei", "--no-wait"];
    for heard in [false, true] {
        world.fresh_folder();
        let (before, reached) = (world.api.accepted(), Arc::new(AtomicUsize::new(0)));
        let counter = Arc::clone(&reached);
        let silence: Box<dyn FnMut(&mut crate::api::Ledger) -> Option<Reply> + Send> = Box::new(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            Some(Reply::Silence)
        });
        let hook = if heard { &world.api.after_submit } else { &world.api.before_submit };
        *hook.lock().unwrap() = Some(silence);
        let mut child = world.start(&pay);
        until("it sends", || reached.load(Ordering::SeqCst) > 0);
        child.kill().unwrap();
        child.wait().unwrap();
        world.api.is_honest_again();
        world.does(&pay);
        assert_eq!((world.api.accepted(), promised(&world)), (before + 1, 1), "heard of: {heard}");
        // It was told: the next one is another payment.
        world.does(&pay);
        assert_eq!(world.api.accepted(), before + 2, "heard of: {heard}");
    }
}

#[test]
fn an_idempotency_key_means_one_operation_for_good() {
    let world = World::new();
    let to = world.to_bob();
    let keyed = |amount: &'static str| ["send", &to, amount, "--no-wait", "--idempotency-key", "rent"];
    let first = world.does(&keyed("1000gwei"));
    let again = world.does(&keyed("1000gwei"));
    let id = |said: &str| said.split("operation ").nth(1).unwrap()[..66].to_owned();
    assert_eq!(id(&first), id(&again));
    assert_eq!(world.api.accepted(), 1);
    let said = world.refuses(&keyed("2000gwei"), "PM-WALLET-006");
    assert!(said.contains(&id(&first)), "{said}");
    assert_eq!(world.api.accepted(), 1);
    // Used elsewhere, with a body that this folder does not have.
    world.fresh_folder();
    let said = world.refuses(&keyed("1000gwei"), "PM-WALLET-003");
    assert!(said.contains("IDEMPOTENCY_CONFLICT") && !said.contains("fresh key"), "{said}");
    assert_eq!(world.api.accepted(), 1);
}

#[test]
fn five_payments_at_once_are_five_payments() {
    let world = World::new();
    let to = world.to_bob();
    let children: Vec<_> =
        (0..5).map(|_| world.start(&["send", &to, "1000gwei", "--no-wait", "--patience", "30"])).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
    }
    assert_eq!((world.api.accepted(), promised(&world)), (5, 5));
}

#[test]
fn a_busy_or_limiting_coordinator_is_waited_for() {
    let world = World::new();
    let to = world.to_bob();
    let mut answers = vec![
        Reply::Status(
            429,
            "Retry-After: 1\r\n",
            json!({ "errors": [{ "message": "slower", "extensions": { "code": "RATE_LIMITED" } }] }),
        ),
        Reply::Json(json!({ "data": { "send": { "operation": null, "userErrors": [
            { "code": "BUSY", "message": "later", "path": [], "retryable": true }] } } })),
    ];
    *world.api.before_submit.lock().unwrap() = Some(Box::new(move |_| answers.pop()));
    world.does(&["send", &to, "1000gwei", "--no-wait", "--patience", "30"]);
    assert_eq!((world.api.accepted(), world.api.submissions()), (1, 1));
}

fn refusal(code: &str) -> Reply {
    Reply::Json(json!({ "data": { "send": { "operation": null, "userErrors": [
        { "code": code, "message": "prepare and sign again", "path": [], "retryable": false }] } } }))
}

/// The operation that a refusal is about.
fn operation(said: &str) -> String {
    said.split("refused 0x").nth(1).map(|rest| format!("0x{}", &rest[..64])).unwrap()
}

/// Lets the contract accept batches until this one, whose root a leaf of Alice proves.
fn shows(world: &World, batch: u32, index: u64, coins: (u64, u64)) {
    let (proof, root) = proof_of(index, &world.alice.address(), &world.alice.key_hash(), coins, batch);
    while world.mill.accept(root, 0, Vec::new()) < batch {}
    knows_at(&world.api, index, batch, root, proof);
}

#[test]
fn a_refusal_that_is_a_lie_gets_no_second_signature_that_could_be_executed_too() {
    type Lie = fn(&mut Ledger);
    let lies: [(&str, Lie); 3] = [
        ("it offers the other leaf, and shows the first as whole", |ledger| ledger.leaves.reverse()),
        ("it shows the leaf no more", |ledger| {
            ledger.leaves.remove(0);
        }),
        ("it executed it, and knows nothing of it", |ledger| {
            ledger.accepted.clear();
            ledger.leaves[0].1 += 1000;
        }),
    ];
    for (what, lie) in lies {
        let world = World::new();
        let to = world.to_bob();
        let pay = ["send", &to, "1000gwei", "--no-wait"];
        *world.api.before_submit.lock().unwrap() = Some(Box::new(move |ledger| {
            lie(ledger);
            Some(refusal("LEAF_ALREADY_SPENT"))
        }));
        let said = world.refuses(&pay, "PM-WALLET-020");
        assert_eq!(world.entries("requests").len(), 1, "{what}: one body was signed");
        world.refuses(&pay, "PM-WALLET-020");
        assert_eq!(world.entries("requests").len(), 1, "{what}: again");
        // Without a draft nothing is said that would be true only if the first one were dead.
        let leaves = std::mem::take(&mut world.api.ledger.lock().unwrap().leaves);
        let without = world.refuses(&pay, "PM-WALLET-024");
        assert!(
            without.contains("INSUFFICIENT_BALANCE") && !without.contains("nothing was paid"),
            "{without}"
        );
        world.api.ledger.lock().unwrap().leaves = leaves;
        // Only the user can know better.
        let operation = operation(&said);
        let said = world.does(&["status"]);
        assert!(said.contains("was refused") && said.contains(&operation), "{said}");
        world.refuses(&["forget", &operation], "PM-WALLET-028");
        world.does(&["forget", &operation, "--anyway"]);
        world.api.is_honest_again();
        world.does(&pay);
        assert_eq!(world.entries("requests").len(), 1, "{what}");
    }
}

#[test]
fn time_alone_does_not_show_that_a_refused_request_was_not_executed() {
    let world = World::new();
    let to = world.to_bob();
    let pay = ["send", &to, "1000gwei", "--no-wait"];
    *world.api.before_submit.lock().unwrap() = Some(Box::new(|ledger| {
        ledger.leaves.swap(0, 1);
        Some(refusal("LEAF_ALREADY_SPENT"))
    }));
    world.refuses(&pay, "PM-WALLET-020");
    world.api.is_honest_again();
    // It is good until batch 200. At 199 its leaf shows nothing, at 200 it does; without its leaf nothing ever does.
    shows(&world, 199, 1, (1, 1_000_000));
    world.refuses(&pay, "PM-WALLET-020");
    let leaf = world.api.ledger.lock().unwrap().proofs.remove(&1).unwrap();
    world.mill.accept(bn254::fr_from_hex(leaf["root"].as_str().unwrap()).unwrap(), 0, Vec::new());
    world.refuses(&pay, "PM-WALLET-020");
    assert_eq!(world.entries("requests").len(), 1);
    shows(&world, 201, 1, (1, 1_000_000));
    let mut ledger = world.api.ledger.lock().unwrap();
    (ledger.batch, ledger.next) = (202, 1000);
    drop(ledger);
    world.does(&pay);
    assert_eq!((world.api.accepted(), world.entries("requests").len()), (1, 1));
}

#[test]
fn another_wallet_of_the_same_key_that_was_faster_is_recognised_by_the_coins_it_left() {
    let world = World::new();
    let to = world.to_bob();
    let pay = ["send", &to, "1000gwei", "--no-wait"];
    *world.api.before_submit.lock().unwrap() = Some(Box::new(|ledger| {
        ledger.leaves[0].1 += 5;
        None
    }));
    world.refuses(&pay, "PM-WALLET-020");
    world.api.is_honest_again();
    // Coins 6 to 1000 are still at their place: whoever took the first five, this request was not executed and cannot be.
    shows(&world, 1, 1, (6, 1_000_000));
    world.api.ledger.lock().unwrap().batch = 2;
    world.does(&pay);
    assert_eq!((world.api.accepted(), world.entries("requests").len()), (1, 1));
}

#[test]
fn a_refusal_for_another_reason_names_the_operation_and_the_same_command_pays_once() {
    let world = World::new();
    let to = world.to_bob();
    let pay = ["send", &to, "1000gwei", "--no-wait"];
    *world.api.before_submit.lock().unwrap() = Some(Box::new(|_| Some(refusal("QUOTA_EXCEEDED"))));
    let said = world.refuses(&pay, "PM-WALLET-024");
    assert!(said.contains("good until batch") && said.contains("QUOTA_EXCEEDED"), "{said}");
    world.api.is_honest_again();
    // The same leaves, the same coins: of both only one can be executed.
    world.does(&pay);
    assert_eq!((world.api.accepted(), world.entries("requests").len()), (1, 1));
}

#[test]
fn a_refusal_takes_nothing_back_that_was_accepted() {
    let world = World::new();
    let to = world.to_bob();
    let pay = ["send", &to, "1000gwei", "--no-wait"];
    *world.api.after_submit.lock().unwrap() = Some(Box::new(|_| Some(Reply::Nothing)));
    world.refuses(&pay, "PM-WALLET-003");
    world.api.is_honest_again();
    // It lists the operation, and refuses it when it is sent again.
    *world.api.before_submit.lock().unwrap() = Some(Box::new(|_| Some(refusal("LEAF_ALREADY_SPENT"))));
    for command in [&pay[..], &["resume"]] {
        let said = world.refuses(command, "PM-WALLET-004");
        assert!(said.contains("do not repeat it"), "{said}");
    }
    assert_eq!((world.api.accepted(), world.entries("requests").len()), (1, 1));
}

#[test]
fn one_request_whose_fate_stays_unknown_holds_up_no_other() {
    let world = World::new();
    let to = world.to_bob();
    *world.api.after_submit.lock().unwrap() = Some(Box::new(|_| Some(Reply::Nothing)));
    world.refuses(&["send", &to, "1000gwei", "--no-wait"], "PM-WALLET-003");
    world.refuses(&["withdraw", "100000gwei", "--no-wait"], "PM-WALLET-003");
    // A key now does not mean the open one without a key.
    let said =
        world.refuses(&["send", &to, "1000gwei", "--no-wait", "--idempotency-key", "rent"], "PM-WALLET-027");
    assert!(said.contains("wallet resume"), "{said}");
    // The payment stays without an answer, the withdrawal gets one.
    *world.api.after_submit.lock().unwrap() = Some(Box::new(|ledger| {
        let payment = ledger.submitted.last().is_some_and(|body| body.contains("recipientAccount\":\"0x"));
        payment.then_some(Reply::Nothing)
    }));
    let said = world.does(&["resume", "--patience", "1"]);
    assert!(said.contains("withdrawal of 0.0001 ETH: accepted") && said.contains("PM-WALLET-003"), "{said}");
    world.api.is_honest_again();
    let said = world.does(&["resume"]);
    assert!(said.contains("0.000001 ETH to") && said.contains("accepted"), "{said}");
    assert_eq!(world.api.accepted(), 2);
}

#[test]
fn a_folder_is_of_one_wallet() {
    let world = World::new();
    world.does(&["send", &world.to_bob(), "1000gwei", "--no-wait"]);
    // Another wallet file that would have the same folder.
    let other = |arguments: &[&str]| {
        let mut command = world.command(arguments);
        command.args(["--wallet", "proofmill-wallet.toml"]);
        command
    };
    let output = other(&["new"]).output().unwrap();
    assert!(!output.status.success() && said(&output).contains("PM-WALLET-026"), "{}", said(&output));
    let file = world.folder.path().join("proofmill-wallet.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let key = |account: usize| devchain::DEV_ACCOUNTS[account].private_key.trim_start_matches("0x");
    let foreign = text.replace(key(1), key(3));
    assert_ne!(foreign, text);
    std::fs::write(world.folder.path().join("proofmill-wallet.toml"), foreign).unwrap();
    let output = other(&["balance"]).output().unwrap();
    assert!(!output.status.success() && said(&output).contains("PM-WALLET-025"), "{}", said(&output));
    world.does(&["balance"]);
}

#[test]
fn what_arrives_is_shown_and_a_withdrawal_that_burns_itself_is_refused() {
    let world = World::new();
    let said = world.refuses(&["withdraw", "1gwei", "--no-wait"], "PM-WALLET-015");
    assert!(said.contains("--yes-burn"), "{said}");
    assert!(world.entries("requests").is_empty());
    let said = world.does(&["withdraw", "0.001", "--no-wait"]);
    assert!(said.contains("the fee is 0.00001 ETH") && said.contains("0.00099 ETH arrive"), "{said}");
    world.does(&["withdraw", "1gwei", "--no-wait", "--yes-burn"]);
    world.refuses(&["withdraw", "1wei"], "PM-WALLET-014");
    let said = world.refuses(&["send", &world.to_bob(), "99999999999"], "PM-WALLET-014");
    assert!(!said.contains("integral"), "{said}");
}
