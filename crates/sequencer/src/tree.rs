//! The state tree as a data structure: 4-ary, append-only, hashed once per sealed batch.
//!
//! Invariant: the **state**, **proven** and **final** trees are views of one structure, `final <= proven <= state` by
//! batch number, and a view moves forward one batch at a time. Each batch leaves an undo (the nodes it changed, as they
//! were), forgotten some time after the batch is final: only those batches whose outcome L1 may still change cost extra
//! memory. Until then the final view can go back.
//!
//! A batch is hashed beside the tree ([`Tree::hashed`]) and applied when that is decided.
//!
//! Nodes live in one dense `Vec` per level up to the last place used: 32 bytes a node, 43 bytes a place all in.

use std::collections::{BTreeMap, HashMap};

use bn254::Fr;
use circuits::{
    batch::carried_level,
    poseidon,
    shape::Shape,
    tree::{ARITY, DEPTH, Siblings, digit, empty_root},
};
use serde::{Deserialize, Serialize};

use crate::parallel::Parallel;

/// Fewer hashes than this are not worth a thread.
const HASHES_PER_TASK: usize = 32;

/// What a sealed batch does to the tree.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    pub batch_no: u32,
    pub shape: Shape,
    pub start: u64,
    /// The leaves of the appended subtree, at most N + M; missing ones are empty.
    pub appended: &'a [Fr],
    /// The leaf that each slot opens, if it opens one.
    pub opened: &'a [Option<u64>],
    /// New leaves in slot order; a later one on the same index wins.
    pub written: &'a [(u64, Fr)],
}

/// Roots and paths of a batch, as `circuits::batch::BatchInput` wants them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    pub old_root: Fr,
    pub append_siblings: Vec<Siblings>,
    pub mid_root: Fr,
    /// After the append and before the first spend.
    pub carried_nodes: Vec<Fr>,
    /// For each slot, after the append and before the first spend; empty where it opens nothing.
    pub paths: Vec<Vec<Siblings>>,
    pub new_root: Fr,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    #[error(
        "PM-TREE-001: batch {given} cannot become {view} after batch {last}; views move one batch at a time"
    )]
    OutOfOrder { view: &'static str, given: u32, last: u32 },
    #[error("PM-TREE-002: the {view} view cannot pass batch {limit}; prove or settle that batch first")]
    Ahead { view: &'static str, limit: u32 },
    #[error(
        "PM-TREE-003: node {index} of level {level} is not the hash of its children; the snapshot is damaged: remove it, \
         the log gives the state again"
    )]
    Inconsistent { level: usize, index: u64 },
    #[error("PM-TREE-004: the final view cannot go back to batch {to}; what it takes is forgotten")]
    Forgotten { to: u32 },
}

/// Nodes by level and index.
type Nodes = HashMap<(usize, u64), Fr>;
type Undo = Nodes;

/// What a batch makes of the tree: every node that it changes.
#[derive(Clone, Debug)]
pub struct Hashed {
    batch_no: u32,
    new_root: Fr,
    nodes: Nodes,
}

/// The tree with nodes of a batch that is not applied.
struct Draft<'a> {
    tree: &'a Tree,
    nodes: Nodes,
}

impl Draft<'_> {
    fn node(&self, level: usize, index: u64) -> Fr {
        self.nodes.get(&(level, index)).copied().unwrap_or_else(|| self.tree.node(level, index))
    }

    /// Writes leaves and hashes every node above them once.
    fn write(&mut self, leaves: impl Iterator<Item = (u64, Fr)>, parallel: Parallel) {
        let mut touched: Vec<u64> = Vec::new();
        for (index, leaf) in leaves {
            self.nodes.insert((0, index), leaf);
            touched.push(index / ARITY as u64);
        }
        for level in 1..=DEPTH {
            touched.sort_unstable();
            touched.dedup();
            let hash = |parent: &u64| {
                let child = |i: usize| self.node(level - 1, parent * ARITY as u64 + i as u64);
                poseidon::hash4(std::array::from_fn(child))
            };
            let hashes = parallel.map(&touched, HASHES_PER_TASK, hash);
            for (parent, value) in touched.iter_mut().zip(hashes) {
                self.nodes.insert((level, *parent), value);
                *parent /= ARITY as u64;
            }
        }
    }
}

