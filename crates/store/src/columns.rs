//! What columns of several tables hold.

use jiff::Timestamp;
use rusqlite::Error;
use rusqlite::Row;
use rusqlite::types::Type;
use serialproxy_proto::id::ServerId;

/// The server whose UUID a column holds.
///
/// # Errors
///
/// When it holds none.
pub fn server(row: &Row<'_>, column: usize) -> rusqlite::Result<ServerId> {
    row.get::<_, String>(column)?
        .parse()
        .map_err(|error| Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

/// A time, of which a column holds the milliseconds since 1970.
pub fn time(milliseconds: i64) -> Timestamp {
    // Only a damaged file holds a time that is out of range; such a lease or token is over.
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}
