//! What the contract says no with, as sentences that tell what to do.

use ethers::abi::AbiDecode;

use crate::contract::{bindings::ProofmillErrors as E, settings::by_solidity_name};

/// Something from the chain that is not what the ABI promises.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A value does not fit its type in this crate.
    #[error(
        "PM-CONTRACT-001: the contract's {field} is out of its range; check that the address is a Proofmill contract"
    )]
    OutOfRange {
        /// Name of the field.
        field: &'static str,
    },
    /// No event of the contract has this first topic.
    #[error(
        "PM-CONTRACT-002: the log is of no known event; upgrade this program or check the contract's address"
    )]
    UnknownLog,
    /// The bytes do not decode.
    #[error(
        "PM-CONTRACT-003: {what} does not decode: {reason}; check that the address is a Proofmill contract"
    )]
    Malformed {
        /// What was decoded.
        what: &'static str,
        /// The decoder's words.
        reason: String,
    },
}

/// A revert of the contract.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {sentence}")]
pub struct ContractError {
    /// Stable code, `PM-CONTRACT-1xx`.
    pub code: &'static str,
    /// Name of the custom error, `Error` for a revert with text, `Unknown` otherwise.
    pub name: &'static str,
    /// What happened and what to do.
    pub sentence: String,
}

/// Reads the data of a revert.
pub fn decode_error(data: &[u8]) -> ContractError {
    let (code, name, sentence) = match E::decode(data) {
        Ok(error) => describe(error),
        Err(_) if data.is_empty() => (
            "PM-CONTRACT-199",
            "Unknown",
            "the contract reverted without data: out of gas, or a value that does not fit its type"
                .to_string(),
        ),
        Err(_) => (
            "PM-CONTRACT-199",
            "Unknown",
            format!("the contract reverted with unknown data 0x{}", hex::encode(data)),
        ),
    };
    ContractError { code, name, sentence }
}

