//! Removes from a terminal's output everything that makes the terminal answer or act.
//!
//! Replayed history, and all output that a watcher sees, must not make the terminal send input: its
//! queries were answered long ago, or another client answers them. It must not fill the clipboard,
//! print, or control the program around the terminal either. Text, colors and cursor movements are
//! kept. Sequences are recognized in their 7-bit forms (ECMA-48, DEC STD 070, and the extensions of
//! xterm, kitty and iTerm2); C1 controls in UTF-8 are converted to these. A sequence is passed on
//! when it is complete, so the result does not depend on how the bytes were split.
//!
//! ```text
//!   Ground ──ESC──▶ Escape ──[──▶ Control ──final──▶ Ground
//!                      ├──]──▶ Command ──BEL─▶ Ground, ──ESC─▶ Closing ──\──▶ Ground
//!                      ├──P──▶ Device ──final──▶ Passing, Dropping ──ESC──▶ Closing
//!                      └──_──▶ Dropping
//! ```

/// Longest control sequence that is kept; real ones have some 40 bytes.
const CONTROL_LIMIT: usize = 256;
/// Longest operating system command that is kept: titles and links are short, and a clipboard or
/// an image in old output is not missed.
const COMMAND_LIMIT: usize = 4096;

const BEL: u8 = 0x07;
const CAN: u8 = 0x18;
const DEL: u8 = 0x7f;
const ENQ: u8 = 0x05;
const ESC: u8 = 0x1b;
const SUB: u8 = 0x1a;
/// Begins the C1 controls, U+0080 to U+009F, in UTF-8.
const LEAD: u8 = 0xc2;

/// The filter, and its place in a sequence.
#[derive(Debug, Default)]
pub(crate) struct Muting {
    state: State,
    /// The last byte was `LEAD`, which may begin a C1 control.
    lead: bool,
    /// The sequence so far, from its ESC on; at most `COMMAND_LIMIT` bytes.
    held: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    #[default]
    Ground,
    Escape,
    /// CSI: a control sequence.
    Control,
    /// OSC: an operating system command.
    Command,
    /// DCS: the head of a device control string.
    Device,
    /// A string that is passed on as it arrives.
    Passing,
    /// A string or control sequence that is dropped.
    Dropping,
    /// A string ended at its ESC; a following `\` belongs to that end.
    Closing,
}

impl Muting {
    /// Filters `input`, and appends the allowed bytes to `output`.
    pub(crate) fn filter(&mut self, input: &[u8], output: &mut Vec<u8>) {
        let mut rest = input;
        while !rest.is_empty() {
            if self.is_settled() {
                let plain = rest.iter().position(|byte| matches!(*byte, ESC | ENQ | LEAD));
                let (text, more) = rest.split_at(plain.unwrap_or(rest.len()));
                output.extend_from_slice(text);
                rest = more;
            }
            if let Some((&byte, more)) = rest.split_first() {
                self.push(byte, output);
                rest = more;
            }
        }
    }

    /// Filters until no sequence is incomplete; returns how many bytes of `input` that took.
    pub(crate) fn settle(&mut self, input: &[u8], output: &mut Vec<u8>) -> usize {
        for (count, &byte) in input.iter().enumerate() {
            if self.is_settled() {
                return count;
            }
            self.push(byte, output);
        }
        input.len()
    }

    fn is_settled(&self) -> bool {
        self.state == State::Ground && !self.lead
    }

    fn push(&mut self, byte: u8, output: &mut Vec<u8>) {
        if std::mem::take(&mut self.lead) {
            match byte {
                0x80..0xa0 => {
                    self.accept(ESC, output);
                    return self.accept(byte - 0x40, output);
                }
                // Also dropped: if only this byte were left out, the next one could turn the rest
                // into a control.
                ESC | ENQ | LEAD => {}
                _ => self.accept(LEAD, output),
            }
        }
        match byte {
            LEAD => self.lead = true,
            _ => self.accept(byte, output),
        }
    }

    fn accept(&mut self, byte: u8, output: &mut Vec<u8>) {
        match (self.state, byte) {
            (State::Ground, ENQ) => {}
            (State::Ground, ESC) => self.begin(),
            (State::Ground, _) => output.push(byte),
            (_, CAN | SUB) => {
                // Both cancel any sequence (ECMA-48 leaves it open, but all terminals do).
                self.end();
                output.push(byte);
            }
            (State::Command, ESC) => self.end_command(output),
            (State::Passing, ESC) => self.close(output),
            (State::Dropping, ESC) => self.state = State::Closing,
            (State::Closing, b'\\') => self.end(),
            (_, ESC) => self.begin(),
            (State::Command, _) => self.command(byte, output),
            // A terminal that does not know such a string answers ENQ in it.
            (State::Passing, ENQ) => {}
            (State::Passing, _) => output.push(byte),
            (State::Dropping, _) => self.dropping(byte),
            (State::Closing, _) => {
                self.begin();
                self.accept(byte, output);
            }
            // Terminals execute control characters in the middle of a sequence.
            (_, ENQ | DEL) => {}
            (_, 0x00..0x20) => output.push(byte),
            (_, 0x80..) => {
                self.end();
                output.push(byte);
            }
            (State::Escape, _) => self.escape(byte, output),
            (State::Control | State::Device, _) => self.parameters(byte, output),
        }
    }

