//! A mark elsewhere, raised in the background: nobody waits for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::{Condvar, Mutex};

use super::{HighWater, Mark, MarkError};

/// A mark that is as high as it should be is written again after this, in case that it was lost.
const AGAIN: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Wanted {
    mark: Option<HighWater>,
    end: bool,
}

struct Shared {
    wanted: Mutex<Wanted>,
    news: Condvar,
    mark: Mutex<Box<dyn Mark>>,
    /// It knows of more than it was raised to.
    doubted: AtomicBool,
}

/// Raises one mark until it is dropped.
pub struct Follower(Arc<Shared>);

impl Follower {
    /// `told`: what is wrong with it now, after each try.
    pub fn start(mark: Box<dyn Mark>, told: impl Fn(Option<String>) + Send + 'static) -> Option<Self> {
        let (wanted, news, mark) = (Mutex::default(), Condvar::new(), Mutex::new(mark));
        let shared = Arc::new(Shared { wanted, news, mark, doubted: AtomicBool::default() });
        let seen = Arc::clone(&shared);
        let follow = move || {
            let Shared { wanted, news, mark, doubted } = &*seen;
            let mut done: Option<HighWater> = None;
            loop {
                let mut guard = wanted.lock();
                let nothing = |wanted: &mut Wanted| !wanted.end && wanted.mark == done;
                news.wait_while_for(&mut guard, nothing, AGAIN);
                let (to, end) = (guard.mark, guard.end);
                drop(guard);
                if let Some(to) = to {
                    let mut mark = mark.lock();
                    let raised = mark.raise(&to).and_then(|()| mark.read());
                    drop(mark);
                    let more = |known: &HighWater| {
                        known.sequence > to.sequence
                            || (known.sequence == to.sequence && known.digest != to.digest)
                    };
                    doubted.store(
                        matches!(&raised, Ok(known) if known.as_ref().is_some_and(more)),
                        Ordering::Release,
                    );
                    if raised.is_ok() {
                        done = Some(to);
                    } else if !end {
                        std::thread::sleep(AGAIN / 5);
                    }
                    told(raised.err().map(|error| error.to_string()));
                }
                if end {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("mark".to_owned()).spawn(follow);
        thread.inspect_err(|error| tracing::warn!(%error, "a high-water mark is not kept")).ok()?;
        Some(Self(shared))
    }

    pub fn raise(&self, to: HighWater) {
        self.0.wanted.lock().mark = Some(to);
        self.0.news.notify_one();
    }

    pub fn doubted(&self) -> bool {
        self.0.doubted.load(Ordering::Acquire)
    }

    /// Where it is and what it is, once the thread is done with it. Blocks.
    ///
    /// # Errors
    /// `MarkError` if it cannot be read.
    pub fn read(&self) -> Result<(String, Option<HighWater>), MarkError> {
        let mut mark = self.0.mark.lock();
        let known = mark.read()?;
        Ok((mark.place(), known))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.wanted.lock().end = true;
        self.0.news.notify_one();
    }
}
