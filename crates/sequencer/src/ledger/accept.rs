//! The rules of a signed operation: all of its leaves or none.
//!
//! `verify` needs no state and runs in a pool before an operation reaches the ledger (structure and signatures);
//! `Ledger::check` is the rest; `Ledger::spend` applies one checked spend.

use std::{collections::HashSet, time::Duration};

use bn254::Fr;
use circuits::{
    message::SignedKind,
    slot::{SignedSpend, SlotContext, SlotEffect, SlotError, SpendHashes},
    tree::CAPACITY,
};
use protocol::{Address, Placement, SubmitRequest};

use super::{Leaf, Ledger, Quota, key_hashes::KeyHashes};
use crate::rejection::Rejection;

/// Longest idempotency key in bytes.
pub const MAX_IDEMPOTENCY_KEY: usize = 128;
/// Sends stop here; the places above are kept for exits (attack B7).
pub const LAST_SEND_PLACE: u64 = CAPACITY - (1 << 32);

/// What guards a service whose sends are free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Coins of a send, all its leaves together.
    pub min_amount: u64,
    /// Leaves that one operation may spend; not more than a batch takes.
    pub max_leaves: usize,
    /// Leaves that one account may spend per window.
    pub quota: u32,
    pub quota_window_ms: u64,
}

/// A request whose structure and signatures are in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified {
    pub idempotency_key: String,
    pub request_hash: [u8; 32],
    pub kind: SignedKind,
    pub sender: Address,
    pub recipient: Option<Address>,
    /// The recipient's account without a key.
    pub vault: Fr,
    pub spends: Vec<SignedSpend>,
    /// Of each spend: made in the pool, so that the driver hashes nothing.
    pub hashes: Vec<SpendHashes>,
}

/// Who receives a send, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payee {
    pub owner: Address,
    pub key_hash: Option<Fr>,
}

/// Checks everything about a request that needs no state.
///
/// # Errors
/// A refusal for the first rule that is broken.
pub fn verify(
    domain: &Fr,
    limits: &Limits,
    keys: &impl KeyHashes,
    request: SubmitRequest,
) -> Result<Verified, Rejection> {
    check_idempotency_key(&request.idempotency_key)?;
    let request_hash = request.hash();
    let SubmitRequest { idempotency_key, kind, sender, recipient, recipient_account, valid_until, spends } =
        request;
    match (kind, recipient) {
        (SignedKind::Send, Some(recipient)) if recipient == [0; 20] => return Err(Rejection::RecipientZero),
        (SignedKind::Send, None) | (SignedKind::Withdraw, Some(_)) => {
            return Err(Rejection::RecipientMissing);
        }
        (SignedKind::Withdraw, None) if recipient_account != Fr::default() => {
            return Err(Rejection::RecipientAccountMismatch);
        }
        (SignedKind::Withdraw, None) if sender == [0; 20] => return Err(Rejection::OwnerZero),
        _ => {}
    }
    if spends.is_empty() {
        return Err(Rejection::NoLeaves);
    }
    if spends.len() > limits.max_leaves {
        return Err(Rejection::OperationTooLarge { given: spends.len(), most: limits.max_leaves });
    }
    let mut seen = HashSet::new();
    let spends = spends
        .into_iter()
        .map(|spend| {
            let index = spend.index;
            if !seen.insert(index) {
                return Err(Rejection::LeafTwice { index });
            }
            if index >= CAPACITY {
                return Err(Rejection::LeafNotFound { index });
            }
            if spend.range.split_at(spend.split).is_none() {
                let (low, high) = (spend.range.low(), spend.range.high());
                return Err(Rejection::SplitOutside { index, split: spend.split, low, high });
            }
            let signed = SignedSpend {
                kind,
                index,
                owner: sender,
                key: spend.key,
                range: spend.range,
                split: spend.split,
                recipient: recipient_account,
                valid_until,
                signature: spend.signature,
            };
            let refused = |error| slot_refusal(index, &error);
            let known = keys.key(&sender, &spend.key).map_err(|error| refused(error.into()))?;
            let hashes = signed.hashes_of(known.account);
            signed.verify_signature_with(domain, &known.key, &hashes).map_err(refused)?;
            Ok((signed, hashes))
        })
        .collect::<Result<Vec<_>, Rejection>>()?;
    let (spends, hashes) = spends.into_iter().unzip();
    let vault = recipient.map_or_else(Fr::default, |recipient| keys.vault(&recipient));
    Ok(Verified { idempotency_key, request_hash, kind, sender, recipient, vault, spends, hashes })
}

/// # Errors
/// A refusal for an empty or overlong key, and for one that no store takes.
pub fn check_idempotency_key(key: &str) -> Result<(), Rejection> {
    if key.is_empty() || key.len() > MAX_IDEMPOTENCY_KEY || key.contains('\0') {
        return Err(Rejection::IdempotencyKeyInvalid { most: MAX_IDEMPOTENCY_KEY });
    }
    Ok(())
}

