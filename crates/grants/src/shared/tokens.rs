//! Console tokens in etcd.

use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::LinkId;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::token::Grant;
use serialproxy_proto::token::Mode;
use serialproxy_proto::token::SharedLink;
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    link: Option<SharedLink>,
}

/// The stored form of a link.
#[derive(Deserialize, Serialize)]
struct LinkRecord {
    /// The digest in the token's key.
    digest: String,
    #[serde(flatten)]
    grant: Record,
}

impl Shared {
    pub(crate) async fn keep(&self, digest: TokenDigest, grant: Grant) -> Result<(), GrantsError> {
        let (token, of_server) = keys(digest, grant.line.server);
        let expires = grant.expires;
        let shared = LinkRecord { digest: hex(digest), grant: grant.into() };
        let by_link = shared.grant.link_key();
        let put = async |lease| {
            let transaction = self.etcd.transaction().put(&token, &shared.grant, Some(lease));
            let transaction = transaction.put(&of_server, &(), Some(lease));
            match &by_link {
                Some(key) => transaction.put(key, &shared, Some(lease)),
                None => transaction,
            }
            .commit()
            .await
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
        let transaction = transaction.delete(&token).delete(&of_server);
        let transaction = match grant.link_key() {
            Some(key) => transaction.delete(&key),
            None => transaction,
        };
        Ok(transaction.commit().await?.is_some())
    }

    pub(crate) async fn links(
        &self,
        line: LineKey,
        now: Timestamp,
    ) -> Result<Vec<Grant>, GrantsError> {
        let links = self.etcd.list::<LinkRecord>(&links_of(line), LISTED).await?;
        let links = links.into_iter().map(|(_, link)| Grant::from(link.grant));
        Ok(links.filter(|grant| grant.expires > now).collect())
    }

    pub(crate) async fn revoke_link(
        &self,
        line: LineKey,
        link: LinkId,
    ) -> Result<bool, GrantsError> {
        let key = format!("{}{link}", links_of(line));
        let Some(found) = self.etcd.get::<LinkRecord>(&key).await? else { return Ok(false) };
        let transaction = self.etcd.transaction().present(&key).delete(&key);
        let of_server = format!("granted/{}/{}", line.server, found.digest);
        let transaction = transaction.delete(&format!("grants/{}", found.digest));
        Ok(transaction.delete(&of_server).commit().await?.is_some())
    }

    pub(crate) async fn revoke_links_of(&self, maker: &str) -> Result<usize, GrantsError> {
        let links = self.etcd.list::<LinkRecord>("links/", LISTED).await?;
        let mut revoked = 0;
        for (_, LinkRecord { grant, .. }) in links {
            let grant = Grant::from(grant);
            if let Some(link) = &grant.link
                && link.maker == maker
            {
                revoked += usize::from(self.revoke_link(grant.line, link.id).await?);
            }
        }
        Ok(revoked)
    }

    pub(crate) async fn revoke_tokens_of(&self, server: ServerId) -> Result<usize, GrantsError> {
        let all = format!("granted/{server}/");
        let digests = self.etcd.list::<()>(&all, LISTED).await?;
        let pairs: Vec<_> = digests
            .iter()
            .map(|(digest, ())| (format!("grants/{digest}"), format!("{all}{digest}")))
            .collect();
        self.delete_pairs(&pairs).await?;
        self.etcd.transaction().delete_all(&format!("links/{server}/")).commit().await?;
        Ok(pairs.len())
    }

    pub(crate) async fn purge_expired_tokens(&self, _: Timestamp) -> Result<usize, GrantsError> {
        Ok(0)
    }
}

impl From<Grant> for Record {
    fn from(grant: Grant) -> Self {
        let Grant { line, project, user, mode, operator, wait, expires, host, link } = grant;
        let LineKey { server, port } = line;
        Self { server, port, project, user, mode, operator, wait, expires, host, link }
    }
}

impl From<Record> for Grant {
    fn from(record: Record) -> Self {
        let Record { server, port, project, user, mode, operator, wait, expires, host, link } =
            record;
        let line = LineKey { server, port };
        Self { line, project, user, mode, operator, wait, expires, host, link }
    }
}

impl Record {
    /// The key of the link whose token it is, if any.
    fn link_key(&self) -> Option<String> {
        let line = LineKey { server: self.server, port: self.port };
        self.link.as_ref().map(|link| format!("{}{}", links_of(line), link.id))
    }
}

/// The prefix of the keys of a line's links.
fn links_of(line: LineKey) -> String {
    format!("links/{line}/")
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
