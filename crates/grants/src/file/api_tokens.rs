//! API tokens in the file. Those without a name belong to logins.

use jiff::Timestamp;
use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::params;
use serialproxy_proto::identity::Identity;
use serialproxy_proto::identity::Role;
use serialproxy_proto::token::TokenDigest;
use serialproxy_store::columns::time;

use crate::ApiToken;
use crate::GrantsError;
use crate::file::File;
use crate::users::LOGINS;

impl File {
    pub(crate) async fn add_api_token(
        &self,
        digest: TokenDigest,
        token: ApiToken,
    ) -> Result<bool, GrantsError> {
        let ApiToken { name, identity, created, expires, sealed } = token;
        self.ask(move |connection| {
            let added = connection.execute(
                "INSERT INTO api_tokens
                 (digest, name, user, user_id, project, role, created, expires, sealed)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
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
                    sealed,
                ],
            )?;
            end_oldest_logins(connection, &identity.user_id)?;
            Ok(added == 1)
        })
        .await
    }

    pub(crate) async fn api_token(
        &self,
        digest: TokenDigest,
        now: Timestamp,
    ) -> Result<Option<ApiToken>, GrantsError> {
        self.ask(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT name, user, user_id, project, role, created, expires, sealed
                 FROM api_tokens WHERE digest = ?1 AND (expires IS NULL OR expires > ?2)",
            )?;
            statement.query_row(params![digest.0, now.as_millisecond()], token).optional()
        })
        .await
    }

    pub(crate) async fn named_api_tokens(&self) -> Result<Vec<ApiToken>, GrantsError> {
        self.ask(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT name, user, user_id, project, role, created, expires, sealed
                 FROM api_tokens WHERE name IS NOT NULL ORDER BY name",
            )?;
            statement.query_map([], token)?.collect()
        })
        .await
    }

    pub(crate) async fn revoke_named_api_token(&self, name: &str) -> Result<bool, GrantsError> {
        let name = name.to_owned();
        self.ask(move |connection| {
            let removed = connection.execute("DELETE FROM api_tokens WHERE name = ?1", [name])?;
            Ok(removed == 1)
        })
        .await
    }

    pub(crate) async fn revoke_api_token(&self, digest: TokenDigest) -> Result<bool, GrantsError> {
        self.ask(move |connection| {
            let removed =
                connection.execute("DELETE FROM api_tokens WHERE digest = ?1", [digest.0])?;
            Ok(removed == 1)
        })
        .await
    }

    pub(crate) async fn end_logins(&self, user_id: &str) -> Result<(), GrantsError> {
        let user_id = user_id.to_owned();
        self.ask(move |connection| {
            connection
                .execute("DELETE FROM api_tokens WHERE name IS NULL AND user_id = ?1", [user_id])?;
            Ok(())
        })
        .await
    }
}

/// Ends the oldest logins of a user who has too many.
pub(crate) fn end_oldest_logins(connection: &Connection, user_id: &str) -> rusqlite::Result<usize> {
    connection.execute(
        "DELETE FROM api_tokens WHERE digest IN (
             SELECT digest FROM api_tokens WHERE user_id = ?1 AND name IS NULL
             ORDER BY created DESC LIMIT -1 OFFSET ?2)",
        params![user_id, LOGINS],
    )
}

fn token(row: &Row<'_>) -> rusqlite::Result<ApiToken> {
    Ok(ApiToken {
        name: row.get(0)?,
        identity: identity(row, 1)?,
        created: time(row.get(5)?),
        expires: row.get::<_, Option<i64>>(6)?.map(time),
        sealed: row.get(7)?,
    })
}

/// The columns user, user id, project and role, from `first` on.
pub(crate) fn identity(row: &Row<'_>, first: usize) -> rusqlite::Result<Identity> {
    Ok(Identity {
        user: row.get(first)?,
        user_id: row.get(first + 1)?,
        project: row.get(first + 2)?,
        // A word that is no role is read as the role with the fewest rights.
        role: row.get::<_, String>(first + 3)?.parse().unwrap_or(Role::Reader),
    })
}
