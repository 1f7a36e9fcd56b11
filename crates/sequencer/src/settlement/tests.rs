//! The policy against views of a chain.

use circuits::shape::Shape;

use super::*;

mod limits;

const RULES: SettlementRules = SettlementRules {
    resend_ms: 100,
    bump_ms: 1_000,
    bump_percent: 20,
    max_fee: 1_000,
    max_batches_per_tx: 1,
    max_gas_per_tx: 14_000_000,
    max_in_flight: 1,
};
const GAS: u64 = 300_000;
const FEES: Fees = Fees { max_fee: 100, max_priority: 10 };

fn root(batch_no: u32) -> Fr {
    Fr::from(1_000 + u64::from(batch_no))
}

fn settlement(batches: u32) -> Settlement {
    settlement_with(RULES, batches)
}

fn settlement_with(rules: SettlementRules, batches: u32) -> Settlement {
    let mut settlement = Settlement::new(rules);
    for batch_no in 1..=batches {
        settlement.proven(batch_no, root(batch_no - 1), root(batch_no), GAS);
    }
    settlement
}

fn submit(batches: std::ops::RangeInclusive<u32>, nonce: u64, tried: Tried) -> SettlementEffect {
    let (batch_no, last) = batches.into_inner();
    SettlementEffect::Submit { batch_no, last, nonce, fees: FEES, tried, replaces: None }
}

fn record_of(effect: &SettlementEffect) -> Option<&SettlementRecord> {
    match effect {
        SettlementEffect::Record(record) => Some(record),
        _ => None,
    }
}

/// The contract after `batch_no`, with `nonce` as the owner's next.
fn view(batch_no: u32, nonce: u64) -> ChainView {
    ChainView {
        head: 20,
        final_block: 0,
        contract: ContractState {
            root: root(batch_no),
            batch_no,
            next: 0,
            minted_up_to: 0,
            forced_up_to: 0,
            deposit_count: 0,
            forced_count: 0,
        },
        nonce,
        fees: FEES,
        receipts: HashMap::new(),
        unknown: HashSet::new(),
        logs: LogsRead::All,
        finality: FinalityLook::Stands,
        accepted: HashMap::new(),
    }
}

fn tx(nonce: u64, id: u8) -> SignedTx {
    SignedTx { raw: vec![id], hash: [id; 32], nonce, fees: FEES }
}

fn receipt(id: u8, block: u64) -> Receipt {
    Receipt { tx: [id; 32], block, block_hash: [block as u8; 32], success: true, gas_used: 1 }
}

fn mined(view: ChainView, receipts: &[Receipt], final_block: u64) -> ChainView {
    ChainView { final_block, receipts: receipts.iter().map(|r| (r.tx, r.clone())).collect(), ..view }
}

/// Steps, applies what is recorded, and returns all effects.
fn step(settlement: &mut Settlement, view: &ChainView, now: u64) -> Vec<SettlementEffect> {
    let mut effects = settlement.decide(view, now);
    effects.retain(|effect| match effect {
        SettlementEffect::Record(record) => {
            settlement.apply(record, now);
            true
        }
        SettlementEffect::Note(note) => {
            settlement.note(*note, now);
            false
        }
        _ => true,
    });
    effects
}

fn sign(settlement: &mut Settlement, batch_no: u32, tx: SignedTx, now: u64) {
    settlement.apply(&signed(batch_no, batch_no, tx), now);
}

fn signed(batch_no: u32, last: u32, tx: SignedTx) -> SettlementRecord {
    SettlementRecord::Signed { batch_no, last, tx, gas_limit: 7, tried: Tried::Latest, replaces: None }
}

