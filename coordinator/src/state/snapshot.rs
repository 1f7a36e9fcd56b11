//! The state as a file, so that a start reads it and replays only the events after it.
//!
//! Invariant: a snapshot is a cache and never the truth. It is written beside its name and renamed when it is on the disk;
//! it is bound to the deployment, the layout and the number of its last event; and one that is damaged, cut, older than
//! the layout or of another deployment is passed over for an older one or for the whole log, which gives the same state.
//! Whoever loads it compares its root with the store's, as after any replay.
//!
//! The sections are decoded side by side, and what is only looked things up in follows in the background.
//!
//! | file | concept |
//! |---|---|
//! | `snapshot` | the file and its sections |
//! | `columns` | leaves and nodes |

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use circuits::tree::DEPTH;
use protocol::{Address, OperationId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    Batch, Operation, State, Touched,
    event::{ProofAccepted, VERSION},
    intake::Taken,
};
use crate::{
    batcher::Batcher,
    config::Rules,
    farm::Farm,
    layered::{Layered, Past},
    ledger::{Ledger, Remembered},
    settlement::Settlement,
    tree::{Tree, TreeError},
};

mod columns;

const MAGIC: &[u8; 8] = b"PM-SNAP\x06";
const EXTENSION: &str = "snapshot";
/// Snapshots that are kept: the newest, and one before it in case the newest is damaged.
const KEPT: usize = 2;
/// Levels with so many nodes are hashed again before the state is used; the others in the background.
const TOP_NODES: u64 = 1 << 10;

/// What has no section of its own.
#[derive(Serialize, Deserialize)]
struct Rest {
    ledger: Ledger,
    tree: Tree,
    batcher: Batcher,
    farm: Farm,
    settlement: Settlement,
    batches: BTreeMap<u32, Batch>,
    early_proofs: BTreeMap<u32, ProofAccepted>,
    taken: Taken,
    paused: bool,
    term: u64,
}

/// The sections of a file: the rest, the leaves, the nodes of each level, and what is only looked things up in, which is
/// decoded while the coordinator already works.
const SECTIONS: usize = 1 + 1 + DEPTH + 1 + 2;

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
    #[error("PM-SNAPSHOT-003: it cannot be read ({0})")]
    Malformed(#[from] postcard::Error),
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl Snapshots {
    /// # Errors
    /// If the folder cannot be made.
    pub fn open(folder: &Path, deployment: &str) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned(), deployment: deployment.to_owned() })
    }

    /// Of no folder: what it encodes and decodes stays in memory.
    #[cfg(feature = "sim")]
    pub(crate) fn in_memory(deployment: &str) -> Self {
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
    pub(crate) fn encode(&self, state: &State, sequence: u64) -> Result<Vec<Vec<u8>>, SnapshotError> {
        let rest = RestRef {
            ledger: &state.ledger,
            tree: &state.tree,
            batcher: &state.batcher,
            farm: &state.farm,
            settlement: &state.settlement,
            batches: &state.batches,
            early_proofs: &state.early_proofs,
            taken: &state.taken,
            paused: state.paused,
            term: state.term,
        };
        let mut sections = vec![postcard::to_stdvec(&rest)?, columns::encode_leaves(state.ledger.leaves())];
        sections.extend(state.tree.levels.iter().map(|level| columns::encode_elements(level)));
        sections.push(postcard::to_stdvec(&state.operations.iter().collect::<Vec<_>>())?);
        sections.push(postcard::to_stdvec(&state.ledger.idempotency.iter().collect::<Vec<_>>())?);
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
        later.start(path)?;
        Ok(state)
    }

    pub(crate) fn decode(
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
        let mut sections = Vec::with_capacity(SECTIONS);
        for length in lengths {
            sections.push(reader.take(length)?);
        }
        let (levels, lookups) = sections[2..].split_at(DEPTH + 1);
        let (rest, (leaves, levels)) = rayon::join(
            || decode::<Rest>(sections[0]),
            || {
                rayon::join(
                    || columns::decode_leaves(sections[1]),
                    || {
                        levels
                            .iter()
                            .map(|level| columns::decode_elements(level))
                            .collect::<Result<Vec<_>, _>>()
                    },
                )
            },
        );
        let mut rest = rest?;
        (rest.ledger.leaves, rest.ledger.owned) = leaves?;
        rest.tree.levels = levels?;
        rest.tree.check(TOP_NODES)?;
        rest.batcher.restart(rules.shapes.clone(), rules.seal);
        rest.farm.restart(rules.farm, rules.keys.clone(), rules.capacity.clone());
        rest.settlement.restart(rules.settlement);
        let later = Later::new(lookups);
        rest.ledger.idempotency = Layered::over(Arc::clone(&later.idempotency));
        let state = State {
            rules: Arc::clone(rules),
            ledger: rest.ledger,
            tree: rest.tree,
            batcher: rest.batcher,
            farm: rest.farm,
            settlement: rest.settlement,
            batches: rest.batches,
            operations: Layered::over(Arc::clone(&later.operations)),
            early_proofs: rest.early_proofs,
            taken: rest.taken,
            paused: rest.paused,
            term: rest.term,
            touched: Touched::default(),
        };
        Ok((state, later))
    }
}

/// What is decoded in the background.
pub(crate) struct Later {
    bytes: [Vec<u8>; 2],
    operations: Arc<Past<OperationId, Arc<Operation>>>,
    idempotency: Arc<Past<(Address, Arc<str>), Remembered>>,
}

impl Later {
    fn new(sections: &[&[u8]]) -> Self {
        Self {
            bytes: std::array::from_fn(|i| sections[i].to_vec()),
            operations: Past::new(),
            idempotency: Past::new(),
        }
    }

    fn start(self, path: &Path) -> io::Result<()> {
        let path = path.to_owned();
        let decode = move || {
            if let Err(error) = self.decode() {
                // The checksum was right, so this is a bug; without these maps an operation could be accepted twice.
                tracing::error!(%error, "the snapshot is removed and the process ends; start it again");
                let _ = fs::remove_file(&path);
                std::process::abort();
            }
        };
        std::thread::Builder::new().name("snapshot".to_owned()).spawn(decode).map(|_| ())
    }

    /// Decodes it; who looked something up meanwhile waits for this.
    pub(crate) fn decode(&self) -> Result<(), SnapshotError> {
        let [operations, idempotency] = &self.bytes;
        self.idempotency.arrive(decode::<Vec<_>>(idempotency)?.into_iter().collect());
        self.operations.arrive(decode::<Vec<_>>(operations)?.into_iter().collect());
        Ok(())
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, SnapshotError> {
    Ok(postcard::from_bytes(bytes)?)
}

/// As [`Rest`], without owning it.
#[derive(Serialize)]
struct RestRef<'a> {
    ledger: &'a Ledger,
    tree: &'a Tree,
    batcher: &'a Batcher,
    farm: &'a Farm,
    settlement: &'a Settlement,
    batches: &'a BTreeMap<u32, Batch>,
    early_proofs: &'a BTreeMap<u32, ProofAccepted>,
    taken: &'a Taken,
    paused: bool,
    term: u64,
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], SnapshotError> {
        let (taken, left) = self.0.split_at_checked(length).ok_or(SnapshotError::Unfit("cut"))?;
        self.0 = left;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        self.take(N)?.try_into().map_err(|_| SnapshotError::Unfit("cut"))
    }

    fn number(&mut self) -> Result<u64, SnapshotError> {
        Ok(u64::from_le_bytes(self.array()?))
    }
}

#[cfg(test)]
mod tests;
