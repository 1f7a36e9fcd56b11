//! Numbers as only a node that is broken or hostile gives them.

use super::*;

#[test]
fn numbers_at_their_limits_neither_overflow_nor_sign_anything() {
    let limits = |batch_no: u32, nonce: u64, block: u64| {
        let mut view = view(batch_no, nonce);
        (view.head, view.final_block) = (block, block);
        view.contract.root = root(0);
        (view.contract.next, view.contract.minted_up_to, view.contract.forced_up_to) = (block, block, block);
        (view.contract.deposit_count, view.contract.forced_count) = (block, block);
        view.fees = Fees { max_fee: u128::MAX, max_priority: u128::MAX };
        view
    };
    for batch_no in [0, 1, u32::MAX - 1, u32::MAX] {
        for nonce in [0, 5, u64::MAX - 1, u64::MAX] {
            for final_batches in [0, 2] {
                let mut s = all_final(final_batches, 3);
                sign(&mut s, final_batches + 1, tx(nonce, 9), 3);
                let look = limits(batch_no, nonce, u64::MAX);
                let far = Receipt { block: u64::MAX, block_hash: [7; 32], ..receipt(9, 1) };
                let log = BatchAccepted {
                    batch_no: u32::MAX,
                    shape: Shape::S3M1,
                    mid_root: root(1),
                    new_root: root(1),
                    start: u64::MAX,
                    next: u64::MAX,
                    minted_up_to: u64::MAX,
                    forced_up_to: u64::MAX,
                    block: u64::MAX,
                    tx: [9; 32],
                };
                let with_receipt = ChainView {
                    accepted: HashMap::from([(u32::MAX, log)]),
                    ..mined(look.clone(), &[far], u64::MAX)
                };
                for (now, view) in [&look, &look, &with_receipt, &look].into_iter().enumerate() {
                    let now = [4, 5_000, 10_000, 20_000][now];
                    let effects = step(&mut s, view, now);
                    let beyond = batch_no > 3;
                    assert!(
                        !beyond || matches!(effects[..], [SettlementEffect::Halt { .. }]),
                        "{batch_no} {nonce}: {effects:?}"
                    );
                }
            }
        }
    }
}
