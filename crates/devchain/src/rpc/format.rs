//! Writes blocks, transactions, receipts and logs as the Ethereum JSON-RPC specification has them.

use revm::primitives::{B256, Bytes, U256};
use serde_json::{Value, json};

use crate::chain::LogEntry;
use crate::types::{Block, EMPTY_REQUESTS, EMPTY_ROOT, EMPTY_UNCLES, SignedTx};

/// A quantity: hexadecimal without leading zeros.
pub(super) fn quantity(value: impl Into<u128>) -> Value {
    Value::String(format!("{:#x}", value.into()))
}

/// A 256-bit quantity.
pub(super) fn big(value: U256) -> Value {
    Value::String(format!("{value:#x}"))
}

/// A block with its transactions in full, or only their hashes.
pub(super) fn block(block: &Block, full: bool) -> Value {
    let header = &block.header;
    let transactions: Vec<Value> = if full {
        (0..block.transactions.len()).map(|index| mined_transaction(block, index)).collect()
    } else {
        block.transactions.iter().map(|tx| json!(tx.hash)).collect()
    };
    json!({
        "number": quantity(header.number),
        "hash": block.hash,
        "parentHash": header.parent_hash,
        "sha3Uncles": EMPTY_UNCLES,
        "miner": header.beneficiary,
        "stateRoot": header.state_root,
        "transactionsRoot": header.transactions_root,
        "receiptsRoot": header.receipts_root,
        "logsBloom": header.logs_bloom,
        "difficulty": "0x0",
        "totalDifficulty": "0x0",
        "gasLimit": quantity(header.gas_limit),
        "gasUsed": quantity(header.gas_used),
        "timestamp": quantity(header.timestamp),
        "extraData": header.extra_data,
        "mixHash": header.prev_randao,
        "nonce": "0x0000000000000000",
        "baseFeePerGas": quantity(header.base_fee),
        "withdrawalsRoot": EMPTY_ROOT,
        "withdrawals": [],
        "blobGasUsed": "0x0",
        "excessBlobGas": "0x0",
        "parentBeaconBlockRoot": B256::ZERO,
        "requestsHash": EMPTY_REQUESTS,
        "size": quantity(block.size),
        "uncles": [],
        "transactions": transactions,
    })
}

/// The transaction at an index of a block.
pub(super) fn mined_transaction(block: &Block, index: usize) -> Value {
    let Some((tx, receipt)) = block.transactions.get(index).zip(block.receipts.get(index)) else {
        return Value::Null;
    };
    let mut value = transaction(tx);
    value["blockHash"] = json!(block.hash);
    value["blockNumber"] = quantity(block.header.number);
    value["transactionIndex"] = quantity(index as u64);
    value["gasPrice"] = quantity(receipt.effective_gas_price);
    value
}

/// A transaction that is in no block yet.
pub(super) fn transaction(tx: &SignedTx) -> Value {
    let mut value = json!({
        "hash": tx.hash,
        "type": quantity(tx.tx_type),
        "chainId": quantity(tx.chain_id),
        "nonce": quantity(tx.nonce),
        "from": tx.sender,
        "to": tx.to,
        "value": big(tx.value),
        "gas": quantity(tx.gas_limit),
        "gasPrice": quantity(tx.max_fee),
        "input": tx.input,
        "v": quantity(tx.v),
        "r": big(tx.r),
        "s": big(tx.s),
        "blockHash": null,
        "blockNumber": null,
        "transactionIndex": null,
    });
    if tx.tx_type > 0 {
        let list: Vec<_> = tx
            .access_list
            .iter()
            .map(|(address, keys)| json!({ "address": address, "storageKeys": keys }))
            .collect();
        value["accessList"] = Value::Array(list);
        value["yParity"] = quantity(tx.v);
    }
    if tx.tx_type == 2 {
        value["maxFeePerGas"] = quantity(tx.max_fee);
        value["maxPriorityFeePerGas"] = quantity(tx.max_tip);
    }
    value
}

/// The receipt at an index of a block.
pub(super) fn receipt(block: &Block, index: usize) -> Value {
    let Some((tx, receipt)) = block.transactions.get(index).zip(block.receipts.get(index)) else {
        return Value::Null;
    };
    let entries = receipt.logs.iter().zip(receipt.first_log..);
    let logs: Vec<_> = entries
        .map(|(log, number)| self::log(&LogEntry { block, transaction: index, index: number, log }))
        .collect();
    json!({
        "transactionHash": tx.hash,
        "transactionIndex": quantity(index as u64),
        "blockHash": block.hash,
        "blockNumber": quantity(block.header.number),
        "from": tx.sender,
        "to": tx.to,
        "cumulativeGasUsed": quantity(receipt.cumulative_gas_used),
        "gasUsed": quantity(receipt.gas_used),
        "effectiveGasPrice": quantity(receipt.effective_gas_price),
        "contractAddress": receipt.contract_address,
        "logs": logs,
        "logsBloom": receipt.logs_bloom,
        "status": quantity(u8::from(receipt.success)),
        "type": quantity(tx.tx_type),
    })
}

/// A log.
pub(super) fn log(entry: &LogEntry<'_>) -> Value {
    let LogEntry { block, transaction, index, log } = entry;
    json!({
        "address": log.address,
        "topics": log.topics(),
        "data": log.data.data,
        "blockNumber": quantity(block.header.number),
        "blockHash": block.hash,
        "blockTimestamp": quantity(block.header.timestamp),
        "transactionHash": block.transactions.get(*transaction).map(|tx| tx.hash),
        "transactionIndex": quantity(*transaction as u64),
        "logIndex": quantity(*index),
        "removed": false,
    })
}

/// A 32-byte word in full.
pub(super) fn word(value: U256) -> Value {
    json!(Bytes::copy_from_slice(&value.to_be_bytes::<32>()))
}
