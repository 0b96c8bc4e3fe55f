//! API tokens: only their digests are stored, each with its user. Tokens with a name are valid
//! until they are revoked; tokens without one belong to logins and expire.

use jiff::Timestamp;
use serialproxy_proto::identity::Identity;
use serialproxy_proto::token::TokenDigest;

use crate::Grants;
use crate::GrantsError;
use crate::Kept;
use crate::ask;
use crate::timely;

/// The record of an API token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ApiToken {
    /// The name by which it is revoked; `None` for the token of a login.
    pub name: Option<String>,
    /// The user that it authenticates.
    pub identity: Identity,
    /// When it was created.
    pub created: Timestamp,
    /// When it expires; `None` is never.
    pub expires: Option<Timestamp>,
    /// Another token, encrypted, that the user logged in with: the login is valid while that is.
    pub sealed: Option<String>,
}

impl Grants {
    /// Stores a token; false when the name is taken. A token without a name ends the oldest logins of
    /// its user if there are too many.
    ///
    /// # Errors
    ///
    /// When the grants cannot be changed now.
    pub async fn add_api_token(
        &self,
        digest: TokenDigest,
        token: ApiToken,
    ) -> Result<bool, GrantsError> {
        ask!(self.add_api_token(digest, token))
    }

    /// The record of a token, unless it is unknown or expired.
    ///
    /// # Errors
    ///
    /// When the grants cannot be read now.
    pub async fn api_token(
        &self,
        digest: TokenDigest,
        now: Timestamp,
    ) -> Result<Option<ApiToken>, GrantsError> {
        ask!(self.api_token(digest, now))
    }

    /// All tokens with a name, ordered by name. Expired ones are among them until they are purged.
    ///
    /// # Errors
    ///
    /// When the grants cannot be read now.
    pub async fn named_api_tokens(&self) -> Result<Vec<ApiToken>, GrantsError> {
        ask!(self.named_api_tokens())
    }

    /// Revokes the token of that name; false when there is none.
    ///
    /// # Errors
    ///
    /// When the grants cannot be changed now.
    pub async fn revoke_named_api_token(&self, name: &str) -> Result<bool, GrantsError> {
        ask!(self.revoke_named_api_token(name))
    }

    /// Revokes a token; false when it was gone already.
    ///
    /// # Errors
    ///
    /// When the grants cannot be changed now.
    pub async fn revoke_api_token(&self, digest: TokenDigest) -> Result<bool, GrantsError> {
        ask!(self.revoke_api_token(digest))
    }

    /// Revokes all tokens without a name of a user.
    ///
    /// # Errors
    ///
    /// When the grants cannot be changed now.
    pub async fn end_logins(&self, user_id: &str) -> Result<(), GrantsError> {
        ask!(self.end_logins(user_id))
    }
}
