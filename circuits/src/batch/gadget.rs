//! The whole batch as constraints.
//!
//! Order of allocation: public inputs h, c, e; head; mints; first part of each slot; append; second part of each slot;
//! binding of the public data. The two parts of a slot depend on earlier ones only through values that `Prepared` knows,
//! so `witness` makes all of them in parallel and puts the pieces in this order.

use bellman::{Circuit, ConstraintSystem, SynthesisError};
use bn254::Fr;
use ff::Field;
use rayon::prelude::*;

use super::Prepared;
use crate::{
    poseidon::gadget::hash,
    public_data::gadget::{SlotRecord, bind},
    r1cs::{Bellman, Builder, Num, Values, boolean, enforce_equal, hint, is_zero, mul, recompose, site},
    shape::Shape,
    slot::gadget::{Common, OpenSlot, open, spend},
    tree::{
        DEPTH, empty_root,
        gadget::{Digit, climb, root},
    },
};

/// A batch as a bellman circuit.
pub struct BatchCircuit<'a>(pub &'a Prepared);

impl Circuit<Fr> for BatchCircuit<'_> {
    fn synthesize<CS: ConstraintSystem<Fr>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
        let mut b = Bellman::new(cs);
        let inputs = self.0.public_inputs().map(|value| Num::from(b.alloc_input(value)));
        synthesize(&mut b, self.0, &inputs);
        b.finish()
    }
}

/// The batch's parts that stand before the slots.
#[derive(Clone)]
pub(super) struct Frame {
    pub(super) common: Common,
    pub(super) old_root: Num,
    pub(super) mid_root: Num,
    pub(super) new_root: Num,
    pub(super) start: Num,
    pub(super) start_digits: Vec<Digit>,
    pub(super) mints: Vec<[Num; 2]>,
    pub(super) mint_leaves: Vec<Num>,
}

/// All constraints of a batch over its public inputs (h, c, e).
pub(crate) fn synthesize<B: Builder>(b: &mut B, batch: &Prepared, inputs: &[Num; 3]) {
    let frame = frame(b, batch);
    let slots: Vec<OpenSlot> = (0..batch.shape().slots()).map(|i| open_slot(b, batch, &frame, i)).collect();
    let mut nodes = append(b, batch, &frame, &slots);
    for (slot, siblings) in slots.iter().zip(&batch.siblings) {
        nodes = spend(b, slot, &nodes, siblings);
    }
    close(b, batch.shape(), frame, slots, &nodes, inputs);
}

pub(super) fn frame<B: Builder>(b: &mut B, batch: &Prepared) -> Frame {
    b.enter(site!("frame"));
    let head = &batch.public_data.head;
    let common = Common {
        domain: hint(b, site!("domain"), head.domain),
        batch_no: hint(b, site!("batchNo"), Fr::from(u64::from(head.batch_no))),
        batch_no_value: head.batch_no,
    };
    let old_root = hint(b, site!("oldRoot"), head.old_root);
    let mid_root = hint(b, site!("midRoot"), head.mid_root);
    let new_root = hint(b, site!("newRoot"), head.new_root);
    // The digits below the subtree's level are 0: start is aligned by construction.
    let low = 2 * batch.shape().subtree_levels();
    let bits: Vec<Num> =
        (low..2 * DEPTH).map(|i| boolean(b, site!("start bit"), head.start >> i & 1 == 1)).collect();
    let start = recompose(&bits).scale(Fr::from(1 << low));
    let start_digits =
        bits.chunks(2).map(|bits| Digit::new(b, site!("start digit"), &bits[0], &bits[1])).collect();
    let mut mint = |[account, range]: [Fr; 2]| {
        let account = hint(b, site!("mint's account"), account);
        [account, hint(b, site!("mint's coins"), range)]
    };
    let mints: Vec<[Num; 2]> = batch.public_data.mints.iter().map(|words| mint(*words)).collect();
    let mint_leaves = mints
        .iter()
        .map(|[account, range]| {
            // The word 0 means nothing: its leaf is 0, not P2(account, 0).
            let nothing = is_zero(b, site!("mint is unused"), range);
            let leaf = hash(b, site!("mint leaf"), &[account, range]);
            mul(b, site!("mint leaf unless unused"), &nothing.not(), &leaf)
        })
        .collect();
    b.leave();
    Frame { common, old_root, mid_root, new_root, start, start_digits, mints, mint_leaves }
}

