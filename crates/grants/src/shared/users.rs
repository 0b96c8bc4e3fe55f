//! Local users in etcd.

use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;
use serialproxy_etcd::Entry;
use serialproxy_etcd::Transaction;
use serialproxy_proto::identity::Identity;
use serialproxy_proto::identity::Role;
use serialproxy_proto::token::TokenDigest;

use crate::ApiToken;
use crate::GrantsError;
use crate::User;
use crate::shared::LISTED;
use crate::shared::Shared;
use crate::shared::api_tokens::key;
use crate::shared::api_tokens::logins;
use crate::users::LOGINS;

/// The stored form of a user, by name.
#[derive(Deserialize, Serialize)]
struct Record {
    id: String,
    project: String,
    role: Role,
    created: Timestamp,
    hash: String,
}

impl Shared {
    pub(crate) async fn add_user(&self, user: User, hash: String) -> Result<bool, GrantsError> {
        let User { identity: Identity { user: name, user_id: id, project, role }, created } = user;
        let (by_name, by_id) = (by_name(&name), by_id(&id));
        let transaction = self.etcd.transaction().absent(&by_name).absent(&by_id);
        let transaction = transaction.put(&by_id, &name, None);
        let record = Record { id, project, role, created, hash };
        Ok(transaction.put(&by_name, &record, None).commit().await?.is_some())
    }

    pub(crate) async fn user(
        &self,
        name_or_id: &str,
    ) -> Result<Option<(User, String)>, GrantsError> {
        // If the text is one user's name and another's id, the name takes precedence.
        if let Some(found) = self.etcd.get::<Record>(&by_name(name_or_id)).await? {
            return Ok(Some(found.of(name_or_id.to_owned())));
        }
        let found = self.by_id(name_or_id).await?;
        Ok(found.map(|(name, entry)| entry.value.of(name)))
    }

    pub(crate) async fn users(&self) -> Result<Vec<User>, GrantsError> {
        let users = self.etcd.list::<Record>("users/", LISTED).await?;
        Ok(users.into_iter().map(|(name, record)| record.of(name).0).collect())
    }

    pub(crate) async fn remove_user(&self, name: &str) -> Result<bool, GrantsError> {
        let remove = |transaction: Transaction, record: Record| {
            transaction.delete(&by_name(name)).delete(&by_id(&record.id))
        };
        self.change(name, remove).await
    }

    pub(crate) async fn set_password(&self, name: &str, hash: String) -> Result<bool, GrantsError> {
        let set = |transaction: Transaction, record: Record| {
            transaction.put(&by_name(name), &Record { hash, ..record }, None)
        };
        self.change(name, set).await
    }

    /// Changes a user and ends their logins; false when no user has that name.
    async fn change(
        &self,
        name: &str,
        change: impl FnOnce(Transaction, Record) -> Transaction,
    ) -> Result<bool, GrantsError> {
        let by_name = by_name(name);
        let Some(found) = self.etcd.entry::<Record>(&by_name).await? else { return Ok(false) };
        let transaction = self.etcd.transaction().unchanged(&by_name, found.changed);
        let transaction = transaction.delete_all(&logins(&found.value.id));
        match change(transaction, found.value).commit().await? {
            Some(_) => Ok(true),
            None => Err(GrantsError("the user was changed at the same time, try again".into())),
        }
    }

    pub(crate) async fn log_in(
        &self,
        digest: TokenDigest,
        user_id: &str,
        hash: String,
        [created, expires]: [Timestamp; 2],
    ) -> Result<bool, GrantsError> {
        let Some((name, found)) = self.by_id(user_id).await? else { return Ok(false) };
        if found.value.hash != hash {
            return Ok(false);
        }
        let (unchanged, since) = (by_name(&name), found.changed);
        let identity = found.value.of(name).0.identity;
        let token =
            ApiToken { name: None, identity, created, expires: Some(expires), sealed: None };
        let condition = |transaction: Transaction| transaction.unchanged(&unchanged, since);
        let added = self.add(digest, token, condition).await?;
        self.end_oldest_logins(user_id).await?;
        Ok(added)
    }

    pub(crate) async fn end_oldest_logins(&self, user_id: &str) -> Result<(), GrantsError> {
        let (logins, most) = (logins(user_id), usize::try_from(LOGINS).unwrap_or(usize::MAX));
        let count = self.etcd.count(&logins).await?;
        if count <= most {
            return Ok(());
        }
        let mut all = self.etcd.list::<Timestamp>(&logins, LISTED).await?;
        all.sort_by_key(|(_, created)| *created);
        let oldest = all.iter().take(all.len().saturating_sub(most));
        let pairs: Vec<_> =
            oldest.map(|(digest, _)| (key(digest), format!("{logins}{digest}"))).collect();
        self.delete_pairs(&pairs).await
    }

    /// The name and record of the user with that id.
    async fn by_id(&self, id: &str) -> Result<Option<(String, Entry<Record>)>, GrantsError> {
        let Some(name) = self.etcd.get::<String>(&by_id(id)).await? else { return Ok(None) };
        let found = self.etcd.entry::<Record>(&by_name(&name)).await?;
        // Another user may have taken the name meanwhile.
        Ok(found.filter(|found| found.value.id == id).map(|found| (name, found)))
    }
}

fn by_name(name: &str) -> String {
    format!("users/{name}")
}

fn by_id(id: &str) -> String {
    format!("userids/{id}")
}

impl Record {
    /// The user of that name, and the hash of their password.
    fn of(self, user: String) -> (User, String) {
        let Self { id, project, role, created, hash } = self;
        (User { identity: Identity { user, user_id: id, project, role }, created }, hash)
    }
}
