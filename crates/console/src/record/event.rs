//! What happens in a session that is recorded.

use serialproxy_proto::console::Size;

/// What happened in a session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Event {
    /// The session was shown this; `live` unless it is from before.
    Output { bytes: Vec<u8>, live: bool },
    /// It typed this.
    Input(Vec<u8>),
    /// Its terminal has this grid.
    Size(Size),
    /// In words, at the end.
    Note(String),
}

impl Event {
    /// Bytes of it.
    pub(super) fn length(&self) -> usize {
        match self {
            Self::Output { bytes, .. } | Self::Input(bytes) => bytes.len(),
            Self::Note(text) => text.len(),
            Self::Size(_) => 0,
        }
    }

    /// Whether another can be a part of it, with so many bytes at most.
    pub(super) fn joins(&self, next: &Self, most: usize) -> bool {
        let alike = match (self, next) {
            (Self::Output { live, .. }, Self::Output { live: next, .. }) => live == next,
            (Self::Input(_), Self::Input(_)) => true,
            _ => false,
        };
        alike && self.length() + next.length() <= most
    }

    /// Takes one in that [`Self::joins`] it.
    pub(super) fn append(&mut self, next: Self) {
        if let (
            Self::Output { bytes, .. } | Self::Input(bytes),
            Self::Output { bytes: next, .. } | Self::Input(next),
        ) = (self, next)
        {
            bytes.extend(next);
        }
    }
}
