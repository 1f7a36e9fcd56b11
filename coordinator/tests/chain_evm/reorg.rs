//! Reorganisations of a real node, of random depth, that drop, keep and move transactions.
//!
//! Six on a node (anvil forgets states after some 800 blocks, and a reorganisation then empties the chain);
//! `PROOFMILL_REORG_NODES` sets how many nodes, one after the other (1 without it), `PROOFMILL_REORG_SEED` the first seed.

use std::time::Duration;

use api::service::Service as _;
use circuits::shape::Shape;
use coordinator::{Config, chain::Chain as _};
use protocol::l1::Finality;
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use serde_json::{Value, json};
use testbed::chain::{Backend, ETHER, GWEI, Node};

use crate::{
    mill::{key_hash, operator},
    settling::{Scene, eventually},
};

/// More than the deepest reorganisation, so that deposits taken in stay.
const CONFIRMATIONS: u64 = 70;
const ROUNDS: u64 = 6;

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// The raw transactions of the last `depth` blocks, in order.
async fn transactions(node: &Node, depth: u64) -> Vec<Value> {
    let head = node.ask("eth_blockNumber", json!([])).await;
    let head = u64::from_str_radix(head.as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
    let mut raw = Vec::new();
    for block in head + 1 - depth..=head {
        let block = node.ask("eth_getBlockByNumber", json!([format!("{block:#x}"), false])).await;
        for hash in block["transactions"].as_array().unwrap() {
            raw.push(node.ask("eth_getRawTransactionByHash", json!([hash])).await);
        }
    }
    raw
}

/// Replaces the last blocks; a random share of their transactions comes back, in random later blocks.
///
/// No block is mined meanwhile: anvil 1.7 executes a transaction that comes in while it goes back on the state that it is just
/// leaving, and ends with a chain that has one nonce of an account twice, and a receipt for what its state does not have.
async fn reorganise(node: &Node, rng: &mut ChaCha8Rng, depth: u64) {
    node.ask("evm_setAutomine", json!([false])).await;
    // Waits for a block that is being made.
    node.ask("evm_mine", json!([])).await;
    let mut pairs = Vec::new();
    let mut block = 0;
    for raw in transactions(node, depth).await {
        block = (block + u64::from(rng.next_u32() % 3)).min(depth - 1);
        if !rng.next_u32().is_multiple_of(3) {
            pairs.push(json!([raw, block]));
        }
    }
    if node.try_ask("anvil_reorg", json!([depth, pairs])).await.is_err() {
        // A transaction whose predecessor stayed away is no valid one there: drop all.
        node.ask("anvil_reorg", json!([depth, []])).await;
    }
    node.ask("evm_setAutomine", json!([true])).await;
    node.ask("evm_mine", json!([])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reorganisations_of_1_to_64_blocks_converge_to_the_ledgers_root() {
    let first = number("PROOFMILL_REORG_SEED", 1);
    for seed in first..first + number("PROOFMILL_REORG_NODES", 1) {
        converge(seed).await;
    }
}

async fn converge(seed: u64) {
    let scene = Scene::new(Backend::Anvil, &[Shape::S3M1]).await;
    let folder = tempfile::tempdir().unwrap();
    let config = || Config {
        finality: Finality::Confirmations(CONFIRMATIONS),
        poll: Duration::from_millis(20),
        deposit_wait: Duration::from_millis(10),
        resend_after: Duration::from_millis(300),
        bump_after: Duration::from_secs(3),
        max_batches_per_tx: 3,
        ..Config::default()
    };
    let mut handle = scene.start(config(), folder.path(), operator()).await;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let owner = scene.alice.address();
    let mut deposits = 0u32;
    for round in 0..ROUNDS {
        for _ in 0..1 + rng.next_u32() % 4 {
            deposits += 1;
            // Never the same transaction twice, of which one would be in a block that is gone.
            let wei = ETHER / 1_000 + GWEI * u128::from(deposits);
            scene.alice.deposit(owner, key_hash(), wei).await.unwrap();
        }
        scene.node.ask("anvil_mine", json!([format!("{:#x}", CONFIRMATIONS + 1)])).await;
        let what = format!("seed {seed}, round {round}: {deposits} deposits are taken in and submitted");
        let sealed = async || handle.system().await.sealed_batch >= deposits;
        scene.eventually(&handle, &what, sealed).await;
        // Some of them are mined by now, some are not.
        tokio::time::sleep(Duration::from_millis(u64::from(rng.next_u32() % 400))).await;
        let depth = 1 + u64::from(rng.next_u32() % 64);
        reorganise(&scene.node, &mut rng, depth).await;
        if round % 3 == 2 {
            handle.shutdown().await;
            handle = scene.start(config(), folder.path(), operator()).await;
        }
    }
    let settled = async || {
        scene.node.ask("anvil_mine", json!(["0x8"])).await;
        handle.settled().await
    };
    scene.eventually(&handle, &format!("seed {seed}: everything is final"), settled).await;
    let system = handle.system().await;
    let settings = coordinator::chain::evm::EvmSettings::new(
        &scene.node.url,
        scene.deployed.contract,
        scene.deployed.block,
    );
    let chain = coordinator::chain::evm::EvmChain::connect(settings, operator()).await.unwrap();
    let contract = chain.contract_state().await.unwrap();
    assert_eq!((contract.root, contract.batch_no), (system.final_root, system.final_batch), "seed {seed}");
    assert_eq!(system.intake_alarm, None, "seed {seed}");
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_that_were_final_and_are_undone_by_a_real_node_are_settled_again() {
    let scene = Scene::new(Backend::Anvil, &[Shape::S3M1]).await;
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        finality: Finality::Confirmations(2),
        poll: Duration::from_millis(20),
        deposit_wait: Duration::from_millis(10),
        seal_age: Duration::from_millis(10),
        resend_after: Duration::from_millis(300),
        max_batches_per_tx: 1,
        ..Config::default()
    };
    let owner = scene.alice.address();
    for _ in 0..3 {
        scene.alice.deposit(owner, key_hash(), ETHER / 1_000).await.unwrap();
    }
    // Deep enough for the deposits to stay; the batches come later.
    scene.node.ask("evm_setAutomine", json!([false])).await;
    scene.node.ask("anvil_mine", json!(["0x10"])).await;
    let handle = scene.start(config, folder.path(), operator()).await;
    let mine_until_final = async || {
        eventually("everything is final", async || {
            scene.node.ask("anvil_mine", json!(["0x1"])).await;
            handle.settled().await && handle.system().await.final_batch == 3
        })
        .await;
    };
    mine_until_final().await;
    let first = handle.batch(1).await.unwrap().unwrap().l1_block.unwrap();
    let head = scene.node.ask("eth_blockNumber", json!([])).await;
    let head = u64::from_str_radix(head.as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
    scene.node.ask("anvil_reorg", json!([head - first + 1, []])).await;
    eventually("none of them is final any more", async || handle.system().await.final_batch == 0).await;
    assert_eq!(handle.account(owner).await.balances.finalized, 0);
    mine_until_final().await;
    eventually("all is well", async || handle.ready().await.is_ok()).await;
    assert!(handle.account(owner).await.balances.finalized > 0);
    handle.shutdown().await;
}
