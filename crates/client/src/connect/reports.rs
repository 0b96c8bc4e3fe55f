//! Distinguishes what a terminal sends itself from what a person types.
//!
//! A terminal answers queries and reports focus and mouse; keys such as the arrows are escape sequences too.
//! Reports are recognized in their 7-bit forms (ECMA-48, DEC STD 070, xterm, kitty), however they were split
//! over reads. The sequence so far is 64 bytes at most; of a string nothing is kept.
//!
//! Row 1, column 2 to 16, as `CSI 1;2R`, is also how some terminals send F3 with a modifier. It is
//! taken for the report, because a prompt in the first row, after `clear`, is common. If the guess
//! is wrong, `~.` works after such a key as it does after Enter.

/// Longest control sequence that can be a report; real ones have some 40 bytes.
const LIMIT: usize = 64;

const BEL: u8 = 0x07;
const ESC: u8 = 0x1b;
const DEL: u8 = 0x7f;

/// The place of the input in an escape sequence.
#[derive(Debug, Default)]
pub(crate) struct Sequence {
    state: State,
    /// The part of a control sequence after `CSI`; at most `LIMIT` bytes.
    body: Vec<u8>,
}

/// The meaning of a byte.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Part {
    /// Not part of a sequence.
    None,
    /// Part of an incomplete sequence.
    Open,
    /// The end of a key.
    Key,
    /// The end of a report.
    Report,
    /// The earlier sequence was a key; this byte must be handled again.
    Again,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    #[default]
    Ground,
    Escape,
    /// SS3 and similar: one byte follows, as in `ESC O P` for F1.
    Single,
    /// CSI: a control sequence.
    Control,
    /// `CSI M`: this many bytes of a mouse report follow.
    Mouse(u8),
    /// OSC, which BEL also ends.
    Command,
    /// DCS, SOS, PM, APC.
    Text,
    /// ESC within a string: `\` ends it.
    Closing,
}

impl Sequence {
    /// Handles the next byte of input.
    pub(crate) fn push(&mut self, byte: u8) -> Part {
        if self.state == State::Closing && byte != b'\\' {
            // It did not end a string, but begins a sequence.
            self.state = State::Escape;
        }
        let (next, part) = match (self.state, byte) {
            (State::Ground, ESC) => (State::Escape, Part::Open),
            (State::Ground, _) => (State::Ground, Part::None),
            (State::Escape, b'[') => {
                self.body.clear();
                (State::Control, Part::Open)
            }
            (State::Escape, b']') => (State::Command, Part::Open),
            (State::Escape, b'P' | b'X' | b'^' | b'_') => (State::Text, Part::Open),
            (State::Escape, b'O') => (State::Single, Part::Open),
            (State::Command, BEL) | (State::Closing, b'\\') => (State::Ground, Part::Report),
            (State::Command | State::Text, ESC) => (State::Closing, Part::Open),
            // Reports contain no control characters, so the keys before did not begin a sequence,
            // such as Alt+].
            (_, 0x00..0x20) => (State::Ground, Part::Again),
            (State::Escape | State::Single | State::Closing, _) => (State::Ground, Part::Key),
            (State::Command | State::Text, _) => (self.state, Part::Open),
            (State::Mouse(1), _) => (State::Ground, Part::Report),
            (State::Mouse(left), _) => (State::Mouse(left - 1), Part::Open),
            (State::Control, DEL..) => (State::Ground, Part::Again),
            (State::Control, _) => self.control(byte),
        };
        self.state = next;
        part
    }

    fn control(&mut self, byte: u8) -> (State, Part) {
        match byte {
            0x20..0x40 if self.body.len() < LIMIT => {
                self.body.push(byte);
                (State::Control, Part::Open)
            }
            0x20..0x40 => (State::Ground, Part::Again),
            b'M' if self.body.is_empty() => (State::Mouse(3), Part::Open),
            // F1 to F5 of Linux's own console.
            b'[' if self.body.is_empty() => (State::Single, Part::Open),
            _ if is_report(&self.body, byte) => (State::Ground, Part::Report),
            _ => (State::Ground, Part::Key),
        }
    }
}

