//! The events of a recorded session.

use serialproxy_proto::console::Size;

/// An event of a session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Event {
    /// Output for the session; `live` unless it is earlier output.
    Output { bytes: Vec<u8>, live: bool },
    /// Input.
    Input(Vec<u8>),
    /// The grid of the terminal.
    Size(Size),
    /// A note at the end.
    Note(String),
}

impl Event {
    /// Its size in bytes.
    pub(super) fn length(&self) -> usize {
        match self {
            Self::Output { bytes, .. } | Self::Input(bytes) => bytes.len(),
            Self::Note(text) => text.len(),
            Self::Size(_) => 0,
        }
    }

    /// Whether another event can be joined with it, up to this size in bytes.
    pub(super) fn joins(&self, next: &Self, most: usize) -> bool {
        let alike = match (self, next) {
            (Self::Output { live, .. }, Self::Output { live: next, .. }) => live == next,
            (Self::Input(_), Self::Input(_)) => true,
            _ => false,
        };
        alike && self.length() + next.length() <= most
    }

    /// Appends an event for which [`Self::joins`] is true.
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
