//! Eyes and hands on L1: deposits and forced requests come in from final blocks, transactions go out.
//!
//! Nothing is decided here but when to look. Reads are ordered so that a conclusion is never too early: the owner's nonce
//! before the receipts, the final block before the logs. Every look starts from what is recorded, so that an alarm ends by
//! itself when its cause does: a log that cannot be decoded, a missing one, a contract at a root that the ledger does not
//! know, or a sealed deposit that a reorganisation took away.
//!
//! | file | concept |
//! |---|---|
//! | `chain_task` | when to look, and settlement's hands |
//! | `chain_task/intake` | deposits and forced requests of final blocks |

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{Message, OnChain, SharedStatus, Submit, handle::Link};
use crate::{
    chain::{
        At, BatchAccepted, Chain, ChainError, ContractState, Deployment, DryRun, SendOutcome, SignedTx,
        SubmitBatch,
    },
    config::Finality,
    service::Address,
    settlement::{ChainView, SettlementRecord, Tried},
    state::{event::Cursor, intake::IntakeError},
    verifier::{ProofVerifier, pooled},
};

mod intake;

pub(crate) struct ChainTask {
    pub chain: Arc<dyn Chain>,
    pub verifier: Arc<dyn ProofVerifier>,
    pub link: Link,
    pub status: SharedStatus,
    pub deployment: Deployment,
    pub finality: Finality,
    pub poll: Duration,
    pub log_range: u64,
    /// The last block whose logs were read; at or after the recorded cursor.
    pub scanned: Option<Cursor>,
    /// Signs the promises.
    pub signer: Address,
    /// Looks until the contract is asked again whether it lists the signer, and why it does not.
    pub signer_checked: u32,
    pub unlisted: Option<String>,
}

/// Looks between two questions whether the contract lists the signer of promises.
const SIGNER_EVERY: u32 = 64;

