//! Stored console sessions, which outlive the process.

use rusqlite::Row;
use rusqlite::Transaction;
use rusqlite::params;
use rusqlite::types::FromSql;
use rusqlite::types::FromSqlError;
use rusqlite::types::FromSqlResult;
use rusqlite::types::ValueRef;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::SessionId;
use serialproxy_proto::kept::KeptSession;
use serialproxy_proto::token::Mode;
use serialproxy_proto::token::TokenDigest;
use serialproxy_store::columns::link;
use serialproxy_store::columns::server;
use serialproxy_store::columns::time;

use crate::Ledger;
use crate::LedgerError;

impl Ledger {
    /// All stored sessions.
    ///
    /// # Errors
    ///
    /// When the file fails.
    pub fn sessions(&self) -> Result<Vec<KeptSession>, LedgerError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(
            "SELECT id, server, serial_port, keys, token, project, user, may, operator, ends, since, writes,
                    address, link
             FROM sessions",
        )?;
        let rows = statement.query_map([], session)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Stores sessions, replacing earlier versions of them, and forgets others, in one transaction.
    ///
    /// # Errors
    ///
    /// When the file fails; then nothing has changed.
    pub fn keep_sessions(
        &self,
        changed: &[&KeptSession],
        ended: &[SessionId],
    ) -> Result<(), LedgerError> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        for session in changed {
            keep(&transaction, session)?;
        }
        for id in ended {
            transaction.execute("DELETE FROM sessions WHERE id = ?1", [id.to_string()])?;
        }
        Ok(transaction.commit()?)
    }
}

fn keep(transaction: &Transaction<'_>, session: &KeptSession) -> rusqlite::Result<usize> {
    let keys: Vec<u8> = session.keys.iter().flat_map(|key| key.0).collect();
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO sessions
             (id, server, serial_port, keys, token, project, user, may, operator, ends, since, writes,
              address, link)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?
        .execute(params![
            session.id.to_string(),
            session.line.server.to_string(),
            session.line.port,
            keys,
            session.token.0,
            session.project,
            session.user,
            session.may.as_str(),
            session.operator,
            session.limit.map(|limit| limit.as_millisecond()),
            session.since.as_millisecond(),
            session.writes,
            session.address,
            session.link.map(|link| link.to_string()),
        ])
}

fn session(row: &Row<'_>) -> rusqlite::Result<KeptSession> {
    let id = row.get::<_, Parsed>(0)?.0;
    Ok(KeptSession {
        id,
        line: LineKey { server: server(row, 1)?, port: row.get(2)? },
        keys: row.get::<_, Digests>(3)?.0,
        token: TokenDigest(row.get(4)?),
        project: row.get(5)?,
        user: row.get(6)?,
        // A word that is no mode is read as the mode with fewer rights.
        may: row.get::<_, String>(7)?.parse().unwrap_or(Mode::Watch),
        operator: row.get(8)?,
        limit: row.get::<_, Option<i64>>(9)?.map(time),
        since: time(row.get(10)?),
        writes: row.get(11)?,
        address: row.get(12)?,
        link: link(row, 13)?,
    })
}

/// A session's id.
struct Parsed(SessionId);

impl FromSql for Parsed {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map(Self).map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

/// Digests, one after the other.
struct Digests(Vec<TokenDigest>);

impl FromSql for Digests {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let (digests, rest) = value.as_blob()?.as_chunks();
        match rest.is_empty() {
            true => Ok(Self(digests.iter().copied().map(TokenDigest).collect())),
            false => Err(FromSqlError::InvalidType),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serialproxy_proto::id::LinkId;
    use serialproxy_proto::id::ServerId;

    use super::*;

    fn kept(user: &str, keys: &[&str]) -> KeptSession {
        KeptSession {
            id: SessionId::new(),
            line: LineKey { server: ServerId::of_static("a"), port: 3 },
            keys: keys.iter().map(|key| TokenDigest::of(key)).collect(),
            token: TokenDigest::of("token"),
            project: Some("team".to_owned()),
            user: user.to_owned(),
            may: Mode::Write,
            operator: true,
            limit: Timestamp::from_second(9).ok(),
            since: Timestamp::UNIX_EPOCH,
            writes: true,
            address: "192.0.2.1:4000".to_owned(),
            link: Some(LinkId::new()),
        }
    }

    #[test]
    fn sessions_outlive_the_process_as_they_were_kept_last() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.sqlite");
        let ledger = Ledger::open(&path).unwrap();
        let (mut alice, bob) = (kept("alice", &["1"]), kept("bob", &[]));
        ledger.keep_sessions(&[&alice, &bob], &[]).unwrap();
        alice.keys.push(TokenDigest::of("2"));
        (alice.project, alice.limit, alice.writes) = (None, None, false);
        ledger.keep_sessions(&[&alice], &[bob.id, SessionId::new()]).unwrap();
        drop(ledger);
        assert_eq!(Ledger::open(&path).unwrap().sessions().unwrap(), [alice]);
    }
}