#[test]
fn batches_are_submitted_one_after_the_other_and_become_final_in_order() {
    let mut s = settlement(2);
    assert_eq!(step(&mut s, &view(0, 5), 0), [submit(1..=1, 5, Tried::Latest)]);
    sign(&mut s, 1, tx(5, 1), 0);
    assert_eq!(step(&mut s, &view(0, 5), 1), [], "nothing while the first is on its way");
    let first = receipt(1, 10);
    let effects = step(&mut s, &mined(view(1, 6), std::slice::from_ref(&first), 9), 2);
    let record = SettlementRecord::Mined { batch_no: 1, receipt: first.clone(), was: None };
    assert_eq!(effects, [SettlementEffect::Record(record), submit(2..=2, 6, Tried::Latest)]);
    sign(&mut s, 2, tx(6, 2), 2);
    let both = mined(view(2, 7), &[first, receipt(2, 11)], 10);
    let finals: Vec<_> = step(&mut s, &both, 3)
        .into_iter()
        .filter(|e| matches!(e, SettlementEffect::Record(SettlementRecord::Finalised { .. })))
        .collect();
    assert_eq!(finals, [SettlementEffect::Record(SettlementRecord::Finalised { batch_no: 1 })]);
    let later = ChainView { final_block: 11, ..both };
    assert_eq!(
        step(&mut s, &later, 4),
        [SettlementEffect::Record(SettlementRecord::Finalised { batch_no: 2 })]
    );
    assert_eq!(s.submissions().count(), 0);
}

#[test]
fn an_unmined_transaction_is_sent_again_then_replaced_with_the_same_nonce() {
    let mut s = settlement(1);
    sign(&mut s, 1, tx(5, 1), 0);
    assert_eq!(step(&mut s, &view(0, 5), 99), []);
    assert_eq!(step(&mut s, &view(0, 5), 100), [SettlementEffect::Send { batch_no: 1, tx: tx(5, 1) }]);
    assert_eq!(step(&mut s, &view(0, 5), 150), []);
    let [SettlementEffect::Submit { batch_no: 1, nonce: 5, fees, tried: Tried::Before, .. }] =
        step(&mut s, &view(0, 5), 1_000)[..]
    else {
        panic!("a replacement")
    };
    assert!(fees.max_fee >= 120 && fees.max_priority >= 12, "{fees:?}");
    let bumped = SignedTx { fees, ..tx(5, 2) };
    sign(&mut s, 1, bumped, 1_000);
    assert_eq!(s.followed(), [[1; 32], [2; 32]]);
    // The cheap one is mined after all.
    let effects = step(&mut s, &mined(view(1, 6), &[receipt(1, 3)], 3), 1_001);
    assert!(matches!(effects[0], SettlementEffect::Record(SettlementRecord::Mined { batch_no: 1, .. })));
    assert!(matches!(effects[1], SettlementEffect::Record(SettlementRecord::Finalised { batch_no: 1 })));
}

#[test]
fn a_reorganisation_that_drops_the_block_brings_the_same_transaction_back() {
    let mut s = settlement(1);
    sign(&mut s, 1, tx(5, 1), 0);
    step(&mut s, &mined(view(1, 6), &[receipt(1, 10)], 9), 1);
    let effects = step(&mut s, &view(0, 5), 2);
    let was = receipt(1, 10);
    let dropped = SettlementEffect::Record(SettlementRecord::Dropped { batch_no: 1, last: 1, was, head: 20 });
    assert_eq!(effects, [dropped, SettlementEffect::Send { batch_no: 1, tx: tx(5, 1) }]);
    let again = receipt(1, 12);
    let effects = step(&mut s, &mined(view(1, 6), std::slice::from_ref(&again), 9), 3);
    let mined = SettlementRecord::Mined { batch_no: 1, receipt: again, was: None };
    assert_eq!(effects, [SettlementEffect::Record(mined)]);
}

#[test]
fn a_reverted_transaction_raises_an_alarm_and_starts_over_behind_the_gates() {
    let mut s = settlement(1);
    sign(&mut s, 1, tx(5, 1), 0);
    let failed = Receipt { success: false, ..receipt(1, 10) };
    let effects = step(&mut s, &mined(view(0, 6), &[failed], 9), 1);
    assert!(matches!(effects[0], SettlementEffect::Record(SettlementRecord::Reverted { batch_no: 1, .. })));
    assert!(
        matches!(&effects[1], SettlementEffect::Alarm { batch_no: 1, reason } if reason.contains("reverted"))
    );
    assert_eq!(step(&mut s, &view(0, 6), 2), [submit(1..=1, 6, Tried::Latest)]);
}

