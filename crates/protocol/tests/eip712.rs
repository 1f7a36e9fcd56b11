//! Digests, signatures and derived keys against vectors of viem and zk-kit (`eip712-vectors.mjs` makes them).

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use bn254::Fr;
use circuits::{baby_jubjub::Point, eddsa::Signature, leaf::CoinRange};
use ff::PrimeField;
use protocol::{
    Address,
    ecdsa::{self, OperatorKey},
    eip712::{DirectoryEntry, Promise, SPEND_KEY_WARNING, SigningDomain, SpendKey, TypedMessage},
    spend_key::{self, SpendKeyError},
};
use serde_json::Value;

fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/vectors/eip712.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{field} of {value}"))
}

fn bytes<const N: usize>(value: &Value, field: &str) -> [u8; N] {
    hex::decode(text(value, field).trim_start_matches("0x")).unwrap().try_into().unwrap()
}

fn fr(value: &Value, field: &str) -> Fr {
    Fr::from_str_vartime(text(value, field)).unwrap()
}

/// A JSON number, or a decimal string where JavaScript has a bigint.
fn int(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or_else(|| text(value, field).parse().unwrap())
}

fn check<M: TypedMessage>(message: &M, vector: &Value, keys: &[OperatorKey]) {
    let domain = SigningDomain { chain_id: int(vector, "chainId"), contract: bytes(vector, "contract") };
    assert_eq!(domain.separator(), bytes::<32>(vector, "separator"));
    assert_eq!(message.struct_hash(), bytes::<32>(vector, "structHash"));
    assert_eq!(message.digest(&domain), bytes::<32>(vector, "digest"));
    let signer: Address = bytes(vector, "signer");
    let key = keys.iter().find(|key| key.address() == signer).unwrap();
    assert_eq!(message.sign(&domain, key), bytes::<65>(vector, "signature"), "RFC 6979 leaves no choice");
    assert_eq!(message.recover(&domain, &bytes::<65>(vector, "signature")), Ok(signer));
}

#[test]
fn messages_agree_with_an_independent_implementation() {
    let file = vectors();
    assert_eq!(text(&file, "warning"), SPEND_KEY_WARNING);
    let keys: Vec<OperatorKey> = file["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|k| OperatorKey::from_hex(k.as_str().unwrap()).unwrap())
        .collect();
    let mut types = Vec::new();
    for vector in file["vectors"].as_array().unwrap() {
        let m = &vector["message"];
        types.push(text(vector, "type").to_owned());
        match text(vector, "type") {
            "SpendKey" => {
                check(
                    &SpendKey { owner: bytes(m, "owner"), key_epoch: int(m, "keyEpoch") as u32 },
                    vector,
                    &keys,
                );
            }
            "DirectoryEntry" => {
                let key = Point { x: fr(m, "ax"), y: fr(m, "ay") };
                let entry =
                    DirectoryEntry { owner: bytes(m, "owner"), key, key_epoch: int(m, "keyEpoch") as u32 };
                check(&entry, vector, &keys);
            }
            "Promise" => {
                let promise = Promise {
                    operation_id: bytes(m, "operationId"),
                    kind: int(m, "kind") as u8,
                    batch_no: int(m, "batchNo") as u32,
                    index: int(m, "index"),
                    account: fr(m, "account"),
                    range: CoinRange::new(int(m, "low"), int(m, "high")).unwrap(),
                    deadline: int(m, "deadline"),
                };
                check(&promise, vector, &keys);
            }
            other => panic!("unknown type {other}"),
        }
    }
    assert_eq!(types.len(), 8);
}

#[test]
fn the_derived_spend_key_is_the_one_of_zk_kit() {
    let file = vectors();
    let mut checked = 0;
    for vector in file["vectors"].as_array().unwrap() {
        let expected = &vector["spendKey"];
        if expected.is_null() {
            continue;
        }
        let signature = bytes::<65>(vector, "signature");
        assert_eq!(*spend_key::derive_secret(&signature).unwrap(), bytes::<32>(expected, "secret"));
        let key = spend_key::derive(&signature).unwrap();
        assert_eq!(key.public(), Point { x: fr(expected, "ax"), y: fr(expected, "ay") });
        checked += 1;
    }
    assert_eq!(checked, 2);
}

#[test]
fn a_wallet_that_signs_differently_each_time_is_refused() {
    let key = OperatorKey::random();
    let (one, two) = (ecdsa::sign(&[1; 32], &key), ecdsa::sign(&[2; 32], &key));
    assert!(matches!(spend_key::derive_checked(&one, &two), Err(SpendKeyError::NotDeterministic)));
    let mut other_v = one;
    other_v[64] -= 27;
    let derived = spend_key::derive_checked(&one, &other_v).unwrap();
    let Signature { s, .. } = derived.sign(&Fr::from(5));
    assert_eq!(s, spend_key::derive(&one).unwrap().sign(&Fr::from(5)).s);
    assert!(matches!(spend_key::derive(&one[..64]), Err(SpendKeyError::Signature(_))));
}

#[test]
fn a_signature_means_nothing_for_another_chain_contract_or_type() {
    let key = OperatorKey::random();
    let home = SigningDomain { chain_id: 31337, contract: [1; 20] };
    let entry = SpendKey { owner: key.address(), key_epoch: 0 };
    let signature = entry.sign(&home, &key);
    assert_eq!(entry.recover(&home, &signature), Ok(key.address()));
    let elsewhere = [SigningDomain { chain_id: 1, ..home }, SigningDomain { contract: [2; 20], ..home }];
    for domain in elsewhere {
        assert_ne!(entry.recover(&domain, &signature), Ok(key.address()));
    }
    assert_ne!(SpendKey { key_epoch: 1, ..entry }.recover(&home, &signature), Ok(key.address()));
}
