//! From a proven batch to a final one: which transaction is signed, sent again, replaced, and believed.
//!
//! The policy, in words:
//! - Batches go in order. What is proven when a transaction is made goes into it, up to a number of batches and a sum of
//!   gas (EIP-7825 caps a transaction). Several transactions may be on their way with consecutive nonces, each of which
//!   builds on the one before.
//! - A transaction is signed, **recorded**, and only then sent. A nonce is taken once and kept: if the transaction is not
//!   mined in time, one with the same nonce, the same call and higher fees replaces it, up to a cap, where it is sent again
//!   with an alarm. All hashes are followed, any may be mined.
//! - *Refused* is not *waiting*: if the first transaction of a nonce is refused in words that say that no pool has it (a fee
//!   cap, too little ether, a gas limit), the nonce is free. Its batches start over behind the gates after a pause, singly and
//!   with the fees of then, which may be lower. After a lost answer or words that are not known it waits.
//! - Only a receipt, or the contract's log, says what became of a transaction. A node that cannot say (an error, logs that it
//!   does not give) changes nothing: it is asked again.
//! - Three gates before a new call: each proof under the pinned key, the contract's root, and `eth_call`: on the latest
//!   block if the contract stands where the call begins, else on what is pending. A node that cannot run a call on what is
//!   pending refuses it; then it waits, without an alarm, until the contract has moved.
//! - A refusal of several batches has them go singly, so that the one that is bad holds up only those behind it.
//! - A receipt with success makes batches mined. They become final when their block is at or below the final block, in
//!   order. If a reorganisation drops it, they are back to submitted and sent again: the same proof still fits, since
//!   nothing in D moves.
//! - If the nonce was used by a transaction we do not know, or ours reverted, its batches and those that build on them
//!   start over behind the gates, with an alarm for a revert. That a nonce was used counts only if two looks in a row see the
//!   same: nonce and contract may come from nodes of which one is ahead, and a batch that is in already would only revert.
//! - Final is what the final block says. If a reorganisation goes deeper than that and the contract stands at an earlier root
//!   of this ledger, the batches behind it are not final any more and are sent again, as long as what it takes is kept: for
//!   the last [`KEPT_FINAL`] batches. The block of the first of them must be another one by hash, at two looks in a row: a node
//!   that is behind only raises an alarm.
//! - A contract at a root or a batch that the ledger does not know is never argued with: nothing is sent and nothing is
//!   believed until they agree again.
//!
//! | file | concept |
//! |---|---|
//! | `settlement` | the state and how records move it |
//! | `record` | what survives a restart |
//! | `step` | what follows from a look at the chain |
//! | `landed` | final batches, and what it takes to settle them again |
//! | `cost` | gas and fees |

use std::collections::{BTreeMap, HashMap, HashSet};

use bn254::Fr;
use protocol::l1::{BatchAccepted, ContractState, Fees, Hash32, Receipt, SignedTx};
use serde::{Deserialize, Serialize};

pub mod cost;
mod landed;
mod record;
mod step;

pub use landed::KEPT_FINAL;
use landed::Landed;
pub use record::{SettlementRecord, Tried, least_depth};

/// Nonces below the lowest that could still count, for which fees of given-up transactions are remembered.
const REMEMBERED_NONCES: u64 = 64;
/// The pause after a refusal by the pools doubles so often at most.
const MAX_DOUBLINGS: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettlementRules {
    /// An unmined transaction is sent again after this.
    pub resend_ms: u64,
    /// An unmined transaction is replaced by one that pays more after this.
    pub bump_ms: u64,
    /// How much more, in percent; nodes want at least 10.
    pub bump_percent: u32,
    /// Most wei per gas that is ever offered.
    pub max_fee: u128,
    pub max_batches_per_tx: u32,
    /// Gas of one transaction by our own estimate.
    pub max_gas_per_tx: u64,
    /// Transactions on their way at once.
    pub max_in_flight: usize,
}

/// A proven batch that is not final.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    pub old_root: Fr,
    pub new_root: Fr,
    /// By our own estimate.
    pub gas: u64,
    pub mined: Option<Receipt>,
}

/// One nonce, and every transaction signed with it for the same batches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flight {
    pub first: u32,
    pub last: u32,
    pub gas_limit: u64,
    /// Newest last; never empty.
    pub txs: Vec<SignedTx>,
    pub at_cap: bool,
    signed_at: u64,
    sent_at: u64,
}

