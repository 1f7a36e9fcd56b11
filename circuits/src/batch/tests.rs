//! The batch circuit against the native replay, a plain ledger and adversaries.

use std::collections::HashMap;

use ff::PrimeField;
use proptest::prelude::*;
use rayon::prelude::*;

use super::{gadget::synthesize, *};
use crate::{
    baby_jubjub::{fr_from_biguint, order},
    fixture::{Fixture, Operation, Wallet},
    r1cs::{Builder, Num},
    slot::{ForcedKind, HeldLeaf, gadget as slot_gadget},
    testing::Checker,
};

fn range(low: u64, high: u64) -> CoinRange {
    CoinRange::new(low, high).unwrap()
}

fn check(batch: &Prepared) -> Option<usize> {
    let mut b = Checker::new();
    let inputs = batch.public_inputs().map(|x| Num::from(b.alloc(x)));
    synthesize(&mut b, batch, &inputs);
    b.first_violation()
}

/// A fixture in which Alice holds coins 1..=100 at place 3 and Bob 101..=150 at place 7.
fn funded() -> (Fixture, Wallet, Wallet) {
    let mut fixture = Fixture::new(Fr::from(77));
    let (alice, bob) = (fixture.wallet(1), fixture.wallet(2));
    fixture.batch(Shape::S3M1, &[], &[Mint { account: alice.account, range: range(1, 100) }]);
    fixture.batch(Shape::S3M1, &[], &[Mint { account: bob.account, range: range(101, 150) }]);
    (fixture, alice, bob)
}

fn prepared(fixture: &mut Fixture, operations: &[Operation]) -> Prepared {
    let batch = Prepared::new(fixture.batch(Shape::S3M1, operations, &[])).unwrap();
    assert_eq!(batch.public_data.head.new_root, fixture.root());
    batch
}

#[test]
fn an_empty_batch_and_one_of_every_kind_satisfy_the_circuit() {
    assert_eq!(check(&Prepared::blank(Shape::S3M1)), None);
    let (mut fixture, alice, bob) = funded();
    let kinds = [
        Operation::Noop,
        Operation::Send { index: 3, split: 10, recipient: bob.account },
        Operation::Withdraw { index: 7, split: 150 },
    ];
    let batch = prepared(&mut fixture, &kinds);
    assert_eq!(batch.check_signatures(), Ok(()));
    assert_eq!(check(&batch), None);
    for forced in [
        Operation::Exit { index: 3, account: alice.account },
        Operation::Exit { index: 3, account: bob.account },
        Operation::Exit { index: 4, account: bob.account },
        Operation::Rekey { index: 9, account: bob.account, new_account: alice.account },
        Operation::Rekey { index: 9, account: bob.account, new_account: alice.account },
    ] {
        let batch = prepared(&mut fixture, &[Operation::Noop, Operation::Noop, forced]);
        assert_eq!(check(&batch), None, "{forced:?}");
    }
}

#[test]
fn the_parallel_witness_is_the_one_that_the_circuit_synthesises() {
    let (mut fixture, _, bob) = funded();
    let batch = prepared(
        &mut fixture,
        &[
            Operation::Send { index: 3, split: 10, recipient: bob.account },
            Operation::Send { index: 8, split: 4, recipient: bob.account },
            Operation::Withdraw { index: 8, split: 10 },
        ],
    );
    let mut cs = bn254::witness::WitnessCs::default();
    bellman::Circuit::synthesize(gadget::BatchCircuit(&batch), &mut cs).unwrap();
    let (_, aux) = cs.into_parts();
    let (inputs, parallel) = gadget::witness(&batch);
    assert!(aux == parallel);
    assert_eq!(inputs[1..], batch.public_inputs());
}

#[test]
fn sizes_stay_within_the_budget_of_each_circuit() {
    for (shape, log2) in [(Shape::S3M1, 16), (Shape::S14M2, 18), (Shape::S4M60, 17), (Shape::S60M4, 20)] {
        let mut b = Checker::tampering(usize::MAX, Fr::ZERO);
        let batch = Prepared::blank(shape);
        let inputs = batch.public_inputs().map(|x| Num::from(b.alloc(x)));
        synthesize(&mut b, &batch, &inputs);
        assert_eq!(b.first_violation(), None);
        // bellman adds one constraint per public input and the constant.
        assert!(b.constraints() + 4 <= 1 << log2, "{shape}: {}", b.constraints());
        if shape == Shape::S60M4 {
            assert!(b.constraints() / shape.slots() <= 15_500, "{}", b.constraints() / shape.slots());
        }
    }
}

