//! A chain to test on, npm's anvil in a child process or the workspace's dev chain in this one, and Groth16 keys whose secrets are known.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod trapdoor;

use std::time::{Duration, Instant};

use l1::{
    contract::Address,
    http::HttpLimits,
    node::AccountKey,
    rpc::{Client, RpcError},
};
use serde_json::{Value, json};

use crate::anvil::Anvil;

pub use trapdoor::Trapdoor;

/// The chain id of both chains if none is asked for.
pub const DEV_CHAIN: u64 = devchain::DEFAULT_CHAIN_ID;
pub const GWEI: u128 = 1_000_000_000;
pub const ETHER: u128 = 1_000_000_000 * GWEI;

const START: Duration = Duration::from_secs(60);

/// The key of an account that both chains fund, by its place in the mnemonic "test test … junk".
pub fn account(index: usize) -> AccountKey {
    AccountKey::from_hex(devchain::DEV_ACCOUNTS[index].private_key).unwrap()
}

/// Which chain a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Anvil,
    DevChain,
}

/// What runs until it is dropped.
#[derive(Debug)]
enum Running {
    Anvil { _process: Anvil },
    DevChain { _handle: Box<devchain::Handle> },
}

/// A chain of its own that mines each transaction at once.
#[derive(Debug)]
pub struct Node {
    pub url: String,
    rpc: Client,
    _running: Running,
}

impl Node {
    pub async fn start(backend: Backend) -> Self {
        Self::start_with(backend, DEV_CHAIN).await
    }

    pub async fn start_with(backend: Backend, chain_id: u64) -> Self {
        let (url, running) = match backend {
            Backend::Anvil => {
                let anvil = Anvil::start_automining(chain_id).unwrap_or_else(|error| panic!("{error}"));
                (anvil.url(), Running::Anvil { _process: anvil })
            }
            Backend::DevChain => {
                let config = devchain::Config { chain_id, ..devchain::Config::default() };
                let handle = devchain::DevChain::start(config).await.unwrap();
                (handle.url(), Running::DevChain { _handle: Box::new(handle) })
            }
        };
        let rpc = Client::new(&url.as_str().into(), HttpLimits::default()).unwrap();
        let node = Self { url, rpc, _running: running };
        let begun = Instant::now();
        while node.try_ask("eth_chainId", json!([])).await.is_err() {
            assert!(begun.elapsed() < START, "the chain at {} does not answer", node.url);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        node
    }

    /// Any method.
    ///
    /// # Errors
    /// The node's, or those of the way to it.
    pub async fn try_ask(&self, method: &str, params: Value) -> Result<Value, RpcError> {
        self.rpc.call(method, params).await
    }

    /// Any method that succeeds.
    pub async fn ask(&self, method: &str, params: Value) -> Value {
        self.try_ask(method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    pub async fn set_balance(&self, of: Address, wei: u128) {
        self.ask("anvil_setBalance", json!([hex_of(of), format!("{wei:#x}")])).await;
    }
}

/// As JSON-RPC writes bytes.
pub fn hex_of(bytes: impl AsRef<[u8]>) -> String {
    format!("0x{}", hex::encode(bytes))
}

/// As JSON-RPC writes bytes.
pub fn bytes_of(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap().trim_start_matches("0x")).unwrap()
}

/// As JSON-RPC writes numbers.
pub fn quantity(value: &Value) -> u128 {
    u128::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}
