//! The worker's side: claims, events and controls on a connection each, since two of them block.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use circuits::shape::Shape;
use redis::{Client, Cmd, Connection};

use super::{
    Limits, Settings,
    coordinator::millis,
    error,
    keys::{DEPLOYMENTS, GROUP, KEPT_BYTES, Keys, MOST_WAKES, eval, script},
    link::{Link, PATIENCE, client},
};
use crate::{
    codec::{CodecError, MAX_MESSAGE, Message},
    event::{Control, WorkerEvent},
    failpoint::failpoint,
    job::{JobEntry, JobId, WorkerId},
    queue::{Liveness, QueueError, WorkerQueue},
};

/// Unreadable entries and entries for others that one look passes over.
const PASSED_AT_ONCE: usize = 64;
/// How long a worker that only found entries for others waits before it looks again; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How long to wait for room in the stream of events.
const ROOM_PAUSE: Duration = Duration::from_millis(20);

/// The prefixes of the deployments whose coordinators use this server.
///
/// # Errors
/// `Unreachable`, `Refused`.
pub async fn deployments(settings: &Settings) -> Result<BTreeSet<String>, QueueError> {
    let mut command = redis::cmd("SMEMBERS");
    command.arg(DEPLOYMENTS);
    Link::new(client(settings)?).call(&command, Duration::ZERO).await
}

/// What is needed to introduce the worker again after Redis was wiped.
#[derive(Default)]
struct Known {
    epoch: Option<String>,
    registration: Option<WorkerEvent>,
}

pub struct RedisWorker {
    id: WorkerId,
    keys: Keys,
    limits: Limits,
    client: Client,
    claims: Link,
    controls: Link,
    commands: Link,
    known: Mutex<Known>,
}

/// What the script of claims answers: the epoch, which stream, the id, the entry, how many were passed on.
type Claimed = (String, usize, String, Vec<u8>, usize);

impl RedisWorker {
    /// Connects.
    ///
    /// # Errors
    /// `Unreachable`, `Refused`.
    pub async fn connect(settings: &Settings, id: WorkerId) -> Result<Self, QueueError> {
        let client = client(settings)?;
        let link = || Link::new(client.clone());
        let worker = Self {
            id,
            keys: Keys::new(&settings.prefix),
            limits: settings.limits.clone(),
            claims: link(),
            controls: link(),
            commands: link(),
            client,
            known: Mutex::default(),
        };
        let mut command = redis::cmd("GET");
        command.arg(worker.keys.epoch());
        let epoch: Option<String> = worker.commands.call(&command, Duration::ZERO).await?;
        worker.known().epoch = epoch;
        Ok(worker)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes which Redis answered. If it is another one than before, the worker introduces itself again.
    async fn note(&self, epoch: String) -> Result<(), QueueError> {
        let again = {
            let mut known = self.known();
            if epoch.is_empty() || known.epoch.as_ref() == Some(&epoch) {
                return Ok(());
            }
            known.epoch.replace(epoch).and(known.registration.clone())
        };
        match again {
            Some(registration) => {
                tracing::warn!("Redis was wiped; this worker registers again");
                self.write(&registration).await.map(drop)
            }
            None => Ok(()),
        }
    }

    /// Writes the event, or nothing if there is no room.
    async fn write(&self, event: &WorkerEvent) -> Result<Option<String>, QueueError> {
        let command = emit(&self.keys, &self.limits, event)?;
        let answer: String = self.commands.call(&command, Duration::ZERO).await?;
        Ok((answer != "full").then_some(answer))
    }

    async fn look(&self, shapes: &[Shape]) -> Result<(Option<JobEntry>, usize), QueueError> {
        let mut keys = vec![self.keys.epoch(), self.keys.dead(), self.keys.events()];
        for shape in shapes {
            keys.extend(self.keys.streams(*shape));
            keys.push(self.keys.wake(*shape));
        }
        let mut command = eval(script::CLAIM, &keys);
        command.arg(self.id.as_str()).arg(GROUP).arg(self.keys.prefix()).arg(MAX_MESSAGE);
        command.arg(PASSED_AT_ONCE).arg(self.limits.dead).arg(MOST_WAKES).arg(self.limits.events);
        loop {
            let (epoch, stream, id, bytes, passed): Claimed =
                self.claims.call(&command, Duration::ZERO).await?;
            self.note(epoch).await?;
            if id.is_empty() {
                return Ok((None, passed));
            }
            failpoint("queue.claimed");
            match JobEntry::decode(&bytes) {
                Ok(entry) => return Ok((Some(entry), passed)),
                Err(reason) => {
                    let stream = keys.get(stream - 1).map_or("", String::as_str);
                    self.bury(stream, &id, &reason, &bytes).await?;
                }
            }
        }
    }

    async fn bury(
        &self,
        stream: &str,
        id: &str,
        reason: &CodecError,
        bytes: &[u8],
    ) -> Result<(), QueueError> {
        tracing::warn!(stream, id, %reason, "an entry that cannot be read was put aside");
        let mut command = eval(script::BURY, &[self.keys.dead().as_str(), stream]);
        command.arg(GROUP).arg(id).arg(reason.to_string());
        command.arg(&bytes[..bytes.len().min(KEPT_BYTES)]).arg(self.limits.dead);
        self.commands.call(&command, Duration::ZERO).await
    }
}

/// The command that writes an event and, if it ends an attempt, releases its entry.
fn emit(keys: &Keys, limits: &Limits, event: &WorkerEvent) -> Result<Cmd, QueueError> {
    let mut names = vec![keys.epoch(), keys.events(), keys.alive(event.worker())];
    names.extend(event.ends().map(|(job, _)| keys.claims(job)));
    let mut command = eval(script::EMIT, &names);
    command.arg(event.encode()?).arg(limits.events).arg(millis(limits.gone_after)).arg(GROUP);
    if let Some((_, attempt)) = event.ends() {
        command.arg(attempt.0);
    }
    Ok(command)
}

#[async_trait]
impl WorkerQueue for RedisWorker {
    async fn claim(&self, shapes: &[Shape], wait: Duration) -> Result<Option<JobEntry>, QueueError> {
        let deadline = Instant::now() + wait;
        let mut pause = FIRST_PAUSE;
        loop {
            let (entry, passed) = self.look(shapes).await?;
            let left = deadline.saturating_duration_since(Instant::now());
            if entry.is_some() || left.is_zero() {
                return Ok(entry);
            }
            if passed > 0 {
                // What waits is for others: waiting for a wake-up would wake this worker at once.
                tokio::time::sleep(pause.min(left)).await;
                pause = (2 * pause).min(LONGEST_PAUSE);
            } else {
                let mut command = redis::cmd("BLPOP");
                for shape in shapes {
                    command.arg(self.keys.wake(*shape));
                }
                // Zero would block for ever.
                command.arg(left.as_secs_f64().max(0.001));
                let token: Option<(String, String)> = self.claims.call(&command, left).await?;
                if token.is_some() {
                    failpoint("queue.woken");
                }
            }
        }
    }

