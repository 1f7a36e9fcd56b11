//! An address as the ledger sees it: its balances, its coins, its operations.

use async_graphql::{ComplexObject, Context, Enum, Object, Result, SimpleObject};

use super::{
    Units,
    operation::Operation,
    page::{self, Page},
    refusal::bad_input,
    scalars::{Address, BigInt, Bytes, Bytes32},
    service, units,
};
use crate::service::{AccountView, CoinView, DirectoryEntry as EntryView, Stage as StageView};

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
    account: Bytes32,
}

#[ComplexObject]
impl DirectoryEntry {
    /// The account that this entry makes payable: P2(owner, P2(key.x, key.y)).
    async fn account(&self) -> Bytes32 {
        self.account
    }
}

impl From<EntryView> for DirectoryEntry {
    fn from(view: EntryView) -> Self {
        let account = circuits::leaf::account(&view.owner, &circuits::leaf::key_hash(&view.key));
        Self {
            owner: Address(view.owner),
            key: (&view.key).into(),
            key_epoch: view.key_epoch,
            signature: Bytes(view.signature),
            account: account.into(),
        }
    }
}

/// An address and what it holds. An address that nobody paid yet has balances of 0.
pub struct Account(pub AccountView);

#[Object]
impl Account {
    async fn address(&self) -> Address {
        Address(self.0.address)
    }

    async fn balances(&self, ctx: &Context<'_>) -> Result<Balances> {
        let (units, coins) = (units(ctx)?, self.0.balances);
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
        let mut coins: Vec<_> = self.0.coins.iter().collect();
        coins.sort_by_key(|coin| coin.index);
        let begin = after.map_or(0, |place| coins.partition_point(|coin| coin.index <= place));
        let rest = &coins[begin..];
        let nodes = rest.iter().take(size).map(|coin| (coin.index, Coin::new((*coin).clone(), units)));
        Ok(page::page(nodes, begin > 0, rest.len() > size))
    }

    /// Operations that the address takes part in, in the order in which the coordinator keeps them.
    #[graphql(complexity = "page::cost(first, child_complexity)")]
    async fn operations(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 20)] first: i32,
        after: Option<String>,
    ) -> Result<Page<String, Operation>> {
        operations(ctx, &self.0.operations, first, after.as_deref()).await
    }
}

/// A page of a list of operation ids, with what the ids stand for.
pub(super) async fn operations(
    ctx: &Context<'_>,
    ids: &[String],
    first: i32,
    after: Option<&str>,
) -> Result<Page<String, Operation>> {
    let size = page::size(first)?;
    let begin = match page::place::<String>(after)? {
        None => 0,
        Some(place) => match ids.iter().position(|id| *id == place) {
            Some(position) => position + 1,
            None => return Err(bad_input("`after` is a cursor of another list; start again without it")),
        },
    };
    let rest = &ids[begin..];
    let mut nodes = Vec::with_capacity(size.min(rest.len()));
    for id in rest.iter().take(size) {
        if let Some(view) = service(ctx)?.operation(id).await {
            nodes.push((id.clone(), Operation::new(view, units(ctx)?)));
        }
    }
    Ok(page::page(nodes, begin > 0, rest.len() > size))
}
