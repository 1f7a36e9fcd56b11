//! The chain of a test, for tests that are not asynchronous, in the contract's terms.

use std::time::{Duration, Instant};

use l1::{
    contract::{Address, ContractError, Word, errors::decode_error},
    node::{Call, Draft, Signer},
    rpc::{Refusal, RpcError},
};
use protocol::l1::Fees;
use serde_json::{Value, json};
use testbed::chain::{Backend, Node, account, bytes_of, hex_of, quantity};
use tokio::runtime::Runtime;

pub use l1::node::TX_GAS_CAP;

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
    node: Node,
    pub chain_id: u64,
    runtime: Runtime,
}

impl Rpc {
    pub fn start(backend: Backend, chain_id: u64) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let node = runtime.block_on(Node::start_with(backend, chain_id));
        Self { node, chain_id, runtime }
    }

    pub fn ask(&self, method: &str, params: Value) -> Value {
        self.runtime.block_on(self.node.ask(method, params))
    }

    pub fn balance(&self, of: &Address) -> u128 {
        quantity(&self.ask("eth_getBalance", json!([hex_of(of), "latest"])))
    }

    pub fn block_time(&self) -> u64 {
        let block = self.ask("eth_getBlockByNumber", json!(["latest", false]));
        quantity(&block["timestamp"]) as u64
    }

    /// Moves the clock of the next block.
    pub fn pass_time(&self, seconds: u64) {
        self.ask("evm_increaseTime", json!([seconds]));
        self.ask("evm_mine", json!([]));
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
        match self.runtime.block_on(self.node.try_ask("eth_call", json!([call, "latest"]))) {
            Ok(result) => Ok(bytes_of(&result)),
            Err(RpcError::Refused(Refusal { data: Some(data), .. })) => {
                Err(decode_error(&bytes_of(data.get("data").unwrap_or(&data))))
            }
            Err(error) => panic!("eth_call failed without revert data: {error}"),
        }
    }

    /// Sends a transaction and waits for its receipt; a revert comes back as the contract's error.
    pub fn transact(
        &self,
        who: usize,
        to: Option<&Address>,
        value: u128,
        data: &[u8],
    ) -> Result<Receipt, ContractError> {
        let key = account(who);
        let from = key.address();
        self.call(&from, to, value, data)?;
        let nonce = quantity(&self.ask("eth_getTransactionCount", json!([hex_of(from), "latest"]))) as u64;
        let draft = Draft {
            call: &Call { from, to: to.copied(), value, data: data.to_vec() },
            chain_id: self.chain_id,
            nonce,
            gas: TX_GAS_CAP,
            // No tip: on some dev chains it goes to the zero address, where the tests watch what is burned.
            fees: Fees { max_fee: 50_000_000_000, max_priority: 0 },
        };
        let tx = self.runtime.block_on(Signer::from(key).sign(&draft)).unwrap();
        let hash = self.ask("eth_sendRawTransaction", json!([hex_of(&tx.raw)]));
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
            let receipt = self.ask("eth_getTransactionReceipt", json!([hash]));
            if !receipt.is_null() {
                return receipt;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "no receipt of {hash}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn address(value: &Value) -> Address {
    bytes_of(value).try_into().unwrap()
}

pub fn log(value: &Value) -> Log {
    Log {
        address: address(&value["address"]),
        topics: value["topics"]
            .as_array()
            .unwrap()
            .iter()
            .map(|topic| bytes_of(topic).try_into().unwrap())
            .collect(),
        data: bytes_of(&value["data"]),
    }
}
