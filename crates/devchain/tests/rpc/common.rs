//! A client for either chain, and raw transactions.

use std::{sync::Arc, time::Duration};

use devchain::{Config, DevChain, Handle};
use l1::{
    http::HttpLimits,
    rpc::{self, Refusal, RpcError},
    testing::{RawTx, TxType},
};
use revm::primitives::{Address, B256, Bytes};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use testbed::chain::{account, quantity};

use crate::contract;

pub const GWEI: u64 = 1_000_000_000;
pub const CHAIN_ID: u64 = devchain::DEFAULT_CHAIN_ID;

/// Starts a chain in memory.
pub async fn start() -> (Handle, Client) {
    start_with(Config::default()).await
}

/// Starts a chain.
pub async fn start_with(config: Config) -> (Handle, Client) {
    let chain = DevChain::start(config).await.expect("the chain starts");
    let client = Client::new(&chain.url());
    (chain, client)
}

/// An EIP-1559 transaction with ample fees.
pub fn tx(nonce: u64, to: Option<Address>, data: Vec<u8>) -> RawTx {
    RawTx {
        tx_type: TxType::DynamicFee,
        chain_id: Some(CHAIN_ID),
        nonce: nonce.into(),
        gas: 500_000.into(),
        max_fee: (10 * GWEI).into(),
        max_priority: GWEI.into(),
        to: to.map(Address::into_array),
        value: 0.into(),
        data,
        access_list: vec![],
    }
}

/// A legacy transfer of some wei.
pub fn transfer(nonce: u64, to: Address, wei: u64) -> RawTx {
    RawTx { tx_type: TxType::Legacy, gas: 21_000.into(), value: wei.into(), ..tx(nonce, Some(to), vec![]) }
}

/// Signs with the key of a known account.
pub fn sign(from: usize, tx: RawTx) -> Bytes {
    tx.sign(&account(from)).expect("signs").into()
}

/// JSON-RPC over HTTP.
#[derive(Clone, Debug)]
pub struct Client {
    pub rpc: Arc<rpc::Client>,
}

impl Client {
    pub fn new(url: &str) -> Self {
        Self { rpc: Arc::new(rpc::Client::new(&url.into(), HttpLimits::default()).expect("a URL")) }
    }

    pub async fn try_call<T: DeserializeOwned>(&self, method: &str, params: Value) -> Result<T, Refusal> {
        self.rpc.call(method, params).await.map_err(|error| match error {
            RpcError::Refused(refusal) => refusal,
            error => panic!("{method}: {error}"),
        })
    }

    pub async fn call<T: DeserializeOwned>(&self, method: &str, params: Value) -> T {
        let shown = params.to_string();
        self.try_call(method, params).await.unwrap_or_else(|error| panic!("{method} {shown}: {error:?}"))
    }

    /// Sends raw bytes and gives the hash.
    pub async fn send(&self, raw: &Bytes) -> B256 {
        self.call("eth_sendRawTransaction", json!([raw])).await
    }

    pub async fn try_send(&self, raw: &Bytes) -> Result<B256, Refusal> {
        self.try_call("eth_sendRawTransaction", json!([raw])).await
    }

    pub async fn receipt(&self, hash: B256) -> Value {
        for _ in 0..1_000 {
            let receipt: Value = self.call("eth_getTransactionReceipt", json!([hash])).await;
            if !receipt.is_null() {
                return receipt;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("no receipt of {hash:?}");
    }

    /// Sends and waits for the receipt.
    pub async fn mined(&self, raw: &Bytes) -> Value {
        let hash = self.send(raw).await;
        self.receipt(hash).await
    }

    /// Deploys the test contract from the first account, with this nonce.
    pub async fn deploy(&self, nonce: u64) -> Address {
        created(&self.mined(&sign(0, tx(nonce, None, contract::creation()))).await)
    }

    /// Calls the test contract and reads the word it returns.
    pub async fn word(&self, to: Address, data: Vec<u8>, block: Value) -> B256 {
        self.call("eth_call", json!([{ "to": to, "data": Bytes::from(data) }, block])).await
    }

    /// Calls the test contract and reads the number it returns.
    pub async fn number(&self, to: Address, data: Vec<u8>, block: Value) -> u64 {
        let word = self.word(to, data, block).await;
        u64::from_be_bytes(word[24..].try_into().expect("eight bytes"))
    }

    pub async fn head(&self) -> u64 {
        small(&self.call("eth_blockNumber", json!([])).await)
    }

    pub async fn block_hash(&self, number: u64) -> B256 {
        let block: Value = self.call("eth_getBlockByNumber", json!([format!("{number:#x}"), false])).await;
        serde_json::from_value(block["hash"].clone()).expect("mined")
    }

    pub async fn nonce(&self, account: Address, block: &str) -> u64 {
        small(&self.call("eth_getTransactionCount", json!([account, block])).await)
    }

    pub async fn balance(&self, account: Address) -> u128 {
        quantity(&self.call("eth_getBalance", json!([account, "latest"])).await)
    }
}

/// The contract that a receipt names.
pub fn created(receipt: &Value) -> Address {
    serde_json::from_value(receipt["contractAddress"].clone()).expect("a contract")
}

/// The hash of the transaction that a receipt is of.
pub fn hash_of(receipt: &Value) -> B256 {
    serde_json::from_value(receipt["transactionHash"].clone()).expect("a hash")
}

/// A number of 64 bits.
pub fn small(number: &Value) -> u64 {
    u64::try_from(quantity(number)).expect("a small number")
}

/// A small number as a word.
pub fn word_of(number: u64) -> B256 {
    B256::left_padding_from(&number.to_be_bytes())
}
