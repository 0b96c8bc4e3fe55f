//! The part of a terminal that a smaller one shows.

use crate::Grid;
use crate::terminal::Terminal;

/// The part around the cursor. Margins, which do not fit any more, and rows above the screen are left out.
pub(crate) fn crop(mut terminal: Terminal, grid: Grid) -> Terminal {
    let place = |at: usize, of: usize, room: usize| {
        // From the beginning, as long as the cursor is seen.
        if at < room { 0 } else { (at - room / 2).min(of.saturating_sub(room)) }
    };
    let (x, y) = (terminal.x.min(terminal.cols - 1), terminal.y);
    let (left, top) = (place(x, terminal.cols, grid.cols), place(y, terminal.rows, grid.rows));
    for buffer in [&mut terminal.normal, &mut terminal.alternate] {
        buffer.crop(top, left, grid.rows, grid.cols);
    }
    terminal.above.clear();
    terminal.addressed = true;
    terminal.modes.origin = false;
    (terminal.x, terminal.y) = (x - left, y - top);
    (terminal.rows, terminal.cols) = (grid.rows, grid.cols);
    terminal
}
