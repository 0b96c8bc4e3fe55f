//! Rates: how often the events of a key happen.

use std::hash::BuildHasher;
use std::hash::Hash;
use std::hash::RandomState;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

/// Sets of the table, and entries of each. An entry has 24 bytes, so the table takes 384 KiB.
const SETS: usize = 2048;
const WAYS: usize = 8;

/// Counts the events of each key, and returns how far a key is over its limit.
///
/// The generic cell rate algorithm: each event adds `within / events` to the debt of its key, and
/// the debt decreases with time. A debt up to `within` is allowed. Beyond that, the excess is the
/// time that the key has to wait.
///
/// The table has a fixed size and is allocated at the first event. If a set of it is full, the key
/// with the smallest debt is forgotten. So many keys can at worst clear others' debts, never
/// increase them. Keys are hashed in a way that clients cannot predict.
#[derive(Debug)]
pub struct Meter {
    cost: Option<Duration>,
    within: Duration,
    most: Duration,
    hasher: RandomState,
    table: Mutex<Vec<Entry>>,
}

/// The debt of a key. An entry without debt is free.
#[derive(Clone, Copy, Debug)]
struct Entry {
    key: u64,
    /// When the debt is paid off.
    free_at: Instant,
}

impl Meter {
    /// Allows each key this many `events` in any period of `within`; 0 means no limit. If a key
    /// continues nevertheless, its wait grows up to `most`.
    pub fn new(events: u32, within: Duration, most: Duration) -> Self {
        Self {
            cost: (events > 0).then(|| within / events),
            within,
            most,
            hasher: RandomState::new(),
            table: Mutex::default(),
        }
    }

    /// Counts an event of a key. Returns how long the key must wait: 0 within the limit.
    pub fn count(&self, key: &impl Hash, now: Instant) -> Duration {
        let most = || self.most.max(self.cost.unwrap_or_default());
        self.try_count(key, now).unwrap_or_else(most)
    }

    /// The same; none when the event is not counted, since the key's debt is at its maximum.
    pub fn try_count(&self, key: &impl Hash, now: Instant) -> Option<Duration> {
        let Some(cost) = self.cost else { return Some(Duration::ZERO) };
        self.with_entry(key, now, |entry| {
            let debt = entry.free_at.saturating_duration_since(now) + cost;
            (debt <= self.within + self.most).then(|| {
                entry.free_at = now + debt;
                debt.saturating_sub(self.within)
            })
        })
    }

    /// How long a key must wait without a further event: 0 within the limit.
    pub fn wait(&self, key: &impl Hash, now: Instant) -> Duration {
        if self.cost.is_none() {
            return Duration::ZERO;
        }
        self.with_entry(key, now, |entry| {
            entry.free_at.saturating_duration_since(now).saturating_sub(self.within)
        })
    }

    /// Takes back an event that [`Self::try_count`] counted.
    pub fn take_back(&self, key: &impl Hash, now: Instant) {
        let Some(cost) = self.cost else { return };
        self.with_entry(key, now, |entry| {
            entry.free_at = now + entry.free_at.saturating_duration_since(now).saturating_sub(cost);
        });
    }

    fn with_entry<T>(
        &self,
        key: &impl Hash,
        now: Instant,
        change: impl FnOnce(&mut Entry) -> T,
    ) -> T {
        let key = self.hasher.hash_one(key);
        let none = Entry { key, free_at: now };
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.resize(SETS * WAYS, none);
        let set = usize::try_from(key % SETS as u64).unwrap_or_default();
        let ways = table.chunks_exact_mut(WAYS).nth(set).unwrap_or_default();
        let place = match ways.iter().position(|entry| entry.key == key) {
            Some(place) => ways.get_mut(place),
            None => ways.iter_mut().min_by_key(|entry| entry.free_at).map(|entry| {
                *entry = none;
                entry
            }),
        };
        match place {
            Some(entry) => change(entry),
            None => change(&mut { none }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const MOST: Duration = Duration::from_secs(30);

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn who_stays_within_the_limit_never_waits() {
        let (meter, start) = (Meter::new(20, MINUTE, MOST), Instant::now());
        for event in 0..1000 {
            assert_eq!(meter.count(&"a", after(start, 3 * event)), Duration::ZERO);
        }
    }

    #[test]
    fn who_goes_on_over_the_limit_waits_longer_and_longer_up_to_the_most() {
        let (meter, now) = (Meter::new(20, MINUTE, MOST), Instant::now());
        let waits: Vec<u64> = (0..40).map(|_| meter.count(&"a", now).as_secs()).collect();
        assert!(waits.iter().take(20).all(|wait| *wait == 0), "{waits:?}");
        assert_eq!(waits[20..24], [3, 6, 9, 12]);
        assert_eq!(waits[30..], [30; 10]);
        assert_eq!(meter.wait(&"a", now), MOST);
        assert_eq!(meter.wait(&"a", after(now, 30)), Duration::ZERO);
        assert_eq!(meter.count(&"b", now), Duration::ZERO, "others do not wait");
    }

    #[test]
    fn with_no_wait_to_grow_to_what_is_over_the_limit_does_not_prolong_it() {
        let (meter, start) =
            (Meter::new(10, Duration::from_secs(10), Duration::ZERO), Instant::now());
        let allowed = (0..1000).filter(|event| {
            meter.count(&"a", start + Duration::from_millis(100) * *event).is_zero()
        });
        // Ten at once, and then one a second over 100 s.
        assert!((109..=111).contains(&allowed.count()));
    }

    #[test]
    fn what_is_taken_back_was_never_counted() {
        let (meter, now) = (Meter::new(2, MINUTE, MOST), Instant::now());
        for _ in 0..100 {
            assert_eq!(meter.count(&"a", now), Duration::ZERO);
            meter.take_back(&"a", now);
        }
    }

    #[test]
    fn an_event_is_not_counted_where_the_most_is_owed() {
        let (meter, now) = (Meter::new(20, MINUTE, MOST), Instant::now());
        let counted = (0..100).filter(|_| meter.try_count(&"a", now).is_some()).count();
        assert_eq!(counted, 30);
        assert_eq!(meter.wait(&"a", now), MOST);
        assert!(meter.try_count(&"a", after(now, 3)).is_some(), "there is room for one more");
    }

    #[test]
    fn a_limit_of_0_is_none_and_takes_no_memory() {
        let (meter, now) = (Meter::new(0, MINUTE, MOST), Instant::now());
        assert!((0..1000).all(|_| meter.count(&"a", now).is_zero()));
        assert!(meter.table.lock().unwrap().is_empty());
    }

    #[test]
    fn a_million_keys_take_no_more_memory_and_do_not_free_who_owes_most() {
        let (meter, now) = (Meter::new(20, MINUTE, MOST), Instant::now());
        for _ in 0..40 {
            meter.count(&"guilty", now);
        }
        for key in 0..1_000_000 {
            meter.count(&key, now);
        }
        assert_eq!(meter.table.lock().unwrap().len(), SETS * WAYS);
        assert_eq!(meter.wait(&"guilty", now), MOST);
    }
}
