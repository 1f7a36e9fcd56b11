//! Reads positional parameters. Quantities are hexadecimal strings; the `evm_` and `anvil_` methods also take JSON
//! numbers, as their callers send them.

use revm::primitives::{Address, B256, Bytes, U256};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::RpcError;
use crate::chain::{BlockRef, LogFilter};
use crate::evm::Call;

/// A method's parameters.
#[derive(Debug)]
pub struct Params(Vec<Value>);

impl Params {
    pub(super) fn new(params: Value) -> Result<Self, RpcError> {
        match params {
            Value::Array(params) => Ok(Self(params)),
            Value::Null => Ok(Self(Vec::new())),
            _ => Err(RpcError::params("parameters are an array")),
        }
    }

    /// A parameter, `None` if it is missing or null.
    pub(super) fn get(&self, index: usize) -> Option<&Value> {
        self.0.get(index).filter(|value| !value.is_null())
    }

    fn require(&self, index: usize) -> Result<&Value, RpcError> {
        self.get(index).ok_or_else(|| RpcError::params(format!("parameter {index} is missing")))
    }

    pub(super) fn address(&self, index: usize) -> Result<Address, RpcError> {
        read(self.require(index)?, "an address")
    }

    pub(super) fn hash(&self, index: usize) -> Result<B256, RpcError> {
        read(self.require(index)?, "a 32-byte hash")
    }

    pub(super) fn bytes(&self, index: usize) -> Result<Bytes, RpcError> {
        read(self.require(index)?, "hexadecimal bytes")
    }

    pub(super) fn bool(&self, index: usize) -> Result<bool, RpcError> {
        self.require(index)?.as_bool().ok_or_else(|| RpcError::params("not true or false"))
    }

    pub(super) fn flag(&self, index: usize) -> bool {
        self.get(index).and_then(Value::as_bool).unwrap_or(false)
    }

    pub(super) fn word(&self, index: usize) -> Result<U256, RpcError> {
        word(self.require(index)?)
    }

    pub(super) fn number(&self, index: usize) -> Result<u64, RpcError> {
        number(self.require(index)?)
    }

    pub(super) fn number_or(&self, index: usize, default: u64) -> Result<u64, RpcError> {
        self.get(index).map_or(Ok(default), number)
    }

    /// A block, `latest` if it is missing.
    pub(super) fn block(&self, index: usize) -> Result<BlockRef, RpcError> {
        self.block_or(index, BlockRef::Latest)
    }

    pub(super) fn block_or(&self, index: usize, default: BlockRef) -> Result<BlockRef, RpcError> {
        self.get(index).map_or(Ok(default), block)
    }

    pub(super) fn list(&self, index: usize) -> Result<Vec<f64>, RpcError> {
        self.get(index).map_or(Ok(Vec::new()), |value| read(value, "a list of numbers"))
    }

    pub(super) fn call(&self, index: usize) -> Result<CallRequest, RpcError> {
        CallRequest::read(self.require(index)?)
    }

    pub(super) fn filter(&self, index: usize) -> Result<FilterRequest, RpcError> {
        FilterRequest::read(self.require(index)?)
    }
}

/// The call object of `eth_call` and `eth_estimateGas`. Fees and nonce are ignored.
#[derive(Debug)]
pub struct CallRequest {
    /// Gas, if it was given.
    pub gas: Option<u64>,
    /// The call with gas 0.
    pub call: Call,
}

impl CallRequest {
    fn read(value: &Value) -> Result<Self, RpcError> {
        let field = |name: &str| value.get(name).filter(|value| !value.is_null());
        if !value.is_object() {
            return Err(RpcError::params("a call is an object"));
        }
        // `input` is the newer name and wins.
        let input = field("input").or_else(|| field("data"));
        let mut access_list = Vec::new();
        for item in field("accessList").and_then(Value::as_array).into_iter().flatten() {
            let address = read(item.get("address").unwrap_or(&Value::Null), "an address")?;
            let keys = item.get("storageKeys").map_or(Ok(Vec::new()), |keys| read(keys, "storage keys"))?;
            access_list.push((address, keys));
        }
        let gas = match field("gas") {
            // More gas than 64 bits hold is more than any block has.
            Some(gas) => Some(u64::try_from(word(gas)?).unwrap_or(u64::MAX)),
            None => None,
        };
        let call = Call {
            from: field("from").map_or(Ok(Address::ZERO), |from| read(from, "an address"))?,
            to: field("to").map(|to| read(to, "an address")).transpose()?,
            gas: 0,
            value: field("value").map_or(Ok(U256::ZERO), word)?,
            input: input.map_or(Ok(Bytes::new()), |input| read(input, "hexadecimal bytes"))?,
            access_list,
        };
        Ok(Self { gas, call })
    }
}

