//! From a proven batch to a final one: which transaction is signed, sent again, replaced, and believed.
//!
//! The policy, in words:
//! - Batches go in order, one transaction each. A batch is submitted when every batch before it is mined and the contract
//!   stands at its old root.
//! - A transaction is signed, **recorded**, and only then sent. A nonce is taken once and kept: if the transaction is not
//!   mined in time, one with the same nonce and higher fees replaces it. All hashes are followed, any may be mined.
//! - A receipt with success makes the batch mined. It becomes final when its block is at or below the final block, in
//!   order. If a reorganisation drops it, it is back to submitted and sent again: the same proof still fits, since nothing
//!   in D moves.
//! - If the nonce was used by a transaction we do not know, or ours reverted, the batch starts over behind the gates
//!   (pinned key, roots, `eth_call`), with an alarm for a revert.
//!
//! Known issues: one batch a transaction; several per transaction come with `submitBatches`.

use std::collections::{BTreeMap, HashMap};

use bn254::Fr;
use serde::{Deserialize, Serialize};

use crate::chain::{BatchAccepted, ContractState, Fees, Hash32, Receipt, SignedTx};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettlementRules {
    /// An unmined transaction is sent again after this.
    pub resend_ms: u64,
    /// An unmined transaction is replaced by one that pays more after this.
    pub bump_ms: u64,
    /// How much more, in percent; nodes want at least 10.
    pub bump_percent: u32,
}

/// What must survive a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SettlementRecord {
    Signed {
        batch_no: u32,
        tx: SignedTx,
    },
    Mined {
        batch_no: u32,
        receipt: Receipt,
    },
    /// A reorganisation dropped the transaction.
    Dropped {
        batch_no: u32,
    },
    /// The contract refused the transaction in a block.
    Reverted {
        batch_no: u32,
        receipt: Receipt,
    },
    /// Another transaction of the owner took the nonce.
    Displaced {
        batch_no: u32,
    },
    Finalised {
        batch_no: u32,
    },
}

