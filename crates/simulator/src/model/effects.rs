//! What must be true of jobs, of attempts and of transactions: when they are recorded, and when they leave.

use protocol::l1::SignedTx;
use sequencer::{
    farm::{AttemptEnd, FarmRecord},
    settlement::SettlementRecord,
};
use wire::{JobEntry, JobId, WorkerId, job::input_hash};

use super::{Model, Verdict, holds};
use crate::node::{Node, tag};

impl Model {
    pub(super) fn farm(&mut self, record: &FarmRecord) -> Verdict {
        match record {
            FarmRecord::Granted { batch_no, attempt, worker } => {
                let Some(job) = self.dispatch.get_mut(batch_no) else {
                    return Err(format!("batch {batch_no} is granted and needs no proof"));
                };
                holds(*attempt == job.attempt + 1, || {
                    format!("attempt {attempt} of batch {batch_no} follows {}", job.attempt)
                })?;
                holds(job.live.values().all(|other| other != worker), || {
                    format!("{worker} holds batch {batch_no} twice")
                })?;
                holds(job.live.len() < 3, || format!("batch {batch_no} is with four workers"))?;
                job.attempt = *attempt;
                job.live.insert(*attempt, worker.clone());
                job.granted.insert(*attempt, worker.clone());
            }
            FarmRecord::AttemptEnded { batch_no, attempt, worker, end, .. } => {
                if let Some(job) = self.dispatch.get_mut(batch_no) {
                    let granted = job.granted.get(attempt) == Some(worker);
                    let live = job.live.remove(attempt).is_some();
                    // A proof that comes late and does not verify ends its attempt once more.
                    holds(granted && (live || *end == AttemptEnd::Refused), || {
                        format!("attempt {attempt} of batch {batch_no} ends twice")
                    })?;
                }
            }
            FarmRecord::Poisoned { batch_no, message } => {
                return Err(format!("batch {batch_no} is poisoned ({message}), and all can be proved"));
            }
            _ => {}
        }
        Ok(())
    }

    /// The input of a job is laid down.
    ///
    /// # Errors
    /// What does not hold.
    pub fn publication(&self, job: JobId, input: &[u8]) -> Verdict {
        let past = job.batch_no().and_then(|batch_no| self.past.get(&batch_no));
        let past = past.ok_or_else(|| format!("job {job} is published before it is durable"))?;
        holds(input_hash(input) == past.input_hash, || format!("job {job} is another batch"))
    }

    /// An attempt is handed to a worker.
    ///
    /// # Errors
    /// What does not hold.
    pub fn granted(&self, entry: &JobEntry, worker: &WorkerId) -> Verdict {
        let JobEntry { job, attempt, .. } = entry;
        let batch_no = job.batch_no().unwrap_or(0);
        let past = self.past.get(&batch_no).ok_or_else(|| format!("job {job} is granted unsealed"))?;
        let same = past.input_hash == entry.input_hash && past.shape == entry.shape;
        holds(same, || format!("job {job} is another batch"))?;
        // Proven since it was decided.
        let Some(dispatch) = self.dispatch.get(&batch_no) else { return Ok(()) };
        let recorded = dispatch.granted.get(&attempt.0);
        holds(recorded == Some(worker), || {
            format!("job {job} attempt {attempt} is granted to {worker}, recorded is {recorded:?}")
        })
    }

    pub(super) fn settlement(&mut self, record: &SettlementRecord, node: &Node) -> Verdict {
        match record {
            SettlementRecord::Signed { batch_no, last, tx, .. } => {
                let (nonce, batches) = (tx.nonce, (*batch_no, *last));
                holds(*last <= self.proven, || format!("batch {last} is signed unproven"))?;
                holds(*batch_no > self.last_final, || format!("batch {batch_no} is signed and final"))?;
                holds(!self.spent.contains(&nonce), || {
                    format!("nonce {nonce} is taken for batch {batch_no} and used for good")
                })?;
                let known = self.flights.get(&nonce).copied();
                holds(known.is_none_or(|known| known == batches), || {
                    format!("nonce {nonce} is taken for batches {batches:?} and {known:?}")
                })?;
                let meets = |(at, (low, high)): &(&u64, &(u32, u32))| {
                    **at != nonce && *low <= *last && *batch_no <= *high
                };
                let other = self.flights.iter().find(meets);
                holds(other.is_none(), || {
                    format!("batches {batches:?} have the nonce {nonce} and another one, {other:?}")
                })?;
                self.flights.insert(nonce, batches);
                self.recorded.insert(tx.hash, batches);
                self.nonce_of.insert(tx.hash, nonce);
            }
            SettlementRecord::Displaced { batch_no, .. }
            | SettlementRecord::Reverted { batch_no, .. }
            | SettlementRecord::Refused { batch_no, .. } => {
                self.flights.retain(|_, (first, _)| first != batch_no);
            }
            SettlementRecord::Dropped { batch_no, last, .. } if *batch_no <= self.last_final => {
                holds(node.was_deep, || format!("batch {batch_no} was final and no block was replaced"))?;
                holds(*last == self.last_final, || {
                    format!("of final batches {batch_no} to {last} go back, of {}", self.last_final)
                })?;
                self.last_final = *batch_no - 1;
                // Their nonces may be free again.
                let recorded = &self.recorded;
                let lost = |nonce: &u64| {
                    let mut of_it = self.nonce_of.iter().filter(|(_, of)| *of == nonce);
                    of_it.any(|(hash, _)| recorded.get(hash).is_some_and(|(_, last)| last >= batch_no))
                };
                self.spent.retain(|nonce| !lost(nonce));
            }
            SettlementRecord::Mined { batch_no, receipt, .. } => {
                self.mined.insert(*batch_no, receipt.tx);
            }
            SettlementRecord::Finalised { batch_no } => {
                holds(*batch_no == self.last_final + 1, || {
                    format!("batch {batch_no} is final out of order")
                })?;
                holds(*batch_no <= self.proven, || format!("batch {batch_no} is final unproven"))?;
                let root = self.past.get(batch_no).map(|past| past.new_root).unwrap_or_default();
                holds(node.was_deep || node.is_final(*batch_no, &root), || {
                    format!("batch {batch_no} is called final too early")
                })?;
                self.last_final = *batch_no;
                // A nonce is only used for good if one of its own transactions brought the batches in.
                let arrived: Vec<u64> =
                    self.flights.iter().filter(|(_, (_, last))| last == batch_no).map(|(n, _)| *n).collect();
                for nonce in arrived {
                    self.flights.remove(&nonce);
                    let by = self.mined.get(batch_no).and_then(|tx| self.nonce_of.get(tx));
                    self.spent.extend(by.filter(|by| **by == nonce));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A transaction is broadcast.
    ///
    /// # Errors
    /// What does not hold.
    pub fn broadcast(&self, tx: &SignedTx, node: &Node) -> Verdict {
        let batches = self.recorded.get(&tx.hash);
        let (first, last) =
            batches.ok_or_else(|| format!("nonce {} is sent before it is recorded", tx.nonce))?;
        let Some(calls) = node.calls.get(&tx.hash) else {
            return Err(format!("what is sent for batch {first} is not known"));
        };
        let fits = (*first..=*last).zip(calls).all(|(batch_no, call)| {
            self.past.get(&batch_no).is_some_and(|past| {
                call.batch_no == batch_no
                    && call.proof == tag(&past.public_inputs)
                    && call.new_root == past.new_root
            })
        });
        holds(fits && calls.len() == (*last - *first) as usize + 1, || {
            format!("a proof is sent for batches {first} to {last} that does not verify")
        })
    }
}
