//! Every reason for which a request is turned down, with its stable code and a sentence that says what to do. Nothing was changed.
//!
//! One enum, so that documentation and tests can name them all and no two mean the same. Which argument of which API a rejection
//! concerns is that API's matter.

use std::time::Duration;

use circuits::eddsa::SignatureError;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("this address holds no coins and has no directory entry; deposit and register a key first")]
    UnknownSender,
    #[error("the amount is 0; name at least one coin")]
    AmountZero,
    #[error("sends carry at least {least} coins; send more at once")]
    AmountTooSmall { least: u64 },
    #[error(
        "{amount} coins asked, {available} can be spent; send less or deposit first{}", in_words(*.locked)
    )]
    InsufficientBalance { amount: u64, available: u64, locked: u64 },
    #[error(
        "this amount needs more leaves than the {most_leaves} that one operation takes; the \
         largest amount now is {largest} coins: send that first, or send to yourself to merge \
         leaves"
    )]
    TooManyLeaves { most_leaves: usize, largest: u64 },
    #[error(
        "the recipient has no directory entry; ask the recipient to register a key, or allow a \
         vault (allowVault, in the wallet --allow-vault): an account that only L1 can unlock"
    )]
    RecipientNotRegistered,
    #[error("a send names its recipient, a withdrawal names none; correct it")]
    RecipientMissing,
    #[error("the zero address can never spend; check the recipient")]
    RecipientZero,
    #[error(
        "the signed account is neither the recipient's directory account nor the recipient's \
         vault; prepare the operation again, the recipient may have registered a new key"
    )]
    RecipientAccountMismatch,
    #[error("the operation spends nothing; sign for at least one leaf")]
    NoLeaves,
    #[error("leaf {index} is listed twice; list each leaf once")]
    LeafTwice { index: u64 },
    #[error("{given} leaves do not fit one batch, which takes {most} of one operation; split it")]
    OperationTooLarge { given: usize, most: usize },
    #[error("there is no leaf {index}: it was never filled or was spent; prepare the operation again")]
    LeafNotFound { index: u64 },
    #[error("leaf {index} does not belong to this sender and key; spend your own leaves")]
    LeafNotOwned { index: u64 },
    #[error(
        "leaf {index} no longer holds the coins that were signed for (spent in part since); \
         prepare and sign again"
    )]
    LeafChanged { index: u64 },
    #[error(
        "leaf {index} can be spent from the next batch on; send again after the open batch is \
         sealed"
    )]
    LeafNotSpendableYet { index: u64 },
    #[error("split {split} of leaf {index} lies outside its coins {low}..={high}; sign a split inside")]
    SplitOutside { index: u64, split: u64, low: u64, high: u64 },
    #[error(
        "the signature for leaf {index} is refused: {error}. It must be over M for exactly this \
         leaf, recipient, validUntil and the domain of this deployment (chain id and contract)"
    )]
    BadSignature { index: u64, error: SignatureError },
    #[error("the message was valid until batch {valid_until}, the next is {batch_no}; sign again")]
    Expired { valid_until: u32, batch_no: u32 },
    #[error("the zero address cannot be paid on L1")]
    OwnerZero,
    /// `left`: until the next window.
    #[error(
        "sends are free and limited to {most} leaves per {window_s} s and account (fewer while the \
         provers have much to do); send it again in {} s", .left.as_secs() + 1
    )]
    QuotaExceeded { most: u32, window_s: u64, left: Duration },
    #[error(
        "the tree has no places left for sends (the last ones are kept for exits); withdraw \
         instead"
    )]
    TreeFull,
    #[error(
        "this idempotencyKey was used with another body, so another operation may have been \
         accepted under it; look at the sender's operations before you pay again, and repeat a \
         request with the body it had"
    )]
    IdempotencyConflict,
    #[error("an idempotencyKey has 1 to {most} bytes and no NUL; take a UUID")]
    IdempotencyKeyInvalid { most: usize },
    #[error("this key cannot own coins: {error}")]
    InvalidKey { error: SignatureError },
    #[error(
        "the EIP-712 DirectoryEntry is not signed by its owner for this deployment; sign it with \
         the owner's wallet on this chain"
    )]
    InvalidEntrySignature,
    #[error("the entry has key epoch {given}, the contract says {current}; sign one with {current}")]
    KeyEpochStale { given: u32, current: u32 },
    #[error(
        "the tree of batch {batch_no} is not at hand; batches {oldest} to {newest} are, name one \
         of them"
    )]
    BatchNotAvailable { batch_no: u32, oldest: u32, newest: u32 },
    #[error("no batch is proven yet; ask again later")]
    NothingProven,
    #[error(
        "leaf {index} is empty under the root of batch {batch_no}; ask for a leaf that its account has in that batch"
    )]
    LeafEmpty { index: u64, batch_no: u32 },
    #[error("leaf {index} was re-keyed on L1 to a key that is not in the directory; register it first")]
    KeyHashUnknown { index: u64 },
    #[error("the service is shutting down and takes no new operations; try again later")]
    Draining,
    #[error("an operator has paused new operations, those accepted go on; send it again later")]
    Paused,
    #[error(
        "the contract takes no batch of this operator now, so nothing new is promised; balances \
         and history can be read, and what was accepted is kept. Ask the operator, who sees: \
         {reason}"
    )]
    Halted { reason: String },
    #[error(
        "the operator's clocks disagree, so no deadline can be promised and nothing of this was \
         recorded; send it again later. The operator sees: {reason}"
    )]
    Clock { reason: String },
    #[error("too many operations are waiting; try again in a moment")]
    Busy,
    /// No worker that could prove it is alive.
    #[error(
        "no prover is at work, so nothing can be promised and nothing of this was recorded; \
         balances can be read. Send it again later"
    )]
    NoWorker { wait: Duration },
    /// The provers cannot do more in time. `needed`: for what was accepted.
    #[error(
        "the provers need {} s for what was accepted, so no more can be promised and nothing of \
         this was recorded; send it again in {} s", .needed.as_secs(), .wait.as_secs()
    )]
    Backlog { needed: Duration, wait: Duration },
    #[error("too many ask for this at once; try again in a moment")]
    BusyReading,
    #[error(
        "the history cannot be read now; balances, drafts and payments are not touched by that: \
         ask again later"
    )]
    HistoryUnavailable,
    #[error("the operation may or may not be recorded; send it again with the same idempotencyKey")]
    Unavailable,
    /// The state is not whole: whether this was accepted before is not known yet.
    #[error(
        "the operator has just started and is still reading what it accepted before; send it again in a moment with the same \
         idempotencyKey"
    )]
    Starting,
    /// Before anything was tried, unlike `Unavailable`.
    #[error(
        "the operator's store takes nothing at the moment and nothing of this was recorded; send \
         it again later with the same idempotencyKey"
    )]
    StoreTakesNothing,
    #[error(
        "a value of this request cannot be stored, so nothing of it was recorded; send it without \
         unusual characters in its texts"
    )]
    ValueRefused,
    #[error("the chain does not answer, so the key epoch cannot be read; try again later")]
    ChainUnavailable,
}