/// Everything a slot leaves behind that anyone can see.
fn observe(b: &mut Checker, batch: &Prepared, slot: usize) -> Vec<Fr> {
    let head = &batch.public_data.head;
    let mut given = |x: Fr| Num::from(b.alloc(x));
    let common = slot_gadget::Common {
        domain: given(head.domain),
        batch_no: given(Fr::from(u64::from(head.batch_no))),
        batch_no_value: head.batch_no,
    };
    let place = given(Fr::from(head.start + slot as u64));
    let mut nodes = batch.input.carried_nodes.clone();
    for (position, node) in batch.node_updates[..slot].iter().flatten() {
        nodes[*position] = *node;
    }
    let nodes: Vec<Num> = nodes.into_iter().map(given).collect();
    let may_force = slot >= batch.shape().slots() - batch.shape().forced_slots();
    let opened = slot_gadget::open(b, &common, &place, may_force, &batch.input.slots[slot].input);
    let nodes = slot_gadget::spend(b, &opened, &nodes, &batch.siblings[slot]);
    let seen = opened.record.words.iter().chain([&opened.record.shown, &opened.output]).chain(&nodes);
    seen.map(|num| num.value).collect()
}

/// L1 knows every word of a forced record but the outcome: it takes them from its own queue.
fn l1_refuses(operation: &Operation, expected: &[Fr], seen: &[Fr]) -> bool {
    let outcome = Fr::from(16);
    let tag_differs = ![expected[0], expected[0] + outcome, expected[0] - outcome].contains(&seen[0]);
    match operation {
        Operation::Exit { .. } => tag_differs || seen[1] != expected[1],
        Operation::Rekey { .. } => tag_differs || seen[1..3] != expected[1..3],
        _ => false,
    }
}

/// Each hint of a slot is set wrong and everything after it computed honestly from it: the circuit must refuse, or nobody
/// can see a difference, or the slot has become a no-op, which an operator may always put in its place.
fn every_wrong_hint_is_refused_or_invisible(operation: Operation, every: usize) {
    let (mut fixture, _, _) = funded();
    let batch = prepared(&mut fixture, &[Operation::Noop, Operation::Noop, operation]);
    let mut honest = Checker::new();
    let expected = observe(&mut honest, &batch, 2);
    assert_eq!(honest.first_violation(), None);
    let mut idle = batch.input.carried_nodes.clone();
    idle.splice(0..0, [Fr::ZERO; 5]);
    let visible: Vec<usize> = honest
        .hints()
        .par_iter()
        .enumerate()
        .filter(|(i, _)| i % every == 0)
        .filter_map(|(_, hint)| {
            // Bits are flipped, everything else moves by one.
            let delta = if honest.value(*hint) == Fr::ONE { -Fr::ONE } else { Fr::ONE };
            let mut b = Checker::tampering(*hint, delta);
            let seen = observe(&mut b, &batch, 2);
            let passes = b.first_violation().is_none() && !l1_refuses(&operation, &expected, &seen);
            (passes && seen != expected && seen != idle).then_some(*hint)
        })
        .collect();
    assert_eq!(visible, Vec::<usize>::new(), "{operation:?}");
}

#[test]
fn no_wrong_hint_of_a_send_passes() {
    let bob = Wallet::new(2);
    every_wrong_hint_is_refused_or_invisible(
        Operation::Send { index: 3, split: 10, recipient: bob.account },
        1,
    );
}

#[test]
fn no_wrong_hint_of_a_withdrawal_a_forced_kind_or_a_noop_passes() {
    let (alice, bob) = (Wallet::new(1), Wallet::new(2));
    for operation in [
        Operation::Withdraw { index: 7, split: 150 },
        Operation::Exit { index: 3, account: alice.account },
        Operation::Exit { index: 3, account: bob.account },
        Operation::Exit { index: 5, account: bob.account },
        Operation::Rekey { index: 7, account: bob.account, new_account: alice.account },
        Operation::Rekey { index: 7, account: alice.account, new_account: bob.account },
        Operation::Noop,
    ] {
        every_wrong_hint_is_refused_or_invisible(operation, 11);
    }
}

/// What a plain ledger of coins says: who holds each coin, and which coins left.
#[derive(Default, PartialEq, Debug)]
struct CoinLedger {
    holder: HashMap<u64, [u8; 32]>,
}