/// The chain as it was read, nonce first and receipts last.
#[derive(Clone, Debug)]
pub struct ChainView {
    pub head: u64,
    /// The highest block that counts as final.
    pub final_block: u64,
    pub contract: ContractState,
    /// The owner's next nonce.
    pub nonce: u64,
    pub fees: Fees,
    /// For each hash followed, its receipt on the canonical chain.
    pub receipts: HashMap<Hash32, Receipt>,
    /// Hashes for which the node could not say whether there is a receipt.
    pub unknown: HashSet<Hash32>,
    /// Whether the contract's logs could not be read where they are needed.
    pub logs: LogsRead,
    /// Whether the block of the first batch that the contract lost is another one, or gone.
    pub finality: FinalityLook,
    /// Accepted batches by number, from logs, for those followed.
    pub accepted: HashMap<u32, BatchAccepted>,
}

/// Whether the contract's logs were read as far as they are needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogsRead {
    #[default]
    All,
    /// The node refuses some of them for now.
    NotAll,
}

/// What the chain says of the block in which a final batch was mined that the contract does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FinalityLook {
    /// The block is the same, or the node is not there yet.
    #[default]
    Stands,
    /// One look found another block; the next one decides.
    Doubted,
    /// Two looks in a row found another block.
    Replaced,
}

