//! The effects of control characters and sequences on a terminal.

use crate::grid::Cell;
use crate::grid::Text;
use crate::params::Params;
use crate::parser::Perform;
use crate::terminal::Terminal;

/// `?`, `!` and space before a final byte.
const PRIVATE: u32 = b'?' as u32;
const SOFT: u32 = b'!' as u32;
const SPACE: u32 = b' ' as u32;
const QUOTE: u32 = b'\'' as u32;

impl Perform for Terminal {
    fn print(&mut self, c: char) {
        self.hold(c);
    }

    fn control(&mut self, c: char) {
        self.stop_joining();
        match c {
            '\x08' => self.backspace(),
            '\t' => self.tab(1),
            '\n' | '\x0b' | '\x0c' => self.line_feed(),
            '\r' => self.x = 0,
            '\x0e' => self.charsets.shift(1),
            '\x0f' => self.charsets.shift(0),
            '\u{84}' => self.index(),
            '\u{85}' => self.next_line(),
            '\u{88}' => self.set_tab(),
            _ => {}
        }
    }

    fn escape(&mut self, intermediates: u32, last: u8) {
        self.stop_joining();
        match (u8::try_from(intermediates), last) {
            (Ok(0), b'7') => self.save(),
            (Ok(0), b'8') => self.restore(),
            (Ok(0), b'D') => self.index(),
            (Ok(0), b'E') => self.next_line(),
            (Ok(0), b'H') => self.set_tab(),
            (Ok(0), b'M') => self.reverse_index(),
            (Ok(0), b'=') => self.modes.set_keypad(true),
            (Ok(0), b'>') => self.modes.set_keypad(false),
            (Ok(0), b'c') => self.reset(),
            (Ok(0), b'n' | b'}') => self.charsets.shift(2),
            (Ok(0), b'o' | b'|') => self.charsets.shift(3),
            (Ok(0), b'~') => self.charsets.shift(1),
            (Ok(b'%'), b'@' | b'G') => {
                self.charsets.shift(0);
                self.charsets.designate(b'(', b'B');
            }
            (Ok(b'#'), b'8') => self.align(),
            (Ok(intermediate), _) => self.charsets.designate(intermediate, last),
            (Err(_), _) => {}
        }
    }

    fn sequence(&mut self, params: &Params, intermediates: u32, last: u8) {
        self.flush();
        match (intermediates, last) {
            (0, b'b') => self.repeat(params.count(0)),
            (0, _) => self.sequence_without_marker(params, last),
            (PRIVATE, b'J') => self.erase_display(params.get(0)),
            (PRIVATE, b'K') => self.erase_line(params.get(0)),
            (PRIVATE, b'h' | b'l') => {
                for mode in params.values() {
                    self.set_mode(mode, last == b'h');
                }
            }
            (SOFT, b'p') => self.reset_softly(),
            (SPACE, b'q') => self.modes.set_cursor(params.get(0)),
            (SPACE, b'@') => self.shift_columns(0, params.count(0), false),
            (SPACE, b'A') => self.shift_columns(0, params.count(0), true),
            (QUOTE, b'}') => self.shift_columns(self.x, params.count(0), true),
            (QUOTE, b'~') => self.shift_columns(self.x, params.count(0), false),
            _ => {}
        }
        self.stop_joining();
    }

    fn string(&mut self, _bytes: usize) {
        self.stop_joining();
    }
}

impl Terminal {
    fn sequence_without_marker(&mut self, params: &Params, last: u8) {
        let count = params.count(0);
        match last {
            b'@' | b'P' | b'X' => self.change_row(last, count),
            b'A' => self.up(count),
            b'B' => self.down(count),
            b'C' | b'a' => self.move_by(count, 0),
            b'D' => {
                self.confine(self.cols - 1);
                self.x = self.x.saturating_sub(count);
            }
            b'E' => {
                self.down(count);
                self.x = 0;
            }
            b'F' => {
                self.up(count);
                self.x = 0;
            }
            b'G' | b'`' => {
                self.reach(count - 1, 0);
                self.x = count - 1;
                self.confine(self.cols - 1);
            }
            b'H' | b'f' => self.go_to(params.count(1) - 1, count - 1),
            b'I' => self.tab(count),
            b'J' => self.erase_display(params.get(0)),
            b'K' => self.erase_line(params.get(0)),
            b'L' => self.shift_rows(count, true),
            b'M' => self.shift_rows(count, false),
            b'S' => self.scroll(count, true),
            b'T' => self.scroll(count, false),
            b'Z' => self.tab_back(count),
            b'd' => self.go_to(self.x.min(self.cols - 1), count - 1),
            b'e' => self.move_by(0, count),
            b'g' => self.clear_tabs(params.get(0)),
            b'h' | b'l' => {
                for mode in params.values() {
                    self.modes.set_ansi(mode, last == b'h');
                }
            }
            b'm' => self.attributes.select(params),
            b'r' => self.set_margins(params),
            b's' => self.save(),
            b'u' => self.restore(),
            _ => {}
        }
    }

