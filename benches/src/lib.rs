//! What the benchmarks share.

pub mod ark;
pub mod kernels;

use bn254::Fr;
use circuits::{
    batch::{Mint, Prepared},
    fixture::{Fixture, Operation},
    leaf::CoinRange,
    shape::Shape,
};

/// A batch with a send in every slot.
///
/// # Errors
/// If the batch cannot be made.
pub fn full_batch(shape: Shape) -> eyre::Result<Prepared> {
    let mut fixture = Fixture::new(Fr::from(1));
    let (alice, bob) = (fixture.wallet(1), fixture.wallet(2));
    let range = CoinRange::new(1, 1_000_000)?;
    fixture.batch(shape, &[], &[Mint { account: alice.account, range }]);
    let index = shape.slots() as u64;
    let sends: Vec<Operation> = (1..=shape.slots() as u64)
        .map(|i| Operation::Send { index, split: 100 * i, recipient: bob.account })
        .collect();
    Ok(Prepared::new(fixture.batch(shape, &sends, &[]))?)
}
