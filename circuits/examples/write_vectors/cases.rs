//! The cases: fixed ones for the files and random ones from a seed.
//!
//! Field elements are `0x` and 64 hexadecimal digits, addresses `0x` and 40, byte strings `0x` and two digits a byte.
//! Coins, indices, splits and chain ids are decimal strings, since they exceed the integers that JSON readers keep
//! exactly; a batch's `input` is the encoding of a job, whose numbers are plain.

use std::{collections::HashMap, error::Error};

use bn254::{Field, Fr, fr_to_hex};
use circuits::{
    batch::{BatchInput, Mint, Prepared},
    eddsa::PrivateKey,
    fixture::{Fixture, Operation, Wallet},
    leaf::{CoinRange, account, key_hash, leaf},
    message::{Message, SignedKind},
    poseidon,
    public_data::domain,
    shape::Shape,
    tree::{ARITY, CAPACITY, DEPTH, digit, empty_root},
};
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{RngCore, SeedableRng},
};
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The last coin there can be.
const LAST_COIN: u64 = (1 << 63) - 1;

/// The files this crate writes, by name.
pub fn files() -> Outcome<Vec<(&'static str, Value)>> {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let rng = &mut rng;
    let indices = [0, 1, 4, 5, 63, 1 << 20, CAPACITY - 1];
    Ok(vec![
        ("leaf.json", file("Key hash, account, packed range and leaf", leaf_cases(rng)?)),
        ("message.json", file("What a holder signs", message_cases(rng))),
        ("domain.json", file("The domain of a deployment", domain_cases())),
        ("tree.json", tree_file(tree_case(&indices, rng))),
        ("batch_s3m1.json", file("Batches of s3m1 in one chain, from the empty tree", batches(0)?)),
    ])
}

/// N random cases of each kind as lines, and a chain of N batches.
pub fn random(count: u64, seed: u64) -> Outcome<Vec<Value>> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let rng = &mut rng;
    let mut lines = Vec::new();
    for _ in 0..count {
        let mut push = |file: &str, case: Value| lines.push(json!({ "file": file, "case": case }));
        for inputs in [2, 4, 5, 12] {
            push("poseidon.json", poseidon_case(inputs, rng));
        }
        push("eddsa.json", eddsa_case(rng));
        let low = 1 + rng.next_u64() % LAST_COIN;
        let high = low + rng.next_u64() % (LAST_COIN - low + 1);
        push("leaf.json", leaf_case(random_secret(rng), random_address(rng), CoinRange::new(low, high)?));
        push("message.json", message_case(&random_message(rng)));
        push("domain.json", domain_case(rng.next_u64(), random_address(rng)));
        let indices: Vec<u64> = (0..3).map(|_| rng.next_u64() % CAPACITY).collect();
        push("tree.json", tree_case(&indices, rng));
    }
    let chain = random_batches(count, rng)?;
    lines.extend(chain.into_iter().map(|case| json!({ "file": "batch_s3m1.json", "case": case })));
    Ok(lines)
}

/// A file's text.
pub fn pretty(contents: &Value) -> Outcome<String> {
    Ok(serde_json::to_string_pretty(contents)? + "\n")
}

fn file(about: &str, cases: Vec<Value>) -> Value {
    json!({ "about": about, "cases": cases })
}

fn bytes(x: &[u8]) -> String {
    format!("0x{}", hex::encode(x))
}

fn words(x: &[Fr]) -> Vec<String> {
    x.iter().map(fr_to_hex).collect()
}

fn random_secret(rng: &mut ChaCha20Rng) -> [u8; 32] {
    let mut secret = [0; 32];
    rng.fill_bytes(&mut secret);
    secret
}

fn random_address(rng: &mut ChaCha20Rng) -> [u8; 20] {
    let mut address = [0; 20];
    rng.fill_bytes(&mut address);
    address
}

fn poseidon_case(inputs: usize, rng: &mut ChaCha20Rng) -> Value {
    let x: Vec<Fr> = (0..inputs).map(|_| Fr::random(&mut *rng)).collect();
    let digest = match x[..] {
        [a, b] => poseidon::hash2(a, b),
        [a, b, c, d] => poseidon::hash4([a, b, c, d]),
        [a, b, c, d, e] => poseidon::hash5([a, b, c, d, e]),
        _ => poseidon::hash12(std::array::from_fn(|i| x[i])),
    };
    json!({ "inputs": words(&x), "digest": fr_to_hex(&digest) })
}

