//! Concurrent use: connections and sessions of one source or user.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

/// How many places each key may have at a time. Cheap to clone; clones count together.
///
/// A key has an entry only while it has a place, so the table is no larger than the number of
/// places.
#[derive(Debug)]
pub struct Places<K: Hash + Eq> {
    most: usize,
    taken: Arc<Mutex<HashMap<K, usize>>>,
}

impl<K: Hash + Eq + Clone> Places<K> {
    /// At most `most` places for each key; 0 means no limit.
    pub fn new(most: usize) -> Self {
        Self { most, taken: Arc::default() }
    }

    /// A place, until it is dropped; none where the key has the maximum.
    pub fn enter(&self, key: K) -> Option<Place<K>> {
        let mut taken = lock(&self.taken);
        let count = taken.entry(key.clone()).or_default();
        // An entry is never 0, so a refusal leaves none behind.
        if self.most > 0 && *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Place { key, taken: Arc::clone(&self.taken) })
    }

    /// How many places a key may have; 0 means no limit.
    pub fn most(&self) -> usize {
        self.most
    }
}

impl<K: Hash + Eq> Clone for Places<K> {
    fn clone(&self) -> Self {
        Self { most: self.most, taken: Arc::clone(&self.taken) }
    }
}

/// A place of a key. Dropping it gives it back.
#[derive(Debug)]
pub struct Place<K: Hash + Eq + Clone> {
    key: K,
    taken: Arc<Mutex<HashMap<K, usize>>>,
}

impl<K: Hash + Eq + Clone> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        if let Entry::Occupied(mut count) = taken.entry(self.key.clone()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// Each critical section leaves the table consistent, so a poisoned lock can be used.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_has_all_its_places_gets_none_until_it_gives_one_back() {
        let places = Places::new(2);
        let first = places.enter("a").unwrap();
        let _second = places.enter("a").unwrap();
        assert!(places.enter("a").is_none());
        assert!(places.enter("b").is_some(), "others have theirs");
        drop(first);
        assert!(places.clone().enter("a").is_some());
    }

    #[test]
    fn a_key_without_a_place_takes_no_memory() {
        let places = Places::new(1);
        let place = places.enter("a");
        assert!(places.enter("a").is_none());
        drop(place);
        assert!(lock(&places.taken).is_empty());
    }

    #[test]
    fn a_limit_of_0_is_none() {
        let places = Places::new(0);
        let all: Vec<_> = (0..10_000).map(|_| places.enter("a")).collect();
        assert!(all.iter().all(Option::is_some));
    }
}
