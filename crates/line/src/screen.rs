//! The screen as it is now, as bytes that paint it.
//!
//! A terminal that is modelled at each attach from the newest output, and let go again: measured,
//! that is 4 ms for 256 KiB, against 61 KiB a watched line for a model that is kept. What is painted holds
//! no query, so no terminal answers it, and it neither clears nor positions absolutely unless a
//! full-screen program does: rows flow in below what a person's terminal shows already.
//!
//! Guests may be hostile: `work` bounds what is modelled, `rows` what is painted.

mod rows;
mod work;

use std::fmt::Write;
use std::num::NonZeroU16;

use serialproxy_proto::console::Size;
use vt100::Parser;
use vt100::Screen;
use vt100::capture::BasicFormattedCaptureRange;

use crate::screen::rows::Above;
use crate::screen::rows::Rows;

/// Bytes of output that a screen and the rows above it are made from, at most.
pub(crate) const READ: usize = 256 * 1024;

/// Bytes that paint a screen and the rows above it, at most. Rows above it are left out where they do
/// not fit; a screen alone always fits: 200 × 500 cells of a character of four bytes, combining
/// characters from `READ`, and the colors that [`Rows`] allows.
pub(crate) const PAINTED: usize = 1024 * 1024;

/// What a painting begins with.
const BEGINNING: &str = "\x1b[0m";

/// The grid where nobody said another: what Linux takes a serial terminal for.
const ROWS: NonZeroU16 = NonZeroU16::new(24).unwrap();
const COLS: NonZeroU16 = NonZeroU16::new(80).unwrap();

/// A larger grid is modelled as one of this size: it would be paid for in memory.
const MOST_ROWS: u16 = 200;
const MOST_COLS: u16 = 500;

/// A sequence is not longer than this, or it is none.
const SEQUENCE: usize = 256;

/// Paints what a terminal of this grid shows after `recent`, with the rows above it.
pub(crate) fn paint(recent: &[u8], size: Option<Size>) -> Vec<u8> {
    if recent.is_empty() {
        return Vec::new();
    }
    let rows = size.and_then(|size| NonZeroU16::new(size.rows.min(MOST_ROWS))).unwrap_or(ROWS);
    // A character may take two columns; the model panics where there is one.
    let cols = size.and_then(|size| NonZeroU16::new(size.cols.clamp(2, MOST_COLS))).unwrap_or(COLS);
    let mut parser = Parser::new_with_callbacks(rows, cols, 0, Above::default());
    parser.process(work::affordable(recent, rows, cols));
    let (screen, above) = parser.screen_and_callbacks_mut();
    let mut text =
        if screen.alternate_screen() { paint_alternate(screen) } else { paint_rows(screen, above) };
    if screen.hide_cursor() {
        text.push_str("\x1b[?25l");
    }
    text.push_str(&screen.attributes_formatted());
    text.push_str(&screen.input_mode_formatted());
    let unfinished = unfinished(recent);
    let room = PAINTED.saturating_sub(BEGINNING.len() + text.len() + unfinished.len());
    let mut painted = BEGINNING.as_bytes().to_vec();
    painted.extend_from_slice(above.newest(room).as_bytes());
    painted.extend_from_slice(text.as_bytes());
    painted.extend_from_slice(unfinished);
    painted
}

/// The screen of a full-screen program, and the cursor.
fn paint_alternate(screen: &Screen) -> String {
    let mut shown = Rows::after("\x1b[?1049h\x1b[m\x1b[H\x1b[J");
    // Writing to a string does not fail.
    let _ = screen.write_contents_formatted_basic(&mut shown, BasicFormattedCaptureRange::Visible);
    let mut text = shown.into_text();
    let (_, cols) = screen.size();
    let (row, column) = screen.cursor_position();
    let _ = write!(text, "\x1b[{};{}H", row + 1, column.min(cols.get() - 1) + 1);
    text
}

/// The rows on the screen and the cursor, by relative motion from where the rows above end.
fn paint_rows(screen: &Screen, above: &mut Above) -> String {
    let mut shown = Rows::default();
    let scrolled = !above.is_empty();
    let range = BasicFormattedCaptureRange::Full(&mut above.state);
    // Writing to a string does not fail.
    let _ = screen.write_contents_formatted_basic(&mut shown, range);
    let mut text = shown.into_text();
    let written = text.len();
    if !scrolled {
        // Empty rows at the end are a newline each. They stay where they push others off the screen.
        text.truncate(text.trim_end_matches("\r\n").len());
    }
    let (rows, cols) = screen.size();
    let (row, column) = screen.cursor_position();
    let empty = (written - text.len()) / "\r\n".len();
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
    text
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
    // CAN and SUB cancel a sequence.
    if sequence.iter().any(|byte| matches!(byte, 0x18 | 0x1a)) {
        return false;
    }
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
mod tests;