#[test]
fn a_nonce_that_somebody_else_used_is_given_up() {
    let mut s = settlement(1);
    sign(&mut s, 1, tx(5, 1), 0);
    let displaced = SettlementEffect::Record(SettlementRecord::Displaced { batch_no: 1, last: 1, nonce: 5 });
    assert_eq!(step(&mut s, &view(0, 6), 1), [], "two looks must agree");
    assert_eq!(step(&mut s, &view(0, 6), 2), [displaced]);
    assert!(matches!(step(&mut s, &view(0, 6), 3)[..], [SettlementEffect::Submit { nonce: 6, .. }]));
}

#[test]
fn a_nonce_of_a_node_that_is_ahead_of_the_contract_makes_no_second_transaction() {
    let mut s = settlement(1);
    sign(&mut s, 1, tx(5, 1), 0);
    // One node has mined it, the other has not, and each answers half of the look; then the first answers all.
    assert_eq!(step(&mut s, &view(0, 6), 1), []);
    assert_eq!(step(&mut s, &view(0, 5), 2), [], "the other node answers all");
    assert_eq!(step(&mut s, &view(0, 6), 3), [], "not twice in a row");
    let effects = step(&mut s, &mined(view(1, 6), &[receipt(1, 10)], 9), 4);
    assert!(matches!(effects[..], [SettlementEffect::Record(SettlementRecord::Mined { batch_no: 1, .. })]));
}

#[test]
fn a_root_that_is_not_ours_stops_submission_with_an_alarm() {
    let mut s = settlement(1);
    let mut foreign = view(0, 5);
    foreign.contract.root += Fr::from(1);
    assert!(
        matches!(&step(&mut s, &foreign, 0)[..], [SettlementEffect::Halt { reason, .. }] if reason.contains("PM-SETTLE-007"))
    );
}

#[test]
fn a_batch_that_the_contract_knows_is_found_by_its_log_without_our_receipt() {
    let mut s = settlement(1);
    let log = BatchAccepted {
        batch_no: 1,
        shape: Shape::S3M1,
        mid_root: root(1),
        new_root: root(1),
        start: 0,
        next: 4,
        minted_up_to: 0,
        forced_up_to: 0,
        block: 7,
        tx: [9; 32],
    };
    let seen = ChainView { accepted: HashMap::from([(1, log)]), final_block: 7, ..view(1, 6) };
    let effects = step(&mut s, &seen, 0);
    assert!(
        matches!(&effects[0], SettlementEffect::Record(SettlementRecord::Mined { receipt, .. }) if receipt.block == 7)
    );
    assert!(matches!(effects[1], SettlementEffect::Record(SettlementRecord::Finalised { batch_no: 1 })));
}

#[test]
fn records_replayed_after_a_restart_give_the_same_submissions() {
    let mut s = settlement(2);
    let records = [
        signed(1, 1, tx(5, 1)),
        signed(1, 1, tx(5, 2)),
        SettlementRecord::Mined { batch_no: 1, receipt: receipt(2, 10), was: None },
        SettlementRecord::Finalised { batch_no: 1 },
        signed(2, 2, tx(6, 3)),
    ];
    records.iter().for_each(|record| s.apply(record, 7));
    assert_eq!(s.followed(), [[3; 32]]);
    // Signed and recorded, perhaps never sent: it is sent again, not signed again.
    assert_eq!(step(&mut s, &view(1, 6), 107), [SettlementEffect::Send { batch_no: 2, tx: tx(6, 3) }]);
}

#[test]
fn what_is_proven_together_goes_together_by_number_and_by_gas() {
    let rules = SettlementRules { max_batches_per_tx: 3, ..RULES };
    assert_eq!(step(&mut settlement_with(rules, 8), &view(0, 5), 0), [submit(1..=3, 5, Tried::Latest)]);
    let tight = SettlementRules { max_batches_per_tx: 64, max_gas_per_tx: cost::tx_gas(2 * GAS), ..RULES };
    assert_eq!(step(&mut settlement_with(tight, 8), &view(0, 5), 0), [submit(1..=2, 5, Tried::Latest)]);
    // A batch too large for the estimate goes alone: the node's estimate decides.
    let tiny = SettlementRules { max_gas_per_tx: 1, ..tight };
    assert_eq!(step(&mut settlement_with(tiny, 8), &view(0, 5), 0), [submit(1..=1, 5, Tried::Latest)]);
}

