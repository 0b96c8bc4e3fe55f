//! What can be wrong with a configuration, and where.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Most problems that one error holds; more are only counted.
const MAX_PROBLEMS: usize = 100;

/// Longest piece of someone's text that a message repeats, in characters.
const MAX_SHOWN: usize = 80;

/// Where a value comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Origin {
    /// It is not set.
    Default,
    /// A line of a file.
    File {
        /// The file as it was named.
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

/// One thing that is wrong, by remedy. Its text is one line.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Problem {
    /// A file cannot be read.
    #[error("{file}: {reason}")]
    Unreadable {
        /// The file as it was named.
        file: String,
        /// What the system says.
        reason: String,
    },
    /// A line is not in the format, or a flag not an option's.
    #[error("{origin}: {reason}")]
    Malformed {
        /// Where.
        origin: Origin,
        /// What is wrong.
        reason: String,
    },
    /// There is no such group.
    #[error("{origin}: [{group}]: unknown group; {hint}")]
    UnknownGroup {
        /// Where.
        origin: Origin,
        /// The group as written.
        group: String,
        /// Which there are.
        hint: String,
    },
    /// The group has no such option.
    #[error("{origin}: [{group}] {option}: unknown option; {hint}")]
    UnknownOption {
        /// Where.
        origin: Origin,
        /// The group.
        group: String,
        /// The option as written.
        option: String,
        /// Which there are.
        hint: String,
    },
    /// The value is not one that the option takes.
    #[error("{origin}: [{group}] {option}: {reason}")]
    BadValue {
        /// Where.
        origin: Origin,
        /// The group.
        group: &'static str,
        /// The option.
        option: &'static str,
        /// What is wrong and what is allowed.
        reason: String,
    },
    /// There are more problems than are listed.
    #[error("and {count} more")]
    More {
        /// How many.
        count: usize,
    },
}

/// Everything that is wrong, one line each.
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

/// Gathers problems: each once, and not without end.
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

    /// The value, unless something was wrong.
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

/// Someone's text as a message repeats it: shortened, on one line, without control characters.
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