/// Whether `CSI body last` is a report.
fn is_report(body: &[u8], last: u8) -> bool {
    let numbers = body.split(|byte| *byte == b';').count();
    let plain = body.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b';' | b':'));
    match (body, last) {
        // Keys have no private prefix: attributes, modes, keyboard and graphics state, and the
        // mouse.
        ([b'<'..=b'?', ..], _) => true,
        // Focus.
        ([], b'I' | b'O') => true,
        // These need a number, since keys of rxvt have these letters without one.
        ([], _) => false,
        // The cursor's position. Without a column it is a key.
        (_, b'R') => plain && numbers == 2,
        // Attributes, status, window and in-band size, parameters.
        (_, b'c' | b'n' | b't' | b'x') => plain,
        // The mouse, in urxvt's form.
        (_, b'M') => plain && numbers == 3,
        // Modes; DEC's locator.
        (_, b'y') => body.ends_with(b"$") || plain,
        (_, b'w') => body.ends_with(b"&"),
        _ => false,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Bytes that terminals send.
    pub(crate) const REPORTS: [&str; 26] = [
        "\x1b[5;10R",
        "\x1b[1;2R",
        "\x1b[?5;10;1R",
        "\x1b[?62;4c",
        "\x1b[>0;276;0c",
        "\x1b[1;2c",
        "\x1b[0n",
        "\x1b[?997;1n",
        "\x1b[8;24;80t",
        "\x1b[48;24;80;600;800t",
        "\x1b[2;1;1;128;128;1;0x",
        "\x1b[?2026;2$y",
        "\x1b[4;2$y",
        "\x1b[?1u",
        "\x1b[I",
        "\x1b[O",
        "\x1b[<35;10;10M",
        "\x1b[<0;94;14m",
        "\x1b[M ~.",
        "\x1b[32;94;46M",
        "\x1b[1;4;10;20;0&w",
        "\x1b]11;rgb:0000/0000/0000\x1b\\",
        "\x1b]52;c;fi4=\x07",
        "\x1bP>|xterm(379)\x1b\\",
        "\x1bP1$r0m\x1b\\",
        "\x1b_Gi=1;OK\x1b\\",
    ];

    /// Bytes of keys.
    pub(crate) const KEYS: [&str; 17] = [
        "\x1b[A",
        "\x1b[1;5C",
        "\x1bOP",
        "\x1bOR",
        "\x1b[R",
        "\x1b[3~",
        "\x1b[15;2~",
        "\x1b[200~",
        "\x1b[Z",
        "\x1b[c",
        "\x1b[97;5u",
        "\x1b[27;5;9~",
        "\x1bx",
        "\x1b\x7f",
        "\x1b[1;2P",
        "\x1b[7^",
        "\x1b[[A",
    ];

    fn parts(input: &str) -> Vec<Part> {
        let mut sequence = Sequence::default();
        input.bytes().map(|byte| sequence.push(byte)).collect()
    }

    #[test]
    fn what_a_terminal_says_is_a_report_at_its_last_byte() {
        for report in REPORTS {
            let (last, open) = parts(report).split_last().map(|(l, o)| (*l, o.to_vec())).unwrap();
            assert_eq!(last, Part::Report, "{report:?}");
            assert!(open.iter().all(|part| *part == Part::Open), "{report:?}");
        }
    }

    #[test]
    fn what_a_person_types_is_none() {
        for key in KEYS {
            assert!(!parts(key).contains(&Part::Report), "{key:?}");
            assert!(parts(key).contains(&Part::Key), "{key:?}");
        }
    }

    #[test]
    fn keys_that_look_like_the_beginning_of_a_string_end_with_the_next_control_character() {
        for key in ["\x1b]ls\r", "\x1bPls\r", "\x1b_\x03", "\x1b[5;1\r", "\x1bO\r", "\x1b[M\r"] {
            assert_eq!(parts(key).last(), Some(&Part::Again), "{key:?}");
        }
    }

    #[test]
    fn no_more_is_kept_than_the_longest_report_has() {
        let mut sequence = Sequence::default();
        for byte in "\x1b[".bytes().chain(std::iter::repeat_n(b'1', 10 * LIMIT)) {
            sequence.push(byte);
            assert!(sequence.body.len() <= LIMIT);
        }
    }
}
