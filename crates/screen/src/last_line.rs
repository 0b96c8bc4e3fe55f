//! The last printed line, as text.

use serialproxy_proto::bounds::LAST_LINE;
use serialproxy_proto::text::is_hidden;

use crate::Grid;
use crate::Sight;
use crate::grid::Row;
use crate::grid::Text;
use crate::model;
use crate::terminal::Terminal;

/// The largest grid for it. A list shows the last lines of thousands of terminals.
const MOST: Grid = Grid { rows: 100, cols: 250 };

/// The maximum cost of modeling for it: about 1 ms.
const BUDGET: u64 = 1_000_000;

/// The line of the cursor or, where nothing is printed there, the nearest printed line above it, or
/// else below it; none where the screen is empty. A line that wraps is one line.
///
/// It is what a viewer could read: without sequences and characters that are not visible, and
/// without text that the guest conceals.
pub fn last_line(sight: &Sight<'_>) -> Option<String> {
    let Grid { rows, cols } = sight.grid();
    let grid = Grid { rows: rows.min(MOST.rows), cols: cols.min(MOST.cols) };
    let (mut terminal, _) = model(sight, grid, BUDGET);
    terminal.flush();
    let rows: Vec<_> = terminal.shown().rows().collect();
    let (to_cursor, below) = rows.split_at_checked(terminal.y + 1)?;
    let is_printed = |row: &&Row| !text(row, &terminal).trim().is_empty();
    let above = to_cursor.iter().rposition(is_printed);
    let printed = above.or_else(|| Some(to_cursor.len() + below.iter().position(is_printed)?))?;
    // The row itself is the first one that does not continue another.
    let continued = rows.get(..=printed)?.iter().rev().take_while(|row| row.wrapped).count();
    let first = printed.saturating_sub(continued);
    let rest = rows.iter().skip(first + 1).take_while(|row| row.wrapped);
    let whole: String =
        rows.get(first).into_iter().chain(rest).map(|row| text(row, &terminal)).collect();
    Some(whole.trim().chars().take(LAST_LINE).collect())
}

fn text(row: &Row, terminal: &Terminal) -> String {
    let mut text = String::new();
    for cell in row.cells() {
        match cell.text {
            Text::Nothing if cell.width == 0 => {}
            Text::Char(c) if !cell.attributes.is_hidden() => text.push(c),
            Text::Combined(place) if !cell.attributes.is_hidden() => {
                text.push_str(terminal.combined.get(place).map_or(" ", String::as_str));
            }
            _ => text.push(' '),
        }
    }
    text.retain(|c| !is_hidden(c));
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serialproxy_proto::console::Size;

    use super::*;

    fn of(output: &str) -> Option<String> {
        booted(output, None)
    }

    fn booted(output: &str, boot: Option<usize>) -> Option<String> {
        let output = output.as_bytes();
        last_line(&Sight {
            output,
            boots: boot.as_slice(),
            viewer: None,
            writer: None,
            begins_line: false,
        })
    }

    #[test]
    fn the_line_of_the_cursor_or_the_one_above_is_the_last_printed() {
        for (output, line) in [
            ("", None),
            ("\r\n\r\n", None),
            ("one\r\ntwo", Some("two")),
            ("one\r\ntwo\r\n", Some("two")),
            ("one\r\n\r\n   \r\n\r\n", Some("one")),
            ("demo login: ", Some("demo login:")),
            ("10 %\r 20 %\r 100 %", Some("100 %")),
            ("below\x1b[1;1H\x1b[1L", Some("below")),
            ("gone\x1b[2J\x1b[H", None),
            ("shell\x1b[?1049h\x1b[2;1Hmenu\x1b[9;1H", Some("menu")),
        ] {
            assert_eq!(of(output).as_deref(), line, "{output:?}");
        }
    }

    #[test]
    fn a_line_that_wraps_is_one_line_and_cut_at_its_limit() {
        let long: String = ('a'..='z').cycle().take(LAST_LINE + 20).collect();
        assert_eq!(of(&format!("one\r\n{}\r\n", &long[..150])).as_deref(), Some(&long[..150]));
        assert_eq!(of(&format!("one\r\n{long}")).as_deref(), Some(&long[..LAST_LINE]));
    }

    #[test]
    fn a_boot_that_has_printed_nothing_has_no_line_of_the_boot_before() {
        let output = "Power down\r\n";
        assert_eq!(of(output).as_deref(), Some("Power down"));
        assert_eq!(booted(output, Some(output.len())), None);
        assert_eq!(booted("Power down\r\nBIOS", Some(output.len())).as_deref(), Some("BIOS"));
    }

    #[test]
    fn nothing_in_it_is_invisible_or_changes_the_direction_of_text() {
        for (output, line) in [
            ("\x1b[31mred\x1b[0m", "red"),
            ("a\x1b]0;title\x07b", "ab"),
            ("user\u{202e}resu\u{2066}", "userresu"),
            ("password \x1b[8msecret\x1b[28m.", "password       ."),
            ("日本語 e\u{301}", "日本語 e\u{301}"),
            ("<b>&amp;", "<b>&amp;"),
        ] {
            assert_eq!(of(output).as_deref(), Some(line), "{output:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_printed_it_is_short_and_plain(
            output in r"([ -~é日]|\x1b\[[0-9;]{0,5}[A-HJ-MPXb-hlmr]|[\x00-\x1f\u{80}-\u{9f}\u{300}\u{202e}]){0,200}",
            rows in 1..300_u16, cols in 1..600_u16,
        ) {
            let writer = Some(Size { rows, cols });
            let sight = Sight { output: output.as_bytes(), boots: &[], viewer: None, writer, begins_line: true };
            let line = last_line(&sight).unwrap_or_default();
            prop_assert!(line.chars().count() <= LAST_LINE);
            prop_assert!(!line.chars().any(is_hidden));
        }
    }
}
