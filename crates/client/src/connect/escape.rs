//! Escapes in typed input, as in OpenSSH: `~` at the start of a line, then a letter. `~` stands for
//! the configured escape character.
//!
//! The result depends only on the bytes, not on how they were split over reads. What the terminal
//! sends by itself (see `reports`) goes to the guest and is not typing: it does not change the
//! state below.
//!
//! ```text
//!   LineStart ──~──▶ Tilde ──. B r p g d w s──▶ (a command) ──▶ LineStart
//!      ▲  │           ├──?──▶ Menu ──a letter as after Tilde, or another key──▶ LineStart
//!      │  │           ├──S──▶ Sysrq ──key──▶ (SysRq) ──▶ LineStart
//!      │  │           ├──f──▶ Force ──key──▶ (take over, or not) ──▶ LineStart
//!      │  └─other─▶ Middle ◀─other, ~──┘
//!      └──CR, LF────┘
//! ```

use crate::connect::reports::Part;
use crate::connect::reports::Sequence;
use crate::settings::EscapeKey;

/// A part of the input.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Typed {
    /// For the guest.
    Bytes(Vec<u8>),
    /// Also for the guest, but sent by the terminal, or possibly so: the rest will show.
    Report(Vec<u8>),
    Command(Escape),
    /// `~.`; the rest of the input is ignored.
    Leave,
}

/// A command of the person.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Escape {
    /// `~?`: the key of a choice follows.
    Menu,
    /// `~s`
    Status,
    /// `~B`
    Break,
    /// `~S`: the key must be asked for.
    AskSysrq,
    /// The key after `~S`.
    Sysrq(char),
    /// `~r`
    Size,
    /// `~p`
    Pen,
    /// `~g`
    Grant,
    /// `~d`
    Deny,
    /// `~w`
    Who,
    /// `~f`: must be confirmed.
    AskForce,
    /// `~f` and then `y`.
    Force,
    /// The key after `~?`, `~S` or `~f` has no meaning there.
    Nothing,
}

/// Finds escapes.
#[derive(Debug)]
pub(crate) struct Escapes {
    /// The escape character, if there is one.
    key: Option<u8>,
    place: Place,
    sequence: Sequence,
    /// An incomplete escape sequence, as far as it was held back.
    held: Vec<u8>,
}

/// Most bytes of a sequence that are held back until it is known whether it is a key, which
/// determines the meaning of an earlier `~`. Only reports are longer.
const HELD: usize = 256;

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Place {
    #[default]
    LineStart,
    /// At the start of a line and `~` is held back.
    Tilde,
    /// After `~?`.
    Menu,
    /// After `~S`.
    Sysrq,
    /// After `~f`.
    Force,
    Middle,
}

impl Escapes {
    pub(crate) fn new(key: EscapeKey) -> Self {
        let key = match key {
            EscapeKey::None => None,
            EscapeKey::Byte(byte) => Some(byte),
        };
        Self { key, place: Place::default(), sequence: Sequence::default(), held: Vec::new() }
    }

    /// `text` with the escape character in place of each `~`; empty where there is none.
    pub(crate) fn hint(&self, text: &str) -> String {
        match self.key {
            None => String::new(),
            Some(byte @ ..0x20) => text.replace('~', &format!("^{}", char::from(byte | 0x40))),
            Some(byte) => text.replace('~', char::from(byte).encode_utf8(&mut [0; 4])),
        }
    }

    /// Handles the bytes of a read.
    pub(crate) fn feed(&mut self, input: &[u8]) -> Vec<Typed> {
        let mut all = Vec::new();
        for &byte in input {
            if self.push(byte, &mut all) == Some(Typed::Leave) {
                self.held.clear();
                all.push(Typed::Leave);
                return all;
            }
        }
        // A key must reach the guest at once, and ESC is a key.
        if matches!(self.place, Place::LineStart | Place::Middle) || self.held.len() > HELD {
            append(&mut all, Typed::Report(std::mem::take(&mut self.held)));
        }
        all
    }

