//! A deployment of its own on a private Redis.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use queue::{
    CoordinatorQueue, WorkerQueue,
    redis::{Limits, RedisCoordinator, RedisWorker, Settings},
};
use redis::aio::MultiplexedConnection;
use testbed::redis::{Redis, Settings as Server};
use wire::{ProcessId, WorkerId};

use super::{PROCESS, conformance::Fixture};

pub struct Farm {
    pub redis: Arc<Mutex<Redis>>,
    pub prefix: String,
    pub limits: Limits,
    /// In place of the server's, for a proxy before it.
    pub port: Option<u16>,
}

impl Farm {
    pub fn start() -> Self {
        Self::on(Arc::new(Mutex::new(Redis::start().unwrap())))
    }

    /// On a private server with these lines in its configuration.
    pub fn with(configuration: &[&str]) -> Self {
        let configuration = configuration.iter().map(|line| (*line).to_owned()).collect();
        let server = Server { configuration, ..Server::default() };
        Self::on(Arc::new(Mutex::new(Redis::with(server).unwrap())))
    }

    pub fn on(redis: Arc<Mutex<Redis>>) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("pm:test-{}:{number}", std::process::id());
        Self { redis, prefix, limits: Limits::default(), port: None }
    }

    pub fn settings(&self, url: String) -> Settings {
        let url = match self.port {
            Some(port) => url.replace(&format!(":{}", self.port()), &format!(":{port}")),
            None => url,
        };
        Settings { limits: self.limits.clone(), ..Settings::new(url, &self.prefix) }
    }

    pub fn url(&self) -> String {
        self.redis.lock().unwrap().url()
    }

    pub fn admin_url(&self) -> String {
        self.redis.lock().unwrap().admin_url()
    }

    /// Of the server itself, whatever stands before it.
    pub fn port(&self) -> u16 {
        self.redis.lock().unwrap().port()
    }

    pub fn pool_url(&self, pool: &str) -> String {
        self.redis.lock().unwrap().pool_url(&self.prefix, pool).unwrap()
    }

    pub async fn coordinator(&self) -> RedisCoordinator {
        RedisCoordinator::connect(&self.settings(self.url())).await.unwrap()
    }

    pub async fn worker(&self, name: &str) -> RedisWorker {
        self.connect(&super::worker(name), PROCESS).await
    }

    async fn connect(&self, id: &WorkerId, process: ProcessId) -> RedisWorker {
        let settings = self.settings(self.pool_url(id.pool.as_str()));
        RedisWorker::connect(&settings, id.clone(), process).await.unwrap()
    }

    pub async fn admin(&self) -> MultiplexedConnection {
        connection(&self.admin_url()).await
    }

    /// A key of this deployment.
    pub fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }
}

pub async fn connection(url: &str) -> MultiplexedConnection {
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(30)));
    let client = redis::Client::open(url).unwrap();
    client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
}

/// A command by its words.
pub fn command(words: &str) -> redis::Cmd {
    let mut words = words.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    words.for_each(|word| {
        command.arg(word);
    });
    command
}

#[async_trait]
impl Fixture for Farm {
    async fn coordinator(&self) -> Arc<dyn CoordinatorQueue> {
        Arc::new(Farm::coordinator(self).await)
    }

    async fn worker(&self, id: &WorkerId, process: ProcessId) -> Arc<dyn WorkerQueue> {
        Arc::new(self.connect(id, process).await)
    }
}