pub(super) fn open_slot<B: Builder>(b: &mut B, batch: &Prepared, frame: &Frame, i: usize) -> OpenSlot {
    let shape = batch.shape();
    let place = frame.start.add_constant(Fr::from(i as u64));
    let may_force = i >= shape.slots() - shape.forced_slots();
    open(b, &frame.common, &place, may_force, &batch.input.slots[i].input)
}

/// Proves that the subtree at `start` was empty, puts the outputs and mints there, and returns the carried nodes.
pub(super) fn append<B: Builder>(b: &mut B, batch: &Prepared, frame: &Frame, slots: &[OpenSlot]) -> Vec<Num> {
    b.enter(site!("append"));
    let leaves: Vec<Num> =
        slots.iter().map(|slot| slot.output.clone()).chain(frame.mint_leaves.iter().cloned()).collect();
    let subtree = root(b, site!("appended subtree"), &leaves);
    let empty = Num::constant(empty_root(batch.shape().subtree_levels()));
    let (old, mid) =
        climb(b, site!("path"), empty, subtree, &frame.start_digits, &batch.input.append_siblings);
    enforce_equal(b, site!("oldRoot"), &old, &frame.old_root);
    enforce_equal(b, site!("midRoot"), &mid, &frame.mid_root);
    let nodes: Vec<Num> =
        batch.input.carried_nodes.iter().map(|node| hint(b, site!("carried node"), *node)).collect();
    let carried = root(b, site!("carried root"), &nodes);
    enforce_equal(b, site!("carried nodes are those of midRoot"), &carried, &frame.mid_root);
    b.leave();
    nodes
}

pub(super) fn close<B: Builder>(
    b: &mut B,
    shape: Shape,
    frame: Frame,
    slots: Vec<OpenSlot>,
    nodes: &[Num],
    [h, c, e]: &[Num; 3],
) {
    b.enter(site!("close"));
    let last = root(b, site!("last root"), nodes);
    enforce_equal(b, site!("newRoot"), &last, &frame.new_root);
    let number = Num::constant(Fr::from(u64::from(shape.number())));
    let Common { domain, batch_no, .. } = frame.common;
    let mut fixed =
        vec![number, domain, batch_no, frame.old_root, frame.mid_root, frame.new_root, frame.start];
    fixed.extend(frame.mints.into_iter().flatten());
    let records: Vec<SlotRecord> = slots.into_iter().map(|slot| slot.record).collect();
    bind(b, [h, c, e], &fixed, &records);
    b.leave();
}

/// The assignment of a batch: public inputs with the leading 1, then the auxiliary variables in the order of
/// `BatchCircuit::synthesize`. All slots in parallel.
pub fn witness(batch: &Prepared) -> (Vec<Fr>, Vec<Fr>) {
    let public = batch.public_inputs();
    let inputs = public.map(given);
    let (frame, mut aux) = piece(|b| frame(b, batch));
    let n = batch.shape().slots();
    let opened: Vec<(OpenSlot, Vec<Fr>)> =
        (0..n).into_par_iter().map(|i| piece(|b| open_slot(b, batch, &frame, i))).collect();
    let (slots, opened): (Vec<OpenSlot>, Vec<Vec<Fr>>) = opened.into_iter().unzip();
    let (_, appended) = piece(|b| append(b, batch, &frame, &slots));

    // The nodes each slot starts from are known from the replay.
    let mut nodes = batch.input.carried_nodes.clone();
    let mut before = Vec::with_capacity(n);
    for update in &batch.node_updates {
        before.push(nodes.clone());
        if let Some((position, node)) = update {
            nodes[*position] = *node;
        }
    }
    let spent: Vec<Vec<Fr>> = (0..n)
        .into_par_iter()
        .map(|i| {
            let nodes: Vec<Num> = before[i].iter().copied().map(given).collect();
            piece(|b| spend(b, &slots[i], &nodes, &batch.siblings[i])).1
        })
        .collect();
    let last: Vec<Num> = nodes.into_iter().map(given).collect();
    let (_, closed) = piece(|b| close(b, batch.shape(), frame, slots, &last, &inputs));

    for mut values in opened.into_iter().chain([appended]).chain(spent).chain([closed]) {
        aux.append(&mut values);
    }
    (std::iter::once(Fr::ONE).chain(public).collect(), aux)
}

/// A number known from elsewhere, as `Values` makes it.
fn given(value: Fr) -> Num {
    Num { value, constant: Fr::ZERO, terms: Vec::new() }
}

/// Runs a part of the circuit on its own and returns its auxiliary values.
fn piece<T>(part: impl FnOnce(&mut Values) -> T) -> (T, Vec<Fr>) {
    let mut values = Values::default();
    let out = part(&mut values);
    (out, values.0)
}