fn repr(x: &Fr) -> [u8; 32] {
    x.to_repr().as_ref().try_into().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn random_batches_move_coins_as_a_plain_ledger_does(choices in prop::collection::vec((0u8..6, any::<u16>(), any::<u16>(), 0u8..3), 1..42)) {
        let mut fixture = Fixture::new(Fr::from(5));
        let wallets = [fixture.wallet(1), fixture.wallet(2), fixture.wallet(3)];
        let mut ledger = CoinLedger::default();
        let mut coin = 1u64;
        let mut root = fixture.root();
        for chunk in choices.chunks(14) {
            let mut operations = Vec::new();
            let start = fixture.next.div_ceil(16) * 16;
            // A model of the leaves that each slot sees, by the rules in words.
            let mut leaves = fixture.leaves.clone();
            for (i, (kind, pick, cut, who)) in chunk.iter().enumerate() {
                let place = start + i as u64;
                let wallet = &wallets[*who as usize];
                let open: Vec<u64> = leaves.keys().copied().collect();
                let Some(index) = open.get(*pick as usize % open.len().max(1)).copied() else {
                    operations.push(Operation::Noop);
                    continue;
                };
                let held = leaves[&index];
                let split = held.range.low() + u64::from(*cut) % held.range.amount();
                let forced_slot = i >= 13;
                let moved = |ledger: &mut CoinLedger, low: u64, high: u64, to: Option<&Fr>| {
                    for coin in low..=high {
                        match to {
                            Some(account) => ledger.holder.insert(coin, repr(account)),
                            None => ledger.holder.remove(&coin),
                        };
                    }
                };
                let change = |leaves: &mut std::collections::BTreeMap<u64, HeldLeaf>| match held.range.split_at(split) {
                    Some((_, Some(rest))) => { leaves.insert(index, HeldLeaf { range: rest, ..held }); }
                    _ => { leaves.remove(&index); }
                };
                operations.push(match kind {
                    0 | 1 => {
                        moved(&mut ledger, held.range.low(), split, Some(&wallet.account));
                        change(&mut leaves);
                        leaves.insert(place, HeldLeaf { account: wallet.account, range: range(held.range.low(), split) });
                        Operation::Send { index, split, recipient: wallet.account }
                    }
                    2 => {
                        moved(&mut ledger, held.range.low(), split, None);
                        change(&mut leaves);
                        Operation::Withdraw { index, split }
                    }
                    3 if forced_slot => {
                        if held.account == wallet.account {
                            moved(&mut ledger, held.range.low(), held.range.high(), None);
                            leaves.remove(&index);
                        }
                        Operation::Exit { index, account: wallet.account }
                    }
                    4 if forced_slot => {
                        let to = wallets[(*who as usize + 1) % 3].account;
                        if held.account == wallet.account {
                            moved(&mut ledger, held.range.low(), held.range.high(), Some(&to));
                            leaves.insert(index, HeldLeaf { account: to, ..held });
                        }
                        Operation::Rekey { index, account: wallet.account, new_account: to }
                    }
                    _ => Operation::Noop,
                });
            }
            let amount = 1 + u64::from(chunk[0].2) % 200;
            let mint = Mint { account: wallets[0].account, range: range(coin, coin + amount - 1) };
            for c in mint.range.low()..=mint.range.high() {
                ledger.holder.insert(c, repr(&mint.account));
            }
            coin += amount;
            let batch = Prepared::new(fixture.batch(Shape::S14M2, &operations, &[mint])).unwrap();
            prop_assert_eq!(batch.public_data.head.old_root, root);
            root = batch.public_data.head.new_root;
            prop_assert_eq!(root, fixture.root());
            prop_assert_eq!(batch.check_signatures(), Ok(()));
            let mut seen = CoinLedger::default();
            for leaf in fixture.leaves.values() {
                for c in leaf.range.low()..=leaf.range.high() {
                    prop_assert!(seen.holder.insert(c, repr(&leaf.account)).is_none(), "coin {} twice", c);
                }
            }
            prop_assert_eq!(&seen, &ledger);
            prop_assert_eq!(check(&batch), None);
        }
    }
}

// The attacks of the design that concern circuits, by name. Each bypasses the native checks, which would refuse it, by
// changing the prepared batch.

/// Applies a change to a prepared batch as a dishonest prover would and returns whether the circuit refuses it.
fn refused_after(batch: &Prepared, tamper: impl FnOnce(&mut Prepared)) -> bool {
    let mut evil = batch.clone();
    tamper(&mut evil);
    let mut b = Checker::tampering(usize::MAX, Fr::ZERO);
    let inputs = evil.public_inputs().map(|x| Num::from(b.alloc(x)));
    synthesize(&mut b, &evil, &inputs);
    b.first_violation().is_some()
}

fn signed_mut(batch: &mut Prepared, slot: usize) -> &mut crate::slot::SignedSpend {
    match &mut batch.input.slots[slot].input {
        SlotInput::Signed(spend) => spend,
        other => panic!("slot {slot} holds {other:?}"),
    }
}

