//! Pasted or piped input on its way to a serial port: it is sent in small pieces, as fast as a UART
//! accepts them, and with so few bytes in flight that Ctrl-C takes effect soon.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::text::grouped;

/// Largest piece in bytes.
const PIECE: usize = 256;
/// Most unacknowledged bytes.
const UNDER_WAY: usize = 512;
/// Bytes per second: 115,200 baud with ten bits for each byte.
const RATE: u32 = 11_520;
/// 16 MiB: at a UART's speed, 24 minutes.
const LIMIT: usize = 16 << 20;
/// A larger paste reports its progress.
const TOLD: u64 = 4096;
/// When the progress is first reported after all of it was read, and how often from then on.
const FIRST_TELLING: Duration = Duration::from_secs(1);
const TELLING: Duration = Duration::from_secs(5);
/// Longest line in bytes that a Linux guest accepts while it reads line by line (N_TTY_BUF_SIZE).
const LINE: usize = 4095;

pub(crate) const LONG_LINE: &str = "a line of this input has more than 4095 bytes: a guest whose \
         terminal is in canonical mode truncates it";
pub(crate) const TOO_LARGE: &str = "a paste is truncated after 16 MiB; for more, use a pipe: \
         serialproxy connect SERVER < FILE";

/// The queue.
#[derive(Debug)]
pub(crate) struct Paste {
    paced: bool,
    /// At most `LIMIT` bytes.
    queue: VecDeque<u8>,
    /// When the next piece may be sent.
    next: Option<Instant>,
    /// Bytes since the queue was empty, sent ones included.
    total: u64,
    /// When to report the progress.
    telling: Option<Instant>,
    /// Bytes since the last line end.
    line: usize,
    long_line_told: bool,
    too_large_told: bool,
}

