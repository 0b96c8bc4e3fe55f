//! Why a value cannot be taken.

/// Why a value cannot be taken, by remedy. What is allowed stands in the option's row.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    /// It means nothing; in words that go on after the value.
    Bad(String),
    /// It asks for a function that this version does not have yet.
    Later,
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self::Bad(reason)
    }
}

impl From<&str> for Refusal {
    fn from(reason: &str) -> Self {
        Self::Bad(reason.to_owned())
    }
}
