//! A batch: outputs and mints appended as one aligned subtree, then the slots in order.
//!
//! `BatchInput` is what the coordinator sends to a worker. `Prepared::new` replays it natively (which finds everything
//! the circuit would refuse) and holds the tree nodes each slot meets; `gadget` turns it into constraints and witnesses.
//!
//! Invariant: tree after = tree before + mints − exits, as multisets of coins.

use std::collections::HashMap;

use bn254::Fr;
use ff::Field;
use serde::{Deserialize, Serialize};

use crate::{
    leaf::{CoinRange, leaf},
    poseidon,
    public_data::{Head, PublicData},
    shape::{MAX_RECORDS, Shape},
    slot::{SlotContext, SlotEffect, SlotError, SlotInput},
    tree::{ARITY, CAPACITY, DEPTH, Siblings, children, digit, empty_root, root_from, subtree_root},
};

pub mod gadget;

/// Coins that a deposit adds to the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mint {
    #[serde(with = "bn254::serde_fr")]
    pub account: Fr,
    pub range: CoinRange,
}

/// A slot with the path of its leaf in the tree after the append and before the first spend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedSlot {
    pub input: SlotInput,
    /// Levels 0.. up to the carried level of the shape; empty for a no-op.
    #[serde(with = "crate::tree::serde_siblings")]
    pub siblings: Vec<Siblings>,
}

/// Everything a worker needs to prove a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchInput {
    pub shape: Shape,
    #[serde(with = "bn254::serde_fr")]
    pub domain: Fr,
    pub batch_no: u32,
    /// First place of the appended subtree, a multiple of N + M.
    pub start: u64,
    /// Siblings above the appended subtree, from its level up to the root, before the append.
    #[serde(with = "crate::tree::serde_siblings")]
    pub append_siblings: Vec<Siblings>,
    /// All nodes on level `carried_level(shape)` after the append and before the first spend.
    #[serde(with = "bn254::serde_fr_vec")]
    pub carried_nodes: Vec<Fr>,
    /// At most N; missing ones are no-ops.
    pub slots: Vec<PlacedSlot>,
    /// At most M.
    pub mints: Vec<Mint>,
}

/// The level whose nodes the circuit of a shape carries from slot to slot.
pub fn carried_level(shape: Shape) -> usize {
    DEPTH - shape.carried_levels()
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error(
        "PM-BATCH-001: {given} {what} do not fit {shape}, which takes {most}; seal with a larger circuit"
    )]
    TooMany { what: &'static str, given: usize, most: usize, shape: Shape },
    #[error(
        "PM-BATCH-002: place {start} is not a free multiple of {places} in the tree; open the batch on one"
    )]
    Start { start: u64, places: usize },
    #[error("PM-BATCH-003: slot {slot}: {error}")]
    Slot { slot: usize, error: SlotError },
    #[error(
        "PM-BATCH-004: slot {slot} holds a forced entry, which {shape} allows in its last {forced} slots only"
    )]
    ForcedTooEarly { slot: usize, shape: Shape, forced: usize },
    #[error(
        "PM-BATCH-005: the path of slot {slot} does not lead to the tree of the batch; take the paths again"
    )]
    Path { slot: usize },
    #[error(
        "PM-BATCH-006: {what} has {given} entries instead of {expected}; the input is damaged, take it again"
    )]
    Length { what: &'static str, given: usize, expected: usize },
    #[error("PM-BATCH-007: the carried nodes do not lead to the root after the append; take them again")]
    CarriedNodes,
}

/// A batch replayed: what each slot meets in the tree, and what L1 will see.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub(crate) input: BatchInput,
    /// The siblings each slot meets when it runs, up to the carried level.
    pub(crate) siblings: Vec<Vec<Siblings>>,
    /// For each slot, the carried node it rewrites and its new value.
    pub(crate) node_updates: Vec<Option<(usize, Fr)>>,
    pub public_data: PublicData,
}

