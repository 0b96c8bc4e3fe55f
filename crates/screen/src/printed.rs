//! A guest's output as lines of text, to search in while it is printed.
//!
//! It is no screen: nothing scrolls out of it, and what was printed at other rows of a screen follows in
//! the order in which it was printed. Within a line, characters are overwritten as on a terminal. A
//! line that the terminal wraps is one line.

use std::collections::VecDeque;
use std::ops::Range;

use serialproxy_proto::text::is_hidden;

use crate::USUAL;
use crate::params::Params;
use crate::parser::Parser;
use crate::parser::Perform;
use crate::parser::characters;
use crate::parser::cut_character;

/// Columns after which a line wraps: what Linux and line editors assume of a serial terminal.
const COLUMNS: usize = USUAL.cols as usize;

/// Most characters of a line that a guest may still change. The rest of a longer one follows as if it
/// were printed on.
const ROW: usize = 4096;

/// Most characters of a text before its last line. What [`Printed::keep`] leaves and a piece of output fit.
const DONE: usize = 12 * 1024;

/// Stands for a line break that may be none: after a row that is full, line editors print one where the
/// terminal wraps, and programs one where their line ends. No other carriage return is in a text.
const PERHAPS: char = '\r';

/// The text of some output.
#[derive(Debug)]
pub struct Printed {
    parser: Parser,
    text: Text,
    /// The incomplete character at the end.
    cut: Vec<u8>,
    /// Offset of the next byte of output.
    offset: u64,
}

/// A piece of a text, and the output that printed it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// The piece.
    pub text: String,
    /// Offset of its first byte.
    pub start: u64,
    /// Offset after its last byte.
    pub end: u64,
    /// Whether nothing was printed after it.
    pub is_last: bool,
}

/// A printed character.
#[derive(Clone, Copy, Debug)]
struct Cell {
    c: char,
    /// Offset of its first byte.
    begin: u64,
    /// Number of its bytes; 0 for a space that only filled a line.
    bytes: u8,
}

#[derive(Debug, Default)]
struct Text {
    /// The finished lines.
    done: VecDeque<Cell>,
    /// The line of the cursor.
    row: Vec<Cell>,
    column: usize,
    /// Whether the last character filled a row.
    is_full: bool,
    /// Whether a carriage return followed such a character.
    was_full: bool,
    /// Offset and length of the present character.
    at: (u64, u8),
}

impl Printed {
    /// No text yet, of output that begins at this offset.
    pub fn new(offset: u64) -> Self {
        Self { parser: Parser::default(), text: Text::default(), cut: Vec::new(), offset }
    }

    /// Offset of the next byte of output.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Adds output.
    pub fn feed(&mut self, output: &[u8]) {
        let begin = self.offset - self.cut.len() as u64;
        self.offset += output.len() as u64;
        let bytes = [&self.cut, output].concat();
        let mut before = 0;
        for (end, c) in characters(&bytes) {
            let length = u8::try_from(end - before).unwrap_or(u8::MAX);
            self.text.at = (begin + before as u64, length);
            self.parser.advance(c, &mut self.text);
            before = end;
        }
        self.cut = cut_character(&bytes).to_vec();
    }

    /// Goes on at another offset, after a gap or a boot: what was begun ends there.
    pub fn go_on_at(&mut self, offset: u64) {
        self.parser = Parser::default();
        self.cut.clear();
        self.offset = offset;
        self.text.at = (offset, 0);
        self.text.end_row('\n');
    }

    /// Forgets all but the last `most` characters.
    pub fn keep(&mut self, most: usize) {
        let excess = self.text.len().saturating_sub(most);
        self.text.done.drain(..excess.min(self.text.done.len()));
    }