fn eddsa_case(rng: &mut ChaCha20Rng) -> Value {
    let secret = random_secret(rng);
    let message = Fr::random(&mut *rng);
    let key = PrivateKey::new(secret);
    json!({
        "private_key": bytes(&secret),
        "message": fr_to_hex(&message),
        "public_key": key.public(),
        "signature": key.sign(&message),
    })
}

fn leaf_case(secret: [u8; 32], owner: [u8; 20], range: CoinRange) -> Value {
    let key = PrivateKey::new(secret).public();
    let mut case = vault_case(key_hash(&key), owner, range);
    case["private_key"] = json!(bytes(&secret));
    case["public_key"] = json!(key);
    case
}

/// Without a key: `keyHash` is any word, 0 for a vault.
fn vault_case(key_hash: Fr, owner: [u8; 20], range: CoinRange) -> Value {
    let account = account(&owner, &key_hash);
    json!({
        "owner": bytes(&owner),
        "key_hash": fr_to_hex(&key_hash),
        "account": fr_to_hex(&account),
        "low": range.low().to_string(),
        "high": range.high().to_string(),
        "packed": fr_to_hex(&range.packed()),
        "leaf": fr_to_hex(&leaf(&account, &range)),
    })
}

fn leaf_cases(rng: &mut ChaCha20Rng) -> Outcome<Vec<Value>> {
    Ok(vec![
        leaf_case([1; 32], [1; 20], CoinRange::new(1, 1)?),
        leaf_case([0; 32], [0xff; 20], CoinRange::new(1, LAST_COIN)?),
        leaf_case(random_secret(rng), random_address(rng), CoinRange::new(1_000_000_001, 5_000_000_000)?),
        leaf_case(random_secret(rng), random_address(rng), CoinRange::new(LAST_COIN, LAST_COIN)?),
        vault_case(Fr::ZERO, random_address(rng), CoinRange::new(7, 70)?),
        vault_case(-Fr::ONE, [0; 20], CoinRange::new(7, 70)?),
    ])
}

fn random_message(rng: &mut ChaCha20Rng) -> Message {
    let kind = if rng.next_u32() & 1 == 0 { SignedKind::Send } else { SignedKind::Withdraw };
    Message {
        domain: Fr::random(&mut *rng),
        leaf: Fr::random(&mut *rng),
        index: rng.next_u64() % CAPACITY,
        split: 1 + rng.next_u64() % LAST_COIN,
        kind,
        valid_until: rng.next_u32(),
        recipient: if kind == SignedKind::Send { Fr::random(&mut *rng) } else { Fr::ZERO },
    }
}

fn message_case(message: &Message) -> Value {
    let shifted = |value: u64, bits: u64| Fr::from(value) * Fr::from(2).pow_vartime([bits]);
    let packed = Fr::from(message.index)
        + shifted(message.split, 36)
        + shifted(message.kind as u64, 100)
        + shifted(u64::from(message.valid_until), 104);
    json!({
        "domain": fr_to_hex(&message.domain),
        "leaf": fr_to_hex(&message.leaf),
        "index": message.index.to_string(),
        "split": message.split.to_string(),
        "kind": message.kind as u64,
        "valid_until": message.valid_until,
        "recipient": fr_to_hex(&message.recipient),
        "packed": fr_to_hex(&packed),
        "message": fr_to_hex(&message.hash()),
    })
}

fn message_cases(rng: &mut ChaCha20Rng) -> Vec<Value> {
    let send = Message {
        domain: Fr::from(77),
        leaf: Fr::from(5),
        index: 0,
        split: 1,
        kind: SignedKind::Send,
        valid_until: 1,
        recipient: Fr::from(9),
    };
    // Every part at its largest: none may spill into its neighbour.
    let full = Message { index: CAPACITY - 1, split: LAST_COIN, valid_until: u32::MAX, ..send };
    let withdraw = Message { kind: SignedKind::Withdraw, recipient: Fr::ZERO, ..send };
    [send, full, withdraw, random_message(rng), random_message(rng)].iter().map(message_case).collect()
}

