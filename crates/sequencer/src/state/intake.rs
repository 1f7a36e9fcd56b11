//! How far L1's queues were taken in, and what a reorganisation of final blocks does to that.
//!
//! Only final blocks are read, so a replaced one means that finality was assumed too early. What waits in the batcher is
//! then exchanged for what the chain says now. What is sealed cannot be: its ranges and accounts are in a batch that was
//! promised on. If the chain still has the same entries (in other blocks, with other deadlines), their preimages are
//! renewed and the proofs still fit. If not, nothing is taken in, with an alarm that names the entry and its batch, until
//! the chain agrees again; every look asks anew.

use std::collections::VecDeque;

use protocol::{
    Stage,
    l1::{Deposit, ForcedRequest, Logs},
};

use super::{
    State, StateError,
    decide::Failure,
    event::{Cursor, Event, IntakeRecord, ReadAgain, Stamped},
};

/// Recorded positions kept to find the one that a reorganisation left in place.
const POSITIONS: usize = 128;

/// Why nothing is taken in from L1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    #[error(
        "PM-INTAKE-001: {what} {found} follows where {expected} was due; a log is missing, deposits stop until the node \
         gives all"
    )]
    Gap { what: &'static str, found: u64, expected: u64 },
    #[error(
        "PM-INTAKE-005: deposit {id} brings coins from {found} on where {expected} was due; the blocks are not of one chain, \
         deposits stop until the node gives those that follow"
    )]
    Coins { id: u64, found: u64, expected: u64 },
    #[error("PM-INTAKE-002: blocks up to {to} were taken in before; deposits stop")]
    Backwards { to: u64 },
    #[error(
        "PM-INTAKE-003: block {block} was final and is another one now, and none of the blocks recorded before is left; \
         check that the node is of the right chain, and raise the confirmations"
    )]
    TooDeep { block: u64 },
    #[error(
        "PM-INTAKE-004: {what} {id} is sealed in batch {batch_no}, and a reorganisation of final blocks {change}; nothing is \
         taken in until the chain has it again. If it never does, batch {batch_no} cannot be settled: raise the \
         confirmations and restore the deposit"
    )]
    Sealed { what: &'static str, id: u64, batch_no: u32, change: &'static str },
    #[error("{reason}")]
    Contract { batch_no: u32, reason: String },
}

impl IntakeError {
    /// The batch it concerns.
    pub fn batch_no(&self) -> Option<u32> {
        match self {
            Self::Sealed { batch_no, .. } | Self::Contract { batch_no, .. } => Some(*batch_no),
            _ => None,
        }
    }
}

/// What the next entries must be: they follow on without a gap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Due {
    /// Id of the next deposit.
    deposits: u64,
    /// Id of the next forced request.
    forced: u64,
    /// The last coin that was deposited.
    coins: u64,
}

impl Due {
    fn check(&self, deposits: &[Deposit], forced: &[ForcedRequest]) -> Result<(), IntakeError> {
        gapless("deposit", deposits, self.deposits)?;
        gapless("forced request", forced, self.forced)?;
        let mut expected = self.coins + 1;
        for deposit in deposits {
            let found = deposit.range.low();
            if found != expected {
                return Err(IntakeError::Coins { id: deposit.id, found, expected });
            }
            expected = deposit.range.high().saturating_add(1);
        }
        Ok(())
    }

    fn after(&self, deposits: &[Deposit], forced: &[ForcedRequest]) -> Self {
        Self {
            deposits: self.deposits + deposits.len() as u64,
            forced: self.forced + forced.len() as u64,
            coins: deposits.last().map_or(self.coins, |last| last.range.high()),
        }
    }
}

/// A recorded position, and what is due after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Position {
    at: Cursor,
    due: Due,
}

#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Taken {
    positions: VecDeque<Position>,
    /// Whether older positions were forgotten.
    forgotten: bool,
    due: Due,
    stopped: Option<String>,
}

