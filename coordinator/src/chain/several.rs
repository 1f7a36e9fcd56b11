//! Several nodes of one chain as one: asked in their order, compared with each other.
//!
//! Invariant: whatever is read comes from a node that agrees with the majority on the lowest final block, agrees on the
//! contract's root with all that stand at the same head, and is not far behind the highest head. One that disagrees raises an
//! alarm and is not used; where there is no majority nobody is used. A node that fails is passed over for the next one.
//!
//! The head is the highest block that more than half of the answering nodes have, and nothing above it is final: one node
//! alone can neither invent a height nor hurry finality. Where no majority stands near that block, as of two nodes of which one
//! is far ahead, those ahead must show the same block at that height. If they do, they are merely ahead: they are asked, the
//! head stays where the others are, and after a minute an alarm says so. If they do not, nobody is used. Only a node that has
//! stood still for ten minutes, while another one has gone on, is not counted any more.
//!
//! A transaction is offered to one node after another until one takes it. It counts as not taken only if all of them said so.
//!
//! Known limit: on a chain that makes no block for ten minutes, one of two nodes can put the other aside by a head that it
//! invents. Logs and receipts come from the first node that answers; only blocks and roots are compared.
//!
//! | file | concept |
//! |---|---|
//! | `several` | which node is asked |
//! | `several/look` | what a comparison finds |
//! | `several/member` | one node: connection, rest after silence, standstill |

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::future::BoxFuture;
use parking_lot::{Mutex, MutexGuard};
use protocol::{
    Address,
    l1::{
        At, BlockRef, ChainError, ContractState, Deployment, DryRun, Fees, Hash32, Logs, Receipt,
        SendOutcome, SignedTx, SubmitBatch,
    },
};
use tokio::time::Instant;

use super::Chain;

mod look;
mod member;

use look::{Found, Standing};
use member::Member;

/// A comparison holds for so long.
const FRESH: Duration = Duration::from_secs(1);

/// Connects to a node; asked again while it cannot be reached.
pub type Connect = Box<dyn Fn() -> BoxFuture<'static, Result<Arc<dyn Chain>, ChainError>> + Send + Sync>;

/// See the module.
pub struct Several {
    members: Vec<Member>,
    found: Mutex<Found>,
    /// Held while nodes are compared: who comes meanwhile takes what is found.
    looking: tokio::sync::Mutex<()>,
}

impl Several {
    /// Of nodes by name, in the order in which they are asked.
    ///
    /// # Errors
    /// If none can be reached, or one is not what it should be.
    pub async fn connect(nodes: Vec<(String, Connect)>) -> Result<Self, ChainError> {
        let members = nodes.into_iter().map(|(name, connect)| Member::new(name, connect)).collect();
        let several = Self { members, found: Mutex::default(), looking: tokio::sync::Mutex::default() };
        for member in &several.members {
            match member.connect().await {
                Ok(()) => {}
                Err(ChainError::Unreachable(reason)) => {
                    tracing::warn!(node = member.name, reason, "a node cannot be reached; it is asked again");
                }
                Err(error) => return Err(error),
            }
        }
        several.compare().await?;
        Ok(several)
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock()
    }

    /// Looks at all nodes, unless that was done a moment ago.
    async fn compare(&self) -> Result<Found, ChainError> {
        let asked = Instant::now();
        let known = self.found().clone();
        if known.is_fresh() && !known.usable.is_empty() {
            return Ok(known);
        }
        let _one_at_a_time = self.looking.lock().await;
        let known = self.found().clone();
        let found = if known.is_fresh() && (!known.usable.is_empty() || known.at >= Some(asked)) {
            known
        } else {
            let mut found = self.look(&known).await;
            found.at = Some(Instant::now());
            if found.alarm != known.alarm
                && let Some(alarm) = &found.alarm
            {
                tracing::error!(alarm, "nodes contradict each other");
            }
            *self.found() = found.clone();
            found
        };
        if found.usable.is_empty() {
            let reasons = found.alarm.iter().chain(&found.reasons).cloned().collect::<Vec<_>>().join("; ");
            return Err(ChainError::Unreachable(format!("no node can be used: {reasons}")));
        }
        Ok(found)
    }

