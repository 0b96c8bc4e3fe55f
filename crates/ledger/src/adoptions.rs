//! Adoptions: the serial devices of a domain from before it got ports of ours.

use rusqlite::OptionalExtension;
use rusqlite::params;
use serialproxy_proto::id::ServerId;
use serialproxy_store::columns::server;

use crate::Ledger;
use crate::LedgerError;

/// What an adoption changed, as pieces of the domain's XML.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Adoption {
    /// The XML before.
    pub before: String,
    /// The XML after; `None` while the change is in progress, or if it was interrupted.
    pub after: Option<String>,
}

impl Ledger {
    /// Stores an adoption; replaces an earlier one of the same server.
    ///
    /// # Errors
    ///
    /// When the file fails.
    pub fn keep_adoption(&self, server: ServerId, adoption: &Adoption) -> Result<(), LedgerError> {
        self.connection().execute(
            "INSERT OR REPLACE INTO adoptions (server, before, after) VALUES (?1, ?2, ?3)",
            params![server.to_string(), adoption.before, adoption.after],
        )?;
        Ok(())
    }

    /// The adoption of a server, if it was adopted.
    ///
    /// # Errors
    ///
    /// When the file fails.
    pub fn adoption(&self, server: ServerId) -> Result<Option<Adoption>, LedgerError> {
        let connection = self.connection();
        let mut statement =
            connection.prepare_cached("SELECT before, after FROM adoptions WHERE server = ?1")?;
        let adoption = statement
            .query_row([server.to_string()], |row| {
                Ok(Adoption { before: row.get(0)?, after: row.get(1)? })
            })
            .optional()?;
        Ok(adoption)
    }

    /// All servers that are adopted.
    ///
    /// # Errors
    ///
    /// When the file fails.
    pub fn adopted(&self) -> Result<Vec<ServerId>, LedgerError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached("SELECT server FROM adoptions")?;
        let rows = statement.query_map([], |row| server(row, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Forgets the adoption of a server.
    ///
    /// # Errors
    ///
    /// When the file fails.
    pub fn forget_adoption(&self, server: ServerId) -> Result<(), LedgerError> {
        self.connection()
            .execute("DELETE FROM adoptions WHERE server = ?1", [server.to_string()])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adoption_is_kept_until_it_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.sqlite");
        let ledger = Ledger::open(&path).unwrap();
        let (one, other) = (ServerId::of_static("a"), ServerId::of_static("b"));
        let begun = Adoption { before: "<serial type='pty'/>".into(), after: None };
        ledger.keep_adoption(one, &begun).unwrap();
        assert_eq!(ledger.adoption(one).unwrap(), Some(begun.clone()));
        assert_eq!(ledger.adoption(other).unwrap(), None);

        let done = Adoption { after: Some("<serial type='tcp'/>".into()), ..begun };
        ledger.keep_adoption(one, &done).unwrap();
        drop(ledger);
        let ledger = Ledger::open(&path).unwrap();
        assert_eq!(ledger.adoption(one).unwrap(), Some(done));
        assert_eq!(ledger.adopted().unwrap(), [one]);
        ledger.forget_adoption(one).unwrap();
        assert_eq!(ledger.adoption(one).unwrap(), None);
    }
}