impl Paste {
    /// An empty queue. With `paced`, it is sent at a UART's speed.
    pub(crate) fn new(paced: bool) -> Self {
        Self {
            paced,
            queue: VecDeque::new(),
            next: None,
            total: 0,
            telling: None,
            line: 0,
            long_line_told: false,
            too_large_told: false,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Queues bytes; returns warnings for the user.
    pub(crate) fn push(&mut self, bytes: &[u8], now: Instant) -> Vec<&'static str> {
        if self.queue.is_empty() {
            self.begin(now);
        }
        let taken = bytes.len().min(LIMIT - self.queue.len());
        self.queue.extend(bytes.iter().take(taken));
        self.total += taken as u64;
        let long = self.has_long_line(bytes) && !std::mem::replace(&mut self.long_line_told, true);
        let cut = taken < bytes.len() && !std::mem::replace(&mut self.too_large_told, true);
        let warnings = [long.then_some(LONG_LINE), cut.then_some(TOO_LARGE)];
        warnings.into_iter().flatten().collect()
    }

    fn begin(&mut self, now: Instant) {
        (self.total, self.line, self.telling) = (0, 0, Some(now + FIRST_TELLING));
        (self.long_line_told, self.too_large_told) = (false, false);
    }

    fn has_long_line(&mut self, bytes: &[u8]) -> bool {
        let mut long = false;
        for byte in bytes {
            self.line = if matches!(byte, b'\r' | b'\n') { 0 } else { self.line + 1 };
            long |= self.line > LINE;
        }
        long
    }

    /// When the next piece may be sent, with this many unacknowledged bytes; none where there is no
    /// piece, or an acknowledgment must come first.
    pub(crate) fn due(&self, unacknowledged: usize, now: Instant) -> Option<Instant> {
        let size = self.queue.len().min(PIECE);
        let goes = size > 0 && unacknowledged + size <= UNDER_WAY;
        goes.then(|| self.next.unwrap_or(now))
    }

    /// The next piece, if it is due.
    pub(crate) fn piece(&mut self, unacknowledged: usize, now: Instant) -> Option<Vec<u8>> {
        let due = self.due(unacknowledged, now).filter(|due| *due <= now)?;
        let piece: Vec<u8> = self.queue.drain(..self.queue.len().min(PIECE)).collect();
        if self.paced {
            // After a delay, the lost time is not made up for.
            let base = due.max(now);
            self.next = Some(base + Duration::from_secs(piece.len() as u64) / RATE);
        }
        Some(piece)
    }

    /// The progress of a large paste, from time to time.
    pub(crate) fn progress(&mut self, now: Instant) -> Option<String> {
        if self.total <= TOLD {
            return None;
        }
        let total = grouped(self.total);
        if self.queue.is_empty() {
            self.total = 0;
            return Some(format!("pasted all {total} bytes"));
        }
        self.telling.filter(|telling| *telling <= now)?;
        self.telling = Some(now + TELLING);
        let sent = self.total - self.queue.len() as u64;
        let percent = sent * 100 / self.total;
        Some(format!("pasting: {percent} % of {total} bytes, Ctrl-C stops it"))
    }

    /// Drops the queue; returns its size.
    pub(crate) fn clear(&mut self) -> usize {
        let size = self.queue.len();
        self.queue.clear();
        self.total = 0;
        size
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_paste_goes_at_the_speed_of_a_uart_in_small_pieces() {
        let (start, size) = (Instant::now(), 100_000);
        let mut paste = Paste::new(true);
        paste.push(&vec![b'x'; size], start);
        let (mut now, mut sent) = (start, 0);
        while let Some(due) = paste.due(0, now) {
            now = now.max(due);
            let piece = paste.piece(0, now).unwrap();
            assert!(piece.len() <= PIECE);
            assert!(now == due, "no piece goes before its time");
            sent += piece.len();
        }
        assert_eq!(sent, size);
        let rate = (size - PIECE) as f64 / (now - start).as_secs_f64();
        assert!((11_000.0..=11_530.0).contains(&rate), "{rate}");
    }

    #[test]
    fn without_pace_only_the_acknowledgements_hold_it_back() {
        let now = Instant::now();
        let mut paste = Paste::new(false);
        paste.push(&[b'x'; 1000], now);
        let mut unacknowledged = 0;
        while let Some(piece) = paste.piece(unacknowledged, now) {
            unacknowledged += piece.len();
        }
        assert_eq!(unacknowledged, UNDER_WAY);
        assert_eq!(paste.due(unacknowledged, now), None);
        assert_eq!(paste.piece(UNDER_WAY - PIECE, now).map(|piece| piece.len()), Some(PIECE));
    }

    #[test]
    fn who_pastes_much_is_told_how_far_it_is() {
        let now = Instant::now();
        let mut paste = Paste::new(false);
        paste.push(&vec![b'\n'; 1 << 20], now);
        assert_eq!(paste.progress(now), None);
        paste.queue.truncate(660_000);
        let progress = paste.progress(now + SECOND).unwrap();
        assert_eq!(progress, "pasting: 37 % of 1 048 576 bytes, Ctrl-C stops it");
        assert_eq!(paste.progress(now + 5 * SECOND), None);
        assert!(paste.progress(now + 6 * SECOND).is_some());
        paste.queue.clear();
        assert_eq!(paste.progress(now).as_deref(), Some("pasted all 1 048 576 bytes"));
        assert_eq!(paste.progress(now + 60 * SECOND), None);
        paste.push(&[b'x'; 4096], now);
        assert_eq!(paste.progress(now + 60 * SECOND), None, "a small paste is not worth a word");
    }

    #[test]
    fn a_line_that_the_guest_would_cut_is_warned_of_once() {
        let now = Instant::now();
        let mut paste = Paste::new(true);
        assert!(paste.push(&[b'x'; LINE], now).is_empty());
        assert!(paste.push(b"\r", now).is_empty());
        assert!(paste.push(&[b'x'; LINE], now).is_empty());
        assert_eq!(paste.push(b"x", now), [LONG_LINE]);
        assert!(paste.push(&[b'x'; LINE], now).is_empty());
    }

    #[test]
    fn a_queue_that_is_full_takes_no_more_and_says_so_once() {
        let now = Instant::now();
        let mut paste = Paste::new(true);
        paste.push(&vec![b'\n'; LIMIT], now);
        assert_eq!(paste.push(b"\n", now), [TOO_LARGE]);
        assert!(paste.push(b"\n", now).is_empty());
        assert_eq!(paste.clear(), LIMIT);
    }

    proptest! {
        #[test]
        fn the_pieces_are_what_was_queued_whatever_is_acknowledged_when(
            parts in proptest::collection::vec(
                (proptest::collection::vec(any::<u8>(), 0..900), 0..600usize, 0..40u64), 0..20,
            ),
        ) {
            let mut paste = Paste::new(true);
            let (mut now, mut input, mut output) = (Instant::now(), Vec::new(), Vec::new());
            for (bytes, unacknowledged, pause) in parts {
                input.extend_from_slice(&bytes);
                paste.push(&bytes, now);
                now += Duration::from_millis(pause);
                output.extend(paste.piece(unacknowledged, now).into_iter().flatten());
            }
            while !paste.is_empty() {
                now += SECOND;
                output.extend(paste.piece(0, now).into_iter().flatten());
            }
            prop_assert_eq!(input, output);
        }
    }
}
