//! The grants: console tokens, API tokens and local users.
//!
//! Every call takes and returns plain data, and is async. The grants are stored in the SQLite file
//! of this host, or in the etcd that many hosts share.

mod api_tokens;
mod file;
mod shared;
mod tokens;
mod users;

use std::path::Path;
use std::time::Duration;

use serialproxy_etcd::Etcd;
use serialproxy_etcd::EtcdError;
use serialproxy_store::StoreError;

pub use crate::api_tokens::ApiToken;
use crate::file::File;
use crate::shared::Shared;
pub use crate::tokens::LINKS;
pub use crate::tokens::OWN_LINKS;
pub use crate::users::User;

/// How long a call on shared grants may take, whatever number of requests to etcd it needs.
const DEADLINE: Duration = Duration::from_millis(1900);

/// All grants. Clones share them.
#[derive(Clone, Debug)]
pub struct Grants(Kept);

/// The place where they are stored.
#[derive(Clone, Debug)]
enum Kept {
    File(File),
    Shared(Shared),
}

/// Why the grants cannot be read or changed now. The text contains neither a path nor a token.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct GrantsError(String);

impl From<StoreError> for GrantsError {
    fn from(error: StoreError) -> Self {
        Self(error.to_string())
    }
}

impl From<EtcdError> for GrantsError {
    fn from(error: EtcdError) -> Self {
        Self(error.to_string())
    }
}

impl Grants {
    /// Opens the grants in that file, and creates the file where it is missing.
    ///
    /// # Errors
    ///
    /// When the file cannot be used or belongs to a newer version.
    pub fn open(path: &Path) -> Result<Self, GrantsError> {
        Ok(Self(Kept::File(File::open(path)?)))
    }

    /// The grants that many hosts share in etcd. A call fails in less than 2 s when etcd does not
    /// respond.
    pub fn on(etcd: Etcd) -> Self {
        Self(Kept::Shared(Shared::new(etcd)))
    }

    /// How many times console tokens were revoked. While this number does not change, a token that
    /// was looked up stays valid until it expires. None where other processes may revoke tokens:
    /// then only another lookup tells.
    pub fn revocations(&self) -> Option<u64> {
        match &self.0 {
            Kept::File(file) => Some(file.revocations()),
            Kept::Shared(_) => None,
        }
    }
}

/// Runs a call on the file or on etcd.
macro_rules! ask {
    ($self:ident.$call:ident($($argument:expr),*)) => {
        match &$self.0 {
            Kept::File(file) => file.$call($($argument),*).await,
            Kept::Shared(shared) => timely(shared.$call($($argument),*)).await,
        }
    };
}
use ask;

/// The result of a call on etcd; an error if it takes longer than [`DEADLINE`].
async fn timely<T>(answer: impl Future<Output = Result<T, GrantsError>>) -> Result<T, GrantsError> {
    let answer = tokio::time::timeout(DEADLINE, Box::pin(answer)).await;
    answer.unwrap_or_else(|_| Err(EtcdError::Away("no answer in time".into()).into()))
}
