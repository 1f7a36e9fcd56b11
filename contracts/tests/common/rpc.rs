//! A chain to test on, spoken to by JSON-RPC only: either npm's anvil in a child process, or the workspace's devchain.

use std::{
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use ethers::{
    signers::{LocalWallet, Signer},
    types::{Eip1559TransactionRequest, H160, NameOrAddress, transaction::eip2718::TypedTransaction},
};
use l1::contract::{Address, ContractError, Word, errors::decode_error};
use serde_json::{Value, json};

/// Gas limit of every transaction: the cap of EIP-7825 on mainnet.
pub const TX_GAS_CAP: u64 = 16_777_216;

/// Which chain a test runs on.
#[allow(dead_code, reason = "each test program starts one of them")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Anvil,
    Devchain,
}

/// The first accounts of the mnemonic "test test test test test test test test test test test junk", rich on every dev chain.
const KEYS: [&str; 6] = [
    "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
    "7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
    "47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
    "8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba",
];

enum Node {
    Child(Child),
    InProcess(#[expect(dead_code, reason = "dropped with the test")] devchain::Handle),
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Self::Child(child) = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A log as the node gives it.
#[derive(Clone, Debug)]
pub struct Log {
    pub address: Address,
    pub topics: Vec<Word>,
    pub data: Vec<u8>,
}

/// What became of a transaction.
#[derive(Clone, Debug)]
pub struct Receipt {
    pub gas: u64,
    pub contract: Option<Address>,
    pub logs: Vec<Log>,
}

pub struct Rpc {
    client: reqwest::Client,
    url: String,
    pub chain_id: u64,
    _node: Node,
    runtime: tokio::runtime::Runtime,
}

impl Rpc {
    pub fn start(backend: Backend, chain_id: u64) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (node, url) = match backend {
            Backend::Anvil => start_anvil(chain_id),
            Backend::Devchain => {
                let config = devchain::Config { chain_id, ..devchain::Config::default() };
                let handle =
                    runtime.block_on(devchain::DevChain::start(config)).expect("the devchain starts");
                let url = handle.url();
                (Node::InProcess(handle), url)
            }
        };
        // Proofs are made between two calls: a connection is not used again that the chain may be closing after 5 s.
        let client = reqwest::Client::builder().pool_idle_timeout(Duration::from_secs(4)).build().unwrap();
        let rpc = Self { runtime, client, url, chain_id, _node: node };
        let begun = Instant::now();
        while rpc.try_ask("eth_chainId", json!([])).is_none() {
            assert!(begun.elapsed() < Duration::from_secs(60), "the chain at {} does not answer", rpc.url);
            std::thread::sleep(Duration::from_millis(20));
        }
        rpc
    }

    fn try_ask(&self, method: &str, params: Value) -> Option<Value> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        self.runtime
            .block_on(async { self.client.post(&self.url).json(&body).send().await.ok()?.json().await.ok() })
    }

    /// The node's answer: a result, or its error object.
    pub fn ask(&self, method: &str, params: Value) -> Result<Value, Value> {
        let answer = self.try_ask(method, params).expect("the chain answers");
        match answer.get("error") {
            Some(error) => Err(error.clone()),
            None => Ok(answer["result"].clone()),
        }
    }

    pub fn wallet(&self, who: usize) -> LocalWallet {
        KEYS[who].parse::<LocalWallet>().unwrap().with_chain_id(self.chain_id)
    }

    pub fn balance(&self, of: &Address) -> u128 {
        quantity(&self.ask("eth_getBalance", json!([hex_of(of), "latest"])).unwrap())
    }

    pub fn block_time(&self) -> u64 {
        let block = self.ask("eth_getBlockByNumber", json!(["latest", false])).unwrap();
        quantity(&block["timestamp"]) as u64
    }

    /// Moves the clock of the next block.
    pub fn pass_time(&self, seconds: u64) {
        self.ask("evm_increaseTime", json!([seconds])).unwrap();
        self.ask("evm_mine", json!([])).unwrap();
    }

