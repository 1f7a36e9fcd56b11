//! The `Service`: checks that need no state before the driver, promises after its commit.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use api::service::{
    BatchView, CoinView, ListOf, OperationView, PromiseView, Readiness, Service, SystemView, WorkerView,
};
use async_trait::async_trait;
use bn254::Fr;
use circuits::{eddsa, public_data::domain, shape::Shape};
use context::{cost, trace::TraceId};
use parking_lot::Mutex;
use protocol::{
    Address, Balances, DirectoryEntry, Draft, OperationId, OwnershipProof, PrepareSend, PrepareWithdraw,
    SubmitRequest,
    ecdsa::OperatorKey,
    eip712::{self, SigningDomain, TypedMessage},
    l1::Deployment,
};
use sequencer::{
    ledger::{
        Limits,
        accept::{check_idempotency_key, verify},
        prepare::Book,
    },
    rejection::Rejection,
    state::{State, event::KeyRegistered},
};
use sha2::{Digest, Sha256};
use store::History;
use tokio::sync::oneshot;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Message, SharedStatus, health, known_keys::KnownKeys, reads::read, scribe::Scribe, share::Share,
};
use crate::{chain::Chain, config::Config, views::Views};

/// A question about health that is not answered in this time says something by itself.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Messages that may wait for the driver. Requests are limited before (`Config::waiting_max`), and each task waits for its answer.
pub(crate) const INBOX: usize = 1 << 15;
/// While the inbox is full it is tried again after this.
const FULL: Duration = Duration::from_millis(5);

/// The way into the driver.
#[derive(Clone)]
pub struct Link {
    sender: SyncSender<Message>,
}

impl Link {
    /// The way in, and the inbox that it leads to. What lies in the inbox when that is dropped is dropped too, so that whoever
    /// waits for an answer hears of it (which is not so with the bounded channels of crossbeam).
    pub fn new() -> (Self, Receiver<Message>) {
        let (sender, inbox) = sync_channel(INBOX);
        (Self { sender }, inbox)
    }

    /// False if the driver has stopped or too much waits for it.
    pub fn try_send(&self, message: Message) -> bool {
        self.sender.try_send(message).is_ok()
    }

    /// Waits while too much waits. False once the driver has stopped.
    pub async fn send(&self, mut message: Message) -> bool {
        loop {
            match self.sender.try_send(message) {
                Ok(()) => return true,
                Err(TrySendError::Disconnected(_)) => return false,
                Err(TrySendError::Full(back)) => message = back,
            }
            tokio::time::sleep(FULL).await;
        }
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
        self.send(Message::Ask(Box::new(question))).await;
        answer.await.ok()
    }
}

/// A running coordinator.
pub struct Handle {
    pub(super) config: Config,
    pub(super) deployment: Deployment,
    pub(super) circuits: BTreeMap<Shape, [u8; 32]>,
    pub(super) domain: Fr,
    pub(super) signing: SigningDomain,
    pub(super) limits: Limits,
    keys: Arc<KnownKeys>,
    pub(super) operator: OperatorKey,
    chain: Arc<dyn Chain>,
    pub(super) link: Link,
    pub(super) status: SharedStatus,
    cancel: CancellationToken,
    ended: CancellationToken,
    tasks: TaskTracker,
    thread: Mutex<Option<JoinHandle<()>>>,
    waiting: AtomicUsize,
    pub(super) draining: AtomicBool,
    pub(super) views: Arc<Views>,
    pub(super) history: Arc<dyn History>,
    pub(super) scribe: Scribe,
    share: Share,
}

/// What `start` made.
pub(super) struct Running {
    pub config: Config,
    pub deployment: Deployment,
    pub circuits: BTreeMap<Shape, [u8; 32]>,
    pub operator: OperatorKey,
    pub chain: Arc<dyn Chain>,
    pub link: Link,
    pub status: SharedStatus,
    pub readings: Readings,
    pub threads: Threads,
}

/// What runs, and how it is ended.
pub(super) struct Threads {
    pub cancel: CancellationToken,
    /// The driver has ended.
    pub ended: CancellationToken,
    pub tasks: TaskTracker,
    pub driver: JoinHandle<()>,
}