#[test]
fn transactions_with_consecutive_nonces_build_on_each_other_up_to_a_number() {
    let rules = SettlementRules { max_batches_per_tx: 2, max_in_flight: 3, ..RULES };
    let mut s = settlement_with(rules, 9);
    let wanted =
        [submit(1..=2, 5, Tried::Latest), submit(3..=4, 6, Tried::Pending), submit(5..=6, 7, Tried::Pending)];
    assert_eq!(step(&mut s, &view(0, 5), 0), wanted);
    for (first, nonce) in [(1, 5), (3, 6), (5, 7)] {
        s.apply(&signed(first, first + 1, tx(nonce, nonce as u8)), 0);
    }
    assert_eq!(step(&mut s, &view(0, 5), 1), [], "three are on their way");
    // The first is mined: one more may go.
    let effects = step(&mut s, &mined(view(2, 6), &[receipt(5, 10)], 0), 2);
    assert_eq!(effects.last(), Some(&submit(7..=8, 8, Tried::Pending)));
    assert_eq!(effects.len(), 3, "two batches are mined: {effects:?}");
}

#[test]
fn a_call_refused_on_what_is_pending_waits_until_the_contract_moves() {
    let rules = SettlementRules { max_in_flight: 4, ..RULES };
    let mut s = settlement_with(rules, 3);
    sign(&mut s, 1, tx(5, 1), 0);
    s.note(Note::Held { contract_at: 0 }, 0);
    assert_eq!(step(&mut s, &view(0, 5), 1), []);
    let effects = step(&mut s, &mined(view(1, 6), &[receipt(1, 10)], 0), 2);
    assert_eq!(effects[1..], [submit(2..=2, 6, Tried::Latest), submit(3..=3, 7, Tried::Pending)]);
}

#[test]
fn batches_refused_together_go_singly() {
    let rules = SettlementRules { max_batches_per_tx: 4, ..RULES };
    let mut s = settlement_with(rules, 6);
    assert_eq!(step(&mut s, &view(0, 5), 0), [submit(1..=4, 5, Tried::Latest)]);
    let refused = SettlementRecord::Refused { batch_no: 1, last: 4, reason: "no".to_owned() };
    assert!(s.is_news(1, "no"));
    s.apply(&refused, 1);
    assert!(!s.is_news(1, "no"));
    assert_eq!(step(&mut s, &view(0, 5), 1), [submit(1..=1, 5, Tried::Latest)]);
    // Behind them groups are made again.
    sign(&mut s, 1, tx(5, 1), 1);
    for batch_no in 1..=4u32 {
        let id = batch_no as u8;
        sign(&mut s, batch_no, tx(4 + u64::from(batch_no), id), 1);
    }
    let receipts: Vec<Receipt> = (1..=4).map(|id| receipt(id, 10)).collect();
    let effects = step(&mut s, &mined(view(4, 9), &receipts, 0), 2);
    assert_eq!(effects.last(), Some(&submit(5..=6, 9, Tried::Latest)));
}

#[test]
fn the_fee_rises_to_the_cap_and_then_the_transaction_is_sent_again_with_an_alarm() {
    let rules = SettlementRules { max_fee: 130, ..RULES };
    let mut s = settlement_with(rules, 1);
    sign(&mut s, 1, tx(5, 1), 0);
    let effects = step(&mut s, &view(0, 5), 1_000);
    let [SettlementEffect::Submit { fees, replaces: Some((FEES, 7)), .. }] = effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(fees.max_fee, 121);
    sign(&mut s, 1, SignedTx { fees, ..tx(5, 2) }, 1_000);
    // 130 is less than a tenth above 121.
    let capped = step(&mut s, &view(0, 5), 2_000);
    assert!(matches!(record_of(&capped[0]), Some(SettlementRecord::AtCap { batch_no: 1, .. })), "{capped:?}");
    assert!(matches!(&capped[1], SettlementEffect::Send { .. }));
    assert!(matches!(&capped[2], SettlementEffect::Alarm { reason, .. } if reason.contains("PM-SETTLE-005")));
    let later = step(&mut s, &view(0, 5), 2_100);
    assert!(later.iter().all(|effect| record_of(effect).is_none()), "recorded once: {later:?}");
    assert!(later.iter().any(|effect| matches!(effect, SettlementEffect::Send { .. })));
    let market = ChainView { fees: Fees { max_fee: 9_999, max_priority: 9_999 }, ..view(0, 5) };
    let first = step(&mut settlement_with(rules, 1), &market, 0);
    assert!(matches!(
        first[0],
        SettlementEffect::Submit { fees: Fees { max_fee: 130, max_priority: 130 }, .. }
    ));
}