    /// The first piece that `search` finds in the text of the output from this offset on. A line break
    /// after a row that is full is first taken for one, and then not.
    pub fn find(&self, from: u64, search: impl Fn(&str) -> Option<Range<usize>>) -> Option<Found> {
        let with_breaks = |cell: &Cell| Some(if cell.c == PERHAPS { '\n' } else { cell.c });
        let joined = |cell: &Cell| (cell.c != PERHAPS).then_some(cell.c);
        self.find_in(from, with_breaks, &search).or_else(|| {
            let perhaps = self.text.cells(from).any(|cell| cell.c == PERHAPS);
            perhaps.then(|| self.find_in(from, joined, &search))?
        })
    }

    fn find_in(
        &self,
        from: u64,
        shown: impl Fn(&Cell) -> Option<char>,
        search: impl Fn(&str) -> Option<Range<usize>>,
    ) -> Option<Found> {
        let text: String = self.text.cells(from).filter_map(&shown).collect();
        let found = search(&text)?;
        // Characters that were overwritten are newer than those after them.
        let (mut at, mut start, mut end) = (0, None, None);
        for cell in self.text.cells(from) {
            let Some(c) = shown(cell) else { continue };
            if found.contains(&at) {
                start = Some(start.map_or(cell.begin, |start: u64| start.min(cell.begin)));
                end = end.max(Some(cell.end()));
            } else if at == found.start {
                (start, end) = (Some(cell.begin), Some(cell.begin));
            }
            at += c.len_utf8();
        }
        let start = start.unwrap_or(self.offset);
        Some(Found {
            text: text.get(found.clone())?.to_owned(),
            start,
            end: end.unwrap_or(start),
            is_last: found.end == text.len(),
        })
    }

    /// The last text, of at most `most` characters.
    pub fn last(&self, from: u64, most: usize) -> Found {
        self.find(from, |text| {
            let begin =
                text.char_indices().rev().nth(most.saturating_sub(1)).map_or(0, |(at, _)| at);
            Some(begin..text.len())
        })
        .unwrap_or(Found {
            text: String::new(),
            start: self.offset,
            end: self.offset,
            is_last: true,
        })
    }
}

impl Cell {
    fn end(&self) -> u64 {
        self.begin + u64::from(self.bytes)
    }
}

impl Text {
    fn len(&self) -> usize {
        self.done.len() + self.row.len()
    }

    /// The characters of output from this offset on.
    fn cells(&self, from: u64) -> impl Iterator<Item = &Cell> {
        self.done.iter().chain(&self.row).filter(move |cell| cell.begin >= from)
    }

    fn space(&self) -> Cell {
        Cell { c: ' ', begin: self.at.0, bytes: 0 }
    }

    fn go_to(&mut self, column: usize) {
        self.column = column.min(ROW);
        self.is_full = false;
    }

    /// Moves the row to the text. What begins to exceed [`DONE`] goes: a few bytes can fill a whole row.
    fn flush(&mut self) {
        self.done.extend(self.row.drain(..));
        let excess = self.done.len().saturating_sub(DONE);
        self.done.drain(..excess);
    }

    fn end_row(&mut self, with: char) {
        let begin = self.at.0;
        self.flush();
        self.done.push_back(Cell { c: with, begin, bytes: self.at.1 });
        self.column = 0;
        (self.is_full, self.was_full) = (false, false);
    }

    /// The cursor leaves the line other than by a line feed.
    fn leave(&mut self) {
        if !self.row.is_empty() {
            self.end_row('\n');
        }
    }

    fn return_carriage(&mut self) {
        // Not undone by another one, which terminals put before each line feed.
        self.was_full |= self.is_full;
        let spaced =
            self.column.checked_sub(1).filter(|edge| *edge > 0 && edge.is_multiple_of(COLUMNS));
        let column = match spaced {
            _ if self.is_full => self.column - COLUMNS,
            // A line editor makes the terminal wrap: it prints a space, and returns before it.
            Some(edge) if self.row.get(edge).is_some_and(|cell| cell.c == ' ') => edge,
            _ => 0,
        };
        self.go_to(column);
    }
}

