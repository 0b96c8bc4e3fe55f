//! Why OpenStack gave no answer.

/// Keystone or Nova gave no answer that says anything. It may be different the next time, or when
/// somebody has changed the configuration: the text is for operators, and holds no secret.
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
    /// A failure in words that go on after the service's name.
    pub(crate) fn failed(self, reason: impl Into<String>) -> Unavailable {
        Unavailable { service: self, reason: reason.into() }
    }
}
