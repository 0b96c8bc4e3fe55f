//! A map that follows a prefix.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::RwLock;

use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::Entry;
use crate::Etcd;
use crate::follow::Read;
use crate::follow::Task;
use crate::map::AsOf;
use crate::map::Bounds;
use crate::map::Entries;
use crate::map::Map;
use crate::range::ANSWER;
use crate::values::entry;
use crate::values::entry_of;

/// A map of all keys with a prefix, which are without the prefix here. Clones share it.
#[derive(Debug)]
pub struct Watched<T> {
    map: Arc<RwLock<Map<T>>>,
    news: watch::Receiver<u64>,
    _follower: Arc<Follower>,
}

impl<T> Clone for Watched<T> {
    fn clone(&self) -> Self {
        let (map, news) = (Arc::clone(&self.map), self.news.clone());
        Self { map, news, _follower: Arc::clone(&self._follower) }
    }
}

/// Ends the task when the last clone of the map is dropped.
#[derive(Debug)]
struct Follower(AbortHandle);

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Etcd {
    /// A map of all keys with this prefix. It is empty until the keys are listed, see
    /// [`Watched::listed`].
    pub fn watch<T>(&self, prefix: &str, bounds: Bounds) -> Watched<T>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        self.follow(prefix, bounds, entry)
    }

    /// The same, where only the keys count: none is left out because of its value.
    pub fn watch_keys(&self, prefix: &str, entries: usize) -> Watched<()> {
        self.follow(prefix, Bounds { entries, value: ANSWER }, |found| Ok(entry_of(found, ())))
    }

    fn follow<T: Send + Sync + 'static>(
        &self,
        prefix: &str,
        bounds: Bounds,
        read: Read<T>,
    ) -> Watched<T> {
        let map = Map { entries: BTreeMap::new(), as_of: None, full: false };
        let map = Arc::new(RwLock::new(map));
        let (telling, news) = watch::channel(0);
        let prefix = self.full(prefix);
        let task = Task::new(self.clone(), (prefix, bounds, read), Arc::clone(&map), telling);
        let follower = self.link.runtime().spawn(task.run()).abort_handle();
        Watched { map, news, _follower: Arc::new(Follower(follower)) }
    }
}

impl<T> Watched<T> {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<Arc<Entry<T>>> {
        self.read(|entries| entries.get(key).cloned())
    }

    /// Reads the map, which is locked meanwhile, so this must be short.
    pub fn read<R>(&self, read: impl FnOnce(&Entries<T>) -> R) -> R {
        read(&self.map.read().unwrap_or_else(PoisonError::into_inner).entries)
    }

    /// When the map was last known to equal etcd's content; none before the keys were listed.
    pub fn as_of(&self) -> Option<AsOf> {
        self.map.read().unwrap_or_else(PoisonError::into_inner).as_of
    }

    /// Whether keys were left out because the map is full.
    pub fn is_full(&self) -> bool {
        self.map.read().unwrap_or_else(PoisonError::into_inner).full
    }

    /// Waits until the keys were listed for the first time.
    pub async fn listed(&self) {
        // The task that sends this ends only with this map.
        let _ = self.news.clone().wait_for(|_| self.as_of().is_some()).await;
    }

    /// Reports changes to the map, and when it becomes stale or current, each with another number.
    /// No change is missed while the reader is busy, but several may be reported as one.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.clone()
    }
}
