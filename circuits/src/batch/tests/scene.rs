//! Batches that are played piece by piece, so that a cheat is followed by honest work on everything after it: the tree with
//! the outputs that now come out, the paths of later slots, midRoot and newRoot, D, h, c and e. Whatever still refuses the
//! batch then is what guards against the cheat itself.

use std::{collections::BTreeSet, ops::Range, sync::Arc};

use bn254::Fr;
use ff::Field;

use crate::{
    batch::{
        Prepared, carried_level,
        gadget::{Frame, append, close, frame, open_slot},
    },
    fixture::Fixture,
    public_data::{challenge, evaluate},
    r1cs::{Builder, Num, site},
    shape::Shape,
    slot::{
        SlotInput,
        gadget::{OpenSlot, spend},
    },
    testing::adversary::{Adversary, Change, Listing, Violation},
    tree::{DEPTH, Siblings, empty_root, gadget as tree_gadget},
};

/// A batch that somebody may cheat in.
pub struct Scene {
    pub name: &'static str,
    pub batch: Prepared,
    /// The tree before the batch.
    before: Fixture,
    /// Paths that are shown instead of those of the tree.
    pub shown_paths: Vec<Option<Vec<Siblings>>>,
    /// What L1 compares with: h or e of other data.
    pub claim: Claim,
    pub layout: Arc<Layout>,
    /// The batch played honestly, unless it is none.
    honest: Option<Played>,
}

/// Public inputs that are not computed from the witness.
#[derive(Clone, Copy, Default)]
pub struct Claim {
    pub h: Option<Fr>,
    pub e: Option<Fr>,
}

/// Which root the batch may start from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OldRoot {
    /// The contract's.
    Pinned,
    /// Any that the append path leads to: only a constraint refuses then, never the contract.
    Any,
}

/// The names of a circuit's variables and where its pieces begin.
pub struct Layout {
    pub shape: Shape,
    pub listing: Listing,
    /// First variable and constraint of each piece: frame, slots, append, spends, close, and the end.
    starts: Vec<(usize, usize)>,
}

/// A batch played: what each piece made of it.
#[derive(Clone)]
pub struct Played {
    pieces: Vec<Arc<Piece>>,
    frame: Frame,
    slots: Vec<OpenSlot>,
    /// Carried nodes before each spend and after the last.
    nodes: Vec<Vec<Num>>,
    /// h, c, e.
    pub inputs: [Fr; 3],
    /// D as L1 would have to see it.
    pub words: Vec<Fr>,
}

#[derive(Clone, Default)]
pub struct Piece {
    pub values: Vec<Fr>,
    pub violations: Vec<Violation>,
}

impl From<Adversary<'_>> for Piece {
    fn from(played: Adversary<'_>) -> Self {
        Self { values: played.values, violations: played.violations }
    }
}

impl Layout {
    pub fn new(shape: Shape) -> Self {
        let batch = Prepared::blank(shape);
        let mut listing = Listing::default();
        let mut b = Adversary::listing(&mut listing);
        let mut starts = vec![b.position()];
        let frame = frame(&mut b, &batch);
        let mut slots = Vec::new();
        for i in 0..shape.slots() {
            starts.push(b.position());
            slots.push(open_slot(&mut b, &batch, &frame, i));
        }
        starts.push(b.position());
        let mut nodes = append(&mut b, &batch, &frame, &slots);
        for (slot, siblings) in slots.iter().zip(&batch.siblings) {
            starts.push(b.position());
            nodes = spend(&mut b, slot, &nodes, siblings);
        }
        starts.push(b.position());
        close(&mut b, shape, frame, slots, &nodes, &batch.public_inputs().map(number));
        starts.push(b.position());
        assert!(b.violations.is_empty(), "{:?}", b.violations);
        Self { shape, listing, starts }
    }

    /// Pieces in order: frame, slots, append, spends, close.
    pub fn pieces(&self) -> usize {
        self.starts.len() - 1
    }

    pub fn variables(&self, piece: usize) -> Range<usize> {
        self.starts[piece].0..self.starts[piece + 1].0
    }

    pub fn piece_of(&self, variable: usize) -> usize {
        self.starts.partition_point(|start| start.0 <= variable) - 1
    }

    pub fn slot(&self, i: usize) -> usize {
        1 + i
    }

    pub fn append(&self) -> usize {
        1 + self.shape.slots()
    }

    pub fn spend(&self, i: usize) -> usize {
        self.append() + 1 + i
    }

    pub fn close(&self) -> usize {
        self.append() + 1 + self.shape.slots()
    }

