//! What a line wants of the terminals of its users.

use serde::Deserialize;
use serde::Serialize;

/// Settings of a line. What a user set goes before.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct TerminalSettings {
    /// What Backspace sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backspace: Option<Backspace>,
    /// What Enter sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newline: Option<Newline>,
    /// What a line feed in the output does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line_feed: Option<LineFeed>,
}

impl TerminalSettings {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What Backspace sends.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backspace {
    /// DEL, 0x7f.
    Del,
    /// ^H, 0x08.
    CtrlH,
}

/// What Enter sends.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Newline {
    /// CR.
    Cr,
    /// LF.
    Lf,
    /// CR and LF.
    Crlf,
}

/// What a line feed does.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LineFeed {
    /// It goes down.
    Down,
    /// It begins a line.
    NewLine,
}