/// What one look tells the next and a restart may forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// A flight was seen displaced, which the next look confirms, or none was.
    Doubted(Option<Displacement>),
    /// The newest transaction of this nonce is sent again.
    Sent { nonce: u64 },
    /// A call on what is pending was refused while the contract stood at this batch: wait until it moves.
    Held { contract_at: u32 },
    /// The contract has moved.
    Released,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettlementEffect {
    /// To be applied and recorded.
    Record(SettlementRecord),
    /// To be applied.
    Note(Note),
    /// Pass the gates, sign, record, send.
    Submit {
        batch_no: u32,
        last: u32,
        nonce: u64,
        fees: Fees,
        tried: Tried,
        /// Of the transaction that this one replaces: its fees, and the gas limit to keep.
        replaces: Option<(Fees, u64)>,
    },
    Send {
        batch_no: u32,
        tx: SignedTx,
    },
    Alarm {
        batch_no: u32,
        reason: String,
    },
    /// The contract is not where this ledger can settle from: nothing is to be promised until it is.
    Halt {
        batch_no: u32,
        reason: String,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settlement {
    rules: SettlementRules,
    /// Proven batches that are not final.
    submissions: BTreeMap<u32, Submission>,
    /// By nonce; their batches are disjoint and rise with the nonce.
    flights: BTreeMap<u64, Flight>,
    /// The last final batch and its root.
    finalised: Option<(u32, Fr)>,
    landed: Landed,
    /// Batches up to this one go singly, since a gate refused several at once.
    singly_up_to: u32,
    /// What was refused last, so that it is recorded once.
    refused: Option<(u32, String)>,
    /// Fees of transactions given up, by nonce: what takes their nonce must pay more than a node that still has them wants.
    given_up: BTreeMap<u64, Fees>,
    /// Final blocks hold transactions of ours with all nonces below this one, whatever a node that is behind says.
    unused_from: u64,
    /// Transactions refused by pools one after another, and when the next may be signed.
    refusals: u32,
    not_before: u64,
    /// Where the contract stood when a call on what is pending was refused; not recorded.
    held_at: Option<u32>,
    /// The flight that the last look saw displaced; not recorded.
    #[serde(skip)]
    doubted: Option<Displacement>,
}

/// What a look has seen of a flight that can never be mined as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Displacement {
    nonce: u64,
    next_nonce: u64,
    contract_at: u32,
}

impl Settlement {
    pub fn new(rules: SettlementRules) -> Self {
        Self {
            rules,
            submissions: BTreeMap::new(),
            flights: BTreeMap::new(),
            finalised: None,
            landed: Landed::default(),
            singly_up_to: 0,
            refused: None,
            given_up: BTreeMap::new(),
            unused_from: 0,
            refusals: 0,
            not_before: 0,
            held_at: None,
            doubted: None,
        }
    }

    /// After a restart from a snapshot.
    pub(crate) fn restart(&mut self, rules: SettlementRules) {
        self.rules = rules;
    }

    /// The clock was set back: nothing waits for a time that is still to come.
    pub(crate) fn not_later_than(&mut self, now: u64) {
        for flight in self.flights.values_mut() {
            flight.signed_at = flight.signed_at.min(now);
            flight.sent_at = flight.sent_at.min(now);
        }
        self.not_before = self.not_before.min(now + (self.rules.resend_ms << MAX_DOUBLINGS));
    }

    /// Without what is not recorded.
    #[cfg(feature = "sim")]
    pub(crate) fn without_times(&self) -> Self {
        let mut settlement = Self { held_at: None, doubted: None, ..self.clone() };
        settlement.not_later_than(0);
        settlement.landed.forget_times();
        settlement
    }

    pub fn submissions(&self) -> impl Iterator<Item = (u32, &Submission)> {
        self.submissions.iter().map(|(batch_no, submission)| (*batch_no, submission))
    }

    /// Nonces that are not final, with their transactions.
    pub fn flights(&self) -> impl Iterator<Item = (u64, &Flight)> {
        self.flights.iter().map(|(nonce, flight)| (*nonce, flight))
    }

    /// Transactions that may still bring this batch in, newest last.
    pub fn transactions(&self, batch_no: u32) -> &[SignedTx] {
        self.flight_of(batch_no).map_or(&[], |(_, flight)| &flight.txs)
    }

    /// Batches in the same transaction as this one.
    pub fn shared_by(&self, batch_no: u32) -> u32 {
        self.flight_of(batch_no).map_or(1, |(_, flight)| flight.last - flight.first + 1)
    }

    /// Hashes whose receipts matter.
    pub fn followed(&self) -> Vec<Hash32> {
        self.flights.values().flat_map(|flight| flight.txs.iter().map(|tx| tx.hash)).collect()
    }

    fn flight_of(&self, batch_no: u32) -> Option<(u64, &Flight)> {
        self.flights().find(|(_, flight)| (flight.first..=flight.last).contains(&batch_no))
    }

    /// A batch is proven and may be submitted; `gas` is of [`cost::batch_gas`].
    pub fn proven(&mut self, batch_no: u32, old_root: Fr, new_root: Fr, gas: u64) {
        self.submissions.insert(batch_no, Submission { old_root, new_root, gas, mined: None });
    }

    /// Why the contract's state cannot be that of this ledger, if it cannot. An earlier one that is kept is no contradiction.
    pub fn contradiction(&self, contract: &ContractState) -> Option<String> {
        let at = contract.batch_no;
        let finalised = self.finalised.map_or(0, |(batch_no, _)| batch_no);
        if at < finalised && self.landed.root_before(at.saturating_add(1)).is_none() {
            return Some(format!(
                "PM-SETTLE-006: batch {finalised} was final and the contract stands at batch {at}: more batches than the \
                 {KEPT_FINAL} that are kept were undone. Check the node; if the chain does not come back to them, raise \
                 --confirmations and restore a backup of before"
            ));
        }
        let proven = self.submissions.keys().next_back().copied().unwrap_or(finalised);
        let known = match self.submissions.get(&at) {
            Some(submission) => Some(submission.new_root),
            None if at < finalised => self.landed.root_before(at.saturating_add(1)),
            None if at == finalised && at > 0 => self.finalised.map(|(_, root)| root),
            None => self.submissions.get(&at.saturating_add(1)).map(|submission| submission.old_root),
        };
        let agrees = if at > proven { false } else { known.is_none_or(|root| root == contract.root) };
        (!agrees).then(|| {
            format!(
                "PM-SETTLE-007: the contract stands at batch {at} with a root that is not this ledger's (proven up to batch \
                 {proven}); another coordinator submits to it, or the store is old or of another deployment"
            )
        })
    }

    /// The first final batch that the contract does not have, where it stands at an earlier root of this ledger, with the
    /// receipt by which it was final.
    pub fn undone(&self, contract: &ContractState) -> Option<(u32, &Receipt)> {
        let first = contract.batch_no.saturating_add(1);
        let last = self.finalised.map_or(0, |(batch_no, _)| batch_no);
        let ours = first <= last && self.landed.root_before(first) == Some(contract.root);
        if ours { self.landed.receipt(first).map(|receipt| (first, receipt)) } else { None }
    }

    /// Applies a note.
    pub fn note(&mut self, note: Note, now: u64) {
        match note {
            Note::Doubted(doubted) => self.doubted = doubted,
            Note::Sent { nonce } => {
                if let Some(flight) = self.flights.get_mut(&nonce) {
                    flight.sent_at = now;
                }
            }
            Note::Held { contract_at } => self.held_at = Some(contract_at),
            Note::Released => self.held_at = None,
        }
    }

    /// Why the contract refused what is next, if nothing was signed for it since.
    pub fn refusal(&self) -> Option<&str> {
        let (batch_no, reason) = self.refused.as_ref()?;
        let waits = self.submissions.get(batch_no).is_some_and(|submission| submission.mined.is_none());
        waits.then_some(reason.as_str())
    }

    /// Whether this refusal is news.
    pub fn is_news(&self, batch_no: u32, reason: &str) -> bool {
        self.refused.as_ref().is_none_or(|(known, why)| (*known, why.as_str()) != (batch_no, reason))
    }

    /// Whether the record says that batches are not final any more.
    pub fn undoes_finality(&self, record: &SettlementRecord) -> bool {
        let SettlementRecord::Dropped { batch_no, .. } = record else { return false };
        self.finalised.is_some_and(|(last, _)| *batch_no <= last)
    }

    /// Applies a record made now or before a restart.
    pub fn apply(&mut self, record: &SettlementRecord, at: u64) {
        match record {
            SettlementRecord::Dropped { batch_no, .. } if self.undoes_finality(record) => {
                self.settle_again(*batch_no, at);
            }
            SettlementRecord::Signed { batch_no, last, tx, gas_limit, .. } => {
                self.refused = None;
                self.given_up = self.given_up.split_off(&tx.nonce.saturating_sub(REMEMBERED_NONCES));
                let flight = self.flights.entry(tx.nonce).or_insert_with(|| Flight {
                    first: *batch_no,
                    last: *last,
                    gas_limit: *gas_limit,
                    txs: Vec::new(),
                    at_cap: false,
                    signed_at: at,
                    sent_at: at,
                });
                flight.txs.push(tx.clone());
                (flight.signed_at, flight.sent_at, flight.at_cap) = (at, at, false);
            }
            SettlementRecord::Mined { receipt, .. } => {
                self.of_record(record).for_each(|submission| submission.mined = Some(receipt.clone()));
                (self.refusals, self.not_before) = (0, 0);
            }
            SettlementRecord::Dropped { batch_no, .. } => {
                self.of_record(record).for_each(|submission| submission.mined = None);
                let nonce = self.flight_of(*batch_no).map(|(nonce, _)| nonce);
                if let Some(flight) = nonce.and_then(|nonce| self.flights.get_mut(&nonce)) {
                    (flight.signed_at, flight.sent_at) = (at, at);
                }
            }
            SettlementRecord::Reverted { batch_no, .. } | SettlementRecord::Displaced { batch_no, .. } => {
                self.of_record(record).for_each(|submission| submission.mined = None);
                if let Some((nonce, flight)) = self.flight_of(*batch_no) {
                    let fees = flight.txs.last().map(|tx| tx.fees);
                    self.given_up.extend(fees.map(|fees| (nonce, fees)));
                    self.flights.remove(&nonce);
                }
            }
            SettlementRecord::Finalised { batch_no } => {
                let Some(submission) = self.submissions.remove(batch_no) else { return };
                self.finalised = Some((*batch_no, submission.new_root));
                let ours = |tx: &SignedTx| submission.mined.as_ref().is_some_and(|m| m.tx == tx.hash);
                let flight = self.flight_of(*batch_no).filter(|(_, flight)| flight.txs.iter().any(ours));
                let unused_from = flight.map_or(0, |(nonce, _)| nonce.saturating_add(1));
                self.unused_from = self.unused_from.max(unused_from);
                let landed = self.flights.extract_if(.., |_, flight| flight.last <= *batch_no).collect();
                self.landed.add(*batch_no, submission, landed);
            }
            SettlementRecord::Refused { batch_no, last, reason } => {
                if last > batch_no {
                    self.singly_up_to = self.singly_up_to.max(*last);
                }
                self.refused = Some((*batch_no, reason.clone()));
                // By a gate there is no transaction yet; by the pools there is one, the first of its nonce.
                if let Some((nonce, _)) =
                    self.flight_of(*batch_no).filter(|(_, flight)| flight.txs.len() == 1)
                {
                    self.flights.remove(&nonce);
                    let pause = self.rules.resend_ms << self.refusals.min(MAX_DOUBLINGS);
                    (self.refusals, self.not_before) = (self.refusals + 1, at.saturating_add(pause));
                }
            }
            SettlementRecord::AtCap { batch_no, .. } => {
                let nonce = self.flight_of(*batch_no).map(|(nonce, _)| nonce);
                if let Some(flight) = nonce.and_then(|nonce| self.flights.get_mut(&nonce)) {
                    flight.at_cap = true;
                }
            }
        }
    }

    fn of_record(&mut self, record: &SettlementRecord) -> impl Iterator<Item = &mut Submission> {
        self.submissions.range_mut(record.batches()).map(|(_, submission)| submission)
    }
}

#[cfg(test)]
mod tests;
