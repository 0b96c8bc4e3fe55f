//! Local users, for sites without Keystone: only hashes of their passwords are kept.

use jiff::Timestamp;
use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::params;
use serialproxy_proto::identity::Identity;
use serialproxy_proto::token::TokenDigest;

use crate::Store;
use crate::StoreError;
use crate::api_tokens::identity;
use crate::leases::time;
use crate::write_error;

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

impl Store {
    /// Adds a user; false when there is one of that name.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub fn add_user(&self, user: &User, hash: &str) -> Result<bool, StoreError> {
        let User { identity, created } = user;
        let added = self
            .lock()
            .execute(
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
            )
            .map_err(write_error)?;
        Ok(added == 1)
    }

    /// The user of a name or id, and the hash of their password.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub fn user(&self, name_or_id: &str) -> Result<Option<(User, String)>, StoreError> {
        let connection = self.lock();
        // A name that is another's id is still the name first.
        let mut statement = connection.prepare_cached(
            "SELECT name, id, project, role, created, hash FROM users
             WHERE name = ?1 OR id = ?1 ORDER BY name <> ?1 LIMIT 1",
        )?;
        let found = statement.query_row([name_or_id], |row| Ok((user(row)?, row.get(5)?)));
        Ok(found.optional()?)
    }

    /// All users, ordered by name.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub fn users(&self) -> Result<Vec<User>, StoreError> {
        let connection = self.lock();
        let mut statement = connection
            .prepare_cached("SELECT name, id, project, role, created FROM users ORDER BY name")?;
        let users = statement.query_map([], user)?;
        Ok(users.collect::<Result<_, _>>()?)
    }

    /// Removes the user of that name, and ends their logins; false when there is none.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub fn remove_user(&self, name: &str) -> Result<bool, StoreError> {
        self.with_logins_ended(name, "DELETE FROM users WHERE name = ?1", &[])
    }

    /// Gives the user of that name another password, and ends their logins; false when there is
    /// none.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub fn set_password(&self, name: &str, hash: &str) -> Result<bool, StoreError> {
        self.with_logins_ended(name, "UPDATE users SET hash = ?2 WHERE name = ?1", &[hash])
    }

    fn with_logins_ended(
        &self,
        name: &str,
        change: &str,
        more: &[&str],
    ) -> Result<bool, StoreError> {
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        transaction
            .execute(
                "DELETE FROM api_tokens
                 WHERE name IS NULL AND user_id = (SELECT id FROM users WHERE name = ?1)",
                [name],
            )
            .map_err(write_error)?;
        let parameters = rusqlite::params_from_iter([name].into_iter().chain(more.iter().copied()));
        let changed = transaction.execute(change, parameters).map_err(write_error)?;
        transaction.commit().map_err(write_error)?;
        Ok(changed == 1)
    }

    /// Keeps the token of a login; false when the user was removed, or got another password, since
    /// the hash was read.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub fn log_in(
        &self,
        digest: TokenDigest,
        user_id: &str,
        hash: &str,
        [created, expires]: [Timestamp; 2],
    ) -> Result<bool, StoreError> {
        let connection = self.lock();
        let added = connection
            .execute(
                "INSERT INTO api_tokens (digest, user, user_id, project, role, created, expires)
                 SELECT ?1, name, id, project, role, ?4, ?5 FROM users
                 WHERE id = ?2 AND hash = ?3",
                params![
                    digest.0,
                    user_id,
                    hash,
                    created.as_millisecond(),
                    expires.as_millisecond(),
                ],
            )
            .map_err(write_error)?;
        connection
            .execute(
                "DELETE FROM api_tokens WHERE digest IN (
                     SELECT digest FROM api_tokens WHERE user_id = ?1 AND name IS NULL
                     ORDER BY created DESC LIMIT -1 OFFSET ?2)",
                params![user_id, LOGINS],
            )
            .map_err(write_error)?;
        Ok(added == 1)
    }
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

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store.sqlite")).unwrap();
        assert!(store.add_user(&user("alice"), "hash-1").unwrap());
        (directory, store)
    }

    fn log_in(store: &Store, token: &str, hash: &str) -> bool {
        let digest = TokenDigest::of(token);
        store.log_in(digest, "id-of-alice", hash, [at(0), at(3600)]).unwrap()
    }

    fn is_good(store: &Store, token: &str) -> bool {
        store.api_token(TokenDigest::of(token), at(0)).unwrap().is_some()
    }

    #[test]
    fn a_user_is_found_by_name_and_by_id_and_a_name_is_used_once() {
        let (_directory, store) = store();
        assert!(!store.add_user(&user("alice"), "hash-2").unwrap());
        for name_or_id in ["alice", "id-of-alice"] {
            let found = store.user(name_or_id).unwrap();
            assert_eq!(found, Some((user("alice"), "hash-1".to_owned())));
        }
        assert_eq!(store.user("bob").unwrap(), None);
        assert!(store.add_user(&user("id-of-alice"), "x").unwrap());
        assert_eq!(store.user("id-of-alice").unwrap().unwrap().0, user("id-of-alice"));
        assert_eq!(store.users().unwrap(), [user("alice"), user("id-of-alice")]);
    }

    #[test]
    fn a_login_is_the_users_and_ends_in_time() {
        let (_directory, store) = store();
        assert!(log_in(&store, "a", "hash-1"));
        let login = store.api_token(TokenDigest::of("a"), at(3599)).unwrap().unwrap();
        assert_eq!((login.name, login.identity), (None, user("alice").identity));
        assert_eq!(store.api_token(TokenDigest::of("a"), at(3600)).unwrap(), None);
        assert!(store.named_api_tokens().unwrap().is_empty());
    }

    #[test]
    fn another_password_ends_the_logins_and_a_login_that_is_late_fails() {
        let (_directory, store) = store();
        assert!(log_in(&store, "a", "hash-1"));
        assert!(store.set_password("alice", "hash-2").unwrap());
        assert!(!is_good(&store, "a"));
        assert!(!log_in(&store, "b", "hash-1"));
        assert!(!is_good(&store, "b"));
        assert!(log_in(&store, "c", "hash-2"));
        assert!(!store.set_password("bob", "hash").unwrap());
    }

    #[test]
    fn with_a_user_their_logins_go_and_named_tokens_stay() {
        let (_directory, store) = store();
        assert!(log_in(&store, "a", "hash-1"));
        let (name, identity) = (Some("ci".to_owned()), user("alice").identity);
        let token = crate::ApiToken { name, identity, created: at(0), expires: None };
        store.add_api_token(TokenDigest::of("ci"), &token).unwrap();
        assert!(store.remove_user("alice").unwrap());
        assert!(!store.remove_user("alice").unwrap());
        assert!(!is_good(&store, "a") && is_good(&store, "ci"));
    }

    #[test]
    fn one_user_has_a_thousand_logins_at_most_and_the_oldest_goes() {
        let (_directory, store) = store();
        for index in 0..=i64::from(LOGINS) {
            let digest = TokenDigest::of(&index.to_string());
            let times = [at(index), at(9999)];
            assert!(store.log_in(digest, "id-of-alice", "hash-1", times).unwrap());
        }
        for (token, good) in [("0", false), ("1", true), ("1000", true)] {
            assert_eq!(is_good(&store, token), good, "{token}");
        }
    }
}