/// The siblings on the way from a leaf's node on level `from` up to level `to`.
fn siblings_by(index: u64, from: usize, to: usize, node: impl Fn(usize, u64) -> Fr) -> Vec<Siblings> {
    (from..to)
        .map(|level| {
            let own = index >> (2 * level);
            let first = own - digit(index, level) as u64;
            let mut others = (first..first + ARITY as u64).filter(|i| *i != own).map(|i| node(level, i));
            std::array::from_fn(|_| others.next().unwrap_or_default())
        })
        .collect()
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tree {
    /// `levels[k][i]`: node i on level k; nodes past the end are empty.
    #[serde(skip)]
    pub(crate) levels: Vec<Vec<Fr>>,
    /// Nodes changed by each batch that is not forgotten, as they were before it.
    undo: BTreeMap<u32, Undo>,
    /// Roots after each batch from the one before those on.
    roots: BTreeMap<u32, Fr>,
    state: u32,
    proven: u32,
    finalized: u32,
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            levels: vec![Vec::new(); DEPTH + 1],
            undo: BTreeMap::new(),
            roots: BTreeMap::from([(0, empty_root(DEPTH))]),
            state: 0,
            proven: 0,
            finalized: 0,
        }
    }
}

impl Tree {
    pub fn state_batch(&self) -> u32 {
        self.state
    }

    pub fn proven_batch(&self) -> u32 {
        self.proven
    }

    pub fn final_batch(&self) -> u32 {
        self.finalized
    }

    pub fn root(&self) -> Fr {
        self.node(DEPTH, 0)
    }

    /// The root after `batch_no`; nothing before the final batch or after the last.
    pub fn root_after(&self, batch_no: u32) -> Option<Fr> {
        self.roots.get(&batch_no).copied().filter(|_| batch_no >= self.finalized)
    }

    fn node(&self, level: usize, index: u64) -> Fr {
        self.levels[level].get(index as usize).copied().unwrap_or_else(|| empty_root(level))
    }

    /// A node as it was after `batch_no`, which is not below the final batch.
    fn node_after(&self, batch_no: u32, level: usize, index: u64) -> Fr {
        self.undo
            .range(batch_no + 1..)
            .find_map(|(_, undo)| undo.get(&(level, index)).copied())
            .unwrap_or_else(|| self.node(level, index))
    }

    /// Whether the nodes of the levels that have at most `nodes` of them are the hashes of their children; with `u64::MAX`
    /// every node is checked.
    ///
    /// # Errors
    /// `Inconsistent` for the first one that is not.
    pub fn check(&self, nodes: u64) -> Result<(), TreeError> {
        for level in (1..=DEPTH).rev() {
            let stored = &self.levels[level];
            if stored.len() as u64 > nodes {
                break;
            }
            let children =
                |parent: u64| std::array::from_fn(|i| self.node(level - 1, parent * ARITY as u64 + i as u64));
            let wrong = (0..stored.len()).find(|i| stored[*i] != poseidon::hash4(children(*i as u64)));
            if let Some(index) = wrong {
                return Err(TreeError::Inconsistent { level, index: index as u64 });
            }
        }
        let root = self.roots.get(&self.state).copied();
        if root == Some(self.root()) {
            Ok(())
        } else {
            Err(TreeError::Inconsistent { level: DEPTH, index: 0 })
        }
    }

    /// The path of a leaf after `batch_no`, from the leaf level to the root; nothing if that view is not kept.
    pub fn path_after(&self, batch_no: u32, index: u64) -> Option<Vec<Siblings>> {
        self.root_after(batch_no)
            .is_some()
            .then(|| siblings_by(index, 0, DEPTH, |level, i| self.node_after(batch_no, level, i)))
    }

