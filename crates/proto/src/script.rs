//! What scripts do at a console over REST: they type, and wait for output.

use std::net::IpAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde::Serialize;
use uuid::Uuid;

use crate::octets;

/// Most bytes that one call types: 64 KiB.
pub const TYPED: usize = 64 * 1024;

/// Most bytes of a pattern.
pub const PATTERN: usize = 1024;

/// Most characters of output that a match, or the text of a call that found none, may have.
pub const SPAN: usize = 4096;

/// Longest wait, in seconds.
pub const LONGEST: u64 = 300;

/// The wait in seconds of a call that names none.
pub const USUAL: u64 = 60;

/// Most waits of a user at a time.
pub const WAITS: usize = 16;

/// Body of `POST /v1/lines/{server}/{port}/send`: what to type, as `text` or `base64`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Send {
    /// Text, typed in UTF-8. Enter is `\r`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Any bytes, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

impl Send {
    /// These bytes.
    pub fn bytes(bytes: &[u8]) -> Self {
        Self { text: None, base64: Some(BASE64_STANDARD.encode(bytes)) }
    }
}

/// What was typed, and where.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Sent {
    /// Bytes that were typed: all.
    pub typed: u64,
    /// The end of the output before the first of them. The guest's echo and answer come after it.
    pub offset: u64,
    /// The boot of the guest.
    pub epoch: u64,
    /// The line that the offset counts in.
    pub line: Uuid,
}

/// Body of `POST /v1/lines/{server}/{port}/wait`: the output to wait for, as `regex` or `text`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// A regular expression in the syntax of Rust's crate `regex`. `^` and `$` match at the ends of a line, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// A text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Offset of the first byte of output that may match; none means the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// The line that [`Self::from`] counts in. In another line, all output that is kept may match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<Uuid>,
    /// How many seconds to wait at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
}

/// What a wait found.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Waited {
    /// Whether the output matched in time.
    pub matched: bool,
    /// The text that matched or, without a match, the last text.
    pub text: String,
    /// Offset of the text's first byte.
    pub start: u64,
    /// Offset after its last byte. Without a match, after the last character that was printed.
    pub end: u64,
    /// The boot of the guest.
    pub epoch: u64,
    /// The line that the offsets count in.
    pub line: Uuid,
    /// Output that could not be searched, because it was no longer kept: from the first such byte to
    /// the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
}

/// A range of output.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Gap {
    /// Offset of its first byte.
    pub from: u64,
    /// Offset after its last byte.
    pub to: u64,
}

/// What a user types at a line with one call.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Typing {
    /// The user.
    pub user: String,
    /// The project of the server when the user was permitted to type.
    pub project: String,
    /// The address of the user's client.
    pub address: IpAddr,
    /// At most [`TYPED`] bytes.
    #[serde(with = "octets")]
    pub bytes: Vec<u8>,
}

/// What a user waits for at a line.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Awaited {
    /// The output.
    pub pattern: Pattern,
    /// As [`Wait::from`].
    pub from: Option<u64>,
    /// As [`Wait::line`].
    pub line: Option<Uuid>,
    /// Seconds.
    pub timeout: u64,
    /// The project of the server when the user was permitted to watch.
    pub project: String,
}

/// Output to wait for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// A regular expression.
    Regex(String),
    /// A text.
    Text(String),
}
