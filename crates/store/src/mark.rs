//! How far the log was when something was promised, kept outside the database.
//!
//! A database that was restored from a backup, or a replica that was behind its master, knows nothing of what was promised
//! since. Whoever leads on it would promise the same places again. So the high-water mark of what was promised is kept in
//! other places too, and a log that lies behind one of them, or holds another event there, is not led on.
//!
//! Invariant: a mark never claims an event that is not durable in the database, and the mark in the data directory covers
//! an event before anybody hears of the promise in it: commit, raise, answer. The other places follow; they are best
//! effort, since one mark is enough to notice.
//!
//! | file | concept |
//! |---|---|
//! | `mark` | the mark, and how a log is compared with all of them |
//! | `journal` | the mark in the data directory, with what was promised lately |
//! | `recent` | what was promised lately, for the list of what is missing |
//! | `follower` | a mark elsewhere, raised in the background |
//! | `redis` | the mark in the farm's Redis |

use std::{fmt, path::Path};

use protocol::OperationId;
use sequencer::state::event::Stamped;
use serde::{Deserialize, Serialize};

use crate::{Store, StoreError};

mod follower;
mod journal;
mod recent;
mod redis;

pub use follower::Follower;
pub use journal::Journal;
pub use recent::{Promised, Recent};
pub use redis::RedisMark;

/// How far the log was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HighWater {
    /// The number of the last event.
    pub sequence: u64,
    /// What it was: BLAKE3 of its encoding.
    pub digest: [u8; 32],
    /// The last batch that something was promised for.
    pub batch_no: u32,
    /// The latest deadline of a promise, Unix seconds.
    pub deadline: u64,
    /// The last operation that was promised.
    pub operation: Option<OperationId>,
}

/// What an event is, for a comparison.
pub fn digest(event: &Stamped) -> [u8; 32] {
    // Encoding an event into memory cannot fail; if it did, no digest would be equal to it.
    postcard::to_stdvec(event).map_or([0; 32], |bytes| blake3::hash(&bytes).into())
}

#[derive(Debug, thiserror::Error)]
pub enum MarkError {
    #[error(
        "PM-MARK-001: the high-water mark {file} cannot be used ({problem}); check the disk and the permissions of the data directory"
    )]
    File { file: String, problem: String },
    #[error("PM-MARK-002: the high-water mark in Redis cannot be used ({0}); check that Redis runs")]
    Redis(String),
}

/// A place where the mark is kept. Calls block.
pub trait Mark: Send {
    /// Where it is, for people.
    fn place(&self) -> String;

    /// # Errors
    /// `MarkError` if it cannot be read; nothing if there is none.
    fn read(&mut self) -> Result<Option<HighWater>, MarkError>;

    /// Raises it; one that is higher stays.
    ///
    /// # Errors
    /// `MarkError` if it cannot be written.
    fn raise(&mut self, to: &HighWater) -> Result<(), MarkError>;

    /// Sets it, lower too: an operator has accepted the loss of what was above.
    ///
    /// # Errors
    /// `MarkError` if it cannot be written.
    fn reset(&mut self, to: &HighWater) -> Result<(), MarkError>;
}

/// Whether a log that is behind what was promised is led on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Loss {
    #[default]
    Refuse,
    /// An operator has said that what is missing is lost for good.
    Accept,
}

/// All marks of a coordinator.
#[derive(Default)]
pub struct Marks {
    /// In the data directory, where there is one.
    pub journal: Option<Journal>,
    pub others: Vec<Box<dyn Mark>>,
    pub loss: Loss,
}

impl Marks {
    /// Those of a data directory and of other places.
    ///
    /// # Errors
    /// `MarkError::File`.
    pub fn open(
        folder: &Path,
        deployment: &str,
        others: Vec<Box<dyn Mark>>,
        loss: Loss,
    ) -> Result<Self, MarkError> {
        Ok(Self { journal: Some(Journal::open(folder, deployment)?), others, loss })
    }

    /// Compares a log with every mark that can be read. `last` is its last event and `recent` what it promised lately.
    ///
    /// # Errors
    /// `Behind`, or what the store answers. The second part of what comes back is which marks could not be read.
    pub fn compare(&mut self, store: &mut dyn Store, last: &HighWater) -> Result<Vec<String>, Compared> {
        let mut unread = Vec::new();
        let mut known: Vec<(String, HighWater)> = Vec::new();
        if let Some(journal) = &mut self.journal {
            known.extend(journal.read().map_err(Compared::Mark)?.map(|mark| (journal.place(), mark)));
        }
        for other in &mut self.others {
            match other.read() {
                Ok(mark) => known.extend(mark.map(|mark| (other.place(), mark))),
                Err(error) => unread.push(error.to_string()),
            }
        }
        compare(known, store, last, self.recent())?;
        Ok(unread)
    }

