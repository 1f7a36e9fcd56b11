//! The coordinator's side. It lays the deployment out, and lays it out again when Redis comes back empty.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use circuits::shape::Shape;
use redis::streams::{StreamId, StreamReadReply};

use super::{
    Limits, Settings,
    keys::{GROUP, KEPT_BYTES, Keys, MOST_WAKES, eval, script},
    link::{Link, client},
};
use crate::{
    codec::{CodecError, MAX_INPUT, Message},
    event::{Control, WorkerEvent},
    job::{Attempt, JobEntry, JobId, WorkerId},
    queue::{CoordinatorQueue, Depth, EventBatch, EventCursor, Priority, QueueError},
};

/// Entries of dead workers that one sweep of a stream releases.
const SWEPT_AT_ONCE: usize = 256;

/// Where this connection is in the stream of events.
#[derive(Default)]
struct Place {
    epoch: Option<String>,
    returned: EventCursor,
    swept: Option<Instant>,
}

pub struct RedisCoordinator {
    keys: Keys,
    limits: Limits,
    commands: Link,
    /// Blocks on the stream of events.
    reader: Link,
    place: Mutex<Place>,
}

impl RedisCoordinator {
    /// Connects; the first batch starts with the oldest event not acknowledged.
    ///
    /// # Errors
    /// `Unreachable`, `Refused`.
    pub async fn connect(settings: &Settings) -> Result<Self, QueueError> {
        let client = client(settings)?;
        let coordinator = Self {
            keys: Keys::new(&settings.prefix),
            limits: settings.limits.clone(),
            commands: Link::new(client.clone()),
            reader: Link::new(client),
            place: Mutex::default(),
        };
        coordinator.found().await?;
        Ok(coordinator)
    }

    fn place(&self) -> std::sync::MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure that everything is there. True if what was there before is gone.
    async fn found(&self) -> Result<bool, QueueError> {
        let mut fresh = [0u8; 16];
        rand_core::RngCore::fill_bytes(&mut rand_core::OsRng, &mut fresh);
        let mut keys = vec![self.keys.epoch(), super::keys::DEPLOYMENTS.to_owned(), self.keys.events()];
        keys.extend(Shape::ALL.into_iter().flat_map(|shape| self.keys.streams(shape)));
        let mut command = eval(script::FOUND, &keys);
        command.arg(hex::encode(fresh)).arg(GROUP).arg(self.keys.prefix().trim_end_matches(':'));
        let epoch: String = self.commands.call(&command, Duration::ZERO).await?;
        let mut place = self.place();
        if place.epoch.as_ref() == Some(&epoch) {
            return Ok(false);
        }
        let known = place.epoch.replace(epoch).is_some();
        // Ids may start anew on another server.
        place.returned = EventCursor::default();
        Ok(known)
    }

    async fn sweep_if_due(&self) -> Result<(), QueueError> {
        let due = self.place().swept.is_none_or(|then| then.elapsed() >= self.limits.sweep_every);
        if due {
            self.place().swept = Some(Instant::now());
            for key in Shape::ALL.into_iter().flat_map(|shape| self.keys.streams(shape)) {
                self.sweep(&key).await?;
            }
        }
        Ok(())
    }

    /// Releases what workers hold that are gone for long, and trims what is acknowledged.
    async fn sweep(&self, stream: &str) -> Result<(), QueueError> {
        let mut command = eval(script::SWEEP, &[stream]);
        let idle = millis(self.limits.gone_after);
        command.arg(GROUP).arg(self.keys.prefix()).arg(idle).arg(SWEPT_AT_ONCE);
        let swept: Vec<String> = self.commands.call(&command, Duration::ZERO).await?;
        for entry in swept {
            tracing::warn!(stream, entry, "an entry of a worker that is gone was released");
        }
        Ok(())
    }

    /// What a stream holds → what it says. What says nothing goes where a person finds it.
    async fn read(&self, entries: Vec<StreamId>) -> Result<EventBatch, QueueError> {
        let mut batch = EventBatch::default();
        for entry in entries {
            let bytes: Option<Vec<u8>> = entry.get("e");
            let claim: Option<String> = entry.get("c");
            let decoded = match (&bytes, claim) {
                (Some(bytes), _) => WorkerEvent::decode(bytes),
                (None, Some(claim)) => claimed(&claim).ok_or(CodecError::NotOurs),
                (None, None) => Err(CodecError::NotOurs),
            };
            match decoded {
                Ok(event) => batch.events.push(event),
                Err(reason) => {
                    batch.malformed += 1;
                    let first = bytes.unwrap_or_default();
                    self.bury(&entry.id, &reason, &first[..first.len().min(KEPT_BYTES)]).await?;
                }
            }
            batch.up_to = cursor(&entry.id).or(batch.up_to);
        }
        if let Some(up_to) = batch.up_to {
            self.place().returned = up_to;
        }
        Ok(batch)
    }

