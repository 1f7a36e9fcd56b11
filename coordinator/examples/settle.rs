//! Batches settled per hour on a real node: npm's anvil, a block a second, transactions signed, recorded durably and
//! followed as in production. Proofs come from a key whose secrets are known and cost nothing, so that settlement is what is
//! measured: every batch holds one deposit. With `--spike N` the base fee rises a hundredfold every N blocks.
//!
//! `cargo run --release -p proofmill-coordinator --example settle -- [--batches N] [--spike N] [--in-flight N]`

#![allow(clippy::unwrap_used, reason = "a measurement may panic as tests do")]

use std::time::{Duration, Instant};

use api::service::Service as _;
use circuits::shape::Shape;
use coordinator::Config;
use protocol::l1::Finality;
use serde_json::json;
use testbed::chain::{Backend, ETHER, hex_of, quantity};

#[path = "../tests/chain_evm/mill.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod mill;
#[path = "../tests/chain_evm/settling.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod settling;

use mill::{key_hash, operator};
use settling::Scene;

struct Options {
    batches: u32,
    spike: u64,
    in_flight: usize,
}

fn options() -> Options {
    let mut options = Options { batches: 400, spike: 0, in_flight: 4 };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let number = arguments.next().and_then(|text| text.parse::<u64>().ok()).expect("a number follows");
        match argument.as_str() {
            "--batches" => options.batches = number as u32,
            "--spike" => options.spike = number,
            "--in-flight" => options.in_flight = number as usize,
            other => panic!("unknown argument {other}"),
        }
    }
    options
}

#[tokio::main]
async fn main() {
    let options = options();
    let scene = Scene::new(Backend::Anvil, &[Shape::S3M1]).await;
    for _ in 0..options.batches {
        scene.alice.deposit(scene.alice.address(), key_hash(), ETHER / 1_000).await.unwrap();
    }
    let first_block = number(&scene, "eth_blockNumber").await;
    scene.node.ask("evm_setAutomine", json!([false])).await;
    scene.node.ask("evm_setIntervalMining", json!([1])).await;
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        finality: Finality::Confirmations(2),
        poll: Duration::from_millis(200),
        deposit_wait: Duration::from_millis(1),
        resend_after: Duration::from_secs(5),
        bump_after: Duration::from_secs(4),
        max_in_flight: options.in_flight,
        ..Config::default()
    };
    let begun = Instant::now();
    let handle = scene.start(config, folder.path(), operator()).await;
    let mut spikes = 0;
    let mut spiked_at = first_block;
    let (mut proven, mut all_final) = (None, None);
    while all_final.is_none() {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let system = handle.system().await;
        if proven.is_none() && system.proven_batch >= options.batches {
            proven = Some(begun.elapsed());
        }
        if system.final_batch >= options.batches {
            all_final = Some(begun.elapsed());
        }
        if options.spike > 0 && system.l1_head >= spiked_at + options.spike {
            spiked_at = system.l1_head;
            spikes += 1;
            scene.node.ask("anvil_setNextBlockBaseFeePerGas", json!(["0x1bf08eb000"])).await;
        }
        assert!(begun.elapsed() < Duration::from_secs(1_800), "not final after half an hour");
    }
    let nonces = number(&scene, "eth_getTransactionCount").await;
    let seconds = all_final.unwrap().as_secs_f64();
    let result = json!({
        "batches": options.batches,
        "seconds": seconds,
        "batches_per_hour": f64::from(options.batches) / seconds * 3600.0,
        "seconds_to_proven": proven.map(|proven| proven.as_secs_f64()),
        "transactions": nonces - 1,
        "block_seconds": 1,
        "confirmations": 2,
        "in_flight": options.in_flight,
        "fee_spikes": spikes,
    });
    println!("{result}");
    handle.shutdown().await;
}

async fn number(scene: &Scene, method: &str) -> u64 {
    let params = match method {
        "eth_getTransactionCount" => json!([hex_of(operator().address()), "latest"]),
        _ => json!([]),
    };
    let answer = scene.node.ask(method, params).await;
    u64::try_from(quantity(&answer)).unwrap()
}
