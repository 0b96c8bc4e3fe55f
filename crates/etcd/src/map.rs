//! The parts of a map that follows a prefix.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::Entry;

/// The limits of a map.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Most entries.
    pub entries: usize,
    /// Most bytes of a value.
    pub value: usize,
}

/// When a map was last known to equal etcd's content.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AsOf {
    /// The latest time at which it was known to be equal.
    pub time: Timestamp,
    /// Whether it may differ now, because etcd does not respond.
    pub stale: bool,
}

/// The keys, without the prefix, and their values.
pub(crate) type Entries<T> = BTreeMap<String, Arc<Entry<T>>>;

/// The state that the task writes and others read.
#[derive(Debug)]
pub(crate) struct Map<T> {
    pub(crate) entries: Entries<T>,
    pub(crate) as_of: Option<AsOf>,
    /// Whether entries were left out because the map is full.
    pub(crate) full: bool,
}
