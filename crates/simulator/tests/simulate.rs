//! The simulator itself: schedules hold, repeat, and find what is planted.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use simulator::{Bug, Plan, run, shrink};

/// Seeds within which a planted bug is found.
const WITHIN: u64 = 400;

#[test]
fn schedules_of_failures_break_nothing_and_end_final() {
    for seed in 0..300 {
        let report = run(&Plan { seed, ..Plan::default() });
        assert_eq!(report.broken, None, "seed {seed}: simulate --trace {seed} shows how");
    }
}

#[test]
fn a_seed_gives_the_same_trace_byte_for_byte() {
    for seed in 0..20 {
        let plan = Plan { seed, traced: true, ..Plan::default() };
        let (first, second) = (run(&plan), run(&plan));
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert_eq!(first.seen, second.seen, "seed {seed}");
    }
}

#[test]
fn every_fault_happens_within_a_few_hundred_schedules() {
    let mut sums = [0; 19];
    for seed in 0..300 {
        let counts = run(&Plan { seed, ..Plan::default() }).seen.counts();
        sums.iter_mut().zip(counts).for_each(|(sum, (_, count))| *sum += count);
    }
    for ((name, _), sum) in simulator::Seen::default().counts().into_iter().zip(sums) {
        assert!(sum > 0, "no schedule has met any {name}");
    }
}

#[test]
fn every_planted_bug_is_found() {
    for bug in Bug::ALL {
        let found = (0..WITHIN)
            .find(|seed| run(&Plan { seed: *seed, bug: Some(bug), ..Plan::default() }).broken.is_some());
        assert!(found.is_some(), "{bug:?} is not found within {WITHIN} seeds");
    }
}

#[test]
fn a_failing_schedule_is_shown_in_few_steps() {
    let broken = |seed: &u64| {
        let plan = Plan { seed: *seed, bug: Some(Bug::DepositTwice), ..Plan::default() };
        run(&plan).broken.is_some()
    };
    let seed = (0..WITHIN).find(broken).unwrap();
    let (plan, report) = shrink(&Plan { seed, bug: Some(Bug::DepositTwice), ..Plan::default() }).unwrap();
    let steps = plan.steps.unwrap() - plan.skipped.len();
    assert!(report.broken.is_some());
    assert!(steps <= 12, "{steps} steps:\n{}", report.trace.join("\n"));
}
