//! What is taken in, checked into the types of the service: amounts in whole coins, canonical field elements, coin
//! ranges, bounded keys, numbers that fit the type `Int` (31 bits, for none is negative). Every refusal names the argument.

use async_graphql::InputObject;
use bn254::Fr;
use circuits::{baby_jubjub::Point, eddsa::Signature, leaf::CoinRange, message};
use num_bigint::BigUint;

use super::{
    Units,
    refusal::UserError,
    scalars::{Address, BigInt, Bytes, Bytes32},
};

type Checked<T> = Result<T, UserError>;

/// A Baby Jubjub point.
#[derive(Clone, Debug, InputObject)]
pub struct SpendingKeyInput {
    pub x: Bytes32,
    pub y: Bytes32,
}

/// An EdDSA-Poseidon signature over M.
#[derive(Clone, Debug, InputObject)]
pub struct SignatureInput {
    #[graphql(name = "r8x")]
    pub r8x: Bytes32,
    #[graphql(name = "r8y")]
    pub r8y: Bytes32,
    pub s: Bytes32,
}

/// A leaf as the draft described it, and the signature for it.
#[derive(Clone, Debug, InputObject)]
pub struct LeafInput {
    pub index: BigInt,
    pub low: BigInt,
    pub high: BigInt,
    pub split: BigInt,
    pub key: SpendingKeyInput,
    pub signature: SignatureInput,
}

#[derive(Clone, Debug, InputObject)]
pub struct PrepareSendInput {
    pub sender: Address,
    pub recipient: Address,
    /// Wei: a positive multiple of `system.limits.quantum`.
    pub amount: BigInt,
    /// Pay a recipient without a directory entry; only L1 can unlock these coins.
    #[graphql(default = false)]
    pub allow_vault: bool,
    /// The last batch that may execute it; default: a little after the open one.
    #[graphql(validator(maximum = 2147483647))]
    pub valid_until: Option<u32>,
}

#[derive(Clone, Debug, InputObject)]
pub struct PrepareWithdrawInput {
    pub sender: Address,
    /// Wei: a positive multiple of `system.limits.quantum`.
    pub amount: BigInt,
    /// The last batch that may execute it; default: a little after the open one.
    #[graphql(validator(maximum = 2147483647))]
    pub valid_until: Option<u32>,
}

#[derive(Clone, Debug, InputObject)]
pub struct SendInput {
    /// 1 to 64 visible ASCII characters, new for each payment: a repeated call with the same body gives the same answer.
    pub idempotency_key: String,
    pub sender: Address,
    pub recipient: Address,
    pub recipient_account: Bytes32,
    #[graphql(validator(maximum = 2147483647))]
    pub valid_until: u32,
    pub leaves: Vec<LeafInput>,
}

#[derive(Clone, Debug, InputObject)]
pub struct WithdrawInput {
    /// As in `SendInput`.
    pub idempotency_key: String,
    pub sender: Address,
    #[graphql(validator(maximum = 2147483647))]
    pub valid_until: u32,
    pub leaves: Vec<LeafInput>,
}

#[derive(Clone, Debug, InputObject)]
pub struct RegisterKeyInput {
    /// As in `SendInput`.
    pub idempotency_key: String,
    pub owner: Address,
    pub key: SpendingKeyInput,
    /// `keyEpoch(owner)` on L1.
    #[graphql(validator(maximum = 2147483647))]
    pub key_epoch: u32,
    /// The owner's EIP-712 `DirectoryEntry` signature (EIP-1271 for a contract wallet).
    pub signature: Bytes,
}

/// Whole coins of an amount in wei.
fn coins(amount: &BigInt, units: Units) -> Checked<u64> {
    let quantum = BigUint::from(units.quantum_wei);
    let path = ["input", "amount"];
    let refuse = |what: &str| {
        let message = format!("{what}; send a positive multiple of {quantum} wei");
        Err(UserError::new("AMOUNT_OUT_OF_RANGE", message, &path))
    };
    if amount.0 == BigUint::ZERO {
        return refuse("the amount is 0");
    }
    if &amount.0 % &quantum != BigUint::ZERO {
        let below = &amount.0 - &amount.0 % &quantum;
        return refuse(&format!("the amount is not a whole number of coins (the next below is {below})"));
    }
    match u64::try_from(&amount.0 / &quantum) {
        Ok(coins) if coins < 1 << circuits::leaf::COIN_BITS => Ok(coins),
        _ => refuse("the amount is larger than all coins that can exist"),
    }
}

fn field(value: Bytes32, path: &[&str]) -> Checked<Fr> {
    value.to_field().map_err(|_| {
        let message = "the number is not below the BN254 group order r; send the reduced value";
        UserError::new("FIELD_ELEMENT_OUT_OF_RANGE", message, path)
    })
}

