//! Console tokens: only their digests are stored, each with its grant.

use jiff::Timestamp;
use serialproxy_metrics as metrics;
use serialproxy_metrics::Operation;
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
