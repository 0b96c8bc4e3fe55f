//! Console tokens: only their digests are stored, each with its grant.

use std::cmp::Reverse;

use jiff::Timestamp;
use serialproxy_metrics as metrics;
use serialproxy_metrics::Operation;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::LinkId;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::token::ConsoleToken;
use serialproxy_proto::token::Grant;
use serialproxy_proto::token::TokenDigest;
use tokio::sync::Semaphore;

use crate::Grants;
use crate::GrantsError;
use crate::Kept;
use crate::ask;
use crate::timely;

/// Live links of one line.
pub const LINKS: usize = 100;

/// Live links of one line that one user made.
pub const OWN_LINKS: usize = 20;

impl Grants {
    /// Makes a token for a grant. The token is valid as soon as this returns.
    ///
    /// # Errors
    ///
    /// When the grants cannot be changed now.
    pub async fn authorize(&self, grant: Grant) -> Result<ConsoleToken, GrantsError> {
        let token = ConsoleToken::new();
        ask!(self.keep(token.digest(), grant))?;
        metrics::TOKENS.of(Operation::Issued).inc();
        Ok(token)
    }

    /// Makes the token of a shared link, which the grant names; none where its line has [`LINKS`]
    /// live links of its project already, or [`OWN_LINKS`] of the same maker. Calls at the same time in
    /// several processes may exceed this by one for each process.
    ///
    /// # Errors
    ///
    /// When the grants cannot be changed now.
    pub async fn share(
        &self,
        grant: Grant,
        now: Timestamp,
    ) -> Result<Option<ConsoleToken>, GrantsError> {
        static SHARING: Semaphore = Semaphore::const_new(1);
        let _alone = SHARING.acquire().await;
        let mut links = self.links(grant.line, now).await?;
        // Those from before the server changed its project are not valid any more.
        links.retain(|other| other.project == grant.project);
        let is_own = |other: &&Grant| maker(other) == maker(&grant);
        if links.len() >= LINKS || links.iter().filter(is_own).count() >= OWN_LINKS {
            return Ok(None);
        }
        self.authorize(grant).await.map(Some)
    }

    /// The grants of a line's live links, the newest first.
    ///
    /// # Errors
    ///
    /// When the grants cannot be read now.
    pub async fn links(&self, line: LineKey, now: Timestamp) -> Result<Vec<Grant>, GrantsError> {
        let mut links = ask!(self.links(line, now))?;
        links.sort_by_key(|grant| Reverse(grant.link.as_ref().map(|link| link.created)));
        Ok(links)
    }

    /// Revokes a link of a line; false when it was gone already.
    ///
    /// # Errors
    ///
    /// When the grants cannot be changed now.
    pub async fn revoke_link(&self, line: LineKey, link: LinkId) -> Result<bool, GrantsError> {
        let revoked = ask!(self.revoke_link(line, link))?;
        metrics::TOKENS.of(Operation::Revoked).add(u64::from(revoked));
        Ok(revoked)
    }

    /// Revokes all links that the user with this id made; returns how many.
    ///
    /// # Errors
    ///
    /// When the grants cannot be changed now.
    pub async fn revoke_links_of(&self, maker: &str) -> Result<usize, GrantsError> {
        let revoked = ask!(self.revoke_links_of(maker))?;
        metrics::TOKENS.of(Operation::Revoked).add(revoked as u64);
        Ok(revoked)
    }

    /// The grant of a token, unless it is unknown or expired.
    ///
    /// # Errors
    ///
    /// When the grants cannot be read now.
    pub async fn validate(
        &self,
        digest: TokenDigest,
        now: Timestamp,
    ) -> Result<Option<Grant>, GrantsError> {
        ask!(self.validate(digest, now))
    }

    /// Spends a single-use token; false when it was spent, revoked or unknown. Of several callers
    /// that spend the same token, one gets true.
    ///
    /// # Errors
    ///
    /// When the grants cannot be changed now. It is unknown then whether the token is spent.
    pub async fn spend(&self, digest: TokenDigest) -> Result<bool, GrantsError> {
        ask!(self.spend(digest))
    }

    /// Revokes a token; false when it was gone already.
    ///
    /// # Errors
    ///
    /// When the grants cannot be changed now.
    pub async fn revoke(&self, digest: TokenDigest) -> Result<bool, GrantsError> {
        let revoked = ask!(self.revoke(digest))?;
        metrics::TOKENS.of(Operation::Revoked).add(u64::from(revoked));
        Ok(revoked)
    }

    /// Revokes all tokens of a server; returns how many.
    ///
    /// # Errors
    ///
    /// When the grants cannot be changed now.
    pub async fn revoke_tokens_of(&self, server: ServerId) -> Result<usize, GrantsError> {
        let revoked = ask!(self.revoke_tokens_of(server))?;
        metrics::TOKENS.of(Operation::Revoked).add(revoked as u64);
        Ok(revoked)
    }

    /// Removes expired console and API tokens; returns how many. etcd removes them itself.
    ///
    /// # Errors
    ///
    /// When the grants cannot be changed now.
    pub async fn purge_expired_tokens(&self, now: Timestamp) -> Result<usize, GrantsError> {
        ask!(self.purge_expired_tokens(now))
    }
}

/// The id of the user who made a link.
fn maker(grant: &Grant) -> Option<&String> {
    grant.link.as_ref().map(|link| &link.maker)
}
