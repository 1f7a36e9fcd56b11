//! A backup of the database takes its place for a while: what was promised since is missing, and nobody may write on what is left.
//! Who has to notice is told by the high-water mark, which lies beside the database.

use sequencer::state::event::Stamped;
use store::{
    Store, StoreError,
    mark::{HighWater, Kept, Mark, MarkError, Marks},
};

use super::{
    Bug,
    world::{Shared, World},
};

/// Events that a backup lacks at most.
const OLDEST: u64 = 40;

/// The newest copy, while a backup is in its place.
pub struct Newest {
    /// What the backup lacks.
    tail: Vec<Stamped>,
}

impl World {
    /// Puts an old copy of the database in its place, one that lacks something that was promised.
    pub fn restore_backup(&mut self) {
        let Some(mark) = self.disk.mark.filter(|mark| mark.sequence > 1 && self.disk.newest.is_none()) else {
            return;
        };
        let kept = self.dice.within(mark.sequence.saturating_sub(OLDEST).max(1), mark.sequence - 1);
        let tail = self.disk.log.split_off(kept as usize);
        self.say(|| format!("a backup of the database is restored, up to event {kept}"));
        self.disk.newest = Some(Newest { tail });
        self.disk.expires_at = 0;
        // In the term of the leader, or of one before it.
        if self.dice.one_in(2) {
            (self.disk.leader, self.disk.term) = (None, self.disk.term.saturating_sub(1));
        }
        self.seen.restores += 1;
    }

    /// The newest copy is back.
    pub fn restore_newest(&mut self) {
        let Some(Newest { tail }) = self.disk.newest.take() else { return };
        self.say(|| "the newest copy of the database is back".to_owned());
        self.disk.log.extend(tail);
        // A failover, as any: whoever led under the backup does not any more.
        (self.disk.leader, self.disk.expires_at) = (None, 0);
        self.disk.term += 2;
    }
}

/// The mark in the data directory, which all processes share.
struct SimMark(Shared);

impl Mark for SimMark {
    fn place(&self) -> String {
        "the data directory".to_owned()
    }

    fn read(&mut self) -> Result<Option<HighWater>, MarkError> {
        let world = self.0.lock();
        Ok(world.disk.mark.filter(|_| world.bug != Some(Bug::MarkIsLost)))
    }

    fn raise(&mut self, to: &HighWater) -> Result<(), MarkError> {
        let mark = &mut self.0.lock().disk.mark;
        if mark.is_none_or(|mark| mark.sequence < to.sequence) {
            *mark = Some(*to);
        }
        Ok(())
    }

    fn reset(&mut self, to: &HighWater) -> Result<(), MarkError> {
        self.0.lock().disk.mark = Some(*to);
        Ok(())
    }
}

/// Compares a log with the mark, as `driver::start` does.
pub fn compare(
    world: &Shared,
    store: &mut dyn Store,
    last: &HighWater,
) -> Result<(), coordinator::StartError> {
    use coordinator::StartError;
    use store::mark::Compared;
    let mut marks = Marks { others: vec![Box::new(SimMark(world.clone()))], ..Marks::default() };
    match marks.compare(store, last) {
        Ok(_) => Ok(()),
        Err(Compared::Behind(behind)) => Err(StartError::Behind(behind)),
        Err(Compared::Store(error)) => Err(StartError::Store(error)),
        Err(Compared::Mark(error)) => Err(StartError::Store(StoreError::Unusable(error.to_string()))),
    }
}

/// What raises the mark of a coordinator that leads.
pub fn kept(world: &Shared) -> Kept {
    Kept::beside(vec![Box::new(SimMark(world.clone()))])
}
