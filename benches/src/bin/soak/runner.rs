//! Checks on all cores, with a line of progress.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Wrong results after which nobody needs more of them.
const ENOUGH: u64 = 10;

/// Does the checks of all numbers below `count`, prints what is wrong with `seed`, and says how many were.
pub fn all(what: &str, seed: u64, count: u64, check: impl Fn(u64) -> Result<(), String> + Sync) -> u64 {
    let (next, done, wrong) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let take = || {
        while wrong.load(Ordering::Relaxed) < ENOUGH {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return;
            }
            if let Err(reason) = check(number) {
                wrong.fetch_add(1, Ordering::Relaxed);
                eprintln!("\nWRONG, seed {seed}, number {number} of the {what}: {reason}");
            }
            progress(what, done.fetch_add(1, Ordering::Relaxed) + 1, count);
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(take))));
    wrong.into_inner()
}

/// Says so at every hundredth of the way: on a terminal in one line, elsewhere at every tenth.
fn progress(what: &str, done: u64, count: u64) {
    let percent = |done: u64| u128::from(done) * 100 / u128::from(count);
    let terminal = std::io::stderr().is_terminal();
    let step = if terminal { 1 } else { 10 };
    if percent(done) / step > percent(done - 1) / step {
        eprint!(
            "{}{what}: {done} of {count}{}",
            if terminal { "\r" } else { "" },
            if terminal && done < count { "" } else { "\n" }
        );
        let _ = std::io::stderr().flush();
    }
}
