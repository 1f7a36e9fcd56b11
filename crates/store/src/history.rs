//! What readers ask of the projections, on connections that no commit ever waits for.
//!
//! Invariant: the projections are written in the transaction of the events, so whoever was answered finds here what the
//! answer said. Lists are paged by the place of an operation in the history (`number`), which never changes: a page costs
//! the same wherever it lies, and a cursor stays good.
//!
//! Known issues: PostgreSQL's own work for a reader is known by the time that its answer takes, not by its processor time.

use async_trait::async_trait;
use bn254::{Fr, fr_from_be_bytes};
use circuits::shape::Shape;
use protocol::{
    Address, OperationId, OperationKind, Stage, TimelineEntry,
    history::{BatchView, ListOf, OperationView},
};
use sequencer::state::{Promised, rows::stage_name};
use serde::{Deserialize, Serialize};

use super::StoreError;

/// What the operator promised, and its signatures if they are kept already.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptPromises {
    pub batch_no: u32,
    /// Unix seconds.
    pub deadline: u64,
    pub promised: Vec<Promised>,
    pub signed: Option<Signatures>,
}

/// One for each promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signatures {
    pub signer: Address,
    pub signatures: Vec<[u8; 65]>,
}

/// The projections for readers. Whoever has one may use it from any number of tasks.
#[async_trait]
pub trait History: Send + Sync {
    /// # Errors
    /// `Unavailable`, `Unusable`; so do all others.
    async fn operation(&self, id: OperationId) -> Result<Option<OperationView>, StoreError>;

    /// A page of a list: behind `after`, or from its beginning. Nothing if `after` is not in the list.
    async fn operations(
        &self,
        list: ListOf,
        after: Option<OperationId>,
        limit: usize,
    ) -> Result<Option<Vec<OperationView>>, StoreError>;

    /// Of sealed batches.
    async fn batch(&self, batch_no: u32) -> Result<Option<BatchView>, StoreError>;

    /// Sealed batches, newest first.
    async fn batches(&self, below: u32, limit: usize) -> Result<Vec<BatchView>, StoreError>;

    async fn promises(&self, id: OperationId) -> Result<Option<KeptPromises>, StoreError>;

    /// Keeps signatures; of two for one operation the first stays.
    async fn keep(&self, signed: &[(OperationId, Signatures)]) -> Result<(), StoreError>;
}

/// An operation's row with the stage and timeline of its batch.
pub(super) struct OperationRow {
    pub id: Vec<u8>,
    pub kind: String,
    pub sender: Option<Vec<u8>>,
    pub recipient: Option<Vec<u8>>,
    pub amount: i64,
    pub batch_no: u32,
    pub at: i64,
    pub hit: Option<bool>,
    pub timeline: Option<String>,
}

/// A batch's row with its proof.
pub(super) struct BatchRow {
    pub batch_no: u32,
    pub shape: String,
    pub start: i64,
    pub roots: [Vec<u8>; 3],
    pub public_inputs: Option<Vec<u8>>,
    pub proof: Option<Vec<u8>>,
    pub worker: Option<String>,
    pub attempts: Option<i64>,
    pub prove_ms: Option<i64>,
    pub witness_ms: Option<i64>,
    pub l1_tx: Option<Vec<u8>>,
    pub l1_block: Option<i64>,
    pub gas_used: Option<i64>,
    pub timeline: Option<String>,
}

fn unreadable(what: impl std::fmt::Display) -> StoreError {
    StoreError::unexpected(format!("a row of the history cannot be read ({what})"))
}

pub(super) fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], StoreError> {
    bytes.try_into().map_err(|_| unreadable(format!("{} bytes, not {N}", bytes.len())))
}

fn word(bytes: &[u8]) -> Result<Fr, StoreError> {
    fr_from_be_bytes(&array(bytes)?).map_err(unreadable)
}

impl OperationRow {
    pub fn view(self) -> Result<OperationView, StoreError> {
        let mut timeline = vec![TimelineEntry { stage: Stage::Accepted, at: self.at as u64, l1_tx: None }];
        timeline.extend(self.timeline.as_deref().map(read_timeline).transpose()?.unwrap_or_default());
        Ok(OperationView {
            id: OperationId(array(&self.id)?).to_string(),
            kind: kind_named(&self.kind).ok_or_else(|| unreadable(&self.kind))?,
            sender: self.sender.as_deref().map(array).transpose()?,
            recipient: self.recipient.as_deref().map(array).transpose()?,
            amount: self.amount as u64,
            batch_no: self.batch_no,
            stage: timeline.last().map_or(Stage::Accepted, |entry| entry.stage),
            timeline,
            promises: Vec::new(),
            hit: self.hit,
        })
    }
}

