//! Values for the recording of sessions.

use std::ops::RangeInclusive;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use crate::refusal::Refusal;
use crate::scalar::boolean;
use crate::scalar::choice;
use crate::scalar::number;
use crate::scalar::path;
use crate::scalar::size;
use crate::values::RecordInput;
use crate::values::RecordPlace;

/// Less could not contain a session, and more than 1 TiB would be no limit.
const LIMIT: RangeInclusive<u64> = 64 * 1024..=1024 * 1024 * 1024 * 1024;

/// More than 1 PiB would be no limit.
const TOTAL: RangeInclusive<u64> = 64 * 1024..=1024 * 1024 * 1024 * 1024 * 1024;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The place of recordings: none, below the state directory, or a path that their names begin with,
/// as in Nova.
pub(crate) fn place(text: &str, state_dir: &Path) -> Result<Option<RecordPlace>, String> {
    match boolean(text) {
        Ok(false) => return Ok(None),
        Ok(true) => {
            let directory = state_dir.join("records");
            return Ok(Some(RecordPlace { directory, name: String::new() }));
        }
        Err(_) if text.is_empty() => return Ok(None),
        // A misspelled word must not become a file name.
        Err(_) if !text.contains('/') => {
            return Err("is neither a boolean nor a path with a /".into());
        }
        Err(_) => {}
    }
    let prefix = path(text)?;
    let parts = (prefix.parent(), prefix.file_name().and_then(|name| name.to_str()));
    Ok(Some(match parts {
        (Some(directory), Some(name)) if !text.ends_with('/') && !prefix.is_dir() => {
            RecordPlace { directory: directory.to_owned(), name: format!("{name}.") }
        }
        _ => RecordPlace { directory: PathBuf::from(&prefix), name: String::new() },
    }))
}

/// The maximum size of a recording.
pub(crate) fn limit(text: &str) -> Result<u64, String> {
    size(text, LIMIT, "64 KiB and 1 TiB")
}

/// The maximum size of all recordings.
pub(crate) fn total(text: &str) -> Result<u64, String> {
    size(text, TOTAL, "64 KiB and 1 PiB")
}

/// The recorded part of the input.
pub(crate) fn input(text: &str) -> Result<RecordInput, Refusal> {
    choice(text, &[("masked", RecordInput::Masked), ("full", RecordInput::Full)])
}

/// How long recordings are kept.
pub(crate) fn keep(text: &str) -> Result<Option<Duration>, String> {
    let days = number(text, 0..=36500_u32)?;
    Ok((days > 0).then(|| DAY * days))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(text: &str) -> Option<(String, String)> {
        let place = place(text, Path::new("/state")).unwrap()?;
        Some((place.directory.to_str().unwrap().to_owned(), place.name))
    }

    #[test]
    fn recordings_go_below_the_state_directory_or_to_a_prefix() {
        let at = |directory: &str, name: &str| Some((directory.to_owned(), name.to_owned()));
        assert_eq!(placed("false"), None);
        assert_eq!(placed(""), None);
        assert_eq!(placed("Yes"), at("/state/records", ""));
        assert_eq!(placed("/var/records/console"), at("/var/records", "console."));
        assert_eq!(placed("/var/records/"), at("/var/records/", ""));
        assert_eq!(placed("/tmp"), at("/tmp", ""));
        let refused = place("ture", Path::new("/state"));
        assert_eq!(refused, Err("is neither a boolean nor a path with a /".into()));
    }

    #[test]
    fn a_recording_has_a_largest_size_and_an_age() {
        assert_eq!(limit("1GiB"), Ok(1024 * 1024 * 1024));
        assert_eq!(limit("1K"), Err("is not within 64 KiB and 1 TiB".into()));
        assert_eq!(total("10GiB"), Ok(10 * 1024 * 1024 * 1024));
        assert_eq!(total("1K"), Err("is not within 64 KiB and 1 PiB".into()));
        assert_eq!(keep("0"), Ok(None));
        assert_eq!(keep("2"), Ok(Some(DAY * 2)));
        assert_eq!(keep("x"), Err("is not a whole number".into()));
    }
}
