//! The errors of a configuration, and their places.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Most problems in one error; more are only counted.
const MAX_PROBLEMS: usize = 100;

/// Most characters of a text that a message repeats.
const MAX_SHOWN: usize = 80;

/// Where a value comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Origin {
    /// It is not set.
    Default,
    /// A line of a file.
    File {
        /// The file, as the user named it.
        file: Arc<Path>,
        /// The line, from 1.
        line: usize,
    },
    /// A flag of the command line; its name without the dashes.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, line } => write!(f, "{}:{line}", escaped(&file.to_string_lossy())),
            Self::Flag(flag) => write!(f, "flag --{}", shown(flag)),
        }
    }
}

/// One problem, by remedy. Its text is one line.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Problem {
    /// A file cannot be read.
    #[error("{file}: {reason}")]
    Unreadable {
        /// The file, as the user named it.
        file: String,
        /// Why not.
        reason: String,
    },
    /// A line has a wrong format, or a flag is not an option's.
    #[error("{origin}: {reason}")]
    Malformed {
        /// The place.
        origin: Origin,
        /// The problem.
        reason: String,
    },
    /// The group does not exist.
    #[error("{origin}: [{group}]: unknown group; {hint}")]
    UnknownGroup {
        /// The place.
        origin: Origin,
        /// The group as written.
        group: String,
        /// The existing groups.
        hint: String,
    },
    /// The group has no such option.
    #[error("{origin}: [{group}] {option}: unknown option; {hint}")]
    UnknownOption {
        /// The place.
        origin: Origin,
        /// The group.
        group: String,
        /// The option as written.
        option: String,
        /// The existing options.
        hint: String,
    },
    /// The option does not allow this value.
    #[error("{origin}: [{group}] {option}: {reason}")]
    BadValue {
        /// The place.
        origin: Origin,
        /// The group.
        group: &'static str,
        /// The option.
        option: &'static str,
        /// The problem, and the allowed values.
        reason: String,
    },
    /// There are further problems.
    #[error("and {count} more")]
    More {
        /// Their number.
        count: usize,
    },
}

/// All problems, one line each.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigError {
    /// Never empty; at most about a hundred.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(f, "{end}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Collects problems: each once, and a limited number.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    listed: Vec<Problem>,
    more: usize,
}

impl Problems {
    pub(crate) fn add(&mut self, problem: Problem) {
        if self.listed.len() >= MAX_PROBLEMS {
            self.more += 1;
        } else if !self.listed.contains(&problem) {
            self.listed.push(problem);
        }
    }

    /// The value, unless there were problems.
    pub(crate) fn none_or<T>(mut self, value: T) -> Result<T, ConfigError> {
        if self.more > 0 {
            self.listed.push(Problem::More { count: self.more });
        }
        if self.listed.is_empty() {
            return Ok(value);
        }
        Err(ConfigError { problems: self.listed })
    }
}

/// A text in the form for messages: shortened, on one line, without control characters.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN).and_then(|(end, _)| text.get(..end)) {
        Some(beginning) => format!("{}…", escaped(beginning)),
        None => escaped(text),
    }
}

/// The text with control characters as escape sequences.
pub(crate) fn escaped(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { result.extend(c.escape_default()) } else { result.push(c) }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(line: usize) -> Problem {
        let origin = Origin::File { file: Path::new("a.conf").into(), line };
        Problem::Malformed { origin, reason: "is odd".into() }
    }

    #[test]
    fn a_file_name_or_value_cannot_forge_lines() {
        let origin = Origin::File { file: Path::new("a\nb").into(), line: 3 };
        assert_eq!(origin.to_string(), "a\\nb:3");
        assert_eq!(shown("x\u{1b}[2J"), "x\\u{1b}[2J");
        assert_eq!(shown(&"ä".repeat(81)), format!("{}…", "ä".repeat(80)));
    }

    #[test]
    fn problems_are_told_once_and_bounded() {
        let mut problems = Problems::default();
        problems.add(problem(0));
        for line in 0..MAX_PROBLEMS + 7 {
            problems.add(problem(line));
        }
        let error = problems.none_or(()).unwrap_err();
        assert_eq!(error.problems.len(), MAX_PROBLEMS + 1);
        assert!(error.to_string().starts_with("a.conf:0: is odd\na.conf:1: is odd\n"));
        assert!(error.to_string().ends_with("\nand 7 more"));
    }

    #[test]
    fn without_problems_there_is_a_value() {
        assert_eq!(Problems::default().none_or(1), Ok(1));
    }
}
