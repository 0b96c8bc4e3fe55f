//! Painting a terminal: its state as bytes for another terminal.

use std::fmt::Write;

use crate::PAINTED;
use crate::Painted;
use crate::attributes::Attributes;
use crate::buffer::Buffer;
use crate::charsets::Charsets;
use crate::rows::Last;
use crate::rows::Rows;
use crate::rows::text_at;
use crate::terminal::Terminal;

/// Bytes for everything except rows: positions, tabs, attributes, modes.
const STATE: usize = 16 * 1024;

/// The bytes that paint a terminal, with as many of the rows above its screen as fit.
pub(crate) fn paint(terminal: &mut Terminal, open: &[u8]) -> Painted {
    let screen = Painting::of(terminal).text;
    let last = [screen.as_bytes(), terminal.held().as_bytes(), open].concat();
    let (above, boots) = terminal.above.newest(PAINTED.saturating_sub(last.len()));
    Painted { bytes: [above.as_bytes(), &last].concat(), boots }
}

struct Painting {
    text: String,
    /// The row of the cursor.
    y: usize,
    /// The state at the end of the rows: the text's length there, the cursor's column, and the
    /// attributes.
    rows_end: Option<(usize, usize, Attributes)>,
    /// Whether the terminal's first row is the first painted one, so that positions can be
    /// addressed.
    absolute: bool,
    charsets: Charsets,
}

impl Painting {
    fn of(terminal: &mut Terminal) -> Self {
        let absolute = terminal.addressed || !terminal.above.is_empty();
        let normal = normal_rows(terminal, absolute);
        let alternate = alternate_rows(terminal);
        let mut painting = Self {
            y: normal.count.saturating_sub(1),
            rows_end: normal.rows.x().map(|x| (normal.rows.len(), x, normal.rows.attributes())),
            text: normal.rows.as_str().into(),
            absolute,
            charsets: Charsets::default(),
        };
        if let Some(rows) = alternate {
            if painting.text.len() + rows.len() + STATE > PAINTED {
                painting.text = "\x1b[0m".into();
            }
            painting.enter_alternate(&terminal.normal, rows.as_str());
        }
        painting.finish(terminal);
        painting
    }

    /// Paints the state of the normal screen, and the alternate screen with its rows.
    fn enter_alternate(&mut self, normal: &Buffer, rows: &str) {
        self.set_tabs(normal);
        self.set_margins(normal);
        let saved = normal.saved.unwrap_or_default();
        self.go_to(saved.x, saved.y);
        saved.attributes.write(&mut self.text);
        self.select(saved.charsets);
        // It saves the cursor.
        self.text.push_str("\x1b[?1049h\x1b[0m");
        self.select(Charsets::default());
        self.text.push_str("\x1b[H\x1b[J");
        self.text.push_str(rows);
        self.absolute = true;
    }

    /// Paints the rest of the state, for the visible screen.
    fn finish(&mut self, terminal: &Terminal) {
        let buffer = terminal.shown();
        self.set_tabs(buffer);
        if let Some(saved) = buffer.saved {
            self.go_to(saved.x, saved.y);
            saved.attributes.write(&mut self.text);
            self.select(saved.charsets);
            self.text.push_str("\x1b7");
        }
        self.set_margins(buffer);
        let mut y = terminal.y;
        if terminal.modes.origin {
            self.text.push_str("\x1b[?6h");
            y = y.saturating_sub(buffer.top);
        }
        self.select(Charsets::default());
        match buffer.rows().nth(terminal.y) {
            // Only printing in the last column brings the cursor behind it.
            Some(row) if terminal.x >= terminal.cols => {
                let (x, attributes, text) = text_at(row, terminal.cols - 1, &terminal.combined);
                self.go_to(x, y);
                attributes.write(&mut self.text);
                self.text.push_str(&text);
            }
            // The next character continues at the end of the rows.
            _ if self.is_at(terminal.x, y, terminal.attributes) => {}
            _ => self.go_to(terminal.x, y),
        }
        if !self.is_at(terminal.x, y, terminal.attributes) {
            terminal.attributes.write(&mut self.text);
        }
        self.select(terminal.charsets);
        terminal.modes.write(&mut self.text);
    }

    /// Whether the text, up to the end of its rows, leaves the cursor here, with these attributes.
    fn is_at(&self, x: usize, y: usize, attributes: Attributes) -> bool {
        self.y == y && self.rows_end == Some((self.text.len(), x, attributes))
    }

    fn go_to(&mut self, x: usize, y: usize) {
        // Writing to a string cannot fail.
        let _ = if self.absolute {
            write!(self.text, "\x1b[{};{}H", y + 1, x + 1)
        } else {
            self.text.push('\r');
            let vertical = match self.y.abs_diff(y) {
                0 => Ok(()),
                rows if y < self.y => write!(self.text, "\x1b[{rows}A"),
                rows => write!(self.text, "\x1b[{rows}B"),
            };
            vertical.and_then(|()| if x > 0 { write!(self.text, "\x1b[{x}C") } else { Ok(()) })
        };
        self.y = y;
    }

    fn set_tabs(&mut self, buffer: &Buffer) {
        if buffer.has_default_tabs() {
            return;
        }
        self.text.push_str("\x1b[3g");
        for (at, _) in buffer.tabs.iter().enumerate().filter(|(_, stop)| **stop) {
            let _ = write!(self.text, "\x1b[{}G\x1bH", at + 1);
        }
    }

    fn set_margins(&mut self, buffer: &Buffer) {
        if buffer.has_margins() {
            let _ = write!(self.text, "\x1b[{};{}r", buffer.top + 1, buffer.bottom + 1);
        }
    }

    fn select(&mut self, charsets: Charsets) {
        charsets.write(&self.charsets, &mut self.text);
        self.charsets = charsets;
    }
}

struct Normal {
    rows: Rows,
    count: usize,
}

/// The rows of the normal screen: all, or those that the guest has used.
fn normal_rows(terminal: &mut Terminal, all: bool) -> Normal {
    let normal = &terminal.normal;
    let printed = normal.rows().rev().skip_while(|row| row.is_blank()).count();
    let cursor = if terminal.on_alternate { 0 } else { terminal.y + 1 };
    let saved = normal.saved.map_or(0, |saved| saved.y + 1);
    let count = if all { terminal.rows } else { printed.max(cursor).max(saved).max(1) };
    let first = normal.rows().next();
    let last = first.map(|row| terminal.above.break_before(row)).unwrap_or_default();
    let mut rows = Rows::after(last);
    for row in normal.rows().take(count) {
        rows.push(row, &terminal.combined);
    }
    Normal { rows, count }
}

fn alternate_rows(terminal: &Terminal) -> Option<Rows> {
    terminal.on_alternate.then(|| {
        let mut rows = Rows::after(Last::None);
        for row in terminal.alternate.rows() {
            rows.push(row, &terminal.combined);
        }
        rows
    })
}
