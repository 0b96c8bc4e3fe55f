//! Console tokens in the file.

use jiff::Timestamp;
use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::params;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::LinkId;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::token::Grant;
use serialproxy_proto::token::Mode;
use serialproxy_proto::token::SharedLink;
use serialproxy_proto::token::TokenDigest;
use serialproxy_store::columns::link;
use serialproxy_store::columns::server;
use serialproxy_store::columns::time;

use crate::GrantsError;
use crate::file::File;

impl File {
    pub(crate) async fn keep(&self, digest: TokenDigest, grant: Grant) -> Result<(), GrantsError> {
        self.ask(move |connection| {
            let link = grant.link.as_ref();
            connection.execute(
                "INSERT INTO console_tokens
                 (digest, server, serial_port, user, mode, operator, wait, expires, project, link,
                  maker, created)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
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
                    link.map(|link| link.id.to_string()),
                    link.map(|link| &link.maker),
                    link.map(|link| link.created.as_millisecond()),
                ],
            )
        })
        .await
        .map(drop)
    }

    pub(crate) async fn validate(
        &self,
        digest: TokenDigest,
        now: Timestamp,
    ) -> Result<Option<Grant>, GrantsError> {
        self.ask(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT server, serial_port, user, mode, operator, wait, expires, project, link,
                        maker, created
                 FROM console_tokens WHERE digest = ?1 AND expires > ?2",
            )?;
            statement.query_row(params![digest.0, now.as_millisecond()], grant).optional()
        })
        .await
    }

    pub(crate) async fn links(
        &self,
        line: LineKey,
        now: Timestamp,
    ) -> Result<Vec<Grant>, GrantsError> {
        self.ask(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT server, serial_port, user, mode, operator, wait, expires, project, link,
                        maker, created
                 FROM console_tokens
                 WHERE server = ?1 AND serial_port = ?2 AND expires > ?3 AND link NOT NULL",
            )?;
            let of = params![line.server.to_string(), line.port, now.as_millisecond()];
            statement.query_map(of, grant)?.collect()
        })
        .await
    }

    pub(crate) async fn revoke_link(
        &self,
        line: LineKey,
        link: LinkId,
    ) -> Result<bool, GrantsError> {
        self.revoke_by(move |connection| {
            let removed = connection.execute(
                "DELETE FROM console_tokens WHERE server = ?1 AND serial_port = ?2 AND link = ?3",
                params![line.server.to_string(), line.port, link.to_string()],
            )?;
            Ok(removed == 1)
        })
        .await
    }

    pub(crate) async fn revoke_links_of(&self, maker: &str) -> Result<usize, GrantsError> {
        let maker = maker.to_owned();
        self.revoke_by(move |connection| {
            connection.execute("DELETE FROM console_tokens WHERE maker = ?1", [maker])
        })
        .await
    }

    pub(crate) async fn spend(&self, digest: TokenDigest) -> Result<bool, GrantsError> {
        self.revoke(digest).await
    }

    pub(crate) async fn revoke(&self, digest: TokenDigest) -> Result<bool, GrantsError> {
        self.revoke_by(move |connection| {
            let removed =
                connection.execute("DELETE FROM console_tokens WHERE digest = ?1", [digest.0])?;
            Ok(removed == 1)
        })
        .await
    }

    pub(crate) async fn revoke_tokens_of(&self, server: ServerId) -> Result<usize, GrantsError> {
        self.revoke_by(move |connection| {
            let server = [server.to_string()];
            connection.execute("DELETE FROM console_tokens WHERE server = ?1", server)
        })
        .await
    }

    pub(crate) async fn purge_expired_tokens(&self, now: Timestamp) -> Result<usize, GrantsError> {
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
        // A word that is no mode is read as the mode with fewer rights.
        mode: row.get::<_, String>(3)?.parse().unwrap_or(Mode::Watch),
        operator: row.get(4)?,
        wait: row.get(5)?,
        expires: time(row.get(6)?),
        project: row.get(7)?,
        // All servers are on this host.
        host: None,
        link: match link(row, 8)? {
            Some(id) => Some(SharedLink { id, maker: row.get(9)?, created: time(row.get(10)?) }),
            None => None,
        },
    })
}
