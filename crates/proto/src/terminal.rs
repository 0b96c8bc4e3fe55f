//! A line's requirements for the terminals of its users.

use serde::Deserialize;
use serde::Serialize;

/// Settings of a line. A user's own settings take precedence.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct TerminalSettings {
    /// The character that Backspace sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backspace: Option<Backspace>,
    /// The characters that Enter sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newline: Option<Newline>,
    /// The effect of a line feed in the output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line_feed: Option<LineFeed>,
}

impl TerminalSettings {
    /// Whether no setting is present.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The character that Backspace sends.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backspace {
    /// DEL, 0x7f.
    Del,
    /// ^H, 0x08.
    CtrlH,
}

/// The characters that Enter sends.
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

/// The effect of a line feed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LineFeed {
    /// The cursor moves down.
    Down,
    /// The cursor moves to the beginning of the next line.
    NewLine,
}
