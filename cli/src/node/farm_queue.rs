//! Which queue a coordinator has: one in this process, or Redis for workers on other machines.

use std::sync::Arc;

use coordinator::chain::Deployment;
use queue::{
    CoordinatorQueue, WorkerQueue,
    memory::MemoryQueue,
    redis::{RedisCoordinator, RedisWorker, Settings, deployment_prefix},
};
use wire::{ProcessId, WorkerId};

use crate::{redis, ui::hex};

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

    /// # Errors
    /// If Redis cannot be reached or refuses the user.
    pub async fn coordinator(&self) -> eyre::Result<Arc<dyn CoordinatorQueue>> {
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
