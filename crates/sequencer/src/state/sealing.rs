//! The open batch becomes a `BatchInput`: forced requests and deposits join, the tree is hashed once, paths are taken.
//!
//! All of that is worked out beside the state and travels with the event `Sealed`, so that applying it only writes. A replay,
//! which has the event from the log, works it out again and compares the roots.
//!
//! Order inside a batch: accepted slots, then forced requests (each meets the ledger as the one before left it), mints
//! last, spendable from the next batch on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bn254::Fr;
use circuits::{
    batch::{BatchInput, Mint, PlacedSlot, Prepared},
    leaf::leaf,
    public_data::{Head, PublicData, Record},
    slot::{ForcedEntry, HeldLeaf, SlotContext, SlotEffect, SlotInput},
};
use protocol::{
    Address, OperationId, OperationKind, Stage,
    l1::{Deposit, ForcedRequest},
};
use wire::job::{encode_batch_input, input_hash};

use super::{
    Batch, Operation, State, StateError,
    event::{Computed, Event, Sealed},
};
use crate::{
    batcher::{OpenBatch, SealPlan, SealReason},
    ledger::Leaf,
    tree::{Change, Hashed},
};

/// What sealing the open batch comes to, worked out beside the state.
#[derive(Clone, Debug)]
pub struct Sealing {
    /// As it will be recorded, but for its public inputs.
    batch: Batch,
    public_data: PublicData,
    /// What the forced requests do, in order, and who is behind each.
    forced: Vec<(ForcedEntry, Address)>,
    /// Operations that are not among the accepted ones: of forced requests and of deposits.
    operations: Vec<Operation>,
    tree: Hashed,
}

impl State {
    /// Seals the open batch by this plan and opens the next one in a class that holds `next_needs` slots.
    ///
    /// # Errors
    /// `StateError::Unprovable` if the circuit would refuse what was accepted, which would be a bug.
    pub(super) fn decide_sealing(
        &self,
        (plan, reason): (SealPlan, SealReason),
        next_needs: usize,
        now: u64,
    ) -> Result<Vec<Event>, StateError> {
        let sealing = self.sealing(&plan, now)?;
        let batch = &sealing.batch;
        let batch_no = batch.batch_no;
        let public_inputs = sealing.public_data.public_inputs();
        let sealed = Sealed {
            batch_no,
            shape: plan.shape,
            mints: plan.mints as u32,
            forced: plan.forced as u32,
            mid_root: batch.mid_root,
            new_root: batch.new_root,
            public_inputs,
            input_hash: batch.input_hash,
            reason,
            work: Computed::new(sealing),
        };
        let places = self.batcher.class_after(&plan, next_needs);
        let opened = Event::Opened { batch_no: batch_no + 1, places: places as u32 };
        Ok(vec![Event::Sealed(Box::new(sealed)), opened])
    }

    /// Opens the empty open batch again, in a class that holds `slots`.
    pub(super) fn decide_reopening(&self, slots: usize) -> Event {
        let places = self.batcher.class_for(slots);
        Event::Opened { batch_no: self.tree.state_batch() + 1, places: places as u32 }
    }

    pub(super) fn apply_sealed(&mut self, sealed: &Sealed, at: u64) -> Result<(), StateError> {
        let batch_no = sealed.batch_no;
        let plan =
            SealPlan { shape: sealed.shape, mints: sealed.mints as usize, forced: sealed.forced as usize };
        let (deposits, forced) = self.batcher.waiting();
        let fits = self.batcher.open_batch().slots.len() + plan.forced <= plan.shape.slots();
        if batch_no != self.batcher.open_batch().batch_no
            || plan.mints > deposits
            || plan.forced > forced
            || !fits
        {
            return Err(StateError::Log(format!("batch {batch_no} was sealed out of order")));
        }
        let replayed;
        let sealing = match sealed.work.get() {
            Some(sealing) => sealing,
            None => {
                replayed = self.sealing(&plan, at)?;
                &replayed
            }
        };
        let Sealing { batch, forced, operations, tree, .. } = sealing;
        let same = (batch.mid_root, batch.new_root, batch.input_hash);
        if same != (sealed.mid_root, sealed.new_root, sealed.input_hash) {
            return Err(StateError::Root { batch_no });
        }
        self.tree.apply(tree)?;
        self.batcher.seal(&plan);
        for (entry, owner) in forced {
            self.ledger.force(batch_no, entry, *owner);
        }
        for (j, deposit) in batch.mints.iter().enumerate() {
            let place = batch.start + (plan.shape.slots() + j) as u64;
            self.ledger.put(batch_no, place, Some(Leaf::minted(deposit, batch_no)));
        }
        operations.iter().cloned().for_each(|operation| self.add_operation(operation));
        let digest = self.rules.circuits.get(&plan.shape).copied().unwrap_or_default();
        self.farm.enqueue(batch_no, plan.shape, digest, batch.input_hash);
        self.touched.batches.insert(batch_no);
        self.batches.insert(batch_no, Batch { public_inputs: sealed.public_inputs, ..batch.clone() });
        Ok(())
    }

