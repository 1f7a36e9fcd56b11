//! What the log promises: nothing that was answered is lost.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use devchain::{Config, DevChain, Mining};
use revm::primitives::B256;
use serde_json::{Value, json};

use crate::common::*;
use crate::contract::{self, with_word};
use crate::ethereum::wallet_address;

fn on(folder: &Path) -> Config {
    Config { data_dir: Some(folder.to_owned()), ..Config::default() }
}

async fn fails_to_start(config: Config) -> String {
    DevChain::start(config).await.expect_err("must not start").to_string()
}

#[tokio::test]
async fn a_restart_gives_the_same_head_state_pool_clock_and_snapshots() {
    let folder = tempfile::tempdir().expect("a folder");
    let (chain, client) = start_with(on(folder.path())).await;
    let address = client.deploy(0).await;
    client.mined(&sign(0, tx(1, Some(address), with_word(contract::SET, 11)))).await;
    let snapshot = chain.snapshot().expect("taken");
    client.mined(&sign(0, tx(2, Some(address), with_word(contract::SET, 12)))).await;
    chain.reorg(1).expect("possible");
    chain.increase_time(5_000_000).expect("possible");
    chain.mine(1).expect("mined");
    client.call::<Value>("anvil_setBalance", json!([address, "0x77"])).await;
    let waiting = client.send(&sign(1, transfer(5, address, 1))).await;
    let before: Value = client.call("eth_getBlockByNumber", json!(["latest", true])).await;
    chain.shutdown().await.expect("ends well");

    let (chain, client) = start_with(on(folder.path())).await;
    let after: Value = client.call("eth_getBlockByNumber", json!(["latest", true])).await;
    assert_eq!(before, after);
    assert_eq!(client.number(address, vec![contract::GET], json!("latest")).await, 12);
    assert_eq!(client.balance(address).await, 0x77);
    let seen: Value = client.call("eth_getTransactionByHash", json!([waiting])).await;
    assert_eq!(seen["nonce"], "0x5");
    chain.mine(1).expect("mined");
    let time = |block: &Value| {
        let hex = block["timestamp"].as_str().expect("a time").trim_start_matches("0x").to_owned();
        u64::from_str_radix(&hex, 16).expect("a time")
    };
    let next: Value = client.call("eth_getBlockByNumber", json!(["latest", false])).await;
    assert!(time(&next) >= time(&before));
    assert!(chain.revert(snapshot).expect("written"));
    assert_eq!(client.number(address, vec![contract::GET], json!("latest")).await, 11);
}

/// A chain in a process of its own, killed by SIGKILL when dropped.
struct Served {
    child: Child,
    url: String,
}

impl Served {
    fn start(folder: &Path) -> Self {
        let tests = std::env::current_exe().expect("a path");
        let target = tests.parent().and_then(Path::parent).expect("target/<profile>/deps/<test>");
        let binary: PathBuf = target.join("examples/serve");
        assert!(binary.is_file(), "{} is missing: `cargo test` builds it with all targets", binary.display());
        let mut child =
            Command::new(binary).arg(folder).stdout(Stdio::piped()).spawn().expect("the example starts");
        let mut url = String::new();
        let output = child.stdout.take().expect("piped");
        BufReader::new(output).read_line(&mut url).expect("its URL");
        Self { child, url: url.trim().to_owned() }
    }

