//! Rows of cells.

use crate::attributes::Attributes;

/// The content of a cell.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Text {
    /// Nothing was printed here, or it was erased.
    Nothing,
    /// A character.
    Char(char),
    /// A character with combining ones: its index among those of the terminal.
    Combined(usize),
}

/// A cell of the grid.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Cell {
    pub(crate) text: Text,
    /// 2 for the first cell of a wide character, 0 for the second.
    pub(crate) width: u8,
    pub(crate) attributes: Attributes,
}

impl Cell {
    pub(crate) fn empty(attributes: Attributes) -> Self {
        Self { text: Text::Nothing, width: 1, attributes }
    }

    /// Whether it is the second half of a wide character.
    fn is_half(self) -> bool {
        self.width == 0 && self.text == Text::Nothing
    }

    pub(crate) fn is_blank(self) -> bool {
        self.text == Text::Nothing && self.attributes.is_default()
    }
}

/// A row of cells.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    cells: Vec<Cell>,
    /// Whether it continues the text of the row before.
    pub(crate) wrapped: bool,
}

impl Row {
    pub(crate) fn new(cols: usize, attributes: Attributes) -> Self {
        Self { cells: vec![Cell::empty(attributes); cols], wrapped: false }
    }

    /// A part of the row.
    pub(crate) fn part(&self, left: usize, cols: usize) -> Self {
        let cells = self.cells.iter().skip(left).take(cols).copied().collect();
        let mut part = Self { cells, wrapped: false };
        part.split_at(0, Attributes::default());
        part.split_before(cols, Attributes::default());
        part
    }

    pub(crate) fn cells(&self) -> &[Cell] {
        &self.cells
    }

    pub(crate) fn is_blank(&self) -> bool {
        self.cells.iter().all(|cell| cell.is_blank())
    }

    /// Whether all of its cells are erased.
    pub(crate) fn is_erased(&self) -> bool {
        self.cells.iter().all(|cell| cell.text == Text::Nothing)
    }

    pub(crate) fn cell(&self, at: usize) -> Option<Cell> {
        self.cells.get(at).copied()
    }

    pub(crate) fn set(&mut self, at: usize, cell: Cell) {
        if let Some(place) = self.cells.get_mut(at) {
            *place = cell;
        }
    }

    /// Empties the first half of a wide character whose second half is at `at`.
    pub(crate) fn split_before(&mut self, at: usize, fill: Attributes) {
        let Some(before) = at.checked_sub(1) else { return };
        if self.cell(before).is_some_and(|cell| cell.width == 2) {
            self.set(before, Cell::empty(fill));
        }
    }

    /// Empties the second half of a wide character at `at` whose first half is gone.
    pub(crate) fn split_at(&mut self, at: usize, fill: Attributes) {
        if self.cell(at).is_some_and(Cell::is_half) {
            self.set(at, Cell::empty(fill));
        }
    }

    /// Moves cells from `at` on to the right.
    pub(crate) fn insert(&mut self, at: usize, count: usize, fill: Attributes) {
        self.split_before(at, fill);
        let cols = self.cells.len();
        let count = count.min(cols.saturating_sub(at));
        if let Some(moved) = self.cells.get_mut(at..) {
            moved.rotate_right(count);
        }
        self.fill(at, at + count, fill);
        // The first half of a wide character at the end has no room for the second.
        self.split_before(cols, fill);
    }

    /// Removes cells at `at`, and moves the rest to the left.
    pub(crate) fn delete(&mut self, at: usize, count: usize, fill: Attributes) {
        let cols = self.cells.len();
        let count = count.min(cols.saturating_sub(at));
        if let Some(moved) = self.cells.get_mut(at..) {
            moved.rotate_left(count);
        }
        self.fill(cols - count, cols, fill);
        self.split_before(at, fill);
        self.split_at(at, fill);
    }

    /// Empties cells.
    pub(crate) fn erase(&mut self, from: usize, to: usize, fill: Attributes) {
        let to = to.min(self.cells.len());
        self.split_before(from, fill);
        if to.checked_sub(1).and_then(|last| self.cell(last)).is_some_and(|cell| cell.width == 2) {
            self.set(to, Cell::empty(fill));
        }
        self.fill(from, to, fill);
    }

    pub(crate) fn reset(&mut self, fill: Cell) {
        self.cells.fill(fill);
        self.wrapped = false;
    }

    fn fill(&mut self, from: usize, to: usize, fill: Attributes) {
        if let Some(cells) = self.cells.get_mut(from..to) {
            cells.fill(Cell::empty(fill));
        }
    }
}
