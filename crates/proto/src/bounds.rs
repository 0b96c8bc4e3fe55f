//! The limits of messages. `docs/protocol.md` shows them in tables.

use crate::console::ClientMessage;
use crate::console::Size;

/// Most bytes of a binary message from the server; longer output is sent in several messages. On
/// raw, a message may have 3 more bytes, since it ends with a whole character.
pub const FRAME: usize = 64 * 1024;

/// Most bytes of a text message: a reason of [`REASON`] characters, each of which JSON may escape
/// in 12 bytes, and room for the rest.
pub const MESSAGE: usize = 4096;

/// Most levels of nested arrays and objects.
pub const DEPTH: usize = 8;

/// Most characters of a reason.
pub const REASON: usize = 200;

/// Most characters of the last printed line, as lists of lines show it.
pub const LAST_LINE: usize = 200;

/// Most rows and most columns of a grid. A larger grid is reduced to this size.
pub const GRID: u16 = 500;

/// The largest count or offset: up to here, JavaScript's numbers are exact. The sum of two does not
/// overflow.
pub const COUNT: u64 = (1 << 53) - 1;

/// Messages in any [`RATE_SECONDS`], not counting `ack` and `input`.
pub const RATE: u32 = 100;

/// See [`RATE`].
pub const RATE_SECONDS: u64 = 5;

impl ClientMessage {
    /// Reads a message. A message of unknown type becomes [`ClientMessage::Unknown`], since the
    /// client may be newer than this program.
    ///
    /// # Errors
    ///
    /// In words, when the text is not a message, or a value is out of bounds.
    pub fn read(text: &str) -> Result<Self, String> {
        if text.len() > MESSAGE {
            return Err(format!("a message has at most {MESSAGE} bytes"));
        }
        if depth(text) > DEPTH {
            return Err(format!(
                "a message has at most {DEPTH} levels of nested arrays and objects"
            ));
        }
        let message = serde_json::from_str(text).map_err(|error| {
            format!("the message is not understood: {}", brief(&error.to_string(), REASON))
        })?;
        check(&message)?;
        Ok(message)
    }
}

fn check(message: &ClientMessage) -> Result<(), String> {
    match message {
        ClientMessage::Pen { reason: Some(reason), .. } if reason.chars().count() > REASON => {
            Err(format!("a reason has at most {REASON} characters"))
        }
        ClientMessage::Size(Size { rows: 0, .. } | Size { cols: 0, .. }) => {
            Err("a grid has at least one row and one column".into())
        }
        ClientMessage::Ack { offset: count }
        | ClientMessage::Input { offset: count }
        | ClientMessage::Ping { id: count }
            if *count > COUNT =>
        {
            Err(format!("a number is at most {COUNT}"))
        }
        ClientMessage::Times { from, to } if *from.max(to) > COUNT => {
            Err(format!("a number is at most {COUNT}"))
        }
        ClientMessage::Sysrq { key } if !key.is_ascii_alphanumeric() && *key != '?' => {
            Err("a SysRq key is one of a-z A-Z 0-9 ?".into())
        }
        _ => Ok(()),
    }
}

/// The depth of nested arrays and objects, up to the first error in the JSON text.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut quoted, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

impl Size {
    /// The largest grid within this one that is allowed.
    pub fn clamped(self) -> Self {
        Self { rows: self.rows.clamp(1, GRID), cols: self.cols.clamp(1, GRID) }
    }
}

/// At most `most` characters of a text from another party, for messages and log lines.
pub fn brief(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A text from another party in a form for log lines: ASCII, with everything else escaped, at most
/// `most` bytes.
pub fn logged(text: &str, most: usize) -> String {
    let mut line = String::new();
    for c in text.chars() {
        match c {
            ' '..='~' => line.push(c),
            _ => line.extend(c.escape_unicode()),
        }
        if line.len() > most {
            line.truncate(most);
            break;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_document_shows_these_bounds() {
        let document = include_str!("../../../docs/protocol.md");
        for row in [
            format!(
                "| a control message | {MESSAGE} bytes, {DEPTH} levels of nested arrays and objects;"
            ),
            format!("| `reason` | {REASON} characters |"),
            format!("A binary message of the server has at most {} KiB", FRAME / 1024),
            format!("| `rows`, `cols` | 1 to {GRID};"),
            format!("| `offset`, `id` | 0 to {COUNT}"),
            format!("| messages, other than `ack` and `input` | {RATE} in {RATE_SECONDS} s"),
        ] {
            assert!(document.contains(&row), "docs/protocol.md lacks: {row}");
        }
    }

    #[test]
    fn depth_is_told_from_brackets_in_strings() {
        for (text, wanted) in [("", 0), ("{}", 1), ("[[]", 2), (r#"["[[[\"[["]"#, 1), ("[][]", 1)] {
            assert_eq!(depth(text), wanted, "{text}");
        }
    }

    #[test]
    fn a_cut_text_says_so() {
        assert_eq!(brief("äöü", 3), "äöü");
        assert_eq!(brief("äöü", 2), "äö…");
    }

    #[test]
    fn a_logged_text_is_short_and_one_line() {
        assert_eq!(logged("it's \"a\"\nb", 99), "it's \"a\"\\u{a}b");
        assert_eq!(logged(&"é".repeat(100), 8).len(), 8);
    }

    proptest! {
        #[test]
        fn no_message_makes_it_panic_and_no_answer_is_long(
            text in r#"\{"type":"(pen|size|ack|input|sysrq|power|ping|times)"(,"[a-z]{2,6}":["\[{a-z0-9.-]{0,40}){0,3}\}|.{0,80}"#
        ) {
            if let Err(why) = ClientMessage::read(&text) {
                prop_assert!(why.chars().count() < 250, "{}", why);
            }
        }
    }
}
