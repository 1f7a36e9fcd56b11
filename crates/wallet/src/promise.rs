//! Whether an answer is what was signed: every field of the operation and of each promise, before anything is believed.
//!
//! Pure. The caller brings the time and asks L1 whether the signer is listed.

use bn254::Fr;
use client::api::{Draft, Kind, Operation, OperationKind, Promise, codec::hex_text};
use protocol::{
    Address,
    eip712::{self, SigningDomain, TypedMessage},
};
use serde::{Deserialize, Serialize};

use crate::{folder::Entry, text};

/// Promises with deadlines further away are worth nothing.
const LONGEST_SECONDS: u64 = 3600;

/// What was signed, as far as a promise repeats it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Signed {
    /// The operation's id.
    #[serde(with = "text::bytes")]
    pub operation: [u8; 32],
    /// Who signed.
    #[serde(with = "text::bytes")]
    pub sender: Address,
    /// With its checksum; nobody for a withdrawal.
    pub recipient: Option<String>,
    /// What was ordered.
    #[serde(with = "text::decimal")]
    pub wei: u128,
    /// Whether it leaves for L1.
    pub withdraw: bool,
    /// The contract's last batch when it was signed.
    pub batch_before: u32,
    /// The first free place of its tree then.
    pub next_before: u64,
    /// The last batch for which the signature is good.
    pub valid_until: u32,
    /// Unix seconds.
    pub signed_at: u64,
    /// One for each leaf that is spent.
    pub slots: Vec<Slot>,
}

/// One promise that is due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// The leaf that is spent.
    pub spent: u64,
    /// The first coin that moves.
    pub low: u64,
    /// The last one.
    pub high: u64,
    /// Of the leaf that is made; the owner as a number for a withdrawal.
    #[serde(with = "bn254::serde_fr")]
    pub account: Fr,
}

/// In what an answer differs from what was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PromiseError {
    #[error("PM-PROMISE-001: the answer is about another operation")]
    OtherOperation,
    #[error("PM-PROMISE-002: the answer shows another {0} than was signed")]
    OtherAnswer(&'static str),
    #[error("PM-PROMISE-003: {given} promises came for {due} slots")]
    Count { given: usize, due: usize },
    #[error("PM-PROMISE-004: the promise is for another operation")]
    Operation,
    #[error("PM-PROMISE-005: the promise is of another kind")]
    Kind,
    #[error("PM-PROMISE-006: the promise names batch {given}, possible are {first} to {last}")]
    Batch { given: u32, first: u32, last: u32 },
    #[error("PM-PROMISE-007: the promise names place {given}, which cannot be")]
    Index { given: u64 },
    #[error("PM-PROMISE-008: the promise is for another account")]
    Account,
    #[error("PM-PROMISE-009: the promise is for coins {low}..={high}, other than were signed")]
    Range { low: u64, high: u64 },
    #[error("PM-PROMISE-010: the promise was due at {deadline}, before it was given")]
    Past { deadline: u64 },
    #[error("PM-PROMISE-011: the promise is due at {deadline}, more than an hour away")]
    Far { deadline: u64 },
    #[error("PM-PROMISE-012: the promise is not signed by the signer it names, for this chain and contract")]
    Signature,
    #[error("PM-PROMISE-013: the promise is signed by one whom L1 does not list")]
    NotListed,
    #[error(
        "PM-PROMISE-014: the promise was due at {deadline} and its batch {batch} is not on L1: it is broken"
    )]
    Broken { deadline: u64, batch: u32 },
    #[error(
        "PM-PROMISE-015: after batch {batch} another leaf lies at place {index} of L1's tree than was promised: the promise is \
         broken"
    )]
    OtherLeaf { batch: u32, index: u64 },
    #[error(
        "PM-PROMISE-016: batch {batch} is on L1 and lets no coins {low}..={high} out: the promise is broken"
    )]
    NotLetOut { batch: u32, low: u64, high: u64 },
}

impl Signed {
    /// Of a draft that the wallet has checked and signed; `operation` is the id that follows from it.
    pub fn of(draft: &Draft, operation: [u8; 32], wei: u128, before: (u32, u64), signed_at: u64) -> Self {
        let withdraw = draft.kind == Kind::Withdraw;
        let account =
            if withdraw { circuits::leaf::address_word(&draft.sender) } else { draft.recipient_account };
        let slot = |spend: &client::api::DraftSpend| Slot {
            spent: spend.index,
            low: spend.low,
            high: spend.split,
            account,
        };
        Self {
            operation,
            sender: draft.sender,
            recipient: draft.recipient.as_ref().map(protocol::checksummed),
            wei,
            withdraw,
            batch_before: before.0,
            next_before: before.1,
            valid_until: draft.valid_until,
            signed_at,
            slots: draft.spends.iter().map(slot).collect(),
        }
    }

