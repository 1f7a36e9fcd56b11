//! Answers to questions about the state. Promises come without their signature, which the caller adds outside the driver.

use circuits::tree::DEPTH;
use protocol::{OperationId, OperationKind, Stage, TimelineEntry, l1::SubmitBatch};
use wire::WorkerId;

use super::{Batch, Operation, Promised, State};
use crate::{
    farm::Worker,
    refusal,
    service::{OperationView, OwnershipProofView, PromiseView, UserError, WorkerHealth, WorkerView},
};

impl State {
    fn stage_of(&self, batch_no: u32) -> Stage {
        self.batches.get(&batch_no).map_or(Stage::Accepted, Batch::stage)
    }

    pub fn operation(&self, id: &OperationId) -> Option<OperationView> {
        self.operations.get(id).map(|operation| self.view(operation))
    }

    fn view(&self, operation: &Operation) -> OperationView {
        let mut timeline = vec![TimelineEntry { stage: Stage::Accepted, at: operation.at, l1_tx: None }];
        if let Some(batch) = self.batches.get(&operation.batch_no) {
            timeline.extend(batch.timeline.iter().cloned());
        }
        let promise = |promised: &Promised| PromiseView {
            operation_id: operation.id.0,
            kind: promised.kind,
            batch_no: operation.batch_no,
            index: promised.index,
            account: promised.account,
            range: promised.range,
            deadline: operation.deadline,
            signer: [0; 20],
            signature: Vec::new(),
        };
        OperationView {
            id: operation.id.to_string(),
            kind: operation.kind,
            sender: operation.sender,
            recipient: operation.recipient,
            amount: operation.amount,
            batch_no: operation.batch_no,
            stage: self.stage_of(operation.batch_no),
            timeline,
            promises: operation.promised.iter().map(promise).collect(),
            hit: operation.hit,
        }
    }

    /// Slots of a sealed batch that move coins: one for each leaf spent and each forced request.
    pub fn slots_used(&self, batch_no: u32) -> u32 {
        let operations = self.batches.get(&batch_no).into_iter().flat_map(|batch| &batch.operations);
        let slots =
            operations.filter_map(|id| self.operations.get(id)).map(|operation| match operation.kind {
                OperationKind::Mint => 0,
                OperationKind::Send | OperationKind::Withdraw => operation.promised.len(),
                OperationKind::ForcedExit | OperationKind::ForcedRekey => 1,
            });
        u32::try_from(slots.sum::<usize>()).unwrap_or(u32::MAX)
    }

    /// By name: those that are there and those that left.
    pub fn workers(&self) -> Vec<WorkerView> {
        let present = self.farm.workers().map(|(id, worker)| worker_view(id, worker, None));
        let departed =
            self.farm.departed().map(|gone| worker_view(&gone.id, &gone.worker, Some(&gone.message)));
        let mut views: Vec<WorkerView> = present.chain(departed).collect();
        views.sort_by(|a, b| a.id.cmp(&b.id));
        views
    }

    /// # Errors
    /// A refusal if that tree is not kept, or the leaf is empty in it.
    pub fn ownership_proof(
        &self,
        index: u64,
        batch_no: Option<u32>,
    ) -> Result<OwnershipProofView, UserError> {
        let (proven, finalized) = (self.tree.proven_batch(), self.tree.final_batch());
        if proven == 0 {
            return Err(refusal::nothing_proven());
        }
        let batch_no = batch_no.unwrap_or(if finalized > 0 { finalized } else { proven });
        let kept = (finalized..=proven).contains(&batch_no);
        let (Some(root), Some(siblings), true) =
            (self.tree.root_after(batch_no), self.tree.path_after(batch_no, index), kept)
        else {
            return Err(refusal::proof_not_available(batch_no, finalized, proven));
        };
        let leaf =
            self.ledger.leaf_after(batch_no, index).ok_or_else(|| refusal::leaf_empty(index, batch_no))?;
        let key_hash = leaf
            .key_hash
            .or_else(|| self.ledger.directory.key_hash_of(&leaf.owner, &leaf.account))
            .ok_or_else(|| refusal::key_hash_unknown(index))?;
        debug_assert_eq!(siblings.len(), DEPTH);
        Ok(OwnershipProofView {
            batch_no,
            root,
            index,
            owner: leaf.owner,
            key_hash,
            range: leaf.range,
            leaf: leaf.held().hash(),
            siblings,
            final_on_l1: batch_no <= finalized,
        })
    }

    /// What `submitBatch` is called with; nothing until the batch is proven and after it is final.
    pub fn submission(&self, batch_no: u32) -> Option<SubmitBatch> {
        let batch = self.batches.get(&batch_no).filter(|batch| batch.stage() < Stage::Final)?;
        Some(SubmitBatch {
            shape: batch.shape,
            batch_no,
            start: batch.start,
            mid_root: batch.mid_root,
            new_root: batch.new_root,
            h: batch.public_inputs[0],
            mints: batch.mints.clone(),
            records: batch.records.clone(),
            forced: batch.forced.clone(),
            proof: batch.proof.as_deref()?.try_into().ok()?,
        })
    }
}

fn worker_view(id: &WorkerId, worker: &Worker, left: Option<&String>) -> WorkerView {
    let sick = worker.card.as_ref().and_then(|card| card.sick.as_ref());
    let refused = (!worker.refused.is_empty())
        .then(|| worker.refused.values().map(String::as_str).collect::<Vec<_>>().join("; "));
    let health = match (left, sick) {
        (Some(_), _) => WorkerHealth::Left,
        (None, Some(_)) => WorkerHealth::Sick,
        (None, None) => WorkerHealth::Well,
    };
    let registration = worker.registration.as_ref();
    WorkerView {
        id: id.to_string(),
        health,
        reason: left.or(sick).cloned().or(refused),
        backend: registration.map(|known| known.backend.clone()),
        version: registration.map(|known| known.version.clone()),
        memory: registration.map(|known| known.memory),
        circuits: worker.circuits().collect(),
        refused: !worker.refused.is_empty(),
        seen: worker.seen,
        holds: worker.in_flight.iter().map(|named| (named.job.0, named.stage)).collect(),
        card: worker.card.clone(),
        joules_per_proof: worker.energy.joules_per_proof(),
        joules_per_payment: worker.energy.joules_per_payment(),
    }
}
