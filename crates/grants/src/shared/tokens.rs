//! Console tokens in etcd.

use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::token::Grant;
use serialproxy_proto::token::Mode;
use serialproxy_proto::token::TokenDigest;

use crate::GrantsError;
use crate::shared::LISTED;
use crate::shared::Shared;
use crate::shared::hex;

/// The stored form of a grant.
#[derive(Deserialize, Serialize)]
struct Record {
    server: ServerId,
    port: u8,
    project: String,
    user: String,
    mode: Mode,
    operator: bool,
    wait: bool,
    expires: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<String>,
}

impl Shared {
    pub(crate) async fn keep(&self, digest: TokenDigest, grant: Grant) -> Result<(), GrantsError> {
        let (token, of_server) = keys(digest, grant.line.server);
        let (expires, record) = (grant.expires, Record::from(grant));
        let put = async |lease| {
            let transaction = self.etcd.transaction().put(&token, &record, Some(lease));
            transaction.put(&of_server, &(), Some(lease)).commit().await
        };
        self.leases.with(expires, put).await?;
        Ok(())
    }

    pub(crate) async fn validate(
        &self,
        digest: TokenDigest,
        now: Timestamp,
    ) -> Result<Option<Grant>, GrantsError> {
        let found = self.etcd.get_unless::<Record>(&token(digest), &spent(digest)).await?;
        Ok(found.map(Grant::from).filter(|grant| grant.expires > now))
    }

    pub(crate) async fn spend(&self, digest: TokenDigest) -> Result<bool, GrantsError> {
        let (token, spent) = (token(digest), spent(digest));
        let Some(grant) = self.etcd.get::<Record>(&token).await? else { return Ok(false) };
        // The lease is this host's own: a key under the token's lease would need the right to write
        // the token.
        let put = async |lease| {
            let transaction = self.etcd.transaction().present(&token).absent(&spent);
            transaction.put(&spent, &(), Some(lease)).commit().await
        };
        Ok(self.leases.with(grant.expires, put).await?.is_some())
    }

    pub(crate) async fn revoke(&self, digest: TokenDigest) -> Result<bool, GrantsError> {
        let found = self.etcd.get::<Record>(&token(digest)).await?;
        let Some(grant) = found else { return Ok(false) };
        let (token, of_server) = keys(digest, grant.server);
        let transaction = self.etcd.transaction().present(&token).absent(&spent(digest));
        let revoked = transaction.delete(&token).delete(&of_server).commit().await?;
        Ok(revoked.is_some())
    }

    pub(crate) async fn revoke_tokens_of(&self, server: ServerId) -> Result<usize, GrantsError> {
        let all = format!("granted/{server}/");
        let digests = self.etcd.list::<()>(&all, LISTED).await?;
        let pairs: Vec<_> = digests
            .iter()
            .map(|(digest, ())| (format!("grants/{digest}"), format!("{all}{digest}")))
            .collect();
        self.delete_pairs(&pairs).await?;
        Ok(pairs.len())
    }

    pub(crate) async fn purge_expired_tokens(&self, _: Timestamp) -> Result<usize, GrantsError> {
        Ok(0)
    }
}

impl From<Grant> for Record {
    fn from(grant: Grant) -> Self {
        let Grant { line, project, user, mode, operator, wait, expires, host } = grant;
        let LineKey { server, port } = line;
        Self { server, port, project, user, mode, operator, wait, expires, host }
    }
}

impl From<Record> for Grant {
    fn from(record: Record) -> Self {
        let Record { server, port, project, user, mode, operator, wait, expires, host } = record;
        Self { line: LineKey { server, port }, project, user, mode, operator, wait, expires, host }
    }
}

fn token(digest: TokenDigest) -> String {
    format!("grants/{}", hex(digest))
}

fn spent(digest: TokenDigest) -> String {
    format!("spent/{}", hex(digest))
}

/// The key of a token, and its key under the prefix of its server.
fn keys(digest: TokenDigest, server: ServerId) -> (String, String) {
    (token(digest), format!("granted/{server}/{}", hex(digest)))
}
