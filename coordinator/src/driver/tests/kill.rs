//! SIGKILL at random instructions of a real process, over and over on one data folder.
//!
//! The child is this test binary again. It sends in a loop and prints each operation only after `submit` returned. Whatever
//! was printed must be there after the next start, once. Its chain is made anew each time, with the same first block, and
//! mines nothing else: so every run also submits again what it had signed before.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use super::*;

const FOLDER: &str = "PROOFMILL_KILLED_FOLDER";
const COINS: u64 = 1_000_000;
const AMOUNT: u64 = 10;

fn chain() -> Arc<MemoryChain> {
    let (chain, alice) = (MemoryChain::default(), people().0);
    chain.deposit(alice.owner, alice.key_hash, COINS);
    chain.mine(3);
    Arc::new(chain)
}

async fn start_in(folder: &Path) -> (Arc<Handle>, JoinHandle<()>) {
    let queue = MemoryQueue::new(Limits::default());
    let worker = tokio::spawn(work(queue.clone(), Arc::default()));
    let parts = Parts {
        store: Box::new(SqliteStore::open(folder).unwrap()),
        snapshots: Some(often(folder)),
        queue: Arc::new(queue.coordinator()),
        chain: chain(),
        verifier: Arc::new(TagVerifier),
        operator: Holder::new(200).ethereum,
        marks: Marks::default(),
    };
    (start(config(), parts).await.unwrap(), worker)
}

/// Does nothing unless it runs as the child.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let (handle, _worker) = start_in(Path::new(&folder)).await;
    let (alice, bob) = people();
    if handle.directory_entry(bob.owner).await.is_none() {
        register(&handle, &alice).await;
        register(&handle, &bob).await;
    }
    eventually("the deposit is minted", async || handle.account(alice.owner).await.balances.accepted > 0)
        .await;
    loop {
        let number = handle.account(bob.owner).await.balances.accepted / AMOUNT;
        let sent = send(&handle, &alice, &bob, AMOUNT, &format!("send {number}")).await.unwrap();
        println!("\nsent {}", sent.id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_coordinator_carries_on_with_nothing_lost_and_nothing_doubled() {
    let folder = tempfile::tempdir().unwrap();
    let mut promised = BTreeSet::new();
    for round in 0..6usize {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "driver::tests::kill::child", "--nocapture", "--test-threads=1"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut heard = 0;
        for line in lines.map_while(Result::ok) {
            if let Some(id) = line.strip_prefix("sent ") {
                assert!(promised.insert(id.to_owned()), "{id} was promised twice");
                heard += 1;
            }
            // After 1 answer, after many, and in between.
            if heard == 1 + round * 7 {
                child.kill().unwrap();
                break;
            }
        }
        child.wait().unwrap();
        assert!(heard > 0, "the child of round {round} sent nothing");
    }

    let (handle, worker) = start_in(folder.path()).await;
    let (alice, bob) = people();
    for id in &promised {
        let view = operation(&handle, id).await;
        assert_eq!(view.amount, AMOUNT);
    }
    let paid = handle.account(bob.owner).await.balances.accepted;
    let sends = operations_of(&handle, &bob).await.len() as u64;
    assert_eq!(paid, sends * AMOUNT);
    // Each kill may have cut off at most one answer that was durable already.
    assert!(
        (promised.len() as u64..=promised.len() as u64 + 6).contains(&sends),
        "{} of {sends}",
        promised.len()
    );
    assert_eq!(handle.account(alice.owner).await.balances.accepted, COINS - paid);
    eventually("all batches are proven", async || {
        let system = handle.system().await;
        system.proven_batch == system.sealed_batch
    })
    .await;
    handle.shutdown().await;
    worker.abort();
}