impl Taken {
    pub fn advance(&mut self, to: Cursor, deposits: &[Deposit], forced: &[ForcedRequest]) {
        self.due = self.due.after(deposits, forced);
        if self.positions.len() == POSITIONS {
            self.positions.pop_front();
            self.forgotten = true;
        }
        self.positions.push_back(Position { at: to, due: self.due });
    }

    pub fn note(&mut self, record: &IntakeRecord) {
        self.stopped = match record {
            IntakeRecord::Stopped { reason, .. } => Some(reason.clone()),
            IntakeRecord::Resumed => None,
        };
    }

    /// What is due after a position; everything where nothing is kept.
    fn due_after(&self, kept: Option<Cursor>) -> Option<Due> {
        let Some(kept) = kept else { return (!self.forgotten).then(Due::default) };
        Some(self.positions.iter().find(|position| position.at == kept)?.due)
    }

    fn back_to(&mut self, kept: Option<Cursor>) {
        let due = self.due_after(kept).unwrap_or_default();
        self.positions.retain(|position| kept.is_some_and(|kept| position.at.number <= kept.number));
        self.due = due;
    }
}

/// Whether an entry that was read again can stand for the one that is sealed: everything that the batch's data binds, and
/// who is credited. Its block, transaction, depositor and deadline may differ; they are only preimage.
trait SameEntry {
    fn id(&self) -> u64;
    fn same(&self, other: &Self) -> bool;
}

impl SameEntry for Deposit {
    fn id(&self) -> u64 {
        self.id
    }

    fn same(&self, other: &Self) -> bool {
        (self.id, self.owner, self.key_hash, self.account, self.range)
            == (other.id, other.owner, other.key_hash, other.account, other.range)
    }
}

impl SameEntry for ForcedRequest {
    fn id(&self) -> u64 {
        self.id
    }

    fn same(&self, other: &Self) -> bool {
        (self.id, self.kind, self.index, self.account, self.new_account, self.owner)
            == (other.id, other.kind, other.index, other.account, other.new_account, other.owner)
    }
}

fn gapless<T: SameEntry>(what: &'static str, entries: &[T], from: u64) -> Result<(), IntakeError> {
    match entries.iter().map(SameEntry::id).zip(from..).find(|(found, expected)| found != expected) {
        Some((found, expected)) => Err(IntakeError::Gap { what, found, expected }),
        None => Ok(()),
    }
}

/// Entries of final batches are compared by the contract's root alone, but they must be there.
fn at_least(what: &'static str, found: u64, expected: u64) -> Result<(), IntakeError> {
    if found < expected { Err(IntakeError::Gap { what, found, expected }) } else { Ok(()) }
}

fn check_sealed<T: SameEntry>(
    what: &'static str,
    batch_no: u32,
    sealed: &[T],
    again: &[T],
    from: u64,
) -> Result<(), IntakeError> {
    for entry in sealed.iter().filter(|entry| entry.id() >= from) {
        let change = match again.get((entry.id() - from) as usize) {
            Some(now) if now.same(entry) => continue,
            Some(_) => "put another one in its place",
            None => "removed it",
        };
        return Err(IntakeError::Sealed { what, id: entry.id(), batch_no, change });
    }
    Ok(())
}

fn renew<T: SameEntry + Clone>(sealed: &mut [T], again: &[T], from: u64) {
    for entry in sealed.iter_mut().filter(|entry| entry.id() >= from) {
        if let Some(now) = again.get((entry.id() - from) as usize) {
            entry.clone_from(now);
        }
    }
}

impl State {
    /// The last block whose logs were taken in.
    pub fn cursor(&self) -> Option<Cursor> {
        self.taken.positions.back().map(|position| position.at)
    }

    /// The blocks recorded so far that are remembered, newest first, and whether these are all.
    pub fn recorded(&self) -> (Vec<Cursor>, bool) {
        (self.taken.positions.iter().rev().map(|position| position.at).collect(), !self.taken.forgotten)
    }

