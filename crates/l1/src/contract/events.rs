//! Logs of the contract.

use bn254::Fr;
use ethers::{abi::RawLog, contract::EthLogDecode, types::H256};

use crate::contract::{
    bindings::ProofmillEvents,
    convert::{u256_fr, u256_u64, u256_u128},
    errors::DecodeError,
    types::{Address, ForcedEntry, ForcedKind, MintEntry, Word},
};

/// One log, decoded completely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A circuit of the constructor.
    CircuitAdded {
        /// Its number.
        number: u32,
        /// N.
        slots: u32,
        /// M.
        mint_places: u32,
        /// Whether its key is a development key.
        dev_key: bool,
        /// Digest of its matrices.
        digest: Word,
    },
    /// A signer of promises was added.
    PromiseSignerAdded(Address),
    /// Deposit number `id` (from 0) entered the queue.
    Deposited {
        /// Place in the queue.
        id: u64,
        /// Whose account it is.
        owner: Address,
        /// Hash of the spending key, 0 for a vault.
        key_hash: Fr,
        /// The entry as a batch must give it back.
        entry: MintEntry,
    },
    /// Forced request number `id` (from 0) entered the queue.
    ForcedRequested {
        /// Place in the queue.
        id: u64,
        /// The entry as a batch must give it back.
        entry: ForcedEntry,
    },
    /// A batch was accepted.
    BatchAccepted {
        /// Its number, from 1.
        batch_no: u32,
        /// Its circuit.
        circuit: u32,
        /// Root after appending.
        mid_root: Fr,
        /// Root after spending, now the contract's root.
        new_root: Fr,
        /// First place.
        start: u64,
        /// First place after it.
        next: u64,
        /// Deposits minted so far.
        minted_up_to: u64,
        /// Forced requests answered so far.
        forced_up_to: u64,
    },
    /// Coins left: their worth less the fee can be collected.
    Credited {
        /// Whose it is.
        owner: Address,
        /// Batch that let them out.
        batch_no: u32,
        /// Wei credited.
        amount_wei: u128,
        /// First coin.
        low: u64,
        /// Last coin.
        high: u64,
        /// 2 withdrawal, 3 forced exit.
        kind: u8,
    },
    /// A forced request was paid above its fee.
    ExcessCredited {
        /// Who paid.
        owner: Address,
        /// Wei above the fee.
        amount_wei: u128,
    },
    /// Credited wei was paid out.
    Collected {
        /// Whose it was.
        owner: Address,
        /// Wei paid.
        amount_wei: u128,
    },
    /// The operator collected fees.
    FeesCollected {
        /// Who was paid.
        to: Address,
        /// Wei paid.
        amount_wei: u128,
    },
    /// Stake came in.
    StakeAdded {
        /// Who paid.
        from: Address,
        /// Wei paid.
        amount_wei: u128,
    },
    /// Directory entries of older epochs are void.
    KeyEpochBumped {
        /// Whose.
        owner: Address,
        /// The epoch now.
        key_epoch: u32,
    },
}

/// Decodes one log of the contract from its topics and data.
///
/// # Errors
/// `UnknownLog` for a foreign first topic, `Malformed` or `OutOfRange` where the log is not what the ABI promises. Intake must stop then.
pub fn decode_log(topics: &[Word], data: &[u8]) -> Result<Event, DecodeError> {
    let raw = RawLog { topics: topics.iter().map(|topic| H256(*topic)).collect(), data: data.to_vec() };
    let event = ProofmillEvents::decode_log(&raw).map_err(|error| match error {
        ethers::abi::Error::InvalidData => DecodeError::UnknownLog,
        other => DecodeError::Malformed { what: "a log", reason: other.to_string() },
    })?;
    Ok(match event {
        ProofmillEvents::CircuitAddedFilter(e) => Event::CircuitAdded {
            number: e.number,
            slots: e.slots,
            mint_places: e.mint_places,
            dev_key: e.dev_key,
            digest: e.digest,
        },
        ProofmillEvents::PromiseSignerAddedFilter(e) => Event::PromiseSignerAdded(e.signer.0),
        ProofmillEvents::DepositedFilter(e) => Event::Deposited {
            id: u256_u64("deposit id", e.id)?,
            owner: e.owner.0,
            key_hash: u256_fr("keyHash", e.key_hash)?,
            entry: MintEntry {
                account: u256_fr("account", e.account)?,
                low: e.low,
                high: e.high,
                depositor: e.depositor.0,
                deadline: e.deadline,
            },
        },
        ProofmillEvents::ForcedRequestedFilter(e) => Event::ForcedRequested {
            id: u256_u64("forced id", e.id)?,
            entry: ForcedEntry {
                kind: forced_kind(e.kind)?,
                index: e.index,
                account: u256_fr("account", e.account)?,
                new_account: u256_fr("newAccount", e.new_account)?,
                owner: e.owner.0,
                deadline: e.deadline,
            },
        },
        ProofmillEvents::BatchAcceptedFilter(e) => Event::BatchAccepted {
            batch_no: e.batch_no,
            circuit: e.circuit,
            mid_root: u256_fr("midRoot", e.mid_root)?,
            new_root: u256_fr("newRoot", e.new_root)?,
            start: e.start,
            next: e.next,
            minted_up_to: e.minted_up_to,
            forced_up_to: e.forced_up_to,
        },
        ProofmillEvents::CreditedFilter(e) => Event::Credited {
            owner: e.owner.0,
            batch_no: e.batch_no,
            amount_wei: u256_u128("amountWei", e.amount_wei)?,
            low: e.low,
            high: e.high,
            kind: e.kind,
        },
        ProofmillEvents::ExcessCreditedFilter(e) => {
            Event::ExcessCredited { owner: e.owner.0, amount_wei: u256_u128("amountWei", e.amount_wei)? }
        }
        ProofmillEvents::CollectedFilter(e) => {
            Event::Collected { owner: e.owner.0, amount_wei: u256_u128("amountWei", e.amount_wei)? }
        }
        ProofmillEvents::FeesCollectedFilter(e) => {
            Event::FeesCollected { to: e.to.0, amount_wei: u256_u128("amountWei", e.amount_wei)? }
        }
        ProofmillEvents::StakeAddedFilter(e) => {
            Event::StakeAdded { from: e.from.0, amount_wei: u256_u128("amountWei", e.amount_wei)? }
        }
        ProofmillEvents::KeyEpochBumpedFilter(e) => {
            Event::KeyEpochBumped { owner: e.owner.0, key_epoch: e.key_epoch }
        }
    })
}

pub(crate) fn forced_kind(kind: u8) -> Result<ForcedKind, DecodeError> {
    match kind {
        3 => Ok(ForcedKind::Exit),
        4 => Ok(ForcedKind::Rekey),
        _ => Err(DecodeError::OutOfRange { field: "forced kind" }),
    }
}
