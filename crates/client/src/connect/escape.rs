//! Escapes in what is typed, as OpenSSH has them: `~` at the start of a line, then a letter.
//!
//! The outcome depends on the bytes alone, never on how they were split over reads.
//!
//! ```text
//!   LineStart ──~──▶ Tilde ──. ? ~──▶ (leave, help, one ~)
//!      ▲  └─other─▶ Middle ◀─other──┘
//!      └──CR, LF────┘
//! ```

/// What a person meant by what they typed.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Typed {
    /// For the guest.
    Bytes(Vec<u8>),
    /// `~?`
    Help,
    /// `~.`; nothing after it is looked at.
    Leave,
}

/// Finds escapes.
#[derive(Debug, Default)]
pub(crate) struct Escapes {
    place: Place,
}

#[derive(Clone, Copy, Debug, Default)]
enum Place {
    #[default]
    LineStart,
    /// At the start of a line and `~` is held back.
    Tilde,
    Middle,
}

/// What `~?` shows.
pub(crate) const HELP: [&str; 4] =
    ["at the start of a line:", "  ~.  leaves this console", "  ~?  lists these", "  ~~  sends ~"];

impl Escapes {
    /// Takes what was read.
    pub(crate) fn feed(&mut self, input: &[u8]) -> Vec<Typed> {
        let mut all = Vec::new();
        let mut bytes = Vec::new();
        for &byte in input {
            let command = match (self.place, byte) {
                (Place::LineStart, b'~') => {
                    self.place = Place::Tilde;
                    continue;
                }
                (Place::Tilde, b'.') => Some(Typed::Leave),
                (Place::Tilde, b'?') => Some(Typed::Help),
                _ => None,
            };
            if let Some(command) = command {
                self.place = Place::LineStart;
                flush(&mut bytes, &mut all);
                let leave = command == Typed::Leave;
                all.push(command);
                if leave {
                    return all;
                }
                continue;
            }
            if matches!(self.place, Place::Tilde) && byte != b'~' {
                bytes.push(b'~');
            }
            bytes.push(byte);
            let line_end = matches!(byte, b'\r' | b'\n');
            self.place = if line_end { Place::LineStart } else { Place::Middle };
        }
        flush(&mut bytes, &mut all);
        all
    }
}

fn flush(bytes: &mut Vec<u8>, all: &mut Vec<Typed>) {
    if !bytes.is_empty() {
        all.push(Typed::Bytes(std::mem::take(bytes)));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(text: &str) -> Typed {
        Typed::Bytes(text.into())
    }

    fn typed(input: &str) -> Vec<Typed> {
        Escapes::default().feed(input.as_bytes())
    }

    #[test]
    fn escapes_work_only_at_the_start_of_a_line() {
        assert_eq!(typed("~."), [Typed::Leave]);
        assert_eq!(typed("ls\r~."), [bytes("ls\r"), Typed::Leave]);
        assert_eq!(typed("ls\n~?~."), [bytes("ls\n"), Typed::Help, Typed::Leave]);
        assert_eq!(typed("cd a~.b"), [bytes("cd a~.b")]);
        assert_eq!(typed("x~."), [bytes("x~.")]);
    }

    #[test]
    fn a_tilde_that_starts_no_escape_reaches_the_guest_once() {
        assert_eq!(typed("~~."), [bytes("~.")]);
        assert_eq!(typed("~/bin\r"), [bytes("~/bin\r")]);
        assert_eq!(typed("~\r~."), [bytes("~\r"), Typed::Leave]);
    }

    #[test]
    fn nothing_is_sent_after_leaving() {
        assert_eq!(typed("~.reboot\r"), [Typed::Leave]);
    }

    fn merge(parts: impl IntoIterator<Item = Typed>) -> Vec<Typed> {
        let mut all: Vec<Typed> = Vec::new();
        for part in parts {
            match (all.last_mut(), part) {
                (Some(Typed::Bytes(last)), Typed::Bytes(more)) => last.extend(more),
                (_, part) => all.push(part),
            }
        }
        all
    }

    proptest! {
        #[test]
        fn how_the_input_is_split_changes_nothing(
            input in "[~.?ab\r\n]{0,40}",
            size in 1..8usize,
        ) {
            // Without a way out, which ends the comparison at different places.
            let input = input.replace("~.", "~,");
            let whole = typed(&input);
            let mut escapes = Escapes::default();
            let parts = input.as_bytes().chunks(size).flat_map(|chunk| escapes.feed(chunk));
            prop_assert_eq!(merge(parts.collect::<Vec<_>>()), whole);
        }

        #[test]
        fn leaving_works_however_it_is_split(before in "[a-z~?]{0,9}", size in 1..8usize) {
            let input = format!("{before}\r~.");
            let mut escapes = Escapes::default();
            let parts = input.as_bytes().chunks(size).flat_map(|chunk| escapes.feed(chunk));
            prop_assert_eq!(parts.last(), Some(Typed::Leave));
        }

        #[test]
        fn text_without_a_tilde_passes_unchanged(
            input in proptest::collection::vec(any::<u8>(), 1..60)
        ) {
            let input: Vec<u8> = input.into_iter().filter(|byte| *byte != b'~').collect();
            prop_assume!(!input.is_empty());
            prop_assert_eq!(Escapes::default().feed(&input), [Typed::Bytes(input)]);
        }
    }
}
