//! JSON values by key.

use std::sync::Arc;

use etcd_client::Client;
use etcd_client::Compare;
use etcd_client::CompareOp;
use etcd_client::DeleteOptions;
use etcd_client::KeyValue;
use etcd_client::PutOptions;
use etcd_client::Txn;
use etcd_client::TxnOp;
use etcd_client::TxnOpResponse;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Etcd;
use crate::EtcdError;
use crate::LeaseId;
use crate::error::brief;
use crate::link::Nature;

/// Largest value in bytes.
pub(crate) const VALUE: usize = 256 * 1024;

/// The number of a change in etcd: later changes have greater numbers.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Revision(pub i64);

/// A value with its revisions.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry<T> {
    /// The value.
    pub value: T,
    /// When its key was created. Of two successive owners of a key, the later one has the greater
    /// number, which can serve as a fencing token.
    pub created: Revision,
    /// When it was last changed.
    pub changed: Revision,
    /// The lease of the key, if it has one: the key is removed when the lease ends.
    pub lease: Option<LeaseId>,
}

impl Etcd {
    /// The value of a key, if it has one.
    ///
    /// # Errors
    ///
    /// When etcd is away or refuses, or the value does not parse.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, EtcdError> {
        Ok(self.entry(key).await?.map(|entry| entry.value))
    }

    /// The value of a key with its revisions.
    ///
    /// # Errors
    ///
    /// As [`Etcd::get`].
    pub async fn entry<T: DeserializeOwned>(
        &self,
        key: &str,
    ) -> Result<Option<Entry<T>>, EtcdError> {
        let key = self.full(key);
        let get = |client: Arc<Client>| {
            let key = key.clone();
            async move { client.kv_client().get(key, None).await }
        };
        let answer = self.link.call(Nature::Repeatable, get).await?;
        answer.kvs().first().map(entry).transpose()
    }

    /// The value of a key, unless `other` has a value: one call looks both up at the same time.
    ///
    /// # Errors
    ///
    /// As [`Etcd::get`].
    pub async fn get_unless<T: DeserializeOwned>(
        &self,
        key: &str,
        other: &str,
    ) -> Result<Option<T>, EtcdError> {
        let (key, other) = (self.full(key), self.full(other));
        let get = |client: Arc<Client>| {
            let absent = Compare::version(other.clone(), CompareOp::Equal, 0);
            let get = TxnOp::get(key.clone(), None);
            let transaction = Txn::new().when([absent]).and_then([get]);
            async move { client.kv_client().txn(transaction).await }
        };
        let answer = self.link.call(Nature::Repeatable, get).await?;
        let found = answer.op_responses().into_iter().find_map(|answer| match answer {
            TxnOpResponse::Get(answer) => answer.kvs().first().map(entry),
            _ => None,
        });
        Ok(found.transpose()?.map(|entry| entry.value))
    }

    /// Sets the value of a key, whatever it was; with a lease, the key is removed when the lease
    /// ends.
    ///
    /// # Errors
    ///
    /// When etcd is away or refuses, the lease has ended, or the value is too large.
    pub async fn put<T: Serialize>(
        &self,
        key: &str,
        value: &T,
        lease: Option<LeaseId>,
    ) -> Result<(), EtcdError> {
        let (key, value) = (self.full(key), json(value)?);
        let put = |client: Arc<Client>| {
            let (key, value) = (key.clone(), value.clone());
            let options = PutOptions::new().with_lease(lease.map_or(0, |lease| lease.0));
            async move { client.kv_client().put(key, value, Some(options)).await }
        };
        self.link.call(Nature::Once, put).await.map(drop)
    }

    /// Sets the value of a key that has none; false where it has one.
    ///
    /// # Errors
    ///
    /// As [`Etcd::put`].
    pub async fn create<T: Serialize>(
        &self,
        key: &str,
        value: &T,
        lease: Option<LeaseId>,
    ) -> Result<bool, EtcdError> {
        let created = self.transaction().absent(key).put(key, value, lease).commit().await?;
        Ok(created.is_some())
    }

    /// Removes a key; false when it was gone already. Of several callers that remove it, one gets
    /// true.
    ///
    /// # Errors
    ///
    /// When etcd is away or refuses.
    pub async fn delete(&self, key: &str) -> Result<bool, EtcdError> {
        Ok(self.remove(key).await?.is_some())
    }

    /// Removes a key and returns its value. Of several callers, one gets it.
    ///
    /// # Errors
    ///
    /// As [`Etcd::get`].
    pub async fn take<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, EtcdError> {
        let removed = self.remove(key).await?;
        Ok(removed.as_ref().map(entry).transpose()?.map(|entry| entry.value))
    }

    async fn remove(&self, key: &str) -> Result<Option<KeyValue>, EtcdError> {
        let key = self.full(key);
        let remove = |client: Arc<Client>| {
            let key = key.clone();
            let options = DeleteOptions::new().with_prev_key();
            async move { client.kv_client().delete(key, Some(options)).await }
        };
        let mut answer = self.link.call(Nature::Once, remove).await?;
        Ok(answer.take_prev_kvs().pop())
    }
}

/// The stored form of a value.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, EtcdError> {
    let text =
        serde_json::to_vec(value).map_err(|error| EtcdError::Value(brief(&error.to_string())))?;
    match text.len() {
        0..=VALUE => Ok(text),
        bytes => Err(EtcdError::Value(format!("{bytes} bytes, of at most {VALUE}"))),
    }
}

/// The value and revisions of a found key.
pub(crate) fn entry<T: DeserializeOwned>(found: &KeyValue) -> Result<Entry<T>, EtcdError> {
    // The parser's error text could repeat the value.
    let value = serde_json::from_slice(found.value()).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        EtcdError::Value(format!("it is not understood at line {line}, column {column}"))
    })?;
    Ok(entry_of(found, value))
}

/// The revisions of a found key, with its parsed value.
pub(crate) fn entry_of<T>(found: &KeyValue, value: T) -> Entry<T> {
    let (created, changed) = (found.create_revision(), found.mod_revision());
    let lease = Some(LeaseId(found.lease())).filter(|lease| lease.0 != 0);
    Entry { value, created: Revision(created), changed: Revision(changed), lease }
}
