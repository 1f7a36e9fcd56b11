//! What a transaction costs: gas by what is in it, fees by the market and our cap.

use protocol::l1::Fees;

/// Gas of a transaction beyond its batches: the transaction itself, and for each of two keys three pairings, five
/// multiplications, and the key's code.
const BASE: u64 = 450_000;
/// Gas of a batch without mints and records: one pairing, two multiplications, its history slot, its log and call data.
const BATCH: u64 = 110_000;
/// A stored hash is read and compared.
const MINT: u64 = 10_000;
/// A withdrawal to an owner with nothing pending: one fresh storage slot, one log, three words of call data.
const RECORD: u64 = 30_000;
/// A queue entry's preimage beside its record.
const FORCED: u64 = 12_000;

/// Gas of one batch, held against the contract's own by a test. The node's estimate decides in the end.
pub fn batch_gas(mints: usize, records: usize, forced: usize) -> u64 {
    BATCH + MINT * mints as u64 + RECORD * records as u64 + FORCED * forced as u64
}

/// Gas of a transaction with batches of this gas in all.
pub fn tx_gas(batches: u64) -> u64 {
    BASE + batches
}

pub(super) fn capped(fees: Fees, cap: u128) -> Fees {
    Fees { max_fee: fees.max_fee.min(cap), max_priority: fees.max_priority.min(cap) }
}

/// At least `percent` more than before, or what the market wants if that is more, but never above the cap. Nothing where
/// the cap leaves less than the tenth that nodes want of a replacement.
pub(super) fn bump(before: Fees, market: Fees, percent: u32, cap: u128) -> Option<Fees> {
    let raise = |fee: u128, percent: u32| {
        fee.saturating_add((fee.saturating_mul(u128::from(percent))).div_ceil(100)).saturating_add(1)
    };
    let wanted = Fees {
        max_fee: raise(before.max_fee, percent).max(market.max_fee),
        max_priority: raise(before.max_priority, percent).max(market.max_priority),
    };
    let fees = capped(wanted, cap);
    let enough =
        fees.max_fee >= raise(before.max_fee, 10) && fees.max_priority >= raise(before.max_priority, 10);
    enough.then_some(fees)
}
