//! One node's JSON-RPC methods, typed. Knows nothing of the contract.

use ethers::types::{Bytes, H160, H256, Log, U64, U256};
use parking_lot::{Mutex, MutexGuard};
use protocol::{
    Address,
    l1::{BlockRef, ChainError, Fees, Hash32, Logs, Receipt, SendOutcome, SignedTx},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    error::{TX_GAS_CAP, TxError, lacks_funds, revert_of, send_outcome},
    fees::{self, FeeHistory, FeeLimits},
    logs,
    span::Span,
};
use crate::{
    contract::ContractError,
    http::{Endpoint, HttpLimits},
    rpc::{Client, RpcError},
};

/// One node over JSON-RPC.
#[derive(Debug)]
pub struct Node {
    rpc: Client,
    span: Mutex<Span>,
}

/// A call or transaction before it has a nonce.
#[derive(Clone, Debug)]
pub struct Call {
    pub from: Address,
    /// Nothing: the transaction creates a contract.
    pub to: Option<Address>,
    pub value: u128,
    pub data: Vec<u8>,
}

impl Call {
    fn json(&self) -> Value {
        let mut call = json!({
            "from": H160(self.from),
            "value": U256::from(self.value),
            "data": format!("0x{}", hex::encode(&self.data)),
        });
        if let Some(to) = self.to {
            call["to"] = json!(H160(to));
        }
        call
    }
}

#[derive(Deserialize)]
struct Block {
    number: Option<U64>,
    hash: Option<H256>,
    timestamp: U256,
}

/// The part of a receipt that counts.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawReceipt {
    pub block_number: Option<U64>,
    pub block_hash: Option<H256>,
    pub status: Option<U64>,
    pub gas_used: U256,
    pub effective_gas_price: Option<U256>,
    pub contract_address: Option<H160>,
    #[serde(default)]
    pub logs: Vec<Log>,
}

/// No height, nonce, time or amount of gas comes near it; what is beyond would overflow where something is added.
const LARGEST: u64 = u64::MAX >> 8;

pub(super) fn u64_of(what: &str, number: U256) -> Result<u64, ChainError> {
    u64::try_from(number)
        .ok()
        .filter(|&number| number <= LARGEST)
        .ok_or_else(|| ChainError::Unexpected(format!("{what} of the node is beyond {LARGEST}")))
}

impl Node {
    pub fn connect(endpoint: &Endpoint, limits: HttpLimits) -> Result<Self, ChainError> {
        Ok(Self { rpc: Client::new(endpoint, limits)?, span: Mutex::default() })
    }

    async fn ask<R: DeserializeOwned>(&self, method: &str, params: Value) -> Result<R, RpcError> {
        self.rpc.call(method, params).await
    }

