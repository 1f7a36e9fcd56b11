//! Ledger, batcher and tree together, against a plain reference and against every refusal.

use std::collections::BTreeMap;

use bn254::Fr;
use circuits::{leaf::CoinRange, message::SignedKind, shape::Shape, slot::ForcedKind};
use proptest::prelude::*;
use protocol::{Balances, PrepareSend, PrepareWithdraw, SubmitRequest, l1::ForcedRequest};

use super::*;
use crate::{
    ledger::directory::vault,
    rejection::Rejection,
    testkit::{Bench, Holder, exit_of, funded, rules},
};

#[test]
fn a_log_that_opens_a_batch_of_no_circuit_is_refused() {
    for places in [0, 3, u32::MAX] {
        let event = Event::Opened { batch_no: 1, places };
        let applied = State::new(rules(&[Shape::S3M1])).apply(&Stamped { at: 0, event });
        assert!(matches!(applied, Err(StateError::Log(_))), "{places} places: {applied:?}");
    }
}

fn accepted(bench: &Bench, holder: &Holder) -> u64 {
    bench.state.ledger.balances(&holder.owner).accepted
}

#[test]
fn a_send_moves_coins_and_is_promised_at_its_place() {
    let (mut bench, alice, bob) = funded(&[Shape::S3M1]);
    let id = bench.send(&alice, &bob, 300).unwrap();
    assert_eq!((accepted(&bench, &alice), accepted(&bench, &bob)), (700, 300));
    let view = bench.state.operation(&id).unwrap();
    let [promise] = &view.promised[..] else { panic!("one promise a slot") };
    assert_eq!((promise.kind, view.batch_no, promise.index), (1, 2, 4));
    assert_eq!((promise.account, promise.range.amount()), (bob.account, 300));
    // The very leaf stands there in midRoot, whatever circuit seals.
    assert_eq!(bench.state.ledger.leaf(4).unwrap().held().account, bob.account);
}

#[test]
fn a_chain_of_payments_moves_through_one_batch() {
    let (mut bench, alice, bob) = funded(&[Shape::S14M2]);
    let carol = Holder::new(3);
    bench.register(&carol);
    for (from, to) in [(&alice, &bob), (&bob, &carol), (&carol, &alice)] {
        bench.send(from, to, 500).unwrap();
    }
    assert_eq!(bench.state.batcher.open_batch().slots.len(), 3);
    assert_eq!((accepted(&bench, &alice), accepted(&bench, &bob), accepted(&bench, &carol)), (1_000, 0, 0));
    bench.wait();
    assert_eq!(bench.state.tree.state_batch(), 2);
}

#[test]
fn all_leaves_of_an_operation_lie_in_one_batch() {
    let (mut bench, alice, bob) = funded(&[Shape::S3M1]);
    for _ in 0..2 {
        bench.deposit(&alice, 1_000);
        bench.wait();
    }
    bench.send(&alice, &bob, 900).unwrap();
    // Two slots are left, this needs three.
    let id = bench.send(&alice, &bob, 2_050).unwrap();
    let view = bench.state.operation(&id).unwrap();
    assert_eq!(
        (view.batch_no, view.promised.iter().map(|promise| promise.index).collect::<Vec<_>>()),
        (5, vec![16, 17, 18])
    );
    assert_eq!(accepted(&bench, &bob), 2_950);
    bench.wait();
}

#[test]
fn a_batch_is_sealed_with_the_smallest_circuit_that_holds_it_at_the_same_start() {
    let (mut bench, alice, bob) = funded(&[Shape::S3M1, Shape::S14M2, Shape::S60M4]);
    // A class for many leaves is opened on the way; a single send in it is sealed small.
    for _ in 0..5 {
        bench.deposit(&alice, 100);
        bench.wait();
    }
    let merge = bench.send(&alice, &alice, 1_450).unwrap();
    assert!(bench.state.operation(&merge).unwrap().promised.len() > 3);
    let open = bench.state.batcher.open_batch().clone();
    assert_eq!(open.start % open.places as u64, 0);
    bench.wait();
    let sealed = bench.state.batch(open.batch_no).unwrap();
    assert_eq!((sealed.shape, sealed.start), (Shape::S14M2, open.start));
    bench.send(&alice, &bob, 20).unwrap();
    let open = bench.state.batcher.open_batch().clone();
    bench.wait();
    let sealed = bench.state.batch(open.batch_no).unwrap();
    assert_eq!((sealed.shape, sealed.start), (Shape::S3M1, open.start));
}

