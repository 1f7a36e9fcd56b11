//! Deposits and forced requests of final blocks, and what happens when final blocks are replaced.

use protocol::l1::{ChainError, Logs};
use sequencer::state::{
    event::{Cursor, IntakeRecord},
    intake::IntakeError,
};
use tokio::sync::oneshot;

use super::{ChainTask, Stop};
use crate::driver::Message;

/// A position without logs is recorded only after so many blocks; reading them again costs one call.
const RECORD_EVERY: u64 = 256;

/// What a look at the queues came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// Everything in final blocks is taken in.
    AllTakenIn,
    /// Nothing is wrong with what was read, and not all was read: whatever alarm there is stays.
    Waits,
}

impl ChainTask {
    pub(super) async fn intake_stopped(&self, batch_no: Option<u32>, reason: String) {
        if self.status.get().intake_alarm.as_ref() != Some(&reason) {
            tracing::error!(reason, "no deposits are taken in");
        }
        metrics::gauge!("proofmill_intake_stopped").set(1.0);
        self.status.set(|status| status.intake_alarm = Some(reason.clone()));
        self.link.send(Message::Intake(IntakeRecord::Stopped { batch_no, reason })).await;
    }

    pub(super) async fn intake_goes_on(&self) {
        if self.status.get().intake_alarm.is_some() {
            tracing::info!("deposits are taken in again");
            self.status.set(|status| status.intake_alarm = None);
        }
        metrics::gauge!("proofmill_intake_stopped").set(0.0);
    }

    /// Watches deposits and forced requests in final blocks.
    pub(super) async fn take_in(
        &self,
        final_block: u64,
        scanned: &mut Option<Cursor>,
    ) -> Result<Looked, Stop> {
        let contract = self.chain.contract_state().await?;
        let known = self.link.ask(move |state| {
            let settlement = state.settlement();
            let undone = settlement.undone(&contract).is_some();
            (state.cursor(), settlement.contradiction(&contract), undone, state.intake_stopped().is_some())
        });
        let (cursor, contradiction, undone, stopped) = known.await.ok_or(Stop::Driver)?;
        if let Some(reason) = contradiction {
            return Err(Stop::Intake(IntakeError::Contract { batch_no: contract.batch_no, reason }));
        }
        if undone {
            // Settlement goes back first: what was sealed in those batches is compared with the blocks of now.
            return Ok(Looked::Waits);
        }
        if let Some(cursor) = cursor {
            match self.chain.block_hash(cursor.number).await? {
                Some(hash) if hash == cursor.hash => {}
                // A reorganisation made the chain shorter; what became of this block shows when it has grown again.
                None => {
                    return Err(Stop::Chain(ChainError::Unreachable(format!(
                        "blocks up to {} were read, and the node does not have that one now: it is behind, or the chain \
                         became shorter",
                        cursor.number
                    ))));
                }
                Some(_) => self.read_again(cursor, final_block, scanned).await?,
            }
        }
        let looked = self.read_on(final_block, scanned).await?;
        if stopped && looked == Looked::AllTakenIn {
            self.link.send(Message::Intake(IntakeRecord::Resumed)).await;
        }
        Ok(looked)
    }

    async fn read_on(&self, final_block: u64, scanned: &mut Option<Cursor>) -> Result<Looked, Stop> {
        let cursor = self.link.ask(|state| state.cursor()).await.ok_or(Stop::Driver)?;
        let recorded = cursor.map(|cursor| cursor.number);
        // Blocks that were read without being recorded are read again if they were replaced.
        if let Some(read) = *scanned
            && (recorded.is_some_and(|recorded| recorded >= read.number) || !self.stands(read).await?)
        {
            *scanned = None;
        }
        loop {
            let read = scanned.map(|read| read.number).max(recorded);
            let from = read.map_or(self.deployment.first_block, |read| read + 1);
            if from > final_block {
                return Ok(Looked::AllTakenIn);
            }
            let to = final_block.min(from.saturating_add(self.log_range - 1));
            let (to, logs) = self.logs_up_to(from, to).await?;
            let empty = logs.deposits.is_empty() && logs.forced.is_empty();
            // What was read follows on what is recorded, if that stood when the reading was done.
            if let Some(last) = scanned.or(cursor)
                && !self.stands(last).await?
            {
                return Ok(Looked::Waits);
            }
            if let Err(stop) = self.check_whole(to, &logs).await {
                *scanned = None;
                return Err(stop);
            }
            if !empty || to.number >= recorded.unwrap_or(self.deployment.first_block) + RECORD_EVERY {
                wire::failpoint("intake.read");
                self.tell(|reply| Message::TakeIn { to, logs: Box::new(logs), reply }).await?;
                wire::failpoint("intake.recorded");
            }
            *scanned = Some(to);
        }
    }

