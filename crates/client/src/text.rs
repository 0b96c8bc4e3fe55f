//! Text for people: tables, notices, and what a terminal must not be told by others.

use std::io::Write;

use comfy_table::LineStyle;
use comfy_table::Table;
use comfy_table::presets::ASCII_FULL_CONDENSED;

/// A table with the borders that OpenStack's clients draw, and a line end.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: Vec<[String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(ASCII_FULL_CONDENSED.header_separator(LineStyle::new('+', '-', '+', '+')));
    table.set_header(header);
    for row in rows {
        table.add_row(row.map(|cell| printable(&cell)));
    }
    format!("{table}\n")
}

/// `text` without control characters: names, reasons and messages come from other people, and
/// must not move the reader's cursor.
pub(crate) fn printable(text: &str) -> String {
    let spaced = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c });
    spaced.filter(|c| !c.is_control()).collect()
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

/// One notice on stderr; a stderr that is closed has no reader to tell.
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
    fn large_numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1_048_576].map(grouped), ["0", "999", "1 000", "1 048 576"]);
    }

    #[test]
    fn a_name_cannot_steer_the_readers_terminal() {
        assert_eq!(printable("a\x1b]0;owned\x07b\n\u{9b}6n"), "a]0;ownedb 6n");
    }
}
