//! What readers ask, answered from the views and from the store's projections; and promises, which are signed once.

use api::service::{BatchView, OperationView, PromiseView, Service, SystemView};
use protocol::{
    OperationId, SubmitRequest,
    eip712::{self, TypedMessage},
};
use sequencer::{
    ledger::{Remembered, accept::check_idempotency_key},
    rejection::Rejection,
};
use store::{StoreError, history::Signatures};

use super::{Handle, handle::pooled};

/// An answer of the history. Its readers can do nothing about its errors but ask again.
pub(super) fn read<T>(answer: Result<T, StoreError>) -> Result<T, Rejection> {
    answer.map_err(|error| {
        metrics::counter!("proofmill_history_failures_total").increment(1);
        tracing::debug!(%error, "the history cannot be read");
        Rejection::HistoryUnavailable
    })
}

impl Handle {
    pub(super) fn system_view(&self) -> SystemView {
        let (heads, status) = (self.views.heads(), self.status.get());
        SystemView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            chain_id: self.deployment.chain_id,
            contract: self.deployment.contract,
            domain: self.domain,
            operator: self.deployment.operator,
            promise_signer: self.operator.address(),
            quantum_wei: self.deployment.quantum_wei,
            min_amount: self.limits.min_amount,
            max_leaves_per_operation: self.limits.max_leaves,
            shapes: self.circuits.iter().map(|(shape, digest)| (*shape, *digest)).collect(),
            dev_key: self.config.dev_key,
            l1_head: status.head,
            l1_finalized: status.final_block,
            open_batch: heads.open_batch,
            sealed_batch: heads.sealed,
            proven_batch: heads.proven,
            final_batch: heads.finalized,
            state_root: heads.state_root,
            proven_root: heads.proven_root,
            final_root: heads.final_root,
            intake_alarm: status.intake_alarm,
            draining: self.is_draining(),
        }
    }

    pub(super) async fn batch_view(&self, batch_no: u32) -> Result<Option<BatchView>, Rejection> {
        let open = self.views.open_batch();
        if batch_no == open.batch_no {
            return Ok(Some(open));
        }
        read(self.history.batch(batch_no).await)
    }

    /// Newest first; the open batch counts.
    pub(super) async fn batch_views(
        &self,
        before: Option<u32>,
        limit: usize,
    ) -> Result<Vec<BatchView>, Rejection> {
        let open = self.views.open_batch();
        let before = before.unwrap_or(u32::MAX);
        let (below, mut views) =
            if open.batch_no < before { (open.batch_no, vec![open]) } else { (before, Vec::new()) };
        views.truncate(limit);
        let left = limit - views.len();
        if left > 0 {
            views.extend(read(self.history.batches(below, left).await)?);
        }
        Ok(views)
    }

    /// The promises of an operation as they were given out. Where a death came between the commit and the signatures, or
    /// they are on their way to the store, they are signed now; the same promise has the same signature (RFC 6979).
    pub(super) async fn kept_promises(&self, id: OperationId) -> Result<Vec<PromiseView>, Rejection> {
        let Some(kept) = read(self.history.promises(id).await)? else { return Ok(Vec::new()) };
        let unsigned = kept.promised.iter().map(|promised| PromiseView {
            operation_id: id.0,
            kind: promised.kind,
            batch_no: kept.batch_no,
            index: promised.index,
            account: promised.account,
            range: promised.range,
            deadline: kept.deadline,
            signer: [0; 20],
            signature: Vec::new(),
        });
        let mut promises: Vec<PromiseView> = unsigned.collect();
        match kept.signed.filter(|signed| signed.signatures.len() == promises.len()) {
            Some(signed) => {
                for (promise, signature) in promises.iter_mut().zip(signed.signatures) {
                    (promise.signer, promise.signature) = (signed.signer, signature.to_vec());
                }
                Ok(promises)
            }
            None => self.sign(id, promises).await,
        }
    }

    /// Signs the promises of an operation that is durable, and has the signatures kept.
    pub(super) async fn promised(&self, view: OperationView) -> Result<OperationView, Rejection> {
        let Some(id) = OperationId::parse(&view.id) else { return Err(Rejection::Unavailable) };
        let promises = self.sign(id, view.promises).await?;
        Ok(OperationView { promises, ..view })
    }

    async fn sign(&self, id: OperationId, promises: Vec<PromiseView>) -> Result<Vec<PromiseView>, Rejection> {
        if promises.is_empty() {
            return Ok(promises);
        }
        metrics::counter!("proofmill_promises_signed_total").increment(promises.len() as u64);
        let (operator, signing) = (self.operator.clone(), self.signing);
        let signed = pooled(move || {
            let signer = operator.address();
            let sign = |promise: &PromiseView| {
                let message = eip712::Promise {
                    operation_id: promise.operation_id,
                    kind: promise.kind,
                    batch_no: promise.batch_no,
                    index: promise.index,
                    account: promise.account,
                    range: promise.range,
                    deadline: promise.deadline,
                };
                message.sign(&signing, &operator)
            };
            let signatures: Vec<[u8; 65]> = promises.iter().map(sign).collect();
            let given = promises.into_iter().zip(&signatures);
            let given = given.map(|(promise, signature)| PromiseView {
                signer,
                signature: signature.to_vec(),
                ..promise
            });
            (given.collect(), Signatures { signer, signatures })
        });
        let (given, signatures) = signed.await?;
        self.scribe.keep(id, signatures);
        Ok(given)
    }

    /// The answer to a request whose key is known already: the operation it became, or that its key stands for another
    /// request. Nothing is verified for it: it gives away no more than `operation` does.
    pub(super) async fn submitted_before(
        &self,
        request: &SubmitRequest,
    ) -> Option<Result<OperationView, Rejection>> {
        if let Err(refused) = check_idempotency_key(&request.idempotency_key) {
            return Some(Err(refused));
        }
        let known = self.views.remembered(request.sender, &request.idempotency_key)?;
        let Remembered { request_hash, operation: Some(id) } = known else {
            return Some(Err(Rejection::IdempotencyConflict));
        };
        if request_hash != request.hash() {
            return Some(Err(Rejection::IdempotencyConflict));
        }
        let id = OperationId(id);
        // While the history does not answer, the loop does: the request goes the long way.
        let view = self.operation(id).await.ok()??;
        let promises = self.kept_promises(id).await.ok()?;
        Some(Ok(OperationView { promises, ..view }))
    }
}