#[test]
fn forced_requests_go_behind_what_was_accepted_and_see_each_other() {
    let (mut bench, alice, bob) = funded(&[Shape::S14M2]);
    let index = bench.state.ledger.leaves_of(&alice.owner).next().unwrap().0;
    bench.send(&alice, &bob, 400).unwrap();
    let renewed = Holder { account: vault(&alice.owner), ..alice.clone() };
    bench.force(ForcedRequest {
        kind: ForcedKind::Rekey,
        new_account: renewed.account,
        ..exit_of(&alice, index)
    });
    bench.force(exit_of(&alice, index));
    bench.force(exit_of(&renewed, index));
    bench.wait();
    // F = 1: one request a batch, in their order.
    let hits: Vec<_> = (0..3)
        .map(|id| bench.state.operation(&OperationId::of_forced(id)).unwrap())
        .map(|view| (view.batch_no, view.hit, view.amount))
        .collect();
    assert_eq!(hits, [(2, Some(true), 600), (3, Some(false), 0), (4, Some(true), 600)]);
    assert_eq!((accepted(&bench, &alice), accepted(&bench, &bob)), (0, 400));
}

#[test]
fn two_forced_requests_on_one_leaf_in_one_batch_see_each_other() {
    let (mut bench, alice, _) = funded(&[Shape::S60M4]);
    let index = bench.state.ledger.leaves_of(&alice.owner).next().unwrap().0;
    for _ in 0..3 {
        bench.force(exit_of(&alice, index));
    }
    bench.wait();
    let views: Vec<_> =
        (0..3).map(|id| bench.state.operation(&OperationId::of_forced(id)).unwrap()).collect();
    assert_eq!(views.iter().map(|v| v.batch_no).collect::<Vec<_>>(), [2, 2, 2]);
    assert_eq!(views.iter().map(|v| v.hit).collect::<Vec<_>>(), [Some(true), Some(false), Some(false)]);
}

#[test]
fn a_flood_of_forced_requests_starves_no_large_operation_and_is_not_starved() {
    let (mut bench, alice, bob) = funded(&[Shape::S3M1]);
    for _ in 0..2 {
        bench.deposit(&alice, 1_000);
        bench.wait();
    }
    for _ in 0..6 {
        bench.force(exit_of(&bob, 0));
    }
    let first = bench.state.batcher.waiting().1;
    bench.send(&alice, &bob, 2_500).unwrap();
    assert_eq!(bench.state.batcher.waiting().1, first - 1, "one batch of forced requests went before");
    bench.wait();
    assert_eq!(bench.state.batcher.waiting().1, 0);
    assert_eq!(accepted(&bench, &bob), 2_500);
}

#[test]
fn balances_move_from_accepted_over_proven_to_final() {
    let (mut bench, alice, bob) = funded(&[Shape::S3M1]);
    bench.send(&alice, &bob, 300).unwrap();
    bench.wait();
    let of = |bench: &Bench, holder: &Holder| bench.state.ledger.balances(&holder.owner);
    assert_eq!(of(&bench, &alice), Balances { accepted: 700, proven: 0, finalized: 0 });
    // The second batch first: nothing moves until the first is there.
    bench.prove(2);
    assert_eq!(of(&bench, &alice), Balances { accepted: 700, proven: 0, finalized: 0 });
    bench.prove(1);
    assert_eq!(of(&bench, &alice), Balances { accepted: 700, proven: 700, finalized: 0 });
    let mut finalise = |batch_no| {
        let event = Event::Settlement(SettlementRecord::Finalised { batch_no });
        let stamped = Stamped { at: bench.now, event };
        bench.state.apply(&stamped).unwrap();
        bench.log.push(stamped);
    };
    finalise(1);
    assert_eq!(of(&bench, &alice), Balances { accepted: 700, proven: 700, finalized: 1_000 });
    let mut finalise = |batch_no| {
        let event = Event::Settlement(SettlementRecord::Finalised { batch_no });
        bench.state.apply(&Stamped { at: bench.now, event }).unwrap();
    };
    finalise(2);
    assert_eq!(of(&bench, &bob), Balances { accepted: 300, proven: 300, finalized: 300 });
}

