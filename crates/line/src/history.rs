//! The kept output of a line, each byte with its offset.
//!
//! The first bytes of the current boot (its head) and the newest bytes (the tail) are kept, so that
//! boot messages are never lost. Heads of earlier boots use the room that the current boot's head
//! leaves. Between any two of these, bytes may be missing.
//!
//! Bytes are stored in chunks. A chunk belongs to one head or to none, and no byte is stored twice.
//! So a line that printed little needs little memory. The times at which its bytes arrived are
//! stored with a chunk, and dropped with it.

use std::collections::VecDeque;

use serialproxy_proto::bounds::FRAME;
use serialproxy_proto::console::BootReason;

use crate::boots::BOOTS;
use crate::boots::Boots;
use crate::ordered::Place;
use crate::ordered::Placed;
use crate::stamps::Arrived;
use crate::stamps::Last;
use crate::stamps::Stamps;

/// Most bytes of a chunk, and so how much more than the limits may be kept.
pub(crate) const CHUNK: usize = FRAME;
const CHUNK_LEAST: usize = 1024;

/// The step in bytes by which the memory of a chunk grows.
const STEP: usize = 4096;

/// Stamps take at most this part of a chunk's memory: one of a printing UART takes 2 to 3 bytes for
/// each 115 bytes of output.
const STAMPS: usize = 8;

/// How many bytes are kept at most, plus or minus a chunk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of the boots' beginnings. The running boot may use all of them.
    pub(crate) head: usize,
    /// Newest bytes.
    pub(crate) tail: usize,
}

/// The result for a reader that asks for the bytes from an offset on.
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
    /// Ordered by offset; none is empty.
    chunks: VecDeque<Chunk>,
    /// Memory of the last chunk that was dropped, for the next one.
    spare: Vec<u8>,
    /// Number of the running boot.
    boot: u64,
    boot_start: u64,
    boots: Boots,
    end: u64,
    /// When the next bytes arrive, in milliseconds since 1970; 0 where nobody knows.
    now: u64,
    /// The last stamp of the last chunk.
    stamp: Last,
}

impl Placed for History {
    const PLACE: Place = Place::History;
}

