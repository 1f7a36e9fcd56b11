//! What operators do to a running coordinator. Each call answers when its decision is durable, and may be repeated.

use tokio::sync::oneshot;
use wire::WorkerId;

use super::{Handle, Message, system_clock};
use crate::{
    refusal,
    service::UserError,
    state::{
        event::{OperationId, OpsRecord},
        rows::Line,
    },
};

/// All that is known about a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    pub batch_no: u32,
    /// What it waits for now.
    pub waits_for: String,
    /// In the order of time.
    pub lines: Vec<Line>,
}

impl Handle {
    async fn decided(&self, message: impl FnOnce(oneshot::Sender<()>) -> Message) -> Result<(), UserError> {
        let (reply, answer) = oneshot::channel();
        if !self.link.send(message(reply)) {
            return Err(refusal::unavailable());
        }
        answer.await.map_err(|_| refusal::unavailable())
    }

    /// New operations are refused with `PAUSED` from now on; what was accepted goes on.
    ///
    /// # Errors
    /// `UNAVAILABLE`.
    pub async fn pause(&self) -> Result<(), UserError> {
        self.decided(|reply| Message::Ops(OpsRecord::Paused, reply)).await
    }

    /// # Errors
    /// `UNAVAILABLE`.
    pub async fn resume(&self) -> Result<(), UserError> {
        self.decided(|reply| Message::Ops(OpsRecord::Resumed, reply)).await
    }

    /// Sends a poisoned batch out again; one that is not poisoned is left as it is.
    ///
    /// # Errors
    /// `UNAVAILABLE`.
    pub async fn requeue(&self, batch_no: u32) -> Result<(), UserError> {
        self.decided(|reply| Message::Requeue(batch_no, reply)).await
    }

    /// The worker finishes what it proves, hands the rest back and gets nothing more until it starts again.
    ///
    /// # Errors
    /// `UNAVAILABLE`.
    pub async fn drain_worker(&self, worker: WorkerId) -> Result<(), UserError> {
        self.decided(|reply| Message::Drain(worker, reply)).await
    }

    /// What happened to a batch and what it waits for; nothing for one that never was.
    ///
    /// # Errors
    /// `UNAVAILABLE`.
    pub async fn explain_batch(&self, batch_no: u32) -> Result<Option<Explanation>, UserError> {
        let waits_for = self.link.ask(move |state| state.waits_for(batch_no, system_clock())).await;
        let Some(waits_for) = waits_for.ok_or_else(refusal::unavailable)? else { return Ok(None) };
        let (reply, answer) = oneshot::channel();
        if !self.link.send(Message::Lines(batch_no, reply)) {
            return Err(refusal::unavailable());
        }
        let lines = answer.await.map_err(|_| refusal::unavailable())?.map_err(|error| {
            tracing::error!(batch_no, error, "the lines of a batch cannot be read");
            refusal::unavailable()
        })?;
        Ok(Some(Explanation { batch_no, waits_for, lines }))
    }

    /// The batch that an operation is in.
    ///
    /// # Errors
    /// `UNAVAILABLE`.
    pub async fn batch_of(&self, id: OperationId) -> Result<Option<u32>, UserError> {
        self.link.ask(move |state| state.batch_of(&id)).await.ok_or_else(refusal::unavailable)
    }
}
