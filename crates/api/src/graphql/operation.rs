//! Operations: what became of a deposit, a payment, a withdrawal or a forced request.

use async_graphql::{ComplexObject, Context, Enum, Result, SimpleObject};
use chrono::{DateTime, Utc};
use protocol::{OperationId, OperationKind as KindView, TimelineEntry as EntryView};

use super::{
    Units,
    account::Stage,
    batch::Batch,
    refusal::asked,
    scalars::{Address, BigInt, Bytes, Bytes32},
    service, time,
};
use crate::service::{OperationView, PromiseView};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "KindView")]
pub enum OperationKind {
    Mint,
    Send,
    Withdraw,
    ForcedExit,
    ForcedRekey,
}

/// When a stage was reached, and the L1 transaction that did it.
#[derive(Clone, Debug, SimpleObject)]
pub struct TimelineEntry {
    pub stage: Stage,
    pub at: DateTime<Utc>,
    pub l1_tx: Option<Bytes32>,
}

impl From<EntryView> for TimelineEntry {
    fn from(view: EntryView) -> Self {
        Self { stage: view.stage.into(), at: time(view.at), l1_tx: view.l1_tx.map(Bytes32) }
    }
}

/// The operator's EIP-712 promise for one slot. Verify the signature, and that L1 lists the signer.
#[derive(Clone, Debug, SimpleObject)]
pub struct Promise {
    pub operation_id: Bytes32,
    /// 1 send, 2 withdraw.
    pub kind: i32,
    pub batch_number: u32,
    /// Where the leaf will be under midRoot of the batch; 0 for a withdrawal.
    pub index: BigInt,
    /// The account of the leaf; the owner's address for a withdrawal.
    pub account: Bytes32,
    pub low: BigInt,
    pub high: BigInt,
    /// Unix seconds, exactly as signed.
    pub deadline: BigInt,
    pub signer: Address,
    pub signature: Bytes,
}

impl From<PromiseView> for Promise {
    fn from(view: PromiseView) -> Self {
        Self {
            operation_id: Bytes32(view.operation_id),
            kind: view.kind.into(),
            batch_number: view.batch_no,
            index: view.index.into(),
            account: view.account.into(),
            low: view.range.low().into(),
            high: view.range.high().into(),
            deadline: view.deadline.into(),
            signer: Address(view.signer),
            signature: Bytes(view.signature),
        }
    }
}

#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub struct Operation {
    /// 32 bytes as 0x-hex.
    pub id: String,
    pub kind: OperationKind,
    pub sender: Option<Address>,
    pub recipient: Option<Address>,
    /// Wei.
    pub amount: BigInt,
    pub batch_number: u32,
    pub stage: Stage,
    pub timeline: Vec<TimelineEntry>,
    /// Of a forced request: whether the state let it happen.
    pub hit: Option<bool>,
    /// With the answer to its submission.
    #[graphql(skip)]
    promises: Vec<PromiseView>,
}

#[ComplexObject]
impl Operation {
    /// The operator's promises, one for each slot.
    async fn promises(&self, ctx: &Context<'_>) -> Result<Vec<Promise>> {
        if !self.promises.is_empty() {
            return Ok(self.promises.iter().cloned().map(Promise::from).collect());
        }
        let Some(id) = OperationId::parse(&self.id) else { return Ok(Vec::new()) };
        let promises = asked(service(ctx)?.promises(id).await)?;
        Ok(promises.into_iter().map(Promise::from).collect())
    }

    /// The batch that carries it.
    async fn batch(&self, ctx: &Context<'_>) -> Result<Option<Batch>> {
        Ok(asked(service(ctx)?.batch(self.batch_number).await)?.map(Batch))
    }
}

impl Operation {
    pub fn new(view: OperationView, units: Units) -> Self {
        Self {
            id: view.id,
            kind: view.kind.into(),
            sender: view.sender.map(Address),
            recipient: view.recipient.map(Address),
            amount: units.wei(view.amount),
            batch_number: view.batch_no,
            stage: view.stage.into(),
            timeline: view.timeline.into_iter().map(TimelineEntry::from).collect(),
            hit: view.hit,
            promises: view.promises,
        }
    }
}