/// What readers use.
pub(super) struct Readings {
    pub views: Arc<Views>,
    pub history: Arc<dyn History>,
    pub scribe: Scribe,
}

/// A place among the waiting requests, given back when it is dropped.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Runs costly pure work in the pool, at the cost of the request.
pub(super) async fn pooled<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Rejection> {
    let (reply, answer) = oneshot::channel();
    rayon::spawn(move || {
        let begun = cost::thread_time();
        let done = work();
        let _ = reply.send((done, cost::thread_time().saturating_sub(begun)));
    });
    let (done, took) = answer.await.map_err(|_| Rejection::Unavailable)?;
    cost::charge(took);
    Ok(done)
}

impl Handle {
    pub(super) fn new(running: Running) -> Self {
        let Running { config, deployment, circuits, operator, chain, link, status, readings, threads } =
            running;
        let Readings { views, history, scribe } = readings;
        let Threads { cancel, ended, tasks, driver } = threads;
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
            thread: Mutex::new(Some(driver)),
            waiting: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            views,
            history,
            scribe,
            share: Share::default(),
        }
    }

    fn enter(&self) -> Result<Place<'_>, Rejection> {
        if self.draining.load(Ordering::Acquire) {
            return Err(Rejection::Draining);
        }
        if self.status.takes_nothing() {
            return Err(Rejection::StoreTakesNothing);
        }
        let place = Place(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::AcqRel) >= self.config.waiting_max {
            return Err(Rejection::Busy);
        }
        Ok(place)
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
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
    pub async fn ask_state<T: Send + 'static>(
        &self,
        question: impl FnOnce(&State) -> T + Send + 'static,
    ) -> T {
        self.link.ask(question).await.unwrap()
    }

    /// Keys that a signature was verified with.
    #[cfg(test)]
    pub fn keys_known(&self) -> usize {
        self.keys.len()
    }

    /// Refuses new operations, waits for those under way, and seals the open batch.
    pub async fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        while self.waiting.load(Ordering::Acquire) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (reply, sealed) = oneshot::channel();
        if self.link.send(Message::Seal(reply)).await {
            // An error means that the driver has stopped, and nothing is left to seal.
            let _ = sealed.await;
        }
        wire::failpoint("drain.sealed");
    }

    /// Whether everything accepted is final and no deposit or forced request waits.
    pub async fn settled(&self) -> bool {
        let settled = |state: &State| {
            let idle = state.batcher().open_batch().slots.is_empty() && state.batcher().waiting() == (0, 0);
            idle && state.tree().final_batch() == state.tree().state_batch()
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
        self.link.send(Message::Stop).await;
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            // A panic of the driver was reported by its own hook.
            let _ = tokio::task::spawn_blocking(move || thread.join().is_ok()).await;
        }
    }

    async fn check_entry(&self, entry: &DirectoryEntry) -> Result<(), Rejection> {
        let signing = self.signing;
        let checked = entry.clone();
        pooled(move || {
            eddsa::check_key(&checked.key).map_err(|error| Rejection::InvalidKey { error })?;
            let message = eip712::DirectoryEntry {
                owner: checked.owner,
                key: checked.key,
                key_epoch: checked.key_epoch,
            };
            match message.recover(&signing, &checked.signature) {
                Ok(signer) if signer == checked.owner => Ok(()),
                _ => Err(Rejection::InvalidEntrySignature),
            }
        })
        .await??;
        let epoch = self.chain.key_epoch(entry.owner).await.map_err(|_| Rejection::ChainUnavailable)?;
        if entry.key_epoch == epoch {
            Ok(())
        } else {
            Err(Rejection::KeyEpochStale { given: entry.key_epoch, current: epoch })
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.cancel.cancel();
        self.status.stop();
        // If it is full the driver ends when all ways in are gone.
        self.link.try_send(Message::Stop);
    }
}

#[async_trait]
impl Service for Handle {
    async fn system(&self) -> SystemView {
        self.system_view()
    }

    async fn balances(&self, address: Address) -> Balances {
        self.views.balances(&address)
    }

