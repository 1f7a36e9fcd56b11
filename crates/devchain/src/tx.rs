//! Decodes raw transactions (legacy with EIP-155, EIP-2930, EIP-1559) and recovers their signer.
//!
//! Invariant: a [`SignedTx`] re-encodes to exactly the bytes it came from, its `s` is in the lower half (EIP-2),
//! and its numbers fit their types.

use alloy_rlp::{Decodable, Encodable, Header, RlpDecodable, RlpEncodable};
use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use revm::context::transaction::AccessList;
use revm::primitives::{Address, B256, Bytes, TxKind, U256, keccak256, uint};

use crate::{error::TxError, rlp::list, types::SignedTx};

/// Half the order of secp256k1: the largest `s` that EIP-2 allows.
const MAX_S: U256 = uint!(0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0_U256);

/// Bytes of a transaction that the pool takes (as go-ethereum: four slots of 32 KiB).
pub const MAX_TX_BYTES: usize = 128 * 1024;

const ACCESS_LIST: u8 = 1;
const DYNAMIC_FEE: u8 = 2;
/// RLP lists begin here, so a legacy transaction does (EIP-2718).
const FIRST_LIST: u8 = 0xc0;

/// A legacy transaction. Numbers have 256 bits here and below, so that one that is too large is named.
#[derive(RlpDecodable, RlpEncodable)]
struct Legacy {
    nonce: U256,
    gas_price: U256,
    gas_limit: U256,
    to: TxKind,
    value: U256,
    input: Bytes,
    v: u64,
    r: U256,
    s: U256,
}

/// EIP-2930.
#[derive(RlpDecodable, RlpEncodable)]
struct Listed {
    chain_id: u64,
    nonce: U256,
    gas_price: U256,
    gas_limit: U256,
    to: TxKind,
    value: U256,
    input: Bytes,
    access_list: AccessList,
    y_parity: u64,
    r: U256,
    s: U256,
}

/// EIP-1559.
#[derive(RlpDecodable, RlpEncodable)]
struct DynamicFee {
    chain_id: u64,
    nonce: U256,
    max_tip: U256,
    max_fee: U256,
    gas_limit: U256,
    to: TxKind,
    value: U256,
    input: Bytes,
    access_list: AccessList,
    y_parity: u64,
    r: U256,
    s: U256,
}

/// What all types have, in the form of the last.
struct Parts {
    tx_type: u8,
    tx: DynamicFee,
    /// v or y parity, as signed.
    v: u64,
    /// What was signed.
    signing_hash: B256,
}

/// Decodes a raw transaction and recovers its signer.
///
/// # Errors
/// If it is not canonical, of an unsupported type, unprotected, or a number does not fit.
pub fn decode(raw: &[u8]) -> Result<SignedTx, TxError> {
    if raw.len() > MAX_TX_BYTES {
        return Err(TxError::Oversized { size: raw.len(), limit: MAX_TX_BYTES });
    }
    let Parts { tx_type, tx, v, signing_hash } = match raw.split_first() {
        Some((&first, _)) if first >= FIRST_LIST => legacy(raw)?,
        Some((&ACCESS_LIST, list)) => listed(list)?,
        Some((&DYNAMIC_FEE, list)) => dynamic_fee(list)?,
        _ => return Err(malformed("of an unknown type")),
    };
    if tx.y_parity > 1 {
        return Err(malformed("y parity is neither 0 nor 1"));
    }
    if tx.s > MAX_S {
        return Err(malformed("s is in the upper half (EIP-2)"));
    }
    let wei = |value: U256| u128::try_from(value).map_err(|_| malformed("a fee does not fit 128 bits"));
    let small = |value: U256, what: &str| u64::try_from(value).map_err(|_| malformed(what));
    let sender = recover(signing_hash, tx.y_parity == 1, tx.r, tx.s);
    Ok(SignedTx {
        hash: keccak256(raw),
        sender: sender.ok_or_else(|| malformed("no signer"))?,
        tx_type,
        chain_id: tx.chain_id,
        nonce: small(tx.nonce, "the nonce does not fit 64 bits")?,
        gas_limit: small(tx.gas_limit, "the gas limit does not fit 64 bits")?,
        max_fee: wei(tx.max_fee)?,
        max_tip: wei(tx.max_tip)?,
        to: tx.to.into_to(),
        value: tx.value,
        input: tx.input,
        access_list: tx.access_list.0.into_iter().map(|item| (item.address, item.storage_keys)).collect(),
        v,
        r: tx.r,
        s: tx.s,
        raw: Bytes::copy_from_slice(raw),
    })
}

