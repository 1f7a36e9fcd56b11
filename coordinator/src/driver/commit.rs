//! A round to the store, and what follows when that is away, full, or refuses a value.
//!
//! | the store | what follows |
//! |---|---|
//! | does not answer | the same commit again until it does; what waits is answered then |
//! | refuses what is written (a full disk) | the state is read again once; then requests are refused at once and the store is tried now and then, on a copy of the state |
//! | refuses a value | the round is taken apart: each message alone, and only the one with the value is refused |
//! | belongs to another | the coordinator stops |

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sequencer::{
    rejection::Rejection,
    state::{State, event::Stamped, rows::Row},
};
use store::{Leadership, StoreError, mark::Behind};

use super::{
    AfterCommit, Committed, Driver, Message, RETRY, Replica, Snapshotter, StartError, points,
    replica::last_event,
};

/// A store that refuses is tried again after this, and after twice as long each time …
const FIRST_PROBE: Duration = Duration::from_millis(500);
/// … up to this.
const LONGEST_PROBE: Duration = Duration::from_secs(8);
/// One that took what was written for so long is as good as any.
const STEADY: Duration = Duration::from_secs(60);
/// Messages that wait for a store that refuses; what comes beyond is dropped, as by a failed commit.
const MOST_HELD: usize = 4_096;

/// What is known of a store that refuses, or did a while ago.
pub struct Refusing {
    /// Since when it takes what is written again.
    back: Option<Instant>,
    probe: Instant,
    pause: Duration,
    held: Vec<Message>,
}

impl Driver {
    /// What this round handles: everything, while all is well. A store that refuses is not tried for each message: requests
    /// are refused, questions answered, and the rest waits for the next try, which gets a copy of the state to go back to.
    pub(super) fn admitted(&mut self, group: Vec<Message>) -> Option<(Vec<Message>, Option<Box<State>>)> {
        let Some(refusing) = self.refusing.as_mut().filter(|refusing| refusing.back.is_none()) else {
            return Some((group, None));
        };
        for message in group {
            match message {
                // Whoever asked may have gone.
                Message::Submit(_, _, reply) => drop(reply.send(Err(Rejection::StoreTakesNothing))),
                Message::Register(_, reply) => drop(reply.send(Err(Rejection::StoreTakesNothing))),
                Message::Ask(question) => question(&self.state),
                Message::Lines(batch_no, reply) => {
                    drop(reply.send(self.store.lines(batch_no).map_err(|error| error.to_string())));
                }
                message if refusing.held.len() < MOST_HELD => refusing.held.push(message),
                _ => {}
            }
        }
        if Instant::now() < refusing.probe {
            return None;
        }
        Some((std::mem::take(&mut refusing.held), Some(Box::new(self.state.clone()))))
    }

    /// One durable transaction for the whole group. A store that does not answer is asked until it does: what waits is
    /// answered then, and the state stays right. One that refuses leaves nothing of the round.
    ///
    /// `before`: the state before the round, if the store refused what was written last.
    pub(super) fn commit(
        &mut self,
        log: &[Stamped],
        rows: &[Row],
        before: Option<Box<State>>,
    ) -> Result<Committed, StartError> {
        if log.is_empty() {
            return Ok(Committed::Yes);
        }
        let began = Instant::now();
        let mut outage = false;
        points::before_commit(log);
        loop {
            match self.store.commit(self.reached.sequence + 1, log, rows) {
                Ok(()) => break,
                Err(StoreError::Unavailable(reason)) if !self.status.stopping() => {
                    if !outage {
                        tracing::warn!(
                            reason,
                            "the store does not answer; the commit is repeated until it does"
                        );
                        outage = true;
                    }
                    metrics::counter!("proofmill_commit_retries_total").increment(1);
                    self.status.store_away(reason);
                    self.status.turns();
                    (self.pause)(RETRY);
                    while !self.win_again()? && !self.status.stopping() {
                        self.status.turns();
                        (self.pause)(RETRY);
                    }
                }
                Err(error @ (StoreError::Deposed { .. } | StoreError::Unavailable(_))) => {
                    return Err(error.into());
                }
                Err(error) => return self.refused(&error, before),
            }
        }
        points::after_commit(log);
        self.took();
        self.lost = None;
        self.raise_marks(log)?;
        self.status.store_back();
        metrics::histogram!("proofmill_commit_seconds").record(began.elapsed().as_secs_f64());
        Ok(Committed::Yes)
    }

