//! A map whose old part may still be on its way from a snapshot. Until it is there it is not found: whoever must not miss it asks
//! [`Layered::is_whole`] first.
//!
//! Invariants: nothing is removed, and nothing here waits. What was put in since the snapshot lies in `recent` and is found first.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, OnceLock},
};

/// The part that a snapshot held.
#[derive(Debug)]
pub struct Past<K, V>(OnceLock<HashMap<K, V>>);

impl<K, V> Past<K, V> {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(OnceLock::new()))
    }

    /// It has arrived. Said once.
    pub fn arrive(&self, map: HashMap<K, V>) {
        // A second arrival would be the same map.
        let _ = self.0.set(map);
    }
}

impl<K: Eq + Hash, V> Past<K, V> {
    /// A value, if the part has arrived.
    pub fn if_arrived(&self, key: &K) -> Option<&V> {
        self.0.get()?.get(key)
    }
}

#[derive(Clone, Debug)]
pub struct Layered<K, V> {
    recent: HashMap<K, V>,
    past: Option<Arc<Past<K, V>>>,
}

impl<K, V> Default for Layered<K, V> {
    fn default() -> Self {
        Self { recent: HashMap::new(), past: None }
    }
}

impl<K: Eq + Hash, V> Layered<K, V> {
    pub fn over(past: Arc<Past<K, V>>) -> Self {
        Self { recent: HashMap::new(), past: Some(past) }
    }

    fn past(&self) -> Option<&HashMap<K, V>> {
        self.past.as_ref()?.0.get()
    }

    /// Whether the old part is there, if there is one.
    pub fn is_whole(&self) -> bool {
        self.past.as_ref().is_none_or(|past| past.0.get().is_some())
    }

    /// What is recent, and the old part.
    pub fn layers(&self) -> (&HashMap<K, V>, Option<&Arc<Past<K, V>>>) {
        (&self.recent, self.past.as_ref())
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        self.recent.get(key).or_else(|| self.past()?.get(key))
    }

    pub fn insert(&mut self, key: K, value: V) {
        self.recent.insert(key, value);
    }

    /// Everything that is there, in no order; each key once.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let old = self.past().into_iter().flatten().filter(|(key, _)| !self.recent.contains_key(*key));
        old.chain(&self.recent)
    }
}

#[cfg(any(test, feature = "sim"))]
mod equal {
    use super::*;

    impl<K: Eq + Hash, V: PartialEq> PartialEq for Layered<K, V> {
        fn eq(&self, other: &Self) -> bool {
            self.iter().count() == other.iter().count()
                && self.iter().all(|(key, value)| other.get(key) == Some(value))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recent_is_found_without_the_past_and_what_is_old_once_that_is_there() {
        let past = Past::new();
        let mut map = Layered::over(Arc::clone(&past));
        map.insert(2, "new");
        assert_eq!((map.get(&1), map.get(&2), map.is_whole()), (None, Some(&"new"), false));
        past.arrive(HashMap::from([(1, "old"), (2, "older")]));
        assert_eq!((map.get(&1), map.get(&2), map.get(&3)), (Some(&"old"), Some(&"new"), None));
        assert!(map.is_whole());
        let mut all: Vec<_> = map.iter().collect();
        all.sort_unstable();
        assert_eq!(all, [(&1, &"old"), (&2, &"new")]);
    }
}
