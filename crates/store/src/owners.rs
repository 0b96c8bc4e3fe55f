//! Which project a server belonged to when console tokens were made for it: with another project,
//! they end.

use rusqlite::Connection;
use rusqlite::params;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::token::ConsoleToken;
use serialproxy_proto::token::Grant;

use crate::Store;
use crate::StoreError;
use crate::tokens;
use crate::write_error;

impl Store {
    /// Makes a token for a grant on a server of that project. It is good as soon as this returns.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub fn authorize_in(&self, project: &str, grant: &Grant) -> Result<ConsoleToken, StoreError> {
        let connection = self.lock();
        let server = grant.line.server;
        revoke_of_former_owner(&connection, server, project)?;
        connection
            .execute(
                "INSERT INTO console_owners (server, project) VALUES (?1, ?2)
                 ON CONFLICT DO NOTHING",
                params![server.to_string(), project],
            )
            .map_err(write_error)?;
        tokens::insert(&connection, grant)
    }

    /// Ends the console tokens of servers that belong to another project now.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub fn revoke_tokens_of_former_owners(
        &self,
        owners: &[(ServerId, String)],
    ) -> Result<(), StoreError> {
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        for (server, project) in owners {
            revoke_of_former_owner(&transaction, *server, project)?;
        }
        Ok(transaction.commit()?)
    }
}

fn revoke_of_former_owner(
    connection: &Connection,
    server: ServerId,
    project: &str,
) -> Result<(), StoreError> {
    let server = server.to_string();
    let mut forget = connection
        .prepare_cached("DELETE FROM console_owners WHERE server = ?1 AND project <> ?2")?;
    if forget.execute(params![server, project]).map_err(write_error)? > 0 {
        connection
            .execute("DELETE FROM console_tokens WHERE server = ?1", [server])
            .map_err(write_error)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serialproxy_proto::id::LineKey;
    use serialproxy_proto::token::Mode;

    use super::*;

    fn grant(server: &str) -> Grant {
        Grant {
            line: LineKey { server: ServerId::of_static(server), port: 0 },
            user: "alice".into(),
            mode: Mode::Write,
            operator: true,
            wait: false,
            expires: Timestamp::MAX,
        }
    }

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store.sqlite")).unwrap();
        (directory, store)
    }

    fn is_good(store: &Store, token: &ConsoleToken) -> bool {
        store.validate(token.digest(), Timestamp::UNIX_EPOCH).unwrap().is_some()
    }

    #[test]
    fn a_change_of_project_ends_the_servers_tokens_and_no_others() {
        let (_directory, store) = store();
        let moved = store.authorize_in("a", &grant("moved")).unwrap();
        let stays = store.authorize_in("a", &grant("stays")).unwrap();
        let owners = |project: &str| {
            [("moved", project), ("stays", "a"), ("other", "b")]
                .map(|(server, project)| (ServerId::of_static(server), project.to_owned()))
        };
        store.revoke_tokens_of_former_owners(&owners("a")).unwrap();
        assert!(is_good(&store, &moved));
        store.revoke_tokens_of_former_owners(&owners("b")).unwrap();
        assert!(!is_good(&store, &moved) && is_good(&store, &stays));
        let new = store.authorize_in("b", &grant("moved")).unwrap();
        assert!(is_good(&store, &new));
    }

    #[test]
    fn a_token_for_the_new_project_ends_those_of_the_old_one() {
        let (_directory, store) = store();
        let old = store.authorize_in("a", &grant("moved")).unwrap();
        let new = store.authorize_in("b", &grant("moved")).unwrap();
        assert!(!is_good(&store, &old) && is_good(&store, &new));
    }

    #[test]
    fn owners_of_servers_without_tokens_are_not_kept() {
        let (_directory, store) = store();
        let token = store.authorize_in("a", &grant("web")).unwrap();
        let count = || {
            let sql = "SELECT count(*) FROM console_owners";
            store.lock().query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap()
        };
        store.purge_expired_tokens(Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(count(), 1);
        store.revoke(token.digest()).unwrap();
        store.purge_expired_tokens(Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(count(), 0);
    }
}
