//! Each decision leaves its line, once.

use circuits::{shape::Shape, slot::ForcedKind};
use protocol::l1::ForcedRequest;
use sequencer::{
    farm::FarmCommand,
    testkit::{Bench, exit_of, funded},
};
use wire::WorkerId;

use super::lines;

fn lines_of(bench: &Bench, batch_no: u32) -> Vec<String> {
    let lines = bench.log.iter().flat_map(lines).filter(|line| line.batch_no == batch_no);
    lines.map(|line| line.text).collect()
}

/// Why the last batch was sealed.
fn sealed_because(bench: &Bench) -> String {
    let texts = bench.log.iter().flat_map(lines).map(|line| line.text);
    let sealed = texts.rev().find(|text| text.starts_with("sealed as")).unwrap();
    sealed.split(": ").nth(1).unwrap().to_owned()
}

#[test]
fn a_batch_leaves_a_line_for_each_decision() {
    let (mut bench, _, _) = funded(&[Shape::S3M1]);
    bench.state.farm_step(FarmCommand::Tick, bench.now, &mut bench.log);
    bench.grant(1);
    bench.prove(1);
    assert_eq!(
        lines_of(&bench, 1),
        [
            "opened with 4 places",
            "sealed as s3m1 with 1 mints and 0 forced requests: deposits waited long enough or fill it",
            "attempt 1 granted to default/w",
            "proof of default/w (attempt 1) accepted; it took 1 ms, of which 1 ms for the witness",
        ]
    );
}

#[test]
fn a_sealed_batch_says_why() {
    let (mut bench, alice, bob) = funded(&[Shape::S3M1]);
    assert_eq!(sealed_because(&bench), "deposits waited long enough or fill it");
    bench.send(&alice, &bob, 100).unwrap();
    bench.wait();
    assert_eq!(sealed_because(&bench), "its first operation waited long enough");
    for _ in 0..3 {
        bench.send(&alice, &bob, 100).unwrap();
        bench.state.seal_due(bench.now, &mut bench.log).unwrap();
    }
    assert_eq!(sealed_because(&bench), "it is full");
    bench.send(&alice, &bob, 100).unwrap();
    bench.state.seal_now(bench.now, &mut bench.log).unwrap();
    assert_eq!(sealed_because(&bench), "the coordinator drains");
    let index = bench.state.ledger().leaves_of(&alice.owner).next().unwrap().0;
    let rekey =
        ForcedRequest { kind: ForcedKind::Rekey, new_account: alice.account, ..exit_of(&alice, index) };
    bench.force(rekey);
    bench.wait();
    assert_eq!(sealed_because(&bench), "a forced request waited long enough");
    bench.send(&alice, &alice, 50).unwrap();
    bench.send(&alice, &bob, 50).unwrap();
    // One slot is left; Bob's five leaves need more.
    bench.send(&bob, &alice, 150).unwrap();
    assert_eq!(sealed_because(&bench), "the next operation did not fit");
}

#[test]
fn a_late_proof_is_noted_once_for_each_attempt_that_there_was() {
    let (mut bench, _, _) = funded(&[Shape::S3M1]);
    bench.state.farm_step(FarmCommand::Tick, bench.now, &mut bench.log);
    let late = |bench: &mut Bench, attempt, name: &str| {
        let worker = WorkerId::parse(name).unwrap();
        bench.state.late_proof(1, attempt, worker, bench.now, &mut bench.log).unwrap();
    };
    late(&mut bench, 1, "slow");
    bench.grant(1);
    bench.prove(1);
    let before = lines_of(&bench, 1).len();
    // Its own prover again; an attempt that never was.
    late(&mut bench, 1, "w");
    late(&mut bench, 2, "slow");
    late(&mut bench, 0, "slow");
    assert_eq!(lines_of(&bench, 1).len(), before);
    late(&mut bench, 1, "slow");
    late(&mut bench, 1, "slow");
    assert_eq!(
        lines_of(&bench, 1)[before..],
        ["a proof of default/slow (attempt 1) came late: another was accepted already"]
    );
    let mut again = bench.replayed();
    let mut log = Vec::new();
    again.late_proof(1, 1, WorkerId::parse("slow").unwrap(), bench.now, &mut log).unwrap();
    assert_eq!(log, [], "nor once more after a restart");
}

#[test]
fn each_term_is_noted_once_at_the_batch_that_was_open() {
    let (mut bench, _, _) = funded(&[Shape::S3M1]);
    for term in [1, 1, 3] {
        bench.state.led(term, bench.now, &mut bench.log).unwrap();
    }
    let mut again = bench.replayed();
    let mut log = Vec::new();
    again.led(3, bench.now, &mut log).unwrap();
    assert_eq!(log, []);
    assert_eq!(
        lines_of(&bench, 2),
        [
            "opened with 4 places",
            "a coordinator begins to lead, in term 1",
            "a coordinator begins to lead, in term 3",
        ]
    );
}
