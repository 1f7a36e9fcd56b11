//! Settlement's hands: the gates, the signature, the record before the broadcast, and what the node said to it.

use std::sync::Arc;

use protocol::l1::{At, ContractState, DryRun, SendOutcome, SignedTx, SubmitBatch};
use sequencer::settlement::{ChainView, SettlementRecord, Tried};
use tokio::sync::oneshot;

use super::{ChainTask, Outcome, Stop};
use crate::{
    driver::{Message, OnChain, Submit},
    verifier::pooled,
};

impl ChainTask {
    pub(super) async fn act(&self, view: ChainView, outcome: &mut Outcome) -> Result<(), Stop> {
        let contract = view.contract;
        wire::failpoint("settle.observed");
        let (reply, answer) = oneshot::channel();
        if !self.link.send(Message::Observed { view: Box::new(view), reply }).await {
            return Err(Stop::Driver);
        }
        let mut gates_open = true;
        for wanted in answer.await.map_err(|_| Stop::Driver)? {
            match wanted {
                OnChain::Alarm(alarm) => outcome.alarm(alarm),
                OnChain::Halt(reason) => outcome.halt(reason),
                OnChain::Send(txs) => {
                    wire::failpoint("settle.resend");
                    self.resend(&txs, outcome).await?;
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
            if replaces.is_some() {
                // The one that would be replaced may be in a pool, and stays.
                outcome.halt(reason);
                return Ok(false);
            }
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
                    self.link.send(Message::Hold { contract_at: contract.batch_no }).await;
                    return Ok(false);
                }
            }
        }
        outcome.passed = true;
        wire::failpoint("settle.before_sign");
        let tx = self.chain.sign_submit(&batches, nonce, fees, gas_limit).await?;
        wire::failpoint("settle.signed");
        let replaces = replaces.map(|(fees, _)| fees);
        self.record(SettlementRecord::Signed { batch_no, last, tx: tx.clone(), gas_limit, tried, replaces })
            .await?;
        wire::failpoint("settle.recorded");
        let sent = self.broadcast(&tx, outcome).await?;
        wire::failpoint("settle.sent");
        match sent {
            // The first transaction of its nonce, in no pool: the nonce is free.
            SendOutcome::NotTaken(reason) if replaces.is_none() => {
                let reason = format!(
                    "PM-SETTLE-003: no node takes transaction 0x{} of batches {batch_no} to {last} with nonce {nonce}: {reason}; \
                     nothing was sent, and it is signed anew after a pause. {}",
                    hex::encode(tx.hash),
                    self.advice()
                );
                if contract.batch_no.checked_add(1) == Some(batch_no) {
                    outcome.alarm(reason.clone());
                }
                self.record(SettlementRecord::Refused { batch_no, last, reason }).await?;
                Ok(false)
            }
            _ => Ok(true),
        }
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
            outcome.refused = true;
        } else {
            tracing::warn!(batch_no, last, reason, "these batches are submitted singly");
        }
        self.record(SettlementRecord::Refused { batch_no, last, reason }).await?;
        Ok(false)
    }

    async fn record(&self, record: SettlementRecord) -> Result<(), Stop> {
        let (reply, recorded) = oneshot::channel();
        if !self.link.send(Message::Settled { record: Box::new(record), reply }).await {
            return Err(Stop::Driver);
        }
        recorded.await.map_err(|_| Stop::Driver)
    }

    /// Sends the newest of these; where no pool takes it, those before it, which may have been taken and forgotten.
    async fn resend(&self, txs: &[SignedTx], outcome: &mut Outcome) -> Result<(), Stop> {
        for tx in txs {
            match self.broadcast(tx, outcome).await? {
                SendOutcome::NotTaken(reason) => outcome.alarm(format!(
                    "PM-SETTLE-003: no node takes transaction 0x{} with nonce {}: {reason}; it was sent before and is sent \
                     again. {}",
                    hex::encode(tx.hash),
                    tx.nonce,
                    self.advice()
                )),
                _ => break,
            }
        }
        Ok(())
    }

    fn advice(&self) -> String {
        format!(
            "By what the node says: send ether to 0x{}, start with another --max-fee, or raise the node's limits",
            hex::encode(self.deployment.operator)
        )
    }

    /// What the node made of it, if it said so. Without an answer it may be in a pool.
    async fn broadcast(&self, tx: &SignedTx, outcome: &mut Outcome) -> Result<SendOutcome, Stop> {
        let sent = self.chain.send_raw(tx).await?;
        match &sent {
            SendOutcome::Sent => outcome.sent = true,
            // The next look finds the receipt, or that another transaction took the nonce.
            SendOutcome::NonceUsed | SendOutcome::NotTaken(_) => {}
            SendOutcome::Underpriced => tracing::warn!("a transaction pays too little; it is raised in time"),
            SendOutcome::Refused(reason) => {
                let hash = hex::encode(tx.hash);
                outcome.alarm(format!(
                    "PM-SETTLE-003: the node refuses transaction 0x{hash} with nonce {}: {reason}; it may be in a pool all the \
                     same and is sent again",
                    tx.nonce
                ));
            }
        }
        Ok(sent)
    }
}
