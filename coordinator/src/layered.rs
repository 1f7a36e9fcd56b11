//! A map whose old part may still be on its way from a snapshot: whoever asks for it waits, everything else goes on.
//!
//! Invariant: nothing is removed. What was put in since the snapshot lies in `recent` and is found first.

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
        self.past.as_ref().map(|past| past.0.wait())
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

    /// Everything, in no order; each key once.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let old = self.past().into_iter().flatten().filter(|(key, _)| !self.recent.contains_key(*key));
        old.chain(&self.recent)
    }
}

/// Lists that only grow.
#[derive(Clone, Debug)]
pub struct Lists<K, T>(Layered<K, Vec<T>>);

impl<K, T> Default for Lists<K, T> {
    fn default() -> Self {
        Self(Layered::default())
    }
}

impl<K: Eq + Hash, T> Lists<K, T> {
    pub fn over(past: Arc<Past<K, Vec<T>>>) -> Self {
        Self(Layered::over(past))
    }

    pub fn push(&mut self, key: K, value: T) {
        self.0.recent.entry(key).or_default().push(value);
    }

    /// A list, oldest first.
    pub fn list(&self, key: &K) -> impl DoubleEndedIterator<Item = &T> {
        let old = self.0.past().and_then(|past| past.get(key));
        old.into_iter().flatten().chain(self.0.recent.get(key).into_iter().flatten())
    }

    /// The keys of all lists, each once.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|(key, _)| key)
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

    impl<K: Eq + Hash, T: PartialEq> PartialEq for Lists<K, T> {
        fn eq(&self, other: &Self) -> bool {
            self.keys().count() == other.keys().count()
                && self.keys().all(|key| self.list(key).eq(other.list(key)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recent_is_found_without_the_past_and_what_is_old_waits_for_it() {
        let past = Past::new();
        let mut map = Layered::over(Arc::clone(&past));
        map.insert(2, "new");
        assert_eq!(map.get(&2), Some(&"new"));
        let arrival = std::thread::spawn(move || past.arrive(HashMap::from([(1, "old"), (2, "older")])));
        assert_eq!((map.get(&1), map.get(&2), map.get(&3)), (Some(&"old"), Some(&"new"), None));
        arrival.join().unwrap();
        let mut all: Vec<_> = map.iter().collect();
        all.sort_unstable();
        assert_eq!(all, [(&1, &"old"), (&2, &"new")]);
    }

    #[test]
    fn a_list_goes_on_where_the_past_ended() {
        let past = Past::new();
        past.arrive(HashMap::from([("a", vec![1, 2]), ("b", vec![9])]));
        let mut lists = Lists::over(past);
        lists.push("a", 3);
        lists.push("c", 4);
        assert_eq!(lists.list(&"a").rev().collect::<Vec<_>>(), [&3, &2, &1]);
        assert_eq!(lists.list(&"b").count() + lists.list(&"d").count(), 1);
        assert_eq!(lists.keys().count(), 3);
    }
}