#[derive(Debug)]
struct Chunk {
    start: u64,
    bytes: Vec<u8>,
    /// The boot whose head includes it.
    head_of: Option<u64>,
    /// When its bytes arrived.
    stamps: Stamps,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl History {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            chunks: VecDeque::new(),
            spare: Vec::new(),
            boot: 0,
            boot_start: 0,
            boots: Boots::default(),
            end: 0,
            now: 0,
            stamp: Last::default(),
        }
    }

    /// Sets when the bytes that are appended from now on arrived, in milliseconds since 1970; 0
    /// where nobody knows.
    pub(crate) fn set_time(&mut self, now: u64) {
        self.now = now;
    }

    /// The offset at the present end of the output.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// The offset of the oldest kept byte.
    pub(crate) fn first(&self) -> u64 {
        self.chunks.front().map_or(self.end, |chunk| chunk.start)
    }

    /// The last boots.
    pub(crate) fn boots(&mut self) -> &mut Boots {
        &mut self.boots
    }

    /// Begins a boot. Its first bytes become its head.
    pub(crate) fn begin_boot(&mut self, time: u64, reason: BootReason) {
        self.boot += 1;
        self.boot_start = self.end;
        self.boots.begin(self.boot, self.end, time, reason);
        let mut boots: Vec<u64> = self.chunks.iter().filter_map(|chunk| chunk.head_of).collect();
        boots.dedup();
        if let Some(oldest) = boots.first()
            && boots.len() >= BOOTS
        {
            for chunk in self.chunks.iter_mut().filter(|chunk| chunk.head_of == Some(*oldest)) {
                chunk.head_of = None;
            }
        }
    }

    /// Appends bytes; `unread` is the first offset that a session has not read yet. Returns whether
    /// bytes were dropped.
    pub(crate) fn append(&mut self, mut bytes: &[u8], unread: u64) -> bool {
        let mut let_go = false;
        while !bytes.is_empty() {
            let (kind, room) = self.room();
            let used = self.open_chunk(kind).map_or(0, |chunk| chunk.bytes.len());
            let room = room.min(self.chunk_size() - used);
            let (piece, rest) = bytes.split_at(room.min(bytes.len()));
            self.write(piece, kind);
            let_go |= self.trim(unread);
            bytes = rest;
        }
        let_go
    }

    /// Appends a buffer of [`CHUNK`] bytes like [`Self::append`], but exchanges it for an empty one
    /// where possible, so that the output of a fast guest is not copied.
    pub(crate) fn exchange(&mut self, buffer: &mut Vec<u8>, unread: u64) -> bool {
        let (kind, room) = self.room();
        if room < CHUNK || self.chunk_size() < CHUNK {
            return self.append(buffer, unread);
        }
        let bytes = std::mem::take(buffer);
        let (start, stamps) = (self.end, self.first_stamp());
        self.end += bytes.len() as u64;
        self.chunks.push_back(Chunk { start, bytes, head_of: kind, stamps });
        let let_go = self.trim(unread);
        *buffer = std::mem::take(&mut self.spare);
        buffer.resize(CHUNK, 0);
        let_go
    }

    /// The kept bytes from `offset` on, as far as they are contiguous in memory.
    pub(crate) fn read(&self, offset: u64) -> Read<'_> {
        if offset >= self.end {
            return Read::End;
        }
        let index = self.chunks.partition_point(|chunk| chunk.end() <= offset);
        let Some(chunk) = self.chunks.get(index) else { return Read::Gap(self.end) };
        match usize::try_from(offset.saturating_sub(chunk.start)) {
            _ if chunk.start > offset => Read::Gap(chunk.start),
            Ok(into) => Read::Bytes(chunk.bytes.get(into..).unwrap_or_default()),
            Err(_) => Read::Gap(self.end),
        }
    }

    /// The bytes from `offset` on up to the next gap; none where `offset` is in a gap.
    pub(crate) fn run(&self, mut offset: u64) -> impl Iterator<Item = &[u8]> {
        std::iter::from_fn(move || {
            let Read::Bytes(bytes) = self.read(offset) else { return None };
            offset += bytes.len() as u64;
            Some(bytes)
        })
    }

    /// At most `max` bytes from `offset` on, up to the next gap, and the offset of the first of
    /// them: the end of the gap where `offset` is in one. There are none at or beyond the end of
    /// the history; then the returned offset is that end.
    pub(crate) fn copy(&self, offset: u64, max: usize) -> (u64, Vec<u8>) {
        let start = match self.read(offset) {
            Read::Gap(to) => to,
            Read::Bytes(_) | Read::End => offset.min(self.end),
        };
        let mut copy = Vec::new();
        for bytes in self.run(start) {
            let room = max - copy.len();
            copy.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
            if copy.len() == max {
                break;
            }
        }
        (start, copy)
    }

    /// About `most` of the newest bytes without a gap, from the beginning of a row, so that no
    /// character or escape sequence is cut.
    pub(crate) fn recent(&self, most: usize) -> Vec<u8> {
        let start = self.whole_from().max(self.end.saturating_sub(most as u64));
        let (_, mut recent) = self.copy(start, usize::MAX);
        if start > 0 {
            let row =
                recent.iter().position(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
            recent.drain(..row);
        }
        recent
    }

    /// The offset from which on all bytes are kept.
    pub(crate) fn whole_from(&self) -> u64 {
        let mut start = self.end;
        for chunk in self.chunks.iter().rev() {
            if chunk.end() != start {
                break;
            }
            start = chunk.start;
        }
        start
    }

    /// The head that the next bytes belong to, and how many of them it can take.
    fn room(&self) -> (Option<u64>, usize) {
        let printed = usize::try_from(self.end - self.boot_start).unwrap_or(usize::MAX);
        let head = self.limits.head.saturating_sub(printed);
        if head > 0 { (Some(self.boot), head) } else { (None, usize::MAX) }
    }

    /// The size of a full chunk: a fraction of the tail, so that little more than the limits is kept.
    fn chunk_size(&self) -> usize {
        (self.limits.tail / 4).clamp(CHUNK_LEAST, CHUNK)
    }

    /// The last chunk, if further bytes of this kind belong to it.
    fn open_chunk(&self, kind: Option<u64>) -> Option<&Chunk> {
        let open = |chunk: &&Chunk| {
            chunk.end() == self.end
                && chunk.head_of == kind
                && chunk.bytes.len() < self.chunk_size()
        };
        self.chunks.back().filter(open)
    }

    fn write(&mut self, piece: &[u8], kind: Option<u64>) {
        let size = self.chunk_size();
        if self.open_chunk(kind).is_none() {
            let mut bytes = std::mem::take(&mut self.spare);
            bytes.clear();
            if self.chunks.is_empty() {
                self.chunks.reserve_exact(1);
            }
            let stamps = self.first_stamp();
            self.chunks.push_back(Chunk { start: self.end, bytes, head_of: kind, stamps });
        }
        if let Some(chunk) = self.chunks.back_mut() {
            chunk.stamps.note(&mut self.stamp, self.end, self.now, size / STAMPS);
            let needed = chunk.bytes.len() + piece.len();
            if needed > chunk.bytes.capacity() {
                let capacity = grown(needed).min(size.max(needed));
                chunk.bytes.reserve_exact(capacity - chunk.bytes.len());
            }
            chunk.bytes.extend_from_slice(piece);
        }
        self.end += piece.len() as u64;
    }

    /// The stamps of a chunk that begins at the present end.
    fn first_stamp(&mut self) -> Stamps {
        self.stamp = Last { offset: self.end, time: self.now };
        Stamps::new(self.now)
    }

    /// When the kept bytes from `from` up to `to` arrived, as at most `most` stamps, and the offset
    /// up to which these are all.
    pub(crate) fn arrivals(&self, from: u64, to: u64, most: usize) -> (Vec<Arrived>, u64) {
        let mut arrivals: Vec<Arrived> = Vec::new();
        let first = self.chunks.partition_point(|chunk| chunk.end() <= from);
        for chunk in self.chunks.iter().skip(first).take_while(|chunk| chunk.start < to) {
            for stamp in chunk.stamps.of(chunk.start) {
                if stamp.offset >= to.min(chunk.end()) {
                    break;
                }
                let is_full = arrivals.len() == most;
                match arrivals.last_mut() {
                    // It is of bytes before these.
                    Some(last) if stamp.offset <= from => *last = stamp,
                    Some(last) if last.time == stamp.time => {}
                    _ if is_full => return (arrivals, stamp.offset),
                    _ => arrivals.push(stamp),
                }
            }
        }
        (arrivals, to.min(self.end).max(from))
    }

    /// Drops the bytes that exceed the limits.
    fn trim(&mut self, unread: u64) -> bool {
        let tail = self.end.saturating_sub(self.limits.tail as u64).min(unread);
        let mut let_go = self.shrink_older_heads(tail);
        let mut index = 0;
        while let Some(chunk) = self.chunks.get(index).filter(|chunk| chunk.end() <= tail) {
            if chunk.head_of.is_some() {
                index += 1;
                continue;
            }
            self.spare = self.chunks.remove(index).map(|chunk| chunk.bytes).unwrap_or_default();
            let_go = true;
        }
        let_go
    }

    /// Shortens the heads of the oldest boots, from their ends, by what all heads exceed their
    /// limit. Bytes of the tail stay as part of the tail.
    fn shrink_older_heads(&mut self, tail: u64) -> bool {
        let heads = || self.chunks.iter().filter(|chunk| chunk.head_of.is_some());
        let all: usize = heads().map(|chunk| chunk.bytes.len()).sum();
        let mut excess = all.saturating_sub(self.limits.head);
        let mut let_go = false;
        while excess > 0
            && let Some(index) = self.end_of_oldest_head()
            && let Some(chunk) = self.chunks.get_mut(index)
        {
            if chunk.end() > tail {
                excess = excess.saturating_sub(chunk.bytes.len());
                chunk.head_of = None;
                continue;
            }
            let kept = chunk.bytes.len().saturating_sub(excess);
            excess -= chunk.bytes.len() - kept;
            chunk.bytes.truncate(kept);
            chunk.bytes.shrink_to_fit();
            if kept == 0 {
                self.chunks.remove(index);
            }
            let_go = true;
        }
        let_go
    }

    /// Index of the last chunk of the oldest boot's head; none when that is the running boot's.
    fn end_of_oldest_head(&self) -> Option<usize> {
        let oldest = self.chunks.iter().find_map(|chunk| chunk.head_of)?;
        let last = self.chunks.iter().rposition(|chunk| chunk.head_of == Some(oldest));
        last.filter(|_| oldest != self.boot)
    }
}

