//! The state as sections of bytes, for a snapshot: what holds them checks that they are whole.
//!
//! | file | concept |
//! |---|---|
//! | `snapshot` | the sections |
//! | `columns` | leaves and nodes |

use std::{collections::BTreeMap, sync::Arc};

use circuits::tree::DEPTH;
use protocol::{Address, OperationId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Batch, Operation, State, Touched, event::ProofAccepted, intake::Taken};
use crate::{
    batcher::Batcher,
    farm::Farm,
    layered::{Layered, Past},
    ledger::{Ledger, Remembered},
    rules::Rules,
    settlement::Settlement,
    tree::{Tree, TreeError},
};

mod columns;

/// Levels with so many nodes are hashed again before the state is used; the others in the background.
const TOP_NODES: u64 = 1 << 10;

/// The rest, the leaves, the nodes of each level, and what is only looked things up in, which may be decoded while the
/// coordinator already works.
pub const SECTIONS: usize = 1 + 1 + DEPTH + 1 + 2;

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

/// Why sections are no state.
#[derive(Debug, thiserror::Error)]
pub enum SectionError {
    #[error("PM-SNAPSHOT-002: it is {0}")]
    Unfit(&'static str),
    #[error("PM-SNAPSHOT-003: it cannot be read ({0})")]
    Malformed(#[from] postcard::Error),
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// The sections of a state.
///
/// # Errors
/// `Unfit` for a state that is not whole.
pub fn encode(state: &State) -> Result<Vec<Vec<u8>>, SectionError> {
    if !state.is_whole() {
        return Err(SectionError::Unfit("not whole: the snapshot before is still being read"));
    }
    let parallel = state.rules.parallel;
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
    let mut sections =
        vec![postcard::to_stdvec(&rest)?, columns::encode_leaves(state.ledger.leaves(), parallel)];
    sections.extend(state.tree.levels.iter().map(|level| columns::encode_elements(level, parallel)));
    sections.push(postcard::to_stdvec(&state.operations.iter().collect::<Vec<_>>())?);
    sections.push(postcard::to_stdvec(&state.ledger.idempotency.iter().collect::<Vec<_>>())?);
    Ok(sections)
}

/// The state of these sections, and what is still to be decoded of it.
///
/// # Errors
/// `SectionError` for what [`encode`] does not write.
pub fn decode(sections: &[&[u8]; SECTIONS], rules: &Arc<Rules>) -> Result<(State, Later), SectionError> {
    let (levels, lookups) = sections[2..].split_at(DEPTH + 1);
    let parallel = rules.parallel;
    let levels = || {
        levels.iter().map(|level| columns::decode_elements(level, parallel)).collect::<Result<Vec<_>, _>>()
    };
    let columns = || parallel.join(|| columns::decode_leaves(sections[1], parallel), levels);
    let (rest, (leaves, levels)) = parallel.join(|| read::<Rest>(sections[0]), columns);
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

/// What is decoded in the background.
pub struct Later {
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

    /// Decodes it: the state is whole then.
    ///
    /// # Errors
    /// `Malformed` for what [`encode`] does not write.
    pub fn decode(&self) -> Result<(), SectionError> {
        let [operations, idempotency] = &self.bytes;
        self.idempotency.arrive(read::<Vec<_>>(idempotency)?.into_iter().collect());
        self.operations.arrive(read::<Vec<_>>(operations)?.into_iter().collect());
        Ok(())
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, SectionError> {
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

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], SectionError> {
        let (taken, left) = self.0.split_first_chunk::<N>().ok_or(SectionError::Unfit("cut"))?;
        self.0 = left;
        Ok(*taken)
    }

    fn number(&mut self) -> Result<u64, SectionError> {
        Ok(u64::from_le_bytes(self.array()?))
    }
}
