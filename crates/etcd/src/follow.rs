//! The task that keeps a map current.
//!
//! The prefix is listed once; after that, etcd sends every change. When the connection breaks, the
//! task requests the changes since then from the next node; where etcd no longer has them
//! (`compacted`), it lists the prefix again. It leaves a node that is silent for a while, so that a
//! map that may be out of date is marked as such.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::time::Duration;

use etcd_client::KeyValue;
use etcd_client::WatchOptions;
use etcd_client::WatchResponse;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::MissedTickBehavior;
use tokio::time::interval_at;
use tokio::time::sleep;
use tokio::time::timeout;

use crate::Entry;
use crate::Etcd;
use crate::EtcdError;
use crate::error::Failure;
use crate::error::brief;
use crate::link::DEADLINE;
use crate::map::AsOf;
use crate::map::Bounds;
use crate::map::Entries;
use crate::map::Map;
use crate::range::ANSWER;
use crate::range::is_too_large;

/// How often etcd is asked for a sign of life.
const ASK: Duration = Duration::from_secs(2);

/// How long etcd may be silent: three questions are unanswered then.
const SILENCE: Duration = Duration::from_secs(7);

/// The pauses between attempts to connect: the first and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(3)];

/// Most keys whose unusable values are remembered as logged.
const LOGGED: usize = 100;

/// Reads a value.
pub(crate) type Read<T> = fn(&KeyValue) -> Result<Entry<T>, EtcdError>;

/// The task that keeps a map current.
pub(crate) struct Task<T> {
    etcd: Etcd,
    prefix: Vec<u8>,
    bounds: Bounds,
    read: Read<T>,
    map: Arc<RwLock<Map<T>>>,
    telling: watch::Sender<u64>,
    /// The revision up to which changes are known; none when the prefix must be listed.
    revision: Option<i64>,
    /// Whether entries were left out because the map is full.
    full: bool,
    /// Whether etcd has sent anything since the last connection began.
    told: bool,
    /// Keys whose unusable values were logged.
    logged: BTreeSet<Vec<u8>>,
}

/// The change of a key.
struct Change<T> {
    name: String,
    at: i64,
    entry: Option<Entry<T>>,
}

impl<T> Task<T> {
    pub(crate) fn new(
        etcd: Etcd,
        (prefix, bounds, read): (Vec<u8>, Bounds, Read<T>),
        map: Arc<RwLock<Map<T>>>,
        telling: watch::Sender<u64>,
    ) -> Self {
        let (revision, full, told, logged) = (None, false, false, BTreeSet::new());
        Self { etcd, prefix, bounds, read, map, telling, revision, full, told, logged }
    }