fn malformed(what: &str) -> TxError {
    TxError::Malformed(what.to_owned())
}

fn legacy(raw: &[u8]) -> Result<Parts, TxError> {
    let tx: Legacy = canonical(raw)?;
    // EIP-155: v is 35 + 2 * chain id + parity.
    let Some(protected) = tx.v.checked_sub(35) else { return Err(TxError::Unprotected) };
    let (chain_id, y_parity) = (protected / 2, protected % 2);
    let unsigned = list(|out| {
        out.extend(unsigned_items(raw, &[&tx.v, &tx.r, &tx.s]));
        chain_id.encode(out);
        0u8.encode(out);
        0u8.encode(out);
    });
    let Legacy { nonce, gas_price, gas_limit, to, value, input, v, r, s } = tx;
    let (max_fee, max_tip, access_list) = (gas_price, gas_price, AccessList::default());
    let tx = DynamicFee {
        chain_id,
        nonce,
        max_tip,
        max_fee,
        gas_limit,
        to,
        value,
        input,
        access_list,
        y_parity,
        r,
        s,
    };
    Ok(Parts { tx_type: 0, tx, v, signing_hash: keccak256(unsigned) })
}

fn listed(list: &[u8]) -> Result<Parts, TxError> {
    let tx: Listed = canonical(list)?;
    let signing_hash = typed_hash(ACCESS_LIST, list, &[&tx.y_parity, &tx.r, &tx.s]);
    let Listed { chain_id, nonce, gas_price, gas_limit, to, value, input, access_list, y_parity, r, s } = tx;
    let (max_fee, max_tip) = (gas_price, gas_price);
    let tx = DynamicFee {
        chain_id,
        nonce,
        max_tip,
        max_fee,
        gas_limit,
        to,
        value,
        input,
        access_list,
        y_parity,
        r,
        s,
    };
    Ok(Parts { tx_type: ACCESS_LIST, v: y_parity, tx, signing_hash })
}

fn dynamic_fee(list: &[u8]) -> Result<Parts, TxError> {
    let tx: DynamicFee = canonical(list)?;
    let signing_hash = typed_hash(DYNAMIC_FEE, list, &[&tx.y_parity, &tx.r, &tx.s]);
    Ok(Parts { tx_type: DYNAMIC_FEE, v: tx.y_parity, tx, signing_hash })
}

/// What these bytes and no others encode.
fn canonical<T: Decodable + Encodable>(bytes: &[u8]) -> Result<T, TxError> {
    let tx = T::decode(&mut &*bytes).map_err(|error| TxError::Malformed(error.to_string()))?;
    if alloy_rlp::encode(&tx) != bytes {
        return Err(malformed("not in canonical form"));
    }
    Ok(tx)
}

/// The items of a canonical list without its last ones, the signature.
fn unsigned_items<'a>(list: &'a [u8], signature: &[&dyn Encodable]) -> &'a [u8] {
    let signature: usize = signature.iter().map(|item| item.length()).sum();
    let payload = Header::decode_bytes(&mut &*list, true).unwrap_or_default();
    &payload[..payload.len().saturating_sub(signature)]
}

/// EIP-2930 and EIP-1559: what is signed is the type and the list without the signature.
fn typed_hash(tx_type: u8, signed: &[u8], signature: &[&dyn Encodable]) -> B256 {
    let mut unsigned = vec![tx_type];
    unsigned.extend(list(|out| out.extend(unsigned_items(signed, signature))));
    keccak256(unsigned)
}

/// The account whose key made a signature; nothing where there is none.
fn recover(hash: B256, y_is_odd: bool, r: U256, s: U256) -> Option<Address> {
    let signature = Signature::from_scalars(r.to_be_bytes::<32>(), s.to_be_bytes::<32>()).ok()?;
    let id = RecoveryId::new(y_is_odd, false);
    let key = VerifyingKey::recover_from_prehash(hash.as_slice(), &signature, id).ok()?;
    // After the byte that says that the point is not compressed.
    Some(Address::from_raw_public_key(&key.to_encoded_point(false).as_bytes()[1..]))
}
