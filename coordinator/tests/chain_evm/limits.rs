//! Numbers at the limits of their types, as only a node that is broken or hostile gives them: an error or a number, never a
//! panic or an endless loop, and a coordinator that has met them goes on when the node is honest again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use api::service::Service as _;
use circuits::shape::Shape;
use coordinator::{Config, chain::Chain};
use l1::contract::calls;
use protocol::l1::{At, ChainError, Finality};
use serde_json::{Value, json};
use testbed::chain::{Backend, ETHER, hex_of};

use crate::{
    fake::{Fake, Reply, of_contract},
    mill::{key_hash, operator},
    settling::Scene,
};

const U32: &str = "0xffffffff";
const U64: &str = "0xffffffffffffffff";
const U256: &str = "0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";
/// The largest that is believed of heights and nonces, and of batches.
const BELIEVED: &str = "0xffffffffffffff";
const BATCHES: &str = "0x7fffffff";

/// An answer in which all numbers are this one; nothing for methods without numbers.
fn all(number: &str, method: &str, params: &Value) -> Option<Value> {
    let hash = hex_of([1; 32]);
    Some(match method {
        "eth_getBlockByNumber" if params[0] == "latest" => {
            json!({"number": number, "hash": hash, "timestamp": "0x1"})
        }
        "eth_getTransactionReceipt" => json!({
            "blockNumber": number, "blockHash": hash, "status": "0x1", "gasUsed": number, "effectiveGasPrice": number, "logs": [],
        }),
        "eth_feeHistory" => json!({"baseFeePerGas": [number, number], "reward": [[number], [number]]}),
        "eth_call" if params[0]["data"] == hex_of(calls::state()) => {
            let word = format!("{:0>64}", number.trim_start_matches("0x"));
            json!(format!("0x{}", word.repeat(7)))
        }
        "eth_getTransactionCount" | "eth_estimateGas" | "eth_getBalance" => json!(number),
        _ => return None,
    })
}

#[tokio::test]
async fn numbers_at_their_limits_are_refused() {
    for number in [U64, "0xfffffffffffffffe", U256] {
        let met = Arc::new(AtomicUsize::new(0));
        let armed = Arc::clone(&met);
        let fake = Fake::start(move |method, params| {
            let honest = of_contract(method, params);
            match all(number, method, params).filter(|_| armed.load(Ordering::SeqCst) > 0) {
                Some(lie) => Reply::Result(lie),
                None => Reply::Result(honest.unwrap_or(Value::Null)),
            }
        });
        let chain = fake.connect().await;
        met.store(1, Ordering::SeqCst);
        let refused = |what: &str, error: ChainError| {
            assert!(matches!(error, ChainError::Unexpected(_)), "{number}: {what}: {error}");
        };
        refused("head", chain.head().await.unwrap_err());
        refused("logs", chain.logs(1, 5).await.unwrap_err());
        refused("nonce", chain.nonce([1; 20]).await.unwrap_err());
        refused("receipt", chain.receipt([1; 32]).await.unwrap_err());
        refused("state", chain.contract_state().await.unwrap_err());
        refused("standing", chain.standing([1; 20]).await.unwrap_err());
        assert!(chain.fees().await.is_ok_and(|fees| fees.max_priority <= fees.max_fee));
        assert!(chain.dry_run(&[], At::Latest).await.is_err());
        // Where the node makes up a queue's length, nothing is counted with it.
        assert!(chain.queue_lengths(5).await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_has_met_them_goes_on_with_an_honest_node() {
    let mut scene = Scene::new(Backend::Anvil, &[Shape::S3M1]).await;
    let folder = tempfile::tempdir().unwrap();
    // Which numbers, of which method; 0: none.
    let lying = Arc::new(AtomicUsize::new(0));
    let numbers = [U32, U64, U256, BELIEVED, BATCHES];
    let methods = [
        "eth_getBlockByNumber",
        "eth_getTransactionReceipt",
        "eth_call",
        "eth_getTransactionCount",
        "eth_feeHistory",
        "eth_estimateGas",
    ];
    let told = Arc::clone(&lying);
    let fake = Fake::before(&scene.node.url, move |method, params| {
        let lie = told.load(Ordering::SeqCst).checked_sub(1)?;
        let (number, of) = (numbers[lie / methods.len()], methods[lie % methods.len()]);
        all(number, method, params).filter(|_| method == of).map(Reply::Result)
    });
    let config = Config {
        finality: Finality::Confirmations(2),
        poll: Duration::from_millis(10),
        deposit_wait: Duration::from_millis(10),
        resend_after: Duration::from_millis(100),
        bump_after: Duration::from_millis(300),
        max_batches_per_tx: 1,
        ..Config::default()
    };
    let owner = scene.alice.address();
    let direct = std::mem::replace(&mut scene.node.url, fake.url.clone());
    let handle = scene.start(config, folder.path(), operator()).await;
    scene.node.url = direct;
    for lie in 1..=numbers.len() * methods.len() {
        // Something is always on its way.
        scene.alice.deposit(owner, key_hash(), ETHER / 1_000 + 1_000_000_000 * lie as u128).await.unwrap();
        scene.node.ask("anvil_mine", json!(["0x2"])).await;
        lying.store(lie, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(150)).await;
        lying.store(0, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let settled = async || {
        scene.node.ask("anvil_mine", json!(["0x1"])).await;
        handle.settled().await && handle.ready().await.is_ok()
    };
    scene.eventually(&handle, "everything is final", settled).await;
    let system = handle.system().await;
    assert_eq!(system.final_batch as usize, numbers.len() * methods.len());
    assert_eq!(system.intake_alarm, None);
    handle.shutdown().await;
}
