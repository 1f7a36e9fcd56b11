//! Eyes and hands on L1: deposits and forced requests come in from final blocks, transactions go out.
//!
//! Nothing is decided here but when to look. Intake and settlement look on their own and at the same time: one that fails or
//! takes long does not hold up the other. Reads are ordered so that a conclusion is never too early: the owner's nonce
//! before the receipts, the final block before the logs. Every look starts from what is recorded, so that an alarm ends by
//! itself when its cause does: a log that cannot be decoded, a missing one, a contract at a root that the ledger does not
//! know, or a sealed deposit that a reorganisation took away.
//!
//! | file | concept |
//! |---|---|
//! | `chain_task` | when to look, and what settlement sees |
//! | `chain_task/submit` | settlement's hands: gates, signature, broadcast |
//! | `chain_task/intake` | deposits and forced requests of final blocks |

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use protocol::{
    Address,
    l1::{BatchAccepted, ChainError, Deployment, Finality, Hash32, Receipt},
};
use sequencer::{
    settlement::{ChainView, FinalityLook, LogsRead},
    state::{event::Cursor, intake::IntakeError},
};
use tokio_util::sync::CancellationToken;

use super::{SharedStatus, handle::Link};
use crate::{chain::Chain, verifier::ProofVerifier};

mod intake;
mod submit;

use intake::Looked;

pub struct ChainTask {
    pub chain: Arc<dyn Chain>,
    pub verifier: Arc<dyn ProofVerifier>,
    pub link: Link,
    pub status: SharedStatus,
    pub deployment: Deployment,
    pub finality: Finality,
    pub poll: Duration,
    pub log_range: u64,
    /// Signs the promises.
    pub signer: Address,
}

/// Looks between two questions whether the contract lists the signer of promises.
const SIGNER_EVERY: u32 = 64;

/// What one look at the batches leaves for the next.
#[derive(Default)]
pub struct Noted {
    /// Looks until the contract is asked again whether it lists the signer of promises, and why it does not.
    checked: u32,
    unlisted: Option<String>,
    /// Why the contract refused a batch alone, until the gates are passed.
    refused: Option<String>,
    /// The final batch whose block seemed to be replaced, and its transaction.
    replaced: Option<(u32, Hash32)>,
}

impl Noted {
    /// At the start of a process that knows from its records why the contract refused a batch.
    pub fn of_before(refused: Option<String>) -> Self {
        Self { refused, ..Self::default() }
    }
}

/// Why promises of this signer are worth nothing.
pub fn unlisted(signer: &Address) -> String {
    format!(
        "the contract does not list the promise signer 0x{}, so wallets refuse its promises; have the operator's account call \
         addPromiseSigner with it, or start with a key that is listed",
        hex::encode(signer)
    )
}

/// Why a look at the chain ended early.
enum Stop {
    Chain(ChainError),
    /// The intake waits.
    Intake(IntakeError),
    /// The driver is gone or its commit failed: look again.
    Driver,
}

impl From<ChainError> for Stop {
    fn from(error: ChainError) -> Self {
        Stop::Chain(error)
    }
}

/// What a look did about settlement.
#[derive(Default)]
struct Outcome {
    alarm: Option<String>,
    /// The contract would take no batch.
    halt: Option<String>,
    /// By the gates, a batch alone.
    refused: bool,
    /// Through the gates.
    passed: bool,
    sent: bool,
}

impl Outcome {
    fn alarm(&mut self, alarm: String) {
        self.alarm = Some(alarm);
    }

    fn halt(&mut self, reason: String) {
        self.halt = Some(reason.clone());
        self.alarm = Some(reason);
    }
}

/// The chain's height, and what counts as final.
#[derive(Clone, Copy)]
struct Heights {
    head: u64,
    final_block: Option<u64>,
}

impl ChainTask {
    pub async fn run(self, cancel: CancellationToken) {
        let intake = async {
            let mut scanned = None;
            loop {
                self.look_at_queues(&mut scanned).await;
                tokio::time::sleep(self.poll).await;
            }
        };
        let settlement = async {
            let mut noted = Noted::of_before(self.status.get().halted);
            loop {
                self.look_at_batches(&mut noted).await;
                tokio::time::sleep(self.poll).await;
            }
        };
        tokio::select! {
            () = cancel.cancelled() => {}
            _ = futures::future::join(intake, settlement) => {}
        }
    }

    async fn heights(&self) -> Result<Heights, ChainError> {
        let head = self.chain.head().await?;
        let final_block = match self.finality {
            Finality::Confirmations(depth) => head.number.checked_sub(depth),
            Finality::Tag => self.chain.finalized().await?.map(|block| block.number),
        };
        self.status.set(|status| {
            (status.head, status.head_at) = (head.number, head.timestamp);
            status.final_block = final_block.unwrap_or(0);
        });
        Ok(Heights { head: head.number, final_block })
    }

