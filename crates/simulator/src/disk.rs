//! The store: one durable log, one leader at a time, and a line to it that fails before or after the write.

use std::sync::Arc;

use api::service::{BatchView, OperationView};
use async_trait::async_trait;
use coordinator::Config;
use protocol::{OperationId, history::ListOf};
use sequencer::state::{
    event::{Event, Stamped},
    rows::{Checkpoint, Line, Row},
};
use store::{
    History, Leadership, Store, StoreError,
    history::{KeptPromises, Signatures},
    mark::HighWater,
};

use super::{
    Bug,
    restore::Newest,
    world::{Shared, World},
};

/// A leader that nobody renews is one for so long.
const LEASE: u64 = 3_000;

#[derive(Default)]
pub struct Disk {
    pub log: Vec<Stamped>,
    /// What rows said of batches, and after which event.
    checkpoints: Vec<(u64, Checkpoint)>,
    lines: Vec<Line>,
    /// Who won the last term, if anybody did.
    pub leader: Option<u64>,
    pub term: u64,
    /// True time after which another may win.
    pub expires_at: u64,
    /// A state as it was kept, and its last event.
    pub snapshot: Option<(Vec<u8>, u64)>,
    /// True time until which nothing answers.
    pub down_until: u64,
    /// The process that dies around its next commit, and whether the write is done then.
    pub deadly: Option<(u64, Death)>,
    pub dead: Vec<u64>,
    /// While a backup is in the place of the newest copy.
    pub newest: Option<Newest>,
    /// How far the log was when something was promised, beside the database.
    pub mark: Option<HighWater>,
    /// By how much its clock is off.
    pub skew: i64,
    /// Of the bug `CommitIsLate`.
    late: Vec<Stamped>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    BeforeWrite,
    AfterWrite,
}

impl World {
    /// What a leader's store does beside everything else, as long as it reaches the database.
    pub fn renew(&mut self, holder: u64) {
        if self.disk.leader == Some(holder) && self.time.now() >= self.disk.down_until {
            self.disk.expires_at = self.time.now() + LEASE;
        }
    }
}

pub struct SimStore {
    world: Shared,
    holder: u64,
    /// The term that it won; 0 before.
    term: u64,
}

impl SimStore {
    pub fn new(world: Shared, holder: u64) -> Self {
        Self { world, holder, term: 0 }
    }

    fn reachable(&self, world: &World) -> Result<(), StoreError> {
        if world.disk.dead.contains(&self.holder) {
            return Err(StoreError::Unusable("the process is dead".to_owned()));
        }
        if world.time.now() < world.disk.down_until {
            return Err(StoreError::Unavailable("it is down".to_owned()));
        }
        Ok(())
    }

    fn leads(&self, world: &World) -> bool {
        world.disk.leader == Some(self.holder) && world.disk.term == self.term
    }

    fn deposed(&self, world: &mut World) -> StoreError {
        world.seen.deposed += 1;
        let holder = self.holder;
        world.say(|| format!("process {holder} is deposed and writes nothing"));
        StoreError::Deposed { holder: format!("{:?}", world.disk.leader) }
    }

    fn dies(&self, world: &mut World, when: Death) -> Result<(), StoreError> {
        if world.disk.deadly != Some((self.holder, when)) {
            return Ok(());
        }
        world.disk.deadly = None;
        world.disk.dead.push(self.holder);
        let holder = self.holder;
        world.say(|| format!("process {holder} dies: {when:?}"));
        Err(StoreError::Unavailable("the process is dead".to_owned()))
    }
}

/// By how much a promise's deadline may be off, early and late, in seconds: clocks may be half a minute off, and a commit may wait.
const EARLY: u64 = 90;
const LATE: u64 = 32;

impl World {
    /// Nothing is promised by a clock that is wrong.
    fn check_deadline(&mut self, stamped: &Stamped) {
        let Event::Accepted(accepted) = &stamped.event else { return };
        let right = self.time.now() / 1_000 + Config::default().promise_deadline.as_secs();
        let deadline = accepted.deadline;
        if deadline > right + LATE || deadline + EARLY < right {
            self.breaks(|| format!("{deadline} is promised as a deadline where {right} were right"));
        }
    }

