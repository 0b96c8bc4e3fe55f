//! Values that are words and numbers. The text of a refusal continues after the value: `"x" is not
//! …`.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::refusal::Refusal;

/// Ten years: no wait needs more, and a time plus this never overflows.
const MAX_SECONDS: u64 = 10 * 365 * 24 * 3600;

/// A history has at least a page and at most 1 GiB, since it may be kept in memory.
const HISTORY: RangeInclusive<u64> = 4 * 1024..=1024 * 1024 * 1024;

/// A boolean as oslo.config reads it.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("is not a boolean".into()),
    }
}

/// A number in decimal digits, within bounds.
pub(crate) fn number<T>(text: &str, bounds: RangeInclusive<T>) -> Result<T, String>
where
    T: Copy + PartialOrd + std::fmt::Display + TryFrom<u64>,
{
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("is not a whole number".into());
    }
    let value = text.parse::<u64>().ok().and_then(|value| T::try_from(value).ok());
    match value.filter(|value| bounds.contains(value)) {
        Some(value) => Ok(value),
        None => Err(format!("is not within {} and {}", bounds.start(), bounds.end())),
    }
}

/// A time in seconds, at least `least`.
pub(crate) fn seconds(text: &str, least: u64) -> Result<Duration, String> {
    number(text, least..=MAX_SECONDS).map(Duration::from_secs)
}

/// The size of a history.
pub(crate) fn history_size(text: &str) -> Result<usize, String> {
    let size = size(text, HISTORY, "4 KiB and 1 GiB")?;
    usize::try_from(size).map_err(|error| format!("is too large: {error}"))
}

/// A size in bytes or with a binary unit, within bounds, which `words` describe.
pub(crate) fn size(text: &str, bounds: RangeInclusive<u64>, words: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit: u64 = match text.strip_prefix(digits).unwrap_or("").trim() {
        "" => 1,
        "K" | "KiB" => 1024,
        "M" | "MiB" => 1024 * 1024,
        "G" | "GiB" => 1024 * 1024 * 1024,
        _ => return Err("has a unit other than K, KiB, M, MiB, G and GiB".into()),
    };
    let size = number(digits, 0..=u64::MAX)?.checked_mul(unit);
    size.filter(|size| bounds.contains(size)).ok_or_else(|| format!("is not within {words}"))
}

/// The items of a list. White space around them and a trailing comma do not count.
pub(crate) fn list(text: &str) -> Result<Vec<&str>, String> {
    let text = text.trim();
    let text = text.strip_suffix(',').unwrap_or(text);
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let items: Vec<_> = text.split(',').map(str::trim).collect();
    if items.contains(&"") { Err("has an empty item".into()) } else { Ok(items) }
}

/// One of some words.
pub(crate) fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, Refusal> {
    let chosen = choices.iter().find(|(name, _)| *name == text);
    chosen.map(|(_, value)| *value).ok_or_else(|| "is not one of the choices".into())
}

/// A path. A relative one is made absolute here, from the working directory, since libvirt accepts
/// only absolute paths.
pub(crate) fn path(text: &str) -> Result<PathBuf, String> {
    one_line(text)?;
    std::path::absolute(text).map_err(|error| format!("is not a path: {error}"))
}

/// A directory that exists.
pub(crate) fn directory(text: &str) -> Result<PathBuf, String> {
    let path = path(text)?;
    match path.metadata() {
        Ok(metadata) if metadata.is_dir() => Ok(path),
        Ok(_) => Err("is not a directory".into()),
        Err(error) => Err(format!("is not a directory that can be used: {error}")),
    }
}

/// A file that exists.
pub(crate) fn file(text: &str) -> Result<PathBuf, String> {
    let path = path(text)?;
    match path.metadata() {
        Ok(metadata) if metadata.is_dir() => Err("is a directory".into()),
        Ok(_) => Ok(path),
        Err(error) => Err(format!("is not a file that can be used: {error}")),
    }
}

