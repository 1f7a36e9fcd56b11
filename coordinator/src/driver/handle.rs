//! The `Service`: checks that need no state before the driver, promises after its commit.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use async_trait::async_trait;
use bn254::Fr;
use circuits::{eddsa, public_data::domain, shape::Shape};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wire::{
    ecdsa::OperatorKey,
    eip712::{self, SigningDomain, TypedMessage},
};

use super::{Message, SharedStatus, health};
use crate::{
    chain::{Chain, Deployment},
    config::Config,
    ledger::{
        KnownKeys, Limits,
        accept::{check_idempotency_key, verify},
    },
    refusal,
    service::{
        AccountView, Address, BatchView, DirectoryEntry, Draft, OperationView, OwnershipProofView,
        PrepareSend, PrepareWithdraw, Reason, Service, SubmitRequest, SystemView, UserError, WorkerView,
    },
    state::{
        State,
        event::{KeyRegistered, OperationId},
        ops,
    },
    trace::TraceId,
};

/// A question about health that is not answered in this time says something by itself.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// The way into the driver.
#[derive(Clone)]
pub(crate) struct Link {
    pub sender: crossbeam_channel::Sender<Message>,
}

impl Link {
    /// False once the driver has stopped.
    pub fn send(&self, message: Message) -> bool {
        self.sender.send(message).is_ok()
    }

    /// Asks a question about the durable state; nothing once the driver has stopped.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&State) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let question = move |state: &State| {
            // Whoever asked may have gone.
            let _ = reply.send(question(state));
        };
        self.send(Message::Ask(Box::new(question)));
        answer.await.ok()
    }
}

/// A running coordinator.
pub struct Handle {
    config: Config,
    deployment: Deployment,
    circuits: BTreeMap<Shape, [u8; 32]>,
    domain: Fr,
    signing: SigningDomain,
    limits: Limits,
    keys: Arc<KnownKeys>,
    operator: OperatorKey,
    chain: Arc<dyn Chain>,
    pub(super) link: Link,
    status: SharedStatus,
    cancel: CancellationToken,
    ended: CancellationToken,
    tasks: TaskTracker,
    thread: Mutex<Option<JoinHandle<()>>>,
    waiting: AtomicUsize,
    draining: AtomicBool,
}

/// A place among the waiting requests, given back when it is dropped.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Runs costly pure work in the pool.
pub(super) async fn pooled<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, UserError> {
    let (reply, answer) = oneshot::channel();
    rayon::spawn(move || {
        let _ = reply.send(work());
    });
    answer.await.map_err(|_| refusal::unavailable())
}

impl Handle {
    #[expect(clippy::too_many_arguments, reason = "what `start` made, moved in once")]
    pub(super) fn new(
        config: Config,
        deployment: Deployment,
        circuits: BTreeMap<Shape, [u8; 32]>,
        operator: OperatorKey,
        chain: Arc<dyn Chain>,
        link: Link,
        status: SharedStatus,
        cancel: CancellationToken,
        ended: CancellationToken,
        tasks: TaskTracker,
        thread: JoinHandle<()>,
    ) -> Self {
        let domain = domain(deployment.chain_id, &deployment.contract);
        let signing = SigningDomain { chain_id: deployment.chain_id, contract: deployment.contract };
        let limits = config.rules(domain, signing, circuits.clone()).limits;
        Self {
            config,
            deployment,
            circuits,
            domain,
            signing,
            limits,
            keys: Arc::default(),
            operator,
            chain,
            link,
            status,
            cancel,
            ended,
            tasks,
            thread: Mutex::new(Some(thread)),
            waiting: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
        }
    }

