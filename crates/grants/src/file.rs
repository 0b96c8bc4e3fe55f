//! The grants of one machine, in an SQLite file that is used on a blocking thread.

mod api_tokens;
mod tokens;
mod users;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use rusqlite::Connection;
use serialproxy_store::Store;
use serialproxy_store::StoreError;

use crate::GrantsError;

/// The file.
#[derive(Clone, Debug)]
pub(crate) struct File {
    store: Arc<Store>,
    /// How many times console tokens were revoked.
    revocations: Arc<AtomicU64>,
}

impl File {
    pub(crate) fn open(path: &Path) -> Result<Self, GrantsError> {
        Ok(Self { store: Arc::new(Store::open(path)?), revocations: Arc::default() })
    }

    pub(crate) fn revocations(&self) -> u64 {
        self.revocations.load(Ordering::SeqCst)
    }

    /// Runs a call on the file. It runs to its end even when its caller is dropped.
    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, GrantsError> {
        let store = Arc::clone(&self.store);
        let work = move || work(&mut store.connection()).map_err(StoreError::from);
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(GrantsError("the store's thread ended early".into())),
        }
    }

    /// The same for a call that revokes console tokens. The revocation is counted before the call
    /// returns.
    async fn revoke_by<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, GrantsError> {
        let revocations = Arc::clone(&self.revocations);
        let counted = move |connection: &mut Connection| {
            let done = work(connection);
            revocations.fetch_add(1, Ordering::SeqCst);
            done
        };
        self.ask(counted).await
    }
}
