//! What the client sends and gets. Amounts are wei, times Unix milliseconds; field names are those of the schema.

use bn254::Fr;
use chrono::{DateTime, Utc};
use circuits::{
    baby_jubjub::Point,
    eddsa,
    leaf::{self, CoinRange},
    message::{self, Message},
};
use protocol::{OperationId, SpendRequest, SubmitRequest};
use serde::{Deserialize, Serialize};

use super::codec;

/// How far something has come, in the order of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Stage {
    Accepted,
    Sealed,
    Proving,
    Proven,
    Submitted,
    Final,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OperationKind {
    Mint,
    Send,
    Withdraw,
    ForcedExit,
    ForcedRekey,
}

/// `SEND` or `WITHDRAW`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Kind {
    Send,
    Withdraw,
}

/// A refusal that the caller can act on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserError {
    pub code: String,
    pub message: String,
    pub path: Vec<String>,
    pub retryable: bool,
    /// Seconds until it can, where the server knows.
    #[serde(default)]
    pub retry_after: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    #[serde(with = "codec::decimal")]
    pub quantum: u128,
    #[serde(with = "codec::decimal")]
    pub min_amount: u128,
    pub max_leaves_per_operation: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Circuit {
    pub name: String,
    pub number: u32,
    pub slots: usize,
    pub mint_places: usize,
    #[serde(with = "codec::array")]
    pub digest: [u8; 32],
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct L1Status {
    #[serde(with = "codec::decimal")]
    pub head: u64,
    #[serde(with = "codec::decimal")]
    pub finalized: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    pub open_batch: u32,
    pub sealed_batch: u32,
    pub proven_batch: u32,
    pub final_batch: u32,
    #[serde(with = "bn254::serde_fr")]
    pub state_root: Fr,
    #[serde(with = "bn254::serde_fr")]
    pub proven_root: Fr,
    #[serde(with = "bn254::serde_fr")]
    pub final_root: Fr,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct System {
    pub version: String,
    #[serde(with = "codec::decimal")]
    pub chain_id: u64,
    #[serde(with = "codec::array")]
    pub contract: [u8; 20],
    #[serde(with = "bn254::serde_fr")]
    pub domain: Fr,
    #[serde(with = "codec::array")]
    pub operator: [u8; 20],
    #[serde(with = "codec::array")]
    pub promise_signer: [u8; 20],
    pub limits: Limits,
    pub circuits: Vec<Circuit>,
    pub dev_key: bool,
    pub l1: L1Status,
    pub progress: Progress,
    pub intake_alarm: Option<String>,
    pub draining: bool,
}

/// Wei, by how far the state is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Balances {
    #[serde(with = "codec::decimal")]
    pub accepted: u128,
    #[serde(with = "codec::decimal")]
    pub proven: u128,
    #[serde(rename = "final", with = "codec::decimal")]
    pub finalized: u128,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Coin {
    #[serde(with = "codec::decimal")]
    pub index: u64,
    #[serde(with = "codec::array")]
    pub owner: [u8; 20],
    #[serde(with = "bn254::serde_fr")]
    pub account: Fr,
    #[serde(with = "bn254::serde_fr")]
    pub key_hash: Fr,
    #[serde(with = "codec::decimal")]
    pub low: u64,
    #[serde(with = "codec::decimal")]
    pub high: u64,
    #[serde(with = "codec::decimal")]
    pub amount: u128,
    pub batch_number: u32,
    pub stage: Stage,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub address: [u8; 20],
    pub balances: Balances,
    pub coins: Vec<Coin>,
}

/// An entry as its owner signed it; verify the signature and the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DirectoryEntry {
    #[serde(with = "codec::array")]
    pub owner: [u8; 20],
    pub key: Point,
    pub key_epoch: u32,
    #[serde(with = "codec::bytes")]
    pub signature: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TimelineEntry {
    pub stage: Stage,
    pub at: DateTime<Utc>,
    #[serde(with = "codec::array_option")]
    pub l1_tx: Option<[u8; 32]>,
}

/// The operator's promise for one slot; verify the signature and its signer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Promise {
    #[serde(with = "codec::array")]
    pub operation_id: [u8; 32],
    pub kind: u8,
    pub batch_number: u32,
    #[serde(with = "codec::decimal")]
    pub index: u64,
    #[serde(with = "bn254::serde_fr")]
    pub account: Fr,
    #[serde(with = "codec::decimal")]
    pub low: u64,
    #[serde(with = "codec::decimal")]
    pub high: u64,
    /// Unix seconds.
    #[serde(with = "codec::decimal")]
    pub deadline: u64,
    #[serde(with = "codec::array")]
    pub signer: [u8; 20],
    #[serde(with = "codec::bytes")]
    pub signature: Vec<u8>,
}

/// An operation in a list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationSummary {
    pub id: String,
    pub kind: OperationKind,
    #[serde(with = "codec::array_option")]
    pub sender: Option<[u8; 20]>,
    #[serde(with = "codec::array_option")]
    pub recipient: Option<[u8; 20]>,
    #[serde(with = "codec::decimal")]
    pub amount: u128,
    pub batch_number: u32,
    pub stage: Stage,
    pub timeline: Vec<TimelineEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    pub id: String,
    pub kind: OperationKind,
    #[serde(with = "codec::array_option")]
    pub sender: Option<[u8; 20]>,
    #[serde(with = "codec::array_option")]
    pub recipient: Option<[u8; 20]>,
    #[serde(with = "codec::decimal")]
    pub amount: u128,
    pub batch_number: u32,
    pub stage: Stage,
    pub timeline: Vec<TimelineEntry>,
    pub promises: Vec<Promise>,
    pub hit: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Batch {
    pub number: u32,
    pub circuit: Option<String>,
    pub stage: Stage,
    #[serde(with = "codec::decimal")]
    pub start: u64,
    #[serde(with = "codec::array_option")]
    pub old_root: Option<[u8; 32]>,
    #[serde(with = "codec::array_option")]
    pub mid_root: Option<[u8; 32]>,
    #[serde(with = "codec::array_option")]
    pub new_root: Option<[u8; 32]>,
    /// h, c and e as 0x-hex.
    pub public_inputs: Option<Vec<String>>,
    #[serde(with = "codec::bytes_option")]
    pub proof: Option<Vec<u8>>,
    pub worker: Option<String>,
    pub attempts: u32,
    #[serde(with = "codec::decimal_option")]
    pub prove_ms: Option<u64>,
    #[serde(with = "codec::decimal_option")]
    pub witness_ms: Option<u64>,
    #[serde(with = "codec::array_option")]
    pub l1_tx: Option<[u8; 32]>,
    #[serde(with = "codec::decimal_option")]
    pub l1_block: Option<u64>,
    #[serde(with = "codec::decimal_option")]
    pub gas_used: Option<u64>,
    pub timeline: Vec<TimelineEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnershipProof {
    pub batch_number: u32,
    #[serde(with = "bn254::serde_fr")]
    pub root: Fr,
    #[serde(with = "codec::decimal")]
    pub index: u64,
    #[serde(with = "codec::array")]
    pub owner: [u8; 20],
    #[serde(with = "bn254::serde_fr")]
    pub key_hash: Fr,
    #[serde(with = "codec::decimal")]
    pub low: u64,
    #[serde(with = "codec::decimal")]
    pub high: u64,
    #[serde(with = "codec::decimal")]
    pub amount: u128,
    #[serde(with = "bn254::serde_fr")]
    pub leaf: Fr,
    /// Three 0x-hex words a level, from the leaf level up.
    pub siblings: Vec<[String; 3]>,
    #[serde(rename = "finalOnL1")]
    pub final_on_l1: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PrepareSend {
    #[serde(with = "codec::array")]
    pub sender: [u8; 20],
    #[serde(with = "codec::array")]
    pub recipient: [u8; 20],
    #[serde(with = "codec::decimal")]
    pub amount: u128,
    pub allow_vault: bool,
    pub valid_until: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PrepareWithdraw {
    #[serde(with = "codec::array")]
    pub sender: [u8; 20],
    #[serde(with = "codec::decimal")]
    pub amount: u128,
    pub valid_until: Option<u32>,
}

/// One leaf to sign for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct DraftSpend {
    #[serde(with = "codec::decimal")]
    pub index: u64,
    #[serde(with = "codec::decimal")]
    pub low: u64,
    #[serde(with = "codec::decimal")]
    pub high: u64,
    #[serde(with = "codec::decimal")]
    pub split: u64,
    pub key: Point,
    #[serde(with = "bn254::serde_fr")]
    pub leaf: Fr,
    #[serde(with = "bn254::serde_fr")]
    pub message: Fr,
}

/// What to sign. Check before signing that `domain`, `sender`, the key, the amount and the recipient's account are what
/// you expect: they come from the coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Draft {
    pub kind: Kind,
    #[serde(with = "codec::array")]
    pub sender: [u8; 20],
    #[serde(with = "codec::array_option")]
    pub recipient: Option<[u8; 20]>,
    #[serde(with = "bn254::serde_fr")]
    pub recipient_account: Fr,
    pub recipient_entry: Option<DirectoryEntry>,
    #[serde(with = "codec::decimal")]
    pub amount: u128,
    #[serde(with = "bn254::serde_fr")]
    pub domain: Fr,
    pub valid_until: u32,
    /// The schema calls them leaves.
    #[serde(rename = "leaves")]
    pub spends: Vec<DraftSpend>,
}

/// The parts of a draft do not fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "PM-CLIENT-003: leaf {0} of the draft does not give the message that the coordinator shows; do not sign, and report it"
)]
pub struct InconsistentDraft(pub usize);