    /// What the round promises is noted outside the database before anybody hears of it. Without that nobody does: it is tried
    /// until it succeeds, like a commit.
    fn raise_marks(&mut self, log: &[Stamped]) -> Result<(), StartError> {
        let promised = self.reached.move_over(log);
        if promised.is_empty() {
            return Ok(());
        }
        wire::failpoint("mark.before");
        while let Err(error) = self.marks.raise(&promised, &self.reached) {
            if self.status.stopping() {
                return Err(StartError::Mark(error));
            }
            tracing::error!(%error, "nothing is answered until it is noted");
            self.status.store_away(error.to_string());
            self.status.turns();
            (self.pause)(RETRY);
        }
        wire::failpoint("mark.after");
        Ok(())
    }

    /// The log is not the one that was written here.
    pub(super) fn behind(&mut self) -> Result<StartError, StartError> {
        let found = last_event(self.store.as_mut())?;
        let replaced = found >= self.reached.sequence;
        let place = "this coordinator, which led,".to_owned();
        let behind = Behind::new(place, self.reached, found, replaced).with(self.marks.recent());
        Ok(StartError::Behind(Box::new(behind)))
    }

    /// Nothing of the round is durable.
    fn refused(&mut self, error: &StoreError, before: Option<Box<State>>) -> Result<Committed, StartError> {
        metrics::counter!("proofmill_commit_failures_total").increment(1);
        match before {
            Some(before) => self.state = *before,
            None => {
                tracing::error!(%error, "nothing of this round is durable; the state is read again");
                self.status.reads(true);
                let read = self.reload();
                self.status.reads(false);
                read?;
                if matches!(error, StoreError::Value(_)) {
                    return Ok(Committed::NotAValue);
                }
            }
        }
        self.refuse(error.to_string());
        Ok(Committed::No)
    }

    /// Requests are refused from now on, until the store takes something.
    fn refuse(&mut self, reason: String) {
        let pause = match &self.refusing {
            Some(known) if known.back.is_none_or(|back| back.elapsed() < STEADY) => {
                (2 * known.pause).min(LONGEST_PROBE)
            }
            _ => FIRST_PROBE,
        };
        let probe = Instant::now() + pause;
        self.refusing = Some(Refusing { back: None, probe, pause, held: Vec::new() });
        self.status.set(|status| status.store_refuses = Some(reason));
    }

    /// The store took what was written.
    fn took(&mut self) {
        let Some(refusing) = self.refusing.as_mut().filter(|refusing| refusing.back.is_none()) else {
            return;
        };
        refusing.back = Some(Instant::now());
        self.status.set(|status| status.store_refuses = None);
        tracing::warn!("the store takes what is written again, and so do we");
    }

    /// The store refuses a value of a round: each of its messages alone, so that only the one with the value fails.
    pub(super) fn one_by_one(&mut self, after: Vec<AfterCommit>, size: usize) -> Result<(), StartError> {
        if size == 0 {
            // What the round did by itself, and would do again.
            self.refuse("it refuses a value of the coordinator's own; look into the log".to_owned());
        }
        let outcome = if size == 1 { Committed::Refused } else { Committed::NotAValue };
        let again: Vec<Message> = after.into_iter().flat_map(|after| after(&self.state, outcome)).collect();
        again.into_iter().try_for_each(|message| self.round(vec![message]))
    }

    /// While the store was away the lease may have run out. Winning it again is safe: had another written in between, the
    /// numbers of the events would not fit; and had a copy been restored that lacks that, the marks would tell. False if the store
    /// does not say.
    fn win_again(&mut self) -> Result<bool, StartError> {
        match self.store.lead() {
            Ok(Leadership::Leading { term }) if term != self.term => self.marks_agree(),
            Ok(Leadership::Leading { .. }) | Err(StoreError::Unavailable(_)) => Ok(true),
            Ok(Leadership::Following { holder }) => Err(StoreError::Deposed { holder }.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads the state again, for as long as the store does not answer.
    fn reload(&mut self) -> Result<(), StartError> {
        let rules = Arc::new(self.state.rules().clone());
        let snapshots = self.snapshots.as_ref().map(Snapshotter::snapshots);
        let mut replica = Replica::load(snapshots, rules);
        loop {
            match replica.catch_up_to_lead(self.store.as_mut()) {
                Ok(()) => break,
                Err(StartError::Store(StoreError::Unavailable(reason))) if !self.status.stopping() => {
                    self.status.store_away(reason);
                    (self.pause)(RETRY);
                    // The log is read again, and compared with what was reached here.
                    self.win_again()?;
                }
                Err(error) => return Err(error),
            }
        }
        let (state, reached, _) = replica.into_state();
        if reached.sequence > self.reached.sequence {
            return Err(StoreError::Deposed { holder: "unknown".to_owned() }.into());
        }
        if reached.sequence < self.reached.sequence || reached.digest != self.reached.digest {
            return Err(self.behind()?);
        }
        self.state = state;
        Ok(())
    }
}
