//! Console tokens: only their digests are kept, each with its grant.

use jiff::Timestamp;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::token::ConsoleToken;
use serialproxy_proto::token::Grant;
use serialproxy_proto::token::TokenDigest;

use crate::Grants;
use crate::GrantsError;
use crate::Kept;
use crate::ask;
use crate::timely;

impl Grants {
    /// Makes a token for a grant. It is good as soon as this returns.
    ///
    /// # Errors
    ///
    /// When the grants cannot be changed now.
    pub async fn authorize(&self, grant: Grant) -> Result<ConsoleToken, GrantsError> {
        let token = ConsoleToken::new();
        ask!(self.keep(token.digest(), grant))?;
        Ok(token)
    }

    /// What a token stands for, unless it is unknown or expired.
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

    /// Spends a token that is good for one attach; false when it was spent, revoked or unknown, so
    /// that of many who spend it one wins.
    ///
    /// # Errors
    ///
    /// When the grants cannot be changed now. Whether it is spent is not known then.
    pub async fn spend(&self, digest: TokenDigest) -> Result<bool, GrantsError> {
        ask!(self.spend(digest))
    }

    /// Ends a token; false when it was not there any more.
    ///
    /// # Errors
    ///
    /// When the grants cannot be changed now.
    pub async fn revoke(&self, digest: TokenDigest) -> Result<bool, GrantsError> {
        ask!(self.revoke(digest))
    }

    /// Ends all tokens of a server; returns how many.
    ///
    /// # Errors
    ///
    /// When the grants cannot be changed now.
    pub async fn revoke_tokens_of(&self, server: ServerId) -> Result<usize, GrantsError> {
        ask!(self.revoke_tokens_of(server))
    }

    /// Removes console and API tokens that have expired; returns how many. From etcd they go by
    /// themselves.
    ///
    /// # Errors
    ///
    /// When the grants cannot be changed now.
    pub async fn purge_expired_tokens(&self, now: Timestamp) -> Result<usize, GrantsError> {
        ask!(self.purge_expired_tokens(now))
    }
}
