//! What an earlier version wrote is opened by this one: a ledger as the demo left it before the cores moved into a crate of their
//! own (`before/`, events of version 3), and beside it a snapshot of an older layout. Whoever changes the layout of events adds what
//! the version before wrote.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::{fs, path::Path, sync::Arc};

use circuits::{public_data::domain, shape::Shape};
use protocol::eip712::SigningDomain;
use sequencer::{rules::Rules, state::State, testkit};
use store::{SqliteStore, Store as _, snapshots::Snapshots};

/// Of the demo: chain 31337, the first contract of its first account.
const CONTRACT: &str = "5fbdb2315678afecb367f032d93f642f64180aa3";
const EVENTS: u64 = 56;

fn deployment() -> String {
    format!("chain 31337 contract 0x{CONTRACT}")
}

fn rules() -> Arc<Rules> {
    let contract: [u8; 20] = hex::decode(CONTRACT).unwrap().try_into().unwrap();
    let signing = SigningDomain { chain_id: 31_337, contract };
    let rules = (*testkit::rules(&[Shape::S3M1])).clone();
    Arc::new(Rules { domain: domain(31_337, &contract), signing, ..rules })
}

/// A copy, since whoever opens it may write.
fn copy(to: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/opens/before");
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// The state that the log gives, whose roots and inputs are compared with the recorded ones, event by event.
fn replayed(folder: &Path) -> State {
    let mut ledger = SqliteStore::open(folder).unwrap();
    ledger.bind(&deployment()).unwrap();
    let (mut state, mut last) = (State::new(rules()), 0);
    let checkpoint = ledger.replay(0, &mut |number, stamped| {
        state.apply(&stamped).unwrap_or_else(|error| panic!("event {number}: {error}"));
        last = number;
        Ok(())
    });
    assert_eq!((last, checkpoint.unwrap()), (EVENTS, Some(state.checkpoint())));
    assert!(!ledger.is_incomplete().unwrap());
    state
}

#[test]
fn a_ledger_of_the_version_before_is_replayed() {
    let folder = tempfile::tempdir().unwrap();
    copy(folder.path());
    let state = replayed(folder.path());
    assert!(state.tree().final_batch() > 3 && state.tree().final_batch() == state.tree().state_batch());
    assert!(state.ledger().all_balances().map(|(_, balances)| balances.finalized).sum::<u64>() > 0);
}

#[test]
fn a_snapshot_of_an_older_layout_is_passed_over_for_its_ledger() {
    let folder = tempfile::tempdir().unwrap();
    copy(folder.path());
    let snapshots = Snapshots::open(folder.path(), &deployment()).unwrap();
    assert!(snapshots.load(&rules()).is_none(), "it is of layout 5");
    assert_eq!(replayed(folder.path()).checkpoint().batch_no, replayed(folder.path()).tree().state_batch());
}
