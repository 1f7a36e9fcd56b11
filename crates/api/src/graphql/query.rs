//! Questions: none of them changes or reserves anything.

use async_graphql::{Context, Object, Result};
use protocol::OperationId;

use super::{
    account::{Account, DirectoryEntry},
    batch::Batch,
    draft::{OwnershipProofResult, PrepareResult},
    input::{PrepareSendInput, PrepareWithdrawInput},
    operation::Operation,
    page::{self, Page},
    refusal::{UserError, asked},
    scalars::{Address, BigInt, Bytes32},
    service,
    system::System,
    units,
    worker::Worker,
};

pub struct Query;

#[Object]
impl Query {
    /// The instance and how far it is.
    async fn system(&self, ctx: &Context<'_>) -> Result<System> {
        Ok(System::new(service(ctx)?.system().await, units(ctx)?))
    }

    /// What an address holds; an unknown one holds nothing.
    async fn account(&self, address: Address) -> Account {
        Account(address.0)
    }

    /// Who can be paid under an address; null without an entry.
    async fn directory_entry(&self, ctx: &Context<'_>, owner: Address) -> Result<Option<DirectoryEntry>> {
        Ok(service(ctx)?.directory_entry(owner.0).await.map(DirectoryEntry::from))
    }

    async fn operation(&self, ctx: &Context<'_>, id: Bytes32) -> Result<Option<Operation>> {
        let view = asked(service(ctx)?.operation(OperationId(id.0)).await)?;
        let units = units(ctx)?;
        Ok(view.map(|view| Operation::new(view, units)))
    }

    async fn batch(
        &self,
        ctx: &Context<'_>,
        #[graphql(validator(maximum = 2147483647))] number: u32,
    ) -> Result<Option<Batch>> {
        Ok(asked(service(ctx)?.batch(number).await)?.map(Batch))
    }

    /// All batches, newest first.
    #[graphql(complexity = "page::cost(first, child_complexity)")]
    async fn batches(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 20)] first: i32,
        after: Option<String>,
    ) -> Result<Page<u32, Batch>> {
        let size = page::size(first)?;
        let before = page::place::<u32>(after.as_deref())?;
        let mut views = asked(service(ctx)?.batches(before, size + 1).await)?;
        let more = views.len() > size;
        views.truncate(size);
        let nodes = views.into_iter().map(|view| (view.batch_no, Batch(view)));
        Ok(page::page(nodes, before.is_some(), more))
    }

    /// The workers by name, with their cards; those that left a while ago are still told of.
    #[graphql(complexity = "page::cost(first, child_complexity)")]
    async fn workers(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 20)] first: i32,
        after: Option<String>,
    ) -> Result<Page<String, Worker>> {
        let size = page::size(first)?;
        let last = page::place::<String>(after.as_deref())?;
        let mut views = service(ctx)?.workers().await;
        views.retain(|view| last.as_ref().is_none_or(|last| view.id > *last));
        let more = views.len() > size;
        views.truncate(size);
        let nodes = views.into_iter().map(|view| (view.id.clone(), Worker::new(view)));
        Ok(page::page(nodes, last.is_some(), more))
    }

    /// A proof that a leaf stood under the root of a batch; default: the last batch that is final, else proven.
    async fn ownership_proof(
        &self,
        ctx: &Context<'_>,
        index: BigInt,
        #[graphql(validator(maximum = 2147483647))] batch: Option<u32>,
    ) -> Result<OwnershipProofResult> {
        let outcome = match index.as_u64().filter(|index| *index < 1 << circuits::message::INDEX_BITS) {
            Some(index) => service(ctx)?.ownership_proof(index, batch).await.map_err(UserError::from),
            None => {
                let message = "the tree has places from 0 to 2^36 - 1; take the index from `account.coins`";
                Err(UserError::new("INDEX_OUT_OF_RANGE", message, &["index"]))
            }
        };
        Ok(OwnershipProofResult::new(outcome, units(ctx)?))
    }

    /// What to sign to pay somebody. Picks leaves, reserves nothing.
    async fn prepare_send(&self, ctx: &Context<'_>, input: PrepareSendInput) -> Result<PrepareResult> {
        let units = units(ctx)?;
        let outcome = match input.check(units) {
            Ok(request) => service(ctx)?.prepare_send(request).await.map_err(UserError::from),
            Err(refusal) => Err(refusal),
        };
        Ok(PrepareResult::new(outcome, units))
    }

    /// What to sign to take coins to L1. Picks leaves, reserves nothing.
    async fn prepare_withdraw(
        &self,
        ctx: &Context<'_>,
        input: PrepareWithdrawInput,
    ) -> Result<PrepareResult> {
        let units = units(ctx)?;
        let outcome = match input.check(units) {
            Ok(request) => service(ctx)?.prepare_withdraw(request).await.map_err(UserError::from),
            Err(refusal) => Err(refusal),
        };
        Ok(PrepareResult::new(outcome, units))
    }
}