    /// Compares an answer with what was signed; returns who signed the promises.
    ///
    /// # Errors
    /// The first field that differs.
    pub fn compare(
        &self,
        answer: &Operation,
        domain: &SigningDomain,
        now: u64,
    ) -> Result<Vec<Address>, PromiseError> {
        self.compare_operation(answer)?;
        let (given, due) = (answer.promises.len(), self.slots.len());
        if given != due {
            return Err(PromiseError::Count { given, due });
        }
        let first = answer.promises.first().map_or(0, |promise| promise.index);
        let slots = self.slots.iter().zip(&answer.promises).zip(0..);
        slots
            .map(|((slot, promise), place)| {
                self.compare_one(slot, promise, first.saturating_add(place), answer, domain, now)
            })
            .collect()
    }

    fn compare_operation(&self, answer: &Operation) -> Result<(), PromiseError> {
        if answer.id != hex_text(&self.operation) {
            return Err(PromiseError::OtherOperation);
        }
        let kind = if self.withdraw { OperationKind::Withdraw } else { OperationKind::Send };
        let recipient = answer.recipient.as_ref().map(protocol::checksummed);
        for (what, same) in [
            ("kind", answer.kind == kind),
            ("sender", answer.sender == Some(self.sender)),
            ("recipient", self.withdraw || recipient == self.recipient),
            ("amount", answer.amount == self.wei),
        ] {
            if !same {
                return Err(PromiseError::OtherAnswer(what));
            }
        }
        Ok(())
    }

    fn compare_one(
        &self,
        slot: &Slot,
        promise: &Promise,
        index: u64,
        answer: &Operation,
        domain: &SigningDomain,
        now: u64,
    ) -> Result<Address, PromiseError> {
        if promise.operation_id != self.operation {
            return Err(PromiseError::Operation);
        }
        if promise.kind != if self.withdraw { 2 } else { 1 } {
            return Err(PromiseError::Kind);
        }
        let (given, first, last) =
            (promise.batch_number, self.batch_before.saturating_add(1), self.valid_until);
        if !(first..=last).contains(&given) || given != answer.batch_number {
            return Err(PromiseError::Batch { given, first, last });
        }
        // Slots of one operation follow on each other, behind everything that is on L1, and outputs behind inputs.
        let fits = if self.withdraw {
            promise.index == 0
        } else {
            promise.index == index
                && promise.index >= self.next_before
                && promise.index > slot.spent
                && promise.index < 1 << circuits::message::INDEX_BITS
        };
        if !fits {
            return Err(PromiseError::Index { given: promise.index });
        }
        if promise.account != slot.account {
            return Err(PromiseError::Account);
        }
        let (low, high, deadline) = (promise.low, promise.high, promise.deadline);
        if (low, high) != (slot.low, slot.high) {
            return Err(PromiseError::Range { low, high });
        }
        if deadline <= self.signed_at {
            return Err(PromiseError::Past { deadline });
        }
        if deadline > now.saturating_add(LONGEST_SECONDS) {
            return Err(PromiseError::Far { deadline });
        }
        signer_of(promise, domain).filter(|signer| *signer == promise.signer).ok_or(PromiseError::Signature)
    }
}

/// What is signed of a promise; nothing where its coins are no range.
fn message_of(promise: &Promise) -> Option<eip712::Promise> {
    Some(eip712::Promise {
        operation_id: promise.operation_id,
        kind: promise.kind,
        batch_no: promise.batch_number,
        index: promise.index,
        account: promise.account,
        range: circuits::leaf::CoinRange::new(promise.low, promise.high).ok()?,
        deadline: promise.deadline,
    })
}

fn signer_of(promise: &Promise, domain: &SigningDomain) -> Option<Address> {
    message_of(promise)?.recover(domain, &promise.signature).ok()
}

/// Promises as they are kept until L1 shows that they were kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    version: u32,
    /// The operation's id, as text.
    pub operation: String,
    /// Where the promise is due.
    pub chain_id: u64,
    /// The contract, with its checksum.
    pub contract: String,
    /// The batch that is promised.
    pub batch: u32,
    /// Unix seconds.
    pub deadline: u64,
    /// Unix seconds.
    pub received_at: u64,
    /// What the promises answer.
    pub signed: Signed,
    /// As the operator signed them.
    pub promises: Vec<Promise>,
    /// Its batch is final and the coordinator shows no leaf there: spent since, or never made. Not asked again by itself.
    #[serde(default)]
    pub unshown: bool,
}

impl Entry for Kept {
    const VERSION: u32 = 1;
}