fn one_send() -> (Prepared, Wallet, Wallet) {
    let (mut fixture, alice, bob) = funded();
    let batch = prepared(&mut fixture, &[Operation::Send { index: 3, split: 10, recipient: bob.account }]);
    (batch, alice, bob)
}

#[test]
fn replay_of_a_message_in_the_same_batch_is_refused() {
    let (batch, _, _) = one_send();
    assert!(refused_after(&batch, |b| b.input.slots[1].input = b.input.slots[0].input.clone()));
}

#[test]
fn replay_later_is_refused_since_the_leaf_is_gone() {
    let (mut fixture, _, bob) = funded();
    let send = Operation::Send { index: 3, split: 10, recipient: bob.account };
    let first = prepared(&mut fixture, &[send]);
    let second = prepared(&mut fixture, &[]);
    assert!(refused_after(&second, |b| {
        b.input.slots[0] = first.input.slots[0].clone();
        b.siblings[0] = first.siblings[0].clone();
    }));
}

#[test]
fn replay_on_another_chain_or_contract_is_refused() {
    let (batch, _, _) = one_send();
    assert!(refused_after(&batch, |b| b.public_data.head.domain = Fr::from(78)));
}

#[test]
fn an_expired_message_is_refused() {
    let (batch, _, _) = one_send();
    let last = batch.public_data.head.batch_no + 5;
    assert!(!refused_after(&batch, |b| b.public_data.head.batch_no = last));
    assert!(refused_after(&batch, |b| b.public_data.head.batch_no = last + 1));
}

#[test]
fn a_forged_signature_another_recipient_or_another_split_is_refused() {
    let (batch, alice, bob) = one_send();
    assert!(refused_after(&batch, |b| signed_mut(b, 0).signature.s += Fr::ONE));
    assert!(refused_after(&batch, |b| signed_mut(b, 0).recipient = alice.account));
    assert!(refused_after(&batch, |b| signed_mut(b, 0).split = 11));
    assert!(refused_after(&batch, |b| signed_mut(b, 0).key = bob.key));
    assert!(refused_after(&batch, |b| signed_mut(b, 0).owner = bob.owner));
    assert!(refused_after(&batch, |b| signed_mut(b, 0).kind = crate::message::SignedKind::Withdraw));
}

#[test]
fn a_scalar_of_s_plus_l_is_refused() {
    let (batch, _, _) = one_send();
    assert!(refused_after(&batch, |b| signed_mut(b, 0).signature.s += fr_from_biguint(order())));
}

#[test]
fn a_leaf_that_opens_as_a_wrapped_range_is_refused() {
    // (low − 1, high + 2^64) packs to the same word in the field; with coin 1 as low that is (0, 100 + 2^64).
    let mut b = Checker::new();
    let wrapped = Num::constant(Fr::from(100) + crate::leaf::two_to_64());
    let high = Num::from(b.alloc(wrapped.value));
    crate::r1cs::to_bits(&mut b, &high, crate::leaf::COIN_BITS);
    assert!(b.first_violation().is_some());
    assert_eq!(crate::leaf::pack(1, 100), wrapped.value + crate::leaf::pack(0, 0));
}

#[test]
fn a_split_outside_the_leaf_is_refused() {
    let (batch, alice, _) = one_send();
    for split in [0, 101, 1 << 62] {
        assert!(refused_after(&batch, |b| {
            let domain = b.public_data.head.domain;
            let spend = signed_mut(b, 0);
            spend.split = split;
            spend.signature = alice.private.sign(&spend.message(&domain));
        }));
    }
}

#[test]
fn a_circle_in_one_batch_is_refused() {
    // Slot 0 spends its own output or the output of slot 1: the place is not below its own.
    let (mut fixture, alice, bob) = funded();
    let batch = prepared(&mut fixture, &[Operation::Send { index: 3, split: 10, recipient: bob.account }]);
    let start = batch.public_data.head.start;
    for index in [start, start + 1, start + 2] {
        assert!(refused_after(&batch, |b| {
            let domain = b.public_data.head.domain;
            let spend = signed_mut(b, 0);
            spend.index = index;
            spend.signature = alice.private.sign(&spend.message(&domain));
        }));
    }
}

#[test]
fn insertion_into_a_subtree_that_is_not_empty_is_refused() {
    let (batch, _, _) = one_send();
    // Place 4 holds the batch in which Bob's coins were minted.
    assert!(refused_after(&batch, |b| b.public_data.head.start = 4));
    assert!(refused_after(&batch, |b| b.public_data.head.start = 0));
}

