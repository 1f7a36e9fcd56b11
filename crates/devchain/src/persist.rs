//! Keeps the operations of a chain in an append-only log and replays them at the start.
//!
//! Invariants:
//! - An operation is answered only after its entry is on the disk ([`Log::flush`]); an entry is handed to the operating
//!   system before the chain's lock is released, so a killed process loses nothing that was answered.
//! - The log holds exactly the operations applied, in order; each entry repeats the head's hash after it, so a replay
//!   that comes out differently is noticed at the first entry that differs.
//! - One process at a time: the folder's `lock` file is locked while the log is open.
//!
//! - `mod.rs`: opens, replays and appends
//! - `frame.rs`: entries on disk, torn ends, checksums
//! - `codec.rs`: operations as RLP

mod codec;
mod frame;

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fs4::fs_std::FileExt;

use crate::Error;
use crate::chain::{Chain, Genesis, Op};

const LOG_FILE: &str = "chain.log";
const LOCK_FILE: &str = "lock";
/// A child that its process has just forked holds a copy of the lock until it executes its program: a lock that was given
/// back a moment ago can still look taken.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);
const LOCK_POLL: Duration = Duration::from_millis(10);

/// The log's writing side. [`Log::append`] needs the chain's lock, [`Log::flush`] does not.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    /// Entries written.
    entries: u64,
    flusher: Arc<Flusher>,
    /// Held for as long as the log is open.
    _lock: File,
}

/// Waits for entries to reach the disk; callers that wait together share one flush.
#[derive(Debug)]
pub struct Flusher {
    path: PathBuf,
    file: File,
    written: AtomicU64,
    flushed: Mutex<u64>,
}

/// A log entry's place: hand it to [`Flusher::wait`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

impl Log {
    /// Opens the folder (creating it if needed) and replays its log. `fresh` is the genesis for a new folder, and has
    /// to agree with an old one in everything but the timestamp.
    ///
    /// # Errors
    /// If the folder is in use, belongs to another chain, or is damaged other than by a torn last entry.
    pub fn open(folder: &Path, fresh: Genesis) -> Result<(Self, Chain), Error> {
        std::fs::create_dir_all(folder).map_err(storage("create", folder))?;
        let lock = lock(&folder.join(LOCK_FILE))?;
        let path = folder.join(LOG_FILE);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(storage("open", &path))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(storage("read", &path))?;
        let frames = frame::split(&bytes).map_err(|damage| Error::Damaged {
            path: path.clone(),
            offset: damage.offset,
            reason: damage.reason.to_owned(),
        })?;
        let length = frames.length;
        if length < bytes.len() as u64 {
            tracing::warn!(path = %path.display(), from = length, "the log's torn last entry is cut off");
            file.set_len(length).map_err(storage("shorten", &path))?;
        }
        file.seek(SeekFrom::Start(length)).map_err(storage("read", &path))?;
        let flusher = Flusher {
            path: path.clone(),
            file: file.try_clone().map_err(storage("open", &path))?,
            written: AtomicU64::new(0),
            flushed: Mutex::new(0),
        };
        let mut log = Self { path, file, entries: 0, flusher: Arc::new(flusher), _lock: lock };
        let chain = match frames.payloads.split_first() {
            None => log.begin(fresh, folder)?,
            Some((first, rest)) => log.replay(first, rest, &fresh)?,
        };
        Ok((log, chain))
    }

    fn begin(&mut self, genesis: Genesis, folder: &Path) -> Result<Chain, Error> {
        self.file.set_len(0).map_err(storage("shorten", &self.path))?;
        self.file.seek(SeekFrom::Start(0)).map_err(storage("write", &self.path))?;
        self.file.write_all(frame::MAGIC).map_err(storage("write", &self.path))?;
        let ticket = self.write(&codec::encode_genesis(&genesis))?;
        self.flusher.wait(ticket)?;
        // The folder's own entry for the new file has to be on the disk too.
        File::open(folder).and_then(|dir| dir.sync_all()).map_err(storage("write", folder))?;
        Ok(Chain::new(genesis))
    }

    fn replay(&mut self, first: &[u8], rest: &[&[u8]], fresh: &Genesis) -> Result<Chain, Error> {
        let damaged = |entry, reason| Error::Replay { path: self.path.clone(), entry, reason };
        let genesis = codec::decode_genesis(first).map_err(|error| damaged(0, error.to_string()))?;
        let differs = |what: String| Err(Error::OtherChain { path: self.path.clone(), what });
        if genesis.chain_id != fresh.chain_id {
            return differs(format!("chain id {}, not {}", genesis.chain_id, fresh.chain_id));
        }
        if genesis.block_gas_limit != fresh.block_gas_limit {
            return differs(format!(
                "block gas limit {}, not {}",
                genesis.block_gas_limit, fresh.block_gas_limit
            ));
        }
        if genesis.accounts != fresh.accounts {
            return differs("other funded accounts".to_owned());
        }
        let mut chain = Chain::new(genesis);
        for (payload, entry) in rest.iter().zip(1u64..) {
            let (op, recorded) =
                codec::decode_op(payload).map_err(|error| damaged(entry, error.to_string()))?;
            chain.apply(&op).map_err(|error| damaged(entry, error.to_string()))?;
            let found = chain.head().hash;
            if found != recorded {
                return Err(Error::Diverged { entry, recorded, found });
            }
        }
        self.entries = 1 + rest.len() as u64;
        Ok(chain)
    }

    /// Hands the operation just applied to the operating system. `head` is the hash of the head after it.
    ///
    /// # Errors
    /// If writing fails; the chain must not go on then.
    pub fn append(&mut self, op: &Op, chain: &Chain) -> Result<Ticket, Error> {
        self.write(&codec::encode_op(op, chain.head().hash))
    }

    fn write(&mut self, payload: &[u8]) -> Result<Ticket, Error> {
        let bytes = frame::frame(self.entries, payload);
        self.file.write_all(&bytes).map_err(storage("write", &self.path))?;
        self.entries += 1;
        self.flusher.written.store(self.entries, Ordering::Release);
        Ok(Ticket(self.entries))
    }

    /// The part that waits for the disk.
    #[must_use]
    pub fn flusher(&self) -> Arc<Flusher> {
        self.flusher.clone()
    }
}

impl Flusher {
    /// Returns when the entry is on the disk.
    ///
    /// # Errors
    /// If flushing fails; the chain must not go on then.
    pub fn wait(&self, ticket: Ticket) -> Result<(), Error> {
        let mut flushed = self.flushed.lock().map_err(|_| Error::Poisoned)?;
        if *flushed >= ticket.0 {
            return Ok(());
        }
        let written = self.written.load(Ordering::Acquire);
        self.file.sync_data().map_err(storage("flush", &self.path))?;
        *flushed = written;
        Ok(())
    }
}

fn lock(path: &Path) -> Result<File, Error> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(storage("open", path))?;
    let asked = Instant::now();
    loop {
        match FileExt::try_lock_exclusive(&file) {
            Ok(true) => return Ok(file),
            Ok(false) if asked.elapsed() < LOCK_PATIENCE => std::thread::sleep(LOCK_POLL),
            Ok(false) => return Err(Error::Locked { path: path.to_owned() }),
            Err(source) => return Err(Error::Storage { action: "lock", path: path.to_owned(), source }),
        }
    }
}

fn storage(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Storage { action, path, source }
}
