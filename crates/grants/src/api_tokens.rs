//! API tokens: only their digests are kept, each with whom it stands for. Some have a name and
//! stay until they are revoked; the others are those of logins.

use jiff::Timestamp;
use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::params;
use serialproxy_proto::identity::Identity;
use serialproxy_proto::identity::Role;
use serialproxy_proto::token::TokenDigest;
use serialproxy_store::columns::time;

use crate::Grants;
use crate::GrantsError;

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
        let ApiToken { name, identity, created, expires } = token;
        self.ask(move |connection| {
            let added = connection.execute(
                "INSERT INTO api_tokens
                 (digest, name, user, user_id, project, role, created, expires)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT (name) DO NOTHING",
                params![
                    digest.0,
                    name,
                    identity.user,
                    identity.user_id,
                    identity.project,
                    identity.role.as_str(),
                    created.as_millisecond(),
                    expires.map(Timestamp::as_millisecond),
                ],
            )?;
            Ok(added == 1)
        })
        .await
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
        self.ask(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT name, user, user_id, project, role, created, expires FROM api_tokens
                 WHERE digest = ?1 AND (expires IS NULL OR expires > ?2)",
            )?;
            statement.query_row(params![digest.0, now.as_millisecond()], token).optional()
        })
        .await
    }

    /// All tokens with a name, ordered by it; expired ones until they are purged.
    ///
    /// # Errors
    ///
    /// When the grants cannot be read now.
    pub async fn named_api_tokens(&self) -> Result<Vec<ApiToken>, GrantsError> {
        self.ask(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT name, user, user_id, project, role, created, expires FROM api_tokens
                 WHERE name IS NOT NULL ORDER BY name",
            )?;
            statement.query_map([], token)?.collect()
        })
        .await
    }

    /// Ends the token of that name; false when there is none.
    ///
    /// # Errors
    ///
    /// When the grants cannot be changed now.
    pub async fn revoke_named_api_token(&self, name: &str) -> Result<bool, GrantsError> {
        let name = name.to_owned();
        self.ask(move |connection| {
            let removed = connection.execute("DELETE FROM api_tokens WHERE name = ?1", [name])?;
            Ok(removed == 1)
        })
        .await
    }

    /// Ends a token; false when it was not there any more.
    ///
    /// # Errors
    ///
    /// When the grants cannot be changed now.
    pub async fn revoke_api_token(&self, digest: TokenDigest) -> Result<bool, GrantsError> {
        self.ask(move |connection| {
            let removed =
                connection.execute("DELETE FROM api_tokens WHERE digest = ?1", [digest.0])?;
            Ok(removed == 1)
        })
        .await
    }
}

fn token(row: &Row<'_>) -> rusqlite::Result<ApiToken> {
    Ok(ApiToken {
        name: row.get(0)?,
        identity: identity(row, 1)?,
        created: time(row.get(5)?),
        expires: row.get::<_, Option<i64>>(6)?.map(time),
    })
}

/// The columns user, user id, project and role, from `first` on.
pub(crate) fn identity(row: &Row<'_>, first: usize) -> rusqlite::Result<Identity> {
    Ok(Identity {
        user: row.get(first)?,
        user_id: row.get(first + 1)?,
        project: row.get(first + 2)?,
        // Anything but the word of a greater role is the least one.
        role: row.get::<_, String>(first + 3)?.parse().unwrap_or(Role::Reader),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn token(name: &str, expires: Option<i64>) -> ApiToken {
        let identity = Identity {
            user: "alice".into(),
            user_id: "0fe7".into(),
            project: "demo".into(),
            role: Role::Member,
        };
        let (name, expires) = (Some(name.to_owned()), expires.map(at));
        ApiToken { name, identity, created: at(0), expires }
    }

    fn digest(text: &str) -> TokenDigest {
        TokenDigest::of(text)
    }

    #[tokio::test]
    async fn a_token_is_found_until_it_expires_and_one_without_an_end_for_ever() {
        let (_directory, grants) = grants();
        let (short, long) = (token("a", Some(600)), token("b", None));
        assert!(grants.add_api_token(digest("a"), short.clone()).await.unwrap());
        assert!(grants.add_api_token(digest("b"), long.clone()).await.unwrap());
        assert_eq!(grants.api_token(digest("a"), at(599)).await.unwrap(), Some(short));
        assert_eq!(grants.api_token(digest("a"), at(600)).await.unwrap(), None);
        assert_eq!(grants.api_token(digest("b"), Timestamp::MAX).await.unwrap(), Some(long));
        assert_eq!(grants.api_token(digest("c"), at(0)).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_name_is_used_once_and_free_again_when_its_token_is_revoked() {
        let (_directory, grants) = grants();
        assert!(grants.add_api_token(digest("a"), token("ci", None)).await.unwrap());
        assert!(!grants.add_api_token(digest("b"), token("ci", None)).await.unwrap());
        assert!(grants.api_token(digest("b"), at(0)).await.unwrap().is_none());
        assert!(grants.revoke_named_api_token("ci").await.unwrap());
        assert!(!grants.revoke_named_api_token("ci").await.unwrap());
        assert!(grants.api_token(digest("a"), at(0)).await.unwrap().is_none());
        assert!(grants.add_api_token(digest("b"), token("ci", None)).await.unwrap());
    }

    #[tokio::test]
    async fn expired_tokens_are_purged_and_those_without_an_end_kept() {
        let (_directory, grants) = grants();
        grants.add_api_token(digest("a"), token("a", Some(10))).await.unwrap();
        grants.add_api_token(digest("b"), token("b", None)).await.unwrap();
        assert_eq!(grants.purge_expired_tokens(at(10)).await.unwrap(), 1);
        assert_eq!(grants.named_api_tokens().await.unwrap(), [token("b", None)]);
    }
}
