//! The running chain: the state machine behind a lock, the wall clock, and the log.
//!
//! Invariant: a call that changes the chain returns after its operations are on the disk. If a write fails, memory is
//! ahead of the disk and the node answers nothing but [`Error::Halted`] from then on.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use revm::primitives::{Address, B256, Bytes, U256};
use tokio::sync::watch;

use crate::chain::{Chain, Clock, Dropped, Effect, Genesis, Op};
use crate::config::{Config, Mining};
use crate::error::{Error, RuleError};
use crate::persist::{Log, Ticket};

/// Blocks in one call of [`Node::mine`].
pub const MAX_MINED: u64 = 100_000;

#[derive(Debug)]
struct Inner {
    chain: Chain,
    log: Option<Log>,
    mining: Mining,
    halted: bool,
}

/// A running chain. All methods may block for a disk flush.
#[derive(Debug)]
pub struct Node {
    inner: Mutex<Inner>,
    /// Depth of `finalized` and `safe`.
    pub(crate) finality_depth: u64,
    /// Tells the interval miner its period.
    period: watch::Sender<Option<Duration>>,
}

/// Operations being applied under one lock and one flush.
struct Session<'a> {
    inner: MutexGuard<'a, Inner>,
    ticket: Option<Ticket>,
}

impl Session<'_> {
    fn apply(&mut self, op: &Op) -> Result<Effect, Error> {
        let inner = &mut *self.inner;
        if inner.halted {
            return Err(Error::Halted);
        }
        let effect = inner.chain.apply(op)?;
        if let Some(log) = &mut inner.log {
            match log.append(op, &inner.chain) {
                Ok(ticket) => self.ticket = Some(ticket),
                Err(error) => {
                    inner.halted = true;
                    return Err(error);
                }
            }
        }
        Ok(effect)
    }

    /// With automine, makes a block if a transaction can run.
    fn automine(&mut self) -> Result<(), Error> {
        if self.inner.mining == Mining::Automine && self.inner.chain.has_ready() {
            self.mine_one()?;
        }
        Ok(())
    }

    fn mine_one(&mut self) -> Result<(), Error> {
        let timestamp = self.inner.chain.next_timestamp(now());
        self.apply(&Op::Mine { timestamp }).map(|_| ())
    }
}

impl Node {
    /// Opens or begins a chain.
    ///
    /// # Errors
    /// If the data folder cannot be used.
    pub fn open(config: &Config) -> Result<Self, Error> {
        let genesis = Genesis {
            chain_id: config.chain_id,
            block_gas_limit: config.block_gas_limit,
            timestamp: now(),
            accounts: config.accounts.clone(),
        };
        let (log, chain) = match &config.data_dir {
            Some(folder) => {
                let (log, chain) = Log::open(folder, genesis)?;
                (Some(log), chain)
            }
            None => (None, Chain::new(genesis)),
        };
        let period = watch::Sender::new(period_of(config.mining));
        let inner = Inner { chain, log, mining: config.mining, halted: false };
        let node = Self { inner: Mutex::new(inner), finality_depth: config.finality_depth, period };
        // A kill may have come between a transaction's entry and its block's; nobody else would make that block.
        node.change(|session| session.automine())?;
        Ok(node)
    }

