//! Why a value cannot be taken.

/// Why a value cannot be taken, in words that go on after it. What is allowed stands in the
/// option's row.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Refusal(pub(crate) String);

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self(reason)
    }
}

impl From<&str> for Refusal {
    fn from(reason: &str) -> Self {
        Self(reason.to_owned())
    }
}
