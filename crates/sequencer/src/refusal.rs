//! Every refusal a caller can meet, with its stable code and a sentence that says what to do.
//!
//! One place, so that the API's documentation and the tests can name them all and no two mean the same.

use std::time::Duration;

use circuits::eddsa::SignatureError;

/// A refusal that the caller can act on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct UserError {
    /// Stable, e.g. `INSUFFICIENT_BALANCE`.
    pub code: &'static str,
    /// What is wrong and what to do.
    pub message: String,
    /// The argument it concerns, e.g. `["input", "amount"]`.
    pub path: Vec<&'static str>,
    /// Whether the same call can succeed later.
    pub retryable: bool,
    /// When that may be, if it is known.
    pub retry_after: Option<Duration>,
}

fn refuse(code: &'static str, message: String, path: &[&'static str]) -> UserError {
    UserError { code, message, path: path.to_vec(), retryable: false, retry_after: None }
}

fn retry(code: &'static str, message: &str, path: &[&'static str]) -> UserError {
    UserError { retryable: true, ..refuse(code, message.to_owned(), path) }
}

/// It can succeed after this.
fn later(code: &'static str, message: &str, wait: Duration) -> UserError {
    UserError { retry_after: Some(wait), ..retry(code, message, &[]) }
}

const AMOUNT: &[&str] = &["input", "amount"];
const LEAVES: &[&str] = &["input", "leaves"];
const RECIPIENT: &[&str] = &["input", "recipient"];
const SENDER: &[&str] = &["input", "sender"];
const KEY: &[&str] = &["input", "idempotencyKey"];
const VALID_UNTIL: &[&str] = &["input", "validUntil"];

pub fn unknown_sender() -> UserError {
    let message = "this address holds no coins and has no directory entry; deposit and register a key first";
    refuse("UNKNOWN_SENDER", message.into(), SENDER)
}

pub fn amount_zero() -> UserError {
    refuse("AMOUNT_ZERO", "the amount is 0; name at least one coin".into(), AMOUNT)
}

pub fn amount_too_small(least: u64) -> UserError {
    refuse("AMOUNT_TOO_SMALL", format!("sends carry at least {least} coins; send more at once"), AMOUNT)
}

pub fn insufficient_balance(amount: u64, available: u64, locked: u64) -> UserError {
    let locked = match locked {
        0 => String::new(),
        locked => format!(
            "; {locked} more lie under keys that are not in the directory: register the key or use L1"
        ),
    };
    let message =
        format!("{amount} coins asked, {available} can be spent; send less or deposit first{locked}");
    refuse("INSUFFICIENT_BALANCE", message, AMOUNT)
}

pub fn too_many_leaves(most_leaves: usize, largest: u64) -> UserError {
    let message = format!(
        "this amount needs more leaves than the {most_leaves} that one operation takes; the largest amount now is \
         {largest} coins: send that first, or send to yourself to merge leaves"
    );
    refuse("AMOUNT_NEEDS_TOO_MANY_LEAVES", message, AMOUNT)
}

pub fn recipient_not_registered() -> UserError {
    let message = "the recipient has no directory entry; ask the recipient to register a key, or allow a vault (allowVault, \
                   in the wallet --allow-vault): an account that only L1 can unlock";
    refuse("RECIPIENT_NOT_REGISTERED", message.into(), RECIPIENT)
}

pub fn recipient_missing() -> UserError {
    refuse(
        "RECIPIENT_MISSING",
        "a send names its recipient, a withdrawal names none; correct it".into(),
        RECIPIENT,
    )
}

pub fn recipient_zero() -> UserError {
    refuse("RECIPIENT_ZERO", "the zero address can never spend; check the recipient".into(), RECIPIENT)
}

pub fn recipient_account_mismatch() -> UserError {
    let message = "the signed account is neither the recipient's directory account nor the recipient's vault; prepare \
                   the operation again, the recipient may have registered a new key";
    refuse("RECIPIENT_ACCOUNT_MISMATCH", message.into(), &["input", "recipientAccount"])
}

pub fn no_leaves() -> UserError {
    refuse("NO_LEAVES", "the operation spends nothing; sign for at least one leaf".into(), LEAVES)
}