    /// Runs a call without keeping its effects.
    pub fn call(
        &self,
        from: &Address,
        to: Option<&Address>,
        value: u128,
        data: &[u8],
    ) -> Result<Vec<u8>, ContractError> {
        let mut call = json!({
            "from": hex_of(from), "data": hex_of(data), "value": format!("{value:#x}"), "gas": format!("{TX_GAS_CAP:#x}"),
        });
        if let Some(to) = to {
            call["to"] = json!(hex_of(to));
        }
        self.ask("eth_call", json!([call, "latest"])).map(|result| bytes(&result)).map_err(|error| {
            let data =
                error.get("data").unwrap_or_else(|| panic!("eth_call failed without revert data: {error}"));
            decode_error(&bytes(data.get("data").unwrap_or(data)))
        })
    }

    /// Sends a transaction and waits for its receipt; a revert comes back as the contract's error.
    pub fn transact(
        &self,
        who: usize,
        to: Option<&Address>,
        value: u128,
        data: &[u8],
    ) -> Result<Receipt, ContractError> {
        let wallet = self.wallet(who);
        let from = wallet.address().0;
        self.call(&from, to, value, data)?;
        let nonce = quantity(&self.ask("eth_getTransactionCount", json!([hex_of(from), "latest"])).unwrap());
        let mut request = Eip1559TransactionRequest::new()
            .from(wallet.address())
            .chain_id(self.chain_id)
            .nonce(nonce as u64)
            .gas(TX_GAS_CAP)
            .max_fee_per_gas(50_000_000_000u64)
            // No tip: on some dev chains it goes to the zero address, where the tests watch what is burned.
            .max_priority_fee_per_gas(0u64)
            .value(value)
            .data(data.to_vec());
        if let Some(to) = to {
            request = request.to(NameOrAddress::Address(H160(*to)));
        }
        let tx = TypedTransaction::Eip1559(request);
        let signature = wallet.sign_transaction_sync(&tx).unwrap();
        let raw = tx.rlp_signed(&signature);
        let hash = self
            .ask("eth_sendRawTransaction", json!([hex_of(&raw)]))
            .expect("the node takes the transaction");
        let receipt = self.receipt(&hash);
        assert_eq!(receipt["status"], "0x1", "a transaction whose call went through reverted: {receipt}");
        Ok(Receipt {
            gas: quantity(&receipt["gasUsed"]) as u64,
            contract: receipt["contractAddress"].as_str().map(|_| address(&receipt["contractAddress"])),
            logs: receipt["logs"].as_array().unwrap().iter().map(log).collect(),
        })
    }

    fn receipt(&self, hash: &Value) -> Value {
        let begun = Instant::now();
        loop {
            let receipt = self.ask("eth_getTransactionReceipt", json!([hash])).unwrap();
            if !receipt.is_null() {
                return receipt;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "no receipt of {hash}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn start_anvil(chain_id: u64) -> (Node, String) {
    let program = anvil_program();
    assert!(
        program.is_file(),
        "anvil is not at {}: run `npm ci --prefix contracts` first, or set PROOFMILL_ANVIL to the program",
        program.display()
    );
    // The port is free when we look; anvil fails at once when somebody was faster, and another is tried.
    for _ in 0..10 {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut child = Command::new(&program)
            .args(["--port", &port.to_string(), "--chain-id", &chain_id.to_string(), "--silent"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("anvil starts");
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(30) && child.try_wait().unwrap().is_none() {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return (Node::Child(child), format!("http://127.0.0.1:{port}"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
    panic!("anvil found no free port in ten attempts");
}

fn anvil_program() -> PathBuf {
    if let Some(path) = std::env::var_os("PROOFMILL_ANVIL") {
        return path.into();
    }
    let system = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    let machine = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join(format!("node_modules/@foundry-rs/anvil-{system}-{machine}/bin/anvil"))
}

pub fn hex_of(bytes: impl AsRef<[u8]>) -> String {
    format!("0x{}", hex::encode(bytes))
}

pub fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("a hex string").trim_start_matches("0x")).unwrap()
}

fn address(value: &Value) -> Address {
    bytes(value).try_into().unwrap()
}

fn quantity(value: &Value) -> u128 {
    u128::from_str_radix(value.as_str().expect("a quantity").trim_start_matches("0x"), 16).unwrap()
}

pub fn log(value: &Value) -> Log {
    Log {
        address: address(&value["address"]),
        topics: value["topics"]
            .as_array()
            .unwrap()
            .iter()
            .map(|topic| bytes(topic).try_into().unwrap())
            .collect(),
        data: bytes(&value["data"]),
    }
}
