//! The part of a terminal that a smaller one shows.

use crate::Grid;
use crate::terminal::Terminal;

/// Crops a terminal to the part around the cursor, with the rows above it and the part of the
/// scroll region in it. Output at the cursor then continues as on the whole terminal; only later
/// output at other positions may be misplaced.
pub(crate) fn crop(mut terminal: Terminal, grid: Grid) -> Terminal {
    let (x, y) = (terminal.x.min(terminal.cols - 1), terminal.y);
    let place = |x, y| (place(x, terminal.cols, grid.cols), place(y, terminal.rows, grid.rows));
    let (left, top) = place(x, y);
    // While the alternate screen is shown, the normal screen has its saved cursor.
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
    // In origin mode, rows count from the region's first row, if that is still the same row.
    terminal.modes.origin &= region == terminal.shown().top + top;
    (terminal.x, terminal.y) = (x - left, y - top);
    (terminal.rows, terminal.cols) = (grid.rows, grid.cols);
    terminal
}

/// The beginning of the part: 0, as long as the cursor is visible.
fn place(at: usize, of: usize, room: usize) -> usize {
    if at < room { 0 } else { (at - room / 2).min(of.saturating_sub(room)) }
}