impl Perform for Text {
    fn print(&mut self, c: char) {
        if is_hidden(c) {
            return;
        }
        if self.column >= ROW {
            self.flush();
            self.column = 0;
        }
        let space = self.space();
        if self.column > self.row.len() {
            self.row.resize(self.column, space);
        }
        let cell = Cell { c, begin: self.at.0, bytes: self.at.1 };
        match self.row.get_mut(self.column) {
            Some(there) => *there = cell,
            None => self.row.push(cell),
        }
        self.column += 1;
        self.is_full = self.column.is_multiple_of(COLUMNS);
        self.was_full = false;
    }

    fn control(&mut self, c: char) {
        match c {
            '\r' => self.return_carriage(),
            '\n' | '\x0b' | '\x0c' | '\u{84}' | '\u{85}' => {
                let perhaps = self.is_full || self.was_full;
                self.end_row(if perhaps { PERHAPS } else { '\n' });
            }
            '\x08' => self.go_to(self.column.saturating_sub(1)),
            '\t' => {
                let column = (self.column / 8 + 1) * 8;
                let space = self.space();
                while self.row.len() < column.min(ROW) {
                    self.row.push(space);
                }
                self.go_to(column);
            }
            _ => {}
        }
    }

    fn escape(&mut self, intermediates: u32, last: u8) {
        if intermediates == 0 && matches!(last, b'D' | b'E' | b'M' | b'c') {
            self.leave();
        }
    }

    fn sequence(&mut self, params: &Params, intermediates: u32, last: u8) {
        if intermediates != 0 {
            return;
        }
        let number = usize::try_from(params.get(0)).map_or(ROW, |number| number.min(ROW));
        let count = number.max(1);
        let column = self.column;
        match (last, number) {
            (b'K' | b'J', 0) => self.row.truncate(column),
            (b'K', 2) => self.row.clear(),
            (b'J', _) | (b'E' | b'F' | b'H' | b'd' | b'f', _) => self.leave(),
            (b'C' | b'a', _) => self.go_to(column + count),
            (b'D', _) => self.go_to(column.saturating_sub(count)),
            (b'G' | b'`', _) => self.go_to(count - 1),
            (b'P', _) => {
                let end = (column + count).min(self.row.len());
                self.row.drain(column.min(end)..end);
            }
            (b'@', _) => {
                let (at, space) = (column.min(self.row.len()), self.space());
                self.row.splice(at..at, std::iter::repeat_n(space, count));
                self.row.truncate(ROW);
            }
            (b'X', _) => {
                let space = self.space();
                self.row.iter_mut().skip(column).take(count).for_each(|cell| *cell = space);
            }
            (b'A', _) => match column.checked_sub(count * COLUMNS) {
                Some(column) => self.go_to(column),
                None => self.leave(),
            },
            (b'B', _) => match column + count * COLUMNS {
                column if column <= self.row.len() => self.go_to(column),
                _ => self.leave(),
            },
            _ => {}
        }
    }

    fn string(&mut self, _: usize) {}
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_few_bytes_that_print_whole_rows_take_no_more_memory_than_plain_text() {
        for row in ["\x1b[4095Cx\n", "\x1b[4096@\n", "\t\t\t\t\t\t\t\tx\n"] {
            let mut printed = Printed::new(0);
            printed.feed(row.repeat(900).as_bytes());
            assert!(printed.text.len() <= DONE + ROW + 1, "{row:?}: {}", printed.text.len());
        }
    }

    fn text_of(output: &[u8]) -> String {
        let mut printed = Printed::new(0);
        printed.feed(output);
        printed.last(0, usize::MAX).text
    }

    fn find(output: &str, wanted: &str) -> Option<Found> {
        let mut printed = Printed::new(100);
        printed.feed(output.as_bytes());
        printed.find(100, |text| text.find(wanted).map(|at| at..at + wanted.len()))
    }