impl Draft {
    /// The message of each leaf, computed here from its parts and equal to what the coordinator shows.
    ///
    /// # Errors
    /// `InconsistentDraft` for a range, split, leaf or message that does not follow from the parts.
    pub fn messages(&self) -> Result<Vec<Message>, InconsistentDraft> {
        let kind = match self.kind {
            Kind::Send => message::SignedKind::Send,
            Kind::Withdraw => message::SignedKind::Withdraw,
        };
        let one = |(place, leaf): (usize, &DraftSpend)| {
            let range = CoinRange::new(leaf.low, leaf.high).map_err(|_| InconsistentDraft(place))?;
            let account = leaf::account(&self.sender, &leaf::key_hash(&leaf.key));
            let message = Message {
                domain: self.domain,
                leaf: leaf::leaf(&account, &range),
                index: leaf.index,
                split: leaf.split,
                kind,
                valid_until: self.valid_until,
                recipient: self.recipient_account,
            };
            let fits = range.split_at(leaf.split).is_some() && leaf.index < 1 << message::INDEX_BITS;
            if fits && message.leaf == leaf.leaf && message.hash() == leaf.message {
                Ok(message)
            } else {
                Err(InconsistentDraft(place))
            }
        };
        self.spends.iter().enumerate().map(one).collect()
    }