    async fn input(&self, job: JobId) -> Result<Vec<u8>, QueueError> {
        let mut command = redis::cmd("GET");
        command.arg(self.keys.input(job));
        let input: Option<Vec<u8>> = self.commands.call(&command, Duration::ZERO).await?;
        input.ok_or(QueueError::NoInput(job))
    }

    async fn emit(&self, event: &WorkerEvent) -> Result<(), QueueError> {
        let [before, after] = points(event);
        failpoint(before);
        if let WorkerEvent::Register { worker, registration, .. } = event {
            let (worker, registration) = (worker.clone(), registration.clone());
            self.known().registration = Some(WorkerEvent::Register { worker, registration, fresh: false });
        }
        // The claim has reported itself.
        if matches!(event, WorkerEvent::Claimed { .. }) {
            failpoint(after);
            return Ok(());
        }
        loop {
            if let Some(epoch) = self.write(event).await? {
                failpoint(after);
                return self.note(epoch).await;
            }
            tokio::time::sleep(ROOM_PAUSE).await;
        }
    }

    async fn next_control(&self, wait: Duration) -> Result<Option<Control>, QueueError> {
        let deadline = Instant::now() + wait;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut command = redis::cmd("BLPOP");
            command.arg(self.keys.mailbox(&self.id)).arg(left.as_secs_f64().max(0.001));
            let mail: Option<(String, Vec<u8>)> = self.controls.call(&command, left).await?;
            let Some((_, bytes)) = mail else { return Ok(None) };
            match Control::decode(&bytes) {
                Ok(control) => return Ok(Some(control)),
                Err(reason) => tracing::warn!(%reason, "a control that cannot be read was passed over"),
            }
        }
    }

    fn liveness(&self) -> Result<Box<dyn Liveness>, QueueError> {
        let (client, keys, limits) = (self.client.clone(), self.keys.clone(), self.limits.clone());
        Ok(Box::new(RedisLiveness { client, keys, limits, connection: None }))
    }
}

/// Where a test may kill the process before and after an event is written.
fn points(event: &WorkerEvent) -> [&'static str; 2] {
    match event {
        WorkerEvent::Register { .. } => ["emit.register", "emitted.register"],
        WorkerEvent::Claimed { .. } => ["emit.claimed", "emitted.claimed"],
        WorkerEvent::Heartbeat { .. } => ["emit.heartbeat", "emitted.heartbeat"],
        WorkerEvent::Proved { .. } => ["emit.proved", "emitted.proved"],
        WorkerEvent::Failed { .. } => ["emit.failed", "emitted.failed"],
        WorkerEvent::HandedBack { .. } => ["emit.handed_back", "emitted.handed_back"],
        WorkerEvent::Left { .. } => ["emit.left", "emitted.left"],
    }
}

/// Heartbeats over a blocking connection of their own, opened again after a loss.
struct RedisLiveness {
    client: Client,
    keys: Keys,
    limits: Limits,
    connection: Option<Connection>,
}

impl RedisLiveness {
    fn connected(&mut self) -> Result<&mut Connection, redis::RedisError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let connection = self.client.get_connection_with_timeout(PATIENCE)?;
                connection.set_read_timeout(Some(PATIENCE))?;
                connection.set_write_timeout(Some(PATIENCE))?;
                connection
            }
        };
        Ok(self.connection.insert(connection))
    }
}

impl Liveness for RedisLiveness {
    fn beat(&mut self, heartbeat: &WorkerEvent) -> Result<(), QueueError> {
        let command = emit(&self.keys, &self.limits, heartbeat)?;
        let answer = self.connected().and_then(|connection| command.query::<String>(connection));
        match answer {
            Ok(answer) if answer == "full" => {
                Err(QueueError::Full { what: "events", limit: self.limits.events })
            }
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