/// The text, if it has no line breaks.
pub(crate) fn one_line(text: &str) -> Result<&str, String> {
    if text.contains('\n') { Err("has more than one line".into()) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn booleans_are_those_of_oslo_in_any_case() {
        for text in ["true", "True", "1", "YES", "on"] {
            assert_eq!(boolean(text), Ok(true));
        }
        for text in ["false", "FALSE", "0", "No", "off"] {
            assert_eq!(boolean(text), Ok(false));
        }
        for text in ["", "2", "y", "t", "enabled", "true "] {
            assert_eq!(boolean(text), Err("is not a boolean".into()));
        }
    }

    #[test]
    fn numbers_are_digits_within_bounds() {
        assert_eq!(number("0", 0..=9), Ok(0));
        assert_eq!(number("0009", 0..=9), Ok(9));
        for text in ["", "-1", "+1", "1.0", "1_0", "0x1", " 1", "１"] {
            assert_eq!(number(text, 0..=9), Err("is not a whole number".into()));
        }
        for text in ["10", "99999999999999999999999"] {
            assert_eq!(number(text, 0..=9), Err("is not within 0 and 9".into()));
        }
    }

    #[test]
    fn times_are_whole_seconds() {
        assert_eq!(seconds("0", 0), Ok(Duration::ZERO));
        assert_eq!(seconds("0", 1), Err("is not within 1 and 315360000".into()));
        assert_eq!(seconds("20s", 1), Err("is not a whole number".into()));
    }

    #[test]
    fn sizes_take_binary_units() {
        assert_eq!(history_size("4096"), Ok(4096));
        assert_eq!(history_size("256K"), Ok(256 * 1024));
        assert_eq!(history_size("256 KiB"), Ok(256 * 1024));
        assert_eq!(history_size("1M"), Ok(1024 * 1024));
        assert_eq!(history_size("1024MiB"), Ok(1024 * 1024 * 1024));
        for text in ["4095", "0", "3K", "1025M", "18446744073709551615M"] {
            assert_eq!(history_size(text), Err("is not within 4 KiB and 1 GiB".into()));
        }
        for text in ["1kB", "1T", "1k", "1MiBs", "1M1K!"] {
            let unit = history_size(text);
            assert_eq!(
                unit,
                Err("has a unit other than K, KiB, M, MiB, G and GiB".into()),
                "{text}"
            );
        }
        for text in ["", "K", "-4K", "1.5M"] {
            assert_eq!(history_size(text), Err("is not a whole number".into()), "{text}");
        }
    }

    #[test]
    fn lists_have_commas_and_may_span_lines() {
        assert_eq!(list(""), Ok(vec![]));
        assert_eq!(list("a"), Ok(vec!["a"]));
        assert_eq!(list("a, b,\nc,"), Ok(vec!["a", "b", "c"]));
        assert_eq!(list("a,,b"), Err("has an empty item".into()));
    }

    #[test]
    fn a_choice_is_one_of_its_words_as_they_are_written() {
        let choose = |text| choice(text, &[("one", 1)]);
        assert_eq!(choose("one"), Ok(1));
        assert_eq!(choose("One"), Err("is not one of the choices".into()));
    }

    #[test]
    fn paths_become_absolute() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(path("images"), Ok(here.join("images")));
        assert_eq!(path("/images"), Ok("/images".into()));
        assert_eq!(path("/a\n/b"), Err("has more than one line".into()));
    }

    #[test]
    fn a_directory_must_exist_and_be_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let dir = dir.path().to_str().unwrap();
        assert_eq!(directory(dir), Ok(dir.into()));
        assert_eq!(directory(file.to_str().unwrap()), Err("is not a directory".into()));
        let missing = directory(&format!("{dir}/missing")).unwrap_err();
        assert!(missing.starts_with("is not a directory that can be used: No such file"));
    }

    proptest! {
        #[test]
        fn no_text_makes_them_panic(text in "[0-9KMiB ,.\n-]{0,24}|.{0,40}") {
            let _ = (boolean(&text), number(&text, 0..=65535_u32), seconds(&text, 0));
            let _ = (history_size(&text), list(&text), path(&text), directory(&text));
        }

        #[test]
        fn every_size_in_bounds_is_itself(size in 4096_usize..=1 << 30) {
            prop_assert_eq!(history_size(&size.to_string()), Ok(size));
        }
    }
}
