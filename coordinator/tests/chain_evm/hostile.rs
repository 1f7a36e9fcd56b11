//! Nodes whose answers are changed at random: whatever comes, a call ends with a value or an error, in time and in bounds.
//!
//! In the gate a few thousand answers; `PROOFMILL_HOSTILE=N` sets how many, `PROOFMILL_HOSTILE_SEED` the seed.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use coordinator::chain::Chain;
use protocol::l1::{At, Fees, SignedTx};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use serde_json::{Value, json};
use testbed::chain::hex_of;

use crate::{
    fake::{CONTRACT, Fake, Reply, of_contract},
    misbehaviour::logs_between,
};

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// What an honest node would say.
fn honest(method: &str, params: &Value) -> Value {
    match method {
        "eth_chainId" => json!("0x7a69"),
        "eth_getBlockByNumber" => {
            let number = params[0].as_str().filter(|at| at.starts_with("0x")).unwrap_or("0x64");
            json!({"number": number, "hash": hex_of([1; 32]), "timestamp": "0x1", "transactions": [[], {"a": [1]}]})
        }
        "eth_getLogs" => Value::Array(logs_between(params, 0..11)),
        "eth_getTransactionReceipt" => json!({
            "blockNumber": "0x10", "blockHash": hex_of([2; 32]), "status": "0x1", "gasUsed": "0x5208",
            "effectiveGasPrice": "0x1", "contractAddress": hex_of(CONTRACT), "logs": [],
        }),
        "eth_feeHistory" => json!({
            "oldestBlock": "0x1", "baseFeePerGas": ["0x7", "0x8"], "gasUsedRatio": [0.5], "reward": [["0x1"], ["0x2"]],
        }),
        "eth_call" => json!(hex_of([0; 32 * 7])),
        "eth_sendRawTransaction" => json!(hex_of([9; 32])),
        _ => json!("0x5"),
    }
}

const WORDS: [&str; 18] = [
    "null",
    "true",
    "-1",
    "1e400",
    "0.1",
    "[]",
    "{}",
    "\"\"",
    "\"0x\"",
    "\"0xzz\"",
    "[[",
    "}",
    "\u{0}",
    "18446744073709551616",
    "\"0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\"",
    "\"\\ud800\"",
    "{\"error\":{\"code\":\"x\",\"message\":[1]}}",
    "<html>",
];

/// Bytes changed, cut, doubled, nested, and words of JSON put where none belong.
fn mutate(rng: &mut ChaCha8Rng, text: &mut Vec<u8>) {
    let mut below = |n: usize| (rng.next_u64() % n.max(1) as u64) as usize;
    for _ in 0..below(5) {
        let at = below(text.len());
        match below(9) {
            0 if !text.is_empty() => text[at] ^= 1 << below(8),
            1 => text.truncate(at),
            2 => {
                let word = WORDS[below(WORDS.len())];
                text.splice(at..at, word.bytes());
            }
            3 => {
                let end = (at + below(40)).min(text.len());
                text.drain(at..end);
            }
            4 => {
                let end = (at + below(400)).min(text.len());
                let piece = text[at..end].to_vec();
                for _ in 0..below(50) {
                    text.splice(at..at, piece.iter().copied());
                }
            }
            5 => {
                // Depth, also without an end.
                let depth = [3, 63, 65, 200, 100_000][below(5)];
                let open = [&b"["[..], b"{\"a\":"][below(2)];
                text.splice(at..at, open.repeat(depth));
            }
            6 => {
                let end = (at + below(60)).min(text.len());
                let word = WORDS[below(WORDS.len())];
                text.splice(at..end, word.bytes());
            }
            7 => {
                let digits = b"9".repeat(below(5_000));
                text.splice(at..at, digits);
            }
            _ => text.reverse(),
        }
    }
}

/// Bytes of this process in memory.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0u64) * 4096
}

#[tokio::test]
async fn whatever_a_node_answers_a_call_ends_in_time_and_in_bounds() {
    let answers = number("PROOFMILL_HOSTILE", 2_000);
    let rng = ChaCha8Rng::seed_from_u64(number("PROOFMILL_HOSTILE_SEED", 1));
    let rng = Arc::new(Mutex::new(rng));
    let hostile = Arc::new(AtomicBool::new(false));
    let is_hostile = Arc::clone(&hostile);
    let fake = Fake::start(move |method, params| {
        let result = honest(method, params);
        if !is_hostile.load(Ordering::SeqCst) {
            return Reply::Result(of_contract(method, params).unwrap_or(result));
        }
        let rng = Arc::clone(&rng);
        Reply::With(Box::new(move |id| {
            let mut rng = rng.lock().unwrap();
            let reverted = json!({"code": -32_000, "message": "execution reverted", "data": "0x08"});
            let body = match rng.next_u32() % 4 {
                0 => json!({"jsonrpc": "2.0", "id": id, "error": reverted}),
                _ => json!({"jsonrpc": "2.0", "id": id, "result": result}),
            };
            let mut text = body.to_string().into_bytes();
            mutate(&mut rng, &mut text);
            let status = [200, 200, 200, 400, 413, 429, 500, 504][(rng.next_u32() % 8) as usize];
            (status, text)
        }))
    });
    let mut settings = fake.settings();
    settings.transport.timeout = Duration::from_secs(5);
    settings.log_span = 20;
    let chain = coordinator::chain::evm::EvmChain::connect(settings, crate::fake::key()).await.unwrap();
    hostile.store(true, Ordering::SeqCst);
    let tx = SignedTx { raw: vec![1], hash: [9; 32], nonce: 1, fees: Fees { max_fee: 1, max_priority: 1 } };
    let begun = fake.requests.load(Ordering::SeqCst) as u64;
    let (mut round, mut after_a_tenth, mut values) = (0u64, 0, 0u64);
    loop {
        let asked = fake.requests.load(Ordering::SeqCst) as u64 - begun;
        if asked >= answers {
            break;
        }
        if after_a_tenth == 0 && asked * 10 >= answers {
            after_a_tenth = resident();
        }
        let call = async {
            match round % 11 {
                0 => chain.head().await.is_ok(),
                1 => chain.finalized().await.is_ok(),
                2 => chain.block_hash(5).await.is_ok(),
                3 => chain.logs(1, 60).await.is_ok(),
                4 => chain.contract_state().await.is_ok(),
                5 => chain.queue_lengths(9).await.is_ok(),
                6 => chain.nonce([1; 20]).await.is_ok(),
                7 => chain.fees().await.is_ok(),
                8 => chain.receipt([9; 32]).await.is_ok(),
                9 => chain.send_raw(&tx).await.is_ok(),
                _ => chain.dry_run(&[], At::Latest).await.is_ok(),
            }
        };
        let began = Instant::now();
        let ended = tokio::time::timeout(Duration::from_secs(60), call).await.expect("a call hangs");
        assert!(began.elapsed() < Duration::from_secs(60));
        values += u64::from(ended);
        round += 1;
    }
    let grown = resident().saturating_sub(after_a_tenth);
    println!("{answers} answers, {round} calls, {values} with a value, memory grew by {} MB", grown >> 20);
    assert!(values < round, "something is refused");
    assert!(grown <= 64 << 20, "memory grew by {grown} bytes since a tenth of the answers");
}
