//! Local users in the file.

use jiff::Timestamp;
use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::params;
use serialproxy_proto::token::TokenDigest;
use serialproxy_store::columns::time;

use crate::GrantsError;
use crate::User;
use crate::file::File;
use crate::file::api_tokens::end_oldest_logins;
use crate::file::api_tokens::identity;

impl File {
    pub(crate) async fn add_user(&self, user: User, hash: String) -> Result<bool, GrantsError> {
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

    pub(crate) async fn user(
        &self,
        name_or_id: &str,
    ) -> Result<Option<(User, String)>, GrantsError> {
        let name_or_id = name_or_id.to_owned();
        self.ask(move |connection| {
            // If the text is one user's name and another's id, the name takes precedence.
            let mut statement = connection.prepare_cached(
                "SELECT name, id, project, role, created, hash FROM users
                 WHERE name = ?1 OR id = ?1 ORDER BY name <> ?1 LIMIT 1",
            )?;
            let found = statement.query_row([name_or_id], |row| Ok((user(row)?, row.get(5)?)));
            found.optional()
        })
        .await
    }

    pub(crate) async fn users(&self) -> Result<Vec<User>, GrantsError> {
        self.ask(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT name, id, project, role, created FROM users ORDER BY name",
            )?;
            statement.query_map([], user)?.collect()
        })
        .await
    }

    pub(crate) async fn remove_user(&self, name: &str) -> Result<bool, GrantsError> {
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

    pub(crate) async fn set_password(&self, name: &str, hash: String) -> Result<bool, GrantsError> {
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

    pub(crate) async fn log_in(
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
            end_oldest_logins(connection, &user_id)?;
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
