//! One of a terminal's two screens: its rows and its own state.

use std::collections::VecDeque;

use crate::attributes::Attributes;
use crate::charsets::Charsets;
use crate::grid::Row;

/// The state that `ESC 7` saves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Saved {
    pub(crate) x: usize,
    pub(crate) y: usize,
    pub(crate) attributes: Attributes,
    pub(crate) charsets: Charsets,
}

#[derive(Debug)]
pub(crate) struct Buffer {
    rows: VecDeque<Row>,
    cols: usize,
    /// The scroll region: its first and its last row.
    pub(crate) top: usize,
    pub(crate) bottom: usize,
    pub(crate) tabs: Vec<bool>,
    pub(crate) saved: Option<Saved>,
}

impl Buffer {
    pub(crate) fn new(rows: usize, cols: usize) -> Self {
        Self {
            rows: (0..rows).map(|_| Row::new(cols, Attributes::default())).collect(),
            cols,
            top: 0,
            bottom: rows - 1,
            tabs: Self::default_tabs(cols),
            saved: None,
        }
    }

    fn default_tabs(cols: usize) -> Vec<bool> {
        (0..cols).map(|col| col % 8 == 0).collect()
    }

    pub(crate) fn has_default_tabs(&self) -> bool {
        self.tabs == Self::default_tabs(self.cols)
    }

    pub(crate) fn has_margins(&self) -> bool {
        self.top > 0 || self.bottom + 1 < self.rows.len()
    }

    pub(crate) fn rows(&self) -> impl DoubleEndedIterator<Item = &Row> {
        self.rows.iter()
    }

    pub(crate) fn row(&mut self, y: usize) -> Option<&mut Row> {
        self.rows.get_mut(y)
    }

    /// Resets everything except the saved cursor.
    pub(crate) fn clear(&mut self) {
        let saved = self.saved;
        *self = Self { saved, ..Self::new(self.rows.len(), self.cols) };
    }

    /// Keeps only a part of the cells, and the part of the scroll region in it.
    pub(crate) fn crop(&mut self, top: usize, left: usize, rows: usize, cols: usize) {
        self.rows = self.rows.iter().skip(top).take(rows).map(|row| row.part(left, cols)).collect();
        self.saved = self.saved.map(|saved| Saved {
            x: saved.x.saturating_sub(left).min(cols - 1),
            y: saved.y.saturating_sub(top).min(rows - 1),
            ..saved
        });
        let region = (self.top.max(top) - top, self.bottom.min(top + rows - 1).saturating_sub(top));
        // A region of one row cannot be set.
        let (first, last) = if region.0 < region.1 { region } else { (0, rows - 1) };
        *self = Self {
            rows: std::mem::take(&mut self.rows),
            saved: self.saved,
            top: first,
            bottom: last,
            ..Self::new(rows, cols)
        };
    }

    /// Removes a row, and inserts an empty one elsewhere; returns the removed one.
    pub(crate) fn move_row(&mut self, from: usize, to: usize, fill: Attributes) -> Option<Row> {
        let row = self.rows.remove(from)?;
        self.rows.insert(to.min(self.rows.len()), Row::new(self.cols, fill));
        Some(row)
    }

    pub(crate) fn next_tab(&self, x: usize) -> usize {
        let next = self.tabs.iter().enumerate().skip(x + 1).find(|(_, stop)| **stop);
        next.map_or(self.cols - 1, |(at, _)| at)
    }

    pub(crate) fn tab_before(&self, x: usize) -> usize {
        let stops = self.tabs.iter().enumerate().take(x).rev();
        stops.into_iter().find(|(_, stop)| **stop).map_or(0, |(at, _)| at)
    }
}
