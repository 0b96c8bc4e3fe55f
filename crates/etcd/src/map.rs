//! What a map that follows a prefix consists of.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::Entry;

/// What a map may hold.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Most keys.
    pub entries: usize,
    /// Most bytes of a value.
    pub value: usize,
}

/// When a map was what etcd has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AsOf {
    /// The newest time at which it was known to be so.
    pub time: Timestamp,
    /// Whether it may have changed since, because etcd does not answer.
    pub stale: bool,
}

/// The keys without what they begin with, and their values.
pub(crate) type Entries<T> = BTreeMap<String, Arc<Entry<T>>>;

/// What the task writes and others read.
#[derive(Debug)]
pub(crate) struct Map<T> {
    pub(crate) entries: Entries<T>,
    pub(crate) as_of: Option<AsOf>,
    /// Whether something was left out for want of room.
    pub(crate) full: bool,
}