fn domain_case(chain_id: u64, contract: [u8; 20]) -> Value {
    json!({
        "chain_id": chain_id.to_string(),
        "contract": bytes(&contract),
        "domain": fr_to_hex(&domain(chain_id, &contract)),
    })
}

fn domain_cases() -> Vec<Value> {
    vec![
        domain_case(31337, [0x11; 20]),
        domain_case(1, [0x11; 20]),
        domain_case(31337, [0xff; 20]),
        domain_case(u64::MAX, [0; 20]),
    ]
}

/// Leaves inserted one by one into an empty tree, the root after each, and all their paths at the end.
fn tree_case(indices: &[u64], rng: &mut ChaCha20Rng) -> Value {
    let mut nodes: HashMap<(usize, u64), Fr> = HashMap::new();
    let mut insertions = Vec::new();
    for &index in indices {
        let leaf = Fr::random(&mut *rng);
        nodes.insert((0, index), leaf);
        for level in 0..DEPTH {
            let first = (index >> (2 * level)) & !3;
            let children = std::array::from_fn(|i| node(&nodes, level, first + i as u64));
            nodes.insert((level + 1, first >> 2), poseidon::hash4(children));
        }
        insertions.push(json!({
            "index": index.to_string(),
            "leaf": fr_to_hex(&leaf),
            "root": fr_to_hex(&node(&nodes, DEPTH, 0)),
        }));
    }
    let paths: Vec<Value> = indices.iter().map(|&index| path(&nodes, index)).collect();
    json!({ "insertions": insertions, "paths": paths })
}

fn node(nodes: &HashMap<(usize, u64), Fr>, level: usize, index: u64) -> Fr {
    nodes.get(&(level, index)).copied().unwrap_or_else(|| empty_root(level))
}

fn path(nodes: &HashMap<(usize, u64), Fr>, index: u64) -> Value {
    let digits: Vec<usize> = (0..DEPTH).map(|level| digit(index, level)).collect();
    let siblings: Vec<Vec<String>> = (0..DEPTH)
        .map(|level| {
            let own = index >> (2 * level);
            let children = (0..ARITY as u64).map(|i| (own & !3) + i);
            children.filter(|i| *i != own).map(|i| fr_to_hex(&node(nodes, level, i))).collect()
        })
        .collect();
    json!({
        "index": index.to_string(),
        "digits": digits,
        "leaf": fr_to_hex(&node(nodes, 0, index)),
        "siblings": siblings,
    })
}

fn tree_file(case: Value) -> Value {
    let zeros: Vec<String> = (0..=DEPTH).map(|level| fr_to_hex(&empty_root(level))).collect();
    json!({ "about": "Roots of empty subtrees of 0..=18 levels; insertions and paths", "zeros": zeros, "cases": [case] })
}

fn batch_case(name: &str, input: BatchInput) -> Outcome<Value> {
    let batch = Prepared::new(input.clone())?;
    batch.check_signatures()?;
    let [h, c, e] = batch.public_inputs();
    let head = &batch.public_data.head;
    Ok(json!({
        "name": name,
        "input": input,
        "old_root": fr_to_hex(&head.old_root),
        "mid_root": fr_to_hex(&head.mid_root),
        "new_root": fr_to_hex(&head.new_root),
        "d": words(&batch.public_data.words()),
        "h": fr_to_hex(&h),
        "c": fr_to_hex(&c),
        "e": fr_to_hex(&e),
    }))
}

