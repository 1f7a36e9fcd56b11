//! Questions of readers that need the loop: ownership proofs, which take paths out of the tree as it was after a batch.
//!
//! The tree is one vector per level with undo logs, because sealing must be fast; a persistent tree would make every seal
//! dearer to make a rare question cheap. So the question is asked in the loop, one at a time, and after each the loop has
//! rest from all of them: however many ask, they take at most [`SHARE`] of its time.

use std::{sync::Arc, time::Instant};

use context::cost;
use sequencer::{rejection::Rejection, state::State};
use tokio::sync::Semaphore;

use super::handle::Link;

/// One part in so many of the loop's time.
const SHARE: u32 = 50;
/// Questions that wait at most.
const WAITING: usize = 256;

pub(super) struct Share {
    turn: Arc<Semaphore>,
    waiting: Semaphore,
}

impl Default for Share {
    fn default() -> Self {
        Self { turn: Arc::new(Semaphore::new(1)), waiting: Semaphore::new(WAITING) }
    }
}

impl Share {
    /// # Errors
    /// `BUSY` if too many wait, `UNAVAILABLE` once the driver has stopped.
    pub async fn ask<T: Send + 'static>(
        &self,
        link: &Link,
        question: impl FnOnce(&State) -> T + Send + 'static,
    ) -> Result<T, Rejection> {
        let _place = self.waiting.try_acquire().map_err(|_| Rejection::BusyReading)?;
        let turn = Arc::clone(&self.turn).acquire_owned().await.map_err(|_| Rejection::Unavailable)?;
        let asked = link.ask(move |state| {
            let begun = Instant::now();
            (question(state), begun.elapsed())
        });
        let (answer, took) = asked.await.ok_or(Rejection::Unavailable)?;
        cost::charge(took);
        tokio::spawn(async move {
            tokio::time::sleep(took * (SHARE - 1)).await;
            drop(turn);
        });
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::driver::Message;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_loop_has_rest_between_questions_however_many_ask() {
        let (link, inbox) = Link::new();
        let state = State::new(sequencer::testkit::rules(&[circuits::shape::Shape::S3M1]));
        let work = Duration::from_millis(4);
        let answering = std::thread::spawn(move || {
            let mut busy = Duration::ZERO;
            while let Ok(Message::Ask(question)) = inbox.recv() {
                let begun = Instant::now();
                question(&state);
                busy += begun.elapsed();
            }
            busy
        });
        let (share, begun) = (Arc::new(Share::default()), Instant::now());
        let ask = || {
            let (share, link) = (Arc::clone(&share), link.clone());
            tokio::spawn(async move { share.ask(&link, move |_| std::thread::sleep(work)).await })
        };
        for asked in (0..5).map(|_| ask()).collect::<Vec<_>>() {
            asked.await.unwrap().unwrap();
        }
        let took = begun.elapsed();
        assert!(link.try_send(Message::Stop));
        let busy = answering.join().unwrap();
        // The rest after the last one is not waited for.
        assert!(busy * 30 < took, "{busy:?} of {took:?}");
    }
}
