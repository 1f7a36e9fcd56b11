//! Work that all threads take from one counter, so that none waits while there is some left.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Does `work` for every number below `count`, on all threads, each with a scratch of its own.
pub(crate) fn in_turns<S>(count: usize, scratch: impl Fn() -> S + Sync, work: impl Fn(&mut S, usize) + Sync) {
    let next = AtomicUsize::new(0);
    let take = || {
        let mut scratch = scratch();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return;
            }
            work(&mut scratch, number);
        }
    };
    let threads = rayon::current_num_threads().min(count);
    rayon::scope(|scope| (0..threads).for_each(|_| scope.spawn(|_| take())));
}
