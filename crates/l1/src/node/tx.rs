//! From a call to its receipt, for callers that wait: the wallet. Settlement keeps its own nonces and
//! transactions in the store and uses [`sign`] alone.

use std::time::Duration;

use ethers::types::{
    Bytes, Eip1559TransactionRequest, H160, NameOrAddress, transaction::eip2718::TypedTransaction,
};
use protocol::{
    Address,
    l1::{ChainError, Fees, Hash32, SendOutcome, SignedTx},
};
use tokio::time::Instant;

use super::{
    client::{Call, Node, RawReceipt, u64_of},
    error::TxError,
    fees::FeeLimits,
    key::AccountKey,
    logs,
};
use crate::contract::Event;

const FIRST_POLL: Duration = Duration::from_millis(40);
const LONGEST_POLL: Duration = Duration::from_secs(2);

/// A transaction that was mined and did what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mined {
    pub tx: Hash32,
    pub block: u64,
    pub gas_used: u64,
    /// Wei paid for gas, where the node says so.
    pub gas_cost: Option<u128>,
    /// The contract's events, in order.
    pub events: Vec<Event>,
}

/// A transaction before it is signed.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    pub call: &'a Call,
    pub chain_id: u64,
    pub nonce: u64,
    pub gas: u64,
    pub fees: Fees,
}

impl Draft<'_> {
    pub(super) fn typed(&self) -> TypedTransaction {
        TypedTransaction::Eip1559(Eip1559TransactionRequest {
            chain_id: Some(self.chain_id.into()),
            from: Some(H160(self.call.from)),
            to: self.call.to.map(|to| NameOrAddress::Address(H160(to))),
            value: Some(self.call.value.into()),
            data: Some(Bytes::from(self.call.data.clone())),
            nonce: Some(self.nonce.into()),
            gas: Some(self.gas.into()),
            max_fee_per_gas: Some(self.fees.max_fee.into()),
            max_priority_fee_per_gas: Some(self.fees.max_priority.into()),
            access_list: Default::default(),
        })
    }

    pub(super) fn signed(&self, raw: Vec<u8>, hash: Hash32) -> SignedTx {
        SignedTx { raw, hash, nonce: self.nonce, fees: self.fees }
    }
}

pub(super) fn sign(key: &AccountKey, draft: &Draft<'_>) -> Result<SignedTx, ChainError> {
    let (raw, hash) = key.sign(&draft.typed())?;
    Ok(draft.signed(raw, hash))
}

/// Whether the node may have the transaction already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broadcast {
    /// It was never sent: a refusal means that it does not exist.
    First,
    /// It was sent before, perhaps by a process that was killed: only a receipt says what became of it.
    Again,
}

/// Who sends, where, and how long to wait.
#[derive(Debug)]
pub(super) struct Sender<'a> {
    pub node: &'a Node,
    pub key: &'a AccountKey,
    pub chain_id: u64,
    pub fee_limits: FeeLimits,
    pub patience: Duration,
}

impl Sender<'_> {
    /// Tries the call on the node and signs it at this nonce, or at the account's next one. Nothing is sent.
    pub async fn sign(
        &self,
        to: Option<Address>,
        value: u128,
        data: Vec<u8>,
        nonce: Option<u64>,
    ) -> Result<SignedTx, TxError> {
        self.key.check_chain(self.chain_id)?;
        let call = Call { from: self.key.address(), to, value, data };
        let gas = self.node.gas_limit(&call, "latest").await?;
        let nonce = match nonce {
            Some(nonce) => nonce,
            None => self.node.nonce(call.from, "pending").await?,
        };
        let fees = self.node.fees(&self.fee_limits).await?;
        Ok(sign(self.key, &Draft { call: &call, chain_id: self.chain_id, nonce, gas, fees })?)
    }

    /// Sends a signed transaction until it has a receipt of success. Once a broadcast may have arrived, nothing but a receipt
    /// counts: neither what the node says of a repetition nor an error of the receipt's call.
    ///
    /// # Errors
    /// `NotTaken` where the node refused it and no broadcast can have arrived, `Reverted`, `NoReceipt`.
    pub async fn follow(&self, tx: &SignedTx, broadcast: Broadcast) -> Result<RawReceipt, TxError> {
        let begun = Instant::now();
        let (mut poll, mut taken, mut in_doubt) = (FIRST_POLL, false, broadcast == Broadcast::Again);
        loop {
            if !taken {
                match self.node.send_raw(tx).await {
                    Ok(SendOutcome::Sent) => taken = true,
                    // It may have arrived although its answer was lost, or says nothing that is known.
                    Err(_) | Ok(SendOutcome::Refused(_)) => in_doubt = true,
                    // The node says no to bytes that it may have had before: sent again with the next poll.
                    Ok(_) if in_doubt => {}
                    Ok(SendOutcome::NotTaken(words)) => return Err(TxError::NotTaken(words)),
                    Ok(SendOutcome::NonceUsed) => {
                        let words = "another transaction of this account came first; run the command again";
                        return Err(TxError::NotTaken(words.into()));
                    }
                    Ok(SendOutcome::Underpriced) => {
                        let words =
                            "fees have risen, or another transaction of this account waits; try again later";
                        return Err(TxError::NotTaken(words.into()));
                    }
                }
            }
            if let Ok(Some(receipt)) = self.node.raw_receipt(tx.hash).await {
                return self.succeeded(tx, receipt);
            }
            if begun.elapsed() >= self.patience {
                let seconds = self.patience.as_secs();
                return Err(TxError::NoReceipt { tx: tx.hash, nonce: tx.nonce, seconds });
            }
            tokio::time::sleep(poll).await;
            poll = (poll * 3 / 2).min(LONGEST_POLL);
        }
    }

    /// The receipt of a transaction, if the node has it.
    ///
    /// # Errors
    /// `Reverted`; the node's.
    pub async fn look(&self, tx: &SignedTx) -> Result<Option<RawReceipt>, TxError> {
        let receipt = self.node.raw_receipt(tx.hash).await?;
        receipt.map(|receipt| self.succeeded(tx, receipt)).transpose()
    }

    fn succeeded(&self, tx: &SignedTx, receipt: RawReceipt) -> Result<RawReceipt, TxError> {
        match receipt.status {
            Some(status) if status == 1.into() => Ok(receipt),
            _ => Err(TxError::Reverted { tx: tx.hash, block: block_of(&receipt) }),
        }
    }
}

/// The contract's part of a receipt.
pub(super) fn mined(contract: Address, tx: Hash32, receipt: &RawReceipt) -> Result<Mined, ChainError> {
    let logs = receipt.logs.iter().filter(|log| log.address.0 == contract);
    let events = logs.map(logs::event).collect::<Result<_, ChainError>>()?;
    let gas_used = u64_of("gas used", receipt.gas_used)?;
    let price = receipt.effective_gas_price.and_then(|price| u128::try_from(price).ok());
    Ok(Mined {
        tx,
        block: block_of(receipt),
        gas_used,
        gas_cost: price.and_then(|price| price.checked_mul(gas_used.into())),
        events,
    })
}

pub(super) fn block_of(receipt: &RawReceipt) -> u64 {
    receipt.block_number.unwrap_or_default().as_u64()
}
