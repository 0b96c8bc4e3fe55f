//! Who may do what: console tokens, API tokens and local users.
//!
//! Every call takes and gives plain data, and is async. Behind them is the SQLite file of this host, or
//! the etcd that many hosts share.

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
pub use crate::users::User;

/// How long a call takes at most where the grants are shared, however often it asks etcd.
const DEADLINE: Duration = Duration::from_millis(1900);

/// All grants. Its clones share them.
#[derive(Clone, Debug)]
pub struct Grants(Kept);

/// Where they are.
#[derive(Clone, Debug)]
enum Kept {
    File(File),
    Shared(Shared),
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

impl From<EtcdError> for GrantsError {
    fn from(error: EtcdError) -> Self {
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
        Ok(Self(Kept::File(File::open(path)?)))
    }

    /// The grants that many hosts share in etcd. A call that etcd does not answer fails in less than
    /// 2 s.
    pub fn on(etcd: Etcd) -> Self {
        Self(Kept::Shared(Shared::new(etcd)))
    }

    /// How often console tokens were revoked so far. While this is what it was before a token was
    /// looked up, the token is as good as it was then, but for its expiry. None where other processes
    /// may revoke tokens: there only another look-up tells.
    pub fn revocations(&self) -> Option<u64> {
        match &self.0 {
            Kept::File(file) => Some(file.revocations()),
            Kept::Shared(_) => None,
        }
    }
}

/// Asks wherever the grants are.
macro_rules! ask {
    ($self:ident.$call:ident($($argument:expr),*)) => {
        match &$self.0 {
            Kept::File(file) => file.$call($($argument),*).await,
            Kept::Shared(shared) => timely(shared.$call($($argument),*)).await,
        }
    };
}
use ask;

/// What etcd answers, unless that takes too long.
async fn timely<T>(answer: impl Future<Output = Result<T, GrantsError>>) -> Result<T, GrantsError> {
    let answer = tokio::time::timeout(DEADLINE, Box::pin(answer)).await;
    answer.unwrap_or_else(|_| Err(EtcdError::Away("no answer in time".into()).into()))
}