    fn begin(&mut self) {
        self.held.clear();
        self.held.push(ESC);
        self.state = State::Escape;
    }

    fn end(&mut self) {
        self.held.clear();
        self.state = State::Ground;
    }

    fn pass(&mut self, next: State, output: &mut Vec<u8>) {
        output.append(&mut self.held);
        self.state = next;
    }

    fn escape(&mut self, byte: u8, output: &mut Vec<u8>) {
        self.held.push(byte);
        match byte {
            b'[' => self.state = State::Control,
            b']' => self.state = State::Command,
            b'P' => self.state = State::Device,
            // APC: kitty answers graphics commands in it; other terminals ignore it.
            b'_' => self.state = State::Dropping,
            b'X' | b'^' => self.pass(State::Passing, output),
            b'Z' => self.end(),
            _ => self.pass(State::Ground, output),
        }
    }

    fn parameters(&mut self, byte: u8, output: &mut Vec<u8>) {
        self.held.push(byte);
        let device = self.state == State::Device;
        match byte {
            0x20..0x40 if self.held.len() < CONTROL_LIMIT => {}
            0x20..0x40 => self.state = State::Dropping,
            _ if device && asks_device(&self.held) => self.state = State::Dropping,
            _ if device => self.pass(State::Passing, output),
            _ if asks(&self.held) => self.end(),
            _ => self.pass(State::Ground, output),
        }
    }

    fn command(&mut self, byte: u8, output: &mut Vec<u8>) {
        if byte == BEL {
            match asks_system(&self.held) {
                true => self.end(),
                false => {
                    self.held.push(BEL);
                    self.pass(State::Ground, output);
                }
            }
        } else if self.held.len() < COMMAND_LIMIT {
            self.held.push(byte);
        } else {
            self.state = State::Dropping;
        }
    }

    fn end_command(&mut self, output: &mut Vec<u8>) {
        if asks_system(&self.held) {
            self.state = State::Closing;
        } else {
            self.close(output);
        }
    }

    /// Ends a string that was passed on, so that the terminal is never left inside it.
    fn close(&mut self, output: &mut Vec<u8>) {
        self.pass(State::Closing, output);
        output.extend_from_slice(b"\x1b\\");
    }

    /// A dropped sequence ends like one of its kind: a control sequence at its final byte, an
    /// operating system command at BEL or, like other strings, at ESC.
    fn dropping(&mut self, byte: u8) {
        let ends = match self.held.get(1) {
            Some(b'[') => matches!(byte, 0x40..DEL),
            Some(b']') => byte == BEL,
            _ => false,
        };
        if ends {
            self.end();
        }
    }
}

/// Whether a terminal answers this control sequence, `ESC [ … final`.
fn asks(sequence: &[u8]) -> bool {
    let Some((&last, body)) = sequence.get(2..).and_then(<[u8]>::split_last) else {
        return false;
    };
    let prefix = body.first().copied().filter(|byte| matches!(byte, b'<'..=b'?'));
    let end = body.iter().position(|byte| matches!(byte, 0x20..0x30)).unwrap_or(body.len());
    let (parameters, intermediates) = body.split_at(end);
    let parameters = parameters.get(usize::from(prefix.is_some())..).unwrap_or_default();
    match (prefix, intermediates, last) {
        // Device attributes. Linux's `CSI ? … c` shapes the cursor.
        (None | Some(b'>' | b'='), b"", b'c') => true,
        // Status and cursor position; terminal parameters; xterm's and kitty's versions, keyboard
        // and graphics state.
        (None | Some(b'?'), b"", b'n') | (None, b"", b'x') | (Some(b'>'), b"", b'q') => true,
        (Some(b'?'), b"", b'u' | b'S' | b'm') => true,
        // Printing, also through a program of the terminal.
        (None | Some(b'?'), b"", b'i') => true,
        // Modes, and the mode whose report follows at once (in-band resize).
        (None | Some(b'?'), b"$", b'p') => true,
        (Some(b'?'), b"", b'h') => parameters.split(|byte| *byte == b';').any(|p| p == b"2048"),
        (None, b"", b't') => reports_window(parameters),
        // Checksum of the screen; presentation, terminal and character set state; extent of the
        // display; mouse position; attributes and colors; secure reset.
        (None, b"*", b'y') | (None, b"$", b'w' | b'u') | (None, b"&", b'u') => true,
        (None, b"\"", b'v') | (None, b"'" | b"#", b'|') => true,
        (None, b"#", b'R') | (None, b"+", b'p') => true,
        _ => false,
    }
}

