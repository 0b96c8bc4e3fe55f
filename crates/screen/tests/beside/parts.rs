//! Screens that are larger than the viewer's terminal.

use serialproxy_proto::console::Size;

use crate::other::Other;

/// A title and a status line, with a scroll region between them, on 24 rows.
const SPLIT: &str = "\x1b[2J\x1b[1;1Htitle\x1b[24;1Hstatus\x1b[2;23r";

fn assert_goes_on(before: &str, after: &str) {
    let mut other = Other::start();
    for (rows, cols) in [(10, 40), (5, 80), (12, 20)] {
        let size = Size { rows, cols };
        let found = other.differences_later(before.as_bytes(), after.as_bytes(), size);
        let (before, after) = (before.escape_debug(), after.escape_debug());
        assert!(found.is_empty(), "{rows} × {cols}: {before}\nthen: {after}\n{}", found.join("\n"));
    }
}

#[test]
fn a_part_scrolls_as_the_whole_does_and_its_status_line_stays() {
    let lines = "one\r\ntwo\r\nthree\r\n";
    assert_goes_on(&format!("{SPLIT}\x1b[23;1H{}", lines.repeat(10)), &lines.repeat(3));
    // In the other direction.
    assert_goes_on(&format!("{SPLIT}\x1b[2;1Hfirst"), "\r\x1bMbefore\r\x1bMbefore that");
    // At the end of a line, the cursor stays, both in the whole and in its part.
    assert_goes_on(&format!("{SPLIT}\x1b[24;1H"), "\r\n\r\nnew status\r\n");
}

#[test]
fn rows_of_the_region_are_found_where_it_begins_in_the_part() {
    let before = "\x1b[2J\x1b[1;1Htop\x1b[20;23r\x1b[?6h\x1b[4;1Hlast";
    assert_goes_on(before, "\x1b[1;1Hfirst\x1b[2;1Hsecond\x1b[9;1Hlast again");
}

#[test]
fn a_region_outside_of_the_part_does_not_scroll_in_it() {
    assert_goes_on("\x1b[2J\x1b[24;1Hend\x1b[2;3r\x1b[1;1H", "one");
    assert_goes_on("\x1b[2J\x1b[2;3r\x1b[24;1H", "end\x1b[Ad");
}