/// Why promises of this signer are worth nothing.
pub(crate) fn unlisted(signer: &Address) -> String {
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

impl ChainTask {
    pub async fn run(mut self, cancel: CancellationToken) {
        while !cancel.is_cancelled() {
            self.round().await;
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(self.poll) => {}
            }
        }
    }

    /// One look and what follows of it.
    pub async fn round(&mut self) {
        let looked = self.look().await;
        self.status.set(|status| {
            status.chain_unreachable = match &looked {
                Err(Stop::Chain(error)) => Some(error.to_string()),
                _ => None,
            };
        });
        match looked {
            Ok(()) => {}
            Err(Stop::Chain(error)) => tracing::warn!(%error, "the chain is asked again"),
            Err(Stop::Intake(error)) => self.intake_stopped(error.batch_no(), error.to_string()),
            Err(Stop::Driver) => self.scanned = None,
        }
    }

    async fn look(&mut self) -> Result<(), Stop> {
        let head = self.chain.head().await?;
        let final_block = match self.finality {
            Finality::Confirmations(depth) => head.number.checked_sub(depth),
            Finality::Tag => self.chain.finalized().await?.map(|block| block.number),
        };
        self.status.set(|status| {
            status.head = head.number;
            status.final_block = final_block.unwrap_or(0);
        });
        if let Some(final_block) = final_block {
            match self.take_in(final_block).await {
                Ok(()) => self.intake_goes_on(),
                // Settlement goes on without deposits.
                Err(Stop::Intake(error)) => self.intake_stopped(error.batch_no(), error.to_string()),
                Err(Stop::Chain(error @ ChainError::Undecodable { .. })) => {
                    self.intake_stopped(None, error.to_string());
                }
                Err(stop) => return Err(stop),
            }
        }
        self.settle(final_block.unwrap_or(0), head.number).await
    }

    /// Follows what is submitted, and submits what is next.
    async fn settle(&mut self, final_block: u64, head: u64) -> Result<(), Stop> {
        let followed = self.link.ask(|state| {
            let settlement = &state.settlement;
            let submissions: Vec<u32> = settlement.submissions().map(|(batch_no, _)| batch_no).collect();
            let settled = state.batch(state.tree.final_batch()).and_then(|batch| batch.l1_block);
            let waiting = settlement.submissions().any(|(_, s)| s.mined.is_none());
            (submissions, settlement.followed(), settled, waiting)
        });
        let (submissions, hashes, settled, waiting) = followed.await.ok_or(Stop::Driver)?;
        let mut outcome = Outcome::default();
        self.check_signer().await?;
        if submissions.is_empty() {
            self.compare(&mut outcome).await?;
        } else {
            let view = self.view(final_block, head, &submissions, hashes, settled).await?;
            self.act(view, &mut outcome).await?;
        }
        if let Some(unlisted) = self.unlisted.clone() {
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

    /// With nothing to settle the contract may still have moved without us.
    async fn compare(&self, outcome: &mut Outcome) -> Result<(), Stop> {
        let contract = self.chain.contract_state().await?;
        let contradiction = self.link.ask(move |state| state.settlement.contradiction(&contract)).await;
        if let Some(reason) = contradiction.ok_or(Stop::Driver)? {
            outcome.halt(format!("batch {}: {reason}", contract.batch_no));
        }
        Ok(())
    }

    /// The list of signers only grows, but a reorganisation may take back what was added.
    async fn check_signer(&mut self) -> Result<(), Stop> {
        self.signer_checked = self.signer_checked.saturating_sub(1);
        if self.signer_checked > 0 {
            return Ok(());
        }
        let listed = self.chain.is_promise_signer(self.signer).await?;
        self.unlisted = (!listed).then(|| unlisted(&self.signer));
        // One that is not listed is looked for at every look.
        self.signer_checked = if listed { SIGNER_EVERY } else { 0 };
        Ok(())
    }

    async fn view(
        &self,
        final_block: u64,
        head: u64,
        submissions: &[u32],
        hashes: Vec<[u8; 32]>,
        settled: Option<u64>,
    ) -> Result<ChainView, Stop> {
        let nonce = self.chain.nonce(self.deployment.operator).await?;
        let contract = self.chain.contract_state().await?;
        let fees = self.chain.fees().await?;
        let mut receipts = HashMap::new();
        for hash in hashes {
            if let Some(receipt) = self.chain.receipt(hash).await? {
                receipts.insert(hash, receipt);
            }
        }
        let in_contract: BTreeSet<u32> =
            submissions.iter().copied().filter(|batch_no| *batch_no <= contract.batch_no).collect();
        let unexplained = self.unexplained(in_contract, &receipts).await?;
        let accepted = self.accepted(unexplained, settled, head).await?;
        Ok(ChainView { head, final_block, contract, nonce, fees, receipts, accepted })
    }

    /// The contract's own logs of these batches, however long ago it wrote them: a transaction that was given up may be
    /// mined while nobody looks. Batches are accepted in order, so they lie behind the last one that is final.
    async fn accepted(
        &self,
        mut wanted: BTreeSet<u32>,
        settled: Option<u64>,
        head: u64,
    ) -> Result<HashMap<u32, BatchAccepted>, Stop> {
        let first = settled.unwrap_or(0).max(self.deployment.first_block);
        let (mut found, mut to) = (HashMap::new(), head);
        while !wanted.is_empty() && to >= first {
            let from = to.saturating_sub(self.log_range - 1).max(first);
            let logs = self.chain.logs(from, to).await?;
            for log in logs.batches {
                wanted.remove(&log.batch_no);
                found.insert(log.batch_no, log);
            }
            let Some(before) = from.checked_sub(1) else { break };
            to = before;
        }
        Ok(found)
    }

    /// Those of these batches that no transaction of ours brought in, by the receipts.
    async fn unexplained(
        &self,
        mut batches: BTreeSet<u32>,
        receipts: &HashMap<[u8; 32], crate::chain::Receipt>,
    ) -> Result<BTreeSet<u32>, Stop> {
        let ours: Vec<[u8; 32]> = receipts.values().filter(|r| r.success).map(|r| r.tx).collect();
        let left = move |state: &crate::state::State| {
            batches.retain(|batch_no| {
                !state.settlement.transactions(*batch_no).iter().any(|tx| ours.contains(&tx.hash))
            });
            batches
        };
        self.link.ask(left).await.ok_or(Stop::Driver)
    }

    async fn act(&self, view: ChainView, outcome: &mut Outcome) -> Result<(), Stop> {
        let contract = view.contract;
        wire::failpoint("settle.observed");
        let (reply, answer) = oneshot::channel();
        if !self.link.send(Message::Observed { view: Box::new(view), reply }) {
            return Err(Stop::Driver);
        }
        let mut gates_open = true;
        for wanted in answer.await.map_err(|_| Stop::Driver)? {
            match wanted {
                OnChain::Alarm(alarm) => outcome.alarm(alarm),
                OnChain::Halt(reason) => outcome.halt(reason),
                OnChain::Send(tx) => {
                    wire::failpoint("settle.resend");
                    self.broadcast(&tx, outcome).await?;
                }
                OnChain::Submit(submit) => {
                    // What builds on a call that was refused is not even tried.
                    gates_open = gates_open && self.submit(*submit, &contract, outcome).await?;
                }
            }
        }
        Ok(())
    }

    /// The gates (pinned key, `eth_call`; the roots were compared when it was decided), then sign, record, broadcast.
    /// Whether the gates were passed.
    async fn submit(
        &self,
        submit: Submit,
        contract: &ContractState,
        outcome: &mut Outcome,
    ) -> Result<bool, Stop> {
        let Submit { batches, nonce, fees, tried, replaces } = submit;
        let (batches, public_inputs): (Vec<SubmitBatch>, Vec<_>) = batches.into_iter().unzip();
        let (Some(first), Some(last)) = (batches.first(), batches.last()) else { return Ok(true) };
        let (batch_no, last) = (first.batch_no, last.batch_no);
        let verifier = Arc::clone(&self.verifier);
        let proofs: Vec<_> =
            batches.iter().map(|b| (b.batch_no, b.shape, b.proof)).zip(public_inputs).collect();
        let verify = move || {
            let bad = proofs
                .into_iter()
                .find(|((_, shape, proof), inputs)| !verifier.verify(*shape, inputs, proof));
            bad.map(|((batch_no, ..), _)| batch_no)
        };
        let bad = pooled(verify).await.unwrap_or(Some(batch_no));
        if let Some(bad) = bad {
            let reason =
                format!("PM-SETTLE-001: the stored proof of batch {bad} does not verify; restore a backup");
            return self.refused(batch_no, last, reason, outcome).await;
        }
        wire::failpoint("settle.verified");
        let tried_on = match tried {
            Tried::Latest => Some(At::Latest),
            Tried::Pending => Some(At::Pending),
            Tried::Before => None,
        };
        let mut gas_limit = replaces.map_or(0, |(_, gas_limit)| gas_limit);
        if let Some(at) = tried_on {
            match (self.chain.dry_run(&batches, at).await?, at) {
                (DryRun::Accepted { gas_limit: limit }, _) => gas_limit = limit,
                (DryRun::Reverted(reason), At::Latest) => {
                    let now = self.chain.contract_state().await?;
                    if (now.batch_no, now.root) != (contract.batch_no, contract.root) {
                        // A reorganisation, or another's transaction: what was refused is not what was looked at.
                        return Ok(false);
                    }
                    let reason = format!(
                        "PM-SETTLE-002: the contract would refuse batches {batch_no} to {last}: {reason}"
                    );
                    return self.refused(batch_no, last, reason, outcome).await;
                }
                (DryRun::Reverted(reason), At::Pending) => {
                    tracing::debug!(batch_no, last, reason, "waits until the batches before are mined");
                    self.link.send(Message::Hold { contract_at: contract.batch_no });
                    return Ok(false);
                }
            }
        }
        wire::failpoint("settle.before_sign");
        let tx = self.chain.sign_submit(&batches, nonce, fees, gas_limit).await?;
        wire::failpoint("settle.signed");
        let replaces = replaces.map(|(fees, _)| fees);
        self.record(SettlementRecord::Signed { batch_no, last, tx: tx.clone(), gas_limit, tried, replaces })
            .await?;
        wire::failpoint("settle.recorded");
        self.broadcast(&tx, outcome).await?;
        wire::failpoint("settle.sent");
        Ok(true)
    }

    /// Several batches refused together go singly next; one refused alone is an alarm.
    async fn refused(
        &self,
        batch_no: u32,
        last: u32,
        reason: String,
        outcome: &mut Outcome,
    ) -> Result<bool, Stop> {
        if last == batch_no {
            outcome.halt(reason.clone());
        } else {
            tracing::warn!(batch_no, last, reason, "these batches are submitted singly");
        }
        self.record(SettlementRecord::Refused { batch_no, last, reason }).await?;
        Ok(false)
    }

    async fn record(&self, record: SettlementRecord) -> Result<(), Stop> {
        let (reply, recorded) = oneshot::channel();
        if !self.link.send(Message::Settled { record: Box::new(record), reply }) {
            return Err(Stop::Driver);
        }
        recorded.await.map_err(|_| Stop::Driver)
    }

    async fn broadcast(&self, tx: &SignedTx, outcome: &mut Outcome) -> Result<(), Stop> {
        match self.chain.send_raw(tx).await? {
            SendOutcome::Sent => outcome.sent = true,
            // The next look finds the receipt, or that another transaction took the nonce.
            SendOutcome::NonceUsed => {}
            SendOutcome::Underpriced => tracing::warn!("a transaction pays too little; it is raised in time"),
            SendOutcome::Refused(reason) => {
                let hash = hex::encode(tx.hash);
                outcome.alarm(format!("PM-SETTLE-003: the node refuses transaction 0x{hash}: {reason}"));
            }
        }
        Ok(())
    }
}
