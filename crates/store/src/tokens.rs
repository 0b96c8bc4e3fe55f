//! Console tokens: only their digests are kept, each with its grant.

use std::sync::atomic::Ordering;

use jiff::Timestamp;
use rusqlite::OptionalExtension;
use rusqlite::params;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::token::ConsoleToken;
use serialproxy_proto::token::Grant;
use serialproxy_proto::token::Mode;
use serialproxy_proto::token::TokenDigest;

use crate::Store;
use crate::StoreError;
use crate::leases::server;
use crate::leases::time;
use crate::write_error;

impl Store {
    /// Makes a token for a grant. It is good as soon as this returns.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub fn authorize(&self, grant: &Grant) -> Result<ConsoleToken, StoreError> {
        let token = ConsoleToken::new();
        self.lock()
            .execute(
                "INSERT INTO console_tokens
                 (digest, server, serial_port, user, mode, operator, wait, expires, project)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                params![
                    token.digest().0,
                    grant.line.server.to_string(),
                    grant.line.port,
                    grant.user,
                    grant.mode.as_str(),
                    grant.operator,
                    grant.wait,
                    grant.expires.as_millisecond(),
                    grant.project,
                ],
            )
            .map_err(write_error)?;
        Ok(token)
    }

    /// What a token stands for, unless it is unknown or expired.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub fn validate(
        &self,
        digest: TokenDigest,
        now: Timestamp,
    ) -> Result<Option<Grant>, StoreError> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(
            "SELECT server, serial_port, user, mode, operator, wait, expires, project
             FROM console_tokens WHERE digest = ?1 AND expires > ?2",
        )?;
        let grant = statement
            .query_row(params![digest.0, now.as_millisecond()], |row| {
                Ok(Grant {
                    line: LineKey { server: server(row, 0)?, port: row.get(1)? },
                    user: row.get(2)?,
                    // Anything but the word for the greater right is the lesser one.
                    mode: row.get::<_, String>(3)?.parse().unwrap_or(Mode::Watch),
                    operator: row.get(4)?,
                    wait: row.get(5)?,
                    expires: time(row.get(6)?),
                    project: row.get(7)?,
                })
            })
            .optional()?;
        Ok(grant)
    }

    /// Ends a token; false when it was not there any more, so that of two who spend a
    /// single-use token one wins.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub fn revoke(&self, digest: TokenDigest) -> Result<bool, StoreError> {
        let removed = self
            .lock()
            .execute("DELETE FROM console_tokens WHERE digest = ?1", [digest.0])
            .map_err(write_error)?;
        self.count_revocation();
        Ok(removed == 1)
    }

    /// Ends all tokens of a server; returns how many.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub fn revoke_tokens_of(&self, server: ServerId) -> Result<usize, StoreError> {
        let removed = self
            .lock()
            .execute("DELETE FROM console_tokens WHERE server = ?1", [server.to_string()])
            .map_err(write_error)?;
        self.count_revocation();
        Ok(removed)
    }

    /// How often tokens were revoked so far. While this is what it was before a token was validated,
    /// the token is as good as it was then, but for its expiry.
    pub fn revocations(&self) -> u64 {
        self.revocations.load(Ordering::SeqCst)
    }

    fn count_revocation(&self) {
        self.revocations.fetch_add(1, Ordering::SeqCst);
    }

    /// Removes console and API tokens that have expired; returns how many.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub fn purge_expired_tokens(&self, now: Timestamp) -> Result<usize, StoreError> {
        let connection = self.lock();
        let purge = |statement| connection.execute(statement, [now.as_millisecond()]);
        let consoles = purge("DELETE FROM console_tokens WHERE expires <= ?1");
        let logins = purge("DELETE FROM api_tokens WHERE expires <= ?1");
        Ok(consoles.map_err(write_error)? + logins.map_err(write_error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(name: &str, expires: i64) -> Grant {
        Grant {
            line: LineKey { server: ServerId::of_static(name), port: 1 },
            project: "p".into(),
            user: "alice".into(),
            mode: Mode::Watch,
            operator: true,
            wait: false,
            expires: Timestamp::from_second(expires).unwrap(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store.sqlite")).unwrap();
        (directory, store)
    }

    #[test]
    fn a_token_gives_its_grant_as_often_as_it_is_asked_until_it_expires() {
        let (_directory, store) = store();
        let token = store.authorize(&grant("a", 600)).unwrap();
        for second in [0, 599] {
            let found = store.validate(token.digest(), at(second)).unwrap();
            assert_eq!(found, Some(grant("a", 600)));
        }
        assert_eq!(store.validate(token.digest(), at(600)).unwrap(), None);
    }

    #[test]
    fn a_revocation_is_counted_by_the_time_that_it_is_done() {
        let (_directory, store) = store();
        let tokens = [
            store.authorize(&grant("a", 600)).unwrap(),
            store.authorize(&grant("b", 600)).unwrap(),
        ];
        let before = store.revocations();
        store.revoke(tokens[0].digest()).unwrap();
        let between = store.revocations();
        store.revoke_tokens_of(grant("b", 0).line.server).unwrap();
        assert!(before < between && between < store.revocations());
    }

    #[test]
    fn an_unknown_token_gives_nothing() {
        let (_directory, store) = store();
        store.authorize(&grant("a", 600)).unwrap();
        assert_eq!(store.validate(ConsoleToken::new().digest(), at(0)).unwrap(), None);
    }

    #[test]
    fn the_token_itself_is_nowhere_in_the_file() {
        let (directory, store) = store();
        let token = store.authorize(&grant("a", 600)).unwrap();
        drop(store);
        for entry in std::fs::read_dir(directory.path()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            let needle = token.expose().as_bytes();
            assert!(!bytes.windows(needle.len()).any(|window| window == needle));
        }
    }

    #[test]
    fn purging_removes_expired_tokens_only() {
        let (_directory, store) = store();
        store.authorize(&grant("a", 10)).unwrap();
        let fresh = store.authorize(&grant("a", 11)).unwrap();
        assert_eq!(store.purge_expired_tokens(at(10)).unwrap(), 1);
        assert!(store.validate(fresh.digest(), at(10)).unwrap().is_some());
    }

    #[test]
    fn revoking_a_servers_tokens_leaves_those_of_others() {
        let (_directory, store) = store();
        let gone = store.authorize(&grant("a", 600)).unwrap();
        let kept = store.authorize(&grant("b", 600)).unwrap();
        assert_eq!(store.revoke_tokens_of(grant("a", 0).line.server).unwrap(), 1);
        assert!(store.validate(gone.digest(), at(0)).unwrap().is_none());
        assert!(store.validate(kept.digest(), at(0)).unwrap().is_some());
    }

    #[test]
    fn of_two_who_spend_a_token_one_wins() {
        let (_directory, store) = store();
        let token = store.authorize(&grant("a", 600)).unwrap();
        assert!(store.revoke(token.digest()).unwrap());
        assert!(!store.revoke(token.digest()).unwrap());
    }
}
