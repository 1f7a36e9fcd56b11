//! Keeps the signatures of promises, so that a promise is signed once.
//!
//! They go to the store after the commit that made the operation durable, many at once and off the loop's way. Those that
//! are lost on the way (a death, a full channel, a store that is away) are made again, with the same bytes, by the first
//! reader who asks.

use std::{sync::Arc, time::Duration};

use protocol::OperationId;
use store::{History, StoreError, history::Signatures};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Operations whose signatures wait at most.
const WAITING: usize = 8_192;
/// How long the first of them waits for others, and how many are written together.
const WINDOW: Duration = Duration::from_millis(50);
const TOGETHER: usize = 1_024;
/// A store that is away is asked again after this.
const RETRY: Duration = Duration::from_secs(1);

type Signed = (OperationId, Signatures);

#[derive(Clone)]
pub(super) struct Scribe(mpsc::Sender<Signed>);

impl Scribe {
    /// A scribe, and what its task reads.
    pub fn new() -> (Self, mpsc::Receiver<Signed>) {
        let (sender, signed) = mpsc::channel(WAITING);
        (Self(sender), signed)
    }

    pub fn keep(&self, id: OperationId, signatures: Signatures) {
        if self.0.try_send((id, signatures)).is_err() {
            metrics::counter!("proofmill_promises_unkept_total").increment(1);
        }
    }
}

/// Writes until it is told to stop, then what still waits.
pub(super) async fn write(
    history: Arc<dyn History>,
    mut signed: mpsc::Receiver<Signed>,
    cancel: CancellationToken,
) {
    let mut together = Vec::with_capacity(TOGETHER);
    loop {
        let waits = async {
            if signed.recv_many(&mut together, 1).await > 0 {
                tokio::time::sleep(WINDOW).await;
            }
        };
        let stopping = cancel.run_until_cancelled(waits).await.is_none();
        while together.len() < TOGETHER
            && let Ok(more) = signed.try_recv()
        {
            together.push(more);
        }
        if together.is_empty() {
            return;
        }
        loop {
            match history.keep(&together).await {
                Ok(()) => break,
                Err(StoreError::Unavailable(_)) if !cancel.is_cancelled() => tokio::time::sleep(RETRY).await,
                Err(error) => {
                    metrics::counter!("proofmill_promises_unkept_total").increment(together.len() as u64);
                    tracing::warn!(%error, "signatures of promises are not kept; they are made again when asked for");
                    break;
                }
            }
        }
        together.clear();
        if stopping && signed.is_empty() {
            return;
        }
    }
}
