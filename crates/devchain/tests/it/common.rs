//! A client for either chain, and raw transactions.

use std::str::FromStr;
use std::time::Duration;

use devchain::{Config, DEV_ACCOUNTS, DevChain, Handle};
use ethers::providers::{Http, Middleware, Provider, RpcError};
use ethers::signers::{LocalWallet, Signer};
use ethers::types::transaction::eip2718::TypedTransaction;
use ethers::types::{
    Address, Bytes, Eip1559TransactionRequest, H256, TransactionReceipt, TransactionRequest, U256,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

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

/// The wallet of a known account.
pub fn wallet(index: usize) -> LocalWallet {
    LocalWallet::from_str(DEV_ACCOUNTS[index].private_key).expect("a key").with_chain_id(CHAIN_ID)
}

/// An EIP-1559 transaction with ample fees.
pub fn tx(nonce: u64, to: Option<Address>, data: Vec<u8>) -> Eip1559TransactionRequest {
    let tx = Eip1559TransactionRequest::new()
        .chain_id(CHAIN_ID)
        .nonce(nonce)
        .gas(500_000)
        .max_fee_per_gas(10 * GWEI)
        .max_priority_fee_per_gas(GWEI)
        .data(data);
    match to {
        Some(to) => tx.to(to),
        None => tx,
    }
}

/// A legacy transfer of some wei.
pub fn transfer(nonce: u64, to: Address, wei: u64) -> TransactionRequest {
    TransactionRequest::new()
        .chain_id(CHAIN_ID)
        .nonce(nonce)
        .gas(21_000)
        .gas_price(10 * GWEI)
        .to(to)
        .value(wei)
}

/// Signs with the key of a known account, whatever chain id the transaction has.
pub fn sign(from: usize, tx: impl Into<TypedTransaction>) -> Bytes {
    let tx = tx.into();
    let chain_id = tx.chain_id().map_or(CHAIN_ID, |id| id.as_u64());
    let signature = wallet(from).with_chain_id(chain_id).sign_transaction_sync(&tx).expect("signs");
    tx.rlp_signed(&signature)
}

/// A failed call as the client sees it.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    pub code: i64,
    pub message: String,
    pub data: Option<Value>,
}

/// JSON-RPC over HTTP by ethers.
#[derive(Clone, Debug)]
pub struct Client {
    pub provider: Provider<Http>,
}

impl Client {
    pub fn new(url: &str) -> Self {
        let provider = Provider::<Http>::try_from(url).expect("a URL").interval(Duration::from_millis(5));
        Self { provider }
    }

    pub async fn try_call<T: DeserializeOwned + Serialize + std::fmt::Debug + Send>(
        &self,
        method: &str,
        params: Value,
    ) -> Result<T, Failure> {
        self.provider.request(method, params).await.map_err(|error| {
            let error = error.as_error_response().unwrap_or_else(|| panic!("{method}: {error}")).clone();
            Failure { code: error.code, message: error.message, data: error.data }
        })
    }

    pub async fn call<T: DeserializeOwned + Serialize + std::fmt::Debug + Send>(
        &self,
        method: &str,
        params: Value,
    ) -> T {
        let shown = params.to_string();
        self.try_call(method, params).await.unwrap_or_else(|error| panic!("{method} {shown}: {error:?}"))
    }

    /// Sends raw bytes and gives the hash.
    pub async fn send(&self, raw: &Bytes) -> H256 {
        self.call("eth_sendRawTransaction", json!([raw])).await
    }

    pub async fn try_send(&self, raw: &Bytes) -> Result<H256, Failure> {
        self.try_call("eth_sendRawTransaction", json!([raw])).await
    }

    pub async fn receipt(&self, hash: H256) -> TransactionReceipt {
        for _ in 0..1_000 {
            if let Some(receipt) = self.provider.get_transaction_receipt(hash).await.expect("an answer") {
                return receipt;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("no receipt of {hash:?}");
    }

    /// Sends and waits for the receipt.
    pub async fn mined(&self, raw: &Bytes) -> TransactionReceipt {
        let hash = self.send(raw).await;
        self.receipt(hash).await
    }

    /// Deploys the test contract from the first account, with this nonce.
    pub async fn deploy(&self, nonce: u64) -> Address {
        let receipt = self.mined(&sign(0, tx(nonce, None, contract::creation()))).await;
        receipt.contract_address.expect("a contract")
    }

    /// Calls the test contract and reads the word it returns.
    pub async fn word(&self, to: Address, data: Vec<u8>, block: Value) -> U256 {
        let call = json!([{ "to": to, "data": Bytes::from(data) }, block]);
        let bytes: Bytes = self.call("eth_call", call).await;
        assert_eq!(bytes.len(), 32);
        U256::from_big_endian(&bytes)
    }

    pub async fn head(&self) -> u64 {
        self.provider.get_block_number().await.expect("an answer").as_u64()
    }

    pub async fn block_hash(&self, number: u64) -> H256 {
        let block = self.provider.get_block(number).await.expect("an answer").expect("a block");
        block.hash.expect("mined")
    }

    pub async fn nonce(&self, account: Address, block: &str) -> u64 {
        let nonce: U256 = self.call("eth_getTransactionCount", json!([account, block])).await;
        nonce.as_u64()
    }
}
