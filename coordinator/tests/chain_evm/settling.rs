//! A whole coordinator over a real node: the contract's proving secrets are known, so that proofs cost nothing and the
//! contract still accepts only those of the right public inputs.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use api::service::{Operator as _, Service as _};
use bn254::Fr;
use circuits::{batch::Prepared, shape::Shape};
use coordinator::{
    Config, Handle, Parts,
    chain::{
        Chain as _,
        evm::{EvmChain, EvmSettings},
    },
    start,
    verifier::ProofVerifier,
};
use l1::{
    contract::Config as ContractConfig,
    node::{Deployed, Signer, Wallet, deploy},
};
use protocol::ecdsa::OperatorKey;
use queue::{
    WorkerQueue as _,
    memory::{Limits, MemoryQueue},
};
use store::{SqliteStore, mark::Marks};
use testbed::chain::{Backend, DEV_CHAIN, Node};
use tokio::task::JoinHandle;
use wire::{
    CircuitSupport, Control, ProcessId, ProofBytes, Registration, Timings, WorkerEvent, WorkerId,
    job::decode_batch_input,
};

use crate::mill::{alice, circuits, operator, proof_bytes};

/// Believes the proof that the known secrets give.
pub struct TrapdoorVerifier;

impl ProofVerifier for TrapdoorVerifier {
    fn digest(&self, shape: Shape) -> Option<[u8; 32]> {
        Some([shape.number() as u8; 32])
    }

    fn key_digest(&self, shape: Shape) -> Option<[u8; 32]> {
        Some([0x80 | shape.number() as u8; 32])
    }

    fn verify(&self, shape: Shape, public_inputs: &[Fr; 3], proof: &[u8; 256]) -> bool {
        *proof == proof_bytes(shape, public_inputs)
    }
}

/// A worker that proves with the known secrets. It registers again and again, which keeps it alive, too.
async fn work(queue: MemoryQueue) {
    let queue = queue.worker(WorkerId::parse("trapdoor").unwrap(), ProcessId(1));
    let circuits = Shape::ALL
        .map(|shape| CircuitSupport {
            shape,
            digest: [shape.number() as u8; 32],
            verifying_key: [0x80 | shape.number() as u8; 32],
        })
        .to_vec();
    let registration = Registration {
        backend: "trapdoor".to_owned(),
        version: "1".to_owned(),
        memory: 1,
        circuits,
        slots: 2,
    };
    let register = WorkerEvent::Register { registration, in_flight: Vec::new() };
    let mut registered = Instant::now() - Duration::from_secs(60);
    loop {
        if registered.elapsed() > Duration::from_millis(200) {
            registered = Instant::now();
            queue.emit(&register).await.unwrap();
        }
        let Some(Control::Job(entry)) = queue.next_control(Duration::from_millis(20)).await.unwrap() else {
            continue;
        };
        // Proven meanwhile.
        let Ok(input) = queue.input(entry.job).await else { continue };
        let input = decode_batch_input(&input).unwrap();
        let shape = input.shape;
        let proof = ProofBytes(proof_bytes(shape, &Prepared::new(input).unwrap().public_inputs()));
        let (job, attempt, timings) = (entry.job, entry.attempt, Timings::default());
        queue.emit(&WorkerEvent::Proved { job, attempt, proof, timings }).await.unwrap();
    }
}

/// A node, a contract on it, a user with ether, and a worker.
pub struct Scene {
    pub node: Node,
    pub deployed: Deployed,
    pub alice: Wallet,
    queue: MemoryQueue,
    worker: JoinHandle<()>,
}

/// Signs the promises, here with another key than the transactions.
fn promises() -> OperatorKey {
    OperatorKey::from_bytes(&[200; 32]).unwrap()
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

impl Scene {
    pub async fn new(backend: Backend, shapes: &[Shape]) -> Self {
        let node = Node::start(backend).await;
        let mut config = ContractConfig::new(operator().address());
        config.promise_signers.push(promises().address());
        let deployed = deploy(&node.url, &operator(), &config, &circuits(shapes)).await.unwrap();
        let alice = Wallet::connect(&node.url, deployed.contract, alice(), Some(DEV_CHAIN)).await.unwrap();
        let queue = MemoryQueue::new(Limits::default());
        let worker = tokio::spawn(work(queue.clone()));
        Self { node, deployed, alice, queue, worker }
    }

    pub async fn start(&self, config: Config, folder: &Path, signer: impl Into<Signer>) -> Arc<Handle> {
        let mut settings = EvmSettings::new(&self.node.url, self.deployed.contract, self.deployed.block);
        settings.chain_id = Some(DEV_CHAIN);
        let parts = Parts {
            store: Box::new(SqliteStore::open(folder).unwrap()),
            snapshots: None,
            queue: Arc::new(self.queue.coordinator()),
            chain: Arc::new(EvmChain::connect(settings, signer).await.unwrap()),
            verifier: Arc::new(TrapdoorVerifier),
            operator: promises(),
            marks: Marks::default(),
        };
        start(config, parts).await.unwrap()
    }
}

/// How long something may take on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);

async fn comes_true(mut holds: impl AsyncFnMut() -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if holds().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

pub async fn eventually(what: &str, holds: impl AsyncFnMut() -> bool) {
    assert!(comes_true(holds).await, "never came true: {what}");
}

impl Scene {
    /// Waits until it is so; if it never is, says how coordinator and chain are.
    pub async fn eventually(&self, handle: &Handle, what: &str, holds: impl AsyncFnMut() -> bool) {
        if comes_true(holds).await {
            return;
        }
        let overview = handle.overview().await;
        let settings = EvmSettings::new(&self.node.url, self.deployed.contract, self.deployed.block);
        let chain = EvmChain::connect(settings, operator()).await;
        let (mut state, mut logs, mut nonce) = (None, None, None);
        if let Ok(chain) = &chain {
            state = Some(chain.contract_state().await);
            nonce = Some(chain.nonce(operator().address()).await);
            let head = chain.head().await.map_or(0, |head| head.number);
            logs = Some(chain.logs(0, head).await.map(|logs| (head, logs.deposits.len(), logs.batches)));
        }
        let batches = handle.batches(None, 50).await;
        panic!(
            "never came true: {what}\n{overview:#?}\n{:?}\nstate {state:?}, nonce {nonce:?}\nlogs {logs:#?}\n{batches:#?}",
            chain.err()
        );
    }
}
