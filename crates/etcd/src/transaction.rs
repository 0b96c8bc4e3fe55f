//! Several changes at once, under conditions.

use std::sync::Arc;

use etcd_client::Client;
use etcd_client::Compare;
use etcd_client::CompareOp;
use etcd_client::DeleteOptions;
use etcd_client::PutOptions;
use etcd_client::Txn;
use etcd_client::TxnOp;
use serde::Serialize;

use crate::Etcd;
use crate::EtcdError;
use crate::LeaseId;
use crate::Revision;
use crate::link::Nature;
use crate::values::json;

/// Changes that are made all or not at all. etcd allows 128 conditions, and as many changes.
#[derive(Debug)]
#[must_use = "nothing happens before `commit`"]
pub struct Transaction {
    etcd: Etcd,
    conditions: Vec<Compare>,
    changes: Vec<TxnOp>,
    wrong: Option<EtcdError>,
}

impl Etcd {
    /// Begins a transaction.
    pub fn transaction(&self) -> Transaction {
        let (conditions, changes) = (Vec::new(), Vec::new());
        Transaction { etcd: self.clone(), conditions, changes, wrong: None }
    }
}

impl Transaction {
    /// Requires that this key has no value.
    pub fn absent(mut self, key: &str) -> Self {
        self.conditions.push(Compare::version(self.etcd.full(key), CompareOp::Equal, 0));
        self
    }

    /// Requires that this key has a value.
    pub fn present(mut self, key: &str) -> Self {
        self.conditions.push(Compare::version(self.etcd.full(key), CompareOp::Greater, 0));
        self
    }

    /// Requires that this key's last change is `since`.
    pub fn unchanged(mut self, key: &str, since: Revision) -> Self {
        let key = self.etcd.full(key);
        self.conditions.push(Compare::mod_revision(key, CompareOp::Equal, since.0));
        self
    }

    /// Sets the value of a key; with a lease, the key is removed when the lease ends.
    pub fn put<T: Serialize>(mut self, key: &str, value: &T, lease: Option<LeaseId>) -> Self {
        match json(value) {
            Ok(value) => {
                let options = PutOptions::new().with_lease(lease.map_or(0, |lease| lease.0));
                self.changes.push(TxnOp::put(self.etcd.full(key), value, Some(options)));
            }
            Err(error) => self.wrong = Some(error),
        }
        self
    }

    /// Removes a key.
    pub fn delete(mut self, key: &str) -> Self {
        self.changes.push(TxnOp::delete(self.etcd.full(key), None));
        self
    }

    /// Removes all keys with this prefix.
    pub fn delete_all(mut self, prefix: &str) -> Self {
        let options = DeleteOptions::new().with_prefix();
        self.changes.push(TxnOp::delete(self.etcd.full(prefix), Some(options)));
        self
    }

    /// Makes the changes; none where a condition is not met.
    ///
    /// # Errors
    ///
    /// When etcd is away (then the changes may have been made) or refuses, when a lease has ended,
    /// or when a value is too large.
    pub async fn commit(self) -> Result<Option<Revision>, EtcdError> {
        if let Some(error) = self.wrong {
            return Err(error);
        }
        let transaction = Txn::new().when(self.conditions).and_then(self.changes);
        let commit = |client: Arc<Client>| {
            let transaction = transaction.clone();
            async move { client.kv_client().txn(transaction).await }
        };
        let answer = self.etcd.link.call(Nature::Once, commit).await?;
        let revision = answer.header().map_or(0, |header| header.revision());
        Ok(answer.succeeded().then_some(Revision(revision)))
    }
}
