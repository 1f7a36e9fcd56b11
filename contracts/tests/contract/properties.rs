//! Random batches: the contract's (h, c, e) are those of the native mirror, and the money adds up after each.

use bn254::Fr;
use l1::contract::{Batch, Record, data};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use testbed::chain::Backend;

use crate::mill::{ALICE, BOB, CAROL, Mill, SHAPES, stranger};

/// What to put in one batch, as choices that are always possible.
#[derive(Clone, Debug)]
struct Plan {
    circuit: usize,
    skip: u64,
    roots: [u64; 3],
    deposits: Vec<(usize, u64)>,
    mints: usize,
    forced: Vec<(usize, bool)>,
    answered: usize,
    records: Vec<(u64, u64, bool)>,
}

fn plan() -> impl Strategy<Value = Plan> {
    (
        0..SHAPES.len(),
        0..4u64,
        any::<[u64; 3]>(),
        prop::collection::vec((ALICE..=CAROL, 1..1_000_000u64), 0..4),
        0..6usize,
        prop::collection::vec((ALICE..=CAROL, any::<bool>()), 0..3),
        0..4usize,
        prop::collection::vec((any::<u64>(), 1..50_000u64, any::<bool>()), 0..8),
    )
        .prop_map(|(circuit, skip, roots, deposits, mints, forced, answered, records)| Plan {
            circuit,
            skip,
            roots,
            deposits,
            mints,
            forced,
            answered,
            records,
        })
}

on_both_chains!(random_batches_have_the_public_inputs_of_the_native_mirror);
fn random_batches_have_the_public_inputs_of_the_native_mirror(backend: Backend) {
    let mill = Mill::deploy(backend);
    mill.minted(BOB, 40_000_000);
    let mut deposits = std::collections::VecDeque::new();
    let mut forced = std::collections::VecDeque::new();
    let mut next_coin = 1u64;
    let mut runner = TestRunner::new_with_rng(
        Config { cases: 24, failure_persistence: None, ..Config::default() },
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    for _ in 0..24 {
        let plan = plan().new_tree(&mut runner).unwrap().current();
        for (who, coins) in &plan.deposits {
            deposits.push_back(mill.deposit_coins(*who, *coins));
        }
        for (who, exit) in &plan.forced {
            forced.push_back(if *exit { mill.force_exit(*who, 1) } else { mill.force_rekey(*who, 2) });
        }
        let (number, slots, mint_places) = SHAPES[plan.circuit];
        let size = u64::from(slots + mint_places);
        let mut batch: Batch = mill.batch(number);
        batch.start += (plan.skip * size).min((mill.state().next + 1023 - batch.start) / size * size);
        [batch.mid_root, batch.new_root, batch.h] = plan.roots.map(|x| -Fr::from(x));
        for _ in 0..plan.mints.min(mint_places as usize) {
            batch.mints.extend(deposits.pop_front());
        }
        let mut answers = plan.answered.min((slots as usize / 8).max(1));
        for (salt, amount, hit) in plan.records.iter().take(slots as usize) {
            let range = (next_coin, next_coin + amount - 1);
            let request = if salt % 3 == 0 && answers > 0 { forced.pop_front() } else { None };
            batch.records.push(match request {
                Some(entry) if entry.kind == l1::contract::ForcedKind::Exit => {
                    answers -= 1;
                    Record::Exit { entry, hit: hit.then_some(range) }
                }
                Some(entry) => {
                    answers -= 1;
                    Record::Rekey { entry, hit: *hit }
                }
                None => Record::Withdraw { owner: stranger(*salt), low: range.0, high: range.1 },
            });
            next_coin = range.1 + 1;
        }
        // `submit` proves exactly the mirror's (h, c, e); the contract accepts only if its own are the same.
        mill.submit(&batch);
        let state = mill.state();
        let history =
            l1::contract::calls::decode_word(&mill.view(&l1::contract::calls::history(state.batch_no)))
                .unwrap();
        assert_eq!(history, data::history_hash(&batch, state.minted_up_to));
        assert_eq!(state.root, batch.new_root);
    }
}
