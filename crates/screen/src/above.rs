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

#[derive(Debug, Default)]
pub(crate) struct Above {
    parts: VecDeque<Rows>,
    /// Rows in the last part.
    rows: usize,
}

impl Above {
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Ends the last row before the next one, and returns what that one follows.
    pub(crate) fn break_before(&mut self, row: &Row) -> Last {
        self.parts.back_mut().map(|part| part.break_before(row)).unwrap_or_default()
    }

    pub(crate) fn push(&mut self, row: &Row, combined: &[String]) {
        if self.rows == PART_ROWS || self.parts.back().is_none_or(|part| part.len() >= PART) {
            let last = self.break_before(row);
            if self.parts.len() == PARTS {
                self.parts.pop_front();
            }
            self.parts.push_back(Rows::after(last));
            self.rows = 0;
        }
        self.rows += 1;
        if let Some(part) = self.parts.back_mut() {
            part.push(row, combined);
        }
    }

    /// The newest rows that fit into `most` bytes, in whole parts.
    pub(crate) fn newest(&self, most: usize) -> String {
        let mut room = most;
        let fits = |part: &&Rows| {
            let left = room.checked_sub(part.len());
            room = left.unwrap_or(0);
            left.is_some()
        };
        let newest: Vec<_> = self.parts.iter().rev().take_while(fits).collect();
        newest.into_iter().rev().map(Rows::as_str).collect()
    }
}