#[test]
fn an_ownership_proof_leads_to_the_root_of_its_batch() {
    let (mut bench, alice, bob) = funded(&[Shape::S3M1]);
    let index = bench.state.ledger.leaves_of(&alice.owner).next().unwrap().0;
    assert_eq!(bench.state.ownership_proof(index, None).unwrap_err().code(), "NOTHING_PROVEN");
    bench.prove(1);
    bench.send(&alice, &bob, 300).unwrap();
    bench.wait();
    let check = |bench: &Bench, batch_no, amount| {
        let proof = bench.state.ownership_proof(index, batch_no).unwrap();
        assert_eq!(proof.range.amount(), amount);
        let account = circuits::leaf::account(&proof.owner, &proof.key_hash);
        let leaf = circuits::leaf::leaf(&account, &proof.range);
        assert_eq!(circuits::tree::root_from(leaf, 0, index, &proof.siblings), proof.root);
        assert_eq!(proof.root, bench.state.batch(proof.batch_no).unwrap().new_root);
    };
    check(&bench, Some(1), 1_000);
    bench.prove(2);
    check(&bench, None, 700);
    check(&bench, Some(1), 1_000);
    assert_eq!(bench.state.ownership_proof(index, Some(3)).unwrap_err().code(), "BATCH_NOT_AVAILABLE");
    assert_eq!(bench.state.ownership_proof(999, None).unwrap_err().code(), "LEAF_EMPTY");
}

#[test]
fn the_log_gives_the_same_state_again() {
    let (mut bench, alice, bob) = funded(&[Shape::S3M1, Shape::S14M2]);
    bench.send(&alice, &bob, 300).unwrap();
    bench.withdraw(&bob, 100).unwrap();
    bench.force(exit_of(&bob, 0));
    bench.wait();
    bench.prove(1);
    bench.send(&alice, &bob, 30).unwrap();
    bench.state.take_rows();
    let replayed = bench.replayed().without_rows();
    assert_eq!(replayed, bench.state);
    assert_eq!(replayed.checkpoint(), bench.state.checkpoint());
}

#[test]
fn a_pause_refuses_new_operations_only_survives_a_restart_and_ends() {
    let (mut bench, alice, bob) = funded(&[Shape::S3M1]);
    let before = bench.send(&alice, &bob, 100).unwrap();
    for _ in 0..2 {
        bench.state.ops(event::OpsRecord::Paused, bench.now, &mut bench.log).unwrap();
    }
    let refused = bench.send(&alice, &bob, 100).unwrap_err();
    assert_eq!((refused.code(), refused.retryable()), ("PAUSED", true));
    assert!(bench.replayed().paused());
    // What was accepted goes on.
    bench.wait();
    assert_eq!(bench.state.stage_of(bench.state.operation(&before).unwrap().batch_no), Stage::Sealed);
    bench.state.ops(event::OpsRecord::Resumed, bench.now, &mut bench.log).unwrap();
    bench.send(&alice, &bob, 100).unwrap();
    assert!(!bench.replayed().paused());
    let decisions = bench.log.iter().filter(|stamped| matches!(stamped.event, Event::Ops(_))).count();
    assert_eq!(decisions, 2, "what changes nothing is not recorded");
}

#[test]
fn a_log_with_another_root_is_refused() {
    let (mut bench, _, _) = funded(&[Shape::S3M1]);
    for stamped in &mut bench.log {
        if let Event::Sealed(sealed) = &mut stamped.event {
            sealed.new_root += Fr::from(1);
        }
    }
    let mut state = State::new(rules(&[Shape::S3M1]));
    let refused = bench.log.iter().find_map(|stamped| state.apply(stamped).err());
    assert!(matches!(refused, Some(StateError::Root { batch_no: 1 })));
}

