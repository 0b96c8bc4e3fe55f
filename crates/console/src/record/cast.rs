//! The rows of an asciicast v2 file (docs.asciinema.org/manual/asciicast/v2). No I/O, no clock.

use std::time::Duration;

use jiff::Timestamp;
use serialproxy_proto::console::Size;
use serialproxy_proto::utf8::unfinished;

/// The grid of a terminal whose size is not known.
const GRID: Size = Size { rows: 24, cols: 80 };

/// The type of a row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Output,
    Input,
    Resize,
    Marker,
}

/// The first row. Its length does not depend on the size, so that it can be written again when the
/// size is known.
pub(super) fn header(size: Option<Size>, since: Timestamp, title: &str) -> String {
    let Size { rows, cols } = size.unwrap_or(GRID);
    let (since, title) = (since.as_second(), quoted(title));
    format!(
        "{{\"version\": 2, \"width\": {cols:<5}, \"height\": {rows:<5}, \"timestamp\": {since}, \
         \"title\": {title}}}\n"
    )
}

/// A row for an event this long after the beginning.
pub(super) fn row(after: Duration, kind: Kind, text: &str) -> String {
    let code = match kind {
        Kind::Output => 'o',
        Kind::Input => 'i',
        Kind::Resize => 'r',
        Kind::Marker => 'm',
    };
    let (seconds, micros) = (after.as_secs(), after.subsec_micros());
    format!("[{seconds}.{micros:06}, \"{code}\", {}]\n", quoted(text))
}

pub(super) fn grid(Size { rows, cols }: Size) -> String {
    format!("{cols}x{rows}")
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Decodes text from bytes in any pieces: an incomplete character waits for its rest, and invalid
/// bytes become U+FFFD.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The beginning of an incomplete character.
    begun: Vec<u8>,
}

impl Decoder {
    pub(super) fn decode(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.begun);
        all.extend_from_slice(bytes);
        self.begun = all.split_off(all.len() - unfinished(&all));
        String::from_utf8_lossy(&all).into_owned()
    }

    /// The remaining text at the end of the input.
    pub(super) fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.begun)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_header_is_as_long_for_each_size() {
        let since = "2026-11-22T09:00:00.5Z".parse().unwrap();
        let header = |size| header(size, since, "a \"b\"\n");
        let plain: Value = serde_json::from_str(&header(None)).unwrap();
        let expected = json!({
            "version": 2, "width": 80, "height": 24, "timestamp": 1_795_338_000, "title": "a \"b\"\n",
        });
        assert_eq!(plain, expected);
        let most = header(Some(Size { rows: u16::MAX, cols: 1 }));
        assert_eq!(most.len(), header(None).len());
        assert_eq!(serde_json::from_str::<Value>(&most).unwrap()["height"], 65535);
    }

    #[test]
    fn times_are_exact_after_years() {
        let after = Duration::from_secs(100_000_000) + Duration::from_micros(7);
        assert_eq!(row(after, Kind::Output, "x"), "[100000000.000007, \"o\", \"x\"]\n");
    }

    #[test]
    fn a_row_holds_whatever_is_printed() {
        let row = row(Duration::ZERO, Kind::Input, "\u{1b}[0m\"\\\n\0\u{7f}\u{2028}€");
        assert_eq!(row.matches('\n').count(), 1);
        let read: Value = serde_json::from_str(&row).unwrap();
        assert_eq!(read[2], "\u{1b}[0m\"\\\n\0\u{7f}\u{2028}€");
    }

    #[test]
    fn what_is_no_character_is_replaced_and_the_end_as_well() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.decode(b"a\xff\xe2\x82"), "a\u{fffd}");
        assert_eq!(decoder.decode(b"b\xe2\x82"), "\u{fffd}b");
        assert_eq!(decoder.finish(), "\u{fffd}");
        assert_eq!(decoder.finish(), "");
    }

    proptest! {
        #[test]
        fn a_text_in_pieces_is_the_text(text in ".{0,60}", sizes in proptest::collection::vec(1..5_usize, 0..80)) {
            let (mut decoder, mut decoded, mut rest) = (Decoder::default(), String::new(), text.as_bytes());
            for size in sizes {
                let (piece, later) = rest.split_at(size.min(rest.len()));
                decoded += &decoder.decode(piece);
                rest = later;
            }
            decoded += &decoder.decode(rest);
            decoded += &decoder.finish();
            prop_assert_eq!(decoded, text);
        }
    }
}
