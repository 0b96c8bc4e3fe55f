//! What a guest prints and a client uploads: numbered lines of 16 bytes, so that a piece says at
//! which offset it belongs.

use std::fmt::Write;
use std::sync::LazyLock;

use anyhow::ensure;

/// After so many bytes the pattern begins anew.
const PERIOD: usize = 1 << 20;

/// The most bytes that are read or written at once.
pub(crate) const PIECE: usize = 256 * 1024;

/// How much is compared at either end of a piece: a line and what it touches.
const COMPARED: usize = 24;

/// A period, and behind it as much of the next as a piece may need.
static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut text = String::with_capacity(PERIOD + PIECE);
    for line in 0..(PERIOD + PIECE) / 16 {
        // A write to a String does not fail.
        let _ = writeln!(text, "{:015}", line % (PERIOD / 16));
    }
    text.into_bytes()
});

/// The pattern from `offset` on: `length` bytes, or a [`PIECE`] when that is less.
pub(crate) fn piece(offset: u64, length: u64) -> &'static [u8] {
    let start = usize::try_from(offset % PERIOD as u64).unwrap_or_default();
    let length = usize::try_from(length).map_or(PIECE, |length| length.min(PIECE));
    PATTERN.get(start..start + length).unwrap_or_default()
}

/// Follows a stream of the pattern, and finds bytes that were lost, doubled or moved. The two ends
/// of each piece are compared, which costs next to nothing.
#[derive(Debug, Default)]
pub(crate) struct Check {
    offset: u64,
    wrong: Option<u64>,
}

impl Check {
    /// The next bytes that came.
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

    /// How many bytes came.
    pub(crate) fn bytes(&self) -> u64 {
        self.offset
    }

    /// Fails where something else came than the pattern.
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