    fn backspace(&mut self) {
        let back = self.modes.wraps_back();
        self.confine(if back { self.cols } else { self.cols - 1 });
        if self.x > 0 {
            self.x -= 1;
        } else if back && self.y > self.shown().top && self.y <= self.shown().bottom {
            self.unwrap();
        }
        self.confine(self.cols - 1);
    }

    /// Moves back to the end of the row before, if this row continues its text.
    fn unwrap(&mut self) {
        let last = self.cols - 1;
        let Some(row) = self.row().filter(|row| row.wrapped) else { return };
        row.wrapped = false;
        self.y -= 1;
        // A wide character that did not fit left a cell empty.
        let early = self.row().and_then(|row| row.cell(last));
        let early = early.is_some_and(|cell| cell.text == Text::Nothing && cell.width == 1);
        self.x = if early { last - 1 } else { last };
    }

    fn tab(&mut self, count: usize) {
        for _ in 0..count.min(self.cols) {
            if self.x < self.cols {
                self.x = self.shown().next_tab(self.x);
            }
        }
    }

    fn tab_back(&mut self, count: usize) {
        for _ in 0..count.min(self.cols) {
            if self.x < self.cols {
                self.x = self.shown().tab_before(self.x);
            }
        }
    }

    fn set_tab(&mut self) {
        let x = self.x;
        if let Some(tab) = self.buffer().tabs.get_mut(x) {
            *tab = true;
        }
    }

    fn clear_tabs(&mut self, which: u32) {
        let x = self.x;
        let tabs = &mut self.buffer().tabs;
        match (which, tabs.get_mut(x)) {
            (0, Some(tab)) => *tab = false,
            (3, _) => tabs.fill(false),
            _ => {}
        }
    }

    fn index(&mut self) {
        self.confine(self.cols - 1);
        if self.y == self.shown().bottom {
            self.scroll_up();
        } else {
            self.y += 1;
        }
        self.confine(self.cols - 1);
    }

    fn next_line(&mut self) {
        self.x = 0;
        self.index();
    }

    fn reverse_index(&mut self) {
        self.confine(self.cols - 1);
        let fill = self.attributes.erased();
        let y = self.y;
        let buffer = self.buffer();
        if y == buffer.top {
            buffer.move_row(buffer.bottom, y, fill);
        } else {
            self.y = y.saturating_sub(1);
            self.confine(self.cols - 1);
        }
    }

    fn align(&mut self) {
        self.go_to(0, 0);
        let cell = Cell { text: Text::Char('E'), width: 1, attributes: self.attributes };
        for y in self.y..self.rows {
            if let Some(row) = self.buffer().row(y) {
                row.reset(cell);
            }
        }
    }

    fn up(&mut self, count: usize) {
        let top = self.shown().top;
        self.confine(self.cols - 1);
        let most = if self.y >= top { self.y - top } else { self.y };
        self.y -= count.min(most);
        self.confine(self.cols - 1);
    }

    fn down(&mut self, count: usize) {
        let bottom = self.shown().bottom;
        let most = if self.y <= bottom { bottom - self.y } else { self.rows };
        self.move_by(0, count.min(most));
    }

    fn move_by(&mut self, columns: usize, rows: usize) {
        self.confine(self.cols - 1);
        self.x = self.x.saturating_add(columns);
        self.y = self.y.saturating_add(rows);
        self.confine(self.cols - 1);
    }

    fn change_row(&mut self, what: u8, count: usize) {
        self.confine(self.cols - 1);
        let (x, fill) = (self.x, self.attributes.erased());
        let Some(row) = self.row() else { return };
        match what {
            b'@' => row.insert(x, count, fill),
            b'P' => row.delete(x, count, fill),
            _ => row.erase(x, x.saturating_add(count), fill),
        }
    }