pub fn leaf_twice(index: u64) -> UserError {
    refuse("LEAF_TWICE", format!("leaf {index} is listed twice; list each leaf once"), LEAVES)
}

pub fn operation_too_large(given: usize, most: usize) -> UserError {
    let message =
        format!("{given} leaves do not fit one batch, which takes {most} of one operation; split it");
    refuse("OPERATION_TOO_LARGE", message, LEAVES)
}

pub fn leaf_not_found(index: u64) -> UserError {
    let message =
        format!("there is no leaf {index}: it was never filled or was spent; prepare the operation again");
    refuse("LEAF_NOT_FOUND", message, LEAVES)
}

pub fn leaf_not_owned(index: u64) -> UserError {
    let message = format!("leaf {index} does not belong to this sender and key; spend your own leaves");
    refuse("LEAF_NOT_OWNED", message, LEAVES)
}

pub fn leaf_changed(index: u64) -> UserError {
    let message = format!(
        "leaf {index} no longer holds the coins that were signed for (spent in part since); prepare and sign again"
    );
    refuse("LEAF_ALREADY_SPENT", message, LEAVES)
}

pub fn leaf_not_spendable_yet(index: u64) -> UserError {
    let message = format!(
        "leaf {index} can be spent from the next batch on; send again after the open batch is sealed"
    );
    UserError { retryable: true, ..refuse("LEAF_NOT_SPENDABLE_YET", message, LEAVES) }
}

pub fn split_outside(index: u64, split: u64, low: u64, high: u64) -> UserError {
    let message =
        format!("split {split} of leaf {index} lies outside its coins {low}..={high}; sign a split inside");
    refuse("SPLIT_OUTSIDE_LEAF", message, LEAVES)
}

pub fn bad_signature(index: u64, error: &SignatureError) -> UserError {
    let message = format!(
        "the signature for leaf {index} is refused: {error}. It must be over M for exactly this leaf, recipient, \
         validUntil and the domain of this deployment (chain id and contract)"
    );
    refuse("INVALID_SIGNATURE", message, LEAVES)
}

pub fn expired(valid_until: u32, batch_no: u32) -> UserError {
    let message =
        format!("the message was valid until batch {valid_until}, the next is {batch_no}; sign again");
    refuse("VALID_UNTIL_EXPIRED", message, VALID_UNTIL)
}

pub fn owner_zero() -> UserError {
    refuse("OWNER_ZERO", "the zero address cannot be paid on L1".into(), SENDER)
}

/// `left`: until the next window.
pub fn quota_exceeded(most: u32, window_s: u64, left: Duration) -> UserError {
    let message = format!(
        "sends are free and limited to {most} leaves per {window_s} s and account (fewer while the provers have much to do); send it \
         again in {} s",
        left.as_secs() + 1
    );
    let wait = Duration::from_secs(left.as_secs() + 1);
    UserError { path: SENDER.to_vec(), ..later("QUOTA_EXCEEDED", &message, wait) }
}

pub fn tree_full() -> UserError {
    let message =
        "the tree has no places left for sends (the last ones are kept for exits); withdraw instead";
    refuse("TREE_FULL", message.into(), &["input"])
}

pub fn idempotency_conflict() -> UserError {
    let message = "this idempotencyKey was used with another body, so another operation may have been accepted under it; look \
                   at the sender's operations before you pay again, and repeat a request with the body it had";
    refuse("IDEMPOTENCY_CONFLICT", message.into(), KEY)
}

pub fn idempotency_key(most: usize) -> UserError {
    refuse(
        "IDEMPOTENCY_KEY_INVALID",
        format!("an idempotencyKey has 1 to {most} bytes and no NUL; take a UUID"),
        KEY,
    )
}

pub fn invalid_key(error: &SignatureError) -> UserError {
    refuse("INVALID_KEY", format!("this key cannot own coins: {error}"), &["input", "key"])
}

pub fn invalid_entry_signature() -> UserError {
    let message = "the EIP-712 DirectoryEntry is not signed by its owner for this deployment; sign it with the owner's \
                   wallet on this chain";
    refuse("INVALID_ENTRY_SIGNATURE", message.into(), &["input", "signature"])
}

