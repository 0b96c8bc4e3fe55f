//! Rows as they are painted, and how many of them.

use std::collections::VecDeque;
use std::fmt;

use vt100::Callbacks;
use vt100::capture::BasicFormattedCaptureState;
use vt100::capture::RowContents;

/// Rows above the screen are kept in parts, each of about so many bytes or rows, and so many parts of
/// them, the newest: 10,000 rows, which is more than terminals keep by default.
const PART: usize = 32 * 1024;
const PART_ROWS: usize = 500;
const PARTS: usize = 20;

/// Bytes of attributes in one text. What comes after them is painted without.
const ATTRIBUTES: usize = 128 * 1024;

/// Rows as text with attributes, with a new line after each that does not go on in the next.
#[derive(Debug, Default)]
pub(super) struct Rows {
    text: String,
    /// Bytes of attributes in it.
    attributes: usize,
    /// A sequence of attributes has begun.
    open: bool,
    /// Attributes are left out from here on.
    plain: bool,
}

impl Rows {
    /// Rows that go on where `text` ends, with no attributes set.
    pub(super) fn after(text: &str) -> Self {
        Self { text: text.to_owned(), ..Self::default() }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    fn begin_attributes(&mut self) {
        self.open = true;
        if self.attributes >= ATTRIBUTES && !self.plain {
            self.plain = true;
            self.text.push_str("\x1b[m");
        }
    }

    fn push_attribute(&mut self, c: char) {
        self.open = c != 'm';
        if !self.plain {
            self.attributes += 1;
            self.text.push(c);
        }
    }
}

impl fmt::Write for Rows {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if c == '\x1b' {
                self.begin_attributes();
            }
            match c {
                _ if self.open => self.push_attribute(c),
                '\n' => self.text.push_str("\r\n"),
                _ => self.text.push(c),
            }
        }
        Ok(())
    }
}

/// Rows that scrolled off the screen, painted as they go.
#[derive(Debug, Default)]
pub(super) struct Above {
    parts: VecDeque<Rows>,
    /// Rows in the last part.
    rows: usize,
    /// How the last row ended.
    pub(super) state: BasicFormattedCaptureState,
}

impl Above {
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The newest rows that fit in so many bytes, in whole parts.
    pub(super) fn newest(&self, most: usize) -> String {
        let mut room = most;
        let fits = |part: &&Rows| {
            let left = room.checked_sub(part.text.len());
            room = left.unwrap_or(0);
            left.is_some()
        };
        let newest: Vec<_> = self.parts.iter().rev().take_while(fits).collect();
        newest.into_iter().rev().map(|part| part.text.as_str()).collect()
    }

    /// Begins a part with no attributes set. A row that ends with a new line gets it from the next.
    fn begin_part(&mut self, row: &RowContents<'_>) {
        if let Some(last) = self.parts.back_mut() {
            let mut next = Rows::default();
            // Writing to a string does not fail.
            let _ = row.write_formatted_basic(&mut next, &mut self.state);
            if next.text.starts_with("\r\n") {
                last.text.push_str("\r\n");
            }
        }
        if self.parts.len() == PARTS {
            self.parts.pop_front();
        }
        self.parts.push_back(Rows::after("\x1b[m"));
        self.rows = 0;
        self.state = BasicFormattedCaptureState::new();
    }
}

impl Callbacks for Above {
    fn on_scroll(&mut self, row: RowContents<'_>, alternate_screen: bool) {
        if alternate_screen {
            return;
        }
        if self.rows == PART_ROWS || self.parts.back().is_none_or(|part| part.text.len() >= PART) {
            self.begin_part(&row);
        }
        self.rows += 1;
        if let Some(part) = self.parts.back_mut() {
            // Writing to a string does not fail.
            let _ = row.write_formatted_basic(part, &mut self.state);
        }
    }
}
