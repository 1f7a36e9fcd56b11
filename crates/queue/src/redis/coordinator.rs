//! The coordinator's side: polls the events of all pools, and carries writes out in pipelines.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};
use redis::Pipeline;
use wire::{
    PoolName, Report, WorkerId,
    codec::{CodecError, MAX_MESSAGE, Message},
};

use super::{
    Limits, Settings,
    connection::{Connection, Endpoint, client},
    keys::{Keys, eval, script},
    millis,
};
use crate::{
    CoordinatorQueue, Cursors, EventBatch, EventCursor, PoolEvent, QueueError, QueueWrite, Replaced, Trouble,
};

/// How far in the future the last id of a stream may lie: clocks of servers differ after a failover, by less than this.
const ID_AHEAD: Duration = Duration::from_secs(3600);
/// Bytes of writes in one pipeline.
const PIPELINE_BYTES: usize = 8 << 20;

pub struct RedisCoordinator {
    keys: Keys,
    limits: Limits,
    commands: Connection,
    /// Polls, so that a slow write does not hold events up.
    reader: Connection,
    /// The pools that are polled.
    pools: Mutex<BTreeMap<PoolName, Polled>>,
}

/// A pool that is polled: whether its events are read or only deleted, and how far they were read.
#[derive(Clone, Copy, Default)]
struct Polled {
    is_open: bool,
    cursor: EventCursor,
}

/// What the script of polls answers: whether the sentinel key was gone, and of each stream with news its number, why it was replaced,
/// and its entries.
type Answer = (bool, Vec<(usize, String, Vec<redis::Value>)>);

impl RedisCoordinator {
    /// Connects; the first batch starts with the oldest event not acknowledged.
    ///
    /// # Errors
    /// `Unreachable`, `Refused`.
    pub async fn connect(settings: &Settings) -> Result<Self, QueueError> {
        let endpoint = Endpoint::new(client(settings)?, true);
        let coordinator = Self {
            keys: Keys::new(&settings.prefix),
            limits: settings.limits.clone(),
            commands: Connection::new(&endpoint),
            reader: Connection::new(&endpoint),
            pools: Mutex::default(),
        };
        let _: String = coordinator.commands.call(&redis::cmd("PING"), Duration::ZERO).await?;
        // Sets the sentinel key: only a wipe after this is reported.
        coordinator.poll().await?;
        Ok(coordinator)
    }

    fn pools(&self) -> MutexGuard<'_, BTreeMap<PoolName, Polled>> {
        self.pools.lock()
    }

    async fn poll(&self) -> Result<EventBatch, QueueError> {
        let pools: Vec<(PoolName, Polled)> =
            self.pools().iter().map(|(pool, polled)| (pool.clone(), *polled)).collect();
        let events = pools.iter().map(|(pool, _)| self.keys.events(pool));
        let keys: Vec<String> = std::iter::once(self.keys.kept()).chain(events).collect();
        let mut command = eval(script::POLL, &keys);
        command.arg(self.limits.event_bytes).arg(self.limits.poll_events);
        command.arg(self.limits.poll_bytes).arg(MAX_MESSAGE).arg(millis(ID_AHEAD));
        for (_, Polled { is_open, cursor: EventCursor(ms, seq) }) in &pools {
            let most = if *is_open { self.limits.events } else { 0 };
            command.arg(ms).arg(seq).arg(most);
        }
        let (wiped, polled): Answer = self.reader.call(&command, Duration::ZERO).await?;
        let mut batch = EventBatch { wiped, ..EventBatch::default() };
        let mut cursors = Cursors::default();
        for (number, why, entries) in polled {
            let Some((pool, Polled { is_open, .. })) = number.checked_sub(1).and_then(|i| pools.get(i))
            else {
                continue;
            };
            if !is_open {
                continue;
            }
            let replaced = match why.as_str() {
                "" => None,
                "oversized" => Some(Replaced::Oversized),
                "unwritable" => Some(Replaced::Unwritable),
                _ => Some(Replaced::Foreign),
            };
            if let Some(replaced) = replaced {
                batch.troubles.push((pool.clone(), Trouble::Replaced(replaced)));
                self.advance(pool, EventCursor::default());
            } else if let Some(cursor) = decode(pool, entries, &mut batch) {
                self.advance(pool, cursor);
                cursors.0.insert(pool.clone(), cursor);
            }
        }
        batch.up_to = (!cursors.0.is_empty()).then_some(cursors);
        Ok(batch)
    }

    fn advance(&self, pool: &PoolName, to: EventCursor) {
        if let Some(polled) = self.pools().get_mut(pool) {
            polled.cursor = to;
        }
    }

    /// Adds a write to the pipeline. Answers its bytes.
    fn add(&self, write: &QueueWrite, pipeline: &mut Pipeline) -> Result<usize, QueueError> {
        let ttl = millis(self.limits.ttl);
        Ok(match write {
            QueueWrite::Pools { open, closed } => {
                let mut known = self.pools();
                known.retain(|pool, _| open.contains(pool) || closed.contains(pool));
                for (pools, is_open) in [(open, true), (closed, false)] {
                    for pool in pools {
                        known.entry(pool.clone()).or_default().is_open = is_open;
                    }
                }
                0
            }
            QueueWrite::Input { pool, job, input } => {
                let key = self.keys.input(pool, *job);
                pipeline.cmd("SET").arg(key).arg(input.as_ref()).arg("PX").arg(ttl).ignore();
                input.len()
            }
            QueueWrite::Directive { worker, directive } => {
                let bytes = directive.encode()?;
                let mut command = eval(script::SEND, &[self.keys.jobs(worker)]);
                command.arg(&bytes).arg(self.limits.directives).arg(ttl);
                pipeline.add_command(command).ignore();
                bytes.len()
            }
            QueueWrite::RemoveInput { pool, job } => {
                pipeline.cmd("UNLINK").arg(self.keys.input(pool, *job)).ignore();
                0
            }
            QueueWrite::Forget { worker } => {
                pipeline.cmd("UNLINK").arg(self.keys.jobs(worker)).ignore();
                0
            }
            QueueWrite::Acknowledge(cursors) => {
                for (pool, cursor) in &cursors.0 {
                    // A stream that was replaced since is read from its start again: nothing of it was read.
                    if self.pools().get(pool).is_some_and(|polled| *cursor <= polled.cursor) {
                        // A stranger may have used the last number of a millisecond.
                        let (ms, seq) = match cursor.1.checked_add(1) {
                            Some(seq) => (cursor.0, seq),
                            None => (cursor.0.saturating_add(1), 0),
                        };
                        let next = format!("{ms}-{seq}");
                        pipeline.cmd("XTRIM").arg(self.keys.events(pool)).arg("MINID").arg(next).ignore();
                    }
                }
                0
            }
        })
    }
}