    /// The first answer of those that can be asked.
    async fn first<T, F: Future<Output = Result<T, ChainError>>>(
        &self,
        ask: impl Fn(Arc<dyn Chain>) -> F,
    ) -> Result<T, ChainError> {
        let mut failed = None;
        for Standing { member, .. } in self.compare().await?.usable {
            let Some(chain) = self.members[member].chain() else { continue };
            match ask(chain).await {
                Err(error @ (ChainError::Unreachable(_) | ChainError::Unexpected(_))) => {
                    tracing::debug!(node = self.members[member].name, %error, "the next node is asked");
                    failed = failed.or(Some(error));
                }
                outcome => return outcome,
            }
        }
        Err(failed.unwrap_or_else(nobody))
    }
}

fn nobody() -> ChainError {
    ChainError::Unreachable("no node can be used".to_owned())
}

#[async_trait]
impl Chain for Several {
    async fn deployment(&self) -> Result<Deployment, ChainError> {
        self.first(|chain| async move { chain.deployment().await }).await
    }

    async fn head(&self) -> Result<BlockRef, ChainError> {
        self.compare().await?.head.ok_or_else(nobody)
    }

    async fn finalized(&self) -> Result<Option<BlockRef>, ChainError> {
        Ok(self.compare().await?.settled)
    }

    async fn block_hash(&self, number: u64) -> Result<Option<Hash32>, ChainError> {
        self.first(|chain| async move { chain.block_hash(number).await }).await
    }

    async fn logs(&self, from: u64, to: u64) -> Result<Logs, ChainError> {
        self.first(|chain| async move { chain.logs(from, to).await }).await
    }

    async fn contract_state(&self) -> Result<ContractState, ChainError> {
        self.first(|chain| async move { chain.contract_state().await }).await
    }

    async fn queue_lengths(&self, block: u64) -> Result<Option<(u64, u64)>, ChainError> {
        self.first(|chain| async move { chain.queue_lengths(block).await }).await
    }

    async fn nonce(&self, owner: Address) -> Result<u64, ChainError> {
        self.first(|chain| async move { chain.nonce(owner).await }).await
    }

    async fn standing(&self, owner: Address) -> Result<(u64, ContractState), ChainError> {
        self.first(|chain| async move { chain.standing(owner).await }).await
    }

    async fn fees(&self) -> Result<Fees, ChainError> {
        self.first(|chain| async move { chain.fees().await }).await
    }

    async fn sign_submit(
        &self,
        batches: &[SubmitBatch],
        nonce: u64,
        fees: Fees,
        gas_limit: u64,
    ) -> Result<SignedTx, ChainError> {
        self.first(|chain| async move { chain.sign_submit(batches, nonce, fees, gas_limit).await }).await
    }

    async fn send_raw(&self, tx: &SignedTx) -> Result<SendOutcome, ChainError> {
        let (mut not_taken, mut in_doubt) = (None, None);
        for Standing { member, .. } in self.compare().await?.usable {
            let Some(chain) = self.members[member].chain() else { continue };
            match chain.send_raw(tx).await {
                Ok(outcome @ SendOutcome::NotTaken(_)) => not_taken = not_taken.or(Some(outcome)),
                Ok(outcome @ SendOutcome::Refused(_)) => in_doubt = in_doubt.or(Some(Ok(outcome))),
                Ok(outcome) => return Ok(outcome),
                Err(error) => in_doubt = in_doubt.or(Some(Err(error))),
            }
        }
        in_doubt.or(not_taken.map(Ok)).unwrap_or_else(|| Err(nobody()))
    }

    async fn receipt(&self, tx: Hash32) -> Result<Option<Receipt>, ChainError> {
        self.first(|chain| async move { chain.receipt(tx).await }).await
    }

    async fn dry_run(&self, batches: &[SubmitBatch], at: At) -> Result<DryRun, ChainError> {
        self.first(|chain| async move { chain.dry_run(batches, at).await }).await
    }

    async fn is_promise_signer(&self, signer: Address) -> Result<bool, ChainError> {
        self.first(|chain| async move { chain.is_promise_signer(signer).await }).await
    }

    fn alarm(&self) -> Option<String> {
        self.found().alarm.clone()
    }

    async fn key_epoch(&self, owner: Address) -> Result<u32, ChainError> {
        self.first(|chain| async move { chain.key_epoch(owner).await }).await
    }
}

#[cfg(test)]
mod tests;
