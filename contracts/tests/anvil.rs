//! The contract tests on npm's anvil (`npm ci --prefix contracts`).

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod common;
mod suite;

use common::mill::{Mill, S3M1};
use common::rpc::{Backend, hex_of};
use serde_json::json;

const BACKEND: Backend = Backend::Anvil;

// Here and not in the suite: no other way leads to the end of the tree than writing to storage, which anvil alone offers.
#[test]
fn the_tree_ends_at_4_to_the_18() {
    let mill = Mill::deploy(BACKEND);
    // Slot 0 packs batchNo (32 bits), next, mintedUpTo, forcedUpTo (64 each): put `next` four places before the end.
    let next = (1u64 << 36) - 4;
    let slot = format!("0x{:0>64x}", ethers::types::U256::from(next) << 32);
    mill.rpc.ask("anvil_setStorageAt", json!([hex_of(mill.address), "0x0", slot])).unwrap();
    assert_eq!(mill.state().next, next);
    let mut batch = mill.batch(S3M1);
    batch.start = 1 << 36;
    assert_eq!(mill.batch_refusal(&batch), "TreeFull");
    batch.start = next;
    mill.submit(&batch);
    assert_eq!(mill.state().next, 1 << 36);
}
