//! The shortest schedule that fails the same way: cut the end off, then leave out what is not needed.

use super::{Plan, Report, run};

/// Runs of one search at most.
const RUNS: usize = 4_000;

/// A plan that breaks, with as few steps as the search finds, and its traced report; nothing if the plan does not break.
///
/// Which sentence it breaks may differ in numbers, so only the words count.
pub fn shrink(plan: &Plan) -> Option<(Plan, Report)> {
    let first = run(&Plan { traced: false, ..plan.clone() });
    let wanted = words(&first.broken?);
    let mut best = Plan { traced: false, steps: Some(first.steps), ..plan.clone() };
    let mut runs = 0;
    let mut breaks = |plan: &Plan| {
        runs += 1;
        runs <= RUNS && run(plan).broken.is_some_and(|broken| words(&broken) == wanted)
    };
    let mut cut = first.steps;
    while cut > 0 {
        let steps = best.steps.unwrap_or(first.steps);
        let shorter = Plan { steps: Some(steps.saturating_sub(cut)), ..best.clone() };
        if steps > 0 && breaks(&shorter) {
            best = shorter;
        } else {
            cut /= 2;
        }
    }
    let mut size = best.steps.unwrap_or(first.steps);
    while size > 0 {
        let steps = best.steps.unwrap_or(first.steps);
        for from in (0..steps).step_by(size) {
            let mut fewer = best.clone();
            let before = fewer.skipped.len();
            fewer.skipped.extend(from..(from + size).min(steps));
            if fewer.skipped.len() > before && breaks(&fewer) {
                best = fewer;
            }
        }
        size /= 2;
    }
    let plan = Plan { traced: true, ..best };
    let report = run(&plan);
    Some((plan, report))
}

/// A sentence without its numbers.
fn words(sentence: &str) -> String {
    sentence.chars().filter(|c| !c.is_ascii_digit()).take(40).collect()
}