    /// What the data directory knows to be promised.
    pub fn recent(&self) -> Option<&Recent> {
        self.journal.as_ref().map(Journal::recent)
    }

    /// Leaves the list of what is missing in the data directory.
    pub fn listed(&self, mut behind: Behind) -> Behind {
        let written = self.journal.as_ref().filter(|_| !behind.missing.is_empty());
        behind.list = written.and_then(|journal| journal.list(&behind.missing));
        behind
    }

    /// The log is led on: from now on these marks follow it. `told`: what is wrong with those elsewhere.
    ///
    /// # Errors
    /// `MarkError` of the data directory.
    pub fn keep(
        mut self,
        reached: &HighWater,
        recent: &Recent,
        told: impl Fn(Option<String>) + Clone + Send + 'static,
    ) -> Result<Kept, MarkError> {
        if let Some(journal) = &mut self.journal {
            let noted = journal.read()?.map_or(0, |mark| mark.sequence);
            journal.note(&recent.after(noted), reached)?;
        }
        let followers: Vec<Follower> =
            self.others.into_iter().filter_map(|other| Follower::start(other, told.clone())).collect();
        followers.iter().for_each(|follower| follower.raise(*reached));
        Ok(Kept { journal: self.journal, followers, ..Kept::default() })
    }

    /// Sets every mark to where the log is.
    ///
    /// # Errors
    /// `MarkError` of the data directory; another place that cannot be written would refuse the next start.
    pub fn reset(&mut self, to: &HighWater, recent: &Recent) -> Result<(), MarkError> {
        if let Some(journal) = &mut self.journal {
            journal.adopt(to, recent)?;
        }
        self.others.iter_mut().try_for_each(|other| other.reset(to))
    }
}

/// The marks of a coordinator that leads.
#[derive(Default)]
pub struct Kept {
    journal: Option<Journal>,
    followers: Vec<Follower>,
    /// Raised by the loop itself, where nothing may run on another thread.
    #[cfg(feature = "testing")]
    beside: Vec<Box<dyn Mark>>,
}

impl Kept {
    /// Marks that the loop raises itself.
    #[cfg(feature = "testing")]
    pub fn beside(beside: Vec<Box<dyn Mark>>) -> Self {
        Self { beside, ..Self::default() }
    }

    /// What the data directory knows to be promised.
    pub fn recent(&self) -> Option<&Recent> {
        self.journal.as_ref().map(Journal::recent)
    }

    /// Compares a log that is led on again with every mark that can be read: others may have led meanwhile, and what they promised
    /// may be missing. Blocks. What comes back is which marks could not be read.
    ///
    /// # Errors
    /// `Behind`, or what the store answers.
    pub fn compare(&mut self, store: &mut dyn Store, last: &HighWater) -> Result<Vec<String>, Compared> {
        let mut read: Vec<Result<(String, Option<HighWater>), MarkError>> =
            self.followers.iter().map(Follower::read).collect();
        read.extend(self.journal.as_mut().map(|journal| Ok((journal.place(), journal.read()?))));
        #[cfg(feature = "testing")]
        read.extend(self.beside.iter_mut().map(|mark| Ok((mark.place(), mark.read()?))));
        let (mut known, mut unread) = (Vec::new(), Vec::new());
        for answer in read {
            match answer {
                Ok((place, mark)) => known.extend(mark.map(|mark| (place, mark))),
                Err(error) => unread.push(error.to_string()),
            }
        }
        compare(known, store, last, self.recent())?;
        Ok(unread)
    }

    /// Whether a mark elsewhere knows of more than it was raised to: another leads, or led.
    pub fn doubted(&self) -> bool {
        self.followers.iter().any(Follower::doubted)
    }

    /// Raises them over a round. The one in the data directory is durable when it returns.
    ///
    /// # Errors
    /// `MarkError` of the data directory: nobody may hear of what was promised.
    pub fn raise(&mut self, promised: &[Promised], reached: &HighWater) -> Result<(), MarkError> {
        if let Some(journal) = &mut self.journal {
            journal.note(promised, reached)?;
        }
        self.followers.iter().for_each(|follower| follower.raise(*reached));
        #[cfg(feature = "testing")]
        self.beside.iter_mut().try_for_each(|mark| mark.raise(reached))?;
        Ok(())
    }
}

