//! The policy against views of a chain.

use circuits::shape::Shape;

use super::*;

const RULES: SettlementRules = SettlementRules { resend_ms: 100, bump_ms: 1_000, bump_percent: 20 };
const FEES: Fees = Fees { max_fee: 100, max_priority: 10 };

fn root(batch_no: u32) -> Fr {
    Fr::from(1_000 + u64::from(batch_no))
}

fn settlement(batches: u32) -> Settlement {
    let mut settlement = Settlement::new(RULES);
    for batch_no in 1..=batches {
        settlement.proven(batch_no, root(batch_no - 1), root(batch_no));
    }
    settlement
}

/// The contract after `batch_no`, with `nonce` as the owner's next.
fn view(batch_no: u32, nonce: u64) -> ChainView {
    ChainView {
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
    let effects = settlement.step(view, now);
    for effect in &effects {
        if let SettlementEffect::Record(record) = effect {
            settlement.apply(record, now);
        }
    }
    effects
}

fn sign(settlement: &mut Settlement, batch_no: u32, tx: SignedTx, now: u64) {
    settlement.apply(&SettlementRecord::Signed { batch_no, tx }, now);
}

#[test]
fn batches_are_submitted_one_after_the_other_and_become_final_in_order() {
    let mut s = settlement(2);
    let submit = |batch_no, nonce| SettlementEffect::Submit { batch_no, nonce, fees: FEES };
    assert_eq!(step(&mut s, &view(0, 5), 0), [submit(1, 5)]);
    sign(&mut s, 1, tx(5, 1), 0);
    assert_eq!(step(&mut s, &view(0, 5), 1), [], "nothing while the first is on its way");
    let first = receipt(1, 10);
    let effects = step(&mut s, &mined(view(1, 6), std::slice::from_ref(&first), 9), 2);
    let record = SettlementRecord::Mined { batch_no: 1, receipt: first.clone() };
    assert_eq!(effects, [SettlementEffect::Record(record), submit(2, 6)]);
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
    let [SettlementEffect::Submit { batch_no: 1, nonce: 5, fees }] = step(&mut s, &view(0, 5), 1_000)[..]
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
    let dropped = SettlementEffect::Record(SettlementRecord::Dropped { batch_no: 1 });
    assert_eq!(effects, [dropped, SettlementEffect::Send { batch_no: 1, tx: tx(5, 1) }]);
    let again = receipt(1, 12);
    let effects = step(&mut s, &mined(view(1, 6), std::slice::from_ref(&again), 9), 3);
    assert_eq!(effects, [SettlementEffect::Record(SettlementRecord::Mined { batch_no: 1, receipt: again })]);
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
    assert_eq!(
        step(&mut s, &view(0, 6), 2),
        [SettlementEffect::Submit { batch_no: 1, nonce: 6, fees: FEES }]
    );
}

#[test]
fn a_nonce_that_somebody_else_used_is_given_up() {
    let mut s = settlement(1);
    sign(&mut s, 1, tx(5, 1), 0);
    let displaced = SettlementEffect::Record(SettlementRecord::Displaced { batch_no: 1 });
    assert_eq!(step(&mut s, &view(0, 6), 1), [displaced]);
    assert!(matches!(step(&mut s, &view(0, 6), 2)[..], [SettlementEffect::Submit { nonce: 6, .. }]));
}

#[test]
fn a_root_that_is_not_ours_stops_submission_with_an_alarm() {
    let mut s = settlement(1);
    let mut foreign = view(0, 5);
    foreign.contract.root += Fr::from(1);
    assert!(matches!(step(&mut s, &foreign, 0)[..], [SettlementEffect::Alarm { batch_no: 1, .. }]));
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
        SettlementRecord::Signed { batch_no: 1, tx: tx(5, 1) },
        SettlementRecord::Signed { batch_no: 1, tx: tx(5, 2) },
        SettlementRecord::Mined { batch_no: 1, receipt: receipt(2, 10) },
        SettlementRecord::Finalised { batch_no: 1 },
        SettlementRecord::Signed { batch_no: 2, tx: tx(6, 3) },
    ];
    records.iter().for_each(|record| s.apply(record, 7));
    assert_eq!(s.followed(), [[3; 32]]);
    // Signed and recorded, perhaps never sent: it is sent again, not signed again.
    assert_eq!(step(&mut s, &view(1, 6), 107), [SettlementEffect::Send { batch_no: 2, tx: tx(6, 3) }]);
}
