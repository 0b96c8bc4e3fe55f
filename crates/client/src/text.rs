//! Text for people: tables, notices, and the removal of characters that could control a terminal.

use std::fmt::Write;
use std::io::Write as _;

use comfy_table::LineStyle;
use comfy_table::Table;
use comfy_table::presets::ASCII_FULL_CONDENSED;
use serialproxy_proto::api::Status;
use serialproxy_proto::text::is_hidden;
use unicode_width::UnicodeWidthChar;
use unicode_width::UnicodeWidthStr;

/// A table with the borders of OpenStack's clients, and a line end.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: Vec<[String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(ASCII_FULL_CONDENSED.header_separator(LineStyle::new('+', '-', '+', '+')));
    table.set_header(header);
    for row in rows {
        table.add_row(row.map(|cell| printable(&cell)));
    }
    format!("{table}\n")
}

/// `text` with control characters and invisible ones as escapes: names, reasons and messages come
/// from other people, and must neither move the reader's cursor nor look like something else.
pub(crate) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            _ if c.is_whitespace() => printable.push(' '),
            _ if is_hidden(c) => printable.extend(c.escape_unicode()),
            _ => printable.push(c),
        }
    }
    printable
}

/// A JSON text with these characters as JSON escapes. They occur only within strings.
pub(crate) fn printable_json(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\n' || !is_hidden(c) {
            printable.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a string cannot fail.
            let _ = write!(printable, "\\u{unit:04x}");
        }
    }
    printable
}

/// `text` as one word of a POSIX shell, for a command that a reader may copy.
pub(crate) fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// How many columns of a terminal a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// The beginning of a text, with a mark where more follows, in this many columns.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut left = columns.saturating_sub(1);
    let fits = |c: &char| {
        let rest = left.checked_sub(c.width().unwrap_or_default());
        left = rest.unwrap_or_default();
        rest.is_some()
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

/// The word that people use for a status of the API; one that is not known stays as it is.
pub(crate) fn status_word(status: &str) -> &str {
    let known = Status::ALL.into_iter().find(|known| known.as_str() == status);
    match known {
        Some(Status::Active) => "running",
        Some(Status::Error) => "in error",
        Some(Status::HostLost) => "host lost",
        Some(Status::Paused) => "paused",
        Some(Status::Shutoff) => "off",
        Some(Status::Suspended) => "suspended",
        None => status,
    }
}

/// A sentence of the API or of a console with such words: `the server is SHUTOFF`.
pub(crate) fn in_words(text: &str) -> String {
    Status::ALL.into_iter().fold(text.to_owned(), |text, status| {
        text.replace(&format!(" is {status}"), &format!(" is {}", status_word(status.as_str())))
    })
}

/// Whether a shell takes a name as it is.
pub(crate) fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
}

/// A number with its digits in groups of three: `1 048 576`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Prints one notice to stderr, if stderr is not closed.
pub(crate) fn say(notice: &str) {
    let _ = writeln!(std::io::stderr().lock(), "serialproxy: {}", printable(notice));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_looks_as_those_of_the_nova_client() {
        let table = table(["Type", "Url"], vec![["serial".into(), "ws://h/?token=x".into()]]);
        assert_eq!(
            table,
            "+--------+-----------------+\n\
             | Type   | Url             |\n\
             +--------+-----------------+\n\
             | serial | ws://h/?token=x |\n\
             +--------+-----------------+\n"
        );
    }

    #[test]
    fn statuses_are_in_the_words_of_people() {
        assert_eq!(in_words("stopped: server is SHUTOFF"), "stopped: server is off");
        assert_eq!(in_words("server busybox is ACTIVE; x"), "server busybox is running; x");
        assert_eq!(in_words("SHUTOFF is a name"), "SHUTOFF is a name");
        assert_eq!(status_word("BUILD"), "BUILD");
    }

    #[test]
    fn a_text_is_cut_to_columns_not_to_characters() {
        for (text, columns, shown) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("日本語", 6, "日本語"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("e\u{301}abc", 3, "e\u{301}a…"),
        ] {
            assert_eq!(cut(text, columns), shown);
        }
    }

    #[test]
    fn large_numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1_048_576].map(grouped), ["0", "999", "1 000", "1 048 576"]);
    }

    #[test]
    fn a_name_cannot_steer_the_readers_terminal() {
        assert_eq!(printable("a\x1b]0;owned\x07b\n\u{9b}6n"), "a\\u{1b}]0;owned\\u{7}b \\u{9b}6n");
    }

    #[test]
    fn a_name_is_one_word_of_a_shell() {
        for name in ["db-1", "a; touch b", "$(id)", "`id`", "it's", "a \"b\" \\c", "", "~"] {
            let shell = format!("printf %s {}", word(name));
            let said = std::process::Command::new("sh").args(["-c", &shell]).output().unwrap();
            assert_eq!(String::from_utf8(said.stdout).unwrap(), name);
        }
        assert_eq!(word("db-1"), "db-1");
    }

    #[test]
    fn a_name_cannot_look_like_another() {
        let hidden = "\u{202a}\u{202e}\u{2066}\u{2069}\u{200e}\u{200f}\u{61c}\u{200b}\u{feff}\u{ad}\u{e0041}";
        for c in hidden.chars() {
            assert_eq!(printable(&format!("db{c}1")), format!("db{}1", c.escape_unicode()));
            let json = serde_json::to_string_pretty(&[format!("db{c}1")]).unwrap();
            let shown = printable_json(&json);
            assert!(!shown.contains(c), "{shown}");
            assert_eq!(serde_json::from_str::<Vec<String>>(&shown).unwrap(), [format!("db{c}1")]);
        }
        let seen = "Grüße-日本-שלום-résume\u{301}-❤\u{fe0f}";
        assert_eq!(printable(seen), seen);
    }
}
