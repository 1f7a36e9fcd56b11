//! One node of several: its connection, how long it rests after it was silent, and since when its head has stood still.

use std::{sync::Arc, time::Duration};

use parking_lot::{Mutex, MutexGuard};
use protocol::l1::{BlockRef, ChainError};
use tokio::{sync::OnceCell, time::Instant};

use super::Connect;
use crate::chain::Chain;

/// A node that has not answered a comparison by then is silent. It rests for as long, and after each further silence for twice
/// as long as before.
const PATIENCE: Duration = Duration::from_secs(10);
/// Doublings of the rest at most: 160 s.
const MAX_DOUBLINGS: u32 = 4;

pub(super) struct Member {
    /// Host and port.
    pub name: String,
    connect: Connect,
    chain: OnceCell<Arc<dyn Chain>>,
    patience: Duration,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Silences one after another.
    silent: u32,
    /// It rests until then.
    not_before: Option<Instant>,
    /// Its head, and when it was first seen there.
    head: Option<(u64, Instant)>,
}

impl Member {
    pub fn new(name: String, connect: Connect) -> Self {
        Self { name, connect, chain: OnceCell::new(), patience: PATIENCE, seen: Mutex::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock()
    }

    /// # Errors
    /// Those of the node, and `Unreachable` if it is silent.
    pub async fn connect(&self) -> Result<(), ChainError> {
        let connected = self.in_time(async { Ok(self.chain.get_or_try_init(&self.connect).await?.clone()) });
        connected.await.map(drop)
    }

    /// If it is connected.
    pub fn chain(&self) -> Option<Arc<dyn Chain>> {
        self.chain.get().cloned()
    }

    /// Whether it was silent a short while ago, and is asked only where nobody else answers.
    pub fn rests(&self) -> bool {
        self.seen().not_before.is_some_and(|until| Instant::now() < until)
    }

    /// How long its head has not moved.
    pub fn stands_still_for(&self) -> Duration {
        self.seen().head.map_or(Duration::ZERO, |(_, since)| since.elapsed())
    }

    /// Its head, and its last final block.
    ///
    /// # Errors
    /// Those of the node, and `Unreachable` if it is silent.
    pub async fn heights(&self) -> Result<(BlockRef, Option<BlockRef>), ChainError> {
        let heights = self.in_time(async {
            let chain = self.chain.get_or_try_init(&self.connect).await?;
            Ok((chain.head().await?, chain.finalized().await?))
        });
        let (head, settled) = heights.await?;
        let mut seen = self.seen();
        if seen.head.is_none_or(|(number, _)| number != head.number) {
            seen.head = Some((head.number, Instant::now()));
        }
        Ok((head, settled))
    }

    /// What it answers, if it does so in time; a silent one rests.
    pub async fn in_time<T>(
        &self,
        asked: impl Future<Output = Result<T, ChainError>>,
    ) -> Result<T, ChainError> {
        let answer = tokio::time::timeout(self.patience, asked).await;
        let mut seen = self.seen();
        let Ok(answer) = answer else {
            let rest = self.patience * (1 << seen.silent.min(MAX_DOUBLINGS));
            (seen.silent, seen.not_before) = (seen.silent.saturating_add(1), Some(Instant::now() + rest));
            return Err(ChainError::Unreachable(format!(
                "no answer in {} s; it is asked again in {} s",
                self.patience.as_secs(),
                rest.as_secs()
            )));
        };
        // An error is an answer too.
        (seen.silent, seen.not_before) = (0, None);
        answer
    }
}

#[cfg(test)]
impl Member {
    pub fn with_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// As if so much time had gone by.
    pub fn age(&self, by: Duration) {
        let mut seen = self.seen();
        seen.not_before = seen.not_before.and_then(|until| until.checked_sub(by));
        seen.head = seen.head.and_then(|(number, since)| Some((number, since.checked_sub(by)?)));
    }
}