impl Prepared {
    /// Replays a batch.
    ///
    /// # Errors
    /// `BatchError` for whatever the circuit would refuse, signatures excepted: `check_signatures` has those.
    pub fn new(mut input: BatchInput) -> Result<Self, BatchError> {
        let shape = input.shape;
        check_sizes(&input)?;
        input.slots.resize(shape.slots(), PlacedSlot { input: SlotInput::Noop, siblings: Vec::new() });

        let effects = input
            .slots
            .iter()
            .enumerate()
            .map(|(i, slot)| {
                let at = SlotContext {
                    domain: input.domain,
                    batch_no: input.batch_no,
                    place: input.start + i as u64,
                };
                let forced_from = shape.slots() - shape.forced_slots();
                if matches!(slot.input, SlotInput::Forced(_)) && i < forced_from {
                    return Err(BatchError::ForcedTooEarly { slot: i, shape, forced: shape.forced_slots() });
                }
                slot.input.effect(&at).map_err(|error| BatchError::Slot { slot: i, error })
            })
            .collect::<Result<Vec<Option<SlotEffect>>, _>>()?;
        let records: Vec<_> = effects.iter().map(|e| e.as_ref().and_then(|e| e.record)).collect();
        let shown = records.iter().flatten().count();
        if shown > MAX_RECORDS {
            return Err(BatchError::TooMany { what: "records", given: shown, most: MAX_RECORDS, shape });
        }

        let level = shape.subtree_levels();
        let old_root = root_from(empty_root(level), level, input.start, &input.append_siblings);
        let mut appended: Vec<Fr> =
            effects.iter().map(|e| e.as_ref().map_or(Fr::ZERO, |e| e.output)).collect();
        appended.extend(input.mints.iter().map(|mint| leaf(&mint.account, &mint.range)));
        appended.resize(shape.places(), Fr::ZERO);
        let mid_root = root_from(subtree_root(&appended), level, input.start, &input.append_siblings);
        if subtree_root(&input.carried_nodes) != mid_root {
            return Err(BatchError::CarriedNodes);
        }

        let top = carried_level(shape);
        let mut nodes = input.carried_nodes.clone();
        // Nodes below the carried level that earlier slots rewrote.
        let mut rewritten: HashMap<(usize, u64), Fr> = HashMap::new();
        let mut siblings = Vec::with_capacity(effects.len());
        let mut node_updates = Vec::with_capacity(effects.len());
        for (i, (slot, effect)) in input.slots.iter().zip(&effects).enumerate() {
            let (Some(index), Some(effect)) = (slot.input.index(), effect) else {
                siblings.push(vec![[Fr::ZERO; ARITY - 1]; top]);
                node_updates.push(None);
                continue;
            };
            let path = current_siblings(&slot.siblings, index, &rewritten);
            let position = (index >> (2 * top)) as usize;
            if root_from(effect.old_leaf, 0, index, &path) != nodes[position] {
                return Err(BatchError::Path { slot: i });
            }
            let mut node = effect.new_leaf;
            for (level, siblings) in path.iter().enumerate() {
                rewritten.insert((level, index >> (2 * level)), node);
                node = poseidon::hash4(children(digit(index, level), node, siblings));
            }
            nodes[position] = node;
            node_updates.push(Some((position, node)));
            siblings.push(path);
        }

        let mut mints: Vec<[Fr; 2]> = input.mints.iter().map(|m| [m.account, m.range.packed()]).collect();
        mints.resize(shape.mint_places(), [Fr::ZERO; 2]);
        let head = Head {
            shape,
            domain: input.domain,
            batch_no: input.batch_no,
            old_root,
            mid_root,
            new_root: subtree_root(&nodes),
            start: input.start,
        };
        Ok(Self { siblings, node_updates, public_data: PublicData { head, mints, records }, input })
    }

    /// Checks every signature of the batch; the rest was checked when it was prepared.
    ///
    /// # Errors
    /// `BatchError::Slot` for the first that the circuit would refuse.
    pub fn check_signatures(&self) -> Result<(), BatchError> {
        for (slot, placed) in self.input.slots.iter().enumerate() {
            if let SlotInput::Signed(spend) = &placed.input {
                spend
                    .verify_signature(&self.input.domain)
                    .map_err(|error| BatchError::Slot { slot, error })?;
            }
        }
        Ok(())
    }

    /// A satisfying batch without operations, from which a circuit's constraints are synthesised.
    pub fn blank(shape: Shape) -> Self {
        let append_siblings =
            (shape.subtree_levels()..DEPTH).map(|level| [empty_root(level); ARITY - 1]).collect();
        let input = BatchInput {
            shape,
            domain: Fr::ONE,
            batch_no: 1,
            start: 0,
            append_siblings,
            carried_nodes: vec![empty_root(carried_level(shape)); ARITY.pow(shape.carried_levels() as u32)],
            slots: Vec::new(),
            mints: Vec::new(),
        };
        match Self::new(input) {
            Ok(blank) => blank,
            Err(error) => unreachable!("an empty batch on an empty tree is valid: {error}"),
        }
    }

    pub fn shape(&self) -> Shape {
        self.input.shape
    }

    /// (h, c, e).
    pub fn public_inputs(&self) -> [Fr; 3] {
        self.public_data.public_inputs()
    }
}

/// The siblings of `index` in the tree after the append, with the nodes that earlier slots rewrote put in.
fn current_siblings(path: &[Siblings], index: u64, rewritten: &HashMap<(usize, u64), Fr>) -> Vec<Siblings> {
    path.iter()
        .enumerate()
        .map(|(level, siblings)| {
            let node = index >> (2 * level);
            let own = digit(index, level) as u64;
            let mut others = (0..ARITY as u64).filter(|d| *d != own).map(|d| node - own + d);
            siblings.map(|sibling| {
                others.next().and_then(|other| rewritten.get(&(level, other)).copied()).unwrap_or(sibling)
            })
        })
        .collect()
}

fn check_sizes(input: &BatchInput) -> Result<(), BatchError> {
    let shape = input.shape;
    let places = shape.places();
    let too_many = |what, given, most| Err(BatchError::TooMany { what, given, most, shape });
    if input.slots.len() > shape.slots() {
        return too_many("slots", input.slots.len(), shape.slots());
    }
    if input.mints.len() > shape.mint_places() {
        return too_many("mints", input.mints.len(), shape.mint_places());
    }
    if !input.start.is_multiple_of(places as u64) || input.start > CAPACITY - places as u64 {
        return Err(BatchError::Start { start: input.start, places });
    }
    let lengths = [
        ("the append path", input.append_siblings.len(), DEPTH - shape.subtree_levels()),
        ("the list of carried nodes", input.carried_nodes.len(), ARITY.pow(shape.carried_levels() as u32)),
    ];
    let paths = input
        .slots
        .iter()
        .filter(|slot| slot.input != SlotInput::Noop)
        .map(|slot| ("a path", slot.siblings.len(), carried_level(shape)));
    for (what, given, expected) in lengths.into_iter().chain(paths) {
        if given != expected {
            return Err(BatchError::Length { what, given, expected });
        }
    }
    for (slot, placed) in input.slots.iter().enumerate() {
        if placed.input.index().is_some_and(|index| index >= CAPACITY) {
            return Err(BatchError::Path { slot });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
