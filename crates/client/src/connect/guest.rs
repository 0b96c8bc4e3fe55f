//! The state of the guest, which determines what happens to keys.

use serialproxy_proto::cause::Cause;
use serialproxy_proto::console::LineState;

/// The line's connection to its guest, and whether the guest reads input.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Guest {
    pub(crate) state: LineState,
    /// Why it does not read input, if so.
    pub(crate) cause: Option<Cause>,
}

impl Guest {
    /// It reads input.
    pub(crate) const RUNS: Self = Self { state: LineState::Connected, cause: None };
}