#[test]
fn what_builds_on_a_reverted_transaction_starts_over_with_it() {
    let rules = SettlementRules { max_in_flight: 4, ..RULES };
    let mut s = settlement_with(rules, 3);
    for (batch_no, nonce) in [(1, 5), (2, 6), (3, 7)] {
        sign(&mut s, batch_no, tx(nonce, batch_no as u8), 0);
    }
    let failed = Receipt { success: false, ..receipt(1, 10) };
    let effects = step(&mut s, &mined(view(0, 6), &[failed], 0), 1);
    let records: Vec<u32> = effects.iter().filter_map(record_of).map(SettlementRecord::batch_no).collect();
    assert_eq!(records, [1, 2, 3]);
    assert_eq!(s.followed(), [[0; 32]; 0]);
    // Their nonces are taken again, for more than a node that still has the old ones wants.
    let effects = step(&mut s, &view(0, 6), 2);
    let [SettlementEffect::Submit { nonce: 6, fees, tried: Tried::Latest, .. }, ..] = effects[..] else {
        panic!("{effects:?}")
    };
    assert!(fees.max_fee >= 110 && fees.max_priority >= 11, "{fees:?}");
}

#[test]
fn a_nonce_that_nobody_fills_strands_nothing_for_ever() {
    let mut s = settlement(1);
    // Signed for nonce 7 when the owner stood there; a reorganisation took foreign transactions 5 and 6 away.
    sign(&mut s, 1, tx(7, 1), 0);
    let displaced = SettlementRecord::Displaced { batch_no: 1, last: 1, nonce: 7 };
    assert_eq!(step(&mut s, &view(0, 5), 1), [], "two looks must agree");
    assert_eq!(step(&mut s, &view(0, 5), 2), [SettlementEffect::Record(displaced)]);
    assert_eq!(step(&mut s, &view(0, 5), 3), [submit(1..=1, 5, Tried::Latest)]);
}

#[test]
fn a_final_batch_that_only_a_node_behind_lacks_is_an_alarm_and_nothing_is_sent() {
    let mut s = settlement(2);
    sign(&mut s, 1, tx(5, 1), 0);
    step(&mut s, &mined(view(1, 6), &[receipt(1, 10)], 10), 1);
    let effects = step(&mut s, &view(0, 5), 2);
    assert!(
        matches!(&effects[..], [SettlementEffect::Alarm { reason, .. }] if reason.contains("PM-SETTLE-008")),
        "{effects:?}"
    );
    // The chain comes back, and so does settlement.
    assert_eq!(step(&mut s, &view(1, 6), 3), [submit(2..=2, 6, Tried::Latest)]);
}

/// Batches 1 to `last` are final, each by a transaction with nonce 4 + its number in block 10 + its number.
fn all_final(last: u32, batches: u32) -> Settlement {
    let rules = SettlementRules { max_in_flight: 4, ..RULES };
    let mut s = settlement_with(rules, batches);
    for batch_no in 1..=last {
        let id = batch_no as u8;
        sign(&mut s, batch_no, tx(4 + u64::from(batch_no), id), 1);
    }
    let receipts: Vec<Receipt> = (1..=last as u8).map(|id| receipt(id, 10 + u64::from(id))).collect();
    step(&mut s, &mined(view(last, 5 + u64::from(last)), &receipts, 100), 2);
    assert_eq!(s.submissions().count(), (batches - last) as usize);
    s
}

