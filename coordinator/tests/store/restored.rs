//! A coordinator under load whose PostgreSQL is replaced by a dump, or by a replica that was behind.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use api::service::{OperationView, Service as _};
use bn254::Fr;
use circuits::{
    baby_jubjub::Point,
    eddsa::{PrivateKey, Signature},
    leaf::key_hash,
    message::SignedKind,
    public_data::domain,
    shape::Shape,
    slot::SignedSpend,
};
use coordinator::{
    Config, Handle, Parts, ScaleFromZero, StartError,
    chain::{Chain as _, memory::MemoryChain},
    start,
    verifier::ProofVerifier,
};
use protocol::{
    Address, DirectoryEntry, PrepareSend, SpendRequest, SubmitRequest,
    ecdsa::OperatorKey,
    eip712::{self, SigningDomain, TypedMessage as _},
    l1::Finality,
};
use queue::memory::{Limits, MemoryQueue};
use sequencer::state::{State, event::Event};
use store::{
    PostgresStore, Store as _,
    mark::{Loss, Marks},
};
use testbed::postgres::{Postgres, Settings};

use crate::fixtures::{self, settings};

/// Nothing is proven here.
struct NoProofs;

impl ProofVerifier for NoProofs {
    fn digest(&self, _shape: Shape) -> Option<[u8; 32]> {
        Some([0; 32])
    }

    fn key_digest(&self, _shape: Shape) -> Option<[u8; 32]> {
        Some([0; 32])
    }

    fn verify(&self, _shape: Shape, _public_inputs: &[Fr; 3], _proof: &[u8; 256]) -> bool {
        false
    }
}

struct Person {
    ethereum: OperatorKey,
    private: PrivateKey,
    owner: Address,
    key: Point,
}

impl Person {
    fn new(seed: u8) -> Self {
        let ethereum = OperatorKey::from_bytes(&[seed; 32]).unwrap();
        let private = PrivateKey::new([seed; 32]);
        let (owner, key) = (ethereum.address(), private.public());
        Self { ethereum, private, owner, key }
    }

    async fn sends(&self, handle: &Handle, to: &Self, amount: u64, key: &str) -> Option<OperationView> {
        let ask = PrepareSend {
            sender: self.owner,
            recipient: to.owner,
            amount,
            allow_vault: false,
            valid_until: None,
        };
        let draft = handle.prepare_send(ask).await.ok()?;
        let spends = draft.spends.iter().map(|spend| {
            let mut signed = SignedSpend {
                kind: SignedKind::Send,
                index: spend.index,
                owner: self.owner,
                key: self.key,
                range: spend.range,
                split: spend.split,
                recipient: draft.recipient_account,
                valid_until: draft.valid_until,
                signature: Signature { r8: Point::IDENTITY, s: Fr::default() },
            };
            signed.signature = self.private.sign(&signed.message(&draft.domain));
            SpendRequest {
                index: spend.index,
                range: spend.range,
                split: spend.split,
                key: self.key,
                signature: signed.signature,
            }
        });
        let request = SubmitRequest {
            idempotency_key: key.to_owned(),
            kind: SignedKind::Send,
            sender: self.owner,
            recipient: Some(to.owner),
            recipient_account: draft.recipient_account,
            valid_until: draft.valid_until,
            spends: spends.collect(),
        };
        handle.submit(request).await.ok()
    }
}

fn config() -> Config {
    Config {
        shapes: vec![Shape::S14M2],
        min_amount: 10,
        seal_age: Duration::from_millis(50),
        deposit_wait: Duration::from_millis(20),
        poll: Duration::from_millis(20),
        finality: Finality::Confirmations(0),
        quota: u32::MAX,
        // Nobody proves here.
        scale: Some(ScaleFromZero { within: Duration::from_secs(60), max_workers: 1_000_000 }),
        ..Config::default()
    }
}