#[test]
fn a_missing_deposit_stops_the_intake() {
    let (mut bench, alice, _) = funded(&[Shape::S3M1]);
    let before = bench.state.clone();
    let deposit = Deposit {
        id: 7,
        owner: alice.owner,
        key_hash: alice.key_hash,
        account: alice.account,
        range: CoinRange::new(5_000, 6_000).unwrap(),
        depositor: alice.owner,
        deadline: 0,
        block: 9,
        tx: [0; 32],
    };
    let logs = protocol::l1::Logs { deposits: vec![deposit], ..Default::default() };
    let to = event::Cursor { number: 99, hash: [9; 32] };
    let stopped = bench.state.take_in(to, logs, 1, &mut bench.log).unwrap_err().rejected().unwrap();
    assert_eq!(stopped.to_string().split(':').next(), Some("PM-INTAKE-001"));
    assert_eq!(bench.state, before);
}

/// Submits a request that must be refused with a code, and leave no trace.
fn refused(bench: &mut Bench, request: SubmitRequest, code: &str) -> Rejection {
    let (before, logged) = (bench.state.clone(), bench.log.len());
    let error = bench.submit(request).unwrap_err();
    assert_eq!(error.code(), code, "{error}");
    assert!(error.to_string().len() > 20 && !error.to_string().contains('\n'), "a sentence: {error}");
    assert!(bench.state == before, "{code} changed the state");
    assert_eq!(bench.log.len(), logged, "{code} was logged");
    error
}

