//! Questions about the state.

use circuits::tree::DEPTH;
use protocol::{OperationId, OwnershipProof, Stage, l1::SubmitBatch};

use super::{Batch, Operation, State};
use crate::rejection::Rejection;

impl State {
    /// How far a batch has come.
    pub fn stage_of(&self, batch_no: u32) -> Stage {
        self.batches.get(&batch_no).map_or(Stage::Accepted, Batch::stage)
    }

    pub fn operation(&self, id: &OperationId) -> Option<&Operation> {
        self.operations.get(id).map(|operation| &**operation)
    }

    /// # Errors
    /// A refusal if that tree is not kept, or the leaf is empty in it.
    pub fn ownership_proof(&self, index: u64, batch_no: Option<u32>) -> Result<OwnershipProof, Rejection> {
        let (proven, finalized) = (self.tree.proven_batch(), self.tree.final_batch());
        if proven == 0 {
            return Err(Rejection::NothingProven);
        }
        let batch_no = batch_no.unwrap_or(if finalized > 0 { finalized } else { proven });
        let kept = (finalized..=proven).contains(&batch_no);
        let (Some(root), Some(siblings), true) =
            (self.tree.root_after(batch_no), self.tree.path_after(batch_no, index), kept)
        else {
            return Err(Rejection::BatchNotAvailable { batch_no, oldest: finalized, newest: proven });
        };
        let leaf = self.ledger.leaf_after(batch_no, index).ok_or(Rejection::LeafEmpty { index, batch_no })?;
        let key_hash = leaf
            .key_hash
            .or_else(|| self.ledger.directory().key_hash_of(&leaf.owner, &leaf.account))
            .ok_or(Rejection::KeyHashUnknown { index })?;
        debug_assert_eq!(siblings.len(), DEPTH);
        Ok(OwnershipProof {
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
