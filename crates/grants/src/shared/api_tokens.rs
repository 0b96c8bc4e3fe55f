//! API tokens in etcd.

use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;
use serialproxy_etcd::LeaseId;
use serialproxy_etcd::Transaction;
use serialproxy_proto::identity::Identity;
use serialproxy_proto::identity::Role;
use serialproxy_proto::token::TokenDigest;

use crate::ApiToken;
use crate::GrantsError;
use crate::shared::LISTED;
use crate::shared::Shared;
use crate::shared::hex;

/// The stored form of an API token.
#[derive(Deserialize, Serialize)]
pub(crate) struct Record {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    user: String,
    user_id: String,
    project: String,
    role: Role,
    created: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed: Option<String>,
}

/// The stored form of a token's name.
#[derive(Deserialize, Serialize)]
struct Named {
    /// The digest in the token's key.
    digest: String,
    #[serde(flatten)]
    token: Record,
}

impl Shared {
    pub(crate) async fn add_api_token(
        &self,
        digest: TokenDigest,
        token: ApiToken,
    ) -> Result<bool, GrantsError> {
        let login = token.name.is_none().then(|| token.identity.user_id.clone());
        let added = self.add(digest, token, |transaction| transaction).await?;
        if let Some(user_id) = login {
            self.end_oldest_logins(&user_id).await?;
        }
        Ok(added)
    }

    /// Adds a token under further conditions; false where one of them fails, or the name is taken.
    pub(crate) async fn add(
        &self,
        digest: TokenDigest,
        token: ApiToken,
        condition: impl Fn(Transaction) -> Transaction,
    ) -> Result<bool, GrantsError> {
        let (expires, digest) = (token.expires, hex(digest));
        let named = Named { digest: digest.clone(), token: token.into() };
        let (key, beside) = (key(&digest), named.token.beside(&digest));
        let put = async |lease: Option<LeaseId>| {
            let transaction = condition(self.etcd.transaction()).absent(&key).absent(&beside);
            let transaction = transaction.put(&key, &named.token, lease);
            let transaction = match named.token.name {
                Some(_) => transaction.put(&beside, &named, lease),
                None => transaction.put(&beside, &named.token.created, lease),
            };
            transaction.commit().await
        };
        let added = match expires {
            Some(expires) => {
                self.leases.with(expires, async |lease| put(Some(lease)).await).await?
            }
            None => put(None).await?,
        };
        Ok(added.is_some())
    }

    pub(crate) async fn api_token(
        &self,
        digest: TokenDigest,
        now: Timestamp,
    ) -> Result<Option<ApiToken>, GrantsError> {
        let digest = hex(digest);
        let Some(found) = self.etcd.get::<Record>(&key(&digest)).await? else { return Ok(None) };
        let is_over = found.expires.is_some_and(|expires| expires <= now);
        // A change of the password removes the keys of all logins at once, but not their tokens. A
        // token of a login is valid only while both are there.
        if is_over || found.name.is_none() && self.etcd.count(&found.beside(&digest)).await? == 0 {
            return Ok(None);
        }
        Ok(Some(found.into()))
    }

    pub(crate) async fn named_api_tokens(&self) -> Result<Vec<ApiToken>, GrantsError> {
        let named = self.etcd.list::<Named>("tokennames/", LISTED).await?;
        Ok(named.into_iter().map(|(_, named)| named.token.into()).collect())
    }

    pub(crate) async fn revoke_named_api_token(&self, name: &str) -> Result<bool, GrantsError> {
        let by_name = format!("tokennames/{name}");
        let Some(named) = self.etcd.entry::<Named>(&by_name).await? else { return Ok(false) };
        let transaction = self.etcd.transaction().unchanged(&by_name, named.changed);
        let revoked =
            transaction.delete(&by_name).delete(&key(&named.value.digest)).commit().await?;
        Ok(revoked.is_some())
    }

    pub(crate) async fn revoke_api_token(&self, digest: TokenDigest) -> Result<bool, GrantsError> {
        let digest = hex(digest);
        let key = key(&digest);
        let Some(found) = self.etcd.get::<Record>(&key).await? else { return Ok(false) };
        let beside = found.beside(&digest);
        let transaction = self.etcd.transaction().present(&key).present(&beside);
        Ok(transaction.delete(&key).delete(&beside).commit().await?.is_some())
    }

    pub(crate) async fn end_logins(&self, user_id: &str) -> Result<(), GrantsError> {
        self.etcd.transaction().delete_all(&logins(user_id)).commit().await?;
        Ok(())
    }
}

pub(crate) fn key(digest: &str) -> String {
    format!("apitokens/{digest}")
}

impl Record {
    /// The partner key, which exists while the token is valid.
    fn beside(&self, digest: &str) -> String {
        match &self.name {
            Some(name) => format!("tokennames/{name}"),
            None => format!("{}{digest}", logins(&self.user_id)),
        }
    }
}

/// The prefix of the keys of a user's logins.
pub(crate) fn logins(user_id: &str) -> String {
    format!("logins/{user_id}/")
}

impl From<ApiToken> for Record {
    fn from(token: ApiToken) -> Self {
        let ApiToken { name, identity, created, expires, sealed } = token;
        let Identity { user, user_id, project, role } = identity;
        Self { name, user, user_id, project, role, created, expires, sealed }
    }
}

impl From<Record> for ApiToken {
    fn from(record: Record) -> Self {
        let Record { name, user, user_id, project, role, created, expires, sealed } = record;
        let identity = Identity { user, user_id, project, role };
        Self { name, identity, created, expires, sealed }
    }
}
