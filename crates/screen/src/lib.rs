//! The present screen of a guest, as bytes that paint it.
//!
//! At each attach, a terminal is modeled from the newest output, and then dropped: this takes some
//! milliseconds, and lines without an attach need no memory for it. The painted bytes contain no
//! query, so no terminal answers them. If the guest did not address positions of the screen, the
//! painted bytes do not either: the rows appear below what the viewer's terminal already shows.
//!
//! The model follows the page's terminal: a test compares the two, cell by cell. Guests may be
//! hostile: `work` limits the modeled output, `rows` and `above` limit the painted bytes.

mod above;
mod attributes;
mod buffer;
mod charsets;
mod crop;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod grid;
mod last_line;
mod modes;
mod painting;
mod params;
mod parser;
mod perform;
mod printed;
mod rows;
mod terminal;
mod widths;
mod work;

use serialproxy_proto::console::Size;

pub use crate::last_line::last_line;
pub use crate::printed::Found;
pub use crate::printed::Printed;
use crate::terminal::Terminal;
pub use crate::widths::width;

/// Most bytes of output from which a screen and the rows above it are made.
pub const READ: usize = 256 * 1024;

/// Most bytes that paint a screen and the rows above it. Rows above the screen that do not fit are
/// left out. A screen alone always fits: 200 × 500 cells of a character of four bytes, combining
/// characters from `READ`, and the colors that `rows` allows.
pub const PAINTED: usize = 1024 * 1024;

/// The default grid: Linux assumes this size of a serial terminal.
const USUAL: Size = Size { rows: 24, cols: 80 };

/// A larger grid is modeled with this size, to limit memory.
const MOST_ROWS: u16 = 200;
const MOST_COLS: u16 = 500;

/// The input for painting a screen.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// The newest output.
    pub output: &'a [u8],
    /// The positions in it at which the guest booted, in their order.
    pub boots: &'a [usize],
    /// The viewer's grid.
    pub viewer: Option<Size>,
    /// The grid of the session that writes, which the guest may know.
    pub writer: Option<Size>,
    /// Whether a line feed begins a line on the line's terminals even if the guest does not set
    /// that mode.
    pub begins_line: bool,
}

/// A painted screen.
#[derive(Debug, Default)]
pub struct Painted {
    /// The bytes that paint it.
    pub bytes: Vec<u8>,
    /// Where in these bytes the rows of the last boots begin. A boot whose rows are not painted has
    /// none.
    pub boots: Vec<usize>,
}

/// Rows and columns.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Grid {
    rows: usize,
    cols: usize,
}

impl Grid {
    fn of(size: Size) -> Self {
        // A wide character needs two columns.
        let cols = size.cols.clamp(2, MOST_COLS);
        Self { rows: size.rows.clamp(1, MOST_ROWS).into(), cols: cols.into() }
    }

    fn max(self, rows: usize, cols: usize) -> Self {
        Self {
            rows: self.rows.max(rows).min(MOST_ROWS.into()),
            cols: self.cols.max(cols).min(MOST_COLS.into()),
        }
    }
}

/// Paints the screen of a terminal that received all of the output. If the guest draws on a larger
/// grid than the viewer's, paints the part around the cursor.
pub fn paint(sight: &Sight<'_>) -> Painted {
    if sight.output.is_empty() {
        return Painted::default();
    }
    let grid = sight.grid();
    let (mut terminal, open) = model(sight, grid, work::BUDGET);
    let Some(drawn) = sight.drawn(&terminal) else { return painting::paint(&mut terminal, &open) };
    let (mut terminal, open) = model(sight, drawn, work::BUDGET);
    terminal.flush();
    painting::paint(&mut crop::crop(terminal, grid), &open)
}

/// The grid on which the guest draws, if it is larger than the viewer's.
pub fn drawn(sight: &Sight<'_>) -> Option<Size> {
    let grid = sight.drawn(&model(sight, sight.grid(), work::BUDGET).0)?;
    Some(Size { rows: u16::try_from(grid.rows).ok()?, cols: u16::try_from(grid.cols).ok()? })
}

impl Sight<'_> {
    fn grid(&self) -> Grid {
        Grid::of(self.viewer.or(self.writer).unwrap_or(USUAL))
    }

    fn drawn(&self, terminal: &Terminal) -> Option<Grid> {
        let (rows, cols) = terminal.extent;
        let fits = rows <= terminal.rows && cols <= terminal.cols;
        let drawn = || Grid::of(self.writer.unwrap_or(USUAL)).max(rows, cols);
        (!fits).then(|| drawn().max(terminal.rows, terminal.cols))
    }
}

/// A terminal after as much of the output as the budget allows, and the incomplete sequence or character at the output's end.
fn model(sight: &Sight<'_>, grid: Grid, budget: u64) -> (Terminal, Vec<u8>) {
    let begin = work::affordable(sight.output, grid, budget);
    let mut terminal = Terminal::new(grid.rows, grid.cols, sight.begins_line);
    let mut begins = begin;
    for boot in sight.boots.iter().filter(|boot| (begin..=sight.output.len()).contains(boot)) {
        terminal.feed(sight.output.get(begins..*boot).unwrap_or_default());
        terminal.reset();
        terminal.above.begin_boot();
        begins = *boot;
    }
    let open = terminal.feed(sight.output.get(begins..).unwrap_or_default());
    (terminal, open)
}

#[cfg(test)]
mod tests;
