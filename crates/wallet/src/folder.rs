//! The folder beside the wallet file: what was signed, what was promised, and what was wrong.
//!
//! Invariant: an entry is whole or not there, also after a power cut (written under another name, synced, renamed, folder
//! synced), and an entry that cannot be read stops the wallet instead of being passed over. One command at a time changes it.
//! It belongs to one account in one contract: another wallet that comes to the same folder is refused.
//!
//! | in it | holds |
//! |---|---|
//! | `wallet.json` | whose folder it is |
//! | `requests` | signed operations from before they are sent until they are settled ([`crate::request`]) |
//! | `promises` | the operator's promises until their batch is on L1 ([`crate::promise`]) |
//! | `transactions` | L1 transactions from before they are sent until they are reported ([`crate::journal`]) |
//! | `evidence` | answers that were not what was signed |

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use eyre::{Context, bail};
use protocol::{Address, checksummed};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::error::WalletError;

/// How long one command waits for another.
const LOCK_PATIENCE: Duration = Duration::from_secs(180);
const LOCK_POLL: Duration = Duration::from_millis(50);

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shelf {
    /// Signed operations.
    Requests,
    /// Promises of the operator that are not settled.
    Promises,
    /// L1 transactions that are not reported.
    Transactions,
    /// Answers that were not what was signed.
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

/// What a shelf holds, with the version of its format.
pub trait Entry: Serialize + DeserializeOwned {
    /// The only version that is read.
    const VERSION: u32;
}

/// Whose folder it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Belongs {
    version: u32,
    owner: String,
    chain_id: u64,
    contract: String,
}

impl Entry for Belongs {
    const VERSION: u32 = 1;
}

/// The folder of one account in one contract.
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

    /// Opens a folder, or makes it.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn open(path: PathBuf) -> eyre::Result<Self> {
        for shelf in Shelf::ALL {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true);
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            let folder = path.join(shelf.name());
            if folder.is_dir() {
                continue;
            }
            builder.create(&folder).wrap_err_with(|| format!("cannot make {}", folder.display()))?;
            // A synced entry in a folder that a power cut takes away is no entry.
            for made in [&folder, &path] {
                sync_parent(made)
                    .wrap_err_with(|| format!("cannot sync the parent of {}", made.display()))?;
            }
        }
        Ok(Self { path })
    }

    /// Whether a folder beside a wallet file that is not there yet holds entries.
    pub fn left_beside(wallet: &Path) -> Option<PathBuf> {
        let path = wallet.with_extension("d");
        let holds =
            |shelf: &Shelf| fs::read_dir(path.join(shelf.name())).is_ok_and(|mut one| one.next().is_some());
        Shelf::ALL.iter().any(holds).then_some(path)
    }

    /// Writes down whose folder it is, or compares.
    ///
    /// # Errors
    /// `OtherFolder` for the folder of another account or contract.
    pub fn bind(&self, owner: &Address, chain_id: u64, contract: &Address) -> eyre::Result<()> {
        let (owner, contract) = (checksummed(owner), checksummed(contract));
        let ours = Belongs { version: Belongs::VERSION, owner, chain_id, contract };
        let path = self.path.join("wallet.json");
        if !path.exists() {
            return write_atomically(&path, &serde_json::to_vec_pretty(&ours)?);
        }
        let theirs: Belongs = read(path)?;
        if theirs != ours {
            let Belongs { owner, chain_id, contract, .. } = theirs;
            bail!(WalletError::OtherFolder { folder: self.path.clone(), owner, chain_id, contract });
        }
        Ok(())
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

    /// Where an entry is.
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

    /// Removes an entry; there need be none.
    ///
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
    /// `Stored` for the first that cannot be read, or is of another version.
    pub fn all<T: Entry>(&self, shelf: Shelf) -> eyre::Result<Vec<T>> {
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

fn read<T: Entry>(path: PathBuf) -> Result<T, WalletError> {
    let entry = (|| {
        let text = fs::read(&path).map_err(|error| error.to_string())?;
        let value: serde_json::Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
        let version = value.get("version").and_then(serde_json::Value::as_u64);
        if version != Some(T::VERSION.into()) {
            let found =
                version.map_or_else(|| "no version".to_owned(), |version| format!("version {version}"));
            return Err(format!("it is of {found}, this program reads version {}", T::VERSION));
        }
        serde_json::from_value(value).map_err(|error| error.to_string())
    })();
    entry.map_err(|reason| WalletError::Stored { path, reason })
}

/// Makes sure that a name in a folder survives a power cut.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

/// The old content or the new one, whatever happens; only its owner can read it.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> eyre::Result<()> {
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
        sync_parent(path)
    })();
    written.wrap_err_with(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct One {
        version: u32,
        what: u8,
    }

    impl Entry for One {
        const VERSION: u32 = 1;
    }

    const fn one(what: u8) -> One {
        One { version: 1, what }
    }

    #[test]
    fn entries_are_whole_or_refused_and_what_a_killed_command_left_is_none() {
        let place = tempfile::tempdir().unwrap();
        let wallet = place.path().join("w.json");
        let folder = Folder::beside(&wallet).unwrap();
        assert_eq!(Folder::left_beside(&wallet), None);
        folder.put(Shelf::Requests, "b", &one(2)).unwrap();
        folder.put(Shelf::Requests, "a", &one(1)).unwrap();
        assert_eq!(Folder::left_beside(&wallet), Some(place.path().join("w.d")));
        let left = folder.place(Shelf::Requests, "c").with_extension("json.1.tmp");
        fs::write(left, "{").unwrap();
        assert_eq!(folder.all::<One>(Shelf::Requests).unwrap(), [one(1), one(2)]);
        folder.remove(Shelf::Requests, "a").unwrap();
        folder.remove(Shelf::Requests, "a").unwrap();
        assert_eq!(folder.all::<One>(Shelf::Requests).unwrap(), [one(2)]);
        for (text, word) in
            [("{", "EOF"), (r#"{"version":2,"more":1}"#, "version 2"), (r#"{"what":1}"#, "no version")]
        {
            fs::write(folder.place(Shelf::Requests, "c"), text).unwrap();
            let refusal = folder.all::<One>(Shelf::Requests).unwrap_err().to_string();
            assert!(refusal.starts_with("PM-WALLET-018") && refusal.contains("c.json"), "{refusal}");
            assert!(refusal.contains(word), "{refusal}");
        }
    }

    #[test]
    fn a_folder_belongs_to_one_account_in_one_contract() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path().join("w.d")).unwrap();
        folder.bind(&[1; 20], 5, &[2; 20]).unwrap();
        folder.bind(&[1; 20], 5, &[2; 20]).unwrap();
        for (owner, chain, contract) in [([3; 20], 5, [2; 20]), ([1; 20], 6, [2; 20]), ([1; 20], 5, [3; 20])]
        {
            let refusal = folder.bind(&owner, chain, &contract).unwrap_err().to_string();
            assert!(refusal.starts_with("PM-WALLET-025"), "{refusal}");
        }
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
