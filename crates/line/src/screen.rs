//! The screen as it is now, as bytes that paint it.
//!
//! A terminal that is modelled at each attach from the newest output, and let go again: measured,
//! that is 4 ms for 256 KiB, against 61 KiB a watched line for a model that is kept. What is painted holds
//! no query, so no terminal answers it, and it neither clears nor positions absolutely unless a
//! full-screen program does: rows flow in below what a person's terminal shows already.

use std::fmt::Write;
use std::num::NonZeroU16;

use serialproxy_proto::console::Size;
use vt100::Callbacks;
use vt100::Parser;
use vt100::Screen;
use vt100::capture::BasicFormattedCaptureRange;
use vt100::capture::BasicFormattedCaptureState;
use vt100::capture::RowContents;

/// Bytes of output that a screen and the rows above it are made from, at most.
pub(crate) const READ: usize = 256 * 1024;

/// The grid where nobody said another: what Linux takes a serial terminal for.
const ROWS: NonZeroU16 = NonZeroU16::new(24).unwrap();
const COLS: NonZeroU16 = NonZeroU16::new(80).unwrap();

/// A larger grid is modelled as one of this size: it would be paid for in memory.
const MOST_ROWS: u16 = 200;
const MOST_COLS: u16 = 500;

/// A sequence is not longer than this, or it is none.
const SEQUENCE: usize = 256;

/// Rows that scrolled off the screen, painted as they go.
#[derive(Default)]
struct Above {
    text: String,
    rows: usize,
    state: BasicFormattedCaptureState,
}

impl Callbacks for Above {
    fn on_scroll(&mut self, row: RowContents<'_>, alternate_screen: bool) {
        if !alternate_screen {
            self.rows += 1;
            // Writing to a string does not fail.
            let _ = row.write_formatted_basic(&mut self.text, &mut self.state);
        }
    }
}

/// Paints what a terminal of this grid shows after `recent`, with the rows above it.
pub(crate) fn paint(recent: &[u8], size: Option<Size>) -> Vec<u8> {
    if recent.is_empty() {
        return Vec::new();
    }
    let rows = size.and_then(|size| NonZeroU16::new(size.rows.min(MOST_ROWS))).unwrap_or(ROWS);
    let cols = size.and_then(|size| NonZeroU16::new(size.cols.min(MOST_COLS))).unwrap_or(COLS);
    let mut parser = Parser::new_with_callbacks(rows, cols, 0, Above::default());
    parser.process(recent);
    let (screen, above) = parser.screen_and_callbacks_mut();
    let mut text = String::from("\x1b[0m");
    if screen.alternate_screen() {
        text.push_str(&above.text);
        text.push_str("\x1b[?1049h");
        text.push_str(&screen.contents_formatted());
    } else {
        paint_rows(screen, above, &mut text);
        if screen.hide_cursor() {
            text.push_str("\x1b[?25l");
        }
    }
    text.push_str(&screen.attributes_formatted());
    text.push_str(&screen.input_mode_formatted());
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(unfinished(recent));
    bytes
}

/// The rows above the screen and those on it, and the cursor, by relative motion.
fn paint_rows(screen: &Screen, above: &mut Above, text: &mut String) {
    let mut written = std::mem::take(&mut above.text);
    let scrolled = above.rows > 0;
    let range = BasicFormattedCaptureRange::Full(&mut above.state);
    // Writing to a string does not fail.
    let _ = screen.write_contents_formatted_basic(&mut written, range);
    // Empty rows at the end are a newline each. They stay where they push others off the screen.
    let filled = if scrolled { &written } else { written.trim_end_matches('\n') };
    text.push_str(&filled.replace('\n', "\r\n"));
    let (rows, cols) = screen.size();
    let (row, column) = screen.cursor_position();
    let empty = written.len() - filled.len();
    let below = usize::from(rows.get() - 1 - row);
    for _ in below..empty {
        text.push_str("\r\n");
    }
    text.push('\r');
    if empty < below {
        let _ = write!(text, "\x1b[{}A", below - empty);
    }
    match column.min(cols.get() - 1) {
        0 => {}
        column => {
            let _ = write!(text, "\x1b[{column}C");
        }
    }
}

/// The beginning of an escape sequence or character at the end, whose rest is yet to come.
fn unfinished(bytes: &[u8]) -> &[u8] {
    let end = bytes.get(bytes.len().saturating_sub(SEQUENCE)..).unwrap_or_default();
    let begins = end.iter().rposition(|byte| *byte == 0x1b);
    let sequence = begins.and_then(|at| end.get(at..)).filter(|sequence| is_open(sequence));
    sequence.unwrap_or_else(|| open_character(end))
}