    /// One look for deposits and forced requests. `scanned`: the last block whose logs were read; at or after the recorded
    /// cursor.
    pub async fn look_at_queues(&self, scanned: &mut Option<Cursor>) {
        let looked = async {
            match self.heights().await?.final_block {
                Some(final_block) => self.take_in(final_block, scanned).await,
                None => Ok(Looked::Waits),
            }
        };
        let looked = looked.await;
        self.status.set(|status| status.intake_unreachable = unreachable(&looked));
        match looked {
            Ok(Looked::AllTakenIn) => self.intake_goes_on().await,
            Ok(Looked::Waits) => {}
            Err(Stop::Intake(error)) => {
                // A missing log may stand in blocks that were read and not recorded.
                *scanned = None;
                self.intake_stopped(error.batch_no(), error.to_string()).await;
            }
            Err(Stop::Chain(error @ ChainError::Undecodable { .. })) => {
                self.intake_stopped(None, error.to_string()).await;
            }
            Err(Stop::Chain(error)) => tracing::warn!(%error, "deposits wait; the chain is asked again"),
            Err(Stop::Driver) => *scanned = None,
        }
    }

    /// One look for what became of batches, and what follows of it.
    pub async fn look_at_batches(&self, noted: &mut Noted) {
        let looked = async {
            let heights = self.heights().await?;
            self.settle(heights.final_block.unwrap_or(0), heights.head, noted).await
        };
        let looked = looked.await;
        let node_alarm = self.chain.alarm();
        self.status.set(|status| {
            status.chain_unreachable = unreachable(&looked);
            status.node_alarm = node_alarm;
        });
        if let Err(Stop::Chain(error)) = looked {
            tracing::warn!(%error, "batches wait; the chain is asked again");
        }
    }

    /// Follows what is submitted, and submits what is next.
    async fn settle(&self, final_block: u64, head: u64, noted: &mut Noted) -> Result<(), Stop> {
        let (nonce, contract) = self.chain.standing(self.deployment.operator).await?;
        let followed = self.link.ask(move |state| {
            let settlement = state.settlement();
            let submissions: Vec<u32> = settlement.submissions().map(|(batch_no, _)| batch_no).collect();
            let settled = state.batch(state.tree().final_batch()).and_then(|batch| batch.l1_block);
            let waiting = settlement.submissions().any(|(_, s)| s.mined.is_none());
            let undone = settlement.undone(&contract).map(|(first, receipt)| (first, receipt.clone()));
            let contradiction = settlement.contradiction(&contract);
            (submissions, settlement.followed(), settled, waiting, undone, contradiction)
        });
        let (submissions, hashes, settled, waiting, undone, contradiction) =
            followed.await.ok_or(Stop::Driver)?;
        let mut outcome = Outcome::default();
        self.check_signer(noted).await?;
        if let Some(reason) = contradiction.filter(|_| submissions.is_empty()) {
            // With nothing to settle the contract may still have moved without us.
            outcome.halt(format!("batch {}: {reason}", contract.batch_no));
        }
        let finality = self.finality_of(undone.as_ref(), head, noted).await?;
        if !submissions.is_empty() || undone.is_some() {
            let fees = self.chain.fees().await?;
            let (receipts, unknown) = self.receipts(hashes).await;
            let in_contract: BTreeSet<u32> =
                submissions.into_iter().filter(|batch_no| *batch_no <= contract.batch_no).collect();
            let unexplained = self.unexplained(in_contract, &receipts).await?;
            let (accepted, logs) = self.accepted(unexplained, settled, head).await;
            let view = ChainView {
                head,
                final_block,
                contract,
                nonce,
                fees,
                receipts,
                unknown,
                logs,
                finality,
                accepted,
            };
            self.act(view, &mut outcome).await?;
        }
        if outcome.refused {
            noted.refused.clone_from(&outcome.halt);
        } else if outcome.passed || !waiting {
            noted.refused = None;
        } else if let Some(reason) = noted.refused.clone() {
            // The gates were not tried again: what the contract said last still counts.
            outcome.halt.get_or_insert(reason);
        }
        if let Some(unlisted) = noted.unlisted.clone() {
            outcome.halt(unlisted);
        }
        if let Some(reason) = outcome.halt.as_ref().filter(|_| self.status.get().halted.is_none()) {
            tracing::error!(reason, "the contract takes no batch: nothing is promised until it does");
        }
        self.status.set(|status| status.halted.clone_from(&outcome.halt));
        let told = self.status.get().settlement_alarm;
        // An alarm stays until something is sent or there is nothing to send.
        if outcome.alarm.is_some() || outcome.sent || !waiting {
            if let Some(alarm) = outcome.alarm.as_ref().filter(|&alarm| told.as_ref() != Some(alarm)) {
                tracing::error!(alarm, "a batch cannot be settled");
            }
            self.status.set(|status| status.settlement_alarm = outcome.alarm);
        }
        Ok(())
    }

