//! Batches: the unit that is proved and settled.

use async_graphql::{Context, Object, Result};

use super::{
    account::{self, Stage},
    operation::{Operation, TimelineEntry},
    page::{self, Page},
    scalars::{BigInt, Bytes, Bytes32},
};
use crate::service::{BatchView, ListOf};

/// A batch. What is null is not known yet: the circuit and the roots until it is sealed, the proof until it is proven,
/// the L1 fields until it is submitted.
pub struct Batch(pub BatchView);

#[Object]
impl Batch {
    async fn number(&self) -> u32 {
        self.0.batch_no
    }

    /// The circuit, e.g. `s14m2`: 14 places for spends, 2 for mints.
    async fn circuit(&self) -> Option<&'static str> {
        self.0.shape.map(|shape| shape.name())
    }

    async fn stage(&self) -> Stage {
        self.0.stage.into()
    }

    /// The index of its first leaf.
    async fn start(&self) -> BigInt {
        self.0.start.into()
    }

    async fn old_root(&self) -> Option<Bytes32> {
        self.0.old_root.map(Bytes32::from)
    }

    /// After all outputs were appended and before any leaf was spent: promises name places under this root.
    async fn mid_root(&self) -> Option<Bytes32> {
        self.0.mid_root.map(Bytes32::from)
    }

    async fn new_root(&self) -> Option<Bytes32> {
        self.0.new_root.map(Bytes32::from)
    }

    /// h, c and e.
    async fn public_inputs(&self) -> Option<Vec<Bytes32>> {
        self.0.public_inputs.map(|inputs| inputs.map(Bytes32::from).to_vec())
    }

    /// The Groth16 proof as the contract takes it.
    async fn proof(&self) -> Option<Bytes> {
        self.0.proof.clone().map(Bytes)
    }

    async fn worker(&self) -> Option<&str> {
        self.0.worker.as_deref()
    }

    async fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// Milliseconds that the accepted proof took.
    async fn prove_ms(&self) -> Option<BigInt> {
        self.0.prove_ms.map(BigInt::from)
    }

    /// Milliseconds that its witness took.
    async fn witness_ms(&self) -> Option<BigInt> {
        self.0.witness_ms.map(BigInt::from)
    }

    async fn l1_tx(&self) -> Option<Bytes32> {
        self.0.l1_tx.map(Bytes32)
    }

    async fn l1_block(&self) -> Option<BigInt> {
        self.0.l1_block.map(BigInt::from)
    }

    async fn gas_used(&self) -> Option<BigInt> {
        self.0.gas_used.map(BigInt::from)
    }

    async fn timeline(&self) -> Vec<TimelineEntry> {
        self.0.timeline.iter().cloned().map(TimelineEntry::from).collect()
    }

    /// Operations in the order of their slots.
    #[graphql(complexity = "page::cost(first, child_complexity)")]
    async fn operations(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 20)] first: i32,
        after: Option<String>,
    ) -> Result<Page<String, Operation>> {
        account::operations(ctx, ListOf::Batch(self.0.batch_no), first, after.as_deref()).await
    }
}
