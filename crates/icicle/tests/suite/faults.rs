//! A device or library that misbehaves: every fault is an error that says what to do, or is caught by a check.

use crate::child::{Child, Outcome};

fn run(child: Child) -> Outcome {
    let outcome = child.run();
    assert!(outcome.ended_well(), "{}", outcome.all());
    outcome
}

fn open_error(misbehaviour: &str) -> String {
    let outcome = run(Child::new("prove").cuda().misbehaving(misbehaviour));
    assert!(outcome.is_clean(), "{}", outcome.all());
    outcome.said("open").remove(0)
}

#[test]
fn a_card_that_is_refused_or_silently_replaced_by_the_processor_is_found_out() {
    let error = open_error("cuda-refused");
    assert!(error.contains("PM-ICICLE-009") && error.contains("icicle_set_device"), "{error}");
    let error = open_error("stays-on-cpu");
    assert!(
        error.contains("PM-ICICLE-010") && error.contains("CUDA:0") && error.contains("CPU:0"),
        "{error}"
    );
}

#[test]
fn a_card_that_goes_away_in_the_middle_stops_the_proof() {
    let child = Child::new("prove").cuda().misbehaving("falls-to-cpu-after=45").with("PROOFS", "9");
    let proofs = run(child).said("proof");
    assert_eq!(proofs[0], "well");
    assert!(proofs[8].contains("PM-ICICLE-010"), "{proofs:?}");
}

#[test]
fn a_lost_device_fails_this_proof_and_every_later_one() {
    let child = Child::new("prove").misbehaving("lost-after=45").with("PROOFS", "9");
    let proofs = run(child).said("proof");
    assert_eq!(proofs[0], "well");
    assert!(proofs[8].contains("PM-ICICLE-009") && proofs[8].contains("restart the worker"), "{proofs:?}");
}

#[test]
fn a_build_that_misses_a_known_answer_is_refused() {
    for misbehaviour in ["wrong-ntt", "wrong-msm=1", "wrong-msm=4"] {
        let error = open_error(misbehaviour);
        assert!(error.contains("PM-ICICLE-012"), "{misbehaviour}: {error}");
    }
    let error = open_error("wrong-msm=2");
    assert!(error.contains("PM-ICICLE-016"), "{error}");
    let error = open_error("off-the-curve");
    assert!(error.contains("PM-ICICLE-011"), "{error}");
}

#[test]
fn one_wrong_sum_costs_one_proof_and_no_wrong_proof_leaves() {
    // Eight sums of the self-test, eight of the preparation, five for each proof: the 19th is in the first proof.
    let outcome = run(Child::new("prove").misbehaving("wrong-msm=19").with("PROOFS", "4"));
    let proofs = outcome.said("proof");
    assert!(proofs[0].contains("PM-PROVE-001"), "{proofs:?}");
    assert_eq!(proofs[1..], ["well", "well", "well"]);
}

#[test]
fn a_key_that_does_not_fit_is_refused_and_leaves_the_memory_as_it_was() {
    // The self-test needs 38,400 bytes at once, the points of 130 slots more.
    let child = |slots| Child::new("prove").misbehaving("no-memory-above=40000").with("SLOTS", slots);
    let outcome = run(child("130"));
    let error = outcome.said("prepare").remove(0);
    assert!(error.contains("PM-ICICLE-009") && error.contains("free memory on the card"), "{error}");
    assert!(outcome.is_clean(), "{}", outcome.all());
    assert_eq!(run(child("9")).said("proof"), ["well"]);
}

#[test]
fn error_codes_of_sums_are_told_with_what_to_do() {
    for (code, said) in
        [(2, "out of memory"), (10, "not implemented"), (13, "ICICLE_LICENSE"), (99, "no known meaning")]
    {
        let error = open_error(&format!("msm-code={code}"));
        assert!(error.contains("PM-ICICLE-009") && error.contains(said), "{error}");
    }
}

#[test]
fn a_cpp_exception_ends_the_process_it_happens_in_and_only_that() {
    // Nothing in Rust can catch it: this is why workers prove in a child process.
    for child in [
        Child::new("prove").misbehaving("throw-in-call=45").with("PROOFS", "9"),
        Child::new("prove").cuda().misbehaving("throw-in-load"),
    ] {
        let outcome = child.run();
        assert_eq!(outcome.signal(), Some(6), "{}", outcome.all());
        assert!(!outcome.stderr().is_empty());
    }
}
