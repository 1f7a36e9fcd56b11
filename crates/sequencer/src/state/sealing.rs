//! The open batch becomes a `BatchInput`: forced requests and deposits join, the tree is hashed once, paths are taken.
//!
//! Order inside a batch: accepted slots, then forced requests (each meets the ledger as the one before left it), mints
//! last, spendable from the next batch on.

use std::{collections::BTreeSet, sync::Arc};

use bn254::Fr;
use circuits::{
    batch::{BatchInput, Mint, PlacedSlot, Prepared},
    leaf::leaf,
    public_data::{Head, PublicData, Record},
    slot::{ForcedEntry, SlotContext, SlotEffect, SlotInput},
};
use protocol::{
    OperationId, OperationKind, Stage,
    l1::{Deposit, ForcedRequest},
};
use wire::job::{encode_batch_input, input_hash};

use super::{
    Batch, Operation, State, StateError,
    event::{Event, Sealed, Stamped},
};
use crate::{
    batcher::{OpenBatch, SealPlan, SealReason},
    ledger::Leaf,
    tree::Change,
};

/// A sealed batch before its public inputs are known.
struct Draft {
    batch: Batch,
    input: BatchInput,
    public_data: PublicData,
}

impl State {
    /// Seals the open batch and opens the next one.
    ///
    /// # Errors
    /// `StateError::Unprovable` if the circuit would refuse what was accepted, which would be a bug.
    pub(super) fn seal(
        &mut self,
        (plan, reason): (SealPlan, SealReason),
        next_needs: usize,
        now: u64,
        log: &mut Vec<Stamped>,
    ) -> Result<(), StateError> {
        let Draft { mut batch, input, public_data } = self.seal_open(&plan, now)?;
        let batch_no = batch.batch_no;
        // The worker replays the input before it proves; tests do so here, for every batch they seal.
        if cfg!(debug_assertions) {
            let unprovable = |detail: String| StateError::Unprovable { batch_no, detail };
            let prepared = Prepared::new(input).map_err(|error| unprovable(error.to_string()))?;
            if prepared.public_data != public_data {
                return Err(unprovable("its replay shows L1 something else".to_owned()));
            }
        }
        batch.public_inputs = public_data.public_inputs();
        let sealed = Sealed {
            batch_no,
            shape: plan.shape,
            mints: plan.mints as u32,
            forced: plan.forced as u32,
            mid_root: batch.mid_root,
            new_root: batch.new_root,
            public_inputs: batch.public_inputs,
            input_hash: batch.input_hash,
            reason,
        };
        self.batches.insert(batch_no, batch);
        log.push(Stamped { at: now, event: Event::Sealed(Box::new(sealed)) });
        self.reopen(next_needs, now, log);
        Ok(())
    }

    /// Opens the next batch, or the empty open one again, in a class that holds `slots`.
    pub(super) fn reopen(&mut self, slots: usize, now: u64, log: &mut Vec<Stamped>) {
        let places = self.batcher.class_for(slots);
        let batch_no = self.tree.state_batch() + 1;
        self.batcher.open(batch_no, places);
        log.push(Stamped { at: now, event: Event::Opened { batch_no, places: places as u32 } });
    }

    pub(super) fn replay_sealing(&mut self, sealed: &Sealed, at: u64) -> Result<(), StateError> {
        let batch_no = sealed.batch_no;
        let plan =
            SealPlan { shape: sealed.shape, mints: sealed.mints as usize, forced: sealed.forced as usize };
        let (deposits, forced) = self.batcher.waiting();
        let fits = self.batcher.open.slots.len() + plan.forced <= plan.shape.slots();
        if batch_no != self.batcher.open.batch_no || plan.mints > deposits || plan.forced > forced || !fits {
            return Err(StateError::Log(format!("batch {batch_no} was sealed out of order")));
        }
        let Draft { mut batch, .. } = self.seal_open(&plan, at)?;
        let same = (batch.mid_root, batch.new_root, batch.input_hash);
        if same != (sealed.mid_root, sealed.new_root, sealed.input_hash) {
            return Err(StateError::Root { batch_no });
        }
        batch.public_inputs = sealed.public_inputs;
        self.batches.insert(batch_no, batch);
        Ok(())
    }

