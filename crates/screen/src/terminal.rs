//! A terminal like xterm and xterm.js: the effect of a guest's output on a grid.

use crate::above::Above;
use crate::attributes::Attributes;
use crate::buffer::Buffer;
use crate::buffer::Saved;
use crate::charsets::Charsets;
use crate::grid::Cell;
use crate::grid::Row;
use crate::grid::Text;
use crate::modes::Modes;
use crate::parser::Parser;
use crate::parser::characters;
use crate::parser::cut_character;
use crate::widths::width;

/// Larger coordinates are not meant literally: `CSI 999;999 H` finds out the terminal's size.
const FARTHEST: usize = 500;

/// Up to this many repeated characters are all printed, even if they scroll off the grid.
pub(crate) const REPEATED: usize = 2000;

/// A terminal.
#[derive(Debug)]
pub(crate) struct Terminal {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) normal: Buffer,
    pub(crate) alternate: Buffer,
    pub(crate) on_alternate: bool,
    /// The column of the cursor. It may be behind the last one: then the next character wraps.
    pub(crate) x: usize,
    pub(crate) y: usize,
    pub(crate) attributes: Attributes,
    pub(crate) charsets: Charsets,
    pub(crate) modes: Modes,
    pub(crate) above: Above,
    /// Texts of cells with combining characters.
    pub(crate) combined: Vec<String>,
    /// Whether the guest has addressed a position of the screen, instead of only adding output
    /// below.
    pub(crate) addressed: bool,
    /// The rows and columns that it has addressed since the screen was empty.
    pub(crate) extent: (usize, usize),
    /// Columns of the last printed character, if only characters have followed.
    last: Option<u8>,
    /// The last character with its combining ones: more of these may follow.
    held: String,
}

impl Terminal {
    pub(crate) fn new(rows: usize, cols: usize, begins_line: bool) -> Self {
        Self {
            rows,
            cols,
            normal: Buffer::new(rows, cols),
            alternate: Buffer::new(rows, cols),
            on_alternate: false,
            x: 0,
            y: 0,
            attributes: Attributes::default(),
            charsets: Charsets::default(),
            modes: Modes::new(begins_line),
            above: Above::default(),
            combined: Vec::new(),
            addressed: false,
            extent: (0, 0),
            last: None,
            held: String::new(),
        }
    }

    /// Handles output. Returns its incomplete end, which must be repeated before further output:
    /// the beginning of a sequence or of a character.
    pub(crate) fn feed(&mut self, output: &[u8]) -> Vec<u8> {
        let mut parser = Parser::default();
        for (_, c) in characters(output) {
            parser.advance(c, self);
        }
        [parser.pending(), cut_character(output)].concat()
    }

    /// The character that is held back. It belongs before the incomplete end.
    pub(crate) fn held(&self) -> &str {
        &self.held
    }

    /// Prints the character that was held back.
    pub(crate) fn flush(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let held = std::mem::take(&mut self.held);
        for c in held.chars() {
            self.put(c);
        }
        self.held = held;
        self.held.clear();
    }

    /// Holds a character back until it is known whether others combine with it.
    pub(crate) fn hold(&mut self, c: char) {
        if width(c) > 0 {
            self.flush();
        }
        self.held.push(c);
    }

    /// Handles the end of a combined character.
    pub(crate) fn stop_joining(&mut self) {
        self.flush();
        self.last = None;
    }

    pub(crate) fn buffer(&mut self) -> &mut Buffer {
        if self.on_alternate { &mut self.alternate } else { &mut self.normal }
    }

    pub(crate) fn shown(&self) -> &Buffer {
        if self.on_alternate { &self.alternate } else { &self.normal }
    }

    pub(crate) fn row(&mut self) -> Option<&mut Row> {
        let y = self.y;
        self.buffer().row(y)
    }

    fn put(&mut self, c: char) {
        let c = self.charsets.translate(c);
        let columns = width(c);
        let attributes = self.attributes;
        let x = self.x;
        if columns == 0 && self.last.is_some() && x > 0 {
            return self.combine(c);
        }
        if columns == 0 && x >= self.cols {
            return;
        }
        if let Some(row) = self.row() {
            row.split_before(x, attributes);
        }
        if self.x + usize::from(columns) > self.cols && !self.make_room(columns) {
            self.last = None;
            return;
        }
        let (x, cols, inserts) = (self.x, self.cols, self.modes.insert);
        let Some(row) = self.row() else { return };
        if inserts {
            row.insert(x, columns.into(), attributes);
        }
        row.set(x, Cell { text: Text::Char(c), width: columns, attributes });
        let next = x + usize::from(columns.max(1));
        if columns == 2 {
            row.set(x + 1, Cell { width: 0, ..Cell::empty(attributes) });
        }
        row.split_at(next, attributes);
        self.x = next.min(cols);
        self.last = (columns > 0).then_some(columns);
    }

    /// Makes room for a character that does not fit before the end of the row. Returns whether
    /// there is room.
    fn make_room(&mut self, columns: u8) -> bool {
        let (cols, attributes) = (self.cols, self.attributes);
        let x = self.x;
        if !self.modes.wraps() {
            self.x = cols - 1;
            // If the second half is overwritten, the first half is erased, too.
            if let Some(row) = self.row().filter(|_| columns < 2)
                && let Some(half) = row.cell(cols - 2)
            {
                row.split_before(cols - 1, half.attributes);
            }
            return columns < 2;
        }
        if let Some(row) = self.row() {
            for at in x..cols {
                row.set(at, Cell::empty(attributes));
            }
        }
        self.x = 0;
        if self.y == self.shown().bottom {
            self.scroll_up();
        } else {
            self.y = (self.y + 1).min(self.rows - 1);
        }
        if let Some(row) = self.row() {
            row.wrapped = true;
        }
        true
    }