pub fn key_epoch(given: u32, current: u32) -> UserError {
    let message =
        format!("the entry has key epoch {given}, the contract says {current}; sign one with {current}");
    refuse("KEY_EPOCH_STALE", message, &["input", "keyEpoch"])
}

pub fn proof_not_available(batch_no: u32, oldest: u32, newest: u32) -> UserError {
    let message = format!(
        "the tree of batch {batch_no} is not at hand; batches {oldest} to {newest} are, name one of them"
    );
    refuse("BATCH_NOT_AVAILABLE", message, &["batchNo"])
}

pub fn nothing_proven() -> UserError {
    retry("NOTHING_PROVEN", "no batch is proven yet; ask again later", &["batchNo"])
}

pub fn leaf_empty(index: u64, batch_no: u32) -> UserError {
    refuse("LEAF_EMPTY", format!("leaf {index} is empty under the root of batch {batch_no}"), &["index"])
}

pub fn key_hash_unknown(index: u64) -> UserError {
    let message =
        format!("leaf {index} was re-keyed on L1 to a key that is not in the directory; register it first");
    refuse("KEY_HASH_UNKNOWN", message, &["index"])
}

pub fn draining() -> UserError {
    retry("DRAINING", "the service is shutting down and takes no new operations; try again later", &[])
}

pub fn paused() -> UserError {
    let message = "an operator has paused new operations, those accepted go on; send it again later";
    retry("PAUSED", message, &[])
}

pub fn halted(reason: &str) -> UserError {
    let message = format!(
        "the contract takes no batch of this operator now, so nothing new is promised; balances and history can be read, and \
         what was accepted is kept. Ask the operator, who sees: {reason}"
    );
    refuse("HALTED", message, &[])
}

pub fn clock(reason: &str) -> UserError {
    let message = format!(
        "the operator's clocks disagree, so no deadline can be promised and nothing of this was recorded; send it again later. \
         The operator sees: {reason}"
    );
    retry("CLOCK", &message, &[])
}

pub fn busy() -> UserError {
    retry("BUSY", "too many operations are waiting; try again in a moment", &[])
}

/// No worker that could prove it is alive.
pub fn no_worker(wait: Duration) -> UserError {
    let message = "no prover is at work, so nothing can be promised and nothing of this was recorded; balances can be read. Send it \
                   again later";
    later("BUSY", message, wait)
}

/// The provers cannot do more in time. `needed`: for what was accepted.
pub fn backlog(needed: Duration, wait: Duration) -> UserError {
    let (needed, wait_s) = (needed.as_secs(), wait.as_secs());
    let message = format!(
        "the provers need {needed} s for what was accepted, so no more can be promised and nothing of this was recorded; send it \
         again in {wait_s} s"
    );
    later("BUSY", &message, wait)
}

pub fn busy_reading() -> UserError {
    retry("BUSY", "too many ask for this at once; try again in a moment", &[])
}

pub fn history_unavailable() -> UserError {
    let message = "the history cannot be read now; balances, drafts and payments are not touched by that: ask again later";
    retry("HISTORY_UNAVAILABLE", message, &[])
}

pub fn unavailable() -> UserError {
    let message = "the operation may or may not be recorded; send it again with the same idempotencyKey";
    retry("UNAVAILABLE", message, &[])
}

/// Refused before anything was tried, unlike `unavailable`.
pub fn store_takes_nothing() -> UserError {
    let message = "the operator's store takes nothing at the moment and nothing of this was recorded; send it again later with \
                   the same idempotencyKey";
    retry("UNAVAILABLE", message, &[])
}

pub fn value_refused() -> UserError {
    let message = "a value of this request cannot be stored, so nothing of it was recorded; send it without unusual characters \
                   in its texts";
    refuse("VALUE_REFUSED", message.into(), &["input"])
}

pub fn chain_unavailable() -> UserError {
    retry(
        "CHAIN_UNAVAILABLE",
        "the chain does not answer, so the key epoch cannot be read; try again later",
        &[],
    )
}