    /// What a batch makes of the tree, which stays as it is; the change that comes next in order.
    ///
    /// # Errors
    /// `OutOfOrder` for any other batch.
    pub fn hashed(&self, change: &Change<'_>, parallel: Parallel) -> Result<(Hashed, Applied), TreeError> {
        self.check_order(change.batch_no)?;
        let mut next = Draft { tree: self, nodes: Nodes::new() };
        let old_root = self.root();
        let level = change.shape.subtree_levels();
        let append_siblings = siblings_by(change.start, level, DEPTH, |l, i| self.node(l, i));
        let outputs = change.appended.iter().enumerate().filter(|(_, leaf)| **leaf != Fr::default());
        next.write(outputs.map(|(i, leaf)| (change.start + i as u64, *leaf)), parallel);
        let mid_root = next.node(DEPTH, 0);
        let top = carried_level(change.shape);
        let carried_nodes = (0..1u64 << (2 * (DEPTH - top))).map(|i| next.node(top, i)).collect();
        let path = |index: u64| siblings_by(index, 0, top, |l, i| next.node(l, i));
        let paths = change.opened.iter().map(|index| index.map_or_else(Vec::new, path)).collect();
        next.write(change.written.iter().copied(), parallel);
        let new_root = next.node(DEPTH, 0);
        let hashed = Hashed { batch_no: change.batch_no, new_root, nodes: next.nodes };
        Ok((hashed, Applied { old_root, append_siblings, mid_root, carried_nodes, paths, new_root }))
    }

    /// Appends and spends a batch as it was hashed.
    ///
    /// # Errors
    /// `OutOfOrder` unless it is the next one of the state that it was hashed on; the tree is unchanged then.
    pub fn apply(&mut self, hashed: &Hashed) -> Result<(), TreeError> {
        self.check_order(hashed.batch_no)?;
        let mut undo = Undo::with_capacity(hashed.nodes.len());
        for (&(level, index), &value) in &hashed.nodes {
            undo.insert((level, index), self.node(level, index));
            let nodes = &mut self.levels[level];
            if nodes.len() <= index as usize {
                nodes.resize(index as usize + 1, empty_root(level));
            }
            nodes[index as usize] = value;
        }
        self.state = hashed.batch_no;
        self.undo.insert(hashed.batch_no, undo);
        self.roots.insert(hashed.batch_no, hashed.new_root);
        Ok(())
    }

    fn check_order(&self, given: u32) -> Result<(), TreeError> {
        if given == self.state + 1 {
            Ok(())
        } else {
            Err(TreeError::OutOfOrder { view: "sealed", given, last: self.state })
        }
    }

    /// Moves the proven view over `batch_no`.
    ///
    /// # Errors
    /// `OutOfOrder` unless it is the next, `Ahead` if it is not sealed.
    pub fn prove(&mut self, batch_no: u32) -> Result<(), TreeError> {
        if batch_no != self.proven + 1 {
            return Err(TreeError::OutOfOrder { view: "proven", given: batch_no, last: self.proven });
        }
        if batch_no > self.state {
            return Err(TreeError::Ahead { view: "proven", limit: self.state });
        }
        self.proven = batch_no;
        Ok(())
    }

    /// Moves the final view over `batch_no`.
    ///
    /// # Errors
    /// `OutOfOrder` unless it is the next, `Ahead` if it is not proven.
    pub fn finalise(&mut self, batch_no: u32) -> Result<(), TreeError> {
        if batch_no != self.finalized + 1 {
            return Err(TreeError::OutOfOrder { view: "final", given: batch_no, last: self.finalized });
        }
        if batch_no > self.proven {
            return Err(TreeError::Ahead { view: "final", limit: self.proven });
        }
        self.finalized = batch_no;
        Ok(())
    }

    /// Forgets how things were before the final batches up to `batch_no`.
    pub fn forget(&mut self, batch_no: u32) {
        let forgotten = batch_no.min(self.finalized);
        while self.undo.first_key_value().is_some_and(|(batch_no, _)| *batch_no <= forgotten) {
            self.undo.pop_first();
        }
        while self.roots.first_key_value().is_some_and(|(batch_no, _)| *batch_no < forgotten) {
            self.roots.pop_first();
        }
    }