impl SettlementRecord {
    pub fn batch_no(&self) -> u32 {
        match self {
            Self::Signed { batch_no, .. }
            | Self::Mined { batch_no, .. }
            | Self::Dropped { batch_no }
            | Self::Reverted { batch_no, .. }
            | Self::Displaced { batch_no }
            | Self::Finalised { batch_no } => *batch_no,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    pub old_root: Fr,
    pub new_root: Fr,
    /// Same nonce, newest last.
    pub txs: Vec<SignedTx>,
    pub mined: Option<Receipt>,
    signed_at: u64,
    sent_at: u64,
}

/// The chain as it was read, nonce first and receipts last.
#[derive(Clone, Debug)]
pub struct ChainView {
    /// The highest block that counts as final.
    pub final_block: u64,
    pub contract: ContractState,
    /// The owner's next nonce.
    pub nonce: u64,
    pub fees: Fees,
    /// For each hash followed, its receipt on the canonical chain.
    pub receipts: HashMap<Hash32, Receipt>,
    /// Accepted batches by number, from logs, for those followed.
    pub accepted: HashMap<u32, BatchAccepted>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettlementEffect {
    Record(SettlementRecord),
    /// Pass the gates, sign, record, send.
    Submit {
        batch_no: u32,
        nonce: u64,
        fees: Fees,
    },
    Send {
        batch_no: u32,
        tx: SignedTx,
    },
    Alarm {
        batch_no: u32,
        reason: String,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settlement {
    rules: SettlementRules,
    /// Proven batches that are not final.
    submissions: BTreeMap<u32, Submission>,
}

impl Settlement {
    pub fn new(rules: SettlementRules) -> Self {
        Self { rules, submissions: BTreeMap::new() }
    }

    /// After a restart from a snapshot.
    pub(crate) fn restart(&mut self, rules: SettlementRules) {
        self.rules = rules;
    }

    pub fn submissions(&self) -> impl Iterator<Item = (u32, &Submission)> {
        self.submissions.iter().map(|(batch_no, submission)| (*batch_no, submission))
    }

    /// Hashes whose receipts matter.
    pub fn followed(&self) -> Vec<Hash32> {
        self.submissions.values().flat_map(|submission| submission.txs.iter().map(|tx| tx.hash)).collect()
    }

    /// A batch is proven and may be submitted.
    pub fn proven(&mut self, batch_no: u32, old_root: Fr, new_root: Fr) {
        let submission =
            Submission { old_root, new_root, txs: Vec::new(), mined: None, signed_at: 0, sent_at: 0 };
        self.submissions.insert(batch_no, submission);
    }

    /// Applies a record made now or before a restart.
    pub fn apply(&mut self, record: &SettlementRecord, at: u64) {
        let Some(submission) = self.submissions.get_mut(&record.batch_no()) else { return };
        match record {
            SettlementRecord::Signed { tx, .. } => {
                if submission.txs.last().is_some_and(|last| last.nonce != tx.nonce) {
                    submission.txs.clear();
                }
                submission.txs.push(tx.clone());
                submission.signed_at = at;
                submission.sent_at = at;
            }
            SettlementRecord::Mined { receipt, .. } => submission.mined = Some(receipt.clone()),
            SettlementRecord::Dropped { .. } => {
                submission.mined = None;
                submission.signed_at = at;
                submission.sent_at = 0;
            }
            SettlementRecord::Reverted { .. } | SettlementRecord::Displaced { .. } => {
                submission.mined = None;
                submission.txs.clear();
            }
            SettlementRecord::Finalised { batch_no } => {
                self.submissions.remove(batch_no);
            }
        }
    }

    /// What follows from the chain as it is. Records are to be applied in order; nothing is changed here but the time of
    /// the last broadcast.
    pub fn step(&mut self, view: &ChainView, now: u64) -> Vec<SettlementEffect> {
        let mut effects = Vec::new();
        let mut all_final = true;
        let rules = self.rules;
        for (&batch_no, submission) in &mut self.submissions {
            let receipt = submission.receipt(batch_no, view);
            match (&submission.mined, receipt) {
                (_, Some(receipt)) if !receipt.success => {
                    let reason = format!(
                        "transaction 0x{} reverted in block {}",
                        hex::encode(receipt.tx),
                        receipt.block
                    );
                    effects.push(SettlementEffect::Record(SettlementRecord::Reverted { batch_no, receipt }));
                    effects.push(SettlementEffect::Alarm { batch_no, reason });
                    break;
                }
                (before, Some(receipt)) => {
                    let block = receipt.block;
                    if before.as_ref() != Some(&receipt) {
                        effects.push(SettlementEffect::Record(SettlementRecord::Mined { batch_no, receipt }));
                    }
                    all_final &= block <= view.final_block;
                    if all_final {
                        effects.push(SettlementEffect::Record(SettlementRecord::Finalised { batch_no }));
                    }
                }
                (Some(_), None) => {
                    effects.push(SettlementEffect::Record(SettlementRecord::Dropped { batch_no }));
                    effects.extend(
                        submission.txs.last().map(|tx| SettlementEffect::Send { batch_no, tx: tx.clone() }),
                    );
                    break;
                }
                (None, None) => {
                    submission.advance(batch_no, view, &rules, now, &mut effects);
                    break;
                }
            }
        }
        effects
    }
}

impl Submission {
    /// The receipt of whichever of its transactions was mined, or what the contract's own log says.
    fn receipt(&self, batch_no: u32, view: &ChainView) -> Option<Receipt> {
        let found = self.txs.iter().find_map(|tx| view.receipts.get(&tx.hash)).cloned();
        found
            .filter(|receipt| receipt.success || self.txs.last().is_some_and(|last| receipt.tx == last.hash))
            .or_else(|| {
                let log = view.accepted.get(&batch_no).filter(|log| log.new_root == self.new_root)?;
                let known =
                    self.mined.clone().filter(|receipt| receipt.tx == log.tx && receipt.block == log.block);
                let from_log =
                    Receipt { tx: log.tx, block: log.block, block_hash: [0; 32], success: true, gas_used: 0 };
                Some(known.unwrap_or(from_log))
            })
    }

    /// Not mined: submit, send again, or pay more.
    fn advance(
        &mut self,
        batch_no: u32,
        view: &ChainView,
        rules: &SettlementRules,
        now: u64,
        effects: &mut Vec<SettlementEffect>,
    ) {
        let fits = view.contract.batch_no + 1 == batch_no && view.contract.root == self.old_root;
        let Some(last) = self.txs.last() else {
            if fits {
                effects.push(SettlementEffect::Submit { batch_no, nonce: view.nonce, fees: view.fees });
            } else if view.contract.batch_no + 1 == batch_no {
                let reason = "the contract's root is not the batch's old root".to_owned();
                effects.push(SettlementEffect::Alarm { batch_no, reason });
            }
            return;
        };
        if view.nonce > last.nonce && fits {
            effects.push(SettlementEffect::Record(SettlementRecord::Displaced { batch_no }));
        } else if self.signed_at + rules.bump_ms <= now && fits {
            let fees = bump(last.fees, view.fees, rules.bump_percent);
            effects.push(SettlementEffect::Submit { batch_no, nonce: last.nonce, fees });
        } else if self.sent_at + rules.resend_ms <= now {
            self.sent_at = now;
            effects.push(SettlementEffect::Send { batch_no, tx: last.clone() });
        }
    }
}

/// At least `percent` more than before, or what the market wants if that is more.
fn bump(before: Fees, market: Fees, percent: u32) -> Fees {
    let raise = |fee: u128| {
        fee.saturating_add((fee.saturating_mul(u128::from(percent))).div_ceil(100)).saturating_add(1)
    };
    Fees {
        max_fee: raise(before.max_fee).max(market.max_fee),
        max_priority: raise(before.max_priority).max(market.max_priority),
    }
}

#[cfg(test)]
mod tests;
