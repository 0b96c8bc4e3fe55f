//! API tokens: only their digests are kept, each with whom it stands for. Some have a name and
//! stay until they are revoked; the others are those of logins.

use jiff::Timestamp;
use serialproxy_proto::identity::Identity;
use serialproxy_proto::token::TokenDigest;

use crate::Grants;
use crate::GrantsError;
use crate::Kept;
use crate::ask;
use crate::timely;

/// What an API token stands for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ApiToken {
    /// The name by which it is revoked; `None` for that of a login.
    pub name: Option<String>,
    /// Its user.
    pub identity: Identity,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends, if ever.
    pub expires: Option<Timestamp>,
}

impl Grants {
    /// Keeps a token; false when there is one of that name.
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

    /// What a token stands for, unless it is unknown or expired.
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

    /// All tokens with a name, ordered by it; expired ones until they are purged.
    ///
    /// # Errors
    ///
    /// When the grants cannot be read now.
    pub async fn named_api_tokens(&self) -> Result<Vec<ApiToken>, GrantsError> {
        ask!(self.named_api_tokens())
    }

    /// Ends the token of that name; false when there is none.
    ///
    /// # Errors
    ///
    /// When the grants cannot be changed now.
    pub async fn revoke_named_api_token(&self, name: &str) -> Result<bool, GrantsError> {
        ask!(self.revoke_named_api_token(name))
    }

    /// Ends a token; false when it was not there any more.
    ///
    /// # Errors
    ///
    /// When the grants cannot be changed now.
    pub async fn revoke_api_token(&self, digest: TokenDigest) -> Result<bool, GrantsError> {
        ask!(self.revoke_api_token(digest))
    }
}