    /// Makes events durable, and has the model follow them.
    fn write(&mut self, events: &[Stamped]) {
        if self.disk.newest.is_some() {
            return self.breaks(|| "something is written where what was promised is missing".to_owned());
        }
        for stamped in events {
            self.check_deadline(stamped);
            let at = self.disk.log.len() + 1;
            self.say(|| format!("event {at}: {}", brief(&stamped.event)));
            self.disk.log.push(stamped.clone());
            let followed = self.model.follow(stamped, &self.node);
            self.check(followed);
        }
    }
}

/// A simulation has no readers.
struct Unread;

fn unread<T>() -> Result<T, StoreError> {
    Err(StoreError::Unusable("nobody reads in a simulation".to_owned()))
}

#[async_trait]
impl History for Unread {
    async fn operation(&self, _id: OperationId) -> Result<Option<OperationView>, StoreError> {
        unread()
    }

    async fn operations(
        &self,
        _list: ListOf,
        _after: Option<OperationId>,
        _limit: usize,
    ) -> Result<Option<Vec<OperationView>>, StoreError> {
        unread()
    }

    async fn batch(&self, _batch_no: u32) -> Result<Option<BatchView>, StoreError> {
        unread()
    }

    async fn batches(&self, _below: u32, _limit: usize) -> Result<Vec<BatchView>, StoreError> {
        unread()
    }

    async fn promises(&self, _id: OperationId) -> Result<Option<KeptPromises>, StoreError> {
        unread()
    }

    async fn keep(&self, _signed: &[(OperationId, Signatures)]) -> Result<(), StoreError> {
        unread()
    }
}

impl Store for SimStore {
    fn history(&self) -> Arc<dyn History> {
        Arc::new(Unread)
    }

    fn is_incomplete(&mut self) -> Result<bool, StoreError> {
        Ok(false)
    }

    fn now(&mut self) -> Result<Option<u64>, StoreError> {
        let world = self.world.lock();
        self.reachable(&world)?;
        let now = world.time.now().saturating_add_signed(world.disk.skew);
        Ok((world.bug != Some(Bug::NoOtherClock)).then_some(now))
    }

    fn bind(&mut self, _deployment: &str) -> Result<(), StoreError> {
        Ok(())
    }

    fn lead(&mut self) -> Result<Leadership, StoreError> {
        let mut guard = self.world.lock();
        let world = &mut *guard;
        self.reachable(world)?;
        let lost = || StoreError::Unavailable("whether this one leads".to_owned());
        if world.fault(40) {
            return Err(lost());
        }
        let now = world.time.now();
        if !self.leads(world) {
            if let Some(holder) = world.disk.leader.filter(|_| now < world.disk.expires_at) {
                self.term = 0;
                return Ok(Leadership::Following { holder: holder.to_string() });
            }
            world.disk.leader = Some(self.holder);
            world.disk.term += 1;
            self.term = world.disk.term;
            let (holder, term) = (self.holder, self.term);
            world.say(|| format!("process {holder} wins term {term}"));
        }
        world.disk.expires_at = now + LEASE;
        if world.fault(40) { Err(lost()) } else { Ok(Leadership::Leading { term: self.term }) }
    }

    fn replay(
        &mut self,
        after: u64,
        each: &mut dyn FnMut(u64, Stamped) -> Result<(), StoreError>,
    ) -> Result<Option<Checkpoint>, StoreError> {
        let world = self.world.lock();
        self.reachable(&world)?;
        let forgets = world.bug == Some(Bug::KeysAreForgotten);
        let short = usize::from(world.bug == Some(Bug::ReplayStopsShort));
        let end = world.disk.log.len().saturating_sub(short);
        for (sequence, stamped) in (1..).zip(&world.disk.log[..end]).skip(after as usize) {
            let mut stamped = stamped.clone();
            if let Event::Accepted(accepted) = &mut stamped.event
                && forgets
            {
                accepted.idempotency_key.push('?');
            }
            each(sequence, stamped)?;
        }
        let there = |(at, _): &&(u64, Checkpoint)| *at <= world.disk.log.len() as u64;
        Ok(world.disk.checkpoints.iter().rev().find(there).map(|(_, checkpoint)| *checkpoint))
    }

