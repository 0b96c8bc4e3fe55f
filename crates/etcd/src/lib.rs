//! The shared store of a serialproxy on many hosts: etcd.
//!
//! [`Etcd`] reads and changes JSON values below one prefix, [`Lease`] ties keys to the life of their
//! owner, and [`Watched`] is a map that follows a prefix. Every call ends in less than 2 s. What comes
//! from etcd is bounded, and what does not parse is left out.

mod boottime;
mod error;
mod follow;
mod keys;
mod lease;
mod link;
mod map;
mod nodes;
mod range;
mod settings;
mod transaction;
mod values;
mod watched;

use std::sync::Arc;

pub use crate::boottime::Instant;
pub use crate::error::EtcdError;
pub use crate::lease::Lease;
pub use crate::lease::LeaseId;
use crate::link::Link;
pub use crate::map::AsOf;
pub use crate::map::Bounds;
pub use crate::nodes::Health;
pub use crate::nodes::Node;
pub use crate::settings::Settings;
pub use crate::settings::Tls;
pub use crate::transaction::Transaction;
pub use crate::values::Entry;
pub use crate::values::Revision;
pub use crate::watched::Watched;

/// The keys of an etcd below one prefix. Its clones share the connection.
#[derive(Clone, Debug)]
pub struct Etcd {
    link: Arc<Link>,
}

impl Etcd {
    /// The etcd of these settings. It is connected at the first call, and again whenever that breaks.
    ///
    /// # Errors
    ///
    /// When the settings contradict each other, or outside of a runtime: the connection's tasks run in
    /// the one from which this is called.
    pub fn new(settings: Settings) -> Result<Self, EtcdError> {
        Ok(Self { link: Arc::new(Link::new(settings)?) })
    }

    /// Where a key is in etcd.
    fn full(&self, key: &str) -> Vec<u8> {
        format!("{}{key}", self.link.prefix()).into_bytes()
    }
}
