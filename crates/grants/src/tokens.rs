//! Console tokens: only their digests are kept, each with its grant.

use jiff::Timestamp;
use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::params;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::token::ConsoleToken;
use serialproxy_proto::token::Grant;
use serialproxy_proto::token::Mode;
use serialproxy_proto::token::TokenDigest;
use serialproxy_store::columns::server;
use serialproxy_store::columns::time;

use crate::Grants;
use crate::GrantsError;

impl Grants {
    /// Makes a token for a grant. It is good as soon as this returns.
    ///
    /// # Errors
    ///
    /// When the grants cannot be changed now.
    pub async fn authorize(&self, grant: Grant) -> Result<ConsoleToken, GrantsError> {
        let token = ConsoleToken::new();
        let digest = token.digest();
        self.ask(move |connection| {
            connection.execute(
                "INSERT INTO console_tokens
                 (digest, server, serial_port, user, mode, operator, wait, expires, project)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                params![
                    digest.0,
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
        })
        .await?;
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
        self.ask(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT server, serial_port, user, mode, operator, wait, expires, project
                 FROM console_tokens WHERE digest = ?1 AND expires > ?2",
            )?;
            statement.query_row(params![digest.0, now.as_millisecond()], grant).optional()
        })
        .await
    }

    /// Ends a token; false when it was not there any more, so that of two who spend a
    /// single-use token one wins.
    ///
    /// # Errors
    ///
    /// When the grants cannot be changed now.
    pub async fn revoke(&self, digest: TokenDigest) -> Result<bool, GrantsError> {
        self.revoke_by(move |connection| {
            let removed =
                connection.execute("DELETE FROM console_tokens WHERE digest = ?1", [digest.0])?;
            Ok(removed == 1)
        })
        .await
    }

    /// Ends all tokens of a server; returns how many.
    ///
    /// # Errors
    ///
    /// When the grants cannot be changed now.
    pub async fn revoke_tokens_of(&self, server: ServerId) -> Result<usize, GrantsError> {
        self.revoke_by(move |connection| {
            let server = [server.to_string()];
            connection.execute("DELETE FROM console_tokens WHERE server = ?1", server)
        })
        .await
    }

    /// Removes console and API tokens that have expired; returns how many.
    ///
    /// # Errors
    ///
    /// When the grants cannot be changed now.
    pub async fn purge_expired_tokens(&self, now: Timestamp) -> Result<usize, GrantsError> {
        self.ask(move |connection| {
            let purge = |statement| connection.execute(statement, [now.as_millisecond()]);
            let consoles = purge("DELETE FROM console_tokens WHERE expires <= ?1");
            let logins = purge("DELETE FROM api_tokens WHERE expires <= ?1");
            Ok(consoles? + logins?)
        })
        .await
    }
}

fn grant(row: &Row<'_>) -> rusqlite::Result<Grant> {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants;

    fn a_grant(name: &str, expires: i64) -> Grant {
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

    #[tokio::test]
    async fn a_token_gives_its_grant_as_often_as_it_is_asked_until_it_expires() {
        let (_directory, grants) = grants();
        let token = grants.authorize(a_grant("a", 600)).await.unwrap();
        for second in [0, 599] {
            let found = grants.validate(token.digest(), at(second)).await.unwrap();
            assert_eq!(found, Some(a_grant("a", 600)));
        }
        assert_eq!(grants.validate(token.digest(), at(600)).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_revocation_is_counted_by_the_time_that_it_is_done() {
        let (_directory, grants) = grants();
        let tokens = [
            grants.authorize(a_grant("a", 600)).await.unwrap(),
            grants.authorize(a_grant("b", 600)).await.unwrap(),
        ];
        let before = grants.revocations();
        grants.revoke(tokens[0].digest()).await.unwrap();
        let between = grants.revocations();
        grants.revoke_tokens_of(a_grant("b", 0).line.server).await.unwrap();
        assert!(before < between && between < grants.revocations());
    }

    #[tokio::test]
    async fn an_unknown_token_gives_nothing() {
        let (_directory, grants) = grants();
        grants.authorize(a_grant("a", 600)).await.unwrap();
        assert_eq!(grants.validate(ConsoleToken::new().digest(), at(0)).await.unwrap(), None);
    }

    #[tokio::test]
    async fn the_token_itself_is_nowhere_in_the_file() {
        let (directory, grants) = grants();
        let token = grants.authorize(a_grant("a", 600)).await.unwrap();
        drop(grants);
        for entry in std::fs::read_dir(directory.path()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            let needle = token.expose().as_bytes();
            assert!(!bytes.windows(needle.len()).any(|window| window == needle));
        }
    }

    #[tokio::test]
    async fn purging_removes_expired_tokens_only() {
        let (_directory, grants) = grants();
        grants.authorize(a_grant("a", 10)).await.unwrap();
        let fresh = grants.authorize(a_grant("a", 11)).await.unwrap();
        assert_eq!(grants.purge_expired_tokens(at(10)).await.unwrap(), 1);
        assert!(grants.validate(fresh.digest(), at(10)).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn revoking_a_servers_tokens_leaves_those_of_others() {
        let (_directory, grants) = grants();
        let gone = grants.authorize(a_grant("a", 600)).await.unwrap();
        let kept = grants.authorize(a_grant("b", 600)).await.unwrap();
        assert_eq!(grants.revoke_tokens_of(a_grant("a", 0).line.server).await.unwrap(), 1);
        assert!(grants.validate(gone.digest(), at(0)).await.unwrap().is_none());
        assert!(grants.validate(kept.digest(), at(0)).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn of_two_who_spend_a_token_one_wins() {
        let (_directory, grants) = grants();
        let token = grants.authorize(a_grant("a", 600)).await.unwrap();
        assert!(grants.revoke(token.digest()).await.unwrap());
        assert!(!grants.revoke(token.digest()).await.unwrap());
    }
}