    fn erase_display(&mut self, what: u32) {
        self.confine(self.cols);
        match what {
            0 => {
                if (self.x, self.y) == (0, 0) {
                    self.extent = (0, 0);
                }
                self.erase_line(0);
                self.clear_rows(self.y + 1, self.rows);
            }
            1 => {
                self.erase_line(1);
                let ends = self.x + 1 >= self.cols;
                if let Some(row) = self.row() {
                    row.wrapped = false;
                }
                let next = self.y + 1;
                if let Some(row) = self.buffer().row(next).filter(|_| ends) {
                    row.wrapped = false;
                }
                self.clear_rows(0, self.y);
            }
            2 => {
                self.extent = (0, 0);
                self.clear_rows(0, self.rows);
            }
            3 if !self.on_alternate => self.above.clear(),
            _ => {}
        }
    }

    fn erase_line(&mut self, what: u32) {
        self.confine(self.cols);
        let (x, cols, fill) = (self.x, self.cols, self.attributes.erased());
        let Some(row) = self.row() else { return };
        let (from, to) = match what {
            0 => (x, cols),
            1 => (0, x + 1),
            2 => (0, cols),
            _ => return,
        };
        row.erase(from, to, fill);
        if what == 2 || what == 0 && x == 0 {
            row.wrapped = false;
        }
    }

    /// Inserts or deletes rows at the cursor.
    fn shift_rows(&mut self, count: usize, insert: bool) {
        self.confine(self.cols - 1);
        let (y, fill) = (self.y, self.attributes.erased());
        let buffer = self.buffer();
        let (top, bottom) = (buffer.top, buffer.bottom);
        if !(top..=bottom).contains(&y) {
            return;
        }
        let (from, to) = if insert { (bottom, y) } else { (y, bottom) };
        for _ in 0..count.min(bottom - y + 1) {
            buffer.move_row(from, to, fill);
        }
        self.x = 0;
    }

    /// SU and SD. No row is added above the screen.
    fn scroll(&mut self, count: usize, up: bool) {
        let fill = if up { self.attributes.erased() } else { Default::default() };
        let buffer = self.buffer();
        let (top, bottom) = (buffer.top, buffer.bottom);
        let (from, to) = if up { (top, bottom) } else { (bottom, top) };
        for _ in 0..count.min(bottom - top + 1) {
            buffer.move_row(from, to, fill);
        }
    }

    /// Inserts or deletes columns between the margins.
    fn shift_columns(&mut self, x: usize, count: usize, insert: bool) {
        let (y, fill) = (self.y, self.attributes.erased());
        let x = x % self.cols;
        let buffer = self.buffer();
        let (top, bottom) = (buffer.top, buffer.bottom);
        if !(top..=bottom).contains(&y) {
            return;
        }
        for y in top..=bottom {
            let Some(row) = buffer.row(y) else { continue };
            if insert {
                row.insert(x, count, fill);
            } else {
                row.delete(x, count, fill);
            }
            row.wrapped = false;
        }
    }

    fn set_margins(&mut self, params: &Params) {
        let rows = self.rows;
        let top = params.count(0);
        let named = usize::try_from(params.get(1)).unwrap_or(usize::MAX);
        self.reach(0, named.max(1) - 1);
        let bottom = if (1..=rows).contains(&named) { named } else { rows };
        if bottom > top {
            let buffer = self.buffer();
            (buffer.top, buffer.bottom) = (top - 1, bottom - 1);
            self.go_to(0, 0);
        }
    }

    fn set_mode(&mut self, mode: u32, on: bool) {
        match (mode, on) {
            (2, true) => {
                for intermediate in b"()*+" {
                    self.charsets.designate(*intermediate, b'B');
                }
            }
            (6, _) => {
                self.modes.origin = on;
                self.go_to(0, 0);
            }
            (1048, true) => self.save(),
            (1048, false) => self.restore(),
            (1049, true) => {
                self.save();
                self.enter_alternate();
            }
            (1049, false) => {
                self.leave_alternate();
                self.restore();
            }
            (47 | 1047, true) => self.enter_alternate(),
            (47 | 1047, false) => self.leave_alternate(),
            _ => self.modes.set_private(mode, on),
        }
    }
}
