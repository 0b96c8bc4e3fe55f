//! Settings for keys, from the command line, or else from the person's `client.toml`.

use std::borrow::Cow;
use std::io::ErrorKind;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use clap::ValueEnum;
use serde::Deserialize;
use serialproxy_proto::terminal;
use serialproxy_proto::terminal::TerminalSettings;

use crate::failure::Failure;

/// 64 KiB: the file is a few lines.
const SIZE: u64 = 64 << 10;

/// The settings, as in both places.
#[derive(Args, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Escape character, used at the start of a line: ~, ^] or another one, or none [default: ~]
    #[arg(long, value_name = "CHAR|none")]
    pub(crate) escape: Option<EscapeKey>,
    /// What Backspace sends; older devices expect ctrl-h [default: what the terminal sends]
    #[arg(long, value_name = "KEY", value_enum)]
    pub(crate) backspace: Option<Backspace>,
    /// What Enter sends [default: what the terminal sends, usually cr]
    #[arg(long, value_name = "WHAT", value_enum)]
    pub(crate) newline: Option<Newline>,
    /// What a line feed of the guest does [default: down]
    #[arg(long, value_name = "WHAT", value_enum)]
    pub(crate) line_feed: Option<LineFeed>,
}

/// The escape character.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub(crate) enum EscapeKey {
    None,
    Byte(u8),
}

/// What Backspace sends.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Backspace {
    /// DEL, 0x7f
    Del,
    /// ^H, 0x08
    CtrlH,
}

/// What Enter sends.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Newline {
    /// CR
    Cr,
    /// LF
    Lf,
    /// CR and LF
    Crlf,
}

/// What a line feed of the guest does.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LineFeed {
    /// Moves the cursor down, in the same column
    Down,
    /// Moves to the start of the next line, for devices that send LF without CR
    NewLine,
}

impl Settings {
    /// These settings, completed by the person's file.
    pub(crate) fn with_file(&self) -> Result<Self, Failure> {
        let kept = match path() {
            Some(path) => read(&path)?,
            None => Self::default(),
        };
        Ok(Self {
            escape: self.escape.or(kept.escape),
            backspace: self.backspace.or(kept.backspace),
            newline: self.newline.or(kept.newline),
            line_feed: self.line_feed.or(kept.line_feed),
        })
    }

    /// These settings, completed by the line's.
    pub(crate) fn with_line(&self, line: TerminalSettings) -> Self {
        let backspace = line.backspace.map(|backspace| match backspace {
            terminal::Backspace::Del => Backspace::Del,
            terminal::Backspace::CtrlH => Backspace::CtrlH,
        });
        let newline = line.newline.map(|newline| match newline {
            terminal::Newline::Cr => Newline::Cr,
            terminal::Newline::Lf => Newline::Lf,
            terminal::Newline::Crlf => Newline::Crlf,
        });
        let line_feed = line.line_feed.map(|line_feed| match line_feed {
            terminal::LineFeed::Down => LineFeed::Down,
            terminal::LineFeed::NewLine => LineFeed::NewLine,
        });
        Self {
            escape: self.escape,
            backspace: self.backspace.or(backspace),
            newline: self.newline.or(newline),
            line_feed: self.line_feed.or(line_feed),
        }
    }

    /// The form in which output is shown; `last` is the byte before it.
    pub(crate) fn shown<'a>(&self, last: Option<u8>, output: &'a [u8]) -> Cow<'a, [u8]> {
        if self.line_feed != Some(LineFeed::NewLine) || !output.contains(&b'\n') {
            return Cow::Borrowed(output);
        }
        let mut shown = Vec::with_capacity(output.len() + output.len() / 16);
        let mut last = last;
        for &byte in output {
            if byte == b'\n' && last != Some(b'\r') {
                shown.push(b'\r');
            }
            shown.push(byte);
            last = Some(byte);
        }
        Cow::Owned(shown)
    }

    /// The bytes that are sent for these typed bytes.
    pub(crate) fn sent(&self, typed: &[u8]) -> Vec<u8> {
        let mut sent = Vec::with_capacity(typed.len());
        for &byte in typed {
            match (byte, self.backspace, self.newline) {
                (0x7f, Some(Backspace::CtrlH), _) => sent.push(0x08),
                (0x08, Some(Backspace::Del), _) => sent.push(0x7f),
                (b'\r', _, Some(Newline::Lf)) => sent.push(b'\n'),
                (b'\r', _, Some(Newline::Crlf)) => sent.extend(b"\r\n"),
                _ => sent.push(byte),
            }
        }
        sent
    }
}

/// The path of the file, if there is a home directory (XDG Base Directory Specification).
fn path() -> Option<PathBuf> {
    let directory = |name| std::env::var_os(name).map(PathBuf::from).filter(|d| d.is_absolute());
    let config =
        directory("XDG_CONFIG_HOME").or_else(|| Some(directory("HOME")?.join(".config")))?;
    Some(config.join("serialproxy/client.toml"))
}

fn read(path: &Path) -> Result<Settings, Failure> {
    let wrong = |what: String| Failure::Settings { path: path.display().to_string(), what };
    let mut text = String::new();
    let file = std::fs::File::open(path);
    match file.and_then(|file| file.take(SIZE + 1).read_to_string(&mut text)) {
        Ok(_) if text.len() as u64 <= SIZE => {}
        Ok(_) => return Err(wrong(format!(" has more than {} KiB", SIZE >> 10))),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
        Err(error) => return Err(wrong(format!(" cannot be read: {error}"))),
    }
    parse(&text).map_err(wrong)
}

