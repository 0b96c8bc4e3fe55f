//! Rows that have scrolled off the screen, painted as they leave it.

use std::collections::VecDeque;

use crate::grid::Row;
use crate::rows::Last;
use crate::rows::Rows;

/// They are kept in parts of about this many bytes or rows, and only this many of the newest parts:
/// 10,000 rows, more than terminals keep by default.
const PART: usize = 32 * 1024;
const PART_ROWS: usize = 500;
const PARTS: usize = 20;

/// A boot begins a part, so there are this many more parts at most.
const BOOTS: usize = 32;

#[derive(Debug, Default)]
pub(crate) struct Above {
    parts: VecDeque<Part>,
    /// Rows in all parts.
    rows: usize,
    /// Boots since the last row.
    boots: usize,
}

#[derive(Debug)]
struct Part {
    text: Rows,
    rows: usize,
    /// Boots that begin with its first row; all but the last of them printed nothing.
    boots: usize,
}

impl Above {
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        *self = Self { boots: self.boots, ..Self::default() };
    }

    /// A boot begins with the next row.
    pub(crate) fn begin_boot(&mut self) {
        self.boots += 1;
    }

    /// Ends the last row before the next one, and returns what that one follows.
    pub(crate) fn break_before(&mut self, row: &Row) -> Last {
        self.parts.back_mut().map(|part| part.text.break_before(row)).unwrap_or_default()
    }

    pub(crate) fn push(&mut self, row: &Row, combined: &[String]) {
        let is_full = |part: &Part| part.rows == PART_ROWS || part.text.len() >= PART;
        if self.boots > 0 || self.parts.back().is_none_or(is_full) {
            let text = Rows::after(self.break_before(row));
            while self.parts.len() >= PARTS + BOOTS || self.rows > PART_ROWS * (PARTS - 1) {
                let Some(oldest) = self.parts.pop_front() else { break };
                self.rows -= oldest.rows;
            }
            self.parts.push_back(Part { text, rows: 0, boots: std::mem::take(&mut self.boots) });
        }
        self.rows += 1;
        if let Some(part) = self.parts.back_mut() {
            part.rows += 1;
            part.text.push(row, combined);
        }
    }

    /// The newest rows that fit into `most` bytes, in whole parts, and where in them the last boots
    /// begin.
    pub(crate) fn newest(&self, most: usize) -> (String, Vec<usize>) {
        let mut room = most;
        let fits = |part: &&Part| {
            let left = room.checked_sub(part.text.len());
            room = left.unwrap_or(0);
            left.is_some()
        };
        let newest: Vec<_> = self.parts.iter().rev().take_while(fits).collect();
        let (mut text, mut boots) = (String::new(), Vec::new());
        for part in newest.into_iter().rev() {
            boots.extend(std::iter::repeat_n(text.len(), part.boots));
            text.push_str(part.text.as_str());
        }
        boots.extend(std::iter::repeat_n(text.len(), self.boots));
        (text, boots)
    }
}