#[test]
fn a_false_outcome_of_a_forced_entry_is_refused() {
    let (mut fixture, alice, bob) = funded();
    let exit = Operation::Exit { index: 3, account: alice.account };
    let batch = prepared(&mut fixture, &[Operation::Noop, Operation::Noop, exit]);
    let forced = |b: &mut Prepared| match &mut b.input.slots[2].input {
        SlotInput::Forced(entry) => *entry,
        other => panic!("{other:?}"),
    };
    let put = |b: &mut Prepared, entry| b.input.slots[2].input = SlotInput::Forced(entry);
    // Skipping by showing an empty leaf, another account's leaf, or another kind than L1 asked for.
    assert!(refused_after(&batch, |b| {
        let e = forced(b);
        put(b, crate::slot::ForcedEntry { held: None, ..e })
    }));
    assert!(refused_after(&batch, |b| {
        let e = forced(b);
        put(
            b,
            crate::slot::ForcedEntry {
                held: Some(HeldLeaf { account: bob.account, range: range(1, 100) }),
                ..e
            },
        )
    }));
    assert!(refused_after(&batch, |b| {
        let e = forced(b);
        put(b, crate::slot::ForcedEntry { index: 7, ..e })
    }));
    assert!(refused_after(&batch, |b| {
        let e = forced(b);
        put(b, crate::slot::ForcedEntry { kind: ForcedKind::Rekey, ..e })
    }));
    assert!(refused_after(&batch, |b| {
        let e = forced(b);
        put(b, crate::slot::ForcedEntry { account: bob.account, ..e })
    }));
    assert!(refused_after(&batch, |b| b.input.slots[2].input = SlotInput::Noop));
}

#[test]
fn a_record_shown_to_l1_that_no_slot_made_is_refused() {
    let (batch, _, _) = one_send();
    assert!(refused_after(&batch, |b| {
        b.public_data.records[0] = Some([Fr::from(2), Fr::from(1), crate::leaf::pack(1, 10)]);
    }));
    // A word that is summed but not hashed, or hashed but not summed: h and e of two different lists.
    let mut b = Checker::tampering(usize::MAX, Fr::ZERO);
    let [h, _, _] = batch.public_inputs();
    let mut other = batch.public_data.clone();
    other.mints[0] = [Fr::from(9), crate::leaf::pack(200, 300)];
    let words = other.words();
    let c = crate::public_data::challenge(&h, &words);
    let inputs = [h, c, crate::public_data::evaluate(&c, &words)].map(|x| Num::from(b.alloc(x)));
    synthesize(&mut b, &batch, &inputs);
    assert!(b.first_violation().is_some());
}

#[test]
fn coin_zero_and_empty_mints_make_no_leaf() {
    let batch = Prepared::blank(Shape::S3M1);
    assert!(refused_after(&batch, |b| b.public_data.mints[0] = [Fr::from(9), crate::leaf::pack(1, 5)]));
    // A mint place with an account but the range word 0 still makes the empty leaf.
    assert!(!refused_after(&batch, |b| b.public_data.mints[0] = [Fr::from(9), Fr::ZERO]));
}

#[test]
fn a_node_cannot_pass_as_a_leaf() {
    // The depth is fixed: an inner node of the tree used as the leaf of a path gives another root.
    let (batch, _, _) = one_send();
    assert!(refused_after(&batch, |b| b.siblings[0].rotate_left(1)));
}

#[test]
fn bad_inputs_are_refused_natively_with_their_codes() {
    let (mut fixture, _, bob) = funded();
    let input =
        fixture.batch(Shape::S3M1, &[Operation::Send { index: 3, split: 10, recipient: bob.account }], &[]);
    let with = |change: &dyn Fn(&mut BatchInput)| {
        let mut input = input.clone();
        change(&mut input);
        Prepared::new(input).map(|_| ()).unwrap_err().to_string()
    };
    assert!(with(&|i| i.start = 7).starts_with("PM-BATCH-002"));
    assert!(with(&|i| i.slots.resize(4, i.slots[0].clone())).starts_with("PM-BATCH-001"));
    assert!(with(&|i| i.carried_nodes[0] += Fr::ONE).starts_with("PM-BATCH-007"));
    assert!(with(&|i| i.slots[0].siblings[2][1] += Fr::ONE).starts_with("PM-BATCH-005"));
    assert!(with(&|i| i.slots[0].siblings.truncate(3)).starts_with("PM-BATCH-006"));
    assert!(with(&|i| i.batch_no = 100).starts_with("PM-BATCH-003"));
}