    /// The ids that the next deposit and the next forced request must have.
    pub fn next_ids(&self) -> (u64, u64) {
        (self.taken.due.deposits, self.taken.due.forced)
    }

    /// Why nothing is taken in, if so.
    pub fn intake_stopped(&self) -> Option<&str> {
        self.taken.stopped.as_deref()
    }

    /// Takes in the logs up to and including block `to`.
    ///
    /// # Errors
    /// An `IntakeError` stops the intake; `StateError` if the cores disagree, which would be a bug.
    pub fn take_in(
        &mut self,
        to: Cursor,
        logs: Logs,
        now: u64,
        log: &mut Vec<Stamped>,
    ) -> Result<(), Failure<IntakeError>> {
        let event = self.decide_intake(to, logs).map_err(Failure::Rejected)?;
        self.record([event], now, log)?;
        Ok(())
    }

    fn decide_intake(&self, to: Cursor, logs: Logs) -> Result<Event, IntakeError> {
        if self.cursor().is_some_and(|cursor| to.number <= cursor.number) {
            return Err(IntakeError::Backwards { to: to.number });
        }
        let Logs { deposits, forced, .. } = logs;
        self.taken.due.check(&deposits, &forced)?;
        Ok(Event::TakenIn { to, deposits, forced })
    }

    /// Exchanges everything behind the recorded block `kept` for what the chain says now, up to and including `to`.
    ///
    /// # Errors
    /// An `IntakeError` stops the intake; `StateError` if the cores disagree, which would be a bug.
    pub fn read_again(
        &mut self,
        kept: Option<Cursor>,
        to: Cursor,
        logs: Logs,
        now: u64,
        log: &mut Vec<Stamped>,
    ) -> Result<(), Failure<IntakeError>> {
        let event = self.decide_reading_again(kept, to, logs).map_err(Failure::Rejected)?;
        self.record([event], now, log)?;
        Ok(())
    }

    fn decide_reading_again(
        &self,
        kept: Option<Cursor>,
        to: Cursor,
        logs: Logs,
    ) -> Result<Event, IntakeError> {
        let Some(replaced) = self.cursor() else { return Err(IntakeError::Backwards { to: to.number }) };
        let Some(due) = self.taken.due_after(kept) else {
            return Err(IntakeError::TooDeep { block: replaced.number });
        };
        let (deposit, request) = (due.deposits, due.forced);
        let Logs { deposits, forced, .. } = logs;
        let (sealed_deposits, sealed_forced) = self.sealed_ids();
        due.check(&deposits, &forced)?;
        for batch in self.batches.values().filter(|batch| batch.stage() < Stage::Final) {
            check_sealed("deposit", batch.batch_no, &batch.mints, &deposits, deposit)?;
            check_sealed("forced request", batch.batch_no, &batch.forced, &forced, request)?;
        }
        at_least("deposit", deposit + deposits.len() as u64, sealed_deposits)?;
        at_least("forced request", request + forced.len() as u64, sealed_forced)?;
        Ok(Event::ReadAgain(Box::new(ReadAgain { replaced, kept, to, deposits, forced })))
    }

    /// Records that the intake stopped or goes on, if that is news.
    ///
    /// # Errors
    /// `StateError` if the cores disagree, which would be a bug.
    pub fn note_intake(
        &mut self,
        record: IntakeRecord,
        now: u64,
        log: &mut Vec<Stamped>,
    ) -> Result<(), StateError> {
        let reason = match &record {
            IntakeRecord::Stopped { reason, .. } => Some(reason.as_str()),
            IntakeRecord::Resumed => None,
        };
        let news = reason != self.intake_stopped();
        self.record(news.then_some(Event::Intake(record)), now, log).map(drop)
    }

    /// The ids that the next deposit and the next forced request to be sealed have.
    fn sealed_ids(&self) -> (u64, u64) {
        let (deposits, forced) = self.batcher.waiting();
        (self.taken.due.deposits - deposits as u64, self.taken.due.forced - forced as u64)
    }

