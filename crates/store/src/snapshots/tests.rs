use circuits::shape::Shape;
use sequencer::testkit::{Bench, exit_of, funded};

use super::*;

mod hostile;

fn snapshots(folder: &Path) -> Snapshots {
    Snapshots::open(folder, "chain 1 contract 0x00").unwrap()
}

fn lived() -> Bench {
    let (mut bench, alice, bob) = funded(&[Shape::S3M1, Shape::S14M2]);
    bench.send(&alice, &bob, 300).unwrap();
    bench.withdraw(&bob, 100).unwrap();
    bench.force(exit_of(&bob, 0));
    bench.wait();
    bench.prove(1);
    bench.send(&alice, &bob, 30).unwrap();
    bench
}

#[test]
fn a_snapshot_and_the_events_after_it_give_the_state_that_the_log_gives() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = snapshots(folder.path());
    let bench = lived();
    let rules = Arc::new(bench.state.rules().clone());
    let mut following = State::new(Arc::clone(&rules));
    for (number, stamped) in (1..).zip(&bench.log) {
        following.apply(stamped).unwrap();
        following.take_rows();
        snapshots.save(&following, number).unwrap();
        let (mut loaded, at) = snapshots.load(&rules).unwrap();
        until_whole(&loaded);
        assert!(at == number && loaded == following, "after event {number}");
        for later in &bench.log[number as usize..] {
            loaded.apply(later).unwrap();
        }
        loaded.take_rows();
        assert!(loaded == bench.replayed().without_rows(), "after event {number}");
    }
    assert_eq!(snapshots.names().unwrap().len(), KEPT);
}

fn until_whole(state: &State) {
    while !state.is_whole() {
        std::thread::yield_now();
    }
}

#[test]
fn nothing_is_decided_again_while_it_is_unknown_what_was_decided_before() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = snapshots(folder.path());
    let (mut bench, alice, bob) = funded(&[Shape::S3M1]);
    let ask = protocol::PrepareSend {
        sender: alice.owner,
        recipient: bob.owner,
        amount: 100,
        allow_vault: false,
        valid_until: None,
    };
    let request = alice.sign(&bench.state.prepare_send(&ask).unwrap(), "key");
    let id = bench.submit(request.clone()).unwrap();
    let parts = snapshots.encode(&bench.state, 1).unwrap().concat();
    let (state, later) = snapshots.decode(&parts, 1, &Arc::new(bench.state.rules().clone())).unwrap();
    bench.state = state;
    let refused = bench.submit(request.clone()).unwrap_err();
    assert_eq!((refused.code(), refused.retryable()), ("UNAVAILABLE", true));
    assert!(snapshots.save(&bench.state, 2).is_err(), "half a state is no snapshot");
    later.decode().unwrap();
    assert_eq!(bench.submit(request), Ok(id));
    snapshots.save(&bench.state, 2).unwrap();
}

#[test]
fn attempts_in_flight_survive_a_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = snapshots(folder.path());
    let mut bench = lived();
    let rules = Arc::new(bench.state.rules().clone());
    let batch_no = bench.state.farm().jobs().next().unwrap().0;
    bench.grant(batch_no);
    snapshots.save(&bench.state, 1).unwrap();
    let (loaded, _) = snapshots.load(&rules).unwrap();
    let job = loaded.farm().job(batch_no).unwrap();
    assert_eq!((&job.phase, job.live.len()), (&sequencer::farm::Phase::Leased, 1));
}

#[test]
fn a_damaged_cut_or_foreign_snapshot_is_passed_over_for_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = snapshots(folder.path());
    let bench = lived();
    let rules = Arc::new(bench.state.rules().clone());
    snapshots.save(&bench.state, 1).unwrap();
    snapshots.save(&bench.state, 2).unwrap();
    let newest = snapshots.names().unwrap().pop().unwrap().1;
    let good = fs::read(&newest).unwrap();
    for at in (0..good.len()).step_by(good.len() / 97 + 1) {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        fs::write(&newest, &bad).unwrap();
        assert_eq!(snapshots.load(&rules).unwrap().1, 1, "byte {at} was flipped");
        fs::write(&newest, &good[..at]).unwrap();
        assert_eq!(snapshots.load(&rules).unwrap().1, 1, "cut to {at} bytes");
    }
    fs::write(&newest, &good).unwrap();
    assert_eq!(snapshots.load(&rules).unwrap().1, 2);
    let other = Snapshots::open(folder.path(), "chain 2 contract 0x00").unwrap();
    assert!(other.load(&rules).is_none());
}

#[test]
fn a_tree_that_does_not_hash_to_its_root_is_not_taken_from_a_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = snapshots(folder.path());
    let mut bench = lived();
    let rules = Arc::new(bench.state.rules().clone());
    bench.state.spoil(1, 0);
    snapshots.save(&bench.state, 1).unwrap();
    assert!(snapshots.load(&rules).is_none());
}