impl HighWater {
    /// Moves over events that follow each other; what they promise.
    pub fn move_over(&mut self, log: &[Stamped]) -> Vec<Promised> {
        let mut promised = Vec::new();
        for stamped in log {
            self.sequence += 1;
            if let Some(one) = Promised::of(self.sequence, stamped) {
                self.batch_no = one.batch_no;
                self.deadline = self.deadline.max(one.deadline);
                self.operation = Some(one.id);
                promised.push(one);
            }
        }
        if let Some(last) = log.last() {
            self.digest = digest(last);
        }
        promised
    }
}

/// Whether the log has what each of these marks knows of. `last`: an event that it is known to have.
fn compare(
    known: Vec<(String, HighWater)>,
    store: &mut dyn Store,
    last: &HighWater,
    recent: Option<&Recent>,
) -> Result<(), Compared> {
    for (place, mark) in known {
        let found = match mark.sequence {
            0 => continue,
            sequence if sequence == last.sequence => Some(last.digest),
            sequence => event_digest(store, sequence).map_err(Compared::Store)?,
        };
        if found != Some(mark.digest) {
            let behind = Behind::new(place, mark, last.sequence, found.is_some()).with(recent);
            return Err(Compared::Behind(Box::new(behind)));
        }
    }
    Ok(())
}

fn event_digest(store: &mut dyn Store, sequence: u64) -> Result<Option<[u8; 32]>, StoreError> {
    let mut found = None;
    let read = store.replay(sequence - 1, &mut |_, stamped| {
        found = Some(digest(&stamped));
        Err(StoreError::Replay(String::new()))
    });
    match read {
        Ok(_) | Err(StoreError::Replay(_)) => Ok(found),
        Err(error) => Err(error),
    }
}

/// Why a log is not led on.
#[derive(Debug)]
pub enum Compared {
    Behind(Box<Behind>),
    Mark(MarkError),
    Store(StoreError),
}

/// A log that lacks what was promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    /// Where it is known from.
    pub place: String,
    pub known: HighWater,
    /// The last event of the log.
    pub found: u64,
    /// The log holds another event where the mark stands.
    pub replaced: bool,
    /// What is known to be promised and missing, oldest first.
    pub missing: Vec<Promised>,
    /// The file with all of it.
    pub list: Option<String>,
}

impl Behind {
    pub fn new(place: String, known: HighWater, found: u64, replaced: bool) -> Self {
        Self { place, known, found, replaced, missing: Vec::new(), list: None }
    }

    /// With what is missing. Where history was replaced, from which event on is not known.
    pub fn with(mut self, recent: Option<&Recent>) -> Self {
        let after = if self.replaced { 0 } else { self.found };
        self.missing = recent.map_or_else(Vec::new, |recent| recent.after(after));
        self
    }
}

/// Operations that the message names.
const NAMED: usize = 20;

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Behind { place, known, found, replaced, missing, list } = self;
        let sequence = known.sequence;
        if *replaced {
            write!(f, "event {sequence} of the database is another one than what was promised by it")?;
        } else {
            write!(f, "the database is behind what was promised: its log ends with event {found}")?;
        }
        write!(f, ", {place} knows of event {sequence} (batch {}", known.batch_no)?;
        if let Some(operation) = known.operation {
            write!(f, ", the last operation promised is {operation}, the last deadline {}", known.deadline)?;
        }
        write!(f, ")")?;
        if missing.is_empty() {
            write!(
                f,
                "; which promises are missing is not known here: the data directory of the coordinator that led has the list"
            )?;
        } else {
            let (count, doubt) = (missing.len(), if *replaced { " at most" } else { "" });
            let coins: u64 = missing.iter().map(|promised| promised.amount).sum();
            write!(f, "; {count} promised operations of {coins} coins are missing{doubt}:")?;
            for promised in missing.iter().take(NAMED) {
                write!(f, "\n  {promised}")?;
            }
            if count > NAMED {
                write!(f, "\n  and {} more", count - NAMED)?;
            }
            if let Some(list) = list {
                write!(f, "\n  (all of them are in {list})")?;
            }
            writeln!(f)?;
        }
        write!(
            f,
            " Restore the newest copy of the database, or let the replica catch up. If what is missing is lost for good, start \
             once with --accept-loss: those who hold the promises can claim them"
        )
    }
}

#[cfg(test)]
mod tests;
