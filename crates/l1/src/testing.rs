//! For tests of other crates: the contract's generated calls, and signed transactions of every type, with numbers and signatures that
//! no honest wallet makes.
//!
//! Encoding and signing are those of `ethers`, so that what reads transactions here is held against an independent implementation.

pub use ethers::{
    abi::{AbiDecode, AbiEncode},
    types::U256,
};
use ethers::{
    types::{
        Eip1559TransactionRequest, H160, H256, NameOrAddress, Signature, TransactionRequest,
        transaction::{
            eip2718::TypedTransaction,
            eip2930::{AccessList, AccessListItem},
        },
    },
    utils::{get_contract_address, id},
};
use protocol::{
    Address,
    l1::{ChainError, Hash32},
};

use crate::{
    contract::{Batch, ForcedEntry, MintEntry, VerifyingKey, Word, calls},
    node::AccountKey,
};

/// The contract's calls, generated from its ABI.
pub mod bindings {
    pub use crate::contract::bindings::*;
}

/// The call behind [`calls::submit_batch`].
pub fn submit_batch_call(batch: &Batch, proof: &[Word; 8]) -> bindings::SubmitBatchCall {
    calls::submit_batch_call(batch, proof)
}

/// The call behind [`calls::submit_batches`].
pub fn submit_batches_call(proven: &[(Batch, [Word; 8])]) -> bindings::SubmitBatchesCall {
    calls::submit_batches_call(proven)
}

/// A deposit as calls have it.
pub fn mint_entry(entry: &MintEntry) -> bindings::MintEntry {
    calls::mint_entry(entry)
}

/// A forced request as calls have it.
pub fn forced_entry(entry: &ForcedEntry) -> bindings::ForcedEntry {
    calls::forced_entry(entry)
}

/// A key as calls have it.
pub fn verifying_key(key: &VerifyingKey) -> bindings::VerifyingKey {
    calls::verifying_key(key)
}

/// The first four bytes of the call data of a function like `collect(address)`.
pub fn selector(signature: &str) -> [u8; 4] {
    id(signature)
}

/// Where the contract lies that an account creates with this nonce.
pub fn created_address(creator: Address, nonce: u64) -> Address {
    get_contract_address(H160(creator), nonce).0
}

/// EIP-2718's types of transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxType {
    Legacy,
    /// EIP-2930.
    AccessList,
    /// EIP-1559.
    DynamicFee,
}

/// A transaction with any numbers.
#[derive(Clone, Debug)]
pub struct RawTx {
    pub tx_type: TxType,
    /// Nothing: a legacy transaction for every chain, without EIP-155's protection.
    pub chain_id: Option<u64>,
    pub nonce: U256,
    pub gas: U256,
    /// The gas price of a legacy transaction or one with an access list.
    pub max_fee: U256,
    pub max_priority: U256,
    /// Nothing: creates a contract.
    pub to: Option<Address>,
    pub value: U256,
    pub data: Vec<u8>,
    pub access_list: Vec<(Address, Vec<Hash32>)>,
}

impl RawTx {
    /// The signed bytes.
    ///
    /// # Errors
    /// `Signing`.
    pub fn sign(&self, key: &AccountKey) -> Result<Vec<u8>, ChainError> {
        Ok(self.encode(&self.signature(key)?))
    }

    /// The bytes with the other signature that secp256k1 allows for the same key: s in the upper half, which EIP-2 forbids.
    ///
    /// # Errors
    /// `Signing`.
    pub fn sign_malleably(&self, key: &AccountKey) -> Result<Vec<u8>, ChainError> {
        let signature = self.signature(key)?;
        Ok(self.encode(&Signature { s: ORDER - signature.s, v: 1 - signature.v, ..signature }))
    }

    /// With the parity of R's y as its v.
    fn signature(&self, key: &AccountKey) -> Result<Signature, ChainError> {
        let signature = key.sign_hash(self.typed().sighash().0)?;
        Ok(Signature { v: signature.v - 27, ..signature })
    }

    fn encode(&self, signature: &Signature) -> Vec<u8> {
        let parity = signature.v;
        let v = match (self.tx_type, self.chain_id) {
            (TxType::Legacy, None) => 27 + parity,
            (TxType::Legacy, Some(chain_id)) => 35 + 2 * chain_id + parity,
            (TxType::AccessList | TxType::DynamicFee, _) => parity,
        };
        self.typed().rlp_signed(&Signature { v, ..*signature }).to_vec()
    }

    fn typed(&self) -> TypedTransaction {
        let legacy = || TransactionRequest {
            from: None,
            to: self.to.map(|to| NameOrAddress::Address(H160(to))),
            gas: Some(self.gas),
            gas_price: Some(self.max_fee),
            value: Some(self.value),
            data: Some(self.data.clone().into()),
            nonce: Some(self.nonce),
            chain_id: self.chain_id.map(Into::into),
        };
        let access_list = || {
            let item = |(address, keys): &(Address, Vec<Hash32>)| AccessListItem {
                address: H160(*address),
                storage_keys: keys.iter().copied().map(H256).collect(),
            };
            AccessList(self.access_list.iter().map(item).collect())
        };
        match self.tx_type {
            TxType::Legacy => TypedTransaction::Legacy(legacy()),
            TxType::AccessList => TypedTransaction::Eip2930(legacy().with_access_list(access_list())),
            TxType::DynamicFee => TypedTransaction::Eip1559(Eip1559TransactionRequest {
                from: None,
                to: self.to.map(|to| NameOrAddress::Address(H160(to))),
                gas: Some(self.gas),
                value: Some(self.value),
                data: Some(self.data.clone().into()),
                nonce: Some(self.nonce),
                access_list: access_list(),
                max_priority_fee_per_gas: Some(self.max_priority),
                max_fee_per_gas: Some(self.max_fee),
                chain_id: self.chain_id.map(Into::into),
            }),
        }
    }
}

/// The order of secp256k1.
const ORDER: U256 =
    U256([0xbfd2_5e8c_d036_4141, 0xbaae_dce6_af48_a03b, 0xffff_ffff_ffff_fffe, 0xffff_ffff_ffff_ffff]);