#[test]
fn every_bad_submission_is_refused_with_its_own_code_and_changes_nothing() {
    let (mut bench, alice, bob) = funded(&[Shape::S14M2]);
    let mallory = Holder::new(66);
    let ask = |amount| PrepareSend {
        sender: alice.owner,
        recipient: bob.owner,
        amount,
        allow_vault: false,
        valid_until: None,
    };
    let draft = bench.state.prepare_send(&ask(100)).unwrap();
    let good = alice.sign(&draft, "k1");

    let mut request = good.clone();
    request.spends[0].signature = mallory.sign(&draft, "x").spends[0].signature;
    refused(&mut bench, request, "INVALID_SIGNATURE");

    let mut elsewhere = draft.clone();
    elsewhere.domain += Fr::from(1);
    let error = refused(&mut bench, alice.sign(&elsewhere, "k"), "INVALID_SIGNATURE");
    assert!(error.to_string().contains("domain"), "says that the domain may be wrong");

    // Alice's leaf, opened with the thief's own key and a good signature of his.
    let posing = Holder { owner: alice.owner, ..mallory.clone() };
    refused(&mut bench, posing.sign(&draft, "k"), "LEAF_NOT_OWNED");
    let stolen = SubmitRequest { sender: mallory.owner, ..mallory.sign(&draft, "k") };
    refused(&mut bench, stolen, "UNKNOWN_SENDER");
    let stolen = SubmitRequest { sender: bob.owner, ..bob.sign(&draft, "k") };
    refused(&mut bench, stolen, "LEAF_NOT_OWNED");

    let mut nowhere = draft.clone();
    nowhere.spends[0].index = 3_333;
    refused(&mut bench, alice.sign(&nowhere, "k"), "LEAF_NOT_FOUND");
    nowhere.spends[0].index = 1 << 40;
    refused(&mut bench, alice.sign(&nowhere, "k"), "LEAF_NOT_FOUND");

    let mut outside = draft.clone();
    outside.spends[0].split = 1_001;
    refused(&mut bench, alice.sign(&outside, "k"), "SPLIT_OUTSIDE_LEAF");

    let mut small = draft.clone();
    small.spends[0].split = 5;
    refused(&mut bench, alice.sign(&small, "k"), "AMOUNT_TOO_SMALL");

    let mut expired = draft.clone();
    expired.valid_until = 1;
    refused(&mut bench, alice.sign(&expired, "k"), "VALID_UNTIL_EXPIRED");

    let mut misled = draft.clone();
    misled.recipient_account = mallory.account;
    refused(&mut bench, alice.sign(&misled, "k"), "RECIPIENT_ACCOUNT_MISMATCH");

    let mut twice = draft.clone();
    twice.spends.push(twice.spends[0].clone());
    refused(&mut bench, alice.sign(&twice, "k"), "LEAF_TWICE");

    let mut many = draft.clone();
    many.spends = (0..15).map(|i| protocol::DraftSpend { index: i, ..draft.spends[0].clone() }).collect();
    refused(&mut bench, alice.sign(&many, "k"), "OPERATION_TOO_LARGE");

    refused(&mut bench, SubmitRequest { spends: Vec::new(), ..good.clone() }, "NO_LEAVES");
    refused(&mut bench, SubmitRequest { recipient: None, ..good.clone() }, "RECIPIENT_MISSING");
    refused(&mut bench, SubmitRequest { recipient: Some([0; 20]), ..good.clone() }, "RECIPIENT_ZERO");
    refused(
        &mut bench,
        SubmitRequest { idempotency_key: String::new(), ..good.clone() },
        "IDEMPOTENCY_KEY_INVALID",
    );
    refused(
        &mut bench,
        SubmitRequest { idempotency_key: "x".repeat(129), ..good.clone() },
        "IDEMPOTENCY_KEY_INVALID",
    );

    // Accepted once; again it is the same operation, with another body a conflict, with another key a spent leaf.
    let id = bench.submit(good.clone()).unwrap();
    let (before, logged) = (bench.state.clone(), bench.log.len());
    assert_eq!(bench.submit(good.clone()), Ok(id));
    assert!(bench.state == before && bench.log.len() == logged);
    let other = alice.sign(&bench.state.prepare_send(&ask(50)).unwrap(), "k1");
    refused(&mut bench, other, "IDEMPOTENCY_CONFLICT");
    refused(&mut bench, SubmitRequest { idempotency_key: "k2".to_owned(), ..good }, "LEAF_ALREADY_SPENT");

    let whole = alice.sign(&bench.state.prepare_send(&ask(900)).unwrap(), "k3");
    bench.submit(whole.clone()).unwrap();
    refused(&mut bench, SubmitRequest { idempotency_key: "k4".to_owned(), ..whole }, "LEAF_NOT_FOUND");
}

#[test]
fn every_bad_draft_is_refused_with_its_own_code() {
    let (mut bench, alice, bob) = funded(&[Shape::S3M1]);
    let stranger = Holder::new(9);
    let ask = PrepareSend {
        sender: alice.owner,
        recipient: bob.owner,
        amount: 100,
        allow_vault: false,
        valid_until: None,
    };
    let code = |bench: &Bench, ask: PrepareSend| bench.state.prepare_send(&ask).unwrap_err().code();
    assert_eq!(code(&bench, PrepareSend { amount: 0, ..ask.clone() }), "AMOUNT_ZERO");
    assert_eq!(code(&bench, PrepareSend { amount: 9, ..ask.clone() }), "AMOUNT_TOO_SMALL");
    assert_eq!(code(&bench, PrepareSend { amount: 1_001, ..ask.clone() }), "INSUFFICIENT_BALANCE");
    assert_eq!(code(&bench, PrepareSend { sender: stranger.owner, ..ask.clone() }), "UNKNOWN_SENDER");
    assert_eq!(code(&bench, PrepareSend { recipient: [0; 20], ..ask.clone() }), "RECIPIENT_ZERO");
    let unregistered = PrepareSend { recipient: stranger.owner, ..ask.clone() };
    assert_eq!(code(&bench, unregistered.clone()), "RECIPIENT_NOT_REGISTERED");
    let draft = bench.state.prepare_send(&PrepareSend { allow_vault: true, ..unregistered }).unwrap();
    assert_eq!(draft.recipient_account, vault(&stranger.owner));
    assert_eq!(code(&bench, PrepareSend { valid_until: Some(1), ..ask.clone() }), "VALID_UNTIL_EXPIRED");
    let nothing = PrepareWithdraw { sender: alice.owner, amount: 0, valid_until: None };
    assert_eq!(bench.state.prepare_withdraw(&nothing).unwrap_err().code(), "AMOUNT_ZERO");

    for _ in 0..3 {
        bench.deposit(&alice, 100);
        bench.wait();
    }
    let error = bench.state.prepare_send(&PrepareSend { amount: 1_250, ..ask }).unwrap_err();
    assert_eq!(error.code(), "AMOUNT_NEEDS_TOO_MANY_LEAVES");
    assert!(error.to_string().contains("1200 coins"), "names the largest amount: {error}");
}

