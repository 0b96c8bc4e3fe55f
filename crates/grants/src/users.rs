//! Local users, for sites without Keystone: only hashes of their passwords are kept.

use jiff::Timestamp;
use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::params;
use serialproxy_proto::identity::Identity;
use serialproxy_proto::token::TokenDigest;
use serialproxy_store::columns::time;

use crate::Grants;
use crate::GrantsError;
use crate::api_tokens::identity;

/// Logins of one user that are good at once: a newer one ends the oldest.
const LOGINS: u32 = 1000;

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
        let User { identity, created } = user;
        self.ask(move |connection| {
            let added = connection.execute(
                "INSERT INTO users (name, id, project, role, created, hash)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (name) DO NOTHING",
                params![
                    identity.user,
                    identity.user_id,
                    identity.project,
                    identity.role.as_str(),
                    created.as_millisecond(),
                    hash,
                ],
            )?;
            Ok(added == 1)
        })
        .await
    }

    /// The user of a name or id, and the hash of their password.
    ///
    /// # Errors
    ///
    /// When the grants cannot be read now.
    pub async fn user(&self, name_or_id: &str) -> Result<Option<(User, String)>, GrantsError> {
        let name_or_id = name_or_id.to_owned();
        self.ask(move |connection| {
            // A name that is another's id is still the name first.
            let mut statement = connection.prepare_cached(
                "SELECT name, id, project, role, created, hash FROM users
                 WHERE name = ?1 OR id = ?1 ORDER BY name <> ?1 LIMIT 1",
            )?;
            let found = statement.query_row([name_or_id], |row| Ok((user(row)?, row.get(5)?)));
            found.optional()
        })
        .await
    }

    /// All users, ordered by name.
    ///
    /// # Errors
    ///
    /// When the grants cannot be read now.
    pub async fn users(&self) -> Result<Vec<User>, GrantsError> {
        self.ask(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT name, id, project, role, created FROM users ORDER BY name",
            )?;
            statement.query_map([], user)?.collect()
        })
        .await
    }

    /// Removes the user of that name, and ends their logins; false when there is none.
    ///
    /// # Errors
    ///
    /// When the grants cannot be changed now.
    pub async fn remove_user(&self, name: &str) -> Result<bool, GrantsError> {
        let name = name.to_owned();
        self.ask(move |connection| {
            let transaction = connection.transaction()?;
            end_logins(&transaction, &name)?;
            let removed = transaction.execute("DELETE FROM users WHERE name = ?1", [name])?;
            transaction.commit()?;
            Ok(removed == 1)
        })
        .await
    }

    /// Gives the user of that name another password, and ends their logins; false when there is
    /// none.
    ///
    /// # Errors
    ///
    /// When the grants cannot be changed now.
    pub async fn set_password(&self, name: &str, hash: String) -> Result<bool, GrantsError> {
        let name = name.to_owned();
        self.ask(move |connection| {
            let transaction = connection.transaction()?;
            end_logins(&transaction, &name)?;
            let changed =
                transaction.execute("UPDATE users SET hash = ?2 WHERE name = ?1", [name, hash])?;
            transaction.commit()?;
            Ok(changed == 1)
        })
        .await
    }

    /// Keeps the token of a login; false when the user was removed, or got another password, since
    /// the hash was read.
    ///
    /// # Errors
    ///
    /// When the grants cannot be changed now.
    pub async fn log_in(
        &self,
        digest: TokenDigest,
        user_id: &str,
        hash: String,
        [created, expires]: [Timestamp; 2],
    ) -> Result<bool, GrantsError> {
        let user_id = user_id.to_owned();
        let [created, expires] = [created, expires].map(Timestamp::as_millisecond);
        self.ask(move |connection| {
            let added = connection.execute(
                "INSERT INTO api_tokens (digest, user, user_id, project, role, created, expires)
                 SELECT ?1, name, id, project, role, ?4, ?5 FROM users
                 WHERE id = ?2 AND hash = ?3",
                params![digest.0, user_id, hash, created, expires],
            )?;
            connection.execute(
                "DELETE FROM api_tokens WHERE digest IN (
                     SELECT digest FROM api_tokens WHERE user_id = ?1 AND name IS NULL
                     ORDER BY created DESC LIMIT -1 OFFSET ?2)",
                params![user_id, LOGINS],
            )?;
            Ok(added == 1)
        })
        .await
    }
}