    async fn coins(&self, address: Address, after: Option<u64>, limit: usize) -> Vec<CoinView> {
        self.views.coins(&address, after, limit)
    }

    async fn directory_entry(&self, owner: Address) -> Option<DirectoryEntry> {
        self.views.directory_entry(&owner)
    }

    async fn operation(&self, id: OperationId) -> Result<Option<OperationView>, Rejection> {
        read(self.history.operation(id).await)
    }

    async fn operations(
        &self,
        list: ListOf,
        after: Option<OperationId>,
        limit: usize,
    ) -> Result<Option<Vec<OperationView>>, Rejection> {
        read(self.history.operations(list, after, limit).await)
    }

    async fn promises(&self, id: OperationId) -> Result<Vec<PromiseView>, Rejection> {
        self.kept_promises(id).await
    }

    async fn batch(&self, batch_no: u32) -> Result<Option<BatchView>, Rejection> {
        self.batch_view(batch_no).await
    }

    async fn batches(&self, before: Option<u32>, limit: usize) -> Result<Vec<BatchView>, Rejection> {
        self.batch_views(before, limit).await
    }

    async fn workers(&self) -> Vec<WorkerView> {
        self.views.workers().to_vec()
    }

    async fn ownership_proof(&self, index: u64, batch_no: Option<u32>) -> Result<OwnershipProof, Rejection> {
        self.share.ask(&self.link, move |state| state.ownership_proof(index, batch_no)).await?
    }

    async fn prepare_send(&self, request: PrepareSend) -> Result<Draft, Rejection> {
        let outlook = self.views.outlook(self.domain, self.config.valid_for);
        self.views.prepare_send(&request, &self.limits, &outlook)
    }

    async fn prepare_withdraw(&self, request: PrepareWithdraw) -> Result<Draft, Rejection> {
        let outlook = self.views.outlook(self.domain, self.config.valid_for);
        self.views.prepare_withdraw(&request, &self.limits, &outlook)
    }

    async fn submit(&self, request: SubmitRequest) -> Result<OperationView, Rejection> {
        let _place = self.enter()?;
        // A repeat, or another request under its key, is answered before anything is verified.
        if let Some(answer) = self.submitted_before(&request).await {
            return answer;
        }
        let (domain, limits, keys) = (self.domain, self.limits, Arc::clone(&self.keys));
        // Check signatures, in the pool.
        let operation = pooled(move || verify(&domain, &limits, &*keys, request)).await??;
        wire::failpoint("submit.checked");
        // Apply to the ledger, take slots of the open batch, commit.
        let (reply, answer) = oneshot::channel();
        if !self.link.send(Message::Submit(Box::new(operation), TraceId::current(), reply)).await {
            return Err(Rejection::Unavailable);
        }
        let view = answer.await.map_err(|_| Rejection::Unavailable)??;
        // Durable now: promise.
        wire::failpoint("submit.durable");
        let promised = self.promised(view).await;
        wire::failpoint("submit.promised");
        promised
    }

    async fn register_key(
        &self,
        entry: DirectoryEntry,
        idempotency_key: String,
    ) -> Result<DirectoryEntry, Rejection> {
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
        if !self.link.send(Message::Register(Box::new(registered), reply)).await {
            return Err(Rejection::Unavailable);
        }
        answer.await.map_err(|_| Rejection::Unavailable)??;
        Ok(entry)
    }

    async fn readiness(&self) -> Readiness {
        // While the loop waits for its store it answers nobody; that it waits is told by the status.
        let asked = tokio::time::timeout(ANSWER_WITHIN, self.link.ask(health::trouble)).await;
        let trouble = asked.ok().flatten();
        let draining = self.draining.load(Ordering::Acquire);
        let status = self.status.get();
        let load = trouble.as_ref().and_then(|trouble| trouble.load.as_ref());
        Readiness {
            against: health::reasons(&status, draining, self.status.stuck(), trouble.as_ref()),
            warnings: health::warnings(&status, load),
        }
    }

    fn live(&self) -> Result<(), String> {
        if self.status.stuck() { Err("the coordinator's loop does not turn".to_owned()) } else { Ok(()) }
    }
}
