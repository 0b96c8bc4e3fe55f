//! Recent events of keys.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

/// The keys that had an event recently. Beyond `most` keys, the one whose event was longest ago is
/// forgotten.
#[derive(Debug)]
pub struct Lately<K> {
    most: usize,
    life: Duration,
    done: Mutex<HashMap<K, Instant>>,
}

impl<K: Hash + Eq + Clone> Lately<K> {
    /// Remembers `most` keys, each for `life`.
    pub fn new(most: usize, life: Duration) -> Self {
        Self { most, life, done: Mutex::default() }
    }

    /// Records an event of a key.
    pub fn remember(&self, key: K, now: Instant) {
        let mut done = self.lock();
        if done.len() >= self.most && !done.contains_key(&key) {
            let oldest = done.iter().min_by_key(|(_, when)| **when).map(|(key, _)| key.clone());
            oldest.and_then(|oldest| done.remove(&oldest));
        }
        done.insert(key, now);
    }

    /// Whether a key had an event recently.
    pub fn knows(&self, key: &K, now: Instant) -> bool {
        let when = self.lock().get(key).copied();
        when.is_some_and(|when| now.saturating_duration_since(when) < self.life)
    }

    /// Each critical section leaves the table consistent, so a poisoned lock can be used.
    fn lock(&self) -> MutexGuard<'_, HashMap<K, Instant>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_secs(60);

    #[test]
    fn a_key_is_known_for_its_life() {
        let (lately, now) = (Lately::new(2, LIFE), Instant::now());
        lately.remember("a", now);
        assert!(lately.knows(&"a", now + LIFE / 2));
        assert!(!lately.knows(&"a", now + LIFE));
        assert!(!lately.knows(&"b", now));
    }

    #[test]
    fn of_too_many_keys_the_oldest_is_forgotten() {
        let (lately, start) = (Lately::new(3, LIFE), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        for (second, key) in (0..).zip(["a", "b", "c", "a", "d"]) {
            lately.remember(key, after(second));
        }
        let known = ["a", "b", "c", "d"].map(|key| lately.knows(&key, after(5)));
        assert_eq!(known, [true, false, true, true]);
        assert_eq!(lately.lock().len(), 3);
    }
}