#[test]
fn batches_that_a_deep_reorganisation_took_away_are_sent_again_by_their_stored_transactions() {
    let mut s = all_final(4, 5);
    sign(&mut s, 5, tx(9, 5), 3);
    // The contract is back at batch 2, and the block of batch 3 is another one.
    let back = ChainView { finality: FinalityLook::Replaced, ..view(2, 7) };
    assert_eq!(s.contradiction(&back.contract), None);
    let effects = step(&mut s, &back, 10_000);
    let was = receipt(3, 13);
    let dropped = SettlementRecord::Dropped { batch_no: 3, last: 4, was, head: 20 };
    assert_eq!(effects, [SettlementEffect::Record(dropped)]);
    let not_final: Vec<u32> = s.submissions().map(|(batch_no, _)| batch_no).collect();
    assert_eq!(not_final, [3, 4, 5]);
    // All of them at once, oldest first, without waiting for the next repetition.
    let sent: Vec<u64> = step(&mut s, &view(2, 7), 10_000)
        .into_iter()
        .filter_map(|effect| match effect {
            SettlementEffect::Send { tx, .. } => Some(tx.nonce),
            _ => None,
        })
        .collect();
    assert_eq!(sent, [7, 8, 9]);
    // On the new branch they become final in other blocks.
    let again = [receipt(3, 23), receipt(4, 24), receipt(5, 25)];
    let effects = step(&mut s, &mined(view(5, 10), &again, 24), 10_001);
    let finals: Vec<u32> = effects
        .iter()
        .filter_map(record_of)
        .filter(|record| matches!(record, SettlementRecord::Finalised { .. }))
        .map(SettlementRecord::batch_no)
        .collect();
    assert_eq!(finals, [3, 4]);
}

#[test]
fn a_batch_that_somebody_else_brought_in_before_a_deep_reorganisation_starts_over() {
    let mut s = all_final(2, 3);
    let log = BatchAccepted {
        batch_no: 3,
        shape: Shape::S3M1,
        mid_root: root(3),
        new_root: root(3),
        start: 0,
        next: 4,
        minted_up_to: 0,
        forced_up_to: 0,
        block: 30,
        tx: [9; 32],
    };
    step(&mut s, &ChainView { accepted: HashMap::from([(3, log)]), final_block: 30, ..view(3, 8) }, 3);
    assert_eq!(s.submissions().count(), 0);
    let back = ChainView { finality: FinalityLook::Replaced, ..view(2, 7) };
    step(&mut s, &back, 4);
    assert_eq!(step(&mut s, &view(2, 7), 5), [submit(3..=3, 7, Tried::Latest)]);
}

#[test]
fn only_a_root_that_is_not_ours_or_too_old_stops_for_good() {
    let s = all_final(3, 3);
    let foreign = ContractState { root: root(77), ..view(2, 7).contract };
    assert!(s.contradiction(&foreign).unwrap().contains("PM-SETTLE-007"));
    assert!(s.undone(&foreign).is_none());
    let mut s = settlement(0);
    for batch_no in 1..=KEPT_FINAL + 2 {
        s.proven(batch_no, root(batch_no - 1), root(batch_no), GAS);
        let receipt = receipt(1, u64::from(batch_no));
        s.apply(&SettlementRecord::Mined { batch_no, receipt, was: None }, 0);
        s.apply(&SettlementRecord::Finalised { batch_no }, 0);
    }
    assert!(s.contradiction(&view(1, 0).contract).unwrap().contains("PM-SETTLE-006"));
    assert_eq!(s.contradiction(&view(2, 0).contract), None);
    assert_eq!(s.undone(&view(2, 0).contract).map(|(first, _)| first), Some(3));
}

