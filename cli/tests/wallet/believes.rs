//! What the wallet believes: the contract it was made for, balances and proofs that L1 confirms, and its own file.

use bn254::{Fr, fr_to_hex};
use circuits::{
    leaf::{CoinRange, account, address_word, leaf},
    tree,
};
use devchain::DEV_ACCOUNTS;
use serde_json::{Value, json};

use crate::{
    api::{Coordinator, hex, mallory},
    http::Reply,
    mill::digest,
    world::{Call, World, said},
};

const INDEX: u64 = 1;

/// The proof of a leaf, and the root that it gives.
fn proof(owner: &[u8; 20], key_hash: &Fr, batch: u32) -> (Value, Fr) {
    proof_of(INDEX, owner, key_hash, (1, 1_000_000), batch)
}

pub fn proof_of(
    index: u64,
    owner: &[u8; 20],
    key_hash: &Fr,
    (low, high): (u64, u64),
    batch: u32,
) -> (Value, Fr) {
    let leaf = leaf(&account(owner, key_hash), &CoinRange::new(low, high).unwrap());
    let siblings: Vec<tree::Siblings> =
        (0..tree::DEPTH as u64).map(|level| [level, 1, 2].map(Fr::from)).collect();
    let root = tree::root_from(leaf, 0, index, &siblings);
    let siblings: Vec<[String; 3]> =
        siblings.iter().map(|level| level.map(|word| fr_to_hex(&word))).collect();
    let proof = json!({
        "batchNumber": batch, "root": fr_to_hex(&root), "index": index.to_string(), "owner": hex(owner),
        "keyHash": fr_to_hex(key_hash), "low": low.to_string(), "high": high.to_string(),
        "amount": (u128::from(high - low + 1) * 1_000_000_000).to_string(),
        "leaf": fr_to_hex(&leaf), "siblings": siblings, "finalOnL1": true,
    });
    (proof, root)
}

fn knows(api: &Coordinator, batch: u32, root: Fr, proof: Value) {
    knows_at(api, INDEX, batch, root, proof);
}

pub fn knows_at(api: &Coordinator, index: u64, batch: u32, root: Fr, proof: Value) {
    let mut ledger = api.ledger.lock().unwrap();
    ledger.roots.insert(batch, root);
    ledger.proofs.insert(index, proof);
}