impl Kept {
    pub(crate) fn of(signed: &Signed, answer: &Operation, domain: &SigningDomain, received_at: u64) -> Self {
        Self {
            version: Self::VERSION,
            operation: answer.id.clone(),
            chain_id: domain.chain_id,
            contract: protocol::checksummed(&domain.contract),
            batch: answer.batch_number,
            deadline: answer.promises.iter().map(|promise| promise.deadline).max().unwrap_or(0),
            received_at,
            signed: signed.clone(),
            promises: answer.promises.clone(),
            unshown: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use client::api::Stage;
    use protocol::ecdsa::OperatorKey;

    use super::*;

    const NOW: u64 = 1_000_000;
    const DOMAIN: SigningDomain = SigningDomain { chain_id: 31_337, contract: [7; 20] };

    fn operator() -> OperatorKey {
        OperatorKey::from_bytes(&[5; 32]).unwrap()
    }

    fn sign(answer: &mut Operation, domain: &SigningDomain) {
        for promise in &mut answer.promises {
            promise.signature = message_of(promise).unwrap().sign(domain, &operator()).to_vec();
        }
    }

    /// 10 coins of leaf 3 and 5 of leaf 4, sent or withdrawn, and the honest answer.
    fn honest(withdraw: bool) -> (Signed, Operation) {
        let (sender, recipient) = ([1; 20], (!withdraw).then_some([2; 20]));
        let account = if withdraw { circuits::leaf::address_word(&sender) } else { Fr::from(9) };
        let signed = Signed {
            operation: [4; 32],
            sender,
            recipient: recipient.as_ref().map(protocol::checksummed),
            wei: 15,
            withdraw,
            batch_before: 6,
            next_before: 64,
            valid_until: 206,
            signed_at: NOW - 1,
            slots: vec![
                Slot { spent: 3, low: 1, high: 10, account },
                Slot { spent: 4, low: 21, high: 25, account },
            ],
        };
        let promise = |(place, slot): (u64, &Slot)| Promise {
            operation_id: [4; 32],
            kind: if withdraw { 2 } else { 1 },
            batch_number: 7,
            index: if withdraw { 0 } else { 64 + place },
            account: slot.account,
            low: slot.low,
            high: slot.high,
            deadline: NOW + 600,
            signer: operator().address(),
            signature: Vec::new(),
        };
        let mut answer = Operation {
            id: hex_text(&[4; 32]),
            kind: if withdraw { OperationKind::Withdraw } else { OperationKind::Send },
            sender: Some(sender),
            recipient,
            amount: 15,
            batch_number: 7,
            stage: Stage::Accepted,
            timeline: Vec::new(),
            promises: (0..).zip(&signed.slots).map(promise).collect(),
            hit: None,
        };
        sign(&mut answer, &DOMAIN);
        (signed, answer)
    }

    #[test]
    fn the_promises_of_what_was_signed_are_taken() {
        for withdraw in [false, true] {
            let (signed, answer) = honest(withdraw);
            assert_eq!(signed.compare(&answer, &DOMAIN, NOW), Ok(vec![operator().address(); 2]));
        }
    }

    #[test]
    fn a_promise_that_differs_in_one_field_is_not() {
        type Lie = (PromiseError, fn(&mut Operation));
        let lies: [Lie; 14] = [
            (PromiseError::OtherOperation, |o| o.id = hex_text(&[5; 32])),
            (PromiseError::OtherAnswer("kind"), |o| o.kind = OperationKind::Mint),
            (PromiseError::OtherAnswer("sender"), |o| o.sender = None),
            (PromiseError::OtherAnswer("recipient"), |o| o.recipient = None),
            (PromiseError::OtherAnswer("amount"), |o| o.amount = 14),
            (PromiseError::Count { given: 1, due: 2 }, |o| drop(o.promises.pop())),
            (PromiseError::Operation, |o| o.promises[1].operation_id = [5; 32]),
            (PromiseError::Kind, |o| o.promises[1].kind = 2),
            (PromiseError::Batch { given: 6, first: 7, last: 206 }, |o| {
                (o.batch_number, o.promises[0].batch_number) = (6, 6);
            }),
            (PromiseError::Batch { given: 8, first: 7, last: 206 }, |o| o.promises[1].batch_number = 8),
            (PromiseError::Index { given: u64::MAX }, |o| o.promises[0].index = u64::MAX),
            (PromiseError::Account, |o| o.promises[1].account = Fr::from(8)),
            (PromiseError::Range { low: 22, high: 25 }, |o| o.promises[1].low = 22),
            (PromiseError::Signature, |o| o.promises[1].signer = [3; 20]),
        ];
        for (error, lie) in lies {
            let (signed, mut answer) = honest(false);
            lie(&mut answer);
            sign(&mut answer, &DOMAIN);
            assert_eq!(signed.compare(&answer, &DOMAIN, NOW), Err(error));
        }
        let (signed, mut answer) = honest(false);
        answer.promises.swap(0, 1);
        assert!(signed.compare(&answer, &DOMAIN, NOW).is_err(), "each promise in its place");
        for (deadline, error) in [
            (NOW - 1, PromiseError::Past { deadline: NOW - 1 }),
            (NOW + 3601, PromiseError::Far { deadline: NOW + 3601 }),
        ] {
            let (signed, mut answer) = honest(false);
            answer.promises[0].deadline = deadline;
            sign(&mut answer, &DOMAIN);
            assert_eq!(signed.compare(&answer, &DOMAIN, NOW), Err(error));
        }
        let (signed, mut answer) = honest(true);
        sign(&mut answer, &SigningDomain { chain_id: 1, ..DOMAIN });
        assert_eq!(signed.compare(&answer, &DOMAIN, NOW), Err(PromiseError::Signature), "another chain's");
    }
}