    /// The slot that a piece belongs to.
    pub fn slot_of(&self, piece: usize) -> Option<usize> {
        let slots = self.shape.slots();
        match piece {
            0 => None,
            p if p <= slots => Some(p - 1),
            p if p > slots + 1 && p <= 2 * slots + 1 => Some(p - slots - 2),
            _ => None,
        }
    }

    /// The variables of a path in a piece.
    pub fn named(&self, piece: usize, path: &str) -> Vec<usize> {
        let found = self.listing.named(path, self.variables(piece));
        assert!(!found.is_empty(), "piece {piece} has no variable {path}");
        found
    }
}

/// A number as the builder of values has it.
fn number(value: Fr) -> Num {
    Num { value, constant: Fr::ZERO, terms: Vec::new() }
}

fn same(a: &[Num], b: &[Num]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.value == b.value)
}

/// Everything that later pieces take from an opened slot.
fn interface(slot: &OpenSlot) -> Vec<Fr> {
    let mut numbers = vec![&slot.output, &slot.active, &slot.leaf, &slot.new_leaf, &slot.record.shown];
    numbers.extend(&slot.record.words);
    numbers.extend(slot.digits.iter().flat_map(|digit| digit.bits.iter().chain(&digit.selectors)));
    numbers.into_iter().map(|num| num.value).collect()
}

/// The place that digits lead to, from `level` on.
fn place(digits: &[tree_gadget::Digit], level: usize) -> u64 {
    digits.iter().enumerate().map(|(i, digit)| (digit.value() as u64) << (2 * (level + i))).sum()
}

impl Scene {
    /// A batch that is valid, on the tree of `before`.
    pub fn new(name: &'static str, layout: &Arc<Layout>, before: &Fixture, batch: Prepared) -> Self {
        let mut scene = Self::evil(name, layout, before, batch);
        let honest = scene.play(&[], OldRoot::Pinned);
        assert_eq!(honest.sites(), BTreeSet::new(), "{name}");
        assert_eq!(honest.inputs, scene.batch.public_inputs(), "{name}");
        scene.honest = Some(honest);
        scene
    }

    /// A batch that breaks rules of the native replay.
    pub fn evil(name: &'static str, layout: &Arc<Layout>, before: &Fixture, batch: Prepared) -> Self {
        let shown_paths = vec![None; layout.shape.slots()];
        let (before, layout) = (before.clone(), layout.clone());
        Self { name, batch, before, shown_paths, claim: Claim::default(), layout, honest: None }
    }

    /// The batch changed as a dishonest prover would.
    pub fn with(&self, change: impl FnOnce(&mut Prepared)) -> Self {
        let mut batch = self.batch.clone();
        change(&mut batch);
        Self::evil(self.name, &self.layout, &self.before, batch)
    }

    pub fn honest(&self) -> &Played {
        self.honest.as_ref().expect("a valid batch")
    }

    /// The honest value of a variable.
    pub fn value(&self, variable: usize) -> Fr {
        self.honest().value(&self.layout, variable)
    }

