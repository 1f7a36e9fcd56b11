//! Snapshots of the state as files, so that a start reads one and replays only the events after it.
//!
//! Invariant: a snapshot is a cache and never the truth. It is written beside its name and renamed when it is on the disk;
//! it is bound to the deployment, the layout and the number of its last event; and one that is damaged, cut, older than
//! the layout or of another deployment is passed over for an older one or for the whole log, which gives the same state.
//! Whoever loads it compares its root with the store's, as after any replay.
//!
//! What is only looked things up in is decoded in the background.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use sequencer::{
    rules::Rules,
    state::{
        State,
        event::VERSION,
        snapshot::{self, Later, SECTIONS, SectionError},
    },
};

const MAGIC: &[u8; 8] = b"PM-SNAP\x06";
const EXTENSION: &str = "snapshot";
/// Snapshots that are kept: the newest, and one before it in case the newest is damaged.
const KEPT: usize = 2;

/// A folder of snapshots of one deployment.
#[derive(Clone, Debug)]
pub struct Snapshots {
    folder: PathBuf,
    deployment: String,
}

/// Why a file is passed over.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("PM-SNAPSHOT-001: {0}")]
    Io(#[from] io::Error),
    #[error("PM-SNAPSHOT-002: it is {0}")]
    Unfit(&'static str),
    #[error(transparent)]
    Section(#[from] SectionError),
}

impl Snapshots {
    /// # Errors
    /// If the folder cannot be made.
    pub fn open(folder: &Path, deployment: &str) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned(), deployment: deployment.to_owned() })
    }

    /// Of no folder: what it encodes and decodes stays in memory.
    #[cfg(feature = "testing")]
    pub fn in_memory(deployment: &str) -> Self {
        Self { folder: PathBuf::new(), deployment: deployment.to_owned() }
    }

    /// The newest state that can be read, and the number of its last event. What is passed over is logged.
    pub fn load(&self, rules: &Arc<Rules>) -> Option<(State, u64)> {
        let names = self.names().unwrap_or_default();
        names.into_iter().rev().find_map(|(sequence, path)| match self.read(&path, sequence, rules) {
            Ok(state) => Some((state, sequence)),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a snapshot is passed over");
                None
            }
        })
    }

    /// Removes all of them: they are of a log that is lost.
    ///
    /// # Errors
    /// If one cannot be removed.
    pub fn clear(&self) -> io::Result<()> {
        self.names()?.into_iter().try_for_each(|(_, path)| fs::remove_file(path))
    }

    /// Writes a snapshot of the state after event `sequence`, and removes those no longer needed.
    ///
    /// # Errors
    /// If it cannot be written; older ones are untouched then.
    pub fn save(&self, state: &State, sequence: u64) -> Result<(), SnapshotError> {
        let parts = self.encode(state, sequence)?;
        let path = self.folder.join(format!("{sequence:020}.{EXTENSION}"));
        let partial = path.with_extension("partial");
        let mut file = fs::File::create(&partial)?;
        for part in &parts {
            file.write_all(part)?;
        }
        file.sync_all()?;
        wire::failpoint("snapshot.written");
        fs::rename(&partial, &path)?;
        wire::failpoint("snapshot.renamed");
        let names = self.names()?;
        for (_, old) in names.iter().rev().skip(KEPT) {
            fs::remove_file(old)?;
        }
        Ok(())
    }

    /// What a file holds, in parts.
    pub fn encode(&self, state: &State, sequence: u64) -> Result<Vec<Vec<u8>>, SnapshotError> {
        let mut sections = snapshot::encode(state)?;
        let mut head = MAGIC.to_vec();
        head.extend(VERSION.to_le_bytes());
        head.extend(sequence.to_le_bytes());
        head.extend(blake3::hash(self.deployment.as_bytes()).as_bytes());
        for section in &sections {
            head.extend((section.len() as u64).to_le_bytes());
        }
        let mut hash = blake3::Hasher::new();
        hash.update(&head);
        for section in &sections {
            hash.update_rayon(section);
        }
        let mut parts = vec![hash.finalize().as_bytes().to_vec(), head];
        parts.append(&mut sections);
        Ok(parts)
    }

    /// Oldest first.
    fn names(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            if let Some(sequence) = stem.filter(|_| path.extension().is_some_and(|e| e == EXTENSION)) {
                names.push((sequence, path));
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn read(&self, path: &Path, sequence: u64, rules: &Arc<Rules>) -> Result<State, SnapshotError> {
        let (state, later) = self.decode(&fs::read(path)?, sequence, rules)?;
        decode_later(later, path)?;
        Ok(state)
    }

    pub fn decode(
        &self,
        bytes: &[u8],
        sequence: u64,
        rules: &Arc<Rules>,
    ) -> Result<(State, Later), SnapshotError> {
        let unfit = |wrong| SnapshotError::Unfit(wrong);
        let (checksum, body) = bytes.split_at_checked(32).ok_or(unfit("cut"))?;
        if blake3::Hasher::new().update_rayon(body).finalize().as_bytes() != checksum {
            return Err(unfit("damaged"));
        }
        let mut reader = Reader(body);
        if reader.take(MAGIC.len())? != MAGIC || reader.take(4)? != VERSION.to_le_bytes() {
            return Err(unfit("of another version"));
        }
        if reader.number()? != sequence {
            return Err(unfit("named after another event"));
        }
        if reader.take(32)? != blake3::hash(self.deployment.as_bytes()).as_bytes() {
            return Err(unfit("of another deployment"));
        }
        let mut lengths = [0; SECTIONS];
        for length in &mut lengths {
            *length = usize::try_from(reader.number()?).map_err(|_| unfit("cut"))?;
        }
        let mut sections = [&[] as &[u8]; SECTIONS];
        for (section, length) in sections.iter_mut().zip(lengths) {
            *section = reader.take(length)?;
        }
        Ok(snapshot::decode(&sections, rules)?)
    }
}

/// Decodes the rest on a thread of its own.
fn decode_later(later: Later, path: &Path) -> io::Result<()> {
    let path = path.to_owned();
    let decode = move || {
        if let Err(error) = later.decode() {
            // The checksum was right, so this is a bug; without these maps an operation could be accepted twice.
            tracing::error!(%error, "the snapshot is removed and the process ends; start it again");
            let _ = fs::remove_file(&path);
            std::process::abort();
        }
    };
    std::thread::Builder::new().name("snapshot".to_owned()).spawn(decode).map(|_| ())
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], SnapshotError> {
        let (taken, left) = self.0.split_at_checked(length).ok_or(SnapshotError::Unfit("cut"))?;
        self.0 = left;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u64, SnapshotError> {
        let bytes = self.take(8)?.try_into().map_err(|_| SnapshotError::Unfit("cut"))?;
        Ok(u64::from_le_bytes(bytes))
    }
}

#[cfg(test)]
mod tests;
