//! The store that the hosts of a serialproxy share: etcd.
//!
//! [`Etcd`] reads and changes JSON values below one prefix, [`Lease`] ties keys to the life of
//! their owner, and [`Watched`] is a map that follows a prefix. Every call ends in less than 2 s.
//! Data from etcd is limited in size, and values that do not parse are left out.

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

/// The keys of an etcd below one prefix. Clones share the connection.
#[derive(Clone, Debug)]
pub struct Etcd {
    link: Arc<Link>,
}

impl Etcd {
    /// The etcd of these settings. The first call connects to it, and later ones reconnect after a
    /// failure.
    ///
    /// # Errors
    ///
    /// When the settings are contradictory, or outside of a runtime: the connection's tasks run in
    /// the runtime from which this is called.
    pub fn new(settings: Settings) -> Result<Self, EtcdError> {
        Ok(Self { link: Arc::new(Link::new(settings)?) })
    }

    /// The full key in etcd.
    fn full(&self, key: &str) -> Vec<u8> {
        format!("{}{key}", self.link.prefix()).into_bytes()
    }
}