/// Decodes what a stream held into the batch; the cursor behind it.
fn decode(pool: &PoolName, entries: Vec<redis::Value>, batch: &mut EventBatch) -> Option<EventCursor> {
    let mut cursor = None;
    let mut malformed: Option<(usize, CodecError)> = None;
    let mut entries = entries.into_iter();
    while let (Some(id), Some(message)) = (entries.next(), entries.next()) {
        let redis::Value::BulkString(id) = id else { continue };
        cursor = str::from_utf8(&id).ok().and_then(parse_id).or(cursor);
        let decoded = match message {
            redis::Value::BulkString(bytes) => Report::decode(&bytes),
            _ => Err(CodecError::NotOurs),
        };
        match decoded {
            Ok(Report { instance, process, mut event }) => {
                event.clip();
                batch.events.push(PoolEvent {
                    worker: WorkerId::new(pool.clone(), instance),
                    process,
                    event,
                });
            }
            Err(reason) => malformed.get_or_insert((0, reason)).0 += 1,
        }
    }
    if let Some((count, reason)) = malformed {
        let reason = reason.to_string();
        batch.troubles.push((pool.clone(), Trouble::Malformed { count, reason }));
    }
    cursor
}

fn parse_id(id: &str) -> Option<EventCursor> {
    let (ms, seq) = id.split_once('-')?;
    Some(EventCursor(ms.parse().ok()?, seq.parse().ok()?))
}

#[async_trait]
impl CoordinatorQueue for RedisCoordinator {
    async fn next_events(&self, wait: Duration) -> Result<EventBatch, QueueError> {
        let deadline = Instant::now() + wait;
        loop {
            let batch = self.poll().await?;
            let left = deadline.saturating_duration_since(Instant::now());
            if !batch.is_empty() || left.is_zero() {
                return Ok(batch);
            }
            tokio::time::sleep(self.limits.poll_interval.min(left)).await;
        }
    }

    async fn write(&self, writes: &[QueueWrite]) -> Result<(), QueueError> {
        let mut writes = writes.iter();
        loop {
            let (mut pipeline, mut bytes) = (Pipeline::new(), 0);
            while bytes < PIPELINE_BYTES
                && let Some(write) = writes.next()
            {
                bytes += self.add(write, &mut pipeline)?;
            }
            if pipeline.is_empty() {
                // Only writes without a command may be left.
                if writes.len() == 0 {
                    return Ok(());
                }
                continue;
            }
            let () = self.commands.call_all(&pipeline).await?;
        }
    }
}
