//! Several nodes of one chain as one: asked in their order, compared with each other.
//!
//! Invariant: whatever is read comes from a node that agrees with the majority on the lowest final block, agrees on the
//! contract's root with all that stand at the same head, and is not far behind the highest head. One that disagrees raises an
//! alarm and is not used; where there is no majority nobody is used. A node that fails is passed over for the next one.
//!
//! A transaction is offered to one node after another until one takes it. It counts as not taken only if all of them said so.
//!
//! Known limit: heads are believed. A node that invents one has the others look behind, until they disagree on a final block.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use contracts::{Word, calls};
use futures::future::{BoxFuture, join_all};
use tokio::{sync::OnceCell, time::Instant};

use super::{
    At, BlockRef, Chain, ChainError, ContractState, Deployment, DryRun, Fees, Hash32, Logs, Receipt,
    SendOutcome, SignedTx, SubmitBatch,
};
use crate::service::Address;

/// So many blocks behind the highest head a node is not asked.
const BEHIND: u64 = 3;
/// A comparison holds for so long.
const FRESH: Duration = Duration::from_secs(1);
/// A node that has not answered the comparison by then is passed over until the next one.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connects to a node; asked again while it cannot be reached.
pub type Connect = Box<dyn Fn() -> BoxFuture<'static, Result<Arc<dyn Chain>, ChainError>> + Send + Sync>;

struct Member {
    /// Host and port.
    name: String,
    connect: Connect,
    chain: OnceCell<Arc<dyn Chain>>,
}

/// Where a node stands.
#[derive(Clone, Copy)]
struct Standing {
    member: usize,
    head: BlockRef,
    settled: Option<BlockRef>,
}

/// What the last comparison found.
#[derive(Clone, Default)]
struct Found {
    at: Option<Instant>,
    /// Those that can be asked, in order.
    usable: Vec<Standing>,
    alarm: Option<String>,
    /// Why the others cannot be asked.
    reasons: Vec<String>,
}

/// See the module.
pub struct Several {
    members: Vec<Member>,
    found: Mutex<Found>,
}

/// The value that more than half of them have, and the places of those that have another one. Nothing where no value has more
/// than half.
fn majority<T: Copy + Eq + Hash>(values: &[(usize, T)]) -> Option<Vec<usize>> {
    let mut counts: HashMap<T, usize> = HashMap::new();
    values.iter().for_each(|(_, value)| *counts.entry(*value).or_default() += 1);
    let (most, _) = counts.into_iter().find(|(_, count)| 2 * count > values.len())?;
    Some(values.iter().filter(|(_, value)| *value != most).map(|(member, _)| *member).collect())
}