/// What of the balance no draft can spend.
fn in_words(locked: u64) -> String {
    match locked {
        0 => String::new(),
        locked => {
            format!(
                "; {locked} more lie under keys that are not in the directory: register the key or use L1"
            )
        }
    }
}

impl Rejection {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownSender => "UNKNOWN_SENDER",
            Self::AmountZero => "AMOUNT_ZERO",
            Self::AmountTooSmall { .. } => "AMOUNT_TOO_SMALL",
            Self::InsufficientBalance { .. } => "INSUFFICIENT_BALANCE",
            Self::TooManyLeaves { .. } => "AMOUNT_NEEDS_TOO_MANY_LEAVES",
            Self::RecipientNotRegistered => "RECIPIENT_NOT_REGISTERED",
            Self::RecipientMissing => "RECIPIENT_MISSING",
            Self::RecipientZero => "RECIPIENT_ZERO",
            Self::RecipientAccountMismatch => "RECIPIENT_ACCOUNT_MISMATCH",
            Self::NoLeaves => "NO_LEAVES",
            Self::LeafTwice { .. } => "LEAF_TWICE",
            Self::OperationTooLarge { .. } => "OPERATION_TOO_LARGE",
            Self::LeafNotFound { .. } => "LEAF_NOT_FOUND",
            Self::LeafNotOwned { .. } => "LEAF_NOT_OWNED",
            Self::LeafChanged { .. } => "LEAF_ALREADY_SPENT",
            Self::LeafNotSpendableYet { .. } => "LEAF_NOT_SPENDABLE_YET",
            Self::SplitOutside { .. } => "SPLIT_OUTSIDE_LEAF",
            Self::BadSignature { .. } => "INVALID_SIGNATURE",
            Self::Expired { .. } => "VALID_UNTIL_EXPIRED",
            Self::OwnerZero => "OWNER_ZERO",
            Self::QuotaExceeded { .. } => "QUOTA_EXCEEDED",
            Self::TreeFull => "TREE_FULL",
            Self::IdempotencyConflict => "IDEMPOTENCY_CONFLICT",
            Self::IdempotencyKeyInvalid { .. } => "IDEMPOTENCY_KEY_INVALID",
            Self::InvalidKey { .. } => "INVALID_KEY",
            Self::InvalidEntrySignature => "INVALID_ENTRY_SIGNATURE",
            Self::KeyEpochStale { .. } => "KEY_EPOCH_STALE",
            Self::BatchNotAvailable { .. } => "BATCH_NOT_AVAILABLE",
            Self::NothingProven => "NOTHING_PROVEN",
            Self::LeafEmpty { .. } => "LEAF_EMPTY",
            Self::KeyHashUnknown { .. } => "KEY_HASH_UNKNOWN",
            Self::Draining => "DRAINING",
            Self::Paused => "PAUSED",
            Self::Halted { .. } => "HALTED",
            Self::Clock { .. } => "CLOCK",
            Self::Busy | Self::NoWorker { .. } | Self::Backlog { .. } | Self::BusyReading => "BUSY",
            Self::HistoryUnavailable => "HISTORY_UNAVAILABLE",
            Self::Unavailable | Self::Starting | Self::StoreTakesNothing => "UNAVAILABLE",
            Self::ValueRefused => "VALUE_REFUSED",
            Self::ChainUnavailable => "CHAIN_UNAVAILABLE",
        }
    }

    /// Whether the same request can succeed later.
    pub fn retryable(&self) -> bool {
        matches!(
            self,
            Self::LeafNotSpendableYet { .. }
                | Self::QuotaExceeded { .. }
                | Self::NothingProven
                | Self::Draining
                | Self::Paused
                | Self::Clock { .. }
                | Self::Busy
                | Self::NoWorker { .. }
                | Self::Backlog { .. }
                | Self::BusyReading
                | Self::HistoryUnavailable
                | Self::Unavailable
                | Self::Starting
                | Self::StoreTakesNothing
                | Self::ChainUnavailable
        )
    }

    /// When that may be, where it is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::NoWorker { wait } | Self::Backlog { wait, .. } => Some(*wait),
            Self::QuotaExceeded { left, .. } => Some(Duration::from_secs(left.as_secs() + 1)),
            _ => None,
        }
    }
}
