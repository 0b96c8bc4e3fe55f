//! The bytes of a line that are kept, each with its address.
//!
//! The first bytes of the running boot (head) and the newest bytes (tail) are kept, so that boot
//! messages never scroll away. Heads of boots before keep what room the running boot's head leaves
//! them. Between any two of these may lie bytes that are no longer kept.

use std::collections::VecDeque;

/// Boots whose beginnings are kept at most.
const BOOTS: usize = 32;

/// How many bytes are kept at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of the boots' beginnings, of which the running boot may take all.
    pub(crate) head: usize,
    /// Newest bytes.
    pub(crate) tail: usize,
    /// Newest bytes while somebody is attached: how far behind a session may be.
    pub(crate) window: usize,
}

/// What a reader gets who asks for the bytes from an offset on.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Read<'a> {
    /// Bytes that begin at that offset; more may follow.
    Bytes(&'a [u8]),
    /// Bytes up to this offset are no longer kept.
    Gap(u64),
    /// The reader has seen everything.
    End,
}

#[derive(Debug)]
pub(crate) struct History {
    limits: Limits,
    /// Those of boots before, then that of the running boot. Only it may be empty.
    heads: VecDeque<Head>,
    tail: VecDeque<u8>,
    end: u64,
}

/// The beginning of a boot.
#[derive(Debug)]
struct Head {
    start: u64,
    bytes: Vec<u8>,
}

impl Head {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Its bytes from `offset` on, if it has any there.
    fn from(&self, offset: u64) -> Option<&[u8]> {
        let into = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.bytes.get(into..).filter(|bytes| !bytes.is_empty())
    }
}

impl History {
    pub(crate) fn new(limits: Limits) -> Self {
        let heads = VecDeque::from([Head { start: 0, bytes: Vec::new() }]);
        Self { limits, heads, tail: VecDeque::new(), end: 0 }
    }

    /// Offset of the next byte to come.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Offset of the oldest byte of the tail.
    pub(crate) fn tail_start(&self) -> u64 {
        self.end - self.tail.len() as u64
    }

    /// Offset of the oldest byte that is kept.
    pub(crate) fn first(&self) -> u64 {
        self.next_kept(0)
    }

    /// Begins a boot, whose first bytes become its head.
    pub(crate) fn begin_boot(&mut self) {
        self.heads.retain(|head| !head.bytes.is_empty());
        if self.heads.len() >= BOOTS {
            self.heads.pop_front();
        }
        self.heads.push_back(Head { start: self.end, bytes: Vec::new() });
    }

    /// Takes bytes in; `watched` says whether anybody may still want more than the tail.
    pub(crate) fn append(&mut self, bytes: &[u8], watched: bool) {
        self.append_to_head(bytes);
        let limit = if watched { self.limits.window } else { self.limits.tail };
        let bytes_kept = bytes.get(bytes.len().saturating_sub(limit)..).unwrap_or_default();
        let excess = (self.tail.len() + bytes_kept.len()).saturating_sub(limit);
        self.tail.drain(..excess.min(self.tail.len()));
        self.reserve(bytes_kept.len(), limit);
        self.tail.extend(bytes_kept);
        self.end += bytes.len() as u64;
    }

