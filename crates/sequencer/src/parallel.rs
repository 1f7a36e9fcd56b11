//! Work that may run side by side. The threads belong to the caller, who passes a way to run it.

use std::fmt;

/// A piece of work that borrows what it works on.
pub type Task<'a> = Box<dyn FnOnce() + Send + 'a>;

/// Tasks that one list is cut into at most.
const MOST_TASKS: usize = 64;

/// Runs every task once, in any order or at the same time, and returns after the last.
#[derive(Clone, Copy)]
pub struct Parallel(pub for<'a> fn(Vec<Task<'a>>));

impl Default for Parallel {
    /// One task after the other, on the calling thread.
    fn default() -> Self {
        fn in_turn(tasks: Vec<Task<'_>>) {
            tasks.into_iter().for_each(|task| task());
        }
        Self(in_turn)
    }
}

impl fmt::Debug for Parallel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parallel")
    }
}

/// All are equal: how work is run changes no result.
impl PartialEq for Parallel {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Parallel {
    /// # Panics
    /// If the caller's function does not run every task.
    pub fn join<A: Send, B: Send>(
        self,
        a: impl FnOnce() -> A + Send,
        b: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        let (mut first, mut second) = (None, None);
        (self.0)(vec![Box::new(|| first = Some(a())), Box::new(|| second = Some(b()))]);
        match (first, second) {
            (Some(first), Some(second)) => (first, second),
            _ => unreachable!("a task was not run"),
        }
    }

    /// The results for each item, in order; `least`: fewer items than this are not worth a task.
    ///
    /// # Panics
    /// If the caller's function does not run every task.
    pub fn map<T: Sync, R: Send>(self, items: &[T], least: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
        if items.len() < 2 * least {
            return items.iter().map(work).collect();
        }
        let chunk = least.max(items.len().div_ceil(MOST_TASKS));
        let mut results: Vec<Vec<R>> = Vec::new();
        results.resize_with(items.len().div_ceil(chunk), Vec::new);
        let work = &work;
        let tasks = items.chunks(chunk).zip(&mut results);
        let tasks = tasks.map(|(items, results)| -> Task<'_> {
            Box::new(move || *results = items.iter().map(work).collect())
        });
        (self.0)(tasks.collect());
        let results: Vec<R> = results.into_iter().flatten().collect();
        assert_eq!(results.len(), items.len(), "a task was not run");
        results
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On as many threads as there are tasks, the last task first.
    fn threads(tasks: Vec<Task<'_>>) {
        std::thread::scope(|scope| tasks.into_iter().rev().for_each(|task| drop(scope.spawn(task))));
    }

    #[test]
    fn results_come_in_order_whoever_runs_the_tasks() {
        let items: Vec<usize> = (0..1_000).collect();
        let doubled: Vec<usize> = items.iter().map(|item| 2 * item).collect();
        for parallel in [Parallel::default(), Parallel(threads)] {
            for least in [1, 7, 499, 501, 2_000] {
                assert_eq!(parallel.map(&items, least, |item| 2 * item), doubled);
            }
            assert_eq!(parallel.map(&[] as &[usize], 1, |item| 2 * item), []);
            assert_eq!(parallel.join(|| 1, || "b"), (1, "b"));
        }
    }

    #[test]
    #[should_panic(expected = "a task was not run")]
    fn work_that_is_not_done_is_noticed() {
        Parallel(|_| {}).map(&[1, 2, 3, 4], 1, |item| 2 * item);
    }
}
