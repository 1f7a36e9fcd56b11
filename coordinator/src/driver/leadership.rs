//! Whether this coordinator still leads, in which term, and with which time.
//!
//! Invariant: a leader that another one has replaced, whose log lacks what was promised, or whose clock cannot be believed, finds
//! out within a second although it has nothing to write.

use std::time::Instant;

use store::{
    Leadership, StoreError,
    mark::{Compared as Marked, digest},
};

use super::{Compared, Driver, LEAD_EVERY, StartError};

impl Driver {
    /// A leader that has nothing to write finds out too that another one leads.
    pub fn keep_leading(&mut self) -> Result<(), StartError> {
        if self.asked_to_lead.elapsed() < LEAD_EVERY {
            return Ok(());
        }
        if let Some(error) = self.status.get().damaged {
            return Err(StartError::State(error.into()));
        }
        self.asked_to_lead = Instant::now();
        self.tell();
        // Beyond what is promised as well. Nobody waits for that.
        if let Err(error) = self.marks.raise(&[], &self.reached) {
            tracing::warn!(%error, "the high-water mark stays behind");
        }
        match self.store.lead() {
            Ok(Leadership::Leading { term }) => {
                self.status.store_back();
                self.in_term(term)?;
                if self.marks.doubted() {
                    self.marks_agree()?;
                }
                self.look_at_clocks()
            }
            Ok(Leadership::Following { holder }) => Err(StoreError::Deposed { holder }.into()),
            Err(StoreError::Unavailable(reason)) => {
                self.status.store_away(reason);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Tells how things are.
    fn tell(&mut self) {
        let (now, status) = (self.time.now(), self.status.get());
        let lease = self.state.rules().farm.lease_ms;
        self.telemetry.look(&self.state, lease, status.head, self.term, now);
    }

    /// Compares this machine's time with the database's and L1's: what is promised by a wrong one could not be kept.
    pub fn look_at_clocks(&mut self) -> Result<(), StartError> {
        let database = match self.store.now() {
            Ok(database) => database,
            // It says so itself, and nothing is promised without it.
            Err(StoreError::Unavailable(_)) => return Ok(()),
            Err(error) => {
                tracing::warn!(%error, "the store does not say what time it is");
                None
            }
        };
        let head = self.status.head_time();
        let Compared { refuse, alarm, stepped } = self.time.compare(database, head);
        self.status.set(|status| (status.clock, status.clock_alarm) = (refuse, alarm));
        if stepped {
            let now = self.time.now();
            self.state.clock_was_set(now);
        }
        Ok(())
    }

    /// A term that was lost and won again may lie behind the term of another, whose events this state does not know.
    fn in_term(&mut self, term: u64) -> Result<(), StartError> {
        if term == self.term {
            return Ok(());
        }
        let (mut foreign, reached) = (false, self.reached);
        let mut there = reached.sequence == 0;
        let read = self.store.replay(reached.sequence.saturating_sub(1), &mut |number, stamped| {
            there |= number == reached.sequence && digest(&stamped) == reached.digest;
            foreign |= number > reached.sequence;
            Ok(())
        });
        match read {
            // Another server, which lacks what was promised here.
            Ok(_) if !there => Err(self.behind()?),
            Ok(_) if foreign => Err(StoreError::Deposed { holder: format!("before term {term}") }.into()),
            Ok(_) => {
                if !self.marks_agree()? {
                    return Ok(());
                }
                self.status.set(|status| status.term = term);
                self.term = term;
                Ok(())
            }
            // Asked again with the next look.
            Err(StoreError::Unavailable(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the log has what the marks know of: another may have led meanwhile, on a copy of the database that knows more than
    /// this one. False if the store does not answer; then it is asked again.
    pub fn marks_agree(&mut self) -> Result<bool, StartError> {
        match self.marks.compare(self.store.as_mut(), &self.reached) {
            Ok(unread) => {
                self.status.set(|status| status.mark_alarm = unread.into_iter().next());
                Ok(true)
            }
            Err(Marked::Behind(behind)) => Err(StartError::Behind(behind)),
            Err(Marked::Store(StoreError::Unavailable(_))) => Ok(false),
            Err(Marked::Store(error)) => Err(error.into()),
            Err(Marked::Mark(error)) => Err(error.into()),
        }
    }
}