fn describe(error: E) -> (&'static str, &'static str, String) {
    match error {
        E::ConfigOutOfBounds(e) => (
            "PM-CONTRACT-101",
            "ConfigOutOfBounds",
            match by_solidity_name(&e.field) {
                Some(setting) => {
                    let (name, solidity) = (setting.name, setting.solidity);
                    format!("the setting {name} ({solidity}) is out of its bounds: {}", setting.meaning)
                }
                None => format!("{} is missing or out of its bounds; name at least one circuit", e.field),
            },
        ),
        E::CircuitShape(e) => (
            "PM-CONTRACT-102",
            "CircuitShape",
            format!(
                "circuit {}: slots and mint places must be positive and add up to a power of 4 up to 1024",
                e.number
            ),
        ),
        E::CircuitTwice(e) => {
            ("PM-CONTRACT-103", "CircuitTwice", format!("circuit {} is listed twice; list it once", e.number))
        }
        E::DevKeyOnRealChain(e) => (
            "PM-CONTRACT-104",
            "DevKeyOnRealChain",
            format!(
                "circuit {} has a development key, from which anybody forges proofs: refused on chain {}; use a key of a ceremony",
                e.number, e.chain_id
            ),
        ),
        E::DegenerateKey(e) => (
            "PM-CONTRACT-105",
            "DegenerateKey",
            format!(
                "circuit {}: two of beta, gamma, delta are equal up to sign, so anybody forges proofs; finish the setup",
                e.number
            ),
        ),
        E::BadKeyPoint(e) => (
            "PM-CONTRACT-106",
            "BadKeyPoint",
            format!(
                "circuit {}: the key's point {} is not a valid point; export the key again",
                e.number, e.point
            ),
        ),
        E::ZeroAddress(_) => (
            "PM-CONTRACT-107",
            "ZeroAddress",
            "the zero address is not allowed here; give another".to_string(),
        ),
        E::NotInField(e) => (
            "PM-CONTRACT-108",
            "NotInField",
            format!("the word {} is not below the order of the field; reduce it or check its source", e.word),
        ),
        E::ValueNotWhole(e) => (
            "PM-CONTRACT-109",
            "ValueNotWhole",
            format!("{} wei is not a multiple of a coin ({} wei); round the amount", e.value, e.quantum),
        ),
        E::DepositTooSmall(e) => (
            "PM-CONTRACT-110",
            "DepositTooSmall",
            format!("{} coins do not exceed the fee of {} coins; deposit more", e.coins, e.fee_coins),
        ),
        E::CoinsExhausted(_) => (
            "PM-CONTRACT-111",
            "CoinsExhausted",
            "no coin numbers are left; use another deployment".to_string(),
        ),
        E::IndexNotAppended(e) => (
            "PM-CONTRACT-112",
            "IndexNotAppended",
            format!(
                "place {} is not in the tree yet (next is {}); wait until its batch is accepted",
                e.index, e.next
            ),
        ),
        E::ForceFeeTooLow(e) => (
            "PM-CONTRACT-113",
            "ForceFeeTooLow",
            format!(
                "{} wei sent, {} required; ask forceFee() and send more, the excess is credited",
                e.sent, e.required
            ),
        ),
        E::NotOperator(e) => {
            ("PM-CONTRACT-114", "NotOperator", format!("only the operator may do this, not {:?}", e.caller))
        }
        E::UnknownCircuit(e) => (
            "PM-CONTRACT-115",
            "UnknownCircuit",
            format!("circuit {} is not in this deployment; prove with one that is", e.circuit),
        ),
        E::StartOutOfWindow(e) => (
            "PM-CONTRACT-116",
            "StartOutOfWindow",
            format!(
                "start {} is not in next..next+1024 (next is {}); the batch is stale or too far ahead",
                e.start, e.next
            ),
        ),
        E::StartNotAligned(e) => (
            "PM-CONTRACT-117",
            "StartNotAligned",
            format!("start {} is not a multiple of the batch's {} places", e.start, e.size),
        ),
        E::TreeFull(e) => (
            "PM-CONTRACT-118",
            "TreeFull",
            format!("{} places at {} do not fit the tree; only smaller batches do", e.size, e.start),
        ),
        E::TooManyMints(e) => (
            "PM-CONTRACT-119",
            "TooManyMints",
            format!("{} mints where the circuit has {} places; send fewer", e.given, e.limit),
        ),
        E::TooManyRecords(e) => (
            "PM-CONTRACT-120",
            "TooManyRecords",
            format!("{} records where {} are allowed; split the batch", e.given, e.limit),
        ),
        E::TooManyForced(e) => (
            "PM-CONTRACT-121",
            "TooManyForced",
            format!("{} forced requests where the circuit takes {}; send fewer", e.given, e.limit),
        ),
        E::DepositMismatch(e) => (
            "PM-CONTRACT-122",
            "DepositMismatch",
            format!(
                "the entry given for deposit {} is not the queued one; mint the queue's next entries in order",
                e.id
            ),
        ),
        E::ForcedMismatch(e) => (
            "PM-CONTRACT-123",
            "ForcedMismatch",
            format!(
                "the entry given for forced request {} is not the queued one; answer the queue in order",
                e.id
            ),
        ),
        E::ForcedEntriesUnequal(e) => (
            "PM-CONTRACT-124",
            "ForcedEntriesUnequal",
            format!("{} forced records but {} entries; give one entry for each", e.records, e.entries),
        ),
        E::ForcedRecordMismatch(e) => (
            "PM-CONTRACT-125",
            "ForcedRecordMismatch",
            format!("record {} does not show the forced request it answers", e.position),
        ),
        E::UnknownRecord(e) => (
            "PM-CONTRACT-126",
            "UnknownRecord",
            format!("record {} has the unknown tag {}; tags are 2, 3 and 4", e.position, e.tag),
        ),
        E::BadOwner(e) => (
            "PM-CONTRACT-127",
            "BadOwner",
            format!("record {} pays {}, which is no address; leave that operation out", e.position, e.owner),
        ),
        E::BadRange(e) => (
            "PM-CONTRACT-128",
            "BadRange",
            format!(
                "record {} has a range {} that is empty or holds coins never minted",
                e.position, e.range
            ),
        ),
        E::ProofRejected(e) => (
            "PM-CONTRACT-129",
            "ProofRejected",
            format!(
                "the proof of batch {} does not verify for this state; prove it again from the current root",
                e.batch_no
            ),
        ),
        E::NothingPending(e) => (
            "PM-CONTRACT-130",
            "NothingPending",
            format!("nothing is credited to {:?}; wait for the batch", e.owner),
        ),
        E::PaymentFailed(e) => (
            "PM-CONTRACT-131",
            "PaymentFailed",
            format!("{:?} refused the payment; collect to another address", e.to),
        ),
        E::NoBatches(_) => {
            ("PM-CONTRACT-132", "NoBatches", "the list of batches is empty; give at least one".to_string())
        }
        E::ProofsUnequal(e) => (
            "PM-CONTRACT-133",
            "ProofsUnequal",
            format!("{} batches but {} proofs; give one proof for each", e.batches, e.proofs),
        ),
        E::ProofsRejected(e) => (
            "PM-CONTRACT-134",
            "ProofsRejected",
            format!(
                "of the {} proofs of circuit {} from batch {} on, one does not verify; submit these batches singly to \
                 see which",
                e.count, e.circuit, e.first_batch
            ),
        ),
        E::RevertString(text) => ("PM-CONTRACT-198", "Error", format!("the contract reverted: {text}")),
    }
}
