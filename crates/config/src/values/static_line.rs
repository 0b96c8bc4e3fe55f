//! What `[static] line` holds.

use serialproxy_proto::endpoint::Endpoint;

/// `[static] line = NAME[:PORT] ENDPOINT [SETTING=VALUE…]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StaticLine {
    /// Name of the server.
    pub name: String,
    /// Index of the port.
    pub port: u8,
    /// Where it is.
    pub endpoint: Endpoint,
    /// What it wants of terminals.
    pub terminal: StaticTerminal,
}

/// What a static line wants of the terminals of its users, who may have settings of their own.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct StaticTerminal {
    /// What Backspace sends.
    pub backspace: Option<Backspace>,
    /// What Enter sends.
    pub newline: Option<Newline>,
    /// What a line feed in the output does.
    pub line_feed: Option<LineFeed>,
}

/// `backspace=…`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Backspace {
    /// DEL, 0x7f.
    Del,
    /// ^H, 0x08.
    CtrlH,
}

/// `newline=…`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Newline {
    /// CR.
    Cr,
    /// LF.
    Lf,
    /// CR and LF.
    Crlf,
}

/// `line_feed=…`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LineFeed {
    /// Goes down.
    Down,
    /// Begins a line.
    NewLine,
}
