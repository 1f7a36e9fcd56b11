//! The `Operator`: what operators do to a running coordinator.

use api::service::{Explanation, OperationExplanation, Operator, Overview, Service, WorkerHealth};
use async_trait::async_trait;
use protocol::{OperationId, Stage};
use sequencer::{rejection::Rejection, state::event::OpsRecord};
use tokio::sync::oneshot;
use wire::{PoolName, WorkerId};

use super::{
    Handle, Message,
    handle::pooled,
    health::{self, Trouble},
    system_clock,
};
use crate::{explain, views::operation_view};

/// Jobs that an overview names.
const JOBS: usize = 100;

impl Handle {
    async fn decided(&self, message: impl FnOnce(oneshot::Sender<()>) -> Message) -> Result<(), Rejection> {
        let (reply, answer) = oneshot::channel();
        if !self.link.send(message(reply)).await {
            return Err(Rejection::Unavailable);
        }
        answer.await.map_err(|_| Rejection::Unavailable)
    }
}

#[async_trait]
impl Operator for Handle {
    async fn pause(&self) -> Result<(), Rejection> {
        self.decided(|reply| Message::Ops(OpsRecord::Paused, reply)).await
    }

    async fn resume(&self) -> Result<(), Rejection> {
        self.decided(|reply| Message::Ops(OpsRecord::Resumed, reply)).await
    }

    async fn add_pool(&self, pool: PoolName) -> Result<bool, Rejection> {
        let (reply, answer) = oneshot::channel();
        if !self.link.send(Message::AddPool(pool, reply)).await {
            return Err(Rejection::Unavailable);
        }
        answer.await.map_err(|_| Rejection::Unavailable)
    }

    async fn remove_pool(&self, pool: PoolName) -> Result<(), Rejection> {
        self.decided(|reply| Message::RemovePool(pool, reply)).await
    }

    async fn requeue(&self, batch_no: u32) -> Result<(), Rejection> {
        self.decided(|reply| Message::Requeue(batch_no, reply)).await
    }

    async fn drain_worker(&self, worker: WorkerId) -> Result<(), Rejection> {
        self.decided(|reply| Message::Drain(worker, reply)).await
    }

    async fn explain_batch(&self, batch_no: u32) -> Result<Option<Explanation>, Rejection> {
        let facts = self.link.ask(move |state| explain::batch_facts(state, batch_no, system_clock())).await;
        let Some((facts, poisoned)) = facts.ok_or(Rejection::Unavailable)? else { return Ok(None) };
        let (reply, answer) = oneshot::channel();
        if !self.link.send(Message::Lines(batch_no, reply)).await {
            return Err(Rejection::Unavailable);
        }
        let lines = answer.await.map_err(|_| Rejection::Unavailable)?.map_err(|error| {
            tracing::error!(batch_no, error, "the lines of a batch cannot be read");
            Rejection::Unavailable
        })?;
        let suspects = match poisoned {
            Some(evidence) => Some(pooled(move || evidence.bisect()).await?),
            None => None,
        };
        Ok(Some(Explanation { facts, lines, suspects }))
    }

    async fn explain_operation(&self, id: OperationId) -> Result<Option<OperationExplanation>, Rejection> {
        let asked = self.link.ask(move |state| {
            let (operation, placed, deadline) = explain::operation_facts(state, &id, system_clock())?;
            Some((operation_view(state, operation), placed, deadline))
        });
        let Some((operation, placed, deadline)) = asked.await.ok_or(Rejection::Unavailable)? else {
            return Ok(None);
        };
        let batch = self.explain_batch(operation.batch_no).await?;
        Ok(batch.map(|batch| OperationExplanation { operation, placed, deadline, batch }))
    }

    async fn overview(&self) -> Result<Overview, Rejection> {
        let (system, workers) = (self.system().await, self.workers().await);
        let asked = self.link.ask(|state| {
            let now = system_clock();
            (
                state.paused(),
                explain::deadlines(state, now),
                state.batcher().open_batch().operations.len(),
                explain::job_facts(state, JOBS, now),
                state
                    .farm()
                    .stuck()
                    .map(|(batch_no, job, _)| (batch_no, job.phase.name()))
                    .collect::<Vec<_>>(),
                state.farm().draining().iter().map(ToString::to_string).collect(),
                state.farm().pools().map(|(name, pool)| (name.clone(), pool)).collect(),
                state.load(state.farm().counted_at()),
            )
        });
        let (paused, deadlines, open_operations, (jobs, job_count), stuck, draining, pools, load) =
            asked.await.ok_or(Rejection::Unavailable)?;
        let status = self.status();
        // What else the state says is told below, with what to do.
        let trouble = Trouble { load: Some(load), ..Trouble::default() };
        let against = health::reasons(&status, system.draining, self.stuck(), Some(&trouble));
        let warnings = health::warnings(&status, Some(&load));
        let mut alarms: Vec<String> =
            against.into_iter().chain(warnings).map(|reason| reason.to_string()).collect();
        if deadlines.missed > 0 {
            alarms.push(format!("{} promises are past their deadline", deadlines.missed));
        }
        let refused = workers.iter().filter(|worker| worker.health != WorkerHealth::Left && worker.refused);
        alarms.extend(
            refused.filter_map(|worker| Some(format!("worker {}: {}", worker.id, worker.reason.as_ref()?))),
        );
        let alarm = |(batch_no, phase): &(u32, &str)| {
            format!("batch {batch_no} is {phase}; `ops explain batch {batch_no}`")
        };
        alarms.extend(stuck.iter().map(alarm));
        let term = status.term;
        Ok(Overview {
            system,
            term,
            paused,
            alarms,
            deadlines,
            open_operations,
            jobs,
            job_count,
            pools,
            draining,
            workers,
        })
    }

    async fn stage(&self, batch_no: u32) -> Result<Option<Stage>, Rejection> {
        let stage = self.link.ask(move |state| state.batch(batch_no).map(|batch| batch.stage())).await;
        stage.ok_or(Rejection::Unavailable)
    }

    async fn knows_worker(&self, id: WorkerId) -> Result<bool, Rejection> {
        let known = self.link.ask(move |state| {
            let farm = state.farm();
            let mut names = farm.workers().map(|(name, _)| name).chain(farm.departed().map(|gone| &gone.id));
            names.any(|name| *name == id) || farm.draining().contains(&id)
        });
        known.await.ok_or(Rejection::Unavailable)
    }
}