/// Whether a sequence that begins with ESC has no end (ECMA-48 sections 5.4 and 5.6).
fn is_open(sequence: &[u8]) -> bool {
    match sequence {
        [_] => true,
        [_, b'[', rest @ ..] => !rest.iter().any(|byte| (0x40..=0x7e).contains(byte)),
        [_, b']' | b'P' | b'X' | b'^' | b'_', rest @ ..] => !rest.contains(&0x07),
        [_, rest @ ..] => rest.iter().all(|byte| (0x20..=0x2f).contains(byte)),
        [] => false,
    }
}

/// A character of UTF-8 that is cut off at the end.
fn open_character(bytes: &[u8]) -> &[u8] {
    let tail = bytes.get(bytes.len().saturating_sub(3)..).unwrap_or_default();
    match std::str::from_utf8(tail) {
        Err(error) if error.error_len().is_none() => {
            tail.get(error.valid_up_to()..).unwrap_or_default()
        }
        _ => {
            let begins = tail.iter().rposition(|byte| *byte >= 0xc0);
            let last = begins.and_then(|at| tail.get(at..)).unwrap_or_default();
            let cut = std::str::from_utf8(last).is_err_and(|error| error.error_len().is_none());
            if cut { last } else { &[] }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The rows, the cursor and which screen. A cursor that waits behind the last column is on it.
    fn shown(bytes: &[u8]) -> (Vec<String>, (u16, u16), bool) {
        let mut parser = Parser::new(ROWS, COLS, 0);
        parser.process(bytes);
        let screen = parser.screen();
        let rows = screen.rows(0, 80).map(|row| row.trim_end().to_owned()).collect();
        let (row, column) = screen.cursor_position();
        (rows, (row, column.min(79)), screen.alternate_screen())
    }

    fn assert_painted(output: &[u8]) {
        assert_eq!(shown(&paint(output, None)), shown(output), "{}", output.escape_ascii());
    }

    #[test]
    fn a_shell_with_its_scrollback_is_painted_as_it_stands() {
        let mut output = Vec::new();
        for line in 0..200 {
            output.extend(format!("\x1b[3{}mline {line}\x1b[0m\r\n", line % 8).bytes());
        }
        output.extend(b"~ # ls\x1b[D");
        assert_painted(&output);
        let text = String::from_utf8(paint(&output, None)).unwrap();
        assert!(text.contains("line 0\r\n") && text.contains("line 199\r\n"), "{text}");
    }

    #[test]
    fn a_full_screen_program_is_painted_from_what_it_drew_long_ago() {
        let mut output = b"before\r\n\x1b[?1049h\x1b[2J\x1b[1;1Htitle\x1b[24;1Hstatus".to_vec();
        for step in 0..1000 {
            output.extend(format!("\x1b[10;10H{step:4}").bytes());
        }
        assert_painted(&output);
    }

    #[test]
    fn what_is_painted_holds_no_query() {
        let queries = b"\x1b[c\x1b[6n\x1b[?2026$p\x1b]11;?\x07\x05\x1b[>c\x1bZ$ ";
        let painted = paint(queries, None);
        let text = painted.escape_ascii().to_string();
        for query in ["[6n", "[c", "$p", "]11", "\\x05", "[>c", "Z"] {
            assert!(!text.contains(query), "{text} holds {query}");
        }
    }

    #[test]
    fn a_sequence_or_character_that_is_cut_off_goes_on_in_the_live_bytes() {
        let cases: [(&[u8], &[u8]); 5] = [
            (b"a\x1b[3", b"1mred"),
            (b"a\x1b", b"[1mbold"),
            (b"a\xe2\x82", b"\xac b"),
            (b"a\x1b]0;ti", b"tle\x07b"),
            (b"a\x1b(", b"Bb"),
        ];
        for (before, after) in cases {
            let whole = [before, after].concat();
            let painted = [&paint(before, None), after].concat();
            assert_eq!(shown(&painted), shown(&whole), "{}", whole.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn text_and_motions_are_painted_as_they_stand(
            parts in proptest::collection::vec(
                prop_oneof![
                    "[a-z ]{1,30}",
                    Just("\r\n".to_owned()),
                    Just("\x1b[2J\x1b[H".to_owned()),
                    Just("\x1b[7m".to_owned()),
                    (1..25u8, 1..80u8).prop_map(|(row, col)| format!("\x1b[{row};{col}H")),
                    (1..5u8).prop_map(|count| format!("\x1b[{count}D")),
                ],
                0..60,
            )
        ) {
            let output = parts.concat();
            let painted = paint(output.as_bytes(), None);
            prop_assert_eq!(shown(&painted), shown(output.as_bytes()));
        }

        #[test]
        fn any_bytes_are_painted(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            paint(&bytes, None);
        }
    }
}