    fn lock(&self) -> Result<MutexGuard<'_, Inner>, Error> {
        self.inner.lock().map_err(|_| Error::Poisoned)
    }

    /// Reads from the chain.
    ///
    /// # Errors
    /// If a thread died while it changed the chain.
    pub fn read<T>(&self, read: impl FnOnce(&Chain) -> T) -> Result<T, Error> {
        Ok(read(&self.lock()?.chain))
    }

    /// Changes the chain under one lock, and waits for the disk once.
    fn change<T>(&self, change: impl FnOnce(&mut Session<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let mut session = Session { inner: self.lock()?, ticket: None };
        let result = change(&mut session);
        let flusher = session.inner.log.as_ref().map(Log::flusher);
        let Session { inner, ticket } = session;
        drop(inner);
        // What was written before an error has to be flushed as well: others may see it.
        if let (Some(flusher), Some(ticket)) = (flusher, ticket)
            && let Err(error) = flusher.wait(ticket)
        {
            self.lock()?.halted = true;
            return Err(error);
        }
        result
    }

    /// Takes a raw transaction; with automine, also mines what can run.
    ///
    /// # Errors
    /// If the transaction is refused.
    pub fn submit(&self, raw: Bytes) -> Result<B256, Error> {
        self.change(|session| {
            let effect = session.apply(&Op::Submit(raw))?;
            let Effect::Queued(hash) = effect else { return Ok(B256::ZERO) };
            session.automine()?;
            Ok(hash)
        })
    }

    /// Makes `count` blocks, `interval` seconds apart (after the first), and returns the head's number.
    ///
    /// # Errors
    /// If they are too many.
    pub fn mine(&self, count: u64, interval: u64) -> Result<u64, Error> {
        if count > MAX_MINED {
            return Err(RuleError::TooManyBlocks { asked: count, limit: MAX_MINED }.into());
        }
        self.change(|session| {
            for index in 0..count {
                if index > 0 && interval > 0 {
                    session.advance(interval)?;
                }
                session.mine_one()?;
            }
            Ok(session.inner.chain.head().header.number)
        })
    }

    /// Makes one block with this timestamp, from which the clock goes on.
    ///
    /// # Errors
    /// If the timestamp is before the head's.
    pub fn mine_at(&self, timestamp: u64) -> Result<u64, Error> {
        self.change(|session| {
            session.set_next(timestamp)?;
            session.mine_one()?;
            Ok(session.inner.chain.head().header.number)
        })
    }

    /// Replaces the last `depth` blocks by as many empty ones.
    ///
    /// # Errors
    /// If fewer blocks can be undone.
    pub fn reorg(&self, depth: u64, dropped: Dropped) -> Result<(), Error> {
        self.change(|session| session.apply(&Op::Reorg { depth, dropped }).map(|_| ()))
    }

    /// Remembers the present state; the number is for [`Node::revert`].
    ///
    /// # Errors
    /// If too many snapshots are held.
    pub fn snapshot(&self) -> Result<u64, Error> {
        self.change(|session| match session.apply(&Op::Snapshot)? {
            Effect::Snapshot(id) => Ok(id),
            _ => Ok(0),
        })
    }

    /// Returns to a snapshot, which is used up with all later ones. False if there is none of this number.
    ///
    /// # Errors
    /// If the log cannot be written.
    pub fn revert(&self, id: u64) -> Result<bool, Error> {
        self.change(|session| Ok(session.apply(&Op::Revert(id))? == Effect::Reverted(true)))
    }

    /// Moves the clock ahead; returns the seconds by which it is ahead of the wall clock.
    ///
    /// # Errors
    /// If the clock would overflow.
    pub fn increase_time(&self, seconds: u64) -> Result<i64, Error> {
        self.change(|session| session.advance(seconds))
    }

    /// Sets the next block's timestamp; the clock goes on from there.
    ///
    /// # Errors
    /// If it is before the head's.
    pub fn set_next_timestamp(&self, timestamp: u64) -> Result<(), Error> {
        self.change(|session| session.set_next(timestamp))
    }

    /// Sets an account's balance in the head's state.
    ///
    /// # Errors
    /// If the log cannot be written.
    pub fn set_balance(&self, address: Address, balance: U256) -> Result<(), Error> {
        self.change(|session| session.apply(&Op::SetBalance(address, balance)).map(|_| ()))
    }

    /// When blocks are made from now on.
    ///
    /// # Errors
    /// If a thread died while it changed the chain.
    pub fn set_mining(&self, mining: Mining) -> Result<(), Error> {
        self.lock()?.mining = mining;
        self.period.send_replace(period_of(mining));
        Ok(())
    }

    /// When blocks are made.
    ///
    /// # Errors
    /// If a thread died while it changed the chain.
    pub fn mining(&self) -> Result<Mining, Error> {
        Ok(self.lock()?.mining)
    }

    /// The interval miner's period, to watch.
    pub(crate) fn period(&self) -> watch::Receiver<Option<Duration>> {
        self.period.subscribe()
    }
}

impl Session<'_> {
    fn advance(&mut self, seconds: u64) -> Result<i64, Error> {
        let clock = self.inner.chain.clock();
        let offset = i64::try_from(seconds)
            .ok()
            .and_then(|seconds| clock.offset.checked_add(seconds))
            .filter(|offset| offset.unsigned_abs() < MAX_OFFSET)
            .ok_or(RuleError::ClockRange(seconds))?;
        self.apply(&Op::SetClock(Clock { offset, ..clock }))?;
        Ok(offset)
    }

    fn set_next(&mut self, timestamp: u64) -> Result<(), Error> {
        let offset = i128::from(timestamp) - i128::from(now());
        let offset = i64::try_from(offset)
            .ok()
            .filter(|offset| offset.unsigned_abs() < MAX_OFFSET)
            .ok_or(RuleError::ClockRange(timestamp))?;
        self.apply(&Op::SetClock(Clock { offset, next: Some(timestamp) })).map(|_| ())
    }
}

/// The clock may be off by this many seconds: about three million years.
const MAX_OFFSET: u64 = 100_000_000_000_000;

fn period_of(mining: Mining) -> Option<Duration> {
    match mining {
        Mining::Interval(period) => Some(period.max(Duration::from_millis(1))),
        Mining::Automine | Mining::Manual => None,
    }
}

/// The wall clock in seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
