//! Who may do what: console tokens, API tokens and local users.
//!
//! Every call takes and gives plain data, and is async. Behind them is the SQLite file of this host,
//! which is asked on a blocking thread.

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

pub use crate::api_tokens::ApiToken;
pub use crate::users::User;

/// All grants. Its clones share them.
#[derive(Clone, Debug)]
pub struct Grants {
    store: Arc<Store>,
    /// How often console tokens were revoked.
    revocations: Arc<AtomicU64>,
}

/// Why the grants cannot be read or changed now. The text holds neither path nor token.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct GrantsError(String);

impl From<StoreError> for GrantsError {
    fn from(error: StoreError) -> Self {
        Self(error.to_string())
    }
}

impl Grants {
    /// Opens the grants in that file, making it where it is missing.
    ///
    /// # Errors
    ///
    /// When the file can't be used or belongs to a newer version.
    pub fn open(path: &Path) -> Result<Self, GrantsError> {
        Ok(Self { store: Arc::new(Store::open(path)?), revocations: Arc::default() })
    }

    /// How often console tokens were revoked so far. While this is what it was before a token was
    /// looked up, the token is as good as it was then, but for its expiry.
    pub fn revocations(&self) -> u64 {
        self.revocations.load(Ordering::SeqCst)
    }

    /// Asks the file on a blocking thread. What was begun is done, also when nobody waits for it.
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

    /// The same for what ends console tokens. It is counted by the time that it is done.
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

#[cfg(test)]
fn grants() -> (tempfile::TempDir, Grants) {
    let directory = tempfile::tempdir().unwrap();
    let grants = Grants::open(&directory.path().join("store.sqlite")).unwrap();
    (directory, grants)
}
