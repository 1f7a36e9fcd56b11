//! Who signs the operator's transactions: a key in this process, or a remote signer of web3signer's kind.
//!
//! A remote signer holds the key and speaks `eth_signTransaction` over JSON-RPC. It is not believed: what it returns is
//! decoded, every field compared with what was asked, and its sender recovered, before anybody records or sends it. So
//! the worst it can do is not to answer.

use ethers::{
    types::{Bytes, H160, H256, Signature, U64, U256, transaction::eip2718::TypedTransaction},
    utils::{keccak256, rlp::Rlp},
};
use protocol::{
    Address,
    l1::{ChainError, SignedTx},
};
use serde_json::{Value, json};

use super::{
    key::AccountKey,
    tx::{self, Draft},
};
use crate::{
    http::{Endpoint, HttpLimits},
    rpc::{Client, RpcError},
};

/// Half the order of secp256k1, the most that s may be (EIP-2).
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x5d,
    0x57, 0x6e, 0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
];

#[derive(Debug)]
pub enum Signer {
    Local(AccountKey),
    Remote(Box<RemoteSigner>),
}

/// A signer behind JSON-RPC, and the account it signs for.
#[derive(Debug)]
pub struct RemoteSigner {
    rpc: Client,
    address: Address,
}

impl From<AccountKey> for Signer {
    fn from(key: AccountKey) -> Self {
        Self::Local(key)
    }
}

impl From<RemoteSigner> for Signer {
    fn from(signer: RemoteSigner) -> Self {
        Self::Remote(Box::new(signer))
    }
}

impl Signer {
    pub fn address(&self) -> Address {
        match self {
            Self::Local(key) => key.address(),
            Self::Remote(signer) => signer.address,
        }
    }

    /// # Errors
    /// `Signing` where everybody knows the key and the chain is not a development chain.
    pub fn check_chain(&self, chain_id: u64) -> Result<(), ChainError> {
        super::key::check_chain(&self.address(), chain_id)
    }

    /// # Errors
    /// `Signing` where a remote signer refuses or signs something else, `Unreachable` while it does not answer.
    pub async fn sign(&self, draft: &Draft<'_>) -> Result<SignedTx, ChainError> {
        match self {
            Self::Local(key) => tx::sign(key, draft),
            Self::Remote(signer) => signer.sign(draft).await,
        }
    }
}

impl RemoteSigner {
    /// The path of its address is never logged.
    ///
    /// # Errors
    /// `Unexpected` unless it is an `http` or `https` address whose TLS files can be read.
    pub fn new(
        endpoint: impl Into<Endpoint>,
        address: Address,
        limits: HttpLimits,
    ) -> Result<Self, ChainError> {
        Ok(Self { rpc: Client::new(&endpoint.into(), limits)?, address })
    }

    async fn sign(&self, draft: &Draft<'_>) -> Result<SignedTx, ChainError> {
        let answer: Value = match self.rpc.call("eth_signTransaction", json!([request(draft)])).await {
            Ok(answer) => answer,
            Err(error @ RpcError::Refused(_)) => return Err(refused(&error.to_string())),
            Err(error) => {
                return Err(match ChainError::from(error) {
                    ChainError::Unreachable(reason) => {
                        ChainError::Unreachable(format!("the remote signer: {reason}"))
                    }
                    error => refused(&error.to_string()),
                });
            }
        };
        // web3signer answers with the bytes, geth's clef and nodes with {raw, tx}.
        let raw = answer.get("raw").unwrap_or(&answer);
        let raw: Bytes =
            serde_json::from_value(raw.clone()).map_err(|_| refused("its answer is not a transaction"))?;
        check(draft, self.address, &raw)
    }
}

fn request(draft: &Draft<'_>) -> Value {
    let mut request = json!({
        "from": H160(draft.call.from),
        "value": U256::from(draft.call.value),
        "data": format!("0x{}", hex::encode(&draft.call.data)),
        "gas": U64::from(draft.gas),
        "nonce": U64::from(draft.nonce),
        "maxFeePerGas": U256::from(draft.fees.max_fee),
        "maxPriorityFeePerGas": U256::from(draft.fees.max_priority),
        "chainId": U64::from(draft.chain_id),
        "type": "0x2",
    });
    if let Some(to) = draft.call.to {
        request["to"] = json!(H160(to));
    }
    request
}

/// The signed transaction, if it is exactly the one asked for, signed by whom it should be.
fn check(draft: &Draft<'_>, signer: Address, raw: &[u8]) -> Result<SignedTx, ChainError> {
    let (mut signed, signature) = TypedTransaction::decode_signed(&Rlp::new(raw))
        .map_err(|_| refused("its answer is not a signed transaction"))?;
    let asked = draft.typed();
    let sender = recover(&asked, &signature);
    if sender != Some(H160(signer)) {
        return Err(refused(&difference(&asked, &signed).map_or_else(
            || {
                let by = sender.map_or_else(|| "nobody".to_owned(), |by| format!("{by:?}"));
                format!("it signed as {by}, not as 0x{}", hex::encode(signer))
            },
            |field| format!("it signed another {field} than was asked for"),
        )));
    }
    signed.set_from(H160(signer));
    if let Some(field) = difference(&asked, &signed) {
        return Err(refused(&format!("it signed another {field} than was asked for")));
    }
    if signature.s > U256::from_big_endian(&HALF_ORDER) {
        return Err(refused("its signature is not in the low half (EIP-2), which no chain takes"));
    }
    // The bytes must be the canonical form, so that their hash is the one the chain will know.
    if asked.rlp_signed(&signature).as_ref() != raw {
        return Err(refused("its answer holds more than the transaction"));
    }
    Ok(draft.signed(raw.to_vec(), H256(keccak256(raw)).0))
}

fn recover(tx: &TypedTransaction, signature: &Signature) -> Option<H160> {
    signature.recover(tx.sighash()).ok()
}

/// The first field in which two transactions differ.
fn difference(asked: &TypedTransaction, signed: &TypedTransaction) -> Option<&'static str> {
    let (TypedTransaction::Eip1559(asked), TypedTransaction::Eip1559(signed)) = (asked, signed) else {
        return Some("type of transaction");
    };
    let fields = [
        ("chain", asked.chain_id == signed.chain_id),
        ("nonce", asked.nonce == signed.nonce),
        ("recipient", asked.to == signed.to),
        ("value", asked.value.unwrap_or_default() == signed.value.unwrap_or_default()),
        ("call", asked.data.clone().unwrap_or_default() == signed.data.clone().unwrap_or_default()),
        ("gas limit", asked.gas == signed.gas),
        ("fee", asked.max_fee_per_gas == signed.max_fee_per_gas),
        ("priority fee", asked.max_priority_fee_per_gas == signed.max_priority_fee_per_gas),
        ("access list", asked.access_list == signed.access_list),
    ];
    fields.into_iter().find(|(_, same)| !same).map(|(field, _)| field)
}

fn refused(reason: &str) -> ChainError {
    ChainError::Signing(format!(
        "the remote signer is not to be used: {reason}; check what it is configured for"
    ))
}