#[test]
fn coins_in_a_vault_are_not_drafted_until_their_key_is_known() {
    let (mut bench, alice, _) = funded(&[Shape::S3M1]);
    let dave = Holder::new(4);
    let draft = bench.state.prepare_send(&PrepareSend {
        sender: alice.owner,
        recipient: dave.owner,
        amount: 500,
        allow_vault: true,
        valid_until: None,
    });
    let request = alice.sign(&draft.unwrap(), "to the vault");
    bench.submit(request).unwrap();
    bench.register(&dave);
    let spend = PrepareWithdraw { sender: dave.owner, amount: 100, valid_until: None };
    let error = bench.state.prepare_withdraw(&spend).unwrap_err();
    assert_eq!(error.code(), "INSUFFICIENT_BALANCE");
    assert!(error.to_string().contains("500 more"), "{error}");
    // Dave re-keys on L1 to the key he registered.
    let (index, _) = bench.state.ledger.leaves_of(&dave.owner).next().unwrap();
    bench.force(ForcedRequest {
        kind: ForcedKind::Rekey,
        account: vault(&dave.owner),
        new_account: dave.account,
        ..exit_of(&dave, index)
    });
    bench.wait();
    bench.withdraw(&dave, 100).unwrap();
    assert_eq!(accepted(&bench, &dave), 400);
}

#[test]
fn the_quota_counts_leaves_per_window() {
    let mut limited = (*rules(&[Shape::S14M2])).clone();
    limited.limits.quota = 2;
    let (alice, bob) = (Holder::new(1), Holder::new(2));
    let mut bench = Bench::new(Arc::new(limited));
    bench.register(&alice);
    bench.register(&bob);
    bench.deposit(&alice, 1_000);
    bench.wait();
    bench.send(&alice, &bob, 10).unwrap();
    bench.send(&alice, &bob, 10).unwrap();
    assert_eq!(bench.send(&alice, &bob, 10).unwrap_err().code(), "QUOTA_EXCEEDED");
    assert_eq!(bench.send(&bob, &alice, 10).map(|_| ()), Ok(()));
    bench.now += 60_000;
    assert_eq!(bench.send(&alice, &bob, 10).map(|_| ()), Ok(()));
}