    /// Plays the batch with these changes, honestly wherever nothing is changed.
    pub fn play(&self, changes: &[Change], old_root: OldRoot) -> Played {
        let layout = &*self.layout;
        let slots = layout.shape.slots();
        let honest = self.honest.as_ref();
        let touched = |piece: usize| changes.iter().any(|(v, _)| layout.variables(piece).contains(v));
        let is_changed = |variable: usize| changes.iter().any(|(v, _)| *v == variable);
        let begin = |piece: usize| Adversary::at(layout.starts[piece], changes);
        let mut pieces: Vec<Arc<Piece>> = Vec::with_capacity(layout.pieces());

        let mut b = begin(0);
        let mut frame = frame(&mut b, &self.batch);
        let mut frame_piece = Piece::from(b);
        let frame_is_honest = honest.is_some() && !touched(0);

        let mut opened = Vec::with_capacity(slots);
        let mut slot_pieces = Vec::with_capacity(slots);
        for i in 0..slots {
            let piece = layout.slot(i);
            let (slot, played) = match honest {
                Some(honest) if frame_is_honest && !touched(piece) => {
                    (honest.slots[i].clone(), honest.pieces[piece].clone())
                }
                _ => {
                    let mut b = begin(piece);
                    let slot = open_slot(&mut b, &self.batch, &frame, i);
                    (slot, Arc::new(b.into()))
                }
            };
            opened.push(slot);
            slot_pieces.push(played);
        }
        let slot_is_honest: Vec<bool> = (0..slots)
            .map(|i| honest.is_some_and(|h| interface(&h.slots[i]) == interface(&opened[i])))
            .collect();
        let opening_is_honest = frame_is_honest && slot_is_honest.iter().all(|honest| *honest);

        // Honest work on a tree with other outputs.
        let piece = layout.append();
        let append_is_honest = opening_is_honest && !touched(piece);
        let mut tree = TreeAfter::default();
        let (append_piece, first_nodes) = match honest {
            Some(honest) if append_is_honest => (honest.pieces[piece].clone(), honest.nodes[0].clone()),
            _ => {
                let mut batch = self.batch.clone();
                tree = self.append_natively(&mut batch, &frame, &opened);
                let mut b = begin(piece);
                append(&mut b, &batch, &frame, &opened);
                for (name, root, may_move) in [
                    ("oldRoot", &mut frame.old_root, old_root == OldRoot::Any),
                    ("midRoot", &mut frame.mid_root, true),
                ] {
                    let variable = layout.named(0, &format!("frame/{name}"))[0];
                    if may_move && !is_changed(variable) {
                        root.value += excess_at(&b.violations, &format!("append/{name}"));
                        frame_piece.values[variable] = root.value;
                    }
                }
                self.carry_natively(&mut batch, &frame, &opened, begin(piece));
                let mut b = begin(piece);
                let nodes = append(&mut b, &batch, &frame, &opened);
                (Arc::new(b.into()), nodes)
            }
        };

        let mut nodes = vec![first_nodes];
        let mut spend_pieces = Vec::with_capacity(slots);
        for i in 0..slots {
            let piece = layout.spend(i);
            let from = nodes.last().expect("nodes before the first spend").clone();
            let (after, played) = match honest {
                Some(honest)
                    if append_is_honest
                        && slot_is_honest[i]
                        && !touched(piece)
                        && same(&from, &honest.nodes[i]) =>
                {
                    (honest.nodes[i + 1].clone(), honest.pieces[piece].clone())
                }
                _ => {
                    let path = self.path(i, &opened[i], append_is_honest, &mut tree, &opened);
                    let mut b = begin(piece);
                    let after = spend(&mut b, &opened[i], &from, &path);
                    (after, Arc::new(b.into()))
                }
            };
            nodes.push(after);
            spend_pieces.push(played);
        }

        // newRoot, h, c and e as they now come out, one after the other.
        let last = nodes.last().expect("nodes after the last spend");
        let mut inputs = honest.map_or_else(|| self.batch.public_inputs(), |honest| honest.inputs);
        inputs[0] = self.claim.h.unwrap_or(inputs[0]);
        let finish = |frame: &Frame, inputs: &[Fr; 3]| {
            let mut b = begin(layout.close());
            close(&mut b, layout.shape, frame.clone(), opened.clone(), last, &inputs.map(number));
            Piece::from(b)
        };
        let new_root = layout.named(0, "frame/newRoot")[0];
        if !is_changed(new_root) {
            frame.new_root.value += excess_at(&finish(&frame, &inputs).violations, "close/newRoot");
            frame_piece.values[new_root] = frame.new_root.value;
        }
        if self.claim.h.is_none() {
            inputs[0] += excess_at(&finish(&frame, &inputs).violations, "close/h");
        }
        let words = words(layout.shape, &frame, &opened);
        inputs[1] = challenge(&inputs[0], &words);
        inputs[2] = evaluate(&inputs[1], &words);
        if let Some(e) = self.claim.e {
            inputs[2] = e;
        } else {
            inputs[2] += excess_at(&finish(&frame, &inputs).violations, "close/e");
        }
        let close_piece = finish(&frame, &inputs);

        pieces.push(Arc::new(frame_piece));
        pieces.append(&mut slot_pieces);
        pieces.push(append_piece);
        pieces.append(&mut spend_pieces);
        pieces.push(Arc::new(close_piece));
        Played { pieces, frame, slots: opened, nodes, inputs, words }
    }

    /// The tree before the batch with what now comes out of the slots, and its paths.
    fn append_natively(&self, batch: &mut Prepared, frame: &Frame, opened: &[OpenSlot]) -> TreeAfter {
        let level = self.layout.shape.subtree_levels();
        let start = place(&frame.start_digits, level);
        batch.input.append_siblings = self.before.siblings(start, level, DEPTH);
        let mut tree = self.before.clone();
        let outputs = opened.iter().map(|slot| &slot.output).chain(&frame.mint_leaves);
        for (i, output) in outputs.enumerate() {
            tree.set_leaf(start + i as u64, output.value);
        }
        let top = carried_level(self.layout.shape);
        let nodes = 0..1u64 << (2 * (DEPTH - top));
        batch.input.carried_nodes = nodes.map(|node| tree.node(top, node)).collect();
        TreeAfter { tree: Some(tree), spent: 0 }
    }