    /// The request that submits this draft with one signature for each leaf, in order.
    pub fn signed(&self, idempotency_key: &str, signatures: &[eddsa::Signature]) -> Submit {
        let spends = self.spends.iter().zip(signatures).map(|(leaf, signature)| SignedSpend {
            index: leaf.index,
            low: leaf.low,
            high: leaf.high,
            split: leaf.split,
            key: leaf.key,
            signature: signature.into(),
        });
        Submit {
            idempotency_key: idempotency_key.to_owned(),
            sender: self.sender,
            recipient: self.recipient,
            recipient_account: (self.kind == Kind::Send)
                .then(|| bn254::fr_to_be_bytes(&self.recipient_account)),
            valid_until: self.valid_until,
            spends: spends.collect(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Signature {
    #[serde(with = "bn254::serde_fr")]
    pub r8x: Fr,
    #[serde(with = "bn254::serde_fr")]
    pub r8y: Fr,
    #[serde(with = "bn254::serde_fr")]
    pub s: Fr,
}

impl From<&eddsa::Signature> for Signature {
    fn from(signature: &eddsa::Signature) -> Self {
        Self { r8x: signature.r8.x, r8y: signature.r8.y, s: signature.s }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SignedSpend {
    #[serde(with = "codec::decimal")]
    pub index: u64,
    #[serde(with = "codec::decimal")]
    pub low: u64,
    #[serde(with = "codec::decimal")]
    pub high: u64,
    #[serde(with = "codec::decimal")]
    pub split: u64,
    pub key: Point,
    pub signature: Signature,
}

/// A signed send, or with `recipient` and `recipient_account` left out a signed withdrawal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Submit {
    /// 1 to 64 visible ASCII characters, new for each operation and kept for its repetitions.
    pub idempotency_key: String,
    #[serde(with = "codec::array")]
    pub sender: [u8; 20],
    #[serde(with = "codec::array_option", skip_serializing_if = "Option::is_none")]
    pub recipient: Option<[u8; 20]>,
    #[serde(with = "codec::array_option", skip_serializing_if = "Option::is_none")]
    pub recipient_account: Option<[u8; 32]>,
    pub valid_until: u32,
    #[serde(rename = "leaves")]
    pub spends: Vec<SignedSpend>,
}

impl Submit {
    /// The id that the operation will have: a hash of sender, idempotency key and body. Nothing where a range or the account
    /// is not one.
    pub fn operation_id(&self, kind: Kind) -> Option<[u8; 32]> {
        let account = self.recipient_account.as_ref().map(bn254::fr_from_be_bytes).transpose().ok()?;
        let spend = |spend: &SignedSpend| {
            let Signature { r8x: x, r8y: y, s } = spend.signature;
            Some(SpendRequest {
                index: spend.index,
                range: CoinRange::new(spend.low, spend.high).ok()?,
                split: spend.split,
                key: spend.key,
                signature: eddsa::Signature { r8: Point { x, y }, s },
            })
        };
        let request = SubmitRequest {
            idempotency_key: self.idempotency_key.clone(),
            kind: match kind {
                Kind::Send => message::SignedKind::Send,
                Kind::Withdraw => message::SignedKind::Withdraw,
            },
            sender: self.sender,
            recipient: self.recipient,
            recipient_account: account.unwrap_or_default(),
            valid_until: self.valid_until,
            spends: self.spends.iter().map(spend).collect::<Option<_>>()?,
        };
        let hash = request.hash();
        Some(OperationId::of_request(&self.sender, &self.idempotency_key, &hash).0)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisterKey {
    pub idempotency_key: String,
    #[serde(with = "codec::array")]
    pub owner: [u8; 20],
    pub key: Point,
    pub key_epoch: u32,
    #[serde(with = "codec::bytes")]
    pub signature: Vec<u8>,
}
