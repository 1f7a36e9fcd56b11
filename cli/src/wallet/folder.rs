//! The folder beside the wallet file: what was signed, what was promised, and what was wrong.
//!
//! Invariant: an entry is whole or not there, also after a power cut (written under another name, synced, renamed, folder
//! synced), and an entry that cannot be read stops the wallet instead of being passed over. One command at a time changes it.
//!
//! | folder | holds |
//! |---|---|
//! | `requests` | signed operations from before they are sent until they are settled ([`super::request`]) |
//! | `promises` | the operator's promises until their batch is on L1 ([`super::promise`]) |
//! | `transactions` | L1 transactions from before they are sent until they are reported ([`super::journal`]) |
//! | `evidence` | answers that were not what was signed |

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use eyre::Context;
use serde::{Serialize, de::DeserializeOwned};

use super::error::WalletError;

/// How long one command waits for another.
const LOCK_PATIENCE: Duration = Duration::from_secs(180);
const LOCK_POLL: Duration = Duration::from_millis(50);

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shelf {
    Requests,
    Promises,
    Transactions,
    Evidence,
}

impl Shelf {
    const ALL: [Self; 4] = [Self::Requests, Self::Promises, Self::Transactions, Self::Evidence];

    fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Promises => "promises",
            Self::Transactions => "transactions",
            Self::Evidence => "evidence",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

/// Held by the one command that may change the folder.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Folder {
    /// The folder of a wallet file: `proofmill-wallet.json` has `proofmill-wallet.d`.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn beside(wallet: &Path) -> eyre::Result<Self> {
        Self::open(wallet.with_extension("d"))
    }

    /// # Errors
    /// If it cannot be made.
    pub fn open(path: PathBuf) -> eyre::Result<Self> {
        for shelf in Shelf::ALL {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true);
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            let folder = path.join(shelf.name());
            builder.create(&folder).wrap_err_with(|| format!("cannot make {}", folder.display()))?;
        }
        Ok(Self { path })
    }

    /// Waits until no other command of this wallet is at work.
    ///
    /// # Errors
    /// `Locked` after a while.
    pub async fn lock(&self) -> eyre::Result<Lock> {
        let path = self.path.join("lock");
        let mut options = File::options();
        let file = options.create(true).truncate(false).write(true).open(&path);
        let file = file.wrap_err_with(|| format!("cannot open {}", path.display()))?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { _file: file }),
                Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_PATIENCE => {
                    tokio::time::sleep(LOCK_POLL).await;
                }
                Err(TryLockError::WouldBlock) => return Err(WalletError::Locked(path).into()),
                Err(TryLockError::Error(error)) => {
                    return Err(error).wrap_err_with(|| format!("cannot lock {}", path.display()));
                }
            }
        }
    }

    pub fn place(&self, shelf: Shelf, name: &str) -> PathBuf {
        self.path.join(shelf.name()).join(format!("{name}.json"))
    }

    /// Writes an entry, in place of the one of that name.
    ///
    /// # Errors
    /// If it is not surely on the disk.
    pub fn put<T: Serialize>(&self, shelf: Shelf, name: &str, entry: &T) -> eyre::Result<PathBuf> {
        let path = self.place(shelf, name);
        write_atomically(&path, &serde_json::to_vec_pretty(entry)?)?;
        Ok(path)
    }

    /// # Errors
    /// If it may still be there.
    pub fn remove(&self, shelf: Shelf, name: &str) -> eyre::Result<()> {
        let path = self.place(shelf, name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).wrap_err_with(|| format!("cannot remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// All entries, in order of their names.
    ///
    /// # Errors
    /// `Stored` for the first that cannot be read.
    pub fn all<T: DeserializeOwned>(&self, shelf: Shelf) -> eyre::Result<Vec<T>> {
        let folder = self.path.join(shelf.name());
        let mut paths = Vec::new();
        for entry in fs::read_dir(&folder).wrap_err_with(|| format!("cannot read {}", folder.display()))? {
            let path = entry?.path();
            // A `.tmp` that a killed command left was never an entry.
            if path.extension().is_some_and(|extension| extension == "json") {
                paths.push(path);
            }
        }
        paths.sort();
        // Another command may have removed one since the folder was read.
        let there = paths.into_iter().filter(|path| path.exists());
        there.map(|path| Ok(read(path)?)).collect()
    }
}

fn read<T: DeserializeOwned>(path: PathBuf) -> Result<T, WalletError> {
    let text = fs::read(&path).map_err(|error| error.to_string());
    let entry = text.and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string()));
    entry.map_err(|reason| WalletError::Stored { path, reason })
}

/// The old content or the new one, whatever happens; only its owner can read it.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> eyre::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = (|| -> io::Result<()> {
        let mut options = File::options();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        #[cfg(unix)]
        {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Ok(())
    })();
    written.wrap_err_with(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_whole_or_refused_and_what_a_killed_command_left_is_none() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::beside(&place.path().join("w.json")).unwrap();
        folder.put(Shelf::Requests, "b", &2).unwrap();
        folder.put(Shelf::Requests, "a", &1).unwrap();
        let left = folder.place(Shelf::Requests, "c").with_extension("json.1.tmp");
        fs::write(left, "{").unwrap();
        assert_eq!(folder.all::<u8>(Shelf::Requests).unwrap(), [1, 2]);
        folder.remove(Shelf::Requests, "a").unwrap();
        folder.remove(Shelf::Requests, "a").unwrap();
        assert_eq!(folder.all::<u8>(Shelf::Requests).unwrap(), [2]);
        fs::write(folder.place(Shelf::Requests, "c"), "{").unwrap();
        let refusal = folder.all::<u8>(Shelf::Requests).unwrap_err().to_string();
        assert!(refusal.starts_with("PM-WALLET-018") && refusal.contains("c.json"), "{refusal}");
    }

    #[tokio::test]
    async fn one_command_at_a_time_changes_the_folder() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path().join("w.d")).unwrap();
        let first = folder.lock().await.unwrap();
        let second = tokio::time::timeout(3 * LOCK_POLL, folder.lock()).await;
        assert!(second.is_err(), "it waits");
        drop(first);
        folder.lock().await.unwrap();
    }
}