    fn span(&self) -> MutexGuard<'_, Span> {
        self.span.lock()
    }

    pub async fn chain_id(&self) -> Result<u64, ChainError> {
        u64_of("the chain id", self.ask("eth_chainId", json!([])).await?)
    }

    /// Checks that the node is of the chain expected.
    pub async fn chain_id_checked(&self, expected: Option<u64>) -> Result<u64, ChainError> {
        let chain_id = self.chain_id().await?;
        match expected {
            Some(expected) if expected != chain_id => Err(ChainError::Unexpected(format!(
                "the node is of chain {chain_id}, the configuration names chain {expected}"
            ))),
            _ => Ok(chain_id),
        }
    }

    /// The block under a number or tag; nothing where the node knows none.
    pub async fn block(&self, at: &str) -> Result<Option<BlockRef>, ChainError> {
        let block: Option<Block> = match self.ask("eth_getBlockByNumber", json!([at, false])).await {
            Ok(block) => block,
            // geth says so before the first block is finalised, instead of `null`.
            Err(RpcError::Refused(error)) if error.message.to_lowercase().contains("not found") => None,
            Err(error) => return Err(error.into()),
        };
        let Some(block) = block else { return Ok(None) };
        let (Some(number), Some(hash)) = (block.number, block.hash) else {
            return Err(ChainError::Unexpected(format!("block {at} has no number or hash")));
        };
        let timestamp = u64_of("a timestamp", block.timestamp)?;
        let number = u64_of("a block number", U256::from(number.as_u64()))?;
        Ok(Some(BlockRef { number, hash: hash.0, timestamp }))
    }

    pub async fn block_at(&self, number: u64) -> Result<Option<BlockRef>, ChainError> {
        let block = self.block(&format!("{number:#x}")).await?;
        match block {
            Some(block) if block.number != number => Err(ChainError::Unexpected(format!(
                "asked for block {number}, the node gave {}",
                block.number
            ))),
            block => Ok(block),
        }
    }

    pub async fn head(&self) -> Result<BlockRef, ChainError> {
        let head = self.block("latest").await?;
        head.ok_or_else(|| ChainError::Unexpected("the node knows no latest block".into()))
    }

    pub async fn balance(&self, of: Address) -> Result<u128, ChainError> {
        let balance: U256 = self.ask("eth_getBalance", json!([H160(of), "latest"])).await?;
        u128::try_from(balance).map_err(|_| ChainError::Unexpected("a balance does not fit 128 bits".into()))
    }

    /// The code at an address; empty where there is none.
    pub async fn code(&self, at: Address) -> Result<Vec<u8>, ChainError> {
        let code: Bytes = self.ask("eth_getCode", json!([H160(at), "latest"])).await?;
        Ok(code.to_vec())
    }

    /// By mined transactions (`latest`), or by those waiting too (`pending`).
    pub async fn nonce(&self, of: Address, at: &str) -> Result<u64, ChainError> {
        u64_of("a nonce", self.ask("eth_getTransactionCount", json!([H160(of), at])).await?)
    }

    pub async fn fees(&self, limits: &FeeLimits) -> Result<Fees, ChainError> {
        let params = json!([format!("{:#x}", fees::BLOCKS), "latest", [fees::PERCENTILE]]);
        let history: FeeHistory = self.ask("eth_feeHistory", params).await?;
        fees::fees(&history, limits)
    }

    /// The answer of a call on a block, by number or tag, or the contract's error.
    pub async fn call(&self, call: &Call, at: &str) -> Result<Result<Vec<u8>, ContractError>, ChainError> {
        let mut params = call.json();
        params["gas"] = json!(U256::from(TX_GAS_CAP));
        match self.ask::<Bytes>("eth_call", json!([params, at])).await {
            Ok(answer) => Ok(Ok(answer.to_vec())),
            Err(error) => revert_of(&error).map(Err).ok_or_else(|| error.into()),
        }
    }

    /// The estimate and a fifth more, within the cap of a transaction. The block is said explicitly: some nodes would
    /// estimate on what is pending, where a transaction to be replaced has already run.
    pub async fn gas_limit(&self, call: &Call, at: &str) -> Result<u64, TxError> {
        let estimate: U256 = match self.ask("eth_estimateGas", json!([call.json(), at])).await {
            Ok(estimate) => estimate,
            Err(error) => {
                if let Some(words) = lacks_funds(&error) {
                    return Err(TxError::NotTaken(words));
                }
                return Err(revert_of(&error).map_or_else(|| TxError::Chain(error.into()), TxError::Refused));
            }
        };
        gas_limit(u64_of("a gas estimate", estimate)?)
    }

    pub async fn send_raw(&self, tx: &SignedTx) -> Result<SendOutcome, ChainError> {
        let raw = format!("0x{}", hex::encode(&tx.raw));
        match self.ask::<H256>("eth_sendRawTransaction", json!([raw])).await {
            Ok(hash) if hash.0 == tx.hash => Ok(SendOutcome::Sent),
            Ok(hash) => Err(ChainError::Unexpected(format!(
                "the node took transaction 0x{} and calls it {hash:?}",
                hex::encode(tx.hash)
            ))),
            Err(error) => send_outcome(error),
        }
    }

    /// Nothing while the transaction is not mined.
    pub async fn receipt(&self, tx: Hash32) -> Result<Option<Receipt>, ChainError> {
        let Some(receipt) = self.raw_receipt(tx).await? else { return Ok(None) };
        let (Some(block), Some(block_hash), Some(status)) =
            (receipt.block_number, receipt.block_hash, receipt.status)
        else {
            return Err(ChainError::Unexpected("a receipt without block or status".into()));
        };
        Ok(Some(Receipt {
            tx,
            block: u64_of("a block number", block.as_u64().into())?,
            block_hash: block_hash.0,
            success: status == 1.into(),
            gas_used: u64_of("gas used", receipt.gas_used)?,
        }))
    }

    pub(super) async fn raw_receipt(&self, tx: Hash32) -> Result<Option<RawReceipt>, ChainError> {
        let receipt: Option<RawReceipt> = self.ask("eth_getTransactionReceipt", json!([H256(tx)])).await?;
        Ok(receipt.filter(|receipt| receipt.block_number.is_some()))
    }

    /// All logs of `contract` in blocks `from..=to` in order of the chain, asked for in parts of at most `span` blocks.
    ///
    /// # Errors
    /// `Unreachable` while the node does not have all these blocks: it would answer with the logs of those that it has;
    /// `Undecodable` for a log that this version does not know.
    pub async fn logs(&self, contract: Address, from: u64, to: u64, span: u64) -> Result<Logs, ChainError> {
        logs::sort(&self.raw_logs(contract, from, to, span).await?)
    }

    pub(super) async fn raw_logs(
        &self,
        contract: Address,
        from: u64,
        to: u64,
        span: u64,
    ) -> Result<Vec<Log>, ChainError> {
        let head = self.head().await?.number;
        if to > head {
            return Err(ChainError::Unreachable(format!(
                "the node is at block {head}, logs are asked up to {to}"
            )));
        }
        let (mut all, mut first) = (Vec::new(), from);
        while first <= to {
            let last = to.min(first.saturating_add(self.span().blocks(span) - 1));
            let blocks = last - first + 1;
            let filter = json!({
                "address": H160(contract), "fromBlock": format!("{first:#x}"), "toBlock": format!("{last:#x}"),
            });
            match self.ask::<Vec<Log>>("eth_getLogs", json!([filter])).await {
                Ok(logs) => {
                    all.extend(in_order(logs, contract, first..=last)?);
                    first = last + 1;
                    self.span().given(blocks);
                }
                Err(error) if !error.is_unsent() && self.span().refused(blocks) => {
                    tracing::debug!(blocks, %error, "the node gives logs of fewer blocks at once");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(all)
    }
}

fn in_order(
    mut logs: Vec<Log>,
    contract: Address,
    blocks: std::ops::RangeInclusive<u64>,
) -> Result<Vec<Log>, ChainError> {
    let place = |log: &Log| Some((log.block_number?.as_u64(), u64::try_from(log.log_index?).ok()?));
    for log in &logs {
        let asked_for = place(log).is_some_and(|(block, _)| blocks.contains(&block))
            && log.address.0 == contract
            && log.transaction_hash.is_some()
            && log.removed != Some(true);
        if !asked_for {
            return Err(ChainError::Unexpected(format!(
                "a log that was not asked for, in block {:?} at {:?}",
                log.block_number, log.log_index
            )));
        }
    }
    logs.sort_by_key(place);
    if logs.windows(2).any(|pair| place(&pair[0]) == place(&pair[1])) {
        return Err(ChainError::Unexpected("two logs in one place".into()));
    }
    Ok(logs)
}

fn gas_limit(estimate: u64) -> Result<u64, TxError> {
    if estimate > TX_GAS_CAP {
        return Err(TxError::TooMuchGas { needed: estimate });
    }
    Ok((estimate + estimate / 5).min(TX_GAS_CAP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gas_has_a_fifth_to_spare_up_to_the_cap_and_not_above() {
        assert_eq!(gas_limit(100_000), Ok(120_000));
        assert_eq!(gas_limit(15_000_000), Ok(TX_GAS_CAP));
        assert_eq!(gas_limit(TX_GAS_CAP), Ok(TX_GAS_CAP));
        assert_eq!(gas_limit(TX_GAS_CAP + 1), Err(TxError::TooMuchGas { needed: TX_GAS_CAP + 1 }));
        assert!(gas_limit(u64::MAX).unwrap_err().to_string().contains("16777216"));
    }

    fn log(block: u64, index: u64) -> Log {
        Log {
            block_number: Some(block.into()),
            log_index: Some(index.into()),
            transaction_hash: Some(H256::zero()),
            ..Log::default()
        }
    }

    #[test]
    fn logs_come_in_order_of_the_chain_and_only_those_asked_for() {
        let logs = in_order(vec![log(4, 1), log(3, 9), log(4, 0)], [0; 20], 3..=4).unwrap();
        assert_eq!(logs, vec![log(3, 9), log(4, 0), log(4, 1)]);
        for foreign in [log(2, 0), log(5, 0), Log { removed: Some(true), ..log(3, 0) }, Log::default()] {
            assert!(matches!(in_order(vec![foreign], [0; 20], 3..=4), Err(ChainError::Unexpected(_))));
        }
        assert!(in_order(vec![log(3, 0)], [1; 20], 3..=4).is_err());
        assert!(in_order(vec![log(3, 0), log(3, 0)], [0; 20], 3..=4).is_err());
    }
}