impl BatchRow {
    pub fn view(self) -> Result<BatchView, StoreError> {
        let shape = Shape::ALL.into_iter().find(|shape| shape.name() == self.shape);
        let timeline = self.timeline.as_deref().map(read_timeline).transpose()?.unwrap_or_default();
        let [old_root, mid_root, new_root] = &self.roots;
        let public_inputs = self.public_inputs.as_deref().map(|words| {
            let mut inputs = [Fr::default(); 3];
            for (input, bytes) in inputs.iter_mut().zip(words.chunks(32)) {
                *input = word(bytes)?;
            }
            Ok::<_, StoreError>(inputs)
        });
        Ok(BatchView {
            batch_no: self.batch_no,
            shape: Some(shape.ok_or_else(|| unreadable(&self.shape))?),
            stage: timeline.last().map_or(Stage::Sealed, |entry| entry.stage),
            start: self.start as u64,
            old_root: Some(word(old_root)?),
            mid_root: Some(word(mid_root)?),
            new_root: Some(word(new_root)?),
            public_inputs: public_inputs.transpose()?,
            proof: self.proof,
            worker: self.worker,
            attempts: self.attempts.and_then(|attempts| u32::try_from(attempts).ok()).unwrap_or(0),
            prove_ms: self.prove_ms.map(|ms| ms as u64),
            witness_ms: self.witness_ms.map(|ms| ms as u64),
            l1_tx: self.l1_tx.as_deref().map(array).transpose()?,
            l1_block: self.l1_block.map(|block| block as u64),
            gas_used: self.gas_used.map(|gas| gas as u64),
            timeline,
        })
    }
}

/// An operation's row as far as its promises go: batch, deadline, what is promised; then signer and signatures.
pub(super) fn kept(
    batch_no: u32,
    deadline: Option<i64>,
    promised: Option<&[u8]>,
    signed: Option<(&[u8], &[u8])>,
) -> Result<KeptPromises, StoreError> {
    let promised = promised.map(postcard::from_bytes).transpose().map_err(unreadable)?.unwrap_or_default();
    let signed = signed.map(|(signer, signatures)| {
        let signatures = signatures.chunks(65).map(array).collect::<Result<_, _>>()?;
        Ok::<_, StoreError>(Signatures { signer: array(signer)?, signatures })
    });
    Ok(KeptPromises {
        batch_no,
        deadline: deadline.unwrap_or(0) as u64,
        promised,
        signed: signed.transpose()?,
    })
}

/// What is promised, as it is stored.
pub(super) fn promised_bytes(promised: &[Promised]) -> Vec<u8> {
    // Writing integers and field elements to memory cannot fail.
    postcard::to_stdvec(promised).unwrap_or_default()
}

fn kind_named(name: &str) -> Option<OperationKind> {
    use OperationKind::{ForcedExit, ForcedRekey, Mint, Send, Withdraw};
    [Mint, Send, Withdraw, ForcedExit, ForcedRekey].into_iter().find(|kind| super::kind_name(*kind) == name)
}

/// An entry of a timeline in the store.
#[derive(Serialize, Deserialize)]
struct Reached<'a> {
    stage: &'a str,
    at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    l1_tx: Option<String>,
}

/// A timeline as it is stored.
pub(super) fn timeline_text(timeline: &[TimelineEntry]) -> String {
    let reached = timeline.iter().map(|entry| Reached {
        stage: stage_name(entry.stage),
        at: entry.at,
        l1_tx: entry.l1_tx.map(hex::encode),
    });
    // Names, numbers and digits always make JSON.
    serde_json::to_string(&reached.collect::<Vec<_>>()).unwrap_or_default()
}

fn read_timeline(text: &str) -> Result<Vec<TimelineEntry>, StoreError> {
    use Stage::{Accepted, Final, Proven, Proving, Sealed, Submitted};
    let reached: Vec<Reached<'_>> = serde_json::from_str(text).map_err(unreadable)?;
    let entry = |reached: Reached<'_>| {
        let mut stages = [Accepted, Sealed, Proving, Proven, Submitted, Final].into_iter();
        let stage = stages.find(|stage| stage_name(*stage) == reached.stage);
        let l1_tx = reached.l1_tx.map(|digits| array(&hex::decode(digits).map_err(unreadable)?));
        Ok(TimelineEntry {
            stage: stage.ok_or_else(|| unreadable(reached.stage))?,
            at: reached.at,
            l1_tx: l1_tx.transpose()?,
        })
    };
    reached.into_iter().map(entry).collect()
}