    /// Works out what the open batch becomes if it is sealed by this plan.
    fn sealing(&self, plan: &SealPlan, at: u64) -> Result<Sealing, StateError> {
        let shape = plan.shape;
        let OpenBatch { batch_no, start, slots, operations, .. } = self.batcher.open_batch();
        let (batch_no, start) = (*batch_no, *start);
        let unprovable = |detail: String| StateError::Unprovable { batch_no, detail };
        let (deposits, requests) = self.batcher.next_entries(plan);
        let mut operations = operations.clone();
        let mut added = Vec::new();
        let mut inputs: Vec<SlotInput> = Vec::with_capacity(shape.slots());
        let mut effects: Vec<Option<SlotEffect>> = Vec::with_capacity(shape.slots());
        for filled in slots {
            inputs.push(filled.input.clone());
            effects.push(Some(filled.effect));
        }
        if !requests.is_empty() {
            inputs.resize(shape.slots() - requests.len(), SlotInput::Noop);
            effects.resize(shape.slots() - requests.len(), None);
        }
        let mut forced = Vec::with_capacity(requests.len());
        // Each meets the ledger as the one before left it.
        let mut changed: BTreeMap<u64, Option<HeldLeaf>> = BTreeMap::new();
        for request in &requests {
            let place = start + inputs.len() as u64;
            let here = changed.get(&request.index).copied();
            let held = here.unwrap_or_else(|| self.ledger.leaf(request.index).map(Leaf::held));
            let entry = ForcedEntry {
                kind: request.kind,
                index: request.index,
                account: request.account,
                new_account: request.new_account,
                held,
            };
            let context = SlotContext { domain: self.rules.domain, batch_no, place };
            let effect = entry.effect(&context).map_err(|error| unprovable(error.to_string()))?;
            changed.insert(request.index, entry.after());
            added.push(forced_operation(request, &entry, batch_no, at));
            inputs.push(SlotInput::Forced(entry));
            effects.push(Some(effect));
            forced.push((entry, request.owner));
        }
        added.extend(deposits.iter().map(|deposit| mint_operation(deposit, batch_no, at)));
        operations.extend(added.iter().map(|operation| operation.id));

        let mut appended: Vec<Fr> =
            effects.iter().map(|e| e.map_or_else(Fr::default, |e| e.output)).collect();
        appended.resize(shape.slots(), Fr::default());
        appended.extend(deposits.iter().map(|deposit| leaf(&deposit.account, &deposit.range)));
        let opened: Vec<Option<u64>> = inputs.iter().map(SlotInput::index).collect();
        let written: Vec<(u64, Fr)> = opened
            .iter()
            .zip(&effects)
            .filter_map(|(index, effect)| Some(((*index)?, effect.as_ref()?.new_leaf)))
            .collect();
        let change =
            Change { batch_no, shape, start, appended: &appended, opened: &opened, written: &written };
        let (tree, applied) = self.tree.hashed(&change, self.rules.parallel)?;

        let mut mints: Vec<[Fr; 2]> = deposits.iter().map(|d| [d.account, d.range.packed()]).collect();
        mints.resize(shape.mint_places(), [Fr::default(); 2]);
        let mut records: Vec<Option<Record>> = effects.iter().map(|effect| effect.as_ref()?.record).collect();
        records.resize(shape.slots(), None);
        let head = Head {
            shape,
            domain: self.rules.domain,
            batch_no,
            old_root: applied.old_root,
            mid_root: applied.mid_root,
            new_root: applied.new_root,
            start,
        };
        let public_data = PublicData { head, mints, records };
        let input = BatchInput {
            shape,
            domain: self.rules.domain,
            batch_no,
            start,
            append_siblings: applied.append_siblings,
            carried_nodes: applied.carried_nodes,
            slots: inputs
                .into_iter()
                .zip(applied.paths)
                .map(|(input, siblings)| PlacedSlot { input, siblings })
                .collect(),
            mints: deposits.iter().map(|d| Mint { account: d.account, range: d.range }).collect(),
        };
        let encoded = encode_batch_input(&input).map_err(|error| unprovable(error.to_string()))?;
        let batch = Batch {
            batch_no,
            shape,
            start,
            old_root: applied.old_root,
            mid_root: applied.mid_root,
            new_root: applied.new_root,
            public_inputs: [Fr::default(); 3],
            input_hash: input_hash(&encoded),
            input: Some(Arc::from(encoded)),
            mints: deposits,
            forced: requests,
            records: public_data.records.iter().flatten().copied().collect(),
            operations,
            timeline: vec![protocol::TimelineEntry { stage: Stage::Sealed, at, l1_tx: None }],
            attempts: 0,
            worker: None,
            proof: None,
            prove_ms: None,
            witness_ms: None,
            l1_tx: None,
            l1_block: None,
            gas_used: None,
            late: BTreeSet::new(),
        };
        // The worker replays the input before it proves; tests do so here, for every batch they seal.
        if cfg!(debug_assertions) {
            let prepared = Prepared::new(input).map_err(|error| unprovable(error.to_string()))?;
            if prepared.public_data != public_data {
                return Err(unprovable("its replay shows L1 something else".to_owned()));
            }
        }
        Ok(Sealing { batch, public_data, forced, operations: added, tree })
    }
}

fn forced_operation(request: &ForcedRequest, entry: &ForcedEntry, batch_no: u32, at: u64) -> Operation {
    Operation {
        id: OperationId::of_forced(request.id),
        kind: match request.kind {
            circuits::slot::ForcedKind::Exit => OperationKind::ForcedExit,
            circuits::slot::ForcedKind::Rekey => OperationKind::ForcedRekey,
        },
        sender: Some(request.owner),
        recipient: Some(request.owner),
        amount: entry.held.filter(|_| entry.hit()).map_or(0, |held| held.range.amount()),
        batch_no,
        at,
        deadline: 0,
        promised: Vec::new(),
        hit: Some(entry.hit()),
    }
}

fn mint_operation(deposit: &Deposit, batch_no: u32, at: u64) -> Operation {
    Operation {
        id: OperationId::of_deposit(deposit.id),
        kind: OperationKind::Mint,
        sender: Some(deposit.depositor),
        recipient: Some(deposit.owner),
        amount: deposit.range.amount(),
        batch_no,
        at,
        deadline: 0,
        promised: Vec::new(),
        hit: None,
    }
}