    /// Combines a character with the one before.
    fn combine(&mut self, c: char) {
        let x = self.x;
        let places = self.combined.len();
        let Some(row) = self.row() else { return };
        let half = row.cell(x - 1).is_some_and(|cell| cell.width == 0);
        let Some(at) = x.checked_sub(if half { 2 } else { 1 }) else { return };
        let Some(cell) = row.cell(at) else { return };
        match cell.text {
            Text::Nothing => row.set(at, Cell { text: Text::Char(c), width: 1, ..cell }),
            Text::Char(first) => {
                row.set(at, Cell { text: Text::Combined(places), ..cell });
                self.combined.push([first, c].iter().collect());
            }
            Text::Combined(place) => {
                if let Some(text) = self.combined.get_mut(place) {
                    text.push(c);
                }
            }
        }
    }

    /// Prints the character before the cursor `count` more times.
    pub(crate) fn repeat(&mut self, count: usize) {
        let Some(columns) = self.last else { return };
        let at = self.x.checked_sub(columns.into());
        let Some(cell) = at.and_then(|at| self.row()?.cell(at)) else { return };
        let first = match cell.text {
            Text::Nothing => None,
            Text::Char(c) => Some(c),
            Text::Combined(place) => self.combined.get(place).and_then(|text| text.chars().next()),
        };
        let Some(c) = first else { return };
        // Once the grid is full, only the column still changes.
        let in_row = (self.cols / usize::from(columns)).max(1);
        let full = REPEATED.div_ceil(in_row).max(self.rows + 1) * in_row;
        let count = if count > full { full + (count - full) % in_row } else { count };
        for _ in 0..count {
            self.put(c);
        }
    }

    pub(crate) fn line_feed(&mut self) {
        if self.modes.newline {
            self.x = 0;
        }
        if self.y == self.shown().bottom {
            self.scroll_up();
        } else if self.y + 1 < self.rows {
            self.y += 1;
            if let Some(row) = self.row() {
                row.wrapped = false;
            }
        }
        self.x = self.x.min(self.cols - 1);
    }

    /// Scrolls the rows between the margins up by one.
    pub(crate) fn scroll_up(&mut self) {
        let fill = self.attributes.erased();
        let on_alternate = self.on_alternate;
        let buffer = self.buffer();
        let (top, bottom) = (buffer.top, buffer.bottom);
        let gone = buffer.move_row(top, bottom, fill);
        if let Some(row) = gone.filter(|_| top == 0 && !on_alternate) {
            self.above.push(&row, &self.combined);
        }
    }

    pub(crate) fn clear_rows(&mut self, from: usize, to: usize) {
        let fill = Cell::empty(self.attributes.erased());
        let buffer = self.buffer();
        for y in from..to {
            if let Some(row) = buffer.row(y) {
                row.reset(fill);
            }
        }
    }

    /// Moves the cursor to a position, which counts from the margin in origin mode.
    pub(crate) fn go_to(&mut self, x: usize, y: usize) {
        self.reach(x, y);
        let top = if self.modes.origin { self.shown().top } else { 0 };
        self.x = x;
        self.y = top.saturating_add(y);
        self.confine(self.cols - 1);
    }

    /// The guest assumes that the screen has at least this size.
    pub(crate) fn reach(&mut self, x: usize, y: usize) {
        self.addressed = true;
        if x < FARTHEST && y < FARTHEST {
            let (rows, cols) = self.extent;
            self.extent = (rows.max(y + 1), cols.max(x + 1));
        }
    }

    /// Keeps the cursor on the screen or, in origin mode, between the margins.
    pub(crate) fn confine(&mut self, last: usize) {
        let buffer = self.shown();
        let (top, bottom) =
            if self.modes.origin { (buffer.top, buffer.bottom) } else { (0, self.rows - 1) };
        self.x = self.x.min(last);
        self.y = self.y.clamp(top, bottom);
    }

    pub(crate) fn save(&mut self) {
        let saved = Saved {
            x: self.x.min(self.cols - 1),
            y: self.y,
            attributes: self.attributes,
            charsets: self.charsets,
        };
        self.buffer().saved = Some(saved);
    }

    pub(crate) fn restore(&mut self) {
        let saved = self.shown().saved.unwrap_or_default();
        (self.x, self.y) = (saved.x, saved.y);
        self.attributes = saved.attributes;
        self.charsets = saved.charsets;
        self.confine(self.cols - 1);
    }

    pub(crate) fn enter_alternate(&mut self) {
        if !self.on_alternate {
            self.on_alternate = true;
            self.extent = (0, 0);
            self.clear_rows(0, self.rows);
        }
    }

    pub(crate) fn leave_alternate(&mut self) {
        if self.on_alternate {
            self.on_alternate = false;
            self.extent = (0, 0);
            self.alternate.clear();
        }
    }

    pub(crate) fn reset_softly(&mut self) {
        let rows = self.rows;
        let buffer = self.buffer();
        (buffer.top, buffer.bottom, buffer.saved) = (0, rows - 1, None);
        self.attributes = Attributes::default();
        self.charsets = Charsets::default();
        self.modes.reset_softly();
    }

    /// Resets everything, by RIS or at a boot. As on the page, the present rows move above the
    /// screen.
    pub(crate) fn reset(&mut self) {
        self.stop_joining();
        let mut above = std::mem::take(&mut self.above);
        let printed = self.normal.rows().rev().skip_while(|row| row.is_erased()).count();
        for row in self.normal.rows().take(printed) {
            above.push(row, &self.combined);
        }
        *self = Self { above, ..Self::new(self.rows, self.cols, self.modes.begins_line) };
    }
}