#[test]
fn only_what_l1_confirms_is_exported_and_nothing_good_is_overwritten() {
    let world: &'static World = Box::leak(Box::new(World::new()));
    let out = world.folder.path().join("proofmill-ownership.json");
    let (good, root) = proof(&world.alice.address(), &world.alice.key_hash(), 1);
    knows(&world.api, 1, root, good.clone());
    // The coordinator is ahead of L1: nothing to export yet.
    let said = world.refuses(&["export-proof"], "PM-WALLET-013");
    assert!(said.contains("not on L1 yet") && !out.exists(), "{said}");
    world.mill.accept(root, 0, Vec::new());
    world.does(&["export-proof"]);
    let exported = std::fs::read(&out).unwrap();
    let file: Value = serde_json::from_slice(&exported).unwrap();
    assert_eq!(file["chainId"], 31_337);
    assert_eq!(file["contract"].as_str().unwrap().to_lowercase(), hex(&world.mill.contract));
    assert_eq!((&file["proofs"][0]["index"], &file["proofs"][0]["finalOnL1"]), (&json!(1), &json!(true)));

    let (_, other) = mallory(world.mill.contract);
    let (foreign, foreign_root) = proof(&other.address(), &other.key_hash(), 1);
    type Lie = (&'static str, Box<dyn Fn(&mut Value) + Send>);
    let lies: [Lie; 6] = [
        // A proof of another's leaf, of another tree, is whole in itself.
        ("PM-WALLET-012", Box::new(move |payload| payload["proof"] = foreign.clone())),
        ("PM-WALLET-012", Box::new(|payload| payload["proof"]["high"] = json!("1000001"))),
        ("PM-WALLET-012", Box::new(|payload| payload["proof"]["index"] = json!("2"))),
        (
            "PM-WALLET-012",
            Box::new(|payload| payload["proof"]["siblings"][3][0] = json!(fr_to_hex(&Fr::from(9)))),
        ),
        ("PM-WALLET-012", Box::new(|payload| payload["proof"]["keyHash"] = json!(fr_to_hex(&Fr::from(7))))),
        ("PM-WALLET-013", Box::new(|payload| payload["proof"]["batchNumber"] = json!(9))),
    ];
    for (place, (code, lie)) in lies.into_iter().enumerate() {
        world.api.lies("ownershipProof", lie);
        world.refuses(&["export-proof"], code);
        assert_eq!(std::fs::read(&out).unwrap(), exported, "lie {place}");
    }
    // This wallet's leaf under a root that L1 does not have.
    world.mill.accept(foreign_root, 0, Vec::new());
    let (mut later, _) = proof(&world.alice.address(), &world.alice.key_hash(), 2);
    later["batchNumber"] = json!(2);
    world.api.lies("ownershipProof", move |payload| payload["proof"] = later.clone());
    world.refuses(&["export-proof"], "PM-WALLET-012");
    // An answer without coins.
    world.api.lies("account", |account| {
        account["coins"]["nodes"] = json!([]);
        account["balances"] = json!({ "accepted": "0", "proven": "0", "final": "0" });
    });
    world.refuses(&["export-proof"], "PM-WALLET-013");
    assert_eq!(std::fs::read(&out).unwrap(), exported);
}

#[test]
fn balances_that_cannot_be_and_roots_that_l1_does_not_have_are_not_shown() {
    let world: &'static World = Box::leak(Box::new(World::new()));
    let root = Fr::from(77);
    world.api.ledger.lock().unwrap().roots.insert(1, root);
    world.mill.accept(root, 0, Vec::new());
    let said = world.does(&["balance"]);
    assert!(said.contains("0.0015 ETH") && said.contains("L1 is at batch 1"), "{said}");
    let lies: [fn(&mut Value); 4] = [
        |account| account["balances"]["accepted"] = json!("9"),
        |account| account["coins"]["nodes"][0]["owner"] = json!(hex(&[7; 20])),
        |account| account["coins"]["nodes"][0]["high"] = json!("1000001"),
        |account| account["coins"]["nodes"][0]["amount"] = json!("9"),
    ];
    for lie in lies {
        world.api.lies("account", lie);
        world.refuses(&["balance"], "PM-WALLET-012");
    }
    world.api.lies("batch", |batch| batch["newRoot"] = json!(fr_to_hex(&Fr::from(78))));
    world.refuses(&["balance"], "PM-WALLET-012");
}

#[test]
fn leaves_that_are_gone_stay_in_the_previous_file_from_export_to_export() {
    let world = World::new();
    let out = world.folder.path().join("proofmill-ownership.json");
    let previous = world.folder.path().join("proofmill-ownership.json.previous");
    let (owner, key) = (world.alice.address(), world.alice.key_hash());
    let indices = |path: &std::path::Path| -> Vec<u64> {
        let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        file["proofs"].as_array().unwrap().iter().map(|proof| proof["index"].as_u64().unwrap()).collect()
    };
    // One leaf a batch: 1, then 2, then 3; the one before is gone.
    for (batch, low) in [(1u32, 1u64), (2, 11), (3, 21)] {
        let index = u64::from(batch);
        let (proof, root) = proof_of(index, &owner, &key, (low, low + 9), batch);
        world.api.ledger.lock().unwrap().leaves = vec![(index, low, low + 9)];
        knows_at(&world.api, index, batch, root, proof);
        world.mill.accept(root, 0, Vec::new());
        world.does(&["export-proof"]);
        assert_eq!(indices(&out), [index]);
    }
    assert_eq!(indices(&previous), [2, 1], "what an export before kept is not lost");
}

#[test]
fn a_withdrawal_is_collected_once_it_is_on_l1() {
    let world: &'static World = Box::leak(Box::new(World::new()));
    world.does(&["deposit", "0.01", "--no-wait"]);
    let said = world.refuses(&["collect"], "PM-WALLET-017");
    assert!(said.contains("no withdrawal on its way"), "{said}");
    world.api.ledger.lock().unwrap().batch = 2;
    world.does(&["withdraw", "0.001", "--no-wait"]);
    assert_eq!(world.entries("promises").len(), 1);
    world.refuses(&["withdraw", "0.0001", "--wait", "--timeout", "0"], "PM-WALLET-017");
    // The operator keeps the first promise: batch 1 mints the deposit, which makes coins to let out, batch 2 lets them.
    world.mill.accept(Fr::from(5), 1, Vec::new());
    let range = CoinRange::new(1, 1_000_000).unwrap();
    let record = vec![[Fr::from(2), address_word(&world.alice.address()), range.packed()]];
    let batch = world.mill.accept(Fr::from(6), 0, record);
    let block = world.mill.head();
    let said = world.does(&["collect"]);
    assert!(said.contains("collected 0.00099 ETH"), "{said}");
    // In which block it is, is the coordinator's word; a wrong one proves nothing.
    world.does(&["promises"]);
    assert_eq!(world.entries("promises").len(), 2);
    world.api.ledger.lock().unwrap().blocks.insert(batch, 1);
    let said = world.does(&["promises"]);
    assert!(said.contains("PM-WALLET-012") && world.entries("promises").len() == 2, "{said}");
    // It keeps the first, and L1 shows that it broke the second.
    world.api.ledger.lock().unwrap().blocks.insert(batch, block);
    let said = world.does(&["promises"]);
    assert!(said.contains("PM-PROMISE-016") && world.entries("promises").is_empty(), "{said}");
    assert_eq!(world.entries("evidence").len(), 1);
}

#[test]
fn a_promise_is_dropped_only_when_l1_shows_its_leaf() {
    let world: &'static World = Box::leak(Box::new(World::new()));
    let to = world.to_bob();
    let pay = ["send", &to, "1000gwei", "--no-wait"];
    let (bob, key) = (world.bob.address(), world.bob.key_hash());
    let promises = || world.entries("promises").len();
    // Its batch is on L1 before the answer comes: the promise is kept all the same.
    *world.api.after_submit.lock().unwrap() = Some(Box::new(move |_| {
        world.mill.accept(Fr::from(4), 0, Vec::new());
        None
    }));
    world.does(&pay);
    assert_eq!(promises(), 1);
    world.api.is_honest_again();
    world.fresh_folder();

    let paid = |batch: u32| {
        world.api.ledger.lock().unwrap().batch = batch;
        world.does(&pay);
        assert_eq!(promises(), 1);
    };
    // A coordinator that shows nothing: it may be spent, it may never have been made. The promise stays.
    paid(2);
    let index = world.api.ledger.lock().unwrap().next - 1;
    world.mill.accept(Fr::from(5), 0, Vec::new());
    let said = world.does(&["promises"]);
    assert!(said.contains("is not shown") && promises() == 1, "{said}");
    // A proof under a root that L1 does not have.
    let low = 1001;
    let (shown, other_root) = proof_of(index, &bob, &key, (low, low + 999), 2);
    knows_at(&world.api, index, 2, other_root, shown);
    let said = world.does(&["promises"]);
    assert!(said.contains("PM-WALLET-012") && promises() == 1, "{said}");
    // What is left of it after a payment by the recipient, under a later root.
    let (shown, root) = proof_of(index, &bob, &key, (low + 7, low + 999), 3);
    knows_at(&world.api, index, 3, root, shown);
    world.mill.accept(root, 0, Vec::new());
    world.does(&["promises"]);
    assert_eq!((promises(), world.entries("evidence").len()), (0, 0));

    // Another leaf at its place: broken.
    paid(4);
    let (_, other) = mallory(world.mill.contract);
    let (shown, root) = proof_of(index + 1, &other.address(), &other.key_hash(), (2001, 3000), 4);
    knows_at(&world.api, index + 1, 4, root, shown);
    world.mill.accept(root, 0, Vec::new());
    let said = world.does(&["promises"]);
    assert!(said.contains("PM-PROMISE-015") && promises() == 0, "{said}");
    assert_eq!(world.entries("evidence").len(), 1);
}

#[test]
fn a_wallet_is_made_for_a_contract_of_this_version_only() {
    let world = World::bare(digest());
    let key = DEV_ACCOUNTS[1].private_key;
    let make = |more: &[&str]| {
        let mut command = world.command(&["new"]);
        let output = command.args(more).env("PROOFMILL_WALLET_KEY", key).output().unwrap();
        (output.status.success(), said(&output))
    };
    let refused = |more: &[&str], code: &str| {
        let (well, said) = make(more);
        assert!(!well && said.contains(code), "{code}: {said}");
        assert!(!world.folder.path().join("proofmill-wallet.json").exists());
    };
    // Somebody trusted named another contract than the coordinator does.
    refused(&["--contract", &hex(&[7; 20])], "PM-WALLET-010");
    // One byte of the code is another.
    world.node(|method, _| match method {
        "eth_getCode" => Call::After(|mut answer| {
            let code = answer["result"].as_str().unwrap().to_owned();
            answer["result"] = json!(format!("{}00", &code[..code.len() - 2]));
            Reply::Json(answer)
        }),
        _ => Call::Pass,
    });
    refused(&[], "PM-WALLET-011");
    world.honest_node();
    // Another circuit.
    let odd = World::bare([7; 32]);
    let output = odd.command(&["new"]).env("PROOFMILL_WALLET_KEY", key).output().unwrap();
    assert!(!output.status.success() && said(&output).contains("PM-WALLET-011"), "{}", said(&output));

    let (well, said) = make(&["--contract", &hex(&world.mill.contract)]);
    assert!(well && said.contains("as you named it") && said.contains("UNSAFE"), "{said}");
    // From now on this contract and no other.
    world.node(|method, _| match method {
        "eth_getCode" => Call::After(|_| Reply::Json(json!({ "result": "0x00" }))),
        _ => Call::Pass,
    });
    world.refuses(&["balance"], "PM-WALLET-011");
    world.node(|method, _| match method {
        "eth_chainId" => Call::Instead(Reply::Json(json!({ "result": "0x1" }))),
        _ => Call::Pass,
    });
    let (well, _) = world.run(&["balance"]);
    assert!(!well);
}

#[test]
fn the_key_of_the_environment_never_takes_the_place_of_a_wallets() {
    let world = World::new();
    let output =
        world.command(&["address"]).env("PROOFMILL_WALLET_KEY", DEV_ACCOUNTS[3].private_key).output();
    let output = output.unwrap();
    assert!(!output.status.success() && said(&output).contains("PM-WALLET-008"), "{}", said(&output));
    let same = world.command(&["address"]).env("PROOFMILL_WALLET_KEY", DEV_ACCOUNTS[1].private_key).output();
    assert!(same.unwrap().status.success());
    assert_eq!(
        world.does(&["address"]).trim(),
        "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
        "with its checksum"
    );
    let to = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293Bc";
    let (well, said) = world.run(&["send", to, "1gwei"]);
    assert!(!well && said.contains("checksum"), "{said}");
}

#[test]
fn an_operation_has_a_status_and_a_foreign_leaf_is_not_forced_out_by_mistake() {
    let world = World::new();
    let said = world.does(&["send", &world.to_bob(), "1000gwei", "--no-wait"]);
    let id = said.split("operation ").nth(1).unwrap()[..66].to_owned();
    let said = world.does(&["status", &id]);
    assert!(said.contains("payment of 0.000001 ETH") && said.contains("not on L1 yet"), "{said}");
    assert!(said.contains("promise for"), "{said}");
    world.refuses(&["status", &hex(&[7; 32])], "PM-WALLET-021");
    let said = world.refuses(&["force-exit", "99"], "PM-WALLET-016");
    assert!(said.contains("--anyway") && said.contains("0.001 ETH"), "{said}");
}

#[test]
fn a_deposit_is_waited_for_until_its_coins_can_be_spent() {
    let world: &'static World = Box::leak(Box::new(World::new()));
    let shown = std::sync::atomic::AtomicUsize::new(0);
    world.api.ledger.lock().unwrap().leaves = vec![(1, 10_000_000, 10_000_001)];
    world.api.lies("account", move |account| {
        if shown.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 1 {
            let mut ledger = world.api.ledger.lock().unwrap();
            ledger.leaves.push((9, 1, 9_990_000));
        }
        let _ = account;
    });
    let said = world.does(&["deposit", "0.01", "--wait"]);
    assert!(said.contains("can be spent") && said.contains("0.00999 ETH arrive"), "{said}");
}
