//! Local users, for sites without Keystone: of their passwords only hashes are stored.

use jiff::Timestamp;
use serialproxy_proto::identity::Identity;
use serialproxy_proto::token::TokenDigest;

use crate::Grants;
use crate::GrantsError;
use crate::Kept;
use crate::ask;
use crate::timely;

/// Valid logins of one user; a newer one ends the oldest.
pub(crate) const LOGINS: u32 = 1000;

/// A local user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    /// Name, id, project and role.
    pub identity: Identity,
    /// When they were added.
    pub created: Timestamp,
}

impl Grants {
    /// Adds a user; false when there is one of that name.
    ///
    /// # Errors
    ///
    /// When the grants cannot be changed now.
    pub async fn add_user(&self, user: User, hash: String) -> Result<bool, GrantsError> {
        ask!(self.add_user(user, hash))
    }

    /// The user with this name or id, and the hash of their password.
    ///
    /// # Errors
    ///
    /// When the grants cannot be read now.
    pub async fn user(&self, name_or_id: &str) -> Result<Option<(User, String)>, GrantsError> {
        ask!(self.user(name_or_id))
    }

    /// All users, ordered by name.
    ///
    /// # Errors
    ///
    /// When the grants cannot be read now.
    pub async fn users(&self) -> Result<Vec<User>, GrantsError> {
        ask!(self.users())
    }

    /// Removes the user of that name and ends their logins; false when there is none.
    ///
    /// # Errors
    ///
    /// When the grants cannot be changed now.
    pub async fn remove_user(&self, name: &str) -> Result<bool, GrantsError> {
        ask!(self.remove_user(name))
    }

    /// Gives the user of that name a new password and ends their logins; false when there is none.
    ///
    /// # Errors
    ///
    /// When the grants cannot be changed now.
    pub async fn set_password(&self, name: &str, hash: String) -> Result<bool, GrantsError> {
        ask!(self.set_password(name, hash))
    }

    /// Stores the token of a login; false when the user was removed or got a new password after the
    /// hash was read.
    ///
    /// # Errors
    ///
    /// When the grants cannot be changed now.
    pub async fn log_in(
        &self,
        digest: TokenDigest,
        user_id: &str,
        hash: String,
        times: [Timestamp; 2],
    ) -> Result<bool, GrantsError> {
        ask!(self.log_in(digest, user_id, hash, times))
    }
}
