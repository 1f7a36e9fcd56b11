//! The worker's side: directives, events and heartbeats on a connection each, since reading directives blocks.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};
use redis::{Client, Cmd, streams::StreamReadReply};
use wire::{Control, Directive, JobId, ProcessId, Report, WorkerEvent, WorkerId, codec::Message, failpoint};

use super::{
    Settings,
    connection::{Connection, Endpoint, TIMEOUT, client},
    error,
    keys::Keys,
    millis,
};
use crate::{Liveness, QueueError, WorkerQueue};

/// Directives that one read returns at most.
const READ_AT_ONCE: usize = 16;

/// How far the directives were read, and those that were read and not handed over yet.
struct Read {
    cursor: String,
    ahead: VecDeque<Control>,
}

impl Default for Read {
    fn default() -> Self {
        Self { cursor: "0-0".to_owned(), ahead: VecDeque::new() }
    }
}

pub struct RedisWorker {
    writer: Writer,
    client: Client,
    directives: Connection,
    commands: Connection,
    read: Mutex<Read>,
}

/// Makes the commands that write events.
#[derive(Clone)]
struct Writer {
    id: WorkerId,
    process: ProcessId,
    keys: Keys,
    /// Events that the stream is trimmed to when nobody reads it.
    most_events: usize,
}

impl Writer {
    fn emit(&self, event: &WorkerEvent) -> Result<Cmd, QueueError> {
        let instance = self.id.instance.clone();
        let report = Report { instance, process: self.process, event: event.clone() };
        let mut command = redis::cmd("XADD");
        command.arg(self.keys.events(&self.id.pool)).arg("MAXLEN").arg("~").arg(self.most_events);
        command.arg("*").arg("e").arg(report.encode()?);
        Ok(command)
    }
}

impl RedisWorker {
    /// Connects. The user of the settings needs the rights of [`super::pool_user`].
    ///
    /// # Errors
    /// `Unreachable`, `Refused`.
    pub async fn connect(settings: &Settings, id: WorkerId, process: ProcessId) -> Result<Self, QueueError> {
        let client = client(settings)?;
        let endpoint = Endpoint::new(client.clone(), false);
        let writer = Writer {
            id,
            process,
            keys: Keys::new(&settings.prefix),
            most_events: settings.limits.events / 2,
        };
        let worker = Self {
            writer,
            directives: Connection::new(&endpoint),
            commands: Connection::new(&endpoint),
            client,
            read: Mutex::default(),
        };
        let _: String = worker.commands.call(&redis::cmd("PING"), Duration::ZERO).await?;
        Ok(worker)
    }

    fn read(&self) -> MutexGuard<'_, Read> {
        self.read.lock()
    }

    /// Reads what is behind the cursor; waits for it.
    async fn read_on(&self, wait: Duration) -> Result<(), QueueError> {
        let from = self.read().cursor.clone();
        let mut command = redis::cmd("XREAD");
        // Zero would block for ever.
        command.arg("COUNT").arg(READ_AT_ONCE).arg("BLOCK").arg(millis(wait).max(1));
        command.arg("STREAMS").arg(self.writer.keys.jobs(&self.writer.id)).arg(&from);
        let reply: Option<StreamReadReply> = self.directives.call(&command, wait).await?;
        let mut read = self.read();
        if read.cursor != from {
            // Rewound meanwhile: what came is read again.
            return Ok(());
        }
        for entry in reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids) {
            let bytes: Vec<u8> = entry.get("c").unwrap_or_default();
            read.cursor = entry.id;
            match Directive::decode(&bytes) {
                Ok(Directive { process, control }) if process == self.writer.process => {
                    read.ahead.push_back(control);
                }
                Ok(_) => {}
                Err(reason) => tracing::warn!(%reason, "a directive that cannot be read was skipped"),
            }
        }
        Ok(())
    }
}

#[async_trait]
impl WorkerQueue for RedisWorker {
    fn id(&self) -> &WorkerId {
        &self.writer.id
    }

    async fn next_control(&self, wait: Duration) -> Result<Option<Control>, QueueError> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(control) = self.read().ahead.pop_front() {
                return Ok(Some(control));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.read_on(left).await?;
        }
    }

    fn rewind(&self) {
        *self.read() = Read::default();
    }

    async fn input(&self, job: JobId) -> Result<Vec<u8>, QueueError> {
        let mut command = redis::cmd("GET");
        command.arg(self.writer.keys.input(&self.writer.id.pool, job));
        let input: Option<Vec<u8>> = self.commands.call(&command, Duration::ZERO).await?;
        input.ok_or(QueueError::NoInput(job))
    }

    async fn emit(&self, event: &WorkerEvent) -> Result<(), QueueError> {
        let command = self.writer.emit(event)?;
        let [before, after] = failpoints(event);
        failpoint(before);
        let _: String = self.commands.call(&command, Duration::ZERO).await?;
        failpoint(after);
        Ok(())
    }

    fn liveness(&self) -> Result<Box<dyn Liveness>, QueueError> {
        let (client, writer) = (self.client.clone(), self.writer.clone());
        Ok(Box::new(RedisLiveness { client, writer, connection: None }))
    }
}

/// Where a test may kill the process before and after an event is written.
fn failpoints(event: &WorkerEvent) -> [&'static str; 2] {
    match event {
        WorkerEvent::Register { .. } => ["emit.register", "emitted.register"],
        WorkerEvent::Heartbeat { .. } => ["emit.heartbeat", "emitted.heartbeat"],
        WorkerEvent::Proved { .. } => ["emit.proved", "emitted.proved"],
        WorkerEvent::Failed { .. } => ["emit.failed", "emitted.failed"],
        WorkerEvent::HandedBack { .. } => ["emit.handed_back", "emitted.handed_back"],
        WorkerEvent::Left { .. } => ["emit.left", "emitted.left"],
    }
}

/// Heartbeats over a blocking connection of their own, opened again after any failure.
struct RedisLiveness {
    client: Client,
    writer: Writer,
    connection: Option<redis::Connection>,
}

impl RedisLiveness {
    fn connected(&mut self) -> Result<&mut redis::Connection, redis::RedisError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let connection = self.client.get_connection_with_timeout(TIMEOUT)?;
                connection.set_read_timeout(Some(TIMEOUT))?;
                connection.set_write_timeout(Some(TIMEOUT))?;
                connection
            }
        };
        Ok(self.connection.insert(connection))
    }
}

impl Liveness for RedisLiveness {
    fn beat(&mut self, heartbeat: &WorkerEvent) -> Result<(), QueueError> {
        let command = self.writer.emit(heartbeat)?;
        let answer = self.connected().and_then(|connection| command.query::<String>(connection));
        match answer {
            Ok(_) => {
                failpoint("heartbeat.sent");
                Ok(())
            }
            Err(failure) => {
                self.connection = None;
                Err(error(failure))
            }
        }
    }
}