    pub(crate) async fn run(mut self) {
        let [first, longest] = PAUSES;
        let mut pause = first;
        loop {
            self.told = false;
            let began = Instant::now();
            let Err(error) = self.follow().await;
            if !self.told && self.set_stale() {
                tracing::warn!(%error, "etcd's changes cannot be followed");
            } else {
                tracing::debug!(%error, "etcd's changes are asked for anew");
            }
            if self.told && began.elapsed() > longest {
                pause = first;
                // The next node may work at once, as this one did.
                if self.revision.is_some() {
                    continue;
                }
            }
            sleep(jittered(pause)).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// Keeps the map current until a failure.
    async fn follow(&mut self) -> Result<Infallible, EtcdError> {
        let since = match self.revision {
            Some(revision) => revision,
            None => self.list().await?,
        };
        let (turn, client) = match self.etcd.link.client().await {
            Ok(client) => client,
            Err((turn, failure)) => return Err(self.leave(turn, failure).await),
        };
        let options = WatchOptions::new().with_prefix().with_start_revision(since + 1);
        let mut watching = client.watch_client().max_decoding_message_size(ANSWER);
        let begun = timeout(DEADLINE, watching.watch(self.prefix.clone(), Some(options))).await;
        let mut stream = match begun {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(self.leave(turn, error.into()).await),
            Err(_) => return Err(self.leave(turn, silent()).await),
        };
        let mut questions = interval_at(Instant::now() + ASK, ASK);
        questions.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let answer = async {
                loop {
                    tokio::select! {
                        answer = stream.message() => return answer,
                        _ = questions.tick() => stream.request_progress().await?,
                    }
                }
            };
            match timeout(SILENCE, answer).await {
                Ok(Ok(Some(answer))) => self.take(&answer)?,
                Ok(Ok(None)) => return Err(self.leave(turn, ended()).await),
                Ok(Err(error)) => {
                    if is_too_large(&error) {
                        self.revision = None;
                    }
                    return Err(self.leave(turn, error.into()).await);
                }
                Err(_) => return Err(self.leave(turn, silent()).await),
            }
        }
    }

    async fn leave(&self, turn: usize, failure: Failure) -> EtcdError {
        if !matches!(failure, Failure::Final(_)) {
            self.etcd.link.move_on(turn).await;
        }
        failure.into()
    }

    /// Reads all keys; returns the revision after which changes must be requested. A change that is
    /// made meanwhile is received again.
    async fn list(&mut self) -> Result<i64, EtcdError> {
        self.full = false;
        let (mut entries, mut revision) = (BTreeMap::new(), None);
        let etcd = self.etcd.clone();
        let mut pages = etcd.pages(&self.prefix);
        while !self.full
            && let Some(page) = pages.next().await?
        {
            revision = revision.or(Some(page.revision));
            for found in &page.found {
                if entries.len() >= self.bounds.entries {
                    self.overflow();
                    break;
                }
                if let Some((name, entry)) = self.name(found).zip(self.parse(found)) {
                    entries.insert(name, Arc::new(entry));
                }
            }
        }
        let revision = revision.unwrap_or_default();
        self.revision = Some(revision);
        // The earlier entries are dropped after the lock is released.
        drop(self.write(true, |known| std::mem::replace(known, entries)));
        Ok(revision)
    }

    /// Handles a message from etcd.
    fn take(&mut self, answer: &WatchResponse) -> Result<(), EtcdError> {
        let revision = self.revision.unwrap_or_default();
        let theirs = answer.header().map_or(0, |header| header.revision());
        // The first message may come from a node that has not received the newest changes yet.
        if !answer.created() && theirs < revision {
            self.revision = None;
            return Err(EtcdError::Away("it was restored from an older copy".into()));
        }
        if answer.canceled() {
            self.revision = self.revision.filter(|_| answer.compact_revision() == 0);
            return Err(EtcdError::Away(brief(answer.cancel_reason())));
        }
        self.told = true;
        let found = || answer.events().iter().filter_map(|event| event.kv());
        self.revision = Some(found().map(KeyValue::mod_revision).fold(revision, i64::max));
        let changes: Vec<_> = found().filter_map(|found| self.change(found)).collect();
        let left_out = self.apply(changes);
        if left_out {
            self.overflow();
        } else if self.full && self.has_room() {
            self.revision = None;
            return Err(EtcdError::Away("there is room for what was left out".into()));
        }
        Ok(())
    }

    /// The change of a key in a message.
    fn change(&mut self, found: &KeyValue) -> Option<Change<T>> {
        Some(Change { name: self.name(found)?, at: found.mod_revision(), entry: self.parse(found) })
    }

    /// Applies changes; returns whether entries were left out because the map is full.
    fn apply(&self, changes: Vec<Change<T>>) -> bool {
        let (has_changes, limit) = (!changes.is_empty(), self.bounds.entries);
        let mut left_out = false;
        self.write(has_changes, |entries| {
            for Change { name, at, entry } in changes {
                // The listed value is already newer.
                if entries.get(&name).is_some_and(|known| known.changed.0 > at) {
                    continue;
                }
                match entry {
                    None => drop(entries.remove(&name)),
                    Some(entry) if entries.len() < limit || entries.contains_key(&name) => {
                        entries.insert(name, Arc::new(entry));
                    }
                    Some(_) => left_out = true,
                }
            }
        });
        left_out
    }

    fn name(&self, found: &KeyValue) -> Option<String> {
        let name = found.key().strip_prefix(self.prefix.as_slice())?;
        std::str::from_utf8(name).ok().map(ToOwned::to_owned)
    }

    /// The value of a key; none where the key was removed or the value cannot be used.
    fn parse(&mut self, found: &KeyValue) -> Option<Entry<T>> {
        let parsed = match found.value().len() {
            _ if found.version() == 0 => None,
            bytes if bytes > self.bounds.value => {
                let most = self.bounds.value;
                Some(Err(EtcdError::Value(format!("{bytes} bytes, of at most {most}"))))
            }
            _ => Some((self.read)(found)),
        };
        let Some(Err(error)) = parsed else {
            self.logged.remove(found.key());
            return parsed?.ok();
        };
        let is_new = self.logged.len() < LOGGED && self.logged.insert(found.key().to_vec());
        if is_new {
            let key = String::from_utf8_lossy(found.key());
            tracing::warn!(?key, %error, "a key in etcd is left out");
        }
        None
    }

    /// Changes the map and marks it current.
    fn write<R>(&self, is_news: bool, change: impl FnOnce(&mut Entries<T>) -> R) -> R {
        let (was_current, result) = {
            let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
            let was_current = map.as_of.is_some_and(|as_of| !as_of.stale);
            map.as_of = Some(AsOf { time: Timestamp::now(), stale: false });
            map.full = self.full;
            (was_current, change(&mut map.entries))
        };
        if is_news || !was_current {
            self.telling.send_modify(|count| *count = count.wrapping_add(1));
        }
        result
    }

    /// Marks the map as possibly out of date; returns whether it was current.
    fn set_stale(&self) -> bool {
        {
            let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
            match &mut map.as_of {
                Some(as_of) if !as_of.stale => as_of.stale = true,
                _ => return false,
            }
        }
        self.telling.send_modify(|count| *count = count.wrapping_add(1));
        true
    }

    fn has_room(&self) -> bool {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        map.entries.len() < self.bounds.entries
    }

    fn overflow(&mut self) {
        if !self.full {
            let (limit, prefix) = (self.bounds.entries, String::from_utf8_lossy(&self.prefix));
            tracing::warn!(limit, %prefix, "etcd has more keys than are kept: some are left out");
        }
        self.full = true;
        self.map.write().unwrap_or_else(PoisonError::into_inner).full = true;
        self.telling.send_modify(|count| *count = count.wrapping_add(1));
    }
}

fn silent() -> Failure {
    Failure::Lost("no answer in time".into())
}

fn ended() -> Failure {
    Failure::Lost("the connection ended".into())
}

/// A time between half of `pause` and all of it, so that hosts do not all connect at once.
fn jittered(pause: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or_default();
    pause / 2 + (pause / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}