#[derive(Clone, Debug)]
enum Step {
    Deposit { who: usize, coins: u64 },
    Send { from: usize, to: usize, amount: u64 },
    Withdraw { who: usize, amount: u64 },
    Exit { who: usize, nth: usize },
    Wait,
    Prove,
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0usize..3;
    prop_oneof![
        2 => (who.clone(), 10u64..500).prop_map(|(who, coins)| Step::Deposit { who, coins }),
        6 => (who.clone(), 0usize..3, 10u64..400).prop_map(|(from, to, amount)| Step::Send { from, to, amount }),
        2 => (who.clone(), 1u64..200).prop_map(|(who, amount)| Step::Withdraw { who, amount }),
        1 => (who, 0usize..4).prop_map(|(who, nth)| Step::Exit { who, nth }),
        2 => Just(Step::Wait),
        1 => Just(Step::Prove),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Every list of operations ends in the balances of a plain ledger; every sealed batch is provable with the same roots
    /// (asserted at sealing); the leaves hold each coin once; the log gives the state again.
    #[test]
    fn any_list_of_operations_agrees_with_a_plain_ledger(
        steps in proptest::collection::vec(step(), 1..40),
        shapes in prop_oneof![Just(vec![Shape::S3M1]), Just(vec![Shape::S3M1, Shape::S14M2]), Just(vec![Shape::S14M2])],
    ) {
        let holders: Vec<Holder> = (1..=3).map(Holder::new).collect();
        let mut bench = Bench::new(rules(&shapes));
        holders.iter().for_each(|holder| bench.register(holder));
        // Coins by owner; deposits count once they are minted, forced exits are read from their outcome.
        let mut plain: BTreeMap<Address, i128> = BTreeMap::new();
        let mut minted = 0;
        let mut exited = 0;
        for step in &steps {
            match step {
                Step::Deposit { who, coins } => bench.deposit(&holders[*who], *coins),
                Step::Send { from, to, amount } => {
                    let (from, to) = (&holders[*from], &holders[*to]);
                    if bench.send(from, to, *amount).is_ok() {
                        *plain.entry(from.owner).or_default() -= i128::from(*amount);
                        *plain.entry(to.owner).or_default() += i128::from(*amount);
                    }
                }
                Step::Withdraw { who, amount } => {
                    if bench.withdraw(&holders[*who], *amount).is_ok() {
                        *plain.entry(holders[*who].owner).or_default() -= i128::from(*amount);
                    }
                }
                Step::Exit { who, nth } => {
                    let index = bench.state.ledger.leaves_of(&holders[*who].owner).nth(*nth).map_or(0, |(i, _)| i);
                    if bench.state.tree.state_batch() > 0 {
                        bench.force(exit_of(&holders[*who], index));
                    }
                }
                Step::Wait => bench.wait(),
                Step::Prove => {
                    let next = bench.state.tree.proven_batch() + 1;
                    if next <= bench.state.tree.state_batch() {
                        bench.prove(next);
                    }
                }
            }
            while let Some(view) = bench.state.operation(&OperationId::of_deposit(minted)) {
                *plain.entry(view.recipient.unwrap()).or_default() += i128::from(view.amount);
                minted += 1;
            }
            while let Some(view) = bench.state.operation(&OperationId::of_forced(exited)) {
                *plain.entry(view.sender.unwrap()).or_default() -= i128::from(view.amount);
                exited += 1;
            }
            for holder in &holders {
                let expected = plain.get(&holder.owner).copied().unwrap_or_default();
                prop_assert_eq!(i128::from(accepted(&bench, holder)), expected);
                let leaves: u64 = bench.state.ledger.leaves_of(&holder.owner).map(|(_, l)| l.range.amount()).sum();
                prop_assert_eq!(i128::from(leaves), expected);
            }
        }
        let mut ranges: Vec<CoinRange> = bench.state.ledger.leaves().map(|(_, leaf)| leaf.range).collect();
        ranges.sort_unstable();
        prop_assert!(ranges.windows(2).all(|pair| pair[0].high() < pair[1].low()));
        bench.state.take_rows();
        prop_assert!(bench.replayed().without_rows() == bench.state);
    }
}

#[test]
fn withdrawals_are_recorded_and_promised_as_records() {
    let (mut bench, alice, _) = funded(&[Shape::S3M1]);
    let id = bench.withdraw(&alice, 250).unwrap();
    let view = bench.state.operation(&id).unwrap().clone();
    let promise = view.promised[0];
    assert_eq!((promise.kind, promise.index), (2, 0));
    assert_eq!(promise.account, circuits::leaf::address_word(&alice.owner));
    bench.wait();
    let batch = bench.state.batch(2).unwrap();
    let record = [Fr::from(2), circuits::leaf::address_word(&alice.owner), promise.range.packed()];
    assert_eq!(batch.records, [record]);
    assert_eq!(view.kind, OperationKind::Withdraw);
    assert_eq!(bench.state.stage_of(bench.state.operation(&id).unwrap().batch_no), Stage::Sealed);
    assert_eq!(SignedKind::Withdraw as u8, promise.kind);
}