    /// Nodes answer with the logs that they have indexed so far. The contract itself counts its queues: nothing counts as read
    /// before as many entries are there as it has at the end of the last block, if the node keeps its state.
    async fn check_whole(&self, to: Cursor, logs: &Logs) -> Result<(), Stop> {
        let Some((deposits, forced)) = self.chain.queue_lengths(to.number).await? else { return Ok(()) };
        let due = self.link.ask(|state| state.next_ids()).await.ok_or(Stop::Driver)?;
        let found = (due.0 + logs.deposits.len() as u64, due.1 + logs.forced.len() as u64);
        if found.0 >= deposits && found.1 >= forced || !self.stands(to).await? {
            return Ok(());
        }
        Err(Stop::Chain(ChainError::Unreachable(format!(
            "up to block {} the contract has {deposits} deposits and {forced} forced requests, and the node's logs give {} and \
             {}: it has not indexed all of them yet",
            to.number, found.0, found.1
        ))))
    }

    /// Goes back to the last recorded block that still stands, and takes everything behind it in anew.
    async fn read_again(
        &self,
        replaced: Cursor,
        final_block: u64,
        scanned: &mut Option<Cursor>,
    ) -> Result<(), Stop> {
        *scanned = None;
        let (recorded, all) = self.link.ask(|state| state.recorded()).await.ok_or(Stop::Driver)?;
        let mut kept = None;
        for position in recorded {
            if self.stands(position).await? {
                kept = Some(position);
                break;
            }
        }
        if kept.is_none() && !all {
            return Err(Stop::Intake(IntakeError::TooDeep { block: replaced.number }));
        }
        let mut from = kept.map_or(self.deployment.first_block, |kept| kept.number + 1);
        if from > final_block {
            return Ok(());
        }
        tracing::warn!(block = replaced.number, from, "final blocks were replaced; they are read again");
        metrics::counter!("proofmill_final_blocks_replaced_total").increment(1);
        let mut all_logs = Logs::default();
        let to = loop {
            let to = final_block.min(from.saturating_add(self.log_range - 1));
            let (to, logs) = self.logs_up_to(from, to).await?;
            all_logs.deposits.extend(logs.deposits);
            all_logs.forced.extend(logs.forced);
            if to.number >= final_block {
                break to;
            }
            from = to.number + 1;
        };
        wire::failpoint("intake.read_again");
        self.tell(|reply| Message::ReadAgain { kept, to, logs: Box::new(all_logs), reply }).await
    }

    async fn stands(&self, at: Cursor) -> Result<bool, Stop> {
        Ok(self.chain.block_hash(at.number).await? == Some(at.hash))
    }

    /// Logs of these blocks, all of one branch: the last block is the same before and after they are read.
    async fn logs_up_to(&self, from: u64, to: u64) -> Result<(Cursor, Logs), Stop> {
        let before = self.chain.block_hash(to).await?;
        let logs = self.chain.logs(from, to).await?;
        let after = self.chain.block_hash(to).await?;
        match after {
            Some(hash) if before == after => Ok((Cursor { number: to, hash }, logs)),
            _ => Err(Stop::Chain(ChainError::Unreachable(format!(
                "block {to} was replaced while it was read"
            )))),
        }
    }

    async fn tell(
        &self,
        message: impl FnOnce(oneshot::Sender<Result<(), IntakeError>>) -> Message,
    ) -> Result<(), Stop> {
        let (reply, answer) = oneshot::channel();
        if !self.link.send(message(reply)).await {
            return Err(Stop::Driver);
        }
        answer.await.map_err(|_| Stop::Driver)?.map_err(Stop::Intake)
    }
}
