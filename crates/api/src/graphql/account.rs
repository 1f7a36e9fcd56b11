//! An address as the ledger sees it: its balances, its coins, its operations.

use async_graphql::{ComplexObject, Context, Enum, Object, Result, SimpleObject};
use protocol::{Address as AddressBytes, DirectoryEntry as EntryView, OperationId, Stage as StageView};

use super::{
    Units,
    operation::Operation,
    page::{self, Page},
    refusal::{asked, bad_input},
    scalars::{Address, BigInt, Bytes, Bytes32},
    service, units,
};
use crate::service::{CoinView, ListOf};

/// How far something has come, in the order of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "StageView")]
pub enum Stage {
    /// Durable in the coordinator, with its promise.
    Accepted,
    /// In a closed batch.
    Sealed,
    /// The batch is with a worker.
    Proving,
    /// The coordinator has verified the proof.
    Proven,
    /// The transaction is on its way to L1.
    Submitted,
    /// Final on L1.
    Final,
}

/// Wei that the address holds, by how far the state is that says so.
#[derive(Clone, Debug, SimpleObject)]
pub struct Balances {
    /// In the accepted state: what can be spent now.
    pub accepted: BigInt,
    /// Under the last proven root.
    pub proven: BigInt,
    /// Under the last root that is final on L1.
    #[graphql(name = "final")]
    pub finalized: BigInt,
}

/// A leaf: a range of coins with one owner.
#[derive(Clone, Debug, SimpleObject)]
pub struct Coin {
    /// The place of the leaf in the tree.
    pub index: BigInt,
    pub owner: Address,
    /// P2(owner, keyHash).
    pub account: Bytes32,
    /// P2(key.x, key.y); 0 is a vault that only L1 can open.
    pub key_hash: Bytes32,
    /// The first coin.
    pub low: BigInt,
    /// The last coin.
    pub high: BigInt,
    /// The worth in wei.
    pub amount: BigInt,
    /// The batch that created this state of the leaf.
    pub batch_number: u32,
    /// How far that batch is.
    pub stage: Stage,
}

impl Coin {
    fn new(view: CoinView, units: Units) -> Self {
        Self {
            index: view.index.into(),
            owner: Address(view.owner),
            account: view.account.into(),
            key_hash: view.key_hash.into(),
            low: view.range.low().into(),
            high: view.range.high().into(),
            amount: units.wei(view.range.amount()),
            batch_number: view.batch_no,
            stage: view.stage.into(),
        }
    }
}

/// A Baby Jubjub spending key.
#[derive(Clone, Debug, SimpleObject)]
pub struct SpendingKey {
    pub x: Bytes32,
    pub y: Bytes32,
}

impl From<&circuits::baby_jubjub::Point> for SpendingKey {
    fn from(point: &circuits::baby_jubjub::Point) -> Self {
        Self { x: point.x.into(), y: point.y.into() }
    }
}

/// Who can be paid under an address, as its owner signed it (EIP-712 `DirectoryEntry`). Verify it yourself: the
/// signature, the key on the curve, and the epoch on L1.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub struct DirectoryEntry {
    pub owner: Address,
    pub key: SpendingKey,
    pub key_epoch: u32,
    pub signature: Bytes,
    #[graphql(skip)]
    point: circuits::baby_jubjub::Point,
}

#[ComplexObject]
impl DirectoryEntry {
    /// The account that this entry makes payable: P2(owner, P2(key.x, key.y)).
    async fn account(&self) -> Bytes32 {
        circuits::leaf::account(&self.owner.0, &circuits::leaf::key_hash(&self.point)).into()
    }
}

impl From<EntryView> for DirectoryEntry {
    fn from(view: EntryView) -> Self {
        Self {
            owner: Address(view.owner),
            key: (&view.key).into(),
            key_epoch: view.key_epoch,
            signature: Bytes(view.signature),
            point: view.key,
        }
    }
}

/// An address and what it holds. An address that nobody paid yet has balances of 0.
pub struct Account(pub AddressBytes);

#[Object]
impl Account {
    async fn address(&self) -> Address {
        Address(self.0)
    }

    async fn balances(&self, ctx: &Context<'_>) -> Result<Balances> {
        let (units, coins) = (units(ctx)?, service(ctx)?.balances(self.0).await);
        Ok(Balances {
            accepted: units.wei(coins.accepted),
            proven: units.wei(coins.proven),
            finalized: units.wei(coins.finalized),
        })
    }

    /// Unspent coins by index, spendable in the accepted state.
    #[graphql(complexity = "page::cost(first, child_complexity)")]
    async fn coins(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 20)] first: i32,
        after: Option<String>,
    ) -> Result<Page<u64, Coin>> {
        let (units, size) = (units(ctx)?, page::size(first)?);
        let after = page::place::<u64>(after.as_deref())?;
        let mut coins = service(ctx)?.coins(self.0, after, size + 1).await;
        let more = coins.len() > size;
        coins.truncate(size);
        let nodes = coins.into_iter().map(|coin| (coin.index, Coin::new(coin, units)));
        Ok(page::page(nodes, after.is_some(), more))
    }

    /// All operations that the address takes part in, newest first.
    #[graphql(complexity = "page::cost(first, child_complexity)")]
    async fn operations(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 20)] first: i32,
        after: Option<String>,
    ) -> Result<Page<String, Operation>> {
        operations(ctx, ListOf::Address(self.0), first, after.as_deref()).await
    }
}

/// A page of a list of operations.
pub(super) async fn operations(
    ctx: &Context<'_>,
    list: ListOf,
    first: i32,
    after: Option<&str>,
) -> Result<Page<String, Operation>> {
    let (units, size) = (units(ctx)?, page::size(first)?);
    let elsewhere = || bad_input("`after` is a cursor of another list; start again without it");
    let after = match page::place::<String>(after)? {
        Some(id) => Some(OperationId::parse(&id).ok_or_else(elsewhere)?),
        None => None,
    };
    let page = asked(service(ctx)?.operations(list, after, size + 1).await)?;
    let mut views = page.ok_or_else(elsewhere)?;
    let more = views.len() > size;
    views.truncate(size);
    let nodes = views.into_iter().map(|view| (view.id.clone(), Operation::new(view, units)));
    Ok(page::page(nodes, after.is_some(), more))
}
