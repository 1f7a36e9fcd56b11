//! A mark elsewhere, raised in the background: nobody waits for it.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use super::{HighWater, Mark};

/// A mark that is as high as it should be is written again after this, in case that it was lost.
const AGAIN: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Wanted {
    mark: Option<HighWater>,
    end: bool,
}

/// Raises one mark until it is dropped.
pub(crate) struct Follower(Arc<(Mutex<Wanted>, Condvar)>);

impl Follower {
    /// `told`: what is wrong with it now, after each try.
    pub fn start(mut mark: Box<dyn Mark>, told: impl Fn(Option<String>) + Send + 'static) -> Option<Self> {
        let shared = Arc::new((Mutex::<Wanted>::default(), Condvar::new()));
        let seen = Arc::clone(&shared);
        let follow = move || {
            let (wanted, news) = &*seen;
            let mut done: Option<HighWater> = None;
            loop {
                let guard = wanted.lock().unwrap_or_else(PoisonError::into_inner);
                let nothing = |wanted: &mut Wanted| !wanted.end && wanted.mark == done;
                let (guard, _) =
                    news.wait_timeout_while(guard, AGAIN, nothing).unwrap_or_else(PoisonError::into_inner);
                let (to, end) = (guard.mark, guard.end);
                drop(guard);
                if let Some(to) = to {
                    let raised = mark.raise(&to);
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
        let (wanted, news) = &*self.0;
        wanted.lock().unwrap_or_else(PoisonError::into_inner).mark = Some(to);
        news.notify_one();
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let (wanted, news) = &*self.0;
        wanted.lock().unwrap_or_else(PoisonError::into_inner).end = true;
        news.notify_one();
    }
}
