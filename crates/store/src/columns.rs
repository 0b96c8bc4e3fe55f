//! The content of columns in several tables.

use jiff::Timestamp;
use rusqlite::Error;
use rusqlite::Row;
use rusqlite::types::Type;
use serialproxy_proto::id::LinkId;
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

/// The id of a shared link in a column; none where the column is null.
///
/// # Errors
///
/// When the column has no valid UUID.
pub fn link(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<LinkId>> {
    let parse = |text: String| {
        text.parse()
            .map_err(|error| Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
    };
    row.get::<_, Option<String>>(column)?.map(parse).transpose()
}

/// A time from the milliseconds since 1970 in a column.
pub fn time(milliseconds: i64) -> Timestamp {
    // Only a damaged file has a time that is out of range; such a lease or token counts as expired.
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}