    fn kill(&mut self) {
        // `Child::kill` sends SIGKILL.
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn sigkill_under_load_loses_no_answered_transaction() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut answered: Vec<B256> = Vec::new();
    for round in 0..3usize {
        let mut served = Served::start(folder.path());
        // Four senders at once, so that flushes are shared and the kill hits some of them half way.
        let senders: Vec<_> = (0..4)
            .map(|sender| {
                let client = Client::new(&served.url);
                tokio::spawn(async move {
                    let mut hashes = Vec::new();
                    let mut nonce = client.nonce(wallet_address(sender), "pending").await;
                    loop {
                        let raw = sign(sender, transfer(nonce, wallet_address(9), 1));
                        match client.rpc.call::<B256>("eth_sendRawTransaction", json!([raw])).await {
                            Ok(hash) => hashes.push(hash),
                            Err(_) => return hashes,
                        }
                        nonce += 1;
                    }
                })
            })
            .collect();
        let watcher = Client::new(&served.url);
        let from = watcher.head().await;
        while watcher.head().await < from + 20 + 17 * round as u64 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        served.kill();
        for sender in senders {
            answered.extend(sender.await.expect("no panic"));
        }
    }
    assert!(answered.len() > 60);
    let (_chain, client) = start_with(on(folder.path())).await;
    for hash in &answered {
        let receipt: Value = client.call("eth_getTransactionReceipt", json!([hash])).await;
        assert_eq!(receipt["status"], "0x1", "{hash:?} was answered");
    }
    let extra = client.balance(wallet_address(9)).await - 10u128.pow(22);
    assert!(extra >= answered.len() as u128, "{extra} wei of {} transfers", answered.len());
}

#[tokio::test]
async fn a_torn_last_entry_is_cut_off_and_the_chain_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let (chain, client) = start_with(on(folder.path())).await;
    chain.mine(3).expect("mined");
    let hash = client.block_hash(2).await;
    chain.shutdown().await.expect("ends well");
    let log = folder.path().join("chain.log");
    let length = std::fs::metadata(&log).expect("the log").len();
    let file = std::fs::OpenOptions::new().write(true).open(&log).expect("the log");
    file.set_len(length - 3).expect("shortened");

    let (chain, client) = start_with(on(folder.path())).await;
    assert_eq!((client.head().await, client.block_hash(2).await), (2, hash));
    chain.mine(1).expect("mined");
    let head = client.block_hash(3).await;
    chain.shutdown().await.expect("ends well");
    let (_chain, client) = start_with(on(folder.path())).await;
    assert_eq!(client.block_hash(3).await, head);
}

#[tokio::test]
async fn a_transaction_whose_block_was_torn_off_is_mined_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let (chain, client) = start_with(on(folder.path())).await;
    let hash = hash_of(&client.mined(&sign(0, transfer(0, wallet_address(1), 1))).await);
    chain.shutdown().await.expect("ends well");
    let log = folder.path().join("chain.log");
    let file = std::fs::OpenOptions::new().write(true).open(&log).expect("the log");
    file.set_len(file.metadata().expect("the log").len() - 1).expect("shortened");

    let (_chain, client) = start_with(on(folder.path())).await;
    assert_eq!(client.receipt(hash).await["blockNumber"], "0x1");
}

#[tokio::test]
async fn a_damaged_middle_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let (chain, _client) = start_with(on(folder.path())).await;
    chain.mine(5).expect("mined");
    chain.shutdown().await.expect("ends well");
    let log = folder.path().join("chain.log");
    let good = std::fs::read(&log).expect("the log");
    for at in [3, 20, good.len() / 2] {
        let mut damaged = good.clone();
        damaged[at] ^= 0x10;
        std::fs::write(&log, &damaged).expect("written");
        let error = fails_to_start(on(folder.path())).await;
        assert!(error.starts_with("PM-DEV-004"), "{error}");
        assert_eq!(std::fs::read(&log).expect("the log"), damaged);
    }
}

#[tokio::test]
async fn one_folder_has_one_process_and_one_configuration() {
    let folder = tempfile::tempdir().expect("a folder");
    let (chain, _client) = start_with(on(folder.path())).await;
    let error = fails_to_start(on(folder.path())).await;
    assert!(error.starts_with("PM-DEV-002"), "{error}");
    chain.shutdown().await.expect("ends well");
    let other = Config { chain_id: 1337, ..on(folder.path()) };
    let error = fails_to_start(other).await;
    assert!(error.starts_with("PM-DEV-005"), "{error}");
    let other = Config { accounts: Vec::new(), ..on(folder.path()) };
    assert!(fails_to_start(other).await.starts_with("PM-DEV-005"));
    // Free again as soon as it has ended, also while it makes blocks as fast as it can.
    let busy = Config { mining: Mining::Interval(std::time::Duration::from_millis(1)), ..on(folder.path()) };
    for _ in 0..5 {
        let (chain, client) = start_with(busy.clone()).await;
        let from = client.head().await;
        while client.head().await < from + 2 {
            tokio::task::yield_now().await;
        }
        chain.shutdown().await.expect("ends well");
    }
}
