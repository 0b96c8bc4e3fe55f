//! What modelling output costs, counted before it is modelled.
//!
//! Few bytes can make a terminal touch every cell of its grid: `CSI J` erases it, `CSI 65535 b` fills it.
//! So each operation is charged with what it costs at most on this grid, in a unit of about a
//! nanosecond (measured on a release build), and of the output only the newest part is modelled whose
//! sum is within a budget. The bytes are parsed by the model's own parser, so both see the same operations.

use std::num::NonZeroU16;

use vte::Params;
use vte::Parser;
use vte::Perform;

/// What modelling may cost at one attach: some 25 ms.
pub(super) const BUDGET: u64 = 25_000_000;

/// Text is counted in pieces of so many bytes: its beginning is cut off with this precision.
const PIECE: usize = 256;

/// The newest part of `recent` that can be modelled within the budget: from the beginning of an
/// operation.
pub(super) fn affordable(mut recent: &[u8], rows: NonZeroU16, cols: NonZeroU16) -> &[u8] {
    // Where a control character within a sequence is the last to be cut off, the rest of the sequence
    // becomes text, which the second turn cuts off.
    loop {
        let work = Work::of(recent, rows, cols);
        match work.done.checked_sub(BUDGET) {
            None | Some(0) => return recent,
            Some(excess) => recent = without(recent, Work { done: 0, most: excess, ..work }),
        }
    }
}

/// What is left when operations at the beginning are cut off that cost `most` of `work`.
fn without(recent: &[u8], mut work: Work) -> &[u8] {
    let mut parser = Parser::new();
    let mut cut = 0;
    for piece in recent.chunks(PIECE) {
        cut += parser.advance_until_terminated(&mut work, piece);
        if work.terminated() {
            break;
        }
    }
    let (taken, left) = recent.split_at_checked(cut).unwrap_or((recent, &[]));
    // The parser takes the ESC behind a text together with the text.
    if taken.ends_with(b"\x1b") { recent.get(cut - 1..).unwrap_or(left) } else { left }
}

/// Counts the work of operations on a grid.
pub(super) struct Work {
    rows: u64,
    cols: u64,
    pub(super) done: u64,
    /// The parser stops when so much was done.
    most: u64,
}

impl Work {
    pub(super) fn of(output: &[u8], rows: NonZeroU16, cols: NonZeroU16) -> Self {
        let (rows, cols) = (rows.get().into(), cols.get().into());
        let mut work = Self { rows, cols, done: 0, most: u64::MAX };
        Parser::new().advance(&mut work, output);
        work
    }

    /// Rows that leave the grid at its top are painted.
    fn scroll_up(&self, count: u64) -> u64 {
        count.min(self.rows) * (20 * self.cols + 20) + self.rows
    }

    /// Rows within the grid are emptied, and others moved.
    fn shift_rows(&self, count: u64) -> u64 {
        count.min(self.rows) * (2 * self.cols + 10) + 2 * self.rows
    }

    /// Cells of one row are erased or moved.
    fn change_row(&self) -> u64 {
        5 * self.cols
    }

    fn erase(&self) -> u64 {
        self.rows * (2 * self.cols + 10) + self.change_row()
    }

    fn allocate(&self) -> u64 {
        self.rows * (40 * self.cols + 50)
    }

    /// So many columns to the right are a part of a wrap, which may scroll by a row.
    fn advance(&self, columns: u64) -> u64 {
        let row = self.scroll_up(1);
        (columns * row.div_ceil((self.cols - 1).max(1))).min(row)
    }

    /// The saved cursor may be at the end of its row, and has attributes, which are painted.
    fn restore_cursor(&self) -> u64 {
        self.advance(self.cols) + 150
    }
}

impl Perform for Work {
    fn print(&mut self, c: char) {
        self.done += if c.is_ascii() { 40 + self.advance(1) } else { 150 + self.advance(2) };
    }

    fn execute(&mut self, byte: u8) {
        self.done += match byte {
            b'\t' => self.advance(8),
            b'\n' | 0x0b | 0x0c => self.scroll_up(1),
            _ => 5,
        };
    }

    fn osc_dispatch(&mut self, params: &[&[u8]], _bell_terminated: bool) {
        self.done += 100 + 2 * params.iter().map(|param| param.len() as u64).sum::<u64>();
    }

    fn csi_dispatch(&mut self, params: &Params, _intermediates: &[u8], _ignore: bool, last: char) {
        let count = count(params, 0);
        let work = match last {
            '@' | 'K' | 'P' | 'X' => self.change_row(),
            'C' | 'G' | '`' => self.advance(count),
            'H' | 'f' => self.advance(self::count(params, 1)),
            'J' => self.erase(),
            'L' | 'M' | 'T' => self.shift_rows(count),
            'S' => self.scroll_up(count),
            'b' => count * (75 + self.advance(2)),
            // Attributes are painted where they change.
            'm' => 100,
            'h' => {
                params.iter().filter(|param| is_alternate(param)).count() as u64 * self.allocate()
            }
            'l' => {
                params.iter().filter(|param| is_alternate(param)).count() as u64
                    * self.restore_cursor()
            }
            _ => 0,
        };
        // Each parameter that the model does not know makes it copy all.
        let known = params.len() as u64;
        self.done += work + 60 + 9 * known * known;
    }

    fn esc_dispatch(&mut self, _intermediates: &[u8], _ignore: bool, last: u8) {
        self.done += 15
            + match last {
                b'8' => self.restore_cursor(),
                b'M' => self.shift_rows(1),
                b'c' => self.allocate(),
                _ => 0,
            };
    }

    fn terminated(&self) -> bool {
        self.done >= self.most
    }
}

/// The parameter at this place as a count: at least 1.
fn count(params: &Params, place: usize) -> u64 {
    let count = params.iter().nth(place).and_then(|param| param.first());
    count.map_or(1, |count| u64::from(*count).max(1))
}

fn is_alternate(param: &[u16]) -> bool {
    matches!(param, [47 | 1049])
}
