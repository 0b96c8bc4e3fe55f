//! The cost of modeling output, counted before it is modeled.
//!
//! Few bytes can make a terminal touch every cell of its grid: `CSI J` erases it, `CSI 65535 b`
//! fills it. So each operation is charged its maximum cost on this grid, in units of about a
//! nanosecond (in a release build). Only the newest part of the output whose total cost is within
//! the budget is modeled. Counting uses the model's own parser.

use crate::Grid;
use crate::params::Params;
use crate::parser::Parser;
use crate::parser::Perform;
use crate::parser::characters;
use crate::terminal::REPEATED;

/// The maximum cost of modeling: about 20 ms. A cropped screen is modeled twice.
pub(crate) const BUDGET: u64 = 20_000_000;

/// The output may be cut whenever this part of the budget has been counted.
const STEPS: u64 = 64;

/// The beginning of the newest part of the output that can be modeled within the budget. It is
/// between two operations.
pub(crate) fn affordable(output: &[u8], grid: Grid, budget: u64) -> usize {
    let mut work = Work::new(grid);
    let mut parser = Parser::default();
    let mut cuts = vec![(0, 0)];
    let step = budget / STEPS;
    let mut next = step;
    for (end, c) in characters(output) {
        parser.advance(c, &mut work);
        if work.done >= next && parser.is_idle() {
            cuts.push((end, work.done));
            next = work.done + step;
        }
    }
    let spare = work.done.saturating_sub(budget);
    let cut = cuts.iter().find(|(_, done)| *done >= spare);
    cut.map_or(output.len(), |(end, _)| *end)
}

/// Counts the work of operations on a grid.
pub(crate) struct Work {
    rows: u64,
    cols: u64,
    pub(crate) done: u64,
}

impl Work {
    fn new(grid: Grid) -> Self {
        Self { rows: grid.rows as u64, cols: grid.cols as u64, done: 0 }
    }

    #[cfg(test)]
    pub(crate) fn of(output: &[u8], grid: Grid) -> Self {
        let mut work = Self::new(grid);
        let mut parser = Parser::default();
        for (_, c) in characters(output) {
            parser.advance(c, &mut work);
        }
        work
    }

    /// Rows that leave the grid at its top are painted.
    fn scroll_up(&self, count: u64) -> u64 {
        count.min(self.rows) * (10 * self.cols + 20) + self.rows
    }

    /// Rows within the grid are emptied, and others moved.
    fn shift_rows(&self, count: u64) -> u64 {
        count.min(self.rows) * (2 * self.cols + 60 + 10 * self.rows)
    }

    /// Cells of one row are erased or moved.
    fn change_row(&self) -> u64 {
        5 * self.cols
    }

    /// Cells of all rows.
    fn change_rows(&self) -> u64 {
        self.rows * (self.change_row() + 10)
    }

    fn erase(&self) -> u64 {
        self.rows * (2 * self.cols + 10)
    }

    fn allocate(&self) -> u64 {
        self.rows * (2 * self.cols + 150)
    }

    fn most_repeated(&self) -> u64 {
        (self.rows + 2) * self.cols + REPEATED as u64
    }

    /// Moving this many columns to the right is part of a wrap, which may scroll by a row.
    fn advance(&self, columns: u64) -> u64 {
        (columns * self.scroll_up(1).div_ceil((self.cols - 1).max(1))).min(self.scroll_up(1))
    }
}

impl Perform for Work {
    fn print(&mut self, c: char) {
        self.done += if c.is_ascii() { 30 + self.advance(1) } else { 150 + self.advance(2) };
    }

    fn control(&mut self, c: char) {
        self.done += match c {
            '\t' => 10 + self.cols,
            '\n' | '\x0b' | '\x0c' | '\u{84}' | '\u{85}' => 10 + self.scroll_up(1),
            _ => 10,
        };
    }

    fn escape(&mut self, _intermediates: u32, last: u8) {
        self.done += 20
            + match last {
                b'D' | b'E' => self.scroll_up(1),
                b'M' => self.shift_rows(1),
                b'8' => self.erase(),
                b'c' => 2 * self.allocate() + self.scroll_up(self.rows),
                _ => 0,
            };
    }

    fn sequence(&mut self, params: &Params, _intermediates: u32, last: u8) {
        let count = params.count(0) as u64;
        let work = match last {
            b'@' | b'A' | b'}' | b'~' => self.change_rows(),
            b'K' | b'P' | b'X' => self.change_row(),
            b'J' => self.erase() + self.change_row(),
            b'L' | b'M' | b'T' | b'S' => self.shift_rows(count),
            b'I' | b'Z' => count.min(self.cols) * self.cols,
            b'b' => count.min(self.most_repeated()) * (150 + self.advance(2)),
            b'g' => self.cols,
            b'h' | b'l' => params.len() as u64 * (20 + self.allocate()),
            // Attributes are painted where they change.
            b'm' => 100 + 20 * params.len() as u64,
            _ => 0,
        };
        self.done += work + 60;
    }

    fn string(&mut self, bytes: usize) {
        self.done += 100 + bytes as u64;
    }
}