    fn commit(&mut self, first: u64, events: &[Stamped], rows: &[Row]) -> Result<(), StoreError> {
        let mut guard = self.world.lock();
        let world = &mut *guard;
        self.reachable(world)?;
        self.dies(world, Death::BeforeWrite)?;
        if world.fault(40) {
            world.seen.outages += 1;
            world.say(|| "the store does not answer; nothing is written".to_owned());
            return Err(StoreError::Unavailable("before the write".to_owned()));
        }
        let written = world.disk.log.len() as u64;
        let there = (first - 1) as usize..(first - 1) as usize + events.len();
        if world.disk.log.get(there).is_some_and(|there| there == events) {
            return Ok(());
        }
        let fenced = world.bug != Some(Bug::DeposedWrites);
        if fenced && (!self.leads(world) || first <= written) {
            return Err(self.deposed(world));
        }
        if world.bug == Some(Bug::CommitIsLost) && world.fault(30) {
            return Ok(());
        }
        assert!(world.bug != Some(Bug::StorePanics) || !world.fault(30), "planted");
        if first > written + 1 && world.disk.newest.is_some() {
            return Err(StoreError::Unusable("it would leave a gap".to_owned()));
        }
        if fenced && first != written + 1 + world.disk.late.len() as u64 {
            world.breaks(|| format!("events are written from number {first} on, and {written} are there"));
            return Err(StoreError::Unusable("the numbers do not fit".to_owned()));
        }
        if world.bug == Some(Bug::CommitIsLate) {
            let before = std::mem::replace(&mut world.disk.late, events.to_vec());
            world.write(&before);
        } else {
            world.write(events);
        }
        for row in rows {
            match row {
                Row::Batch(row) => {
                    let (batch_no, root) = (row.batch.batch_no, row.batch.new_root);
                    let last = world.disk.checkpoints.last();
                    if last.is_none_or(|(_, last)| last.batch_no <= batch_no) {
                        let at = world.disk.log.len() as u64;
                        world.disk.checkpoints.push((at, Checkpoint { batch_no, root }));
                    }
                }
                Row::Line(line) => world.disk.lines.push(line.clone()),
                _ => {}
            }
        }
        if fenced {
            world.disk.expires_at = world.time.now() + LEASE;
        }
        self.dies(world, Death::AfterWrite)?;
        if world.fault(40) {
            world.seen.outages += 1;
            world.say(|| "the store wrote, and its answer is lost".to_owned());
            return Err(StoreError::Unavailable("after the write".to_owned()));
        }
        Ok(())
    }

    fn lines(&mut self, batch_no: u32) -> Result<Vec<Line>, StoreError> {
        let world = self.world.lock();
        self.reachable(&world)?;
        Ok(world.disk.lines.iter().filter(|line| line.batch_no == batch_no).cloned().collect())
    }
}

impl Drop for SimStore {
    /// What was not written when the process ended never will be.
    fn drop(&mut self) {
        self.world.lock().disk.late.clear();
    }
}

/// An event in few words.
fn brief(event: &Event) -> String {
    match event {
        Event::KeyRegistered(key) => format!("key of {} epoch {}", key.owner[0], key.key_epoch),
        Event::Accepted(accepted) => format!(
            "{:?} {} of {} at batch {} place {} spends {:?}",
            accepted.kind,
            accepted.idempotency_key,
            accepted.sender[0],
            accepted.batch_no,
            accepted.place,
            accepted.spends.iter().map(|spend| spend.index).collect::<Vec<_>>()
        ),
        Event::Sealed(sealed) => format!(
            "sealed {} {} mints {} forced {}",
            sealed.batch_no, sealed.shape, sealed.mints, sealed.forced
        ),
        Event::TakenIn { to, deposits, forced } => {
            format!("taken in to block {}: {} deposits {} forced", to.number, deposits.len(), forced.len())
        }
        Event::Proven(proof) => {
            format!("proven {} attempt {} by {}", proof.batch_no, proof.attempt, proof.worker)
        }
        Event::Farm(record) => format!("{record:?}"),
        Event::Settlement(record) => {
            let mut text = format!("{record:?}");
            text.truncate(60);
            text
        }
        other => format!("{other:?}"),
    }
}
