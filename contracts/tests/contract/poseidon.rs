//! The on-chain P2 against an independent implementation.

use ark_ff::{BigInteger, PrimeField as _};
use bn254::{Field, Fr, PrimeField};
use l1::contract::calls;
use l1::testing::{AbiEncode, bindings, selector};
use light_poseidon::{Poseidon, PoseidonHasher};
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;
use testbed::chain::{Backend, ETHER};

use crate::mill::{ALICE, Mill, key_hash};

fn oracle(inputs: &[Fr]) -> Fr {
    let to_ark = |x: &Fr| ark_bn254::Fr::from_le_bytes_mod_order(x.to_repr().as_ref());
    let inputs: Vec<_> = inputs.iter().map(to_ark).collect();
    let hash = Poseidon::<ark_bn254::Fr>::new_circom(inputs.len()).unwrap().hash(&inputs).unwrap();
    let mut repr = [0u8; 32];
    repr.copy_from_slice(&hash.into_bigint().to_bytes_le());
    Fr::from_repr(repr.into()).unwrap()
}

/// P2 by the library that the contract deployed.
pub fn on_chain(mill: &Mill, left: &Fr, right: &Fr) -> Fr {
    let poseidon: [u8; 20] = mill.view(&bindings::PoseidonCall.encode())[12..].try_into().unwrap();
    // hash(uint256,uint256) has the words alone as arguments.
    let mut data = selector("hash(uint256,uint256)").to_vec();
    data.extend(calls::word(left));
    data.extend(calls::word(right));
    calls::decode_fr(&mill.rpc.call(&[0; 20], Some(&poseidon), 0, &data).unwrap()).unwrap()
}

on_both_chains!(p2_on_chain_equals_circomlib_on_edges_and_random_words);
fn p2_on_chain_equals_circomlib_on_edges_and_random_words(backend: Backend) {
    let mill = Mill::deploy(backend);
    let p2 = |left: &Fr, right: &Fr| on_chain(&mill, left, right);
    let known =
        Fr::from_str_vartime("7853200120776062878684798364095072458815029376092732009249414926327459813530");
    assert_eq!(Some(p2(&Fr::from(1), &Fr::from(2))), known);
    let edges = [Fr::ZERO, Fr::ONE, -Fr::ONE, -Fr::from(2)];
    for left in &edges {
        for right in &edges {
            assert_eq!(p2(left, right), oracle(&[*left, *right]));
        }
    }
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for _ in 0..64 {
        let (left, right) = (Fr::random(&mut rng), Fr::random(&mut rng));
        assert_eq!(p2(&left, &right), oracle(&[left, right]));
    }
}

on_both_chains!(accounts_are_p2_of_owner_and_key_hash_computed_by_the_contract_b6);
fn accounts_are_p2_of_owner_and_key_hash_computed_by_the_contract_b6(backend: Backend) {
    let mill = Mill::deploy(backend);
    let owner = mill.who(ALICE);
    let account = |key_hash: Fr| oracle(&[l1::contract::types::address_word(&owner), key_hash]);
    mill.minted(ALICE, 100);
    for key in [Fr::ZERO, Fr::from(9), -Fr::ONE] {
        assert_eq!(mill.deposit(ALICE, &owner, &key, ETHER).account, account(key));
    }
    assert_eq!(mill.force_exit(ALICE, 0).account, account(key_hash(ALICE)));
    let rekey = mill.force_rekey(ALICE, 0);
    assert_eq!((rekey.account, rekey.new_account), (account(key_hash(ALICE)), account(Fr::from(4242))));
}

on_both_chains!(the_contract_starts_with_the_root_of_the_empty_tree_of_depth_18);
fn the_contract_starts_with_the_root_of_the_empty_tree_of_depth_18(backend: Backend) {
    let mut root = Fr::ZERO;
    for _ in 0..18 {
        root = oracle(&[root; 4]);
    }
    assert_eq!(Mill::deploy(backend).state().root, root);
}
