//! A lost answer, a killed wallet, a busy coordinator, five commands at once: one payment for each order.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::json;

use crate::{
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
    // Another wallet of the same key is faster once: the leaf that was signed for is gone.
    let mut raced = false;
    *world.api.before_submit.lock().unwrap() = Some(Box::new(move |ledger| {
        if !std::mem::replace(&mut raced, true) {
            ledger.leaves[0].1 += 5;
        }
        None
    }));
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

#[test]
fn a_refusal_that_is_a_lie_gets_no_second_signature_that_could_be_executed_too() {
    let world = World::new();
    let to = world.to_bob();
    let refusal = json!({ "data": { "send": { "operation": null, "userErrors": [
        { "code": "LEAF_ALREADY_SPENT", "message": "prepare and sign again", "path": [], "retryable": false }] } } });
    // It offers the other leaf next, and shows the first as whole.
    *world.api.before_submit.lock().unwrap() = Some(Box::new(move |ledger| {
        ledger.leaves.reverse();
        Some(Reply::Json(refusal.clone()))
    }));
    world.refuses(&["send", &to, "1000gwei", "--no-wait"], "PM-WALLET-020");
    assert_eq!(world.entries("requests").len(), 1, "one body was signed");
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
