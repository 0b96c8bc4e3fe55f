//! Failures of OpenStack.

/// Keystone or Nova gave no valid answer. Another attempt may succeed, or the configuration must be
/// changed: the text is for operators, and contains no secret.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{service} {reason}")]
pub struct Unavailable {
    service: Service,
    reason: String,
}

/// The service that failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Service {
    Keystone,
    Nova,
}

impl std::fmt::Display for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Keystone => "Keystone",
            Self::Nova => "Nova",
        })
    }
}

impl Service {
    /// A failure; `reason` continues after the service's name.
    pub(crate) fn failed(self, reason: impl Into<String>) -> Unavailable {
        Unavailable { service: self, reason: reason.into() }
    }
}
