//! Transactions that wait for a block.
//!
//! Invariant: one transaction for each sender and nonce; nonces may have gaps, and only the run of nonces that begins
//! at the account's own can be mined. The order is a function of the content, never of a hash map's iteration.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use revm::primitives::{Address, B256};

use crate::error::TxError;
use crate::types::SignedTx;

/// Transactions in the whole pool.
pub const MAX_POOL: usize = 10_000;
/// Transactions of one sender.
pub const MAX_PER_SENDER: usize = 1_024;

#[derive(Clone, Debug)]
struct Waiting {
    tx: Arc<SignedTx>,
    /// Order of arrival.
    arrival: u64,
}

/// The pool.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    by_sender: BTreeMap<Address, BTreeMap<u64, Waiting>>,
    by_hash: HashMap<B256, Arc<SignedTx>>,
    arrivals: u64,
}

impl Pool {
    /// A waiting transaction by its hash.
    #[must_use]
    pub fn get(&self, hash: &B256) -> Option<&Arc<SignedTx>> {
        self.by_hash.get(hash)
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    /// Takes a transaction in, or replaces the one with its nonce if it pays 10 % more in both fees.
    ///
    /// # Errors
    /// If it is known, does not pay enough more, or the pool is full. Nothing changes then.
    pub fn insert(&mut self, tx: Arc<SignedTx>) -> Result<(), TxError> {
        if self.by_hash.contains_key(&tx.hash) {
            return Err(TxError::Known);
        }
        let queue = self.by_sender.get(&tx.sender);
        let replaced = queue.and_then(|queue| queue.get(&tx.nonce)).map(|waiting| waiting.tx.clone());
        match &replaced {
            Some(old) => {
                let bumped = |old: u128, new: u128| new >= old.saturating_add(old.div_ceil(10)) && new > old;
                if !(bumped(old.max_fee, tx.max_fee) && bumped(old.max_tip, tx.max_tip)) {
                    return Err(TxError::Underpriced);
                }
            }
            None if self.len() >= MAX_POOL => return Err(TxError::PoolFull { limit: MAX_POOL }),
            None if queue.is_some_and(|queue| queue.len() >= MAX_PER_SENDER) => {
                return Err(TxError::PoolFull { limit: MAX_PER_SENDER });
            }
            None => {}
        }
        if let Some(old) = replaced {
            self.by_hash.remove(&old.hash);
        }
        self.put(tx);
        Ok(())
    }

    /// Takes back a transaction of a block that was dropped. It keeps its place only if nothing took it.
    pub fn put_back(&mut self, tx: Arc<SignedTx>) {
        let taken = self.by_sender.get(&tx.sender).is_some_and(|queue| queue.contains_key(&tx.nonce));
        if !taken {
            self.put(tx);
        }
    }

    fn put(&mut self, tx: Arc<SignedTx>) {
        self.arrivals += 1;
        self.by_hash.insert(tx.hash, tx.clone());
        let waiting = Waiting { tx: tx.clone(), arrival: self.arrivals };
        self.by_sender.entry(tx.sender).or_default().insert(tx.nonce, waiting);
    }

    /// Removes what a sender can no longer send: nonces below `nonce`.
    pub fn prune(&mut self, sender: Address, nonce: u64) {
        let Some(queue) = self.by_sender.get_mut(&sender) else { return };
        let kept = queue.split_off(&nonce);
        for old in std::mem::replace(queue, kept).into_values() {
            self.by_hash.remove(&old.tx.hash);
        }
        if queue.is_empty() {
            self.by_sender.remove(&sender);
        }
    }

    /// The nonce after the run of waiting transactions that begins at `nonce`.
    #[must_use]
    pub fn next_nonce(&self, sender: Address, nonce: u64) -> u64 {
        let Some(queue) = self.by_sender.get(&sender) else { return nonce };
        queue.range(nonce..).zip(nonce..).take_while(|((have, _), want)| *have == want).count() as u64 + nonce
    }

    /// The best transaction that may run next: highest tip, then first come. `nonce_of` gives an account's nonce,
    /// `None` for senders that are out for this block.
    #[must_use]
    pub fn best(&self, base_fee: u64, nonce_of: impl Fn(Address) -> Option<u64>) -> Option<Arc<SignedTx>> {
        let candidates = self.by_sender.iter().filter_map(|(sender, queue)| {
            let waiting = queue.get(&nonce_of(*sender)?)?;
            Some((waiting.tx.effective_tip(base_fee)?, waiting))
        });
        let best = candidates.max_by_key(|(tip, waiting)| (*tip, std::cmp::Reverse(waiting.arrival)));
        best.map(|(_, waiting)| waiting.tx.clone())
    }

    /// All waiting transactions by sender and nonce.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<SignedTx>> {
        self.by_sender.values().flat_map(BTreeMap::values).map(|waiting| &waiting.tx)
    }
}