    /// Where a cheat on the append path itself leads on the carried level.
    fn carry_natively(&self, batch: &mut Prepared, frame: &Frame, opened: &[OpenSlot], mut b: Adversary<'_>) {
        let shape = self.layout.shape;
        b.enter(site!("append"));
        let leaves: Vec<Num> =
            opened.iter().map(|slot| slot.output.clone()).chain(frame.mint_leaves.iter().cloned()).collect();
        let subtree = tree_gadget::root(&mut b, site!("appended subtree"), &leaves);
        let empty = number(empty_root(shape.subtree_levels()));
        let (lower, upper) =
            frame.start_digits.split_at(frame.start_digits.len() - (DEPTH - carried_level(shape)));
        let siblings = &batch.input.append_siblings;
        let (_, node) = tree_gadget::climb(&mut b, site!("path"), empty, subtree, lower, siblings);
        batch.input.carried_nodes[place(upper, 0) as usize] = node.value;
    }

    /// The path that slot `i` shows.
    fn path(
        &self,
        i: usize,
        slot: &OpenSlot,
        append_is_honest: bool,
        after: &mut TreeAfter,
        opened: &[OpenSlot],
    ) -> Vec<Siblings> {
        if let Some(path) = &self.shown_paths[i] {
            return path.clone();
        }
        if self.batch.input.slots[i].input == SlotInput::Noop {
            return self.batch.siblings[i].clone();
        }
        if after.tree.is_none() {
            let mut batch = self.batch.clone();
            let frame = &self.honest().frame;
            debug_assert!(append_is_honest);
            *after = self.append_natively(&mut batch, frame, &self.honest().slots);
        }
        let top = carried_level(self.layout.shape);
        let TreeAfter { tree: Some(tree), spent } = after else { unreachable!("it was made above") };
        for (j, earlier) in opened.iter().enumerate().take(i).skip(*spent) {
            if self.batch.input.slots[j].input != SlotInput::Noop {
                tree.set_leaf(place(&earlier.digits, 0), earlier.new_leaf.value);
            }
        }
        *spent = i;
        tree.siblings(place(&slot.digits, 0), 0, top)
    }
}

/// The tree after the append and the first `spent` spends.
#[derive(Default)]
struct TreeAfter {
    tree: Option<Fixture>,
    spent: usize,
}

/// By how much the two sides of an equality differ.
fn excess_at(violations: &[Violation], site: &str) -> Fr {
    violations.iter().find(|violation| &*violation.site == site).map_or(Fr::ZERO, |v| v.excess)
}

/// D with what the circuit's copy says.
fn words(shape: Shape, frame: &Frame, slots: &[OpenSlot]) -> Vec<Fr> {
    let common = &frame.common;
    let head =
        [&common.domain, &common.batch_no, &frame.old_root, &frame.mid_root, &frame.new_root, &frame.start];
    let mut words = vec![Fr::from(u64::from(shape.number()))];
    words.extend(head.map(|num| num.value));
    words.extend(frame.mints.iter().flatten().map(|num| num.value));
    let shown = slots.iter().filter(|slot| slot.record.shown.value != Fr::ZERO);
    words.extend(shown.flat_map(|slot| &slot.record.words).map(|num| num.value));
    words
}

impl Played {
    /// The constraints that the batch breaks.
    pub fn violations(&self) -> impl Iterator<Item = &Violation> {
        self.pieces.iter().flat_map(|piece| &piece.violations)
    }

    /// The sites of the constraints that refuse the batch.
    pub fn sites(&self) -> BTreeSet<String> {
        self.violations().map(|violation| violation.site.to_string()).collect()
    }

    /// Whether the batch is refused, and passes with this site switched off: a constraint that is not looked at changes no
    /// value, so the batch passes if and only if all constraints that it breaks belong to the site.
    pub fn passes_only_without(&self, site: &str) -> bool {
        let mut broken = self.violations().peekable();
        broken.peek().is_some() && broken.all(|violation| &*violation.site == site)
    }

    pub fn value(&self, layout: &Layout, variable: usize) -> Fr {
        let piece = layout.piece_of(variable);
        self.pieces[piece].values[variable - layout.variables(piece).start]
    }

    /// All private variables.
    pub fn assignment(&self) -> Vec<Fr> {
        self.pieces.iter().flat_map(|piece| piece.values.iter().copied()).collect()
    }
}