    /// Handles a byte; returns `Leave` for that command.
    fn push(&mut self, byte: u8, all: &mut Vec<Typed>) -> Option<Typed> {
        match self.sequence.push(byte) {
            Part::None => return self.typed(byte, all),
            Part::Open => self.held.push(byte),
            Part::Key => {
                self.held.push(byte);
                self.key(all);
            }
            Part::Report => {
                self.held.push(byte);
                append(all, Typed::Report(std::mem::take(&mut self.held)));
            }
            Part::Again => {
                self.key(all);
                // This does not repeat: the byte is not in a sequence now.
                return self.push(byte, all);
            }
        }
        None
    }

    /// Handles a key that is a sequence.
    fn key(&mut self, all: &mut Vec<Typed>) {
        let mut key = std::mem::take(&mut self.held);
        if matches!(self.place, Place::Menu | Place::Sysrq | Place::Force) {
            self.place = Place::LineStart;
            return all.push(Typed::Command(Escape::Nothing));
        }
        if self.place == Place::Tilde {
            key.splice(..0, self.key);
        }
        self.place = Place::Middle;
        append(all, Typed::Bytes(key));
    }

    /// Handles a byte that is not in a sequence.
    fn typed(&mut self, byte: u8, all: &mut Vec<Typed>) -> Option<Typed> {
        let escapes = self.key == Some(byte);
        let (next, command) = match (self.place, byte) {
            (Place::LineStart, _) if escapes => (Place::Tilde, None),
            (Place::Menu, _) if escapes => (Place::Tilde, None),
            (Place::Tilde | Place::Menu, b'.') => {
                self.place = Place::LineStart;
                return Some(Typed::Leave);
            }
            (Place::Tilde | Place::Menu, b'?') => (Place::Menu, Some(Escape::Menu)),
            (Place::Tilde | Place::Menu, b'S') => (Place::Sysrq, Some(Escape::AskSysrq)),
            (Place::Tilde | Place::Menu, b'f') => (Place::Force, Some(Escape::AskForce)),
            (Place::Tilde | Place::Menu, _) if command(byte).is_some() => {
                (Place::LineStart, command(byte))
            }
            (Place::Sysrq, _) if byte.is_ascii_alphanumeric() => {
                (Place::LineStart, Some(Escape::Sysrq(byte.into())))
            }
            (Place::Force, b'y' | b'Y') => (Place::LineStart, Some(Escape::Force)),
            (Place::Sysrq | Place::Force, _) if escapes => (Place::Tilde, Some(Escape::Nothing)),
            (Place::Menu | Place::Sysrq | Place::Force, _) => {
                (Place::LineStart, Some(Escape::Nothing))
            }
            (Place::LineStart | Place::Tilde | Place::Middle, _) => {
                let held_back = self.key.filter(|_| self.place == Place::Tilde && !escapes);
                append(all, Typed::Bytes(held_back.into_iter().chain([byte]).collect()));
                let line_end = matches!(byte, b'\r' | b'\n');
                (if line_end { Place::LineStart } else { Place::Middle }, None)
            }
        };
        self.place = next;
        all.extend(command.map(Typed::Command));
        None
    }
}

/// The command of a letter after `~`, if nothing more must be asked.
fn command(letter: u8) -> Option<Escape> {
    Some(match letter {
        b's' => Escape::Status,
        b'B' => Escape::Break,
        b'r' => Escape::Size,
        b'p' => Escape::Pen,
        b'g' => Escape::Grant,
        b'd' => Escape::Deny,
        b'w' => Escape::Who,
        _ => return None,
    })
}