    /// Takes the final view back: `batch_no` is the last final batch.
    ///
    /// # Errors
    /// `OutOfOrder` if it is not final, `Forgotten` if what it takes is not kept.
    pub fn unfinalise(&mut self, batch_no: u32) -> Result<(), TreeError> {
        if batch_no > self.finalized {
            return Err(TreeError::OutOfOrder { view: "final", given: batch_no, last: self.finalized });
        }
        if !self.roots.contains_key(&batch_no) {
            return Err(TreeError::Forgotten { to: batch_no });
        }
        self.finalized = batch_no;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use circuits::tree::root_from;

    use super::*;

    fn change<'a>(batch_no: u32, appended: &'a [Fr], written: &'a [(u64, Fr)]) -> Change<'a> {
        let start = u64::from(batch_no - 1) * 4;
        Change { batch_no, shape: Shape::S3M1, start, appended, opened: &[], written }
    }

    fn seal(tree: &mut Tree, change: &Change<'_>) -> Result<Applied, TreeError> {
        let before = tree.clone();
        let (hashed, applied) = tree.hashed(change, Parallel::default())?;
        assert_eq!(*tree, before, "hashing changes nothing");
        tree.apply(&hashed)?;
        assert!(tree.apply(&hashed).is_err(), "twice");
        Ok(applied)
    }

    fn leaves(seed: u64) -> Vec<Fr> {
        (0..4).map(|i| Fr::from(seed * 10 + i + 1)).collect()
    }

    #[test]
    fn roots_and_paths_of_kept_batches_stay_what_they_were() {
        let mut tree = Tree::default();
        let mut roots = vec![tree.root()];
        for n in 1..=5u32 {
            let spent = [(u64::from(n.saturating_sub(2)) * 4, Fr::from(1000 + u64::from(n)))];
            let applied = seal(&mut tree, &change(n, &leaves(u64::from(n)), &spent)).unwrap();
            assert_eq!(applied.old_root, roots[n as usize - 1]);
            roots.push(applied.new_root);
        }
        for n in 1..=5u32 {
            tree.prove(n).unwrap();
        }
        tree.finalise(1).unwrap();
        tree.finalise(2).unwrap();
        assert_eq!(tree.root_after(1), None);
        assert_eq!(tree.path_after(1, 0), None);
        // It goes back as far as nothing is forgotten.
        tree.unfinalise(0).unwrap();
        assert_eq!(tree.root_after(1), Some(roots[1]));
        tree.finalise(1).unwrap();
        tree.finalise(2).unwrap();
        tree.forget(2);
        assert_eq!(tree.unfinalise(1), Err(TreeError::Forgotten { to: 1 }));
        for n in 2..=5u32 {
            assert_eq!(tree.root_after(n), Some(roots[n as usize]));
            for index in 0..20 {
                let leaf = tree.node_after(n, 0, index);
                let path = tree.path_after(n, index).unwrap();
                assert_eq!(root_from(leaf, 0, index, &path), roots[n as usize], "batch {n} leaf {index}");
            }
        }
    }

    #[test]
    fn views_move_one_batch_at_a_time_and_never_past_each_other() {
        let mut tree = Tree::default();
        assert_eq!(tree.prove(1), Err(TreeError::Ahead { view: "proven", limit: 0 }));
        assert!(tree.hashed(&change(2, &[], &[]), Parallel::default()).is_err());
        seal(&mut tree, &change(1, &leaves(1), &[])).unwrap();
        seal(&mut tree, &change(2, &leaves(2), &[])).unwrap();
        assert_eq!(tree.prove(2), Err(TreeError::OutOfOrder { view: "proven", given: 2, last: 0 }));
        assert_eq!(tree.finalise(1), Err(TreeError::Ahead { view: "final", limit: 0 }));
        tree.prove(1).unwrap();
        tree.finalise(1).unwrap();
        assert_eq!(tree.finalise(1), Err(TreeError::OutOfOrder { view: "final", given: 1, last: 1 }));
        assert_eq!((tree.state_batch(), tree.proven_batch(), tree.final_batch()), (2, 1, 1));
    }
}