    fn seal_open(&mut self, plan: &SealPlan, at: u64) -> Result<Draft, StateError> {
        let shape = plan.shape;
        let (open, deposits, forced) = self.batcher.seal(plan);
        let OpenBatch { batch_no, start, slots, mut operations, .. } = open;
        let mut inputs = Vec::with_capacity(shape.slots());
        let mut effects: Vec<Option<SlotEffect>> = Vec::with_capacity(shape.slots());
        for filled in slots {
            inputs.push(filled.input);
            effects.push(Some(filled.effect));
        }
        if !forced.is_empty() {
            inputs.resize(shape.slots() - forced.len(), SlotInput::Noop);
            effects.resize(shape.slots() - forced.len(), None);
        }
        for request in &forced {
            let place = start + inputs.len() as u64;
            let (entry, effect) = self.force(request, batch_no, place)?;
            operations.push(self.forced_operation(request, &entry, batch_no, at));
            inputs.push(SlotInput::Forced(entry));
            effects.push(Some(effect));
        }
        for (j, deposit) in deposits.iter().enumerate() {
            let place = start + (shape.slots() + j) as u64;
            let minted = Leaf {
                owner: deposit.owner,
                key_hash: Some(deposit.key_hash),
                account: deposit.account,
                range: deposit.range,
                batch_no,
            };
            self.ledger.put(batch_no, place, Some(minted));
            operations.push(self.mint_operation(deposit, batch_no, at));
        }

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
        let applied = self.tree.apply(&change, self.rules.parallel)?;

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
        let encoded = encode_batch_input(&input)
            .map_err(|error| StateError::Unprovable { batch_no, detail: error.to_string() })?;
        let input_hash = input_hash(&encoded);
        let digest = self.rules.circuits.get(&shape).copied().unwrap_or_default();
        self.farm.enqueue(batch_no, shape, digest, input_hash);
        self.touched.batches.insert(batch_no);
        let batch = Batch {
            batch_no,
            shape,
            start,
            old_root: applied.old_root,
            mid_root: applied.mid_root,
            new_root: applied.new_root,
            public_inputs: [Fr::default(); 3],
            input_hash,
            input: Some(Arc::from(encoded)),
            mints: deposits,
            forced,
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
        Ok(Draft { batch, input, public_data })
    }

    /// What a forced request does at `place`: the state decides.
    fn force(
        &mut self,
        request: &ForcedRequest,
        batch_no: u32,
        place: u64,
    ) -> Result<(ForcedEntry, SlotEffect), StateError> {
        let entry = ForcedEntry {
            kind: request.kind,
            index: request.index,
            account: request.account,
            new_account: request.new_account,
            held: self.ledger.leaf(request.index).map(Leaf::held),
        };
        let effect = entry
            .effect(&SlotContext { domain: self.rules.domain, batch_no, place })
            .map_err(|error| StateError::Unprovable { batch_no, detail: error.to_string() })?;
        self.ledger.force(batch_no, &entry, request.owner);
        Ok((entry, effect))
    }

    fn forced_operation(
        &mut self,
        request: &ForcedRequest,
        entry: &ForcedEntry,
        batch_no: u32,
        at: u64,
    ) -> OperationId {
        let id = OperationId::of_forced(request.id);
        self.add_operation(Operation {
            id,
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
        });
        id
    }

    fn mint_operation(&mut self, deposit: &Deposit, batch_no: u32, at: u64) -> OperationId {
        let id = OperationId::of_deposit(deposit.id);
        self.add_operation(Operation {
            id,
            kind: OperationKind::Mint,
            sender: Some(deposit.depositor),
            recipient: Some(deposit.owner),
            amount: deposit.range.amount(),
            batch_no,
            at,
            deadline: 0,
            promised: Vec::new(),
            hit: None,
        });
        id
    }
}
