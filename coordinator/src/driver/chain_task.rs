//! Eyes and hands on L1: deposits and forced requests come in from final blocks, transactions go out.
//!
//! Nothing is decided here but when to look. Reads are ordered so that a conclusion is never too early: the owner's nonce
//! before the receipts, the final block before the logs. A log that cannot be decoded, a missing one, or a final block that
//! was replaced stops the intake with an alarm until a person restarts the coordinator.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bn254::Fr;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{Message, OnChain, SharedStatus, handle::Link};
use crate::{
    chain::{Chain, ChainError, Deployment, DryRun, Fees, Logs, SendOutcome, SignedTx, SubmitBatch},
    config::Finality,
    settlement::ChainView,
    state::event::Cursor,
    verifier::{ProofVerifier, verify_in_pool},
};

/// A position without logs is recorded only after so many blocks; reading them again costs one call.
const RECORD_EVERY: u64 = 256;

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
    pub scanned: Option<u64>,
}

/// Why a look at the chain ended early.
enum Stop {
    Chain(ChainError),
    /// The intake ends here.
    Intake(String),
    /// The driver is gone or its commit failed: look again.
    Driver,
}

impl From<ChainError> for Stop {
    fn from(error: ChainError) -> Self {
        Stop::Chain(error)
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
            Err(Stop::Intake(alarm)) => self.stop_intake(&alarm),
            Err(Stop::Driver) => self.scanned = None,
        }
    }

    fn stop_intake(&self, alarm: &str) {
        tracing::error!(alarm, "no deposits are taken in any more");
        metrics::gauge!("proofmill_intake_stopped").set(1.0);
        self.status.set(|status| status.intake_alarm = Some(alarm.to_owned()));
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
        if let Some(final_block) = final_block
            && self.status.get().intake_alarm.is_none()
        {
            match self.take_in(final_block).await {
                // Settlement goes on without deposits.
                Err(Stop::Intake(alarm)) => self.stop_intake(&alarm),
                Err(Stop::Chain(error @ ChainError::Undecodable { .. })) => {
                    self.stop_intake(&error.to_string())
                }
                other => other?,
            }
        }
        self.settle(final_block.unwrap_or(0), head.number).await
    }

    /// Watches deposits and forced requests in final blocks.
    async fn take_in(&mut self, final_block: u64) -> Result<(), Stop> {
        let cursor = self.link.ask(|state| state.cursor()).await.ok_or(Stop::Driver)?;
        if let Some(cursor) = cursor
            && self.chain.block_hash(cursor.number).await? != Some(cursor.hash)
        {
            let alarm = format!(
                "PM-INTAKE-003: block {} was final and is another one now; check the node and the confirmations",
                cursor.number
            );
            return Err(Stop::Intake(alarm));
        }
        let recorded = cursor.map(|cursor| cursor.number);
        let mut scanned = self.scanned.max(recorded);
        loop {
            let from = scanned.map_or(self.deployment.first_block, |scanned| scanned + 1);
            if from > final_block {
                return Ok(());
            }
            let to = final_block.min(from.saturating_add(self.log_range - 1));
            let logs = self.chain.logs(from, to).await?;
            let empty = logs.deposits.is_empty() && logs.forced.is_empty();
            if !empty || to >= recorded.unwrap_or(self.deployment.first_block) + RECORD_EVERY {
                self.record(to, logs).await?;
            }
            scanned = Some(to);
            self.scanned = scanned;
        }
    }

    async fn record(&self, to: u64, logs: Logs) -> Result<(), Stop> {
        let Some(hash) = self.chain.block_hash(to).await? else {
            return Err(Stop::Chain(ChainError::Unexpected(format!("final block {to} has no hash"))));
        };
        let (reply, answer) = oneshot::channel();
        let to = Cursor { number: to, hash };
        if !self.link.send(Message::TakeIn { to, logs: Box::new(logs), reply }) {
            return Err(Stop::Driver);
        }
        answer.await.map_err(|_| Stop::Driver)?.map_err(|error| Stop::Intake(error.to_string()))
    }

    /// Follows what is submitted, and submits what is next.
    async fn settle(&self, final_block: u64, head: u64) -> Result<(), Stop> {
        let followed = self.link.ask(|state| {
            let submissions: Vec<u32> =
                state.settlement.submissions().map(|(batch_no, _)| batch_no).collect();
            let mined =
                state.settlement.submissions().filter_map(|(_, s)| Some(s.mined.as_ref()?.block)).min();
            (submissions, state.settlement.followed(), mined)
        });
        let (submissions, hashes, mined) = followed.await.ok_or(Stop::Driver)?;
        if submissions.is_empty() {
            return Ok(());
        }
        let nonce = self.chain.nonce(self.deployment.operator).await?;
        let contract = self.chain.contract_state().await?;
        let fees = self.chain.fees().await?;
        let mut receipts = HashMap::new();
        for hash in hashes {
            if let Some(receipt) = self.chain.receipt(hash).await? {
                receipts.insert(hash, receipt);
            }
        }
        let mut accepted = HashMap::new();
        if submissions.iter().any(|batch_no| *batch_no <= contract.batch_no)
            && receipts.len() < submissions.len()
        {
            let recent = head.saturating_sub(self.log_range - 1).max(self.deployment.first_block);
            let from = mined.unwrap_or(recent).max(recent);
            let logs = self.chain.logs(from, head).await?;
            accepted.extend(logs.batches.into_iter().map(|log| (log.batch_no, log)));
        }
        let view = ChainView { final_block, contract, nonce, fees, receipts, accepted };
        let (reply, answer) = oneshot::channel();
        if !self.link.send(Message::Observed { view: Box::new(view), reply }) {
            return Err(Stop::Driver);
        }
        for wanted in answer.await.map_err(|_| Stop::Driver)? {
            match wanted {
                OnChain::Alarm(alarm) => self.alarm(alarm),
                OnChain::Send(tx) => self.broadcast(&tx).await?,
                OnChain::Submit { batch, public_inputs, nonce, fees } => {
                    self.submit(&batch, public_inputs, nonce, fees).await?;
                }
            }
        }
        Ok(())
    }

    fn alarm(&self, alarm: String) {
        tracing::error!(alarm, "a batch cannot be settled");
        self.status.set(|status| status.settlement_alarm = Some(alarm));
    }

    /// The gates (pinned key, `eth_call`; the roots were compared when it was decided), then sign, record, broadcast.
    async fn submit(
        &self,
        batch: &SubmitBatch,
        public_inputs: [Fr; 3],
        nonce: u64,
        fees: Fees,
    ) -> Result<(), Stop> {
        let batch_no = batch.batch_no;
        if !verify_in_pool(&self.verifier, batch.shape, public_inputs, batch.proof).await {
            self.alarm(format!(
                "PM-SETTLE-001: the stored proof of batch {batch_no} does not verify; restore a backup"
            ));
            return Ok(());
        }
        if let DryRun::Reverted(reason) = self.chain.dry_run(batch).await? {
            self.alarm(format!("PM-SETTLE-002: the contract would refuse batch {batch_no}: {reason}"));
            return Ok(());
        }
        let tx = self.chain.sign_submit(batch, nonce, fees).await?;
        let (reply, recorded) = oneshot::channel();
        if !self.link.send(Message::Signed { batch_no, tx: Box::new(tx.clone()), reply }) {
            return Err(Stop::Driver);
        }
        recorded.await.map_err(|_| Stop::Driver)?;
        self.broadcast(&tx).await
    }

    async fn broadcast(&self, tx: &SignedTx) -> Result<(), Stop> {
        match self.chain.send_raw(tx).await? {
            SendOutcome::Sent => self.status.set(|status| status.settlement_alarm = None),
            // The next look finds the receipt, or that another transaction took the nonce.
            SendOutcome::NonceUsed => {}
            SendOutcome::Underpriced => tracing::warn!("a replacement pays too little; it is raised in time"),
            SendOutcome::Refused(reason) => {
                let hash = hex::encode(tx.hash);
                self.alarm(format!("PM-SETTLE-003: the node refuses transaction 0x{hash}: {reason}"));
            }
        }
        Ok(())
    }
}
