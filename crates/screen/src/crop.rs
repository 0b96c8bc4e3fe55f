//! The part of a terminal that a smaller one shows.

use crate::Grid;
use crate::terminal::Terminal;

/// The part around the cursor, with what of the scroll region is in it, and the rows above it. So output where the
/// cursor is goes on as on the whole terminal; only what is put at other places later may be out of place.
pub(crate) fn crop(mut terminal: Terminal, grid: Grid) -> Terminal {
    let (x, y) = (terminal.x.min(terminal.cols - 1), terminal.y);
    let place = |x, y| (place(x, terminal.cols, grid.cols), place(y, terminal.rows, grid.rows));
    let (left, top) = place(x, y);
    // Behind the alternate screen, the normal one waits with the cursor that it saved.
    let saved = terminal.normal.saved.unwrap_or_default();
    let of_normal = if terminal.on_alternate { place(saved.x, saved.y) } else { (left, top) };
    let region = terminal.shown().top;
    for row in terminal.normal.rows().take(of_normal.1) {
        terminal.above.push(row, &terminal.combined);
    }
    for (buffer, (left, top)) in
        [(&mut terminal.normal, of_normal), (&mut terminal.alternate, (left, top))]
    {
        buffer.crop(top, left, grid.rows, grid.cols);
    }
    terminal.addressed = true;
    // Rows count from the region's first, if that is the same row still.
    terminal.modes.origin &= region == terminal.shown().top + top;
    (terminal.x, terminal.y) = (x - left, y - top);
    (terminal.rows, terminal.cols) = (grid.rows, grid.cols);
    terminal
}

/// Where the part begins: at the beginning, as long as the cursor is seen.
fn place(at: usize, of: usize, room: usize) -> usize {
    if at < room { 0 } else { (at - room / 2).min(of.saturating_sub(room)) }
}