    /// The bytes from `offset` on, as far as they lie in one piece.
    pub(crate) fn read(&self, offset: u64) -> Read<'_> {
        if offset >= self.end {
            return Read::End;
        }
        if let Some(into_tail) = offset.checked_sub(self.tail_start()) {
            return Read::Bytes(self.tail_from(usize::try_from(into_tail).unwrap_or(usize::MAX)));
        }
        match self.heads.iter().find_map(|head| head.from(offset)) {
            Some(bytes) => Read::Bytes(bytes),
            None => Read::Gap(self.next_kept(offset)),
        }
    }

    /// Offset of the first byte from `offset` on at which something begins that is kept.
    fn next_kept(&self, offset: u64) -> u64 {
        let filled = self.heads.iter().filter(|head| !head.bytes.is_empty());
        let next = filled.map(|head| head.start).find(|start| *start >= offset);
        next.unwrap_or(u64::MAX).min(self.tail_start())
    }

    /// The newest bytes in one piece, about `most` at most: from the beginning of a row, so that no
    /// character or escape sequence is cut.
    pub(crate) fn recent(&self, most: usize) -> Vec<u8> {
        let skipped = self.tail.len().saturating_sub(most);
        let cut = skipped > 0 || self.tail_start() > 0;
        let mut recent: Vec<u8> = self.tail.range(skipped..).copied().collect();
        if cut {
            let row =
                recent.iter().position(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
            recent.drain(..row);
        }
        recent
    }

    fn append_to_head(&mut self, bytes: &[u8]) {
        let Some(head) = self.heads.back_mut() else { return };
        // The head of a boot is whole, or it is not the head: it only grows while it has no hole.
        if head.end() == self.end {
            let room = self.limits.head.saturating_sub(head.bytes.len());
            head.bytes.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
            self.shrink_older_heads();
        }
    }

    /// Takes from the oldest boots' heads what all are too large by, from their ends.
    fn shrink_older_heads(&mut self) {
        let all: usize = self.heads.iter().map(|head| head.bytes.len()).sum();
        let mut excess = all.saturating_sub(self.limits.head);
        while excess > 0
            && let Some(oldest) = self.heads.front_mut()
        {
            let kept = oldest.bytes.len().saturating_sub(excess);
            excess -= oldest.bytes.len() - kept;
            oldest.bytes.truncate(kept);
            oldest.bytes.shrink_to_fit();
            if kept == 0 {
                self.heads.pop_front();
            }
        }
    }

    fn tail_from(&self, index: usize) -> &[u8] {
        let (front, back) = self.tail.as_slices();
        match front.get(index..) {
            Some(bytes) if !bytes.is_empty() => bytes,
            _ => back.get(index.saturating_sub(front.len())..).unwrap_or_default(),
        }
    }

    /// Grows with use, by doubling, and never beyond the limit.
    fn reserve(&mut self, more: usize, limit: usize) {
        let needed = self.tail.len() + more;
        if needed > self.tail.capacity() {
            let target = (self.tail.capacity() * 2).clamp(needed, limit.max(needed));
            self.tail.reserve_exact(target - self.tail.len());
        } else if self.tail.capacity() > limit * 2 {
            self.tail.shrink_to(limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { head: 8, tail: 16, window: 32 };

    fn collect(history: &History, mut offset: u64) -> (Vec<u8>, Vec<(u64, u64)>) {
        let (mut bytes, mut gaps) = (Vec::new(), Vec::new());
        loop {
            match history.read(offset) {
                Read::Bytes(piece) => {
                    bytes.extend_from_slice(piece);
                    offset += piece.len() as u64;
                }
                Read::Gap(to) => {
                    gaps.push((offset, to));
                    offset = to;
                }
                Read::End => return (bytes, gaps),
            }
        }
    }

    #[test]
    fn the_beginning_of_a_boot_stays_when_its_middle_is_gone() {
        let mut history = History::new(LIMITS);
        let all: Vec<u8> = (0..100).collect();
        history.append(&all, false);
        let (bytes, gaps) = collect(&history, 0);
        assert_eq!(bytes, [&all[..8], &all[84..]].concat());
        assert_eq!(gaps, [(8, 84)]);
    }

    #[test]
    fn the_beginnings_of_boots_before_keep_the_room_that_the_running_boot_leaves() {
        let mut history = History::new(LIMITS);
        history.append(&[1; 50], false);
        history.begin_boot();
        history.append(&[2; 3], false);
        history.append(&[2; 0], false);
        assert_eq!(history.read(0), Read::Bytes(&[1; 5]));
        history.append(&[2; 47], false);
        assert_eq!(history.first(), 50);
        assert_eq!(history.read(0), Read::Gap(50));
        assert_eq!(history.read(50), Read::Bytes(&[2; 8]));
        assert_eq!(history.read(58), Read::Gap(84));
    }

    #[test]
    fn a_watched_line_keeps_the_window() {
        let mut history = History::new(LIMITS);
        history.append(&[1; 100], true);
        assert_eq!(history.tail_start(), 100 - 32);
        history.append(&[1; 1], false);
        assert_eq!(history.tail_start(), 101 - 16);
    }

    proptest! {
        #[test]
        fn every_byte_read_is_the_byte_of_its_offset_and_every_hole_is_said(
            pieces in proptest::collection::vec((0..60usize, any::<bool>(), any::<bool>()), 0..40),
            from in 0..500u64,
        ) {
            let mut history = History::new(LIMITS);
            let mut all: Vec<u8> = Vec::new();
            for (length, watched, boot) in pieces {
                if boot {
                    history.begin_boot();
                }
                let piece: Vec<u8> = (all.len()..all.len() + length)
                    .map(|n| u8::try_from(n * 7 % 251).unwrap())
                    .collect();
                history.append(&piece, watched);
                all.extend(piece);
                prop_assert!(history.tail.capacity() <= 2 * LIMITS.window);
                let heads: usize = history.heads.iter().map(|head| head.bytes.len()).sum();
                prop_assert!(heads <= LIMITS.head);
            }
            prop_assert_eq!(history.end(), all.len() as u64);
            let mut offset = from;
            loop {
                match history.read(offset) {
                    Read::Bytes(piece) => {
                        let start = usize::try_from(offset).unwrap();
                        prop_assert!(!piece.is_empty());
                        prop_assert_eq!(piece, &all[start..start + piece.len()]);
                        offset += piece.len() as u64;
                    }
                    Read::Gap(to) => {
                        prop_assert!(to > offset);
                        prop_assert!(matches!(history.read(to), Read::Bytes(_)));
                        offset = to;
                    }
                    Read::End => break,
                }
            }
            prop_assert!(offset >= history.end());
            let newest = all.len().saturating_sub(LIMITS.tail) as u64;
            prop_assert!(history.tail_start() <= newest);
        }
    }
}
