//! Decodes raw transactions (legacy with EIP-155, EIP-2930, EIP-1559) and recovers their signer.
//!
//! Invariant: a [`SignedTx`] re-encodes to exactly the bytes it came from, its `s` is in the lower half (EIP-2),
//! and its numbers fit their types.

use ethers_core::types::transaction::eip2718::TypedTransaction;
use ethers_core::types::{NameOrAddress, U256 as EthU256};
use ethers_core::utils::rlp::Rlp;
use revm::primitives::{Address, B256, Bytes, U256, keccak256, uint};

use crate::error::TxError;
use crate::types::SignedTx;

/// Half the order of secp256k1: the largest `s` that EIP-2 allows.
const MAX_S: U256 = uint!(0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0_U256);

/// Bytes of a transaction that the pool takes (as go-ethereum: four slots of 32 KiB).
pub const MAX_TX_BYTES: usize = 128 * 1024;

/// Decodes a raw transaction and recovers its signer.
///
/// # Errors
/// If it is not canonical, of an unsupported type, unprotected, or a number does not fit.
pub fn decode(raw: &[u8]) -> Result<SignedTx, TxError> {
    if raw.len() > MAX_TX_BYTES {
        return Err(TxError::Oversized { size: raw.len(), limit: MAX_TX_BYTES });
    }
    let malformed = |what: &str| TxError::Malformed(what.to_owned());
    let (tx, signature) = TypedTransaction::decode_signed(&Rlp::new(raw))
        .map_err(|error| TxError::Malformed(error.to_string()))?;
    if matches!(tx, TypedTransaction::Legacy(_)) && signature.v < 35 {
        return Err(TxError::Unprotected);
    }
    if !matches!(tx, TypedTransaction::Legacy(_)) && signature.v > 1 {
        return Err(malformed("y parity is neither 0 nor 1"));
    }
    if tx.rlp_signed(&signature).as_ref() != raw {
        return Err(malformed("not in canonical form"));
    }
    let s = word(signature.s);
    if s > MAX_S {
        return Err(malformed("s is in the upper half (EIP-2)"));
    }
    let (tx_type, max_fee, max_tip) = match &tx {
        TypedTransaction::Legacy(tx) => (0, tx.gas_price, tx.gas_price),
        TypedTransaction::Eip2930(tx) => (1, tx.tx.gas_price, tx.tx.gas_price),
        TypedTransaction::Eip1559(tx) => (2, tx.max_fee_per_gas, tx.max_priority_fee_per_gas),
    };
    let wei = |value: Option<EthU256>| {
        u128::try_from(value.unwrap_or_default()).map_err(|_| malformed("a fee does not fit 128 bits"))
    };
    let small = |value: Option<&EthU256>, what: &str| {
        u64::try_from(value.copied().unwrap_or_default()).map_err(|_| malformed(what))
    };
    let to = match tx.to() {
        Some(NameOrAddress::Address(address)) => Some(Address::from_slice(address.as_bytes())),
        Some(NameOrAddress::Name(_)) => return Err(malformed("the receiver is not an address")),
        None => None,
    };
    let sender = tx.from().ok_or_else(|| malformed("no signer"))?;
    let access_list = tx.access_list().map(|list| {
        list.0
            .iter()
            .map(|item| {
                let keys = item.storage_keys.iter().map(|key| B256::from_slice(key.as_bytes())).collect();
                (Address::from_slice(item.address.as_bytes()), keys)
            })
            .collect()
    });
    Ok(SignedTx {
        hash: keccak256(raw),
        sender: Address::from_slice(sender.as_bytes()),
        tx_type,
        chain_id: tx.chain_id().ok_or(TxError::Unprotected)?.as_u64(),
        nonce: small(tx.nonce(), "the nonce does not fit 64 bits")?,
        gas_limit: small(tx.gas(), "the gas limit does not fit 64 bits")?,
        max_fee: wei(max_fee)?,
        max_tip: wei(max_tip)?,
        to,
        value: word(tx.value().copied().unwrap_or_default()),
        input: Bytes::copy_from_slice(tx.data().map_or(&[], |data| data.as_ref())),
        access_list: access_list.unwrap_or_default(),
        v: signature.v,
        r: word(signature.r),
        s,
        raw: Bytes::copy_from_slice(raw),
    })
}

/// The same number in the EVM's type.
fn word(value: EthU256) -> U256 {
    U256::from_limbs(value.0)
}
