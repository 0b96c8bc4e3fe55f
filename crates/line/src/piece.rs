//! Cuts output into pieces: at the borders of the history's chunks or, for raw sessions, near them,
//! so that no character is cut.

use serialproxy_proto::utf8::unfinished;

use crate::history::History;

/// Most pieces of live output that are handed out at once.
const PIECES: usize = 5;

/// A piece of output, from two places of the history.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Piece<'a> {
    /// The beginning of a character, from the end of the earlier chunk; usually empty.
    pub before: &'a [u8],
    /// What follows it.
    pub bytes: &'a [u8],
}

impl Piece<'_> {
    /// Its length in bytes, never 0.
    pub fn length(&self) -> usize {
        self.before.len() + self.bytes.len()
    }
}

/// Where the characters of a session's output may be cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Cut {
    /// Anywhere: the client joins the pieces again.
    Anywhere,
    /// Between characters, if there is more than the beginning of one.
    BetweenCharacters,
}

/// The output from an offset on.
#[derive(Debug)]
pub(crate) struct Pieces<'a> {
    pieces: [Piece<'a>; PIECES],
    count: usize,
}

impl<'a> Pieces<'a> {
    pub(crate) fn new(history: &'a History, from: u64, cut: Cut) -> Self {
        let mut all = Self { pieces: [Piece::default(); PIECES], count: 0 };
        let mut before = &[][..];
        for chunk in history.run(from) {
            let begun = if cut == Cut::Anywhere { 0 } else { unfinished(chunk) };
            let (bytes, rest) = chunk.split_at(chunk.len() - begun);
            all.add(Piece { before, bytes });
            before = rest;
            if all.count == PIECES {
                break;
            }
        }
        if all.count == 0 {
            all.add(Piece { before, bytes: &[] });
        }
        all
    }

    pub(crate) fn as_slice(&self) -> &[Piece<'a>] {
        self.pieces.get(..self.count).unwrap_or_default()
    }

    fn add(&mut self, piece: Piece<'a>) {
        if piece.length() > 0
            && let Some(place) = self.pieces.get_mut(self.count)
        {
            *place = piece;
            self.count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::history::Limits;

    /// A history in chunks of 1 KiB.
    fn history(text: &[u8]) -> History {
        let mut history = History::new(Limits { head: 0, tail: 4096 });
        history.append(text, 0);
        history
    }

    fn read(history: &History, mut from: u64, cut: Cut) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while from < history.end() {
            let pieces = Pieces::new(history, from, cut);
            for piece in pieces.as_slice() {
                from += piece.length() as u64;
                all.push([piece.before, piece.bytes].concat());
            }
        }
        all
    }

    #[test]
    fn a_character_over_the_edge_of_a_chunk_is_in_one_piece() {
        for shift in 0..4 {
            let text = format!("{}{}", "x".repeat(shift), "😀".repeat(1000));
            let history = history(text.as_bytes());
            let pieces = read(&history, 0, Cut::BetweenCharacters);
            assert_eq!(pieces.concat(), text.as_bytes());
            assert_eq!(pieces.len(), 4, "a piece a chunk");
            assert!(pieces.iter().all(|piece| std::str::from_utf8(piece).is_ok()));
            let chunks = read(&history, 0, Cut::Anywhere);
            assert!(chunks.iter().rev().skip(1).all(|chunk| chunk.len() == 1024));
        }
    }

    #[test]
    fn the_beginning_of_a_character_is_left_unless_there_is_nothing_else() {
        let history = history(b"a\xe2\x82");
        let pieces = Pieces::new(&history, 0, Cut::BetweenCharacters);
        assert_eq!(pieces.as_slice(), [Piece { before: b"", bytes: b"a" }]);
        let pieces = Pieces::new(&history, 1, Cut::BetweenCharacters);
        assert_eq!(pieces.as_slice(), [Piece { before: b"\xe2\x82", bytes: b"" }]);
    }

    proptest! {
        #[test]
        fn whatever_is_printed_no_byte_is_lost_or_moved_and_text_stays_whole(
            parts in proptest::collection::vec(
                prop_oneof![
                    ".{0,600}".prop_map(String::into_bytes),
                    proptest::collection::vec(any::<u8>(), 0..600),
                    Just("€".repeat(700).into_bytes()),
                ],
                0..8,
            ),
            from in 0..1000_u64,
        ) {
            let all = parts.concat();
            let history = history(&all);
            let from = from.min(history.end());
            let start = usize::try_from(from).unwrap();
            for cut in [Cut::Anywhere, Cut::BetweenCharacters] {
                prop_assert_eq!(&read(&history, from, cut).concat()[..], &all[start..]);
            }
            if let Ok(text) = std::str::from_utf8(&all)
                && text.is_char_boundary(start)
            {
                for piece in read(&history, from, Cut::BetweenCharacters) {
                    prop_assert!(std::str::from_utf8(&piece).is_ok());
                }
            }
        }
    }
}
