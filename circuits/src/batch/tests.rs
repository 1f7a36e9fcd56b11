//! The batch circuit against the native replay, a plain ledger and adversaries.
//!
//! | file | question |
//! |---|---|
//! | `stage`, `scene` | batches of every kind, played honestly around a cheat |
//! | `attacks` | which constraint refuses each attack by name |
//! | `mutation` | whether each constraint site is needed |
//! | `hints` | whether each hint set wrong is refused |
//! | `alone` | whether a variable can change alone, by algebra |

mod alone;
mod attacks;
mod hints;
mod mutation;
mod scene;
mod stage;

use std::collections::HashMap;

use ff::PrimeField;
use proptest::prelude::*;

use super::{gadget::synthesize, *};
use crate::{
    fixture::{Fixture, Operation, Wallet},
    r1cs::{Builder, Num, site},
    slot::HeldLeaf,
    testing::{Checker, adversary::Adversary},
};

fn range(low: u64, high: u64) -> CoinRange {
    CoinRange::new(low, high).unwrap()
}

fn check(batch: &Prepared) -> Option<usize> {
    let mut b = Checker::new();
    let inputs = batch.public_inputs().map(|x| Num::from(b.alloc(site!("input"), x)));
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
    let mut cs = prover::WitnessCs::default();
    bellman::Circuit::synthesize(gadget::BatchCircuit(&batch), &mut cs).unwrap();
    let (_, aux) = cs.into_parts();
    let (inputs, parallel) = gadget::witness(&batch);
    assert!(aux == parallel);
    assert_eq!(inputs[1..], batch.public_inputs());
}

#[test]
fn sizes_stay_within_the_budget_of_each_circuit() {
    for (shape, log2) in [(Shape::S3M1, 16), (Shape::S14M2, 18), (Shape::S4M60, 17), (Shape::S60M4, 20)] {
        let mut b = Adversary::at((0, 0), &[]);
        let batch = Prepared::blank(shape);
        let inputs = batch.public_inputs().map(|x| Num::from(b.alloc(site!("input"), x)));
        synthesize(&mut b, &batch, &inputs);
        assert!(b.violations.is_empty());
        let (_, constraints) = b.position();
        // bellman adds one constraint per public input and the constant.
        assert!(constraints + 4 <= 1 << log2, "{shape}: {constraints}");
        if shape == Shape::S60M4 {
            assert!(constraints / shape.slots() <= 15_500, "{}", constraints / shape.slots());
        }
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