fn end_logins(connection: &Connection, name: &str) -> rusqlite::Result<usize> {
    connection.execute(
        "DELETE FROM api_tokens
         WHERE name IS NULL AND user_id = (SELECT id FROM users WHERE name = ?1)",
        [name],
    )
}

fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User { identity: identity(row, 0)?, created: time(row.get(4)?) })
}

#[cfg(test)]
mod tests {
    use serialproxy_proto::identity::Role;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn user(name: &str) -> User {
        let identity = Identity {
            user: name.into(),
            user_id: format!("id-of-{name}"),
            project: "demo".into(),
            role: Role::Member,
        };
        User { identity, created: at(0) }
    }

    async fn grants() -> (tempfile::TempDir, Grants) {
        let (directory, grants) = crate::grants();
        assert!(grants.add_user(user("alice"), "hash-1".into()).await.unwrap());
        (directory, grants)
    }

    async fn log_in(grants: &Grants, token: &str, hash: &str) -> bool {
        let (digest, hash) = (TokenDigest::of(token), hash.to_owned());
        grants.log_in(digest, "id-of-alice", hash, [at(0), at(3600)]).await.unwrap()
    }

    async fn is_good(grants: &Grants, token: &str) -> bool {
        grants.api_token(TokenDigest::of(token), at(0)).await.unwrap().is_some()
    }

    #[tokio::test]
    async fn a_user_is_found_by_name_and_by_id_and_a_name_is_used_once() {
        let (_directory, grants) = grants().await;
        assert!(!grants.add_user(user("alice"), "hash-2".into()).await.unwrap());
        for name_or_id in ["alice", "id-of-alice"] {
            let found = grants.user(name_or_id).await.unwrap();
            assert_eq!(found, Some((user("alice"), "hash-1".to_owned())));
        }
        assert_eq!(grants.user("bob").await.unwrap(), None);
        assert!(grants.add_user(user("id-of-alice"), "x".into()).await.unwrap());
        assert_eq!(grants.user("id-of-alice").await.unwrap().unwrap().0, user("id-of-alice"));
        assert_eq!(grants.users().await.unwrap(), [user("alice"), user("id-of-alice")]);
    }

    #[tokio::test]
    async fn a_login_is_the_users_and_ends_in_time() {
        let (_directory, grants) = grants().await;
        assert!(log_in(&grants, "a", "hash-1").await);
        let login = grants.api_token(TokenDigest::of("a"), at(3599)).await.unwrap().unwrap();
        assert_eq!((login.name, login.identity), (None, user("alice").identity));
        assert_eq!(grants.api_token(TokenDigest::of("a"), at(3600)).await.unwrap(), None);
        assert!(grants.named_api_tokens().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn another_password_ends_the_logins_and_a_login_that_is_late_fails() {
        let (_directory, grants) = grants().await;
        assert!(log_in(&grants, "a", "hash-1").await);
        assert!(grants.set_password("alice", "hash-2".into()).await.unwrap());
        assert!(!is_good(&grants, "a").await);
        assert!(!log_in(&grants, "b", "hash-1").await);
        assert!(!is_good(&grants, "b").await);
        assert!(log_in(&grants, "c", "hash-2").await);
        assert!(!grants.set_password("bob", "hash".into()).await.unwrap());
    }

    #[tokio::test]
    async fn with_a_user_their_logins_go_and_named_tokens_stay() {
        let (_directory, grants) = grants().await;
        assert!(log_in(&grants, "a", "hash-1").await);
        let (name, identity) = (Some("ci".to_owned()), user("alice").identity);
        let token = crate::ApiToken { name, identity, created: at(0), expires: None };
        grants.add_api_token(TokenDigest::of("ci"), token).await.unwrap();
        assert!(grants.remove_user("alice").await.unwrap());
        assert!(!grants.remove_user("alice").await.unwrap());
        assert!(!is_good(&grants, "a").await && is_good(&grants, "ci").await);
    }

    #[tokio::test]
    async fn one_user_has_a_thousand_logins_at_most_and_the_oldest_goes() {
        let (_directory, grants) = grants().await;
        for index in 0..=i64::from(LOGINS) {
            let digest = TokenDigest::of(&index.to_string());
            let times = [at(index), at(9999)];
            assert!(grants.log_in(digest, "id-of-alice", "hash-1".into(), times).await.unwrap());
        }
        for (token, good) in [("0", false), ("1", true), ("1000", true)] {
            assert_eq!(is_good(&grants, token).await, good, "{token}");
        }
    }
}
