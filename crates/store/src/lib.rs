//! The persistent SQLite file: its tables, and its errors. The crates that use the tables define
//! their meaning.
//!
//! One SQLite file in WAL mode, so that several roles on one host may share it. Calls block for
//! tens of microseconds (a commit that must survive a power cut: some hundred); async callers
//! run them on a blocking thread.

pub mod columns;

use std::fmt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::ErrorCode;
use rusqlite::OpenFlags;

/// The embedded store.
pub struct Store {
    connection: Mutex<Connection>,
}

/// Why a call to the store failed. The text contains neither a path nor a token.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be used.
    #[error("the store cannot be opened: {0}")]
    Open(String),
    /// The file was written by a newer version.
    #[error(
        "the store has schema version {found}, but this program only knows versions up to \
             {known}: run the newer serialproxy, or restore the backup from before the upgrade"
    )]
    TooNew {
        /// Version in the file.
        found: i64,
        /// Version of this program.
        known: i64,
    },
    /// There is no space, or no permission to write.
    #[error("the store cannot be written (disk full?): {0}")]
    Write(String),
    /// Another error of SQLite.
    #[error("the store failed: {0}")]
    Failed(String),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull | ErrorCode::ReadOnly | ErrorCode::SystemIoFailure) => {
                Self::Write(error.to_string())
            }
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// One entry for each step. A released step is never changed; new ones are added.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE port_leases (
        address TEXT NOT NULL,
        port INTEGER NOT NULL,
        server TEXT NOT NULL,
        serial_port INTEGER NOT NULL,
        since INTEGER NOT NULL,
        released INTEGER,
        PRIMARY KEY (address, port)
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE console_tokens (
        digest BLOB PRIMARY KEY,
        server TEXT NOT NULL,
        serial_port INTEGER NOT NULL,
        user TEXT NOT NULL,
        mode TEXT NOT NULL,
        operator INTEGER NOT NULL,
        wait INTEGER NOT NULL,
        expires INTEGER NOT NULL
    ) WITHOUT ROWID, STRICT;
    CREATE INDEX console_tokens_expires ON console_tokens (expires);
    CREATE INDEX console_tokens_server ON console_tokens (server);
",
    "
    CREATE TABLE adoptions (
        server TEXT PRIMARY KEY,
        before TEXT NOT NULL,
        after TEXT
    ) WITHOUT ROWID, STRICT;
",
    // A token without a name belongs to a login.
    "
    CREATE TABLE api_tokens (
        digest BLOB PRIMARY KEY,
        name TEXT UNIQUE,
        user TEXT NOT NULL,
        user_id TEXT NOT NULL,
        project TEXT NOT NULL,
        role TEXT NOT NULL,
        created INTEGER NOT NULL,
        expires INTEGER
    ) WITHOUT ROWID, STRICT;
    CREATE INDEX api_tokens_user ON api_tokens (user_id);
    CREATE INDEX api_tokens_expires ON api_tokens (expires);
",
    // The project of each server at the time when its console tokens were made.
    "
    CREATE TABLE console_owners (
        server TEXT PRIMARY KEY,
        project TEXT NOT NULL
    ) WITHOUT ROWID, STRICT;
",
    "
    CREATE TABLE users (
        name TEXT PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        project TEXT NOT NULL,
        role TEXT NOT NULL,
        created INTEGER NOT NULL,
        hash TEXT NOT NULL
    ) WITHOUT ROWID, STRICT;
",
    // Each console token contains its project. A token without a known project becomes invalid.
    "
    ALTER TABLE console_tokens ADD COLUMN project TEXT NOT NULL DEFAULT '';
    DELETE FROM console_tokens WHERE server NOT IN (SELECT server FROM console_owners);
    UPDATE console_tokens SET project =
        (SELECT project FROM console_owners WHERE console_owners.server = console_tokens.server);
    DROP TABLE console_owners;
",
    // `keys`: digests of 32 bytes each, one after the other.
    "
    CREATE TABLE sessions (
        id TEXT PRIMARY KEY,
        server TEXT NOT NULL,
        serial_port INTEGER NOT NULL,
        keys BLOB NOT NULL,
        token BLOB NOT NULL,
        project TEXT,
        user TEXT NOT NULL,
        may TEXT NOT NULL,
        operator INTEGER NOT NULL,
        ends INTEGER,
        since INTEGER NOT NULL,
        writes INTEGER NOT NULL,
        address TEXT NOT NULL
    ) WITHOUT ROWID, STRICT;
",
    // Of a login at the page with a token: that token, encrypted with the login's secret.
    "
    ALTER TABLE api_tokens ADD COLUMN sealed TEXT;
",
    // Of a link that a user shared: its public id, its maker's id and when it was made; of a session, the
    // link that opened it.
    "
    ALTER TABLE console_tokens ADD COLUMN link TEXT;
    ALTER TABLE console_tokens ADD COLUMN maker TEXT;
    ALTER TABLE console_tokens ADD COLUMN created INTEGER;
    ALTER TABLE sessions ADD COLUMN link TEXT;
",
];