/// Appends a part, and joins it with an earlier part of the same kind.
fn append(all: &mut Vec<Typed>, more: Typed) {
    match (all.last_mut(), more) {
        (_, Typed::Bytes(more) | Typed::Report(more)) if more.is_empty() => {}
        (Some(Typed::Bytes(last)), Typed::Bytes(more))
        | (Some(Typed::Report(last)), Typed::Report(more)) => last.extend(more),
        (_, more) => all.push(more),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::connect::reports::tests::KEYS;
    use crate::connect::reports::tests::REPORTS;

    fn bytes(text: &str) -> Typed {
        Typed::Bytes(text.into())
    }

    fn does(escape: Escape) -> Typed {
        Typed::Command(escape)
    }

    impl Default for Escapes {
        fn default() -> Self {
            Self::new(EscapeKey::Byte(b'~'))
        }
    }

    fn typed(input: &str) -> Vec<Typed> {
        Escapes::default().feed(input.as_bytes())
    }

    #[test]
    fn another_escape_character_takes_the_place_of_the_tilde_and_none_takes_none() {
        let mut escapes = Escapes::new(EscapeKey::Byte(0x1d));
        assert_eq!(escapes.feed(b"~.\r\x1d\x1d\r\x1d?"), [bytes("~.\r\x1d\r"), does(Escape::Menu)]);
        assert_eq!(escapes.hint("~. leaves, ~? shows help"), "^]. leaves, ^]? shows help");
        assert_eq!(
            merge(escapes.feed(b"\x1d\x1b[A\r\x1d.")),
            [bytes("\x1d\x1b[A\r"), Typed::Leave]
        );
        let mut none = Escapes::new(EscapeKey::None);
        assert_eq!(none.feed(b"~.\r~?"), [bytes("~.\r~?")]);
        assert_eq!(none.hint(". ~. leaves"), "");
    }

    #[test]
    fn escapes_work_only_at_the_start_of_a_line() {
        assert_eq!(typed("~."), [Typed::Leave]);
        assert_eq!(typed("ls\r~."), [bytes("ls\r"), Typed::Leave]);
        assert_eq!(typed("ls\n~w~."), [bytes("ls\n"), does(Escape::Who), Typed::Leave]);
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
    fn after_a_command_the_next_key_is_at_a_line_start_again() {
        assert_eq!(typed("~B~w~s"), [Escape::Break, Escape::Who, Escape::Status].map(does));
    }

    #[test]
    fn a_choice_of_the_menu_is_the_letter_alone_or_after_the_escape_character() {
        let menu = || does(Escape::Menu);
        assert_eq!(typed("~?wls"), [menu(), does(Escape::Who), bytes("ls")]);
        assert_eq!(typed("~?~w"), [menu(), does(Escape::Who)]);
        assert_eq!(typed("~?."), [menu(), Typed::Leave]);
        assert_eq!(typed("~?~."), [menu(), Typed::Leave]);
        let sysrq = [does(Escape::AskSysrq), does(Escape::Sysrq('h'))];
        assert_eq!(typed("~?Sh"), [vec![menu()], sysrq.to_vec()].concat());
        assert_eq!(typed("~?fy"), [menu(), does(Escape::AskForce), does(Escape::Force)]);
        assert_eq!(typed("~??"), [menu(), menu()]);
        for key in ["\r", "x", "\x03", "\x1b[A"] {
            assert_eq!(typed(&format!("~?{key}~.")), [menu(), does(Escape::Nothing), Typed::Leave]);
        }
    }

    #[test]
    fn sysrq_takes_the_key_that_follows_and_only_one_that_means_something() {
        let ask = || does(Escape::AskSysrq);
        assert_eq!(typed("~Sbx"), [ask(), does(Escape::Sysrq('b')), bytes("x")]);
        assert_eq!(typed("~S\rls"), [ask(), does(Escape::Nothing), bytes("ls")]);
        assert_eq!(typed("~S~."), [ask(), does(Escape::Nothing), Typed::Leave]);
    }

    #[test]
    fn taking_over_needs_a_yes() {
        let ask = || does(Escape::AskForce);
        assert_eq!(typed("~fy"), [ask(), does(Escape::Force)]);
        assert_eq!(typed("~f\r~."), [ask(), does(Escape::Nothing), Typed::Leave]);
    }

    #[test]
    fn nothing_is_sent_after_leaving() {
        assert_eq!(typed("~.reboot\r"), [Typed::Leave]);
    }

    /// Joins all parts. Input for the guest is one kind here, whether it is a report or not.
    fn merge(parts: impl IntoIterator<Item = Typed>) -> Vec<Typed> {
        let mut all: Vec<Typed> = Vec::new();
        for part in parts {
            let part = match part {
                Typed::Report(bytes) => Typed::Bytes(bytes),
                part => part,
            };
            append(&mut all, part);
        }
        all
    }

    #[test]
    fn what_the_terminal_says_passes_and_leaves_each_place_as_it_is() {
        for report in REPORTS {
            let said = Typed::Report(report.into());
            for (before, after, told) in [
                ("", "~.", vec![Typed::Leave]),
                ("~", ".", vec![Typed::Leave]),
                ("~", "~", vec![bytes("~")]),
                ("ls", "~.", vec![bytes("~.")]),
                ("~S", "b", vec![does(Escape::Sysrq('b'))]),
                ("~?", "w", vec![does(Escape::Who)]),
                ("~f", "y", vec![does(Escape::Force)]),
            ] {
                let wanted = [typed(before), vec![said.clone()], told].concat();
                assert_eq!(typed(&[before, report, after].concat()), wanted, "{before} {report:?}");
            }
        }
    }

    #[test]
    fn a_key_is_one_key_whatever_its_bytes() {
        for key in KEYS {
            let typed = |input: &str| merge(typed(input));
            assert_eq!(typed(&format!("{key}~.")), [bytes(&format!("{key}~."))], "{key:?}");
            assert_eq!(typed(&format!("~{key}")), [bytes(&format!("~{key}"))], "{key:?}");
            let nothing = [does(Escape::AskSysrq), does(Escape::Nothing), Typed::Leave];
            assert_eq!(typed(&format!("~S{key}~.")), nothing, "{key:?}");
        }
    }

    #[test]
    fn the_escape_key_reaches_the_guest_at_once_and_enter_ends_what_it_may_have_begun() {
        let mut escapes = Escapes::default();
        assert_eq!(escapes.feed(b"\x1b"), [Typed::Report(b"\x1b".into())]);
        assert_eq!(merge(escapes.feed(b"]text\r~.")), [bytes("]text\r"), Typed::Leave]);
        assert_eq!(merge(typed("\x1b\x03")), [bytes("\x1b\x03")]);
    }

    #[test]
    fn no_more_of_an_endless_string_is_held_than_its_limit() {
        let mut escapes = Escapes::default();
        escapes.feed(b"~\x1b]52;c;");
        for _ in 0..100 {
            escapes.feed(&[b'A'; 100]);
            assert!(escapes.held.len() <= HELD);
        }
        assert_eq!(escapes.feed(b"\x1b\\.").last(), Some(&Typed::Leave));
    }

    proptest! {
        #[test]
        fn how_the_input_is_split_changes_nothing(
            pieces in proptest::collection::vec(
                prop_oneof![
                    "[~?abBsSpgdfrwy\r\n\\x1b\\[\\]]{0,4}",
                    proptest::sample::select([&REPORTS[..], &KEYS[..]].concat()).prop_map(Into::into),
                ],
                0..12,
            ),
            size in 1..8usize,
        ) {
            // Without the way to leave, which would end the comparison at different places.
            let input = pieces.concat().replace('.', ",");
            let whole = merge(typed(&input));
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
            prop_assert_eq!(merge(Escapes::default().feed(&input)), [Typed::Bytes(input)]);
        }
    }
}