async fn started(
    chain: &Arc<MemoryChain>,
    url: &str,
    data: &Path,
    loss: Loss,
) -> Result<Arc<Handle>, StartError> {
    let url = url.to_owned();
    let store = tokio::task::spawn_blocking(move || PostgresStore::connect(settings(&url, "one")).unwrap());
    let parts = Parts {
        store: Box::new(store.await.unwrap()),
        snapshots: None,
        queue: Arc::new(MemoryQueue::new(Limits::default()).coordinator()),
        chain: chain.clone(),
        verifier: Arc::new(NoProofs),
        operator: OperatorKey::from_bytes(&[200; 32]).unwrap(),
        marks: Marks::open(data, "this one", Vec::new(), loss).unwrap(),
    };
    start(config(), parts).await
}

/// Two people; the first one pays the other again and again until told to stop. What was promised.
async fn load(handle: Arc<Handle>, stop: Arc<AtomicBool>, name: &'static str) -> Vec<OperationView> {
    let (alice, bob) = (Person::new(1), Person::new(2));
    let mut promised = Vec::new();
    for number in 0.. {
        if stop.load(Ordering::Acquire) {
            break;
        }
        match alice.sends(&handle, &bob, 10 + number % 7, &format!("{name} {number}")).await {
            Some(view) => promised.push(view),
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    promised
}

async fn funded(chain: &Arc<MemoryChain>, handle: &Handle) {
    let system = handle.system().await;
    let signing = SigningDomain { chain_id: system.chain_id, contract: system.contract };
    for person in [Person::new(1), Person::new(2)] {
        let message = eip712::DirectoryEntry { owner: person.owner, key: person.key, key_epoch: 0 };
        let signature = message.sign(&signing, &person.ethereum).to_vec();
        let entry = DirectoryEntry { owner: person.owner, key: person.key, key_epoch: 0, signature };
        handle.register_key(entry, "key".to_owned()).await.unwrap();
    }
    let alice = Person::new(1);
    chain.deposit(alice.owner, key_hash(&alice.key), 10_000_000);
    chain.mine(1);
    for _ in 0..1_000 {
        if !handle.account(alice.owner).await.coins.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the deposit never came");
}

/// By the log alone: everything promised is in it once, at the promised place, and balances are the sum of it.
async fn independent_check(chain: &Arc<MemoryChain>, url: &str, promised: &[OperationView]) {
    let deployment = chain.deployment().await.unwrap();
    let signing = SigningDomain { chain_id: deployment.chain_id, contract: deployment.contract };
    let word = domain(deployment.chain_id, &deployment.contract);
    let rules = Arc::new(config().rules(word, signing, [(Shape::S14M2, [0; 32])].into()));
    let (url_of, promised) = (url.to_owned(), promised.to_vec());
    let check = move || {
        let mut state = State::new(rules);
        let mut accepted = BTreeMap::new();
        let mut store = PostgresStore::connect(settings(&url_of, "auditor")).unwrap();
        let checkpoint = store.replay(0, &mut |_, stamped| {
            state.apply(&stamped).unwrap();
            if let Event::Accepted(one) = &stamped.event {
                assert!(accepted.insert(one.id.to_string(), one.clone()).is_none(), "{} twice", one.id);
            }
            Ok(())
        });
        assert_eq!(checkpoint.unwrap(), Some(state.checkpoint()), "the store's root is the log's");
        let mut sum = 0;
        let mut places = BTreeMap::new();
        for view in &promised {
            let one = accepted.get(&view.id).unwrap_or_else(|| panic!("{} is not in the log", view.id));
            sum += view.amount;
            for (slot, promise) in (one.place..).zip(&view.promises) {
                assert_eq!((promise.batch_no, promise.index), (one.batch_no, slot));
                let twice = places.insert((promise.batch_no, promise.index), view.id.clone());
                assert_eq!(twice, None, "one place was promised twice");
            }
        }
        assert_eq!(accepted.len(), promised.len(), "the log holds what was promised, and nothing else");
        let bob = Person::new(2).owner;
        assert_eq!(state.ledger().balances(&bob).accepted, sum);
        let stored = format!("SELECT balance FROM user_balance WHERE address = '\\x{}'", hex::encode(bob));
        assert_eq!(fixtures::count(&url_of, &stored), sum);
    };
    tokio::task::spawn_blocking(check).await.unwrap();
}

/// Asked on a thread that may block.
fn count(url: &str, sql: &str) -> u64 {
    tokio::task::block_in_place(|| fixtures::count(url, sql))
}

fn ids(views: &[OperationView]) -> Vec<String> {
    views.iter().map(|view| view.id.clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_restored_from_a_dump_is_not_led_on_and_the_newest_one_is() {
    let (chain, data) = (Arc::new(MemoryChain::default()), tempfile::tempdir().unwrap());
    let server = Postgres::start_private(Settings::default()).unwrap();
    let url = server.database().unwrap();
    let handle = started(&chain, &url, data.path(), Loss::Refuse).await.unwrap();
    funded(&chain, &handle).await;
    let stop = Arc::new(AtomicBool::new(false));
    let loaded = tokio::spawn(load(Arc::clone(&handle), Arc::clone(&stop), "load"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let dump = server.dump(&url).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.store(true, Ordering::Release);
    let promised = loaded.await.unwrap();
    handle.shutdown().await;
    let restored = server.database().unwrap();
    server.restore(&restored, &dump).unwrap();
    let there = count(&restored, "SELECT count(*) FROM operations WHERE kind = 'send'") as usize;
    assert!(there > 0 && there < promised.len(), "{there} of {} are in the dump", promised.len());
    match started(&chain, &restored, data.path(), Loss::Refuse).await.err() {
        Some(StartError::Behind(behind)) => {
            let missing: Vec<String> = behind.missing.iter().map(|one| one.id.to_string()).collect();
            assert_eq!(missing, ids(&promised[there..]));
        }
        other => panic!("not noticed: {other:?}"),
    }
    // The newest one, with more load.
    let handle = started(&chain, &url, data.path(), Loss::Refuse).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let loaded = tokio::spawn(load(Arc::clone(&handle), Arc::clone(&stop), "more"));
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.store(true, Ordering::Release);
    let mut all = promised.clone();
    all.extend(loaded.await.unwrap());
    handle.shutdown().await;
    independent_check(&chain, &url, &all).await;
    // And the dump, once an operator gives up what it lacks.
    let handle = started(&chain, &restored, data.path(), Loss::Accept).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let loaded = tokio::spawn(load(Arc::clone(&handle), Arc::clone(&stop), "after the loss"));
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.store(true, Ordering::Release);
    let mut kept = promised[..there].to_vec();
    kept.extend(loaded.await.unwrap());
    handle.shutdown().await;
    independent_check(&chain, &restored, &kept).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_behind_its_master_is_noticed_by_the_coordinator_that_led() {
    let (chain, data) = (Arc::new(MemoryChain::default()), tempfile::tempdir().unwrap());
    let master = Postgres::start_private(Settings::default()).unwrap();
    let handle = started(&chain, &master.url(), data.path(), Loss::Refuse).await.unwrap();
    funded(&chain, &handle).await;
    let replica = master.replica().unwrap();
    // It receives nothing more: as one that is far behind.
    replica.execute("SELECT pg_wal_replay_pause()").unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let loaded = tokio::spawn(load(Arc::clone(&handle), Arc::clone(&stop), "load"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.store(true, Ordering::Release);
    let promised = loaded.await.unwrap();
    assert!(!promised.is_empty());
    let behind = replica.url();
    let operations = count(&behind, "SELECT count(*) FROM operations WHERE kind = 'send'");
    assert!((operations as usize) < promised.len());
    handle.shutdown().await;
    // A copy of what the replica has, as a master of its own.
    let copy = Postgres::start_private(Settings::default()).unwrap();
    let dump = replica.dump(&behind).unwrap();
    copy.restore(&copy.url(), &dump).unwrap();
    let refused = started(&chain, &copy.url(), data.path(), Loss::Refuse).await.err();
    assert!(
        matches!(&refused, Some(StartError::Behind(behind)) if !behind.missing.is_empty()),
        "{refused:?}"
    );
    // The master goes on with all of it.
    let handle = started(&chain, &master.url(), data.path(), Loss::Refuse).await.unwrap();
    handle.shutdown().await;
    independent_check(&chain, &master.url(), &promised).await;
}