/// The memory for a chunk with this many bytes: doubled while it is small, then a little more at a
/// time, since most lines print little for a long time.
fn grown(needed: usize) -> usize {
    if needed < STEP { needed.next_power_of_two() } else { needed.next_multiple_of(STEP) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const K: usize = 1024;
    const LIMITS: Limits = Limits { head: 8 * K, tail: 16 * K };

    /// What a reader sees that takes one piece after another.
    fn collect(history: &History, mut offset: u64) -> (Vec<u8>, Vec<(u64, u64)>) {
        let (mut all, mut gaps) = (Vec::new(), Vec::new());
        loop {
            let (start, bytes) = history.copy(offset, 3 * K);
            if start > offset {
                gaps.push((offset, start));
            }
            if bytes.is_empty() {
                return (all, gaps);
            }
            offset = start + bytes.len() as u64;
            all.extend(bytes);
        }
    }

    /// Bytes kept in chunks that are part of a head.
    fn heads(history: &History) -> usize {
        let heads = history.chunks.iter().filter(|chunk| chunk.head_of.is_some());
        heads.map(|chunk| chunk.bytes.len()).sum()
    }

    #[test]
    fn the_beginning_of_a_boot_stays_when_its_middle_is_gone() {
        let mut history = History::new(LIMITS);
        let all: Vec<u8> = (0..100 * K).map(|n| u8::try_from(n % 251).unwrap()).collect();
        assert!(history.append(&all, u64::MAX));
        let (bytes, gaps) = collect(&history, 0);
        assert_eq!(gaps, [(8 * K as u64, 84 * K as u64)]);
        assert_eq!(bytes, [&all[..8 * K], &all[84 * K..]].concat());
    }

    #[test]
    fn a_line_that_printed_little_keeps_each_byte_once() {
        let mut history = History::new(LIMITS);
        for _ in 0..4 * K {
            assert!(!history.append(b"x", 0));
        }
        let capacity: usize = history.chunks.iter().map(|chunk| chunk.bytes.capacity()).sum();
        assert_eq!(capacity, 4 * K);
    }

    #[test]
    fn however_it_printed_a_line_has_little_more_memory_than_bytes() {
        for piece in [1, 11, 300, 701, 5000] {
            let mut history = History::new(Limits { head: CHUNK, tail: CHUNK });
            while history.end() < 16 * 1024 {
                history.append(&vec![b'x'; piece], 0);
                let capacity: usize = history.chunks.iter().map(|c| c.bytes.capacity()).sum();
                assert!(
                    capacity as u64 <= (history.end() * 2).min(history.end() + 4096),
                    "{piece}"
                );
            }
        }
    }

    #[test]
    fn a_full_buffer_is_taken_without_a_copy_where_the_head_or_tail_has_room_for_it() {
        let limits = Limits { head: CHUNK + 2, tail: 4 * CHUNK };
        let mut history = History::new(limits);
        let mut all = Vec::new();
        for round in 0..10 {
            let mut buffer = vec![round; CHUNK];
            let address = buffer.as_ptr();
            let from = history.end();
            history.exchange(&mut buffer, u64::MAX);
            assert_eq!(buffer.len(), CHUNK);
            all.extend(vec![round; CHUNK]);
            let Read::Bytes(bytes) = history.read(from) else { panic!("nothing at {from}") };
            // One byte of the second buffer belongs to the head.
            assert_eq!(bytes.as_ptr() == address, round != 1);
            history.append(b"x", u64::MAX);
            all.push(b'x');
        }
        let (bytes, gaps) = collect(&history, 0);
        let [(from, to)] = gaps[..] else { panic!("{gaps:?}") };
        let (from, to) = (usize::try_from(from).unwrap(), usize::try_from(to).unwrap());
        assert_eq!(bytes, [&all[..from], &all[to..]].concat());
    }

    #[test]
    fn the_beginnings_of_boots_before_keep_the_room_that_the_running_boot_leaves() {
        let mut history = History::new(LIMITS);
        let k = K as u64;
        history.append(&[1; 50 * K], u64::MAX);
        history.begin_boot(0, BootReason::Started);
        history.append(&[2; 3 * K], u64::MAX);
        assert_eq!(collect(&history, 0).1, [(5 * k, 36 * k)]);
        history.append(&[2; 47 * K], u64::MAX);
        assert_eq!(history.first(), 50 * k);
        assert_eq!(history.read(0), Read::Gap(50 * k));
        assert_eq!(collect(&history, 50 * k).1, [(58 * k, 82 * k)]);
    }

    #[test]
    fn what_somebody_has_yet_to_read_is_kept() {
        let mut history = History::new(LIMITS);
        let k = K as u64;
        history.append(&[1; 100 * K], 0);
        assert_eq!(collect(&history, 0).1, []);
        history.append(&[1; K], 76 * k);
        assert_eq!(collect(&history, 0).1, [(8 * k, 76 * k)]);
        history.append(&[1; K], 102 * k);
        assert_eq!(collect(&history, 0).1, [(8 * k, 84 * k)]);
    }

    proptest! {
        #[test]
        fn every_byte_read_is_the_byte_of_its_offset_and_every_hole_is_said(
            pieces in proptest::collection::vec((0..60 * K, 0..60 * K, any::<bool>()), 0..40),
            from in 0..500 * K as u64,
        ) {
            let mut history = History::new(LIMITS);
            let mut all: Vec<u8> = Vec::new();
            for (length, lag, boot) in pieces {
                if boot {
                    history.begin_boot(0, BootReason::Started);
                }
                let piece: Vec<u8> = (all.len()..all.len() + length)
                    .map(|n| u8::try_from(n * 7 % 251).unwrap())
                    .collect();
                let unread = (all.len() as u64).saturating_sub(lag as u64);
                let kept = unread.max(history.whole_from());
                history.append(&piece, unread);
                all.extend(piece);
                prop_assert!(history.whole_from() <= kept);
                let chunks = history.chunks.iter().map(|chunk| &chunk.bytes);
                let memory: usize = chunks.chain([&history.spare]).map(Vec::capacity).sum();
                prop_assert!(memory <= LIMITS.head + LIMITS.tail + 120 * K + 2 * history.chunk_size());
                prop_assert!(heads(&history) <= LIMITS.head);
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
            prop_assert!(history.whole_from() <= newest);
        }
    }
}