impl Store {
    /// Opens the store, and creates the file (mode 0600) and its tables where they are missing.
    ///
    /// # Errors
    ///
    /// When the file cannot be used or belongs to a newer version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        // SQLite gives its journal files the mode of the main file.
        std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(|error| StoreError::Open(error.to_string()))?;
        let mut connection =
            Connection::open(path).map_err(|error| StoreError::Open(error.to_string()))?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        migrate(&mut connection)?;
        Ok(Self { connection: Mutex::new(connection) })
    }

    /// Whether [`open`](Self::open) could use the file, as far as reading it tells. Writes nothing. Of a
    /// file with a journal only the version is checked, since the file alone need not be consistent.
    ///
    /// # Errors
    ///
    /// When the file is damaged, is no database, cannot be read, or belongs to a newer version.
    pub fn examine(path: &Path) -> Result<(), StoreError> {
        // SQLite keeps the journal beside the file itself, not beside a link to it.
        let path = path.canonicalize().map_err(|error| StoreError::Open(error.to_string()))?;
        let name = path.to_str().ok_or_else(|| StoreError::Open("its path is not UTF-8".into()))?;
        // SQLite would otherwise create the files of a journal (sqlite.org/uri.html).
        let escaped = name.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        let connection = Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags)
            .map_err(|error| StoreError::Open(error.to_string()))?;
        refuse_newer(&connection)?;
        let journal = std::fs::metadata(format!("{name}-wal"));
        if journal.is_ok_and(|journal| journal.len() > 0) {
            return Ok(());
        }
        // The first complaint, or `ok`.
        let said: String = connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?;
        if said == "ok" { Ok(()) } else { Err(StoreError::Failed(said)) }
    }

    /// The connection to the file. Only one caller can use it at a time.
    pub fn connection(&self) -> MutexGuard<'_, Connection> {
        // A statement that panicked was rolled back; the connection itself is sound.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

/// The versions of the file's tables and of this program's.
fn refuse_newer(connection: &Connection) -> Result<(i64, i64), StoreError> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > known { Err(StoreError::TooNew { found, known }) } else { Ok((found, known)) }
}

fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let (found, known) = refuse_newer(&transaction)?;
    for step in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", known)?;
    Ok(transaction.commit()?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_file_is_readable_by_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.sqlite");
        let _store = Store::open(&path).unwrap();
        for entry in std::fs::read_dir(directory.path()).unwrap() {
            let mode = entry.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0);
        }
    }

    #[test]
    fn an_examination_finds_what_an_opening_would_and_writes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a%3f?#.sqlite");
        drop(Store::open(&path).unwrap());
        Store::examine(&path).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);

        let whole = std::fs::read(&path).unwrap();
        let mut damaged = whole.clone();
        damaged[5000..9000].fill(0xff);
        std::fs::write(&path, damaged).unwrap();
        assert!(matches!(Store::examine(&path), Err(StoreError::Failed(_))));
        std::fs::write(&path, "no database").unwrap();
        let error = Store::examine(&path).unwrap_err().to_string();
        assert!(error.contains("not a database"), "{error}");
        assert!(Store::open(&path).is_err());

        std::fs::write(&path, whole).unwrap();
        let newer = Connection::open(&path).unwrap();
        newer.pragma_update(None, "user_version", 1_000).unwrap();
        drop(newer);
        assert!(matches!(Store::examine(&path), Err(StoreError::TooNew { found: 1_000, .. })));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(Store::examine(&path), Err(StoreError::Open(_))));
        assert!(!path.exists());
    }

    #[test]
    fn console_tokens_of_before_keep_the_project_that_was_noted_for_their_server() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.sqlite");
        let old = Connection::open(&path).unwrap();
        for step in &MIGRATIONS[..5] {
            old.execute_batch(step).unwrap();
        }
        old.pragma_update(None, "user_version", 5).unwrap();
        for server in ["moved", "unknown"] {
            old.execute(
                "INSERT INTO console_tokens VALUES (?1, ?2, 3, 'alice', 'write', 1, 0, 1000)",
                rusqlite::params![server.as_bytes(), server],
            )
            .unwrap();
        }
        old.execute("INSERT INTO console_owners VALUES ('moved', 'team-a')", []).unwrap();
        drop(old);

        let store = Store::open(&path).unwrap();
        let connection = store.connection();
        let mut tokens = connection.prepare("SELECT server, project FROM console_tokens").unwrap();
        let tokens = tokens.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let tokens: Vec<(String, String)> = tokens.map(Result::unwrap).collect();
        assert_eq!(tokens, [("moved".to_owned(), "team-a".to_owned())]);
    }

    #[test]
    fn the_store_of_every_earlier_version_becomes_what_a_new_one_is() {
        let directory = tempfile::tempdir().unwrap();
        let tables = |store: &Store| -> Vec<(String, String)> {
            let connection = store.connection();
            let mut tables = connection
                .prepare("SELECT name, sql FROM sqlite_schema WHERE sql NOT NULL ORDER BY name")
                .unwrap();
            let tables = tables.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            tables.map(Result::unwrap).collect()
        };
        let new = tables(&Store::open(&directory.path().join("new.sqlite")).unwrap());
        for version in 0..MIGRATIONS.len() {
            let path = directory.path().join(format!("{version}.sqlite"));
            let old = Connection::open(&path).unwrap();
            for step in &MIGRATIONS[..version] {
                old.execute_batch(step).unwrap();
            }
            old.pragma_update(None, "user_version", i64::try_from(version).unwrap()).unwrap();
            drop(old);
            assert_eq!(tables(&Store::open(&path).unwrap()), new, "version {version}");
        }
    }

    #[test]
    fn a_store_of_a_newer_version_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.sqlite");
        Store::open(&path).unwrap().connection().pragma_update(None, "user_version", 99).unwrap();
        let error = Store::open(&path).unwrap_err();
        assert!(error.to_string().contains("version 99"), "{error}");
    }
}