    fn enter(&self) -> Result<Place<'_>, UserError> {
        if self.draining.load(Ordering::Acquire) {
            return Err(refusal::draining());
        }
        if self.status.takes_nothing() {
            return Err(refusal::store_takes_nothing());
        }
        let place = Place(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::AcqRel) >= self.config.waiting_max {
            return Err(refusal::busy());
        }
        Ok(place)
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&State) -> T + Send + 'static,
    ) -> Result<T, UserError> {
        self.link.ask(question).await.ok_or_else(refusal::unavailable)
    }

    /// Signs the promises of an operation that is durable. The same promise always has the same signature (RFC 6979).
    async fn promise(&self, mut view: OperationView) -> Result<OperationView, UserError> {
        if view.promises.is_empty() {
            return Ok(view);
        }
        let (operator, signing) = (self.operator.clone(), self.signing);
        pooled(move || {
            for promise in &mut view.promises {
                let message = eip712::Promise {
                    operation_id: promise.operation_id,
                    kind: promise.kind,
                    batch_no: promise.batch_no,
                    index: promise.index,
                    account: promise.account,
                    range: promise.range,
                    deadline: promise.deadline,
                };
                promise.signature = message.sign(&signing, &operator).to_vec();
                promise.signer = operator.address();
            }
            view
        })
        .await
    }

    /// Whether the driver's loop does not turn.
    pub(super) fn stuck(&self) -> bool {
        self.status.stuck()
    }

    pub(super) fn status(&self) -> super::Status {
        self.status.get()
    }

    /// What the durable state says.
    #[cfg(test)]
    pub(crate) async fn ask_state<T: Send + 'static>(
        &self,
        question: impl FnOnce(&State) -> T + Send + 'static,
    ) -> T {
        self.link.ask(question).await.unwrap()
    }

    /// Refuses new operations, waits for those under way, and seals the open batch.
    pub async fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        while self.waiting.load(Ordering::Acquire) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (reply, sealed) = oneshot::channel();
        if self.link.send(Message::Seal(reply)) {
            // An error means that the driver has stopped, and nothing is left to seal.
            let _ = sealed.await;
        }
        wire::failpoint("drain.sealed");
    }

    /// Whether everything accepted is final and no deposit or forced request waits.
    pub async fn settled(&self) -> bool {
        let settled = |state: &State| {
            let idle = state.batcher.open.slots.is_empty() && state.batcher.waiting() == (0, 0);
            idle && state.tree.final_batch() == state.tree.state_batch()
        };
        self.link.ask(settled).await.unwrap_or(false)
    }

    #[cfg(test)]
    pub(super) fn status_for_tests(&self) -> super::Status {
        self.status.get()
    }

    /// Waits until the coordinator has stopped, of its own or because it was told to; says why if it is wrong to go on.
    pub async fn ended(&self) -> Option<String> {
        self.ended.cancelled().await;
        self.status.get().fatal
    }

    /// Stops everything and lets go of the data folder. What was committed stays; what was not was never promised.
    pub async fn shutdown(&self) {
        self.draining.store(true, Ordering::Release);
        // A driver that waits for its store ends now, or nobody who waits for it would.
        self.status.stop();
        self.cancel.cancel();
        self.tasks.wait().await;
        self.link.send(Message::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic of the driver was reported by its own hook.
            let _ = tokio::task::spawn_blocking(move || thread.join().is_ok()).await;
        }
    }

    async fn check_entry(&self, entry: &DirectoryEntry) -> Result<(), UserError> {
        let signing = self.signing;
        let checked = entry.clone();
        pooled(move || {
            eddsa::check_key(&checked.key).map_err(|error| refusal::invalid_key(&error))?;
            let message = eip712::DirectoryEntry {
                owner: checked.owner,
                key: checked.key,
                key_epoch: checked.key_epoch,
            };
            match message.recover(&signing, &checked.signature) {
                Ok(signer) if signer == checked.owner => Ok(()),
                _ => Err(refusal::invalid_entry_signature()),
            }
        })
        .await??;
        let epoch = self.chain.key_epoch(entry.owner).await.map_err(|_| refusal::chain_unavailable())?;
        if entry.key_epoch == epoch { Ok(()) } else { Err(refusal::key_epoch(entry.key_epoch, epoch)) }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.cancel.cancel();
        self.status.stop();
        self.link.send(Message::Stop);
    }
}

