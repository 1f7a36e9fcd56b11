//! A map from which readers take values.
//!
//! One thread writes. A reader holds a lock of one shard for as long as it takes to count one more owner of a value, so the
//! writer waits for that at most.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::{BuildHasher, Hash},
    sync::Arc,
};

use parking_lot::RwLock;

const SHARDS: usize = 256;

type Shard<K, V> = RwLock<HashMap<K, Arc<V>>>;

pub(super) struct Shards<K, V> {
    hasher: RandomState,
    shards: Box<[Shard<K, V>]>,
}

impl<K, V> Default for Shards<K, V> {
    fn default() -> Self {
        Self { hasher: RandomState::new(), shards: (0..SHARDS).map(|_| Shard::default()).collect() }
    }
}

impl<K: Eq + Hash, V> Shards<K, V> {
    fn shard(&self, key: &K) -> &Shard<K, V> {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }

    pub fn get(&self, key: &K) -> Option<Arc<V>> {
        self.shard(key).read().get(key).cloned()
    }

    pub fn put(&self, key: K, value: V) {
        // What was there may have many parts: it is dropped without the lock.
        let _old = {
            let mut shard = self.shard(&key).write();
            shard.insert(key, Arc::new(value))
        };
    }
}

impl<K: Copy + Eq + Hash, V: Clone + Default> Shards<K, V> {
    /// Changes a value, or a new one, in place; on a copy if a reader has it.
    pub fn change(&self, key: &K, change: impl FnOnce(&mut V)) {
        let mut shard = self.shard(key).write();
        change(Arc::make_mut(shard.entry(*key).or_default()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_was_taken_stays_as_it_was() {
        let shards: Shards<u64, Vec<u64>> = Shards::default();
        for key in 0..1_000 {
            shards.change(&key, |value| value.push(key));
        }
        let taken = shards.get(&7).unwrap();
        shards.change(&7, |value| value.push(8));
        assert_eq!((taken.as_slice(), shards.get(&7).unwrap().as_slice()), (&[7][..], &[7, 8][..]));
        assert_eq!(shards.get(&1_000), None);
        shards.put(7, Vec::new());
        assert_eq!(shards.get(&7).unwrap().len(), 0);
    }
}
