//! Escapes in what is typed, as OpenSSH has them: `~` at the start of a line, then a letter.
//!
//! The outcome depends on the bytes alone, never on how they were split over reads.
//!
//! ```text
//!   LineStart ──~──▶ Tilde ──. ? B r p g d w──▶ (a command) ──▶ LineStart
//!      ▲  │           ├──s──▶ Sysrq ──key──▶ (SysRq) ──▶ LineStart
//!      │  │           ├──f──▶ Force ──key──▶ (take over, or not) ──▶ LineStart
//!      │  └─other─▶ Middle ◀─other, ~──┘
//!      └──CR, LF────┘
//! ```

/// What a person meant by what they typed.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Typed {
    /// For the guest.
    Bytes(Vec<u8>),
    Command(Escape),
    /// `~.`; nothing after it is looked at.
    Leave,
}

/// What the client is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Escape {
    /// `~?`
    Help,
    /// `~B`
    Break,
    /// `~s`: which key follows has to be asked.
    AskSysrq,
    /// The key after `~s`.
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
    /// `~f`: whether it is meant has to be asked.
    AskForce,
    /// `~f` and then `y`.
    Force,
    /// The key after `~s` or `~f` was another than those that mean something.
    Nothing,
}

/// Finds escapes.
#[derive(Debug, Default)]
pub(crate) struct Escapes {
    place: Place,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Place {
    #[default]
    LineStart,
    /// At the start of a line and `~` is held back.
    Tilde,
    /// After `~s`.
    Sysrq,
    /// After `~f`.
    Force,
    Middle,
}

/// What `~?` shows.
pub(crate) const HELP: [&str; 12] = [
    "at the start of a line:",
    "  ~.  leaves this console",
    "  ~p  asks to write; whoever writes gives it back with it",
    "  ~g  gives the console to who asks to write",
    "  ~d  keeps it from who asks to write",
    "  ~f  takes over from who writes, if you may; asks first",
    "  ~w  lists who is attached",
    "  ~B  sends a break",
    "  ~s  and a letter or digit: sends that magic SysRq",
    "  ~r  types stty, so that the guest knows the size of this terminal",
    "  ~?  lists these",
    "  ~~  sends ~",
];

impl Escapes {
    /// Takes what was read.
    pub(crate) fn feed(&mut self, input: &[u8]) -> Vec<Typed> {
        let mut all = Vec::new();
        let mut bytes = Vec::new();
        for &byte in input {
            let (next, command) = match (self.place, byte) {
                (Place::LineStart, b'~') => (Place::Tilde, None),
                (Place::Tilde, b'.') => {
                    self.place = Place::LineStart;
                    flush(&mut bytes, &mut all);
                    all.push(Typed::Leave);
                    return all;
                }
                (Place::Tilde, b's') => (Place::Sysrq, Some(Escape::AskSysrq)),
                (Place::Tilde, b'f') => (Place::Force, Some(Escape::AskForce)),
                (Place::Tilde, _) if command(byte).is_some() => (Place::LineStart, command(byte)),
                (Place::Sysrq, _) if byte.is_ascii_alphanumeric() => {
                    (Place::LineStart, Some(Escape::Sysrq(byte.into())))
                }
                (Place::Force, b'y' | b'Y') => (Place::LineStart, Some(Escape::Force)),
                (Place::Sysrq | Place::Force, b'~') => (Place::Tilde, Some(Escape::Nothing)),
                (Place::Sysrq | Place::Force, _) => (Place::LineStart, Some(Escape::Nothing)),
                (Place::LineStart | Place::Tilde | Place::Middle, _) => {
                    if self.place == Place::Tilde && byte != b'~' {
                        bytes.push(b'~');
                    }
                    bytes.push(byte);
                    let line_end = matches!(byte, b'\r' | b'\n');
                    (if line_end { Place::LineStart } else { Place::Middle }, None)
                }
            };
            self.place = next;
            if let Some(command) = command {
                flush(&mut bytes, &mut all);
                all.push(Typed::Command(command));
            }
        }
        flush(&mut bytes, &mut all);
        all
    }
}

/// The command of a letter after `~`, where nothing more has to be asked.
fn command(letter: u8) -> Option<Escape> {
    Some(match letter {
        b'?' => Escape::Help,
        b'B' => Escape::Break,
        b'r' => Escape::Size,
        b'p' => Escape::Pen,
        b'g' => Escape::Grant,
        b'd' => Escape::Deny,
        b'w' => Escape::Who,
        _ => return None,
    })
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

    fn does(escape: Escape) -> Typed {
        Typed::Command(escape)
    }

    fn typed(input: &str) -> Vec<Typed> {
        Escapes::default().feed(input.as_bytes())
    }

    #[test]
    fn escapes_work_only_at_the_start_of_a_line() {
        assert_eq!(typed("~."), [Typed::Leave]);
        assert_eq!(typed("ls\r~."), [bytes("ls\r"), Typed::Leave]);
        assert_eq!(typed("ls\n~?~."), [bytes("ls\n"), does(Escape::Help), Typed::Leave]);
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
    fn each_letter_of_the_help_is_a_command_and_the_next_key_is_at_a_line_start_again() {
        for line in HELP.iter().filter_map(|line| line.strip_prefix("  ~")) {
            let letter = line.chars().next().unwrap();
            let told = typed(&format!("~{letter}"));
            match letter {
                '~' => assert_eq!(told, [bytes("~")]),
                '.' => assert_eq!(told, [Typed::Leave]),
                _ => assert!(matches!(told[..], [Typed::Command(_)]), "{letter}: {told:?}"),
            }
        }
        assert_eq!(typed("~B~w"), [does(Escape::Break), does(Escape::Who)]);
    }

    #[test]
    fn sysrq_takes_the_key_that_follows_and_only_one_that_means_something() {
        let ask = || does(Escape::AskSysrq);
        assert_eq!(typed("~sbx"), [ask(), does(Escape::Sysrq('b')), bytes("x")]);
        assert_eq!(typed("~s\rls"), [ask(), does(Escape::Nothing), bytes("ls")]);
        assert_eq!(typed("~s~."), [ask(), does(Escape::Nothing), Typed::Leave]);
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
            input in "[~.?abBspgdfrwy\r\n]{0,40}",
            size in 1..8usize,
        ) {
            // Without a way out, which ends the comparison at different places.
            let input = input.replace('.', ",");
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