#[test]
fn a_transaction_that_no_pool_took_frees_its_nonce_and_is_signed_anew_lower_and_singly() {
    let rules = SettlementRules { max_batches_per_tx: 4, ..RULES };
    let mut s = settlement_with(rules, 3);
    let spike = Fees { max_fee: 900, max_priority: 50 };
    let effects = step(&mut s, &ChainView { fees: spike, ..view(0, 5) }, 0);
    assert!(
        matches!(effects[..], [SettlementEffect::Submit { batch_no: 1, last: 3, fees, .. }] if fees == spike)
    );
    let refuse = |s: &mut Settlement, last: u32, now: u64, reason: &str| {
        s.apply(&signed(1, last, SignedTx { fees: spike, ..tx(5, now as u8) }), now);
        let refused = SettlementRecord::Refused { batch_no: 1, last, reason: reason.to_owned() };
        assert!(s.is_news(1, reason), "a refusal of a new transaction is news");
        s.apply(&refused, now);
    };
    refuse(&mut s, 3, 0, "too dear");
    assert_eq!(s.flights().count(), 0);
    assert_eq!(step(&mut s, &view(0, 5), 99), [], "not at once");
    assert_eq!(step(&mut s, &view(0, 5), 100), [submit(1..=1, 5, Tried::Latest)], "with the fees of then");
    // The pauses grow, up to four times the first.
    for (now, pause) in [(100u64, 200u64), (300, 400), (700, 400)] {
        refuse(&mut s, 1, now, "too dear");
        assert_eq!(step(&mut s, &view(0, 5), now + pause - 1), []);
        assert_eq!(step(&mut s, &view(0, 5), now + pause), [submit(1..=1, 5, Tried::Latest)]);
    }
    // One that may be in a pool keeps its nonce, whatever is refused later.
    sign(&mut s, 1, tx(5, 1), 2_000);
    sign(&mut s, 1, tx(5, 2), 3_000);
    s.apply(&SettlementRecord::Refused { batch_no: 1, last: 1, reason: "too dear".to_owned() }, 3_000);
    assert_eq!(s.flights().count(), 1);
}

#[test]
fn what_builds_on_a_transaction_that_no_pool_took_starts_over_with_it() {
    let rules = SettlementRules { max_in_flight: 4, ..RULES };
    let mut s = settlement_with(rules, 3);
    for (batch_no, nonce) in [(1, 5), (2, 6), (3, 7)] {
        sign(&mut s, batch_no, tx(nonce, batch_no as u8), 0);
    }
    s.apply(&SettlementRecord::Refused { batch_no: 2, last: 2, reason: "no funds".to_owned() }, 0);
    let first = receipt(1, 10);
    step(&mut s, &mined(view(1, 6), std::slice::from_ref(&first), 0), 49);
    let effects = step(&mut s, &mined(view(1, 6), std::slice::from_ref(&first), 0), 50);
    let displaced = SettlementRecord::Displaced { batch_no: 3, last: 3, nonce: 7 };
    assert!(effects.iter().filter_map(record_of).any(|record| *record == displaced), "{effects:?}");
    let effects = step(&mut s, &mined(view(1, 6), &[first], 0), 100);
    let [SettlementEffect::Submit { batch_no: 2, nonce: 6, .. }, ..] = effects[..] else {
        panic!("{effects:?}")
    };
}

#[test]
fn a_node_that_cannot_say_whether_there_is_a_receipt_changes_nothing() {
    let mut s = settlement(2);
    sign(&mut s, 1, tx(5, 1), 0);
    step(&mut s, &mined(view(1, 6), &[receipt(1, 10)], 9), 1);
    let records = |effects: Vec<SettlementEffect>| -> usize { effects.iter().filter_map(record_of).count() };
    let indexing = ChainView { unknown: HashSet::from([[1; 32]]), ..view(1, 6) };
    assert_eq!(records(step(&mut s, &indexing, 2)), 0, "it is not dropped");
    // Nor where the contract has the batch, and its receipt and log are out of sight.
    assert_eq!(records(step(&mut s, &view(1, 6), 3)), 0);
    let no_logs = ChainView { logs: LogsRead::NotAll, ..view(0, 5) };
    assert_eq!(records(step(&mut s, &no_logs, 4)), 0);
    // Where it is known that there is none, it is sent again.
    assert_eq!(records(step(&mut s, &view(0, 5), 5)), 1);
}

#[test]
fn a_transaction_that_moved_to_another_block_says_where_it_was() {
    let mut s = settlement(1);
    sign(&mut s, 1, tx(5, 1), 0);
    step(&mut s, &mined(view(1, 6), &[receipt(1, 10)], 0), 1);
    let effects = step(&mut s, &mined(view(1, 6), &[receipt(1, 12)], 0), 2);
    let moved = SettlementRecord::Mined { batch_no: 1, receipt: receipt(1, 12), was: Some(receipt(1, 10)) };
    assert_eq!(effects, [SettlementEffect::Record(moved)]);
    assert_eq!(least_depth(10, 20), 11);
}
