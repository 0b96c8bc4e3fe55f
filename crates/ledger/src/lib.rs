//! Durable facts of one host: the lines' TCP ports, the changes of adoptions, and the sessions that
//! may resume after a restart.
//!
//! They stay in a file of the host, even if hosts share all other data. Calls block for tens of
//! microseconds (a commit that must survive a power cut: some hundred).

mod adoptions;
mod leases;
mod sessions;

use std::path::Path;
use std::sync::MutexGuard;

use rusqlite::Connection;
use serialproxy_store::Store;

pub use crate::adoptions::Adoption;
pub use crate::leases::PortLease;
pub use serialproxy_store::StoreError as LedgerError;

/// The ledger of this host.
#[derive(Debug)]
pub struct Ledger {
    store: Store,
}

impl Ledger {
    /// Opens the ledger in that file, and creates the file where it is missing.
    ///
    /// # Errors
    ///
    /// When the file cannot be used or belongs to a newer version.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        Ok(Self { store: Store::open(path)? })
    }

    /// Whether the file could be opened, without writing anything ([`Store::examine`]).
    ///
    /// # Errors
    ///
    /// When the file is damaged, is no database, cannot be read, or belongs to a newer version.
    pub fn examine(path: &Path) -> Result<(), LedgerError> {
        Store::examine(path)
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.store.connection()
    }
}