    async fn bury(&self, id: &str, reason: &CodecError, first: &[u8]) -> Result<(), QueueError> {
        tracing::warn!(id, %reason, "an event that cannot be read was put aside");
        let mut command = redis::cmd("XADD");
        command.arg(self.keys.dead()).arg("MAXLEN").arg(self.limits.dead).arg("*");
        command.arg("reason").arg(reason.to_string()).arg("origin").arg(format!("events {id}"));
        command.arg("bytes").arg(first);
        self.commands.call(&command, Duration::ZERO).await
    }
}

fn cursor(id: &str) -> Option<EventCursor> {
    let (time, sequence) = id.split_once('-')?;
    Some(EventCursor(time.parse().ok()?, sequence.parse().ok()?))
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// `job:attempt:worker`, as the script of claims writes it.
fn claimed(text: &str) -> Option<WorkerEvent> {
    let mut parts = text.splitn(3, ':');
    let job = JobId(parts.next()?.parse().ok()?);
    let attempt = Attempt(parts.next()?.parse().ok()?);
    let worker = WorkerId::new(parts.next()?).ok()?;
    Some(WorkerEvent::Claimed { worker, job, attempt })
}

#[async_trait]
impl CoordinatorQueue for RedisCoordinator {
    async fn publish(&self, entry: &JobEntry, input: &[u8], priority: Priority) -> Result<(), QueueError> {
        let bytes = entry.encode()?;
        if input.len() > MAX_INPUT {
            return Err(CodecError::TooLong { length: input.len(), limit: MAX_INPUT }.into());
        }
        let [urgent, normal] = self.keys.streams(entry.shape);
        let stream = match priority {
            Priority::Urgent => urgent,
            Priority::Normal => normal,
        };
        let keys = [self.keys.epoch(), self.keys.input(entry.job), stream, self.keys.wake(entry.shape)];
        let excluded: String = entry.excluded.iter().map(|worker| format!("{worker},")).collect();
        let mut command = eval(script::PUBLISH, &keys);
        command.arg(input).arg(bytes).arg(format!("{}:{}", entry.job, entry.attempt));
        command.arg(format!(",{excluded}")).arg(self.limits.entries).arg(GROUP).arg(MOST_WAKES);
        let outcome: u8 = self.commands.call(&command, Duration::ZERO).await?;
        match outcome {
            0 => Ok(()),
            1 => Err(QueueError::Full { what: "entries", limit: self.limits.entries }),
            // Whoever reads events finds out as well and has everything published again.
            _ => Err(QueueError::Unreachable("Redis was wiped and is being laid out again".to_owned())),
        }
    }

    async fn next_events(&self, wait: Duration) -> Result<EventBatch, QueueError> {
        if self.found().await? {
            return Ok(EventBatch { lost: true, ..EventBatch::default() });
        }
        self.sweep_if_due().await?;
        let EventCursor(time, sequence) = self.place().returned;
        let mut command = redis::cmd("XREAD");
        // Zero would block for ever.
        command.arg("COUNT").arg(self.limits.batch).arg("BLOCK").arg(millis(wait).max(1));
        command.arg("STREAMS").arg(self.keys.events()).arg(format!("{time}-{sequence}"));
        let reply: Option<StreamReadReply> = self.reader.call(&command, wait).await?;
        let entries = reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids).collect();
        self.read(entries).await
    }

    async fn acknowledge(&self, up_to: EventCursor) -> Result<(), QueueError> {
        // Of what was read before Redis was wiped nothing is left to forget.
        if up_to > self.place().returned {
            return Ok(());
        }
        let mut command = redis::cmd("XTRIM");
        command.arg(self.keys.events()).arg("MINID").arg(format!(
            "{}-{}",
            up_to.0,
            up_to.1.saturating_add(1)
        ));
        self.commands.call(&command, Duration::ZERO).await
    }

    async fn control(&self, worker: &WorkerId, control: Control) -> Result<(), QueueError> {
        let mut command = eval(script::CONTROL, &[self.keys.mailbox(worker)]);
        let limit = self.limits.controls;
        command.arg(control.encode()?).arg(limit).arg(millis(self.limits.control_ttl));
        let full: bool = self.commands.call(&command, Duration::ZERO).await?;
        if full { Err(QueueError::Full { what: "controls", limit }) } else { Ok(()) }
    }

    async fn depth(&self, shape: Shape) -> Result<Depth, QueueError> {
        let mut command = eval(script::DEPTH, &self.keys.streams(shape));
        command.arg(GROUP);
        let (waiting, claimed) = self.commands.call(&command, Duration::ZERO).await?;
        Ok(Depth { waiting, claimed })
    }

    async fn retire(&self, job: JobId, attempt: Attempt) -> Result<(), QueueError> {
        let mut command = eval(script::RETIRE, &[self.keys.claims(job)]);
        command.arg(GROUP).arg(attempt.0);
        self.commands.call(&command, Duration::ZERO).await
    }

    async fn remove(&self, job: JobId) -> Result<(), QueueError> {
        let mut command = eval(script::RETIRE, &[self.keys.claims(job), self.keys.input(job)]);
        command.arg(GROUP);
        self.commands.call(&command, Duration::ZERO).await
    }
}
