//! The state as a file, so that a start reads it and replays only the events after it.
//!
//! Invariant: a snapshot is a cache and never the truth. It is written beside its name and renamed when it is on the disk;
//! it is bound to the deployment, the layout and the number of its last event; and one that is damaged, cut, older than
//! the layout or of another deployment is passed over for an older one or for the whole log, which gives the same state.
//! Whoever loads it compares its root with the store's, as after any replay.
//!
//! The sections are decoded side by side: a million leaves are there in about a second.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    Batch, Operation, State, Touched,
    event::{Cursor, OperationId, ProofAccepted, VERSION},
};
use crate::{
    batcher::Batcher,
    config::Rules,
    farm::Farm,
    ledger::Ledger,
    service::Address,
    settlement::Settlement,
    tree::{Tree, TreeError},
};
use std::collections::{BTreeMap, HashMap};

const MAGIC: &[u8; 8] = b"PM-SNAP\x01";
const EXTENSION: &str = "snapshot";
/// Snapshots that are kept: the newest, and one before it in case the newest is damaged.
const KEPT: usize = 2;
/// Levels with so many nodes are hashed again before the state is used; the others in the background.
const TOP_NODES: u64 = 1 << 10;

/// What all the other sections are not.
#[derive(Serialize, Deserialize)]
struct Rest {
    batcher: Batcher,
    farm: Farm,
    settlement: Settlement,
    batches: BTreeMap<u32, Batch>,
    early_proofs: BTreeMap<u32, ProofAccepted>,
    cursor: Option<Cursor>,
    taken_deposits: u64,
    taken_forced: u64,
}

#[derive(Serialize, Deserialize)]
struct Operations {
    operations: HashMap<OperationId, Arc<Operation>>,
    operations_of: HashMap<Address, Vec<OperationId>>,
}

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

    /// Writes a snapshot of the state after event `sequence`, and removes those no longer needed.
    ///
    /// # Errors
    /// If it cannot be written; older ones are untouched then.
    pub fn save(&self, state: &State, sequence: u64) -> Result<(), SnapshotError> {
        let (operations, operations_of) = (&state.operations, &state.operations_of);
        let rest = RestRef {
            batcher: &state.batcher,
            farm: &state.farm,
            settlement: &state.settlement,
            batches: &state.batches,
            early_proofs: &state.early_proofs,
            cursor: state.cursor,
            taken_deposits: state.taken_deposits,
            taken_forced: state.taken_forced,
        };
        let sections = [
            postcard::to_stdvec(&state.tree)?,
            postcard::to_stdvec(&state.ledger)?,
            postcard::to_stdvec(&OperationsRef { operations, operations_of })?,
            postcard::to_stdvec(&rest)?,
        ];
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
        let path = self.folder.join(format!("{sequence:020}.{EXTENSION}"));
        let partial = path.with_extension("partial");
        let mut file = fs::File::create(&partial)?;
        file.write_all(hash.finalize().as_bytes())?;
        file.write_all(&head)?;
        for section in &sections {
            file.write_all(section)?;
        }
        file.sync_all()?;
        fs::rename(&partial, &path)?;
        let names = self.names()?;
        for (_, old) in names.iter().rev().skip(KEPT) {
            fs::remove_file(old)?;
        }
        Ok(())
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
        let bytes = fs::read(path)?;
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
        let lengths = [reader.number()?, reader.number()?, reader.number()?, reader.number()?];
        let mut sections = [&[][..]; 4];
        for (section, length) in sections.iter_mut().zip(lengths) {
            *section = reader.take(usize::try_from(length).map_err(|_| unfit("cut"))?)?;
        }
        let [tree, ledger, operations, rest] = sections;
        let ((tree, rest), (ledger, operations)) = rayon::join(
            || (decode::<Tree>(tree), decode::<Rest>(rest)),
            || rayon::join(|| decode::<Ledger>(ledger), || decode::<Operations>(operations)),
        );
        let (tree, mut ledger, operations, rest) = (tree?, ledger?, operations?, rest?);
        tree.check(TOP_NODES)?;
        ledger.index_leaves();
        let Rest { mut batcher, mut farm, mut settlement, batches, early_proofs, cursor, .. } = rest;
        batcher.restart(rules.shapes.clone(), rules.seal);
        farm.restart(rules.farm);
        settlement.restart(rules.settlement);
        Ok(State {
            rules: Arc::clone(rules),
            ledger,
            tree,
            batcher,
            farm,
            settlement,
            batches,
            operations: operations.operations,
            operations_of: operations.operations_of,
            early_proofs,
            cursor,
            taken_deposits: rest.taken_deposits,
            taken_forced: rest.taken_forced,
            touched: Touched::default(),
        })
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, SnapshotError> {
    Ok(postcard::from_bytes(bytes)?)
}

/// As [`Rest`], without owning it.
#[derive(Serialize)]
struct RestRef<'a> {
    batcher: &'a Batcher,
    farm: &'a Farm,
    settlement: &'a Settlement,
    batches: &'a BTreeMap<u32, Batch>,
    early_proofs: &'a BTreeMap<u32, ProofAccepted>,
    cursor: Option<Cursor>,
    taken_deposits: u64,
    taken_forced: u64,
}

/// As [`Operations`], without owning them.
#[derive(Serialize)]
struct OperationsRef<'a> {
    operations: &'a HashMap<OperationId, Arc<Operation>>,
    operations_of: &'a HashMap<Address, Vec<OperationId>>,
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