impl Several {
    /// Of nodes by name, in the order in which they are asked.
    ///
    /// # Errors
    /// If none can be reached, or one is not what it should be.
    pub async fn connect(nodes: Vec<(String, Connect)>) -> Result<Self, ChainError> {
        let members =
            nodes.into_iter().map(|(name, connect)| Member { name, connect, chain: OnceCell::new() });
        let several = Self { members: members.collect(), found: Mutex::default() };
        for member in &several.members {
            match member.chain().await {
                Ok(_) => {}
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
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn named(&self, members: &[usize]) -> String {
        members.iter().map(|member| self.members[*member].name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Looks at all nodes, unless that was done a moment ago.
    async fn compare(&self) -> Result<Found, ChainError> {
        let known = self.found().clone();
        if known.at.is_some_and(|at| at.elapsed() < FRESH) && !known.usable.is_empty() {
            return Ok(known);
        }
        let mut found = self.look().await;
        found.at = Some(Instant::now());
        if found.alarm != known.alarm
            && let Some(alarm) = &found.alarm
        {
            tracing::error!(alarm, "nodes contradict each other");
        }
        *self.found() = found.clone();
        if found.usable.is_empty() {
            let reasons = found.alarm.iter().chain(&found.reasons).cloned().collect::<Vec<_>>().join("; ");
            return Err(ChainError::Unreachable(format!("no node can be used: {reasons}")));
        }
        Ok(found)
    }

    async fn look(&self) -> Found {
        let mut found = Found::default();
        let answers = join_all(self.members.iter().map(Member::heights)).await;
        let mut answering = Vec::new();
        for (member, answer) in answers.into_iter().enumerate() {
            match answer {
                Ok((head, settled)) => answering.push(Standing { member, head, settled }),
                Err(error) => found.reasons.push(format!("{}: {error}", self.members[member].name)),
            }
        }
        let mut heads: Vec<u64> = answering.iter().map(|node| node.head.number).collect();
        heads.sort_unstable();
        // The middle one, of two the higher: of three nodes, one cannot put the others aside by an invented head.
        let best = heads.get(heads.len() / 2).copied().unwrap_or(0);
        answering.retain(|node| {
            let near = node.head.number.abs_diff(best) <= BEHIND;
            if !near {
                let name = &self.members[node.member].name;
                found.reasons.push(format!("{name}: it is at block {}, others at {best}", node.head.number));
            }
            near
        });
        let mut alarms = Vec::new();
        // Final blocks do not differ. The middle one is compared: a node that names an invented height moves it nowhere.
        let mut settled: Vec<u64> = answering.iter().filter_map(|node| Some(node.settled?.number)).collect();
        settled.sort_unstable();
        if let Some(&middle) = settled.get(settled.len().saturating_sub(1) / 2) {
            // A node that is a few blocks behind has it too, where finality is that close to the head.
            let lowest = answering.iter().map(|node| node.head.number).min().unwrap_or(middle);
            let height = middle.min(lowest);
            let hashes =
                self.of_each(&answering, |chain| async move { chain.block_hash(height).await.ok()? }).await;
            answering.retain(|node| {
                let given = hashes.iter().any(|(member, _)| *member == node.member);
                if !given {
                    let name = &self.members[node.member].name;
                    found.reasons.push(format!("{name}: it does not give final block {height}"));
                }
                given
            });
            self.judge(&hashes, &format!("final block {height}"), &mut answering, &mut alarms);
        }
        // Nor does the contract's root after the same block.
        let roots = self.of_each(&answering, |chain| async move {
            let state = chain.contract_state().await.ok()?;
            // Whatever else there is, it was read on this head.
            Some((chain.head().await.ok()?.hash, state.root))
        });
        let roots = roots.await;
        let standing = answering.clone();
        for node in &standing {
            let on_it = |member: usize| {
                standing.iter().any(|other| other.member == member && other.head.hash == node.head.hash)
            };
            let same: Vec<(usize, Word)> = roots
                .iter()
                .filter(|(member, (after, _))| on_it(*member) && *after == node.head.hash)
                .map(|(member, (_, root))| (*member, calls::word(root)))
                .collect();
            let before = answering.len();
            let what = format!("root of the contract after block {}", node.head.number);
            self.judge(&same, &what, &mut answering, &mut alarms);
            if answering.len() < before {
                break;
            }
        }
        found.usable = answering;
        found.alarm = (!alarms.is_empty()).then(|| alarms.join("; "));
        found
    }

    async fn of_each<T, F: Future<Output = Option<T>>>(
        &self,
        nodes: &[Standing],
        ask: impl Fn(Arc<dyn Chain>) -> F,
    ) -> Vec<(usize, T)> {
        let asked = nodes.iter().filter_map(|node| {
            let asked = ask(Arc::clone(self.members[node.member].chain.get()?));
            Some(async move { Some((node.member, tokio::time::timeout(PATIENCE, asked).await.ok()??)) })
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// Leaves out those that are not of the majority; all, where there is none.
    fn judge<T: Copy + Eq + Hash>(
        &self,
        values: &[(usize, T)],
        what: &str,
        answering: &mut Vec<Standing>,
        alarms: &mut Vec<String>,
    ) {
        let voters: Vec<usize> = values.iter().map(|(member, _)| *member).collect();
        let (out, words) = match majority(values) {
            _ if values.is_empty() => return,
            Some(out) if out.is_empty() => return,
            Some(out) => {
                let words = format!(
                    "PM-CHAIN-005: {} gives another {what} than the others; it is not used: mend it or take it out of --rpc",
                    self.named(&out)
                );
                (out, words)
            }
            None => {
                let words = format!(
                    "PM-CHAIN-006: {} do not agree on {what}, and none has a majority; nothing is read or sent until they do, or \
                     the wrong one is taken out of --rpc",
                    self.named(&voters)
                );
                (voters, words)
            }
        };
        alarms.push(words);
        answering.retain(|node| !out.contains(&node.member));
    }

    /// The first answer of those that can be asked.
    async fn first<T, F: Future<Output = Result<T, ChainError>>>(
        &self,
        ask: impl Fn(Arc<dyn Chain>) -> F,
    ) -> Result<T, ChainError> {
        let mut failed = None;
        for Standing { member, .. } in self.compare().await?.usable {
            let Some(chain) = self.members[member].chain.get() else { continue };
            match ask(Arc::clone(chain)).await {
                Err(error @ (ChainError::Unreachable(_) | ChainError::Unexpected(_))) => {
                    tracing::debug!(node = self.members[member].name, %error, "the next node is asked");
                    failed = failed.or(Some(error));
                }
                outcome => return outcome,
            }
        }
        Err(failed.unwrap_or_else(|| ChainError::Unreachable("no node can be used".to_owned())))
    }
}

impl Member {
    async fn chain(&self) -> Result<&Arc<dyn Chain>, ChainError> {
        self.chain.get_or_try_init(&self.connect).await
    }

    async fn heights(&self) -> Result<(BlockRef, Option<BlockRef>), ChainError> {
        let asked = async {
            let chain = self.chain().await?;
            Ok((chain.head().await?, chain.finalized().await?))
        };
        let late = || ChainError::Unreachable(format!("no answer in {} s", PATIENCE.as_secs()));
        tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(late()))
    }
}

#[async_trait]
impl Chain for Several {
    async fn deployment(&self) -> Result<Deployment, ChainError> {
        self.first(|chain| async move { chain.deployment().await }).await
    }

    async fn head(&self) -> Result<BlockRef, ChainError> {
        let usable = self.compare().await?.usable;
        let head = usable.first().map(|node| node.head);
        head.ok_or_else(|| ChainError::Unreachable("no node can be used".to_owned()))
    }

    async fn finalized(&self) -> Result<Option<BlockRef>, ChainError> {
        Ok(self.compare().await?.usable.first().and_then(|node| node.settled))
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
            let Some(chain) = self.members[member].chain.get() else { continue };
            match chain.send_raw(tx).await {
                Ok(outcome @ SendOutcome::NotTaken(_)) => not_taken = not_taken.or(Some(outcome)),
                Ok(outcome @ SendOutcome::Refused(_)) => in_doubt = in_doubt.or(Some(Ok(outcome))),
                Ok(outcome) => return Ok(outcome),
                Err(error) => in_doubt = in_doubt.or(Some(Err(error))),
            }
        }
        in_doubt
            .or(not_taken.map(Ok))
            .unwrap_or_else(|| Err(ChainError::Unreachable("no node can be used".to_owned())))
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