    #[test]
    fn text_is_without_sequences_and_as_it_was_last_printed() {
        for (output, text) in [
            ("\x1b[1;32mdemo\x1b[0m login: ", "demo login: "),
            ("\x1b]0;a title\x07# \x1b[?2004h", "# "),
            ("one\r\ntwo\n", "one\ntwo\n"),
            ("10 %\r20 %\r100 %", "100 %"),
            ("lohin\x08\x08\x08gin", "login"),
            ("# lx\x08\x1b[Ks", "# ls"),
            ("a\tb", "a       b"),
            ("first\x1b[5;1Hsecond", "first\nsecond"),
            ("abc\x1b[2D\x1b[P", "ac"),
            ("ab\x1b[D\x1b[@x", "axb"),
            ("naïve 日本", "naïve 日本"),
            ("user\u{202e}resu", "userresu"),
        ] {
            assert_eq!(text_of(output.as_bytes()), text, "{output:?}");
        }
    }

    #[test]
    fn a_match_has_the_offsets_of_its_output_with_the_colors_in_it() {
        let found = find("\r\n\x1b[32mlog\x1b[0min: ", "login:").unwrap();
        assert_eq!((found.start, found.end, found.is_last), (107, 117, false));
        assert_eq!(found.text, "login:");
        assert!(find("login:", "login:").unwrap().is_last);
    }

    #[test]
    fn a_line_that_wraps_is_one_line_however_the_wrap_is_printed() {
        let (first, rest) = ("# echo ".to_owned() + &"x".repeat(71) + "ab", "cdef");
        assert_eq!(first.len(), COLUMNS);
        // The terminal's, a line editor's that prints a space, and one's that prints a line break.
        for wrap in ["", " \r", "\r\n", "\r\r\n"] {
            let output = format!("{first}{wrap}{rest}\r\n");
            assert_eq!(find(&output, "abcdef").unwrap().text, "abcdef", "{wrap:?}");
        }
        // A program's full line ends nevertheless.
        assert!(find(&format!("{first}\r\nlogin:"), "\nlogin:").is_some());
        assert!(find("ab\r\ncd", "abcd").is_none());
    }

    #[test]
    fn output_from_before_the_offset_counts_for_columns_only() {
        let mut printed = Printed::new(0);
        printed.feed(b"login: # ");
        let from = printed.offset();
        printed.feed(("e".repeat(71) + "\r\nnd").as_bytes());
        assert!(printed.find(from, |text| text.find("login").map(|at| at..at + 5)).is_none());
        assert!(printed.find(from, |text| text.find("end").map(|at| at..at + 3)).is_some());
    }

    #[test]
    fn what_a_boot_or_a_gap_cuts_off_ends_there() {
        let mut printed = Printed::new(0);
        printed.feed(b"Power do\x1b[3");
        printed.go_on_at(50);
        printed.feed(b"Linux");
        let found = printed.last(0, 100);
        assert_eq!((found.text.as_str(), found.end), ("Power do\nLinux", 55));
    }

    #[test]
    fn only_the_last_characters_are_kept() {
        let mut printed = Printed::new(0);
        for _ in 0..1000 {
            printed.feed(b"0123456789\r\n");
            printed.keep(100);
        }
        assert!(printed.text.len() <= 100);
        assert_eq!(printed.last(0, 5).text, "6789\n");
        printed.feed(&[b'x'; 3 * ROW]);
        printed.keep(100);
        assert!(printed.text.len() <= ROW, "a line without an end is bounded, too");
    }

    proptest! {
        #[test]
        fn output_in_pieces_is_the_same_text(
            output in r"([ -~é日]|\x1b\[[0-9;]{0,5}[A-HJ-MPXb-hlmr@]|[\x00-\x1f\u{80}-\u{9f}]){0,200}",
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let bytes = output.as_bytes();
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut printed = Printed::new(0);
            for pair in cuts.windows(2) {
                printed.feed(&bytes[pair[0]..pair[1]]);
            }
            let last = printed.last(0, usize::MAX);
            prop_assert_eq!(&last.text, &text_of(bytes));
            prop_assert!(last.start <= last.end && last.end <= bytes.len() as u64);
        }
    }
}
