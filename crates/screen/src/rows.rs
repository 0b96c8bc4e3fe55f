//! Painted rows.

use crate::attributes::Attributes;
use crate::grid::Cell;
use crate::grid::Row;
use crate::grid::Text;

/// Most bytes of attributes in a text. The rest of the text is painted without attributes.
const ATTRIBUTES: usize = 64 * 1024;

/// Rows as text with attributes, with a new line before each row that does not continue the one
/// before.
#[derive(Debug)]
pub(crate) struct Rows {
    text: String,
    /// The attributes at the end of the text.
    attributes: Attributes,
    /// Bytes of attributes in the text.
    spent: usize,
    last: Last,
    /// The column of the cursor at the end of the text, if it is known.
    x: Option<usize>,
}

/// The end of the last row.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Last {
    /// There is no row.
    #[default]
    None,
    /// Before the last column.
    Short,
    /// In the last column: the next character wraps.
    Full,
}

impl Rows {
    /// Rows after a row.
    pub(crate) fn after(last: Last) -> Self {
        Self { text: "\x1b[0m".into(), attributes: Attributes::default(), spent: 0, last, x: None }
    }

    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The column of the cursor at the end of the text, if it is known.
    pub(crate) fn x(&self) -> Option<usize> {
        self.x
    }

    /// The attributes at the end of the text.
    pub(crate) fn attributes(&self) -> Attributes {
        self.attributes
    }

    pub(crate) fn push(&mut self, row: &Row, combined: &[String]) {
        let cells = row.cells();
        let end = cells.iter().rposition(|cell| cell.text != Text::Nothing).map_or(0, |at| at + 1);
        // The second half of a wide character.
        let end = if end < cells.len() && cells.get(end).is_some_and(|cell| cell.width == 0) {
            end + 1
        } else {
            end
        };
        let (printed, erased) = cells.split_at_checked(end).unwrap_or((cells, &[]));
        self.break_before(row);
        self.last = Last::Short;
        let mut before = 1;
        for cell in printed {
            self.push_cell(*cell, before, combined);
            before = cell.width;
        }
        if !printed.is_empty() && erased.is_empty() {
            self.last = Last::Full;
        }
        let printed = self.text.len();
        self.push_erased(erased);
        self.x = (self.last == Last::Short && self.text.len() == printed).then_some(end);
    }

    /// Begins a new line before a row that does not continue the last one, and returns what the row
    /// then follows. A new line has the selected background, and a character without a width does
    /// not wrap.
    pub(crate) fn break_before(&mut self, row: &Row) -> Last {
        let first = row.cells().first().filter(|_| !row.is_erased());
        let goes_on = row.wrapped
            && self.last == Last::Full
            && first.is_some_and(|cell| cell.width > 0 && !cell.attributes.has_background());
        if goes_on {
            return Last::Full;
        }
        if self.last != Last::None {
            if self.attributes.has_background() {
                self.select(Attributes::default());
            }
            self.text.push_str("\r\n");
        }
        Last::None
    }

    fn push_cell(&mut self, cell: Cell, width_before: u8, combined: &[String]) {
        match cell.text {
            Text::Nothing if cell.width == 0 && width_before == 2 => {}
            Text::Nothing => {
                self.select(cell.attributes);
                self.text.push(' ');
            }
            Text::Char(c) => {
                if cell.width == 0 {
                    // It must not combine with the character before.
                    self.spend(cell.attributes);
                } else {
                    self.select(cell.attributes);
                }
                self.text.push(c);
            }
            Text::Combined(place) => {
                self.select(cell.attributes);
                self.text.push_str(combined.get(place).map_or(" ", String::as_str));
            }
        }
    }

    /// Erased cells at the end of a row.
    fn push_erased(&mut self, cells: &[Cell]) {
        let mut runs = cells.chunk_by(|a, b| a.attributes == b.attributes).peekable();
        while let Some(run) = runs.next() {
            let attributes = run.first().map(|cell| cell.attributes).unwrap_or_default();
            match (runs.peek(), attributes.is_default()) {
                (None, true) => {}
                (None, false) if attributes == attributes.erased() => {
                    self.select(attributes);
                    self.text.push_str("\x1b[K");
                }
                (next, _) => {
                    self.select(attributes);
                    self.text.extend(std::iter::repeat_n(' ', run.len()));
                    if next.is_none() {
                        self.last = Last::Full;
                    }
                }
            }
        }
    }

    fn select(&mut self, attributes: Attributes) {
        if attributes != self.attributes {
            self.spend(attributes);
        }
    }

    fn spend(&mut self, attributes: Attributes) {
        if self.spent < ATTRIBUTES {
            let before = self.text.len();
            attributes.write(&mut self.text);
            self.spent += self.text.len() - before;
            self.attributes = attributes;
        } else if !self.attributes.is_default() {
            self.text.push_str("\x1b[0m");
            self.attributes = Attributes::default();
        }
    }
}

/// The text of a cell of a row, and the column where it begins: `at`, or the one before if that
/// cell is the second half of a wide character.
pub(crate) fn text_at(row: &Row, at: usize, combined: &[String]) -> (usize, Attributes, String) {
    let half = row.cell(at).is_some_and(|cell| cell.width == 0);
    let wide = half && at > 0 && row.cell(at - 1).is_some_and(|cell| cell.width == 2);
    let at = if wide { at - 1 } else { at };
    let cell = row.cell(at).unwrap_or_else(|| Cell::empty(Attributes::default()));
    let text = match cell.text {
        Text::Nothing => " ".into(),
        Text::Char(c) => c.into(),
        Text::Combined(place) => combined.get(place).cloned().unwrap_or_default(),
    };
    (at, cell.attributes, text)
}