/// The filter object of `eth_getLogs`.
#[derive(Debug)]
pub struct FilterRequest {
    /// First block, or the one with this hash.
    pub from: BlockRef,
    /// Last block.
    pub to: BlockRef,
    /// Addresses and topics.
    pub filter: LogFilter,
}

impl FilterRequest {
    fn read(value: &Value) -> Result<Self, RpcError> {
        let field = |name: &str| value.get(name).filter(|value| !value.is_null());
        if !value.is_object() {
            return Err(RpcError::params("a filter is an object"));
        }
        let (from, to) = match field("blockHash") {
            Some(_) if field("fromBlock").is_some() || field("toBlock").is_some() => {
                return Err(RpcError::params("blockHash excludes fromBlock and toBlock"));
            }
            Some(hash) => {
                let hash = BlockRef::Hash(read(hash, "a 32-byte hash")?);
                (hash, hash)
            }
            None => (
                field("fromBlock").map_or(Ok(BlockRef::Latest), block)?,
                field("toBlock").map_or(Ok(BlockRef::Latest), block)?,
            ),
        };
        let addresses = field("address").map_or(Ok(Vec::new()), |value| one_or_many(value, "an address"))?;
        let topics = match field("topics") {
            None => Vec::new(),
            Some(Value::Array(topics)) if topics.len() <= 4 => topics
                .iter()
                .map(|topic| if topic.is_null() { Ok(Vec::new()) } else { one_or_many(topic, "a topic") })
                .collect::<Result<_, _>>()?,
            Some(_) => return Err(RpcError::params("topics are an array of at most four")),
        };
        Ok(Self { from, to, filter: LogFilter { addresses, topics } })
    }
}

fn one_or_many<T: DeserializeOwned>(value: &Value, what: &str) -> Result<Vec<T>, RpcError> {
    match value {
        Value::Array(values) => values.iter().map(|value| read(value, what)).collect(),
        value => Ok(vec![read(value, what)?]),
    }
}

fn block(value: &Value) -> Result<BlockRef, RpcError> {
    if let Some(hash) = value.get("blockHash") {
        return Ok(BlockRef::Hash(read(hash, "a 32-byte hash")?));
    }
    if let Some(number) = value.get("blockNumber") {
        return block(number);
    }
    match value.as_str() {
        Some("latest") => Ok(BlockRef::Latest),
        Some("pending") => Ok(BlockRef::Pending),
        Some("earliest") => Ok(BlockRef::Earliest),
        Some("safe" | "finalized") => Ok(BlockRef::Finalized),
        _ => Ok(BlockRef::Number(number(value)?)),
    }
}

/// A number as hexadecimal or decimal string or JSON number.
pub(super) fn number(value: &Value) -> Result<u64, RpcError> {
    u64::try_from(word(value)?).map_err(|_| RpcError::params("the number does not fit 64 bits"))
}

fn word(value: &Value) -> Result<U256, RpcError> {
    let wrong = || RpcError::params(format!("not a number: {value}"));
    match value {
        Value::Number(number) => number.as_u64().map(U256::from).ok_or_else(wrong),
        Value::String(text) => match text.strip_prefix("0x") {
            Some("") => Ok(U256::ZERO),
            Some(digits) => U256::from_str_radix(digits, 16).map_err(|_| wrong()),
            None => U256::from_str_radix(text, 10).map_err(|_| wrong()),
        },
        _ => Err(wrong()),
    }
}

fn read<T: DeserializeOwned>(value: &Value, what: &str) -> Result<T, RpcError> {
    T::deserialize(value).map_err(|_| RpcError::params(format!("not {what}: {value}")))
}
