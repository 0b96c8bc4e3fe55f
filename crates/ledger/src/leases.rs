//! Port leases: a TCP port belongs to one line until the line's owner gives it back.

use jiff::Timestamp;
use rusqlite::params;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use serialproxy_store::columns::server;
use serialproxy_store::columns::time;

use crate::Ledger;
use crate::LedgerError;

/// A port that a line holds, or held until `released`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PortLease {
    /// Address that the port is bound on.
    pub address: String,
    /// The TCP port.
    pub port: u16,
    /// The line.
    pub line: LineKey,
    /// When it was leased.
    pub since: Timestamp,
    /// When it was given back; it rests until it is leased again or forgotten.
    pub released: Option<Timestamp>,
}

impl Ledger {
    /// All leases, held and resting, ordered by address and port.
    ///
    /// # Errors
    ///
    /// When the file fails.
    pub fn port_leases(&self) -> Result<Vec<PortLease>, LedgerError> {
        let connection = self.connection();
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

    /// Leases a port to `line`, unless another line holds it. A resting port is leased, too: the
    /// caller knows whether it has rested for long enough.
    ///
    /// # Errors
    ///
    /// When the file fails.
    pub fn lease_port(
        &self,
        address: &str,
        port: u16,
        line: LineKey,
        now: Timestamp,
    ) -> Result<bool, LedgerError> {
        let changed = self.connection().execute(
            "INSERT INTO port_leases (address, port, server, serial_port, since)
                 VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (address, port) DO UPDATE
                 SET server = ?3, serial_port = ?4, since = ?5, released = NULL
                 WHERE released IS NOT NULL",
            params![address, port, line.server.to_string(), line.port, now.as_millisecond()],
        )?;
        Ok(changed == 1)
    }

    /// Gives back a port, if `line` holds it.
    ///
    /// # Errors
    ///
    /// When the file fails.
    pub fn release_port(
        &self,
        address: &str,
        port: u16,
        line: LineKey,
        now: Timestamp,
    ) -> Result<bool, LedgerError> {
        let changed = self.connection().execute(
            "UPDATE port_leases SET released = ?5
                 WHERE address = ?1 AND port = ?2 AND server = ?3 AND serial_port = ?4
                 AND released IS NULL",
            params![address, port, line.server.to_string(), line.port, now.as_millisecond()],
        )?;
        Ok(changed == 1)
    }

    /// Gives back all ports of a server; returns how many.
    ///
    /// # Errors
    ///
    /// When the file fails.
    pub fn release_ports_of(&self, server: ServerId, now: Timestamp) -> Result<usize, LedgerError> {
        Ok(self.connection().execute(
            "UPDATE port_leases SET released = ?2 WHERE server = ?1 AND released IS NULL",
            params![server.to_string(), now.as_millisecond()],
        )?)
    }

    /// Forgets ports that were given back before `then`.
    ///
    /// # Errors
    ///
    /// When the file fails.
    pub fn forget_ports_released_before(&self, then: Timestamp) -> Result<usize, LedgerError> {
        Ok(self
            .connection()
            .execute("DELETE FROM port_leases WHERE released < ?1", [then.as_millisecond()])?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn line(name: &str, port: u8) -> LineKey {
        LineKey { server: ServerId::of_static(name), port }
    }

    fn ledger() -> (tempfile::TempDir, Ledger) {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&directory.path().join("store.sqlite")).unwrap();
        (directory, ledger)
    }

    #[test]
    fn a_held_port_is_not_leased_again() {
        let (_directory, ledger) = ledger();
        assert!(ledger.lease_port("127.0.0.1", 10000, line("a", 0), NOW).unwrap());
        assert!(!ledger.lease_port("127.0.0.1", 10000, line("b", 0), NOW).unwrap());
        assert!(ledger.lease_port("127.0.0.2", 10000, line("b", 0), NOW).unwrap());
    }

    #[test]
    fn only_its_owner_releases_a_port() {
        let (_directory, ledger) = ledger();
        ledger.lease_port("::1", 10000, line("a", 0), NOW).unwrap();
        assert!(!ledger.release_port("::1", 10000, line("b", 0), NOW).unwrap());
        assert!(!ledger.release_port("::1", 10000, line("a", 1), NOW).unwrap());
        assert!(ledger.release_port("::1", 10000, line("a", 0), NOW).unwrap());
        assert!(!ledger.release_port("::1", 10000, line("a", 0), NOW).unwrap());
    }

    #[test]
    fn a_released_port_rests_until_it_is_leased_or_forgotten() {
        let (_directory, ledger) = ledger();
        let later = Timestamp::from_second(60).unwrap();
        ledger.lease_port("::1", 10000, line("a", 0), NOW).unwrap();
        ledger.lease_port("::1", 10001, line("a", 1), NOW).unwrap();
        assert_eq!(ledger.release_ports_of(line("a", 0).server, NOW).unwrap(), 2);
        assert_eq!(ledger.port_leases().unwrap()[0].released, Some(NOW));
        assert!(ledger.lease_port("::1", 10000, line("b", 0), later).unwrap());
        assert_eq!(ledger.forget_ports_released_before(later).unwrap(), 1);
        let leases = ledger.port_leases().unwrap();
        assert_eq!(leases.len(), 1);
        assert_eq!(leases[0].line, line("b", 0));
        assert_eq!(leases[0].since, later);
    }

    #[test]
    fn leases_outlive_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.sqlite");
        Ledger::open(&path).unwrap().lease_port("::1", 10000, line("a", 0), NOW).unwrap();
        assert_eq!(Ledger::open(&path).unwrap().port_leases().unwrap().len(), 1);
    }
}
