//! The bytes that a guest prints and a client uploads: numbered lines of 16 bytes, so that a piece
//! shows its offset.

use std::fmt::Write;
use std::sync::LazyLock;

use anyhow::ensure;

/// The number of bytes after which the pattern repeats.
const PERIOD: usize = 1 << 20;

/// Most bytes that are read or written at a time.
pub(crate) const PIECE: usize = 256 * 1024;

/// How many bytes are compared at each end of a piece: a line and its neighbors.
const COMPARED: usize = 24;

/// A period, followed by as much of the next one as a piece may need.
static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut text = String::with_capacity(PERIOD + PIECE);
    for line in 0..(PERIOD + PIECE) / 16 {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:015}", line % (PERIOD / 16));
    }
    text.into_bytes()
});

/// The pattern from `offset` on: `length` bytes, at most a [`PIECE`].
pub(crate) fn piece(offset: u64, length: u64) -> &'static [u8] {
    let start = usize::try_from(offset % PERIOD as u64).unwrap_or_default();
    let length = usize::try_from(length).map_or(PIECE, |length| length.min(PIECE));
    PATTERN.get(start..start + length).unwrap_or_default()
}

/// Checks a stream of the pattern, and detects lost, doubled or moved bytes. It compares the two
/// ends of each piece, which costs almost nothing.
#[derive(Debug, Default)]
pub(crate) struct Check {
    offset: u64,
    wrong: Option<u64>,
}

impl Check {
    /// Checks the next bytes.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        let head = bytes.get(..COMPARED).unwrap_or(bytes);
        let tail = bytes.len().saturating_sub(COMPARED);
        self.compare(self.offset, head);
        self.compare(self.offset + tail as u64, bytes.get(tail..).unwrap_or_default());
        self.offset += bytes.len() as u64;
    }

    fn compare(&mut self, offset: u64, bytes: &[u8]) {
        if self.wrong.is_none() && piece(offset, bytes.len() as u64) != bytes {
            self.wrong = Some(offset);
        }
    }

    /// How many bytes have been checked.
    pub(crate) fn bytes(&self) -> u64 {
        self.offset
    }

    /// Fails if the bytes were not the pattern.
    pub(crate) fn verify(&self) -> anyhow::Result<()> {
        let wrong = self.wrong.unwrap_or_default();
        ensure!(self.wrong.is_none(), "the bytes at offset {wrong} are not what was sent");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pieces: &[&[u8]]) -> Check {
        let mut check = Check::default();
        for piece in pieces {
            check.take(piece);
        }
        check
    }

    #[test]
    fn a_stream_in_pieces_of_any_size_is_whole() {
        let check = check(&[piece(0, 1), piece(1, 40), piece(41, 300_000), piece(262_185, 5000)]);
        assert!(check.verify().is_ok());
        assert_eq!(check.bytes(), 267_185);
    }

    #[test]
    fn a_period_ends_where_the_next_begins() {
        let end = PERIOD as u64 - 10;
        assert_eq!(piece(end, 10), b"000065535\n".get(..10).unwrap());
        assert_eq!(piece(end, 26)[10..], *piece(0, 16));
    }

    #[test]
    fn a_byte_that_is_lost_or_doubled_is_noticed() {
        assert!(check(&[piece(0, 1000), piece(1001, 1000)]).verify().is_err());
        assert!(check(&[piece(0, 1000), piece(999, 1000)]).verify().is_err());
    }

    #[test]
    fn pieces_in_the_wrong_order_are_noticed() {
        assert!(check(&[piece(4096, 4096), piece(0, 4096)]).verify().is_err());
    }
}
