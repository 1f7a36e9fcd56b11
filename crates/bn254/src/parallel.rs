//! Work that all threads take from one counter, so that none waits while there is some left, and arrays that they write together.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Fr;

/// Does `work` for every number below `count`, on all threads, each with a scratch of its own.
pub(crate) fn for_each_dynamic<S>(
    count: usize,
    scratch: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, usize) + Sync,
) {
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

/// The elements of an array, of which different threads read and write different ones.
#[derive(Clone, Copy)]
pub(crate) struct Elements(pub *mut Fr);

// SAFETY: the code that uses the pointer, which is unsafe, promises that no other thread uses the same elements meanwhile.
unsafe impl Send for Elements {}
// SAFETY: see above.
unsafe impl Sync for Elements {}