fn idempotency_key(key: String) -> Checked<String> {
    if (1..=64).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(key);
    }
    let message =
        "the idempotency key needs 1 to 64 visible ASCII characters; use a new UUID for each operation";
    Err(UserError::new("IDEMPOTENCY_KEY_INVALID", message, &["input", "idempotencyKey"]))
}

impl SpendingKeyInput {
    fn check(&self, path: &[&str]) -> Checked<Point> {
        let part = |name| [path, &["key", name]].concat();
        Ok(Point { x: field(self.x, &part("x"))?, y: field(self.y, &part("y"))? })
    }
}

impl LeafInput {
    fn check(&self, place: usize) -> Checked<protocol::SpendRequest> {
        let place = place.to_string();
        let here = ["input", "leaves", place.as_str()];
        let at = |rest: &[&'static str]| [&here[..], rest].concat();
        let index =
            self.index.as_u64().filter(|index| *index < 1 << message::INDEX_BITS).ok_or_else(|| {
                let message = "the tree has places from 0 to 2^36 - 1; take the index from the draft";
                UserError::new("INDEX_OUT_OF_RANGE", message, &at(&["index"]))
            })?;
        let bounds = self.low.as_u64().zip(self.high.as_u64());
        let range = bounds.and_then(|(low, high)| CoinRange::new(low, high).ok()).ok_or_else(|| {
            let message = "a leaf needs 1 <= low <= high < 2^63; take both from the draft";
            UserError::new("COIN_RANGE_INVALID", message, &at(&["low"]))
        })?;
        let split =
            self.split.as_u64().filter(|split| range.split_at(*split).is_some()).ok_or_else(|| {
                let message =
                    "the split lies outside low..=high; take the last coin that moves from the draft";
                UserError::new("SPLIT_OUTSIDE_LEAF", message, &at(&["split"]))
            })?;
        let part = |value, name| field(value, &at(&["signature", name]));
        let r8 = Point { x: part(self.signature.r8x, "r8x")?, y: part(self.signature.r8y, "r8y")? };
        let signature = Signature { r8, s: part(self.signature.s, "s")? };
        Ok(protocol::SpendRequest { index, range, split, key: self.key.check(&here)?, signature })
    }
}

fn spends(leaves: &[LeafInput]) -> Checked<Vec<protocol::SpendRequest>> {
    if leaves.is_empty() {
        let message = "there is no leaf to spend; send every leaf of the draft with its signature";
        return Err(UserError::new("NO_LEAVES", message, &["input", "leaves"]));
    }
    leaves.iter().enumerate().map(|(place, leaf)| leaf.check(place)).collect()
}

impl PrepareSendInput {
    pub fn check(self, units: Units) -> Checked<protocol::PrepareSend> {
        Ok(protocol::PrepareSend {
            sender: self.sender.0,
            recipient: self.recipient.0,
            amount: coins(&self.amount, units)?,
            allow_vault: self.allow_vault,
            valid_until: self.valid_until,
        })
    }
}

impl PrepareWithdrawInput {
    pub fn check(self, units: Units) -> Checked<protocol::PrepareWithdraw> {
        let amount = coins(&self.amount, units)?;
        Ok(protocol::PrepareWithdraw { sender: self.sender.0, amount, valid_until: self.valid_until })
    }
}

impl SendInput {
    pub fn check(self) -> Checked<protocol::SubmitRequest> {
        Ok(protocol::SubmitRequest {
            idempotency_key: idempotency_key(self.idempotency_key)?,
            kind: message::SignedKind::Send,
            sender: self.sender.0,
            recipient: Some(self.recipient.0),
            recipient_account: field(self.recipient_account, &["input", "recipientAccount"])?,
            valid_until: self.valid_until,
            spends: spends(&self.leaves)?,
        })
    }
}

impl WithdrawInput {
    pub fn check(self) -> Checked<protocol::SubmitRequest> {
        Ok(protocol::SubmitRequest {
            idempotency_key: idempotency_key(self.idempotency_key)?,
            kind: message::SignedKind::Withdraw,
            sender: self.sender.0,
            recipient: None,
            recipient_account: Fr::default(),
            valid_until: self.valid_until,
            spends: spends(&self.leaves)?,
        })
    }
}

impl RegisterKeyInput {
    pub fn check(self) -> Checked<(protocol::DirectoryEntry, String)> {
        let idempotency_key = idempotency_key(self.idempotency_key)?;
        let entry = protocol::DirectoryEntry {
            owner: self.owner.0,
            key: self.key.check(&["input"])?,
            key_epoch: self.key_epoch,
            signature: self.signature.0,
        };
        Ok((entry, idempotency_key))
    }
}
