//! How it is about the guest, as far as that decides what becomes of keys.

use serialproxy_proto::cause::Cause;
use serialproxy_proto::console::LineState;

/// The line's connection to its guest, and whether that goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Guest {
    pub(crate) state: LineState,
    /// Why it does not read what is typed, if so.
    pub(crate) cause: Option<Cause>,
}

impl Guest {
    /// It reads what is typed.
    pub(crate) const RUNS: Self = Self { state: LineState::Connected, cause: None };
}
