//! What an earlier version wrote is opened by this one: a ledger and a snapshot as the demo left them before the cores moved into
//! a crate of their own (`before/`, events of version 3). Whoever changes a layout adds what the version before wrote.

use std::{fs, path::Path, sync::Arc, time::Duration};

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
fn a_snapshot_of_the_version_before_is_the_state_that_its_ledger_gives() {
    let folder = tempfile::tempdir().unwrap();
    copy(folder.path());
    let snapshots = Snapshots::open(folder.path(), &deployment()).unwrap();
    let (loaded, sequence) = snapshots.load(&rules()).expect("it is taken");
    for _ in 0..1_000 {
        if loaded.is_whole() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(loaded.is_whole() && sequence == EVENTS);
    let replayed = replayed(folder.path());
    assert_eq!(loaded.checkpoint(), replayed.checkpoint());
    assert!(loaded.ledger().leaves().all(|(index, leaf)| replayed.ledger().leaf(index) == Some(leaf)));
    assert_eq!(loaded.ledger().leaves().count(), replayed.ledger().leaves().count());
    let balances = |state: &State| {
        let mut balances: Vec<_> =
            state.ledger().all_balances().map(|(owner, balances)| (*owner, *balances)).collect();
        balances.sort_unstable_by_key(|(owner, _)| *owner);
        balances
    };
    assert_eq!(balances(&loaded), balances(&replayed));
}
