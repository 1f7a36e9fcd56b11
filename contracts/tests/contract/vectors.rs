//! The vectors of the protocol (`docs/vectors`), read by the contract's side: P2 on chain, and the native mirror of what the
//! contract lays, hashes and sums.

use bn254::{Fr, fr_from_hex};
use l1::contract::{data, types::address_word};
use serde_json::Value;

use testbed::chain::Backend;

use crate::{mill::Mill, poseidon::on_chain};

fn cases(file: &str) -> Vec<Value> {
    let path = format!("{}/../docs/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    let document: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    document["cases"].as_array().unwrap().clone()
}

fn element(value: &Value) -> Fr {
    fr_from_hex(value.as_str().unwrap()).unwrap()
}

fn address(value: &Value) -> [u8; 20] {
    hex::decode(value.as_str().unwrap().trim_start_matches("0x")).unwrap().try_into().unwrap()
}

on_both_chains!(p2_on_chain_gives_the_digests_accounts_and_leaves_of_the_vectors);
fn p2_on_chain_gives_the_digests_accounts_and_leaves_of_the_vectors(backend: Backend) {
    let mill = Mill::deploy(backend);
    let mut pairs = 0;
    for case in cases("poseidon.json") {
        if let [left, right] = &case["inputs"].as_array().unwrap()[..] {
            assert_eq!(on_chain(&mill, &element(left), &element(right)), element(&case["digest"]));
            pairs += 1;
        }
    }
    assert!(pairs > 0, "poseidon.json has no pair");
    for case in cases("leaf.json") {
        let owner = address_word(&address(&case["owner"]));
        assert_eq!(on_chain(&mill, &owner, &element(&case["key_hash"])), element(&case["account"]));
        assert_eq!(
            on_chain(&mill, &element(&case["account"]), &element(&case["packed"])),
            element(&case["leaf"])
        );
    }
}

#[test]
fn domains_challenges_and_evaluations_are_those_of_the_vectors() {
    for case in cases("domain.json") {
        let chain_id = case["chain_id"].as_str().unwrap().parse().unwrap();
        assert_eq!(data::domain(chain_id, &address(&case["contract"])), element(&case["domain"]));
    }
    let batches = cases("batch_s3m1.json");
    assert!(!batches.is_empty());
    for case in batches {
        let d: Vec<Fr> = case["d"].as_array().unwrap().iter().map(element).collect();
        let c = data::challenge(&element(&case["h"]), &d);
        assert_eq!(c, element(&case["c"]));
        assert_eq!(data::evaluate(&c, &d), element(&case["e"]));
    }
}