fn slot_refusal(index: u64, error: &SlotError) -> Rejection {
    match error {
        SlotError::SplitOutside { split, low, high } => {
            Rejection::SplitOutside { index, split: *split, low: *low, high: *high }
        }
        SlotError::NotOlder { .. } => Rejection::LeafNotSpendableYet { index },
        SlotError::Expired { valid_until, batch_no } => {
            Rejection::Expired { valid_until: *valid_until, batch_no: *batch_no }
        }
        SlotError::WithdrawalWithRecipient => Rejection::RecipientAccountMismatch,
        SlotError::NoOwner => Rejection::OwnerZero,
        SlotError::Signature(error) => Rejection::BadSignature { index, error: *error },
    }
}

/// A request as it is hashed: the key is left out, everything else that the caller says is in.
impl Ledger {
    /// Checks a verified operation against the state, as if its slots ran at `at`, and returns what they do.
    ///
    /// # Errors
    /// A refusal for the first rule that is broken.
    pub fn check(
        &self,
        operation: &Verified,
        limits: &Limits,
        domain: Fr,
        at: Placement,
        now: u64,
    ) -> Result<Vec<SlotEffect>, Rejection> {
        let most = limits.max_leaves;
        if operation.spends.len() > most {
            return Err(Rejection::OperationTooLarge { given: operation.spends.len(), most });
        }
        if !self.knows(&operation.sender) {
            return Err(Rejection::UnknownSender);
        }
        if operation.kind == SignedKind::Send {
            self.check_send(operation, limits, at)?;
        }
        let effects = operation
            .spends
            .iter()
            .zip(&operation.hashes)
            .enumerate()
            .map(|(i, (spend, hashes))| {
                let held = self.leaf(spend.index).ok_or(Rejection::LeafNotFound { index: spend.index })?;
                if held.owner != spend.owner || held.account != hashes.account {
                    return Err(Rejection::LeafNotOwned { index: spend.index });
                }
                if held.range != spend.range {
                    return Err(Rejection::LeafChanged { index: spend.index });
                }
                let context = SlotContext { domain, batch_no: at.batch_no, place: at.place + i as u64 };
                spend.effect_with(&context, hashes).map_err(|error| slot_refusal(spend.index, &error))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let used = self.quota_used(&operation.sender, limits, now);
        if used.saturating_add(operation.spends.len() as u32) > limits.quota {
            let window = limits.quota_window_ms.max(1);
            let left = Duration::from_millis(window - now % window);
            return Err(Rejection::QuotaExceeded { most: limits.quota, window_s: window / 1000, left });
        }
        Ok(effects)
    }

    fn check_send(&self, operation: &Verified, limits: &Limits, at: Placement) -> Result<(), Rejection> {
        if at.place > LAST_SEND_PLACE {
            return Err(Rejection::TreeFull);
        }
        let amount: u128 = operation.spends.iter().map(|s| u128::from(s.split - s.range.low() + 1)).sum();
        if amount < u128::from(limits.min_amount) {
            return Err(Rejection::AmountTooSmall { least: limits.min_amount });
        }
        let Some(recipient) = operation.recipient else { return Err(Rejection::RecipientMissing) };
        let paid = operation.spends.first().map(|spend| spend.recipient).unwrap_or_default();
        let registered = self.directory.entry(&recipient).is_some_and(|entry| entry.account == paid);
        if registered || paid == operation.vault { Ok(()) } else { Err(Rejection::RecipientAccountMismatch) }
    }

    fn quota_used(&self, sender: &Address, limits: &Limits, now: u64) -> u32 {
        let window = now / limits.quota_window_ms.max(1);
        self.quotas.get(sender).filter(|quota| quota.window == window).map_or(0, |quota| quota.used)
    }

    /// Counts leaves spent by a sender.
    pub fn count(&mut self, sender: Address, leaves: u32, limits: &Limits, now: u64) {
        let used = self.quota_used(&sender, limits, now).saturating_add(leaves);
        self.quotas.insert(sender, Quota { window: now / limits.quota_window_ms.max(1), used });
    }

    /// The payee of a checked send.
    pub fn payee(&self, recipient: Address, account: &Fr) -> Payee {
        Payee { owner: recipient, key_hash: self.directory.key_hash_of(&recipient, account) }
    }

    /// Applies one checked spend that stands at `at`.
    pub fn spend(&mut self, at: Placement, spend: &SignedSpend, payee: Option<Payee>) {
        let Some(before) = self.leaf(spend.index).copied() else {
            unreachable!("leaf {} was checked before it is spent", spend.index)
        };
        let change = spend.rest().map(|range| Leaf { range, batch_no: at.batch_no, ..before });
        self.put(at.batch_no, spend.index, change);
        if let (Some(held), Some(payee)) = (spend.output(), payee) {
            let Payee { owner, key_hash } = payee;
            let leaf =
                Leaf { owner, key_hash, account: held.account, range: held.range, batch_no: at.batch_no };
            self.put(at.batch_no, at.place, Some(leaf));
        }
    }
}
