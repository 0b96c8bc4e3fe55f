//! The screen of a guest as it is now, as bytes that paint it.
//!
//! At each attach, a terminal is modeled from the newest output, and then dropped: this takes some
//! milliseconds, and lines without an attach need no memory for it. The painted bytes contain no
//! query, so no terminal answers them. If the guest did not address positions of the screen, the
//! painted bytes do not either: the rows appear below what the viewer's terminal already shows.
//!
//! The model follows the page's terminal: a test compares the two, cell by cell. Guests may be
//! hostile: `work` bounds what is modeled, `rows` and `above` what is painted.

mod above;
mod attributes;
mod buffer;
mod charsets;
mod crop;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod grid;
mod modes;
mod painting;
mod params;
mod parser;
mod perform;
mod rows;
mod terminal;
mod widths;
mod work;

use serialproxy_proto::console::Size;

use crate::terminal::Terminal;
pub use crate::widths::width;

/// Bytes of output that a screen and the rows above it are made from, at most.
pub const READ: usize = 256 * 1024;

/// Bytes that paint a screen and the rows above it, at most. Rows above the screen that do not fit
/// are left out. A screen alone always fits: 200 × 500 cells of a character of four bytes,
/// combining characters from `READ`, and the colors that `rows` allows.
pub const PAINTED: usize = 1024 * 1024;

/// The default grid: the size that Linux assumes of a serial terminal.
const USUAL: Size = Size { rows: 24, cols: 80 };

/// A larger grid is modeled as one of this size: it would be paid for in memory.
const MOST_ROWS: u16 = 200;
const MOST_COLS: u16 = 500;

/// What is known of a screen.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// The newest output.
    pub output: &'a [u8],
    /// Where in it the guest booted last.
    pub boot: Option<usize>,
    /// The grid of who is to see it.
    pub viewer: Option<Size>,
    /// The grid of who writes, which the guest may have been told.
    pub writer: Option<Size>,
    /// Whether a line feed begins a line on the terminals of the line, without that the guest sets it.
    pub begins_line: bool,
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

/// Paints what a terminal shows that got the output from the start. Where the guest draws on a larger grid than
/// that of the viewer, it is the part around the cursor.
pub fn paint(sight: &Sight<'_>) -> Vec<u8> {
    if sight.output.is_empty() {
        return Vec::new();
    }
    let grid = sight.grid();
    let (mut terminal, open) = model(sight, grid);
    let Some(drawn) = sight.drawn(&terminal) else { return painting::paint(&mut terminal, &open) };
    let (mut terminal, open) = model(sight, drawn);
    terminal.flush();
    painting::paint(&mut crop::crop(terminal, grid), &open)
}

/// The grid on which the guest draws, where it is larger than that of the viewer.
pub fn drawn(sight: &Sight<'_>) -> Option<Size> {
    let grid = sight.drawn(&model(sight, sight.grid()).0)?;
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

/// A terminal with what is shown of the output, and what is open at the output's end.
fn model(sight: &Sight<'_>, grid: Grid) -> (Terminal, Vec<u8>) {
    let begin = work::affordable(sight.output, grid);
    let mut terminal = Terminal::new(grid.rows, grid.cols, sight.begins_line);
    let mut begins = begin;
    if let Some(boot) = sight.boot.filter(|boot| (begin..=sight.output.len()).contains(boot)) {
        terminal.feed(sight.output.get(begin..boot).unwrap_or_default());
        terminal.reset();
        begins = boot;
    }
    let open = terminal.feed(sight.output.get(begins..).unwrap_or_default());
    (terminal, open)
}

#[cfg(test)]
mod tests;