/// One chain with every kind of slot and every outcome of a forced one.
fn batches(seed: u8) -> Outcome<Vec<Value>> {
    let mut fixture = Fixture::new(domain(31337, &[0x11; 20]));
    let (alice, bob) = (fixture.wallet(seed + 1), fixture.wallet(seed + 2));
    let vault = account(&bob.owner, &Fr::ZERO);
    let (a, b) = (alice.account, bob.account);
    let send = |index, split, recipient| Operation::Send { index, split, recipient };
    let exit = |index, account| Operation::Exit { index, account };
    let rekey = |index, account, new_account| Operation::Rekey { index, account, new_account };
    let noop = Operation::Noop;
    let mut cases = Vec::new();
    let mut run =
        |fixture: &mut Fixture, name: &str, operations: &[Operation], mint: Option<(Fr, u64, u64)>| {
            let mints = match mint {
                Some((account, low, high)) => vec![Mint { account, range: CoinRange::new(low, high)? }],
                None => Vec::new(),
            };
            let input = fixture.batch(Shape::S3M1, operations, &mints);
            cases.push(batch_case(name, input)?);
            Outcome::Ok(())
        };
    let f = &mut fixture;
    run(f, "nothing happens", &[], None)?;
    run(f, "a mint to Alice", &[], Some((a, 1, 100)))?;
    run(f, "a mint to Bob", &[], Some((b, 101, 150)))?;
    run(f, "a send with change", &[send(7, 10, b)], None)?;
    run(
        f,
        "a chain of sends in one batch, the last of a whole leaf",
        &[send(7, 30, b), send(16, 25, a), send(17, 25, b)],
        None,
    )?;
    run(f, "a withdrawal of a part", &[Operation::Withdraw { index: 11, split: 120 }], None)?;
    run(
        f,
        "a withdrawal of a whole leaf behind a no-op",
        &[noop, Operation::Withdraw { index: 12, split: 10 }],
        None,
    )?;
    run(f, "a forced exit that hits", &[noop, noop, exit(7, a)], None)?;
    run(f, "a forced exit of an empty place", &[noop, noop, exit(7, a)], None)?;
    run(f, "a forced exit of somebody else's leaf", &[noop, noop, exit(11, a)], None)?;
    run(f, "a forced re-key that hits", &[noop, noop, rekey(11, b, vault)], None)?;
    run(
        f,
        "a forced re-key of a leaf that is no longer the account's",
        &[noop, noop, rekey(11, b, a)],
        None,
    )?;
    run(f, "a forced re-key of an empty place", &[noop, noop, rekey(7, a, b)], None)?;
    run(
        f,
        "a send to a vault, a withdrawal, a forced exit and a mint",
        &[send(18, 24, vault), Operation::Withdraw { index: 16, split: 28 }, exit(11, vault)],
        Some((a, 151, 10_000)),
    )?;
    f.next += 5;
    run(f, "places skipped for alignment, a send in the forced slot", &[noop, noop, send(55, 200, b)], None)?;
    f.next = CAPACITY - 8;
    run(f, "the last coins", &[], Some((a, 1 << 62, LAST_COIN)))?;
    run(
        f,
        "the last places",
        &[send(CAPACITY - 5, LAST_COIN - 1, b), send(CAPACITY - 4, 1 << 62, a), exit(CAPACITY - 5, a)],
        None,
    )?;
    Ok(cases)
}

/// A chain of batches of random sends, withdrawals and forced entries.
fn random_batches(count: u64, rng: &mut ChaCha20Rng) -> Outcome<Vec<Value>> {
    let mut fixture = Fixture::new(Fr::random(&mut *rng));
    let wallets: Vec<Wallet> = (1..=3).map(|seed| fixture.wallet(seed)).collect();
    let mut coin = 1;
    let mut cases = Vec::new();
    for number in 0..count {
        let pick = |rng: &mut ChaCha20Rng| wallets[rng.next_u32() as usize % 3].account;
        // Leaves that exist before the batch, each used once, so that any order of spends is valid.
        let mut open: Vec<u64> = fixture.leaves.keys().copied().collect();
        let mut operations = Vec::new();
        for slot in 0..3 {
            if open.is_empty() {
                break;
            }
            let index = open.swap_remove(rng.next_u64() as usize % open.len());
            let held = fixture.leaves[&index];
            let split = held.range.low() + rng.next_u64() % held.range.amount();
            operations.push(match rng.next_u32() % 5 {
                0 => Operation::Noop,
                1 => Operation::Withdraw { index, split },
                2 if slot == 2 => Operation::Exit { index, account: pick(rng) },
                3 if slot == 2 => Operation::Rekey { index, account: held.account, new_account: pick(rng) },
                _ => Operation::Send { index, split, recipient: pick(rng) },
            });
        }
        let last = coin + rng.next_u64() % (1 << 50);
        let mint = Mint { account: pick(rng), range: CoinRange::new(coin, last)? };
        coin = last + 1;
        let input = fixture.batch(Shape::S3M1, &operations, &[mint]);
        cases.push(batch_case(&format!("random {number}"), input)?);
    }
    Ok(cases)
}
