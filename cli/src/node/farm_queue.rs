//! Which queue a coordinator has: one in this process, or Redis for workers on other machines.

use std::{sync::Arc, time::Duration};

use protocol::l1::Deployment;
use queue::{
    CoordinatorQueue, QueueError, WorkerQueue,
    memory::MemoryQueue,
    redis::{RedisCoordinator, RedisWorker, Settings, deployment_prefix},
};
use store::mark::{Mark, RedisMark};
use wire::{ProcessId, WorkerId};

use crate::{redis, ui::hex};

/// A Redis that does not answer is asked again after this.
const AGAIN: Duration = Duration::from_secs(1);

pub enum FarmQueue {
    Memory(Arc<MemoryQueue>),
    Redis(Settings),
}

impl FarmQueue {
    /// # Errors
    /// If a file with a password or a certificate cannot be read.
    pub fn choose(redis: Option<&redis::Options>, deployment: &Deployment) -> eyre::Result<Self> {
        let Some(options) = redis else { return Ok(Self::Memory(Arc::default())) };
        let prefix = match &options.redis_prefix {
            Some(prefix) => prefix.clone(),
            None => deployment_prefix(deployment.chain_id, &hex(&deployment.contract)),
        };
        Ok(Self::Redis(options.settings(&prefix)?))
    }

    /// Where the high-water mark is kept beside the data directory.
    ///
    /// # Errors
    /// If its URL or certificate cannot be read.
    pub fn marks(&self) -> eyre::Result<Vec<Box<dyn Mark>>> {
        Ok(match self {
            Self::Memory(_) => Vec::new(),
            Self::Redis(settings) => vec![Box::new(RedisMark::new(settings)?)],
        })
    }

    /// Waits for a Redis that cannot be reached, and says so.
    ///
    /// # Errors
    /// If Redis refuses the user.
    pub async fn wait_for_coordinator(&self) -> eyre::Result<Arc<dyn CoordinatorQueue>> {
        let mut said = String::new();
        loop {
            let connected = self.coordinator().await;
            let Err(error) = &connected else { return connected };
            let Some(QueueError::Unreachable(reason)) = error.downcast_ref() else { return connected };
            if *reason != said {
                tracing::warn!(reason, "Redis does not answer; it is asked again each second");
                said.clone_from(reason);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// # Errors
    /// If Redis cannot be reached or refuses the user.
    async fn coordinator(&self) -> eyre::Result<Arc<dyn CoordinatorQueue>> {
        Ok(match self {
            Self::Memory(queue) => Arc::new(queue.coordinator()),
            Self::Redis(settings) => Arc::new(RedisCoordinator::connect(settings).await?),
        })
    }

    /// # Errors
    /// As `coordinator`.
    pub async fn worker(&self, id: WorkerId, process: ProcessId) -> eyre::Result<Arc<dyn WorkerQueue>> {
        Ok(match self {
            Self::Memory(queue) => Arc::new(queue.worker(id, process)),
            Self::Redis(settings) => Arc::new(RedisWorker::connect(settings, id, process).await?),
        })
    }
}