/// Parses the settings; an error's text continues after the file's name.
fn parse(text: &str) -> Result<Settings, String> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.as_bytes().get(..start).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        format!(", line {line}: {}", error.message())
    })
}

impl FromStr for EscapeKey {
    type Err = &'static str;

    /// Not a letter or digit, `.` or `?`, which can follow it, nor a key with a meaning of its own.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.as_bytes() {
            b"none" => Ok(Self::None),
            [byte] if byte.is_ascii_punctuation() && !b".?".contains(byte) => Ok(Self::Byte(*byte)),
            [b'^', key @ (b'A'..=b'_' | b'a'..=b'z')] if !b"CJMcjm[".contains(key) => {
                Ok(Self::Byte(key & 0x1f))
            }
            _ => Err("expected a character such as ~, a control character such as ^], or none"),
        }
    }
}

impl TryFrom<String> for EscapeKey {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_what_the_command_line_has() {
        let text = "# mine\nescape = \"^]\"\nbackspace = \"ctrl-h\"\nnewline = \"crlf\"\n\
                    line_feed = \"new-line\"\n";
        let settings = Settings {
            escape: Some(EscapeKey::Byte(0x1d)),
            backspace: Some(Backspace::CtrlH),
            newline: Some(Newline::Crlf),
            line_feed: Some(LineFeed::NewLine),
        };
        assert_eq!(parse(text), Ok(settings));
        assert_eq!(parse(""), Ok(Settings::default()));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, wanted) in [
            ("escape = \"~\"\nbackspce = \"del\"\n", ", line 2: unknown field `backspce`"),
            ("\n\nbackspace = \"^X\"", ", line 3: unknown variant `^X`"),
            ("escape = \"ab\"", ", line 1: expected a character such as ~"),
            ("escape = 1", ", line 1: invalid type"),
            ("escape = \"~\"\nescape = \"!\"", ", line 2: duplicate key"),
            ("[keys]\n", ", line 1: unknown field `keys`"),
            ("newline", ", line 1: "),
        ] {
            let wrong = parse(text).unwrap_err();
            assert!(wrong.starts_with(wanted) && !wrong.contains('\n'), "{text:?}: {wrong}");
        }
    }

    #[test]
    fn an_escape_character_is_none_that_means_something_else() {
        for (text, byte) in [("~", b'~'), ("!", b'!'), ("^]", 0x1d), ("^a", 1), ("^", b'^')] {
            assert_eq!(text.parse(), Ok(EscapeKey::Byte(byte)));
        }
        assert_eq!("none".parse(), Ok(EscapeKey::None));
        for text in ["", "a", "5", ".", "?", " ", "\r", "^C", "^M", "^J", "^[", "^~", "~~", "é"] {
            assert!(text.parse::<EscapeKey>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_a_line_wants_holds_where_the_person_says_nothing() {
        let line = TerminalSettings {
            backspace: Some(terminal::Backspace::CtrlH),
            newline: Some(terminal::Newline::Lf),
            line_feed: Some(terminal::LineFeed::NewLine),
        };
        let none = Settings::default();
        assert_eq!(none.with_line(line).sent(b"\x7f\r"), b"\x08\n");
        let own = Settings { backspace: Some(Backspace::Del), newline: Some(Newline::Cr), ..none };
        assert_eq!(own.with_line(line).sent(b"\x7f\r"), b"\x7f\r");
        assert_eq!(own.with_line(TerminalSettings::default()), own);
        let down = Settings { line_feed: Some(LineFeed::Down), ..none };
        assert_eq!(&*down.with_line(line).shown(None, b"a\nb"), b"a\nb");
    }

    #[test]
    fn a_line_feed_begins_a_line_where_that_is_set() {
        let settings = Settings { line_feed: Some(LineFeed::NewLine), ..Settings::default() };
        for (last, output, shown) in [
            (None, &b"a\nb\r\nc\n\n"[..], &b"a\r\nb\r\nc\r\n\r\n"[..]),
            (Some(b'\r'), b"\nx", b"\nx"),
            (Some(b'y'), b"\nx", b"\r\nx"),
            (None, b"", b""),
        ] {
            assert_eq!(&*settings.shown(last, output), shown);
            assert_eq!(&*Settings::default().shown(last, output), output);
        }
    }

    #[test]
    fn keys_send_what_is_set_and_else_what_they_sent() {
        let none = Settings::default();
        for (settings, sent) in [
            (none, &b"a\x7f\x08\r\n"[..]),
            (Settings { backspace: Some(Backspace::CtrlH), ..none }, b"a\x08\x08\r\n"),
            (Settings { backspace: Some(Backspace::Del), ..none }, b"a\x7f\x7f\r\n"),
            (Settings { newline: Some(Newline::Cr), ..none }, b"a\x7f\x08\r\n"),
            (Settings { newline: Some(Newline::Lf), ..none }, b"a\x7f\x08\n\n"),
            (Settings { newline: Some(Newline::Crlf), ..none }, b"a\x7f\x08\r\n\n"),
        ] {
            assert_eq!(settings.sent(b"a\x7f\x08\r\n"), sent, "{settings:?}");
        }
    }
}