/// Whether xterm's window operation sends a report; the others move or resize the window.
fn reports_window(parameters: &[u8]) -> bool {
    let operation = parameters.split(|byte| matches!(byte, b';' | b':')).next();
    let number = operation.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    matches!(number, Some(11u32 | 13..=16 | 18..=21))
}

/// Whether a terminal answers this device control string: settings (`$q`), termcap (`+q`),
/// resources (`+Q`), and the one after which iTerm2 treats the output as tmux (`1000p`).
fn asks_device(head: &[u8]) -> bool {
    matches!(head, [.., b'$' | b'+', b'q'] | [.., b'+', b'Q'] | [.., b'1', b'0', b'0', b'0', b'p'])
}

/// Whether a terminal answers this operating system command, or acts for the guest: one with a `?`
/// in place of a color or another value; the clipboard (52, kitty's 5522), files (kitty's 5113),
/// iTerm2's commands (1337), the surrounding program (51), xterm's features (60, 61). Titles (0, 1,
/// 2) may contain anything.
fn asks_system(command: &[u8]) -> bool {
    let mut fields = command.get(2..).unwrap_or_default().split(|byte| *byte == b';');
    let number = fields.next().and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    match number {
        Some(0u32..=2) => false,
        Some(51 | 52 | 60 | 61 | 1337 | 5113 | 5522) => true,
        _ => fields.any(|field| field == b"?" || field.ends_with(b"=?")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const QUERIES: [&str; 50] = [
        "\x1b[c",
        "\x1b[0c",
        "\x1b[>c",
        "\x1b[>0c",
        "\x1b[=c",
        "\x1b[5n",
        "\x1b[6n",
        "\x1b[?6n",
        "\x1b[?996n",
        "\x1b[4$p",
        "\x1b[?2026$p",
        "\x1b[>q",
        "\x1b[>0q",
        "\x1b[14t",
        "\x1b[14;2t",
        "\x1b[18t",
        "\x1b[21t",
        "\x1b[x",
        "\x1b[1;1;1;1;24;80*y",
        "\x1b[1$w",
        "\x1b[?u",
        "\x1b[?1;1;0S",
        "\x1b[?2048h",
        "\x1b]10;?\x07",
        "\x1b]11;?\x1b\\",
        "\x1b]4;1;?;2;?\x07",
        "\x1b]52;c;?\x07",
        "\x1b]21;foreground=?\x1b\\",
        "\x1b]1337;ReportCellSize\x07",
        "\x1bP$qm\x1b\\",
        "\x1bP+q544e\x1b\\",
        "\x1bP1+Qabc\x1b\\",
        "\x1b_Gi=1,a=q;AAAA\x1b\\",
        "\x05",
        "\x1bZ",
        "\x1b['|",
        "\x1b[?4m",
        "\x1b[&u",
        "\x1b]52;c;cm0gLXJmIH4=\x07",
        "\x1b]052;c;cm0gLXJmIH4=\x1b\\",
        "\x1b]1337;Copy=:cm0gLXJmIH4=\x07",
        "\x1b]5522;type=read;dGV4dC9wbGFpbg==\x1b\\",
        "\x1b]51;[\"call\",\"Tapi_x\",[]]\x07",
        "\x1b]60\x1b\\",
        "\x1b[5i",
        "\x1bP1000p\x1b\\",
        "\u{9b}6n",
        "\u{90}$qm\u{9c}",
        "\u{9d}52;c;?\u{9c}",
        "\u{9a}",
    ];

    const OTHERS: [&str; 27] = [
        "login: ",
        "Grüße 日本\r\n",
        "6n",
        "c",
        "\x1b[31m",
        "\x1b[38;2;1;2;3m",
        "\x1b[2J",
        "\x1b[H",
        "\x1b[?25h",
        "\x1b[?0c",
        "\x1b[?1049h",
        "\x1b[8;24;80t",
        "\x1b[22;0t",
        "\x1b[!p",
        "\x1b[2 q",
        "\x1b(B",
        "\x1b7",
        "\x1b]0;what?\x07",
        "\x1b]2;?\x1b\\",
        "\x1b]8;;http://h/?a=b\x1b\\",
        "\x1b]4;1;rgb:ff/00/00\x07",
        "\x1bP0;1;0q#0~~\x1b\\",
        "\x1b[>4;2m",
        "\x1b[1;24r",
        "\x07\x08\t",
        "\x1b[>1u",
        "50 \u{b0}C \u{c2}",
    ];

    fn muted(input: &[u8], size: usize) -> Vec<u8> {
        let mut muting = Muting::default();
        let mut output = Vec::new();
        for chunk in input.chunks(size) {
            muting.filter(chunk, &mut output);
        }
        output
    }

    #[test]
    fn each_query_goes() {
        for query in QUERIES {
            let input = format!("a{query}b");
            assert_eq!(muted(input.as_bytes(), 100), b"ab", "{query:?}");
        }
    }

    #[test]
    fn everything_else_stays() {
        for other in OTHERS {
            let text = String::from_utf8(muted(other.as_bytes(), 100)).unwrap();
            assert_eq!(text, other);
        }
    }

    #[test]
    fn a_query_with_a_line_end_in_it_goes_and_the_line_end_stays() {
        assert_eq!(muted(b"a\x1b[6\nnb", 100), b"a\nb");
    }

    #[test]
    fn an_enquiry_goes_also_within_a_string_that_some_terminals_do_not_know() {
        assert_eq!(muted(b"\x1b^a\x05b\x1b\\", 100), b"\x1b^ab\x1b\\");
    }

    #[test]
    fn a_control_in_utf_8_is_made_of_seven_bits_and_of_no_query() {
        assert_eq!(muted("\u{9b}31mred\u{85}".as_bytes(), 1), b"\x1b[31mred\x1bE");
        assert_eq!(muted(b"\x1b]0;a\xc2\x9c\xc2\x9b6n$ ", 1), b"\x1b]0;a\x1b\\$ ");
        assert_eq!(muted(b"\xc2\x05\x9b6n", 1), b"\x9b6n");
    }

    #[test]
    fn a_cancelled_query_ends_there() {
        assert_eq!(muted(b"\x1b[6\x18n", 100), b"\x18n");
        assert_eq!(muted(b"\x1b[6\x1b[31mn", 100), b"\x1b[31mn");
    }

    #[test]
    fn endless_sequences_hold_no_more_than_their_limit() {
        let mut muting = Muting::default();
        let mut output = Vec::new();
        for start in ["\x1b[", "\x1b]52;c;", "\x1bP", "\x1b_"] {
            muting.filter(start.as_bytes(), &mut output);
            muting.filter(&[b'1'; 3 * COMMAND_LIMIT], &mut output);
            assert!(muting.held.len() <= COMMAND_LIMIT);
            muting.filter(b"m\x07\x1b\\", &mut output);
        }
        assert!(!output.contains(&b'1'));
    }

    #[test]
    fn a_query_across_the_end_of_a_replay_is_settled_before_live_bytes_pass() {
        let mut muting = Muting::default();
        let mut output = Vec::new();
        muting.filter(b"$ \x1b[", &mut output);
        let live = b"6n\x1b[6n";
        let taken = muting.settle(live, &mut output);
        assert_eq!((taken, output.as_slice()), (2, b"$ ".as_slice()));
    }

    fn pieces() -> impl Strategy<Value = Vec<(bool, &'static str)>> {
        let queries = proptest::sample::select(&QUERIES[..]).prop_map(|text| (true, text));
        let others = proptest::sample::select(&OTHERS[..]).prop_map(|text| (false, text));
        proptest::collection::vec(prop_oneof![queries, others], 0..20)
    }

    proptest! {
        #[test]
        fn exactly_the_queries_go_however_the_output_is_split(
            pieces in pieces(),
            size in 1..30usize,
        ) {
            let input: String = pieces.iter().map(|(_, text)| *text).collect();
            let kept = pieces.iter().filter(|(query, _)| !query).map(|(_, text)| *text);
            let kept: String = kept.collect();
            let output = muted(input.as_bytes(), size);
            prop_assert_eq!(String::from_utf8(output).unwrap(), kept);
        }

        #[test]
        fn any_bytes_give_the_same_however_they_are_split_and_nothing_more_the_second_time(
            input in proptest::collection::vec(
                prop_oneof![
                    Just(ESC), Just(LEAD), Just(0x9bu8), Just(b'['), Just(b']'), Just(b'P'), Just(b'?'),
                    any::<u8>(),
                ],
                0..200,
            ),
            size in 1..30usize,
        ) {
            let whole = muted(&input, usize::MAX);
            prop_assert_eq!(&muted(&input, size), &whole);
            prop_assert_eq!(&muted(&whole, usize::MAX), &whole);
        }

        #[test]
        fn bytes_without_control_characters_pass_unchanged(
            input in "\\PC{0,200}",
        ) {
            prop_assert_eq!(muted(input.as_bytes(), 7), input.into_bytes());
        }
    }
}