    pub(super) fn taken_again(&mut self, again: &ReadAgain, at: u64) -> Result<(), StateError> {
        let Some(due) = self.taken.due_after(again.kept) else {
            return Err(StateError::Log("blocks read again from an unknown position".to_owned()));
        };
        let (deposit, request) = (due.deposits, due.forced);
        let (sealed_deposits, sealed_forced) = self.sealed_ids();
        // Those of final batches too: if that is undone, the preimages of now are needed.
        for batch in self.batches.values_mut() {
            renew(&mut batch.mints, &again.deposits, deposit);
            renew(&mut batch.forced, &again.forced, request);
        }
        let from = |base: u64, sealed: u64| (sealed.saturating_sub(base)) as usize;
        let deposits = again.deposits.get(from(deposit, sealed_deposits)..).unwrap_or_default().to_vec();
        let forced = again.forced.get(from(request, sealed_forced)..).unwrap_or_default().to_vec();
        self.batcher.take_in_again(
            (deposit.max(sealed_deposits), deposits),
            (request.max(sealed_forced), forced),
            at,
        );
        self.taken.back_to(again.kept);
        self.taken.advance(again.to, &again.deposits, &again.forced);
        self.touched.cursor = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use circuits::{leaf::CoinRange, shape::Shape};

    use super::*;
    use crate::testkit::{Bench, Holder, rules};

    fn deposit(holder: &Holder, id: u64, low: u64, high: u64) -> Deposit {
        Deposit {
            id,
            owner: holder.owner,
            key_hash: holder.key_hash,
            account: holder.account,
            range: CoinRange::new(low, high).unwrap(),
            depositor: holder.owner,
            deadline: 0,
            block: 9,
            tx: [0; 32],
        }
    }

    fn stopped(outcome: Result<(), Failure<IntakeError>>) -> IntakeError {
        outcome.unwrap_err().rejected().unwrap()
    }

    #[test]
    fn deposits_whose_coins_do_not_follow_on_are_not_taken_in() {
        let alice = Holder::new(1);
        let mut bench = Bench::new(rules(&[Shape::S3M1]));
        bench.deposit(&alice, 1_000);
        let (events, to) = (bench.log.len(), Cursor { number: 9, hash: [9; 32] });
        // A reorganisation between two reads: the same ids, other coins.
        for (low, high) in [(1, 10), (901, 1_900), (1_002, 1_100)] {
            let logs = Logs { deposits: vec![deposit(&alice, 1, low, high)], ..Logs::default() };
            let outcome = stopped(bench.state.take_in(to, logs, 2_000, &mut bench.log));
            assert_eq!(outcome, IntakeError::Coins { id: 1, found: low, expected: 1_001 });
            assert_eq!(bench.log.len(), events);
        }
        let both = vec![deposit(&alice, 1, 1_001, 1_010), deposit(&alice, 2, 1_011, 1_020)];
        let logs = Logs { deposits: both.clone(), ..Logs::default() };
        bench.state.take_in(to, logs, 2_000, &mut bench.log).unwrap();

        // Read again from the first block on: what follows there counts.
        let to = Cursor { number: 10, hash: [10; 32] };
        let kept = bench.state.recorded().0.last().copied();
        let again = Logs { deposits: both[1..].to_vec(), ..Logs::default() };
        let outcome = stopped(bench.state.read_again(kept, to, again, 3_000, &mut bench.log));
        assert!(matches!(outcome, IntakeError::Gap { found: 2, expected: 1, .. }), "{outcome:?}");
        let again = Logs { deposits: vec![deposit(&alice, 1, 1_011, 1_020)], ..Logs::default() };
        let outcome = stopped(bench.state.read_again(kept, to, again, 3_000, &mut bench.log));
        assert_eq!(outcome, IntakeError::Coins { id: 1, found: 1_011, expected: 1_001 });
        let again = Logs { deposits: both, ..Logs::default() };
        bench.state.read_again(kept, to, again, 3_000, &mut bench.log).unwrap();
    }
}