    /// The list of signers only grows, but a reorganisation may take back what was added.
    async fn check_signer(&self, noted: &mut Noted) -> Result<(), Stop> {
        noted.checked = noted.checked.saturating_sub(1);
        if noted.checked > 0 {
            return Ok(());
        }
        let listed = self.chain.is_promise_signer(self.signer).await?;
        noted.unlisted = (!listed).then(|| unlisted(&self.signer));
        // One that is not listed is looked for at every look.
        noted.checked = if listed { SIGNER_EVERY } else { 0 };
        Ok(())
    }

    /// Whether the block is another one in which a final batch was mined that the contract does not have. A node that is
    /// behind, or that has the block, says nothing. One look alone says nothing either: its answers may come from a node that
    /// others replace a moment later, or that has not indexed the logs yet.
    async fn finality_of(
        &self,
        undone: Option<&(u32, Receipt)>,
        head: u64,
        noted: &mut Noted,
    ) -> Result<FinalityLook, ChainError> {
        let before = noted.replaced.take();
        let Some((batch_no, receipt)) = undone.filter(|(_, receipt)| receipt.block <= head) else {
            return Ok(FinalityLook::Stands);
        };
        let stands = match self.chain.block_hash(receipt.block).await? {
            None => true,
            Some(hash) if receipt.block_hash != [0; 32] => hash == receipt.block_hash,
            // Known by the contract's log alone.
            Some(_) => {
                let logs = self.chain.logs(receipt.block, receipt.block).await?;
                logs.batches.iter().any(|log| log.batch_no == *batch_no)
                    || self.chain.receipt(receipt.tx).await?.is_some_and(|receipt| receipt.success)
            }
        };
        if stands {
            return Ok(FinalityLook::Stands);
        }
        noted.replaced = Some((*batch_no, receipt.tx));
        if before != noted.replaced {
            return Ok(FinalityLook::Doubted);
        }
        tracing::error!(
            batch_no,
            block = receipt.block,
            "a reorganisation replaced final blocks; batches from this one on are settled again: raise the confirmations"
        );
        Ok(FinalityLook::Replaced)
    }

    /// The receipts that the node has, and the hashes of which it cannot say whether there is one.
    async fn receipts(&self, hashes: Vec<Hash32>) -> (HashMap<Hash32, Receipt>, HashSet<Hash32>) {
        let (mut receipts, mut unknown) = (HashMap::new(), HashSet::new());
        let mut answers = true;
        for hash in hashes {
            if !answers {
                unknown.insert(hash);
                continue;
            }
            match self.chain.receipt(hash).await {
                Ok(Some(receipt)) => drop(receipts.insert(hash, receipt)),
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(hash = hex::encode(hash), %error, "the receipt is asked for again");
                    answers = !matches!(error, ChainError::Unreachable(_));
                    unknown.insert(hash);
                }
            }
        }
        (receipts, unknown)
    }

    /// The contract's own logs of these batches, however long ago it wrote them: a transaction that was given up may be
    /// mined while nobody looks. Batches are accepted in order, so they lie behind the last one that is final.
    async fn accepted(
        &self,
        mut wanted: BTreeSet<u32>,
        settled: Option<u64>,
        head: u64,
    ) -> (HashMap<u32, BatchAccepted>, LogsRead) {
        let first = settled.unwrap_or(0).max(self.deployment.first_block);
        let (mut found, mut to) = (HashMap::new(), head);
        while !wanted.is_empty() && to >= first {
            let from = to.saturating_sub(self.log_range - 1).max(first);
            let logs = match self.chain.logs(from, to).await {
                Ok(logs) => logs,
                Err(error) => {
                    tracing::warn!(from, to, %error, "the contract's logs of batches are asked for again");
                    return (found, LogsRead::NotAll);
                }
            };
            for log in logs.batches {
                wanted.remove(&log.batch_no);
                found.insert(log.batch_no, log);
            }
            let Some(before) = from.checked_sub(1) else { break };
            to = before;
        }
        (found, LogsRead::All)
    }

    /// Those of these batches that no transaction of ours brought in, by the receipts.
    async fn unexplained(
        &self,
        mut batches: BTreeSet<u32>,
        receipts: &HashMap<Hash32, Receipt>,
    ) -> Result<BTreeSet<u32>, Stop> {
        let ours: Vec<Hash32> = receipts.values().filter(|r| r.success).map(|r| r.tx).collect();
        let left = move |state: &sequencer::state::State| {
            batches.retain(|batch_no| {
                !state.settlement().transactions(*batch_no).iter().any(|tx| ours.contains(&tx.hash))
            });
            batches
        };
        self.link.ask(left).await.ok_or(Stop::Driver)
    }
}

/// Why the chain could not be asked, if so.
fn unreachable<T>(looked: &Result<T, Stop>) -> Option<String> {
    match looked {
        Err(Stop::Chain(error)) => Some(error.to_string()),
        _ => None,
    }
}
