//! Port leases: a TCP port belongs to one line until the line's owner gives it back.

use jiff::Timestamp;
use rusqlite::params;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;

use crate::Store;
use crate::StoreError;
use crate::write_error;

/// A port that a line holds, or held until `released`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PortLease {
    /// Address that the port is bound on.
    pub address: String,
    /// The TCP port.
    pub port: u16,
    /// Whose it is.
    pub line: LineKey,
    /// Since when.
    pub since: Timestamp,
    /// When it was given back; it rests until it is leased again or forgotten.
    pub released: Option<Timestamp>,
}

impl Store {
    /// All leases, held and resting, ordered by address and port.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub fn port_leases(&self) -> Result<Vec<PortLease>, StoreError> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(
            "SELECT address, port, server, serial_port, since, released FROM port_leases
             ORDER BY address, port",
        )?;
        let rows = statement.query_map([], |row| {
            Ok(PortLease {
                address: row.get(0)?,
                port: row.get(1)?,
                line: LineKey { server: server(row, 2)?, port: row.get(3)? },
                since: time(row.get(4)?),
                released: row.get::<_, Option<i64>>(5)?.map(time),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Leases a port to `line`, if nobody holds it. A resting port is taken: whether it has
    /// rested long enough is the caller's to know.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub fn lease_port(
        &self,
        address: &str,
        port: u16,
        line: LineKey,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let changed = self
            .lock()
            .execute(
                "INSERT INTO port_leases (address, port, server, serial_port, since)
                 VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (address, port) DO UPDATE
                 SET server = ?3, serial_port = ?4, since = ?5, released = NULL
                 WHERE released IS NOT NULL",
                params![address, port, line.server.to_string(), line.port, now.as_millisecond()],
            )
            .map_err(write_error)?;
        Ok(changed == 1)
    }

    /// Gives back a port, if `line` holds it.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub fn release_port(
        &self,
        address: &str,
        port: u16,
        line: LineKey,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let changed = self
            .lock()
            .execute(
                "UPDATE port_leases SET released = ?5
                 WHERE address = ?1 AND port = ?2 AND server = ?3 AND serial_port = ?4
                 AND released IS NULL",
                params![address, port, line.server.to_string(), line.port, now.as_millisecond()],
            )
            .map_err(write_error)?;
        Ok(changed == 1)
    }

    /// Gives back all ports of a server; returns how many.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub fn release_ports_of(&self, server: ServerId, now: Timestamp) -> Result<usize, StoreError> {
        self.lock()
            .execute(
                "UPDATE port_leases SET released = ?2 WHERE server = ?1 AND released IS NULL",
                params![server.to_string(), now.as_millisecond()],
            )
            .map_err(write_error)
    }

    /// Forgets ports that were given back before `then`.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub fn forget_ports_released_before(&self, then: Timestamp) -> Result<usize, StoreError> {
        self.lock()
            .execute("DELETE FROM port_leases WHERE released < ?1", [then.as_millisecond()])
            .map_err(write_error)
    }
}

pub(crate) fn server(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<ServerId> {
    row.get::<_, String>(column)?.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(
            column,
            rusqlite::types::Type::Text,
            Box::new(error),
        )
    })
}

pub(crate) fn time(milliseconds: i64) -> Timestamp {
    // Only a damaged file holds a time that is out of range; such a lease or token is over.
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn line(name: &str, port: u8) -> LineKey {
        LineKey { server: ServerId::of_static(name), port }
    }

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store.sqlite")).unwrap();
        (directory, store)
    }

    #[test]
    fn a_held_port_is_not_leased_again() {
        let (_directory, store) = store();
        assert!(store.lease_port("127.0.0.1", 10000, line("a", 0), NOW).unwrap());
        assert!(!store.lease_port("127.0.0.1", 10000, line("b", 0), NOW).unwrap());
        assert!(store.lease_port("127.0.0.2", 10000, line("b", 0), NOW).unwrap());
    }

    #[test]
    fn only_its_owner_releases_a_port() {
        let (_directory, store) = store();
        store.lease_port("::1", 10000, line("a", 0), NOW).unwrap();
        assert!(!store.release_port("::1", 10000, line("b", 0), NOW).unwrap());
        assert!(!store.release_port("::1", 10000, line("a", 1), NOW).unwrap());
        assert!(store.release_port("::1", 10000, line("a", 0), NOW).unwrap());
        assert!(!store.release_port("::1", 10000, line("a", 0), NOW).unwrap());
    }

    #[test]
    fn a_released_port_rests_until_it_is_leased_or_forgotten() {
        let (_directory, store) = store();
        let later = Timestamp::from_second(60).unwrap();
        store.lease_port("::1", 10000, line("a", 0), NOW).unwrap();
        store.lease_port("::1", 10001, line("a", 1), NOW).unwrap();
        assert_eq!(store.release_ports_of(line("a", 0).server, NOW).unwrap(), 2);
        assert_eq!(store.port_leases().unwrap()[0].released, Some(NOW));
        assert!(store.lease_port("::1", 10000, line("b", 0), later).unwrap());
        assert_eq!(store.forget_ports_released_before(later).unwrap(), 1);
        let leases = store.port_leases().unwrap();
        assert_eq!(leases.len(), 1);
        assert_eq!(leases[0].line, line("b", 0));
        assert_eq!(leases[0].since, later);
    }

    #[test]
    fn leases_outlive_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.sqlite");
        Store::open(&path).unwrap().lease_port("::1", 10000, line("a", 0), NOW).unwrap();
        assert_eq!(Store::open(&path).unwrap().port_leases().unwrap().len(), 1);
    }
}