#[async_trait]
impl Service for Handle {
    async fn system(&self) -> SystemView {
        let view = self.link.ask(|state| {
            let tree = &state.tree;
            let root_of = |batch_no| tree.root_after(batch_no).unwrap_or_default();
            (
                state.batcher.open.batch_no,
                (tree.state_batch(), tree.proven_batch(), tree.final_batch()),
                (tree.root(), root_of(tree.proven_batch()), root_of(tree.final_batch())),
            )
        });
        let (open_batch, batches, roots) = view.await.unwrap_or_default();
        let status = self.status.get();
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
            open_batch,
            sealed_batch: batches.0,
            proven_batch: batches.1,
            final_batch: batches.2,
            state_root: roots.0,
            proven_root: roots.1,
            final_root: roots.2,
            intake_alarm: status.intake_alarm,
            draining: self.draining.load(Ordering::Acquire),
        }
    }

    async fn account(&self, address: Address) -> AccountView {
        let view = self.link.ask(move |state| state.account(address)).await;
        view.unwrap_or(AccountView {
            address,
            balances: Default::default(),
            coins: Vec::new(),
            operations: Vec::new(),
        })
    }

    async fn directory_entry(&self, owner: Address) -> Option<DirectoryEntry> {
        self.link.ask(move |state| state.directory_entry(&owner)).await.flatten()
    }

    async fn operation(&self, id: &str) -> Option<OperationView> {
        let id = OperationId::parse(id)?;
        let view = self.link.ask(move |state| state.operation(&id)).await.flatten()?;
        self.promise(view).await.ok()
    }

    async fn batch(&self, batch_no: u32) -> Option<BatchView> {
        self.link.ask(move |state| state.batch_view(batch_no)).await.flatten()
    }

    async fn batches(&self, before: Option<u32>, limit: usize) -> Vec<BatchView> {
        self.link.ask(move |state| state.batches(before, limit)).await.unwrap_or_default()
    }

    async fn workers(&self) -> Vec<WorkerView> {
        self.link.ask(State::workers).await.unwrap_or_default()
    }

    async fn ownership_proof(
        &self,
        index: u64,
        batch_no: Option<u32>,
    ) -> Result<OwnershipProofView, UserError> {
        self.ask(move |state| state.ownership_proof(index, batch_no)).await?
    }

    async fn prepare_send(&self, request: PrepareSend) -> Result<Draft, UserError> {
        self.ask(move |state| state.prepare_send(&request)).await?
    }

    async fn prepare_withdraw(&self, request: PrepareWithdraw) -> Result<Draft, UserError> {
        self.ask(move |state| state.prepare_withdraw(&request)).await?
    }

    async fn submit(&self, request: SubmitRequest) -> Result<OperationView, UserError> {
        let _place = self.enter()?;
        let (domain, limits, keys) = (self.domain, self.limits, Arc::clone(&self.keys));
        // Check signatures, in the pool.
        let operation = pooled(move || verify(&domain, &limits, &keys, request)).await??;
        wire::failpoint("submit.checked");
        // Apply to the ledger, take slots of the open batch, commit.
        let (reply, answer) = oneshot::channel();
        if !self.link.send(Message::Submit(Box::new(operation), TraceId::current(), reply)) {
            return Err(refusal::unavailable());
        }
        let view = answer.await.map_err(|_| refusal::unavailable())??;
        // Durable now: promise.
        wire::failpoint("submit.durable");
        let promised = self.promise(view).await;
        wire::failpoint("submit.promised");
        promised
    }

    async fn register_key(
        &self,
        entry: DirectoryEntry,
        idempotency_key: String,
    ) -> Result<DirectoryEntry, UserError> {
        let _place = self.enter()?;
        check_idempotency_key(&idempotency_key)?;
        self.check_entry(&entry).await?;
        let mut hash = Sha256::new();
        hash.update(entry.owner);
        hash.update(bn254::fr_to_be_bytes(&entry.key.x));
        hash.update(bn254::fr_to_be_bytes(&entry.key.y));
        hash.update(entry.key_epoch.to_be_bytes());
        let registered = KeyRegistered {
            owner: entry.owner,
            key: entry.key,
            key_epoch: entry.key_epoch,
            signature: entry.signature.clone(),
            idempotency_key,
            request_hash: hash.finalize().into(),
        };
        let (reply, answer) = oneshot::channel();
        if !self.link.send(Message::Register(Box::new(registered), reply)) {
            return Err(refusal::unavailable());
        }
        answer.await.map_err(|_| refusal::unavailable())??;
        Ok(entry)
    }

    async fn reasons(&self) -> Vec<Reason> {
        // While the loop waits for its store it answers nobody; that it waits is told by the status.
        let asked = tokio::time::timeout(ANSWER_WITHIN, self.link.ask(ops::trouble)).await;
        let trouble = asked.ok().flatten();
        let draining = self.draining.load(Ordering::Acquire);
        health::reasons(&self.status.get(), draining, self.status.stuck(), trouble.as_ref())
    }

    fn live(&self) -> Result<(), String> {
        if self.status.stuck() { Err("the coordinator's loop does not turn".to_owned()) } else { Ok(()) }
    }
}
