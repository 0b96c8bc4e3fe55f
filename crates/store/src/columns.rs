//! The content of columns in several tables.

use jiff::Timestamp;
use rusqlite::Error;
use rusqlite::Row;
use rusqlite::types::Type;
use serialproxy_proto::id::ServerId;

/// The server whose UUID is in a column.
///
/// # Errors
///
/// When the column has no valid UUID.
pub fn server(row: &Row<'_>, column: usize) -> rusqlite::Result<ServerId> {
    row.get::<_, String>(column)?
        .parse()
        .map_err(|error| Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

/// A time from the milliseconds since 1970 in a column.
pub fn time(milliseconds: i64) -> Timestamp {
    // Only a damaged file has a time that is out of range; such a lease or token counts as expired.
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}
