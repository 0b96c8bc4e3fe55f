//! Parses control sequences in a guest's output: the state machine of DEC's VT500 as described by
//! Paul Williams, with the controls U+0080 to U+009F, like xterm.js.

use crate::params::Params;

/// Bytes of an unfinished sequence that are kept. The rest of a longer string is left out.
const PENDING: usize = 256;

/// The operations of a terminal.
pub(crate) trait Perform {
    /// Prints a character.
    fn print(&mut self, c: char);
    /// Executes a control character.
    fn control(&mut self, c: char);
    /// Executes an escape sequence: `ESC`, intermediate bytes, final byte.
    fn escape(&mut self, intermediates: u32, last: u8);
    /// Executes a control sequence: `CSI`, private marker and intermediate bytes, parameters, final
    /// byte.
    fn sequence(&mut self, params: &Params, intermediates: u32, last: u8);
    /// Handles the end of a string (OSC, DCS). No string changes the screen.
    fn string(&mut self, bytes: usize);
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    #[default]
    Ground,
    Escape,
    EscapeIntermediate,
    CsiEntry,
    CsiParam,
    CsiIntermediate,
    CsiIgnore,
    DcsEntry,
    DcsParam,
    DcsIntermediate,
    DcsIgnore,
    DcsString,
    Osc,
    /// SOS, PM, APC.
    Ignored,
}

#[derive(Debug, Default)]
pub(crate) struct Parser {
    state: State,
    params: Params,
    /// Private marker and intermediate bytes; the last is in the lowest byte.
    intermediates: u32,
    /// The sequence so far, without the control characters in it that were executed.
    pending: Vec<u8>,
    /// Length of a string.
    length: usize,
}

impl Parser {
    /// The beginning of an incomplete sequence.
    pub(crate) fn pending(&self) -> &[u8] {
        &self.pending
    }

    /// Whether there is no incomplete sequence.
    pub(crate) fn is_idle(&self) -> bool {
        self.state == State::Ground
    }

    pub(crate) fn advance(&mut self, c: char, perform: &mut impl Perform) {
        if self.state == State::Ground && matches!(c, ' '..='~' | '\u{a0}'..) {
            return perform.print(c);
        }
        let strings = matches!(self.state, State::Osc | State::DcsString);
        match c {
            '\x18' | '\x1a' | '\u{80}'..='\u{8f}' | '\u{91}'..='\u{97}' | '\u{99}' | '\u{9a}' => {
                self.end();
                perform.control(c);
            }
            '\u{9c}' | '\x1b' if strings => {
                perform.string(self.length);
                self.end();
                if c == '\x1b' {
                    self.begin(State::Escape, c);
                }
            }
            '\u{9c}' => self.end(),
            '\x1b' => self.begin(State::Escape, c),
            '\u{90}' => self.begin(State::DcsEntry, c),
            '\u{98}' | '\u{9e}' | '\u{9f}' => self.begin(State::Ignored, c),
            '\u{9b}' => self.begin(State::CsiEntry, c),
            '\u{9d}' => self.begin(State::Osc, c),
            _ => self.advance_within(c, perform),
        }
    }

    fn advance_within(&mut self, c: char, perform: &mut impl Perform) {
        match self.state {
            State::Ground => {
                if c < ' ' {
                    perform.control(c);
                }
            }
            State::Osc | State::DcsString | State::Ignored | State::DcsIgnore => {
                self.advance_string(c, perform);
            }
            State::DcsEntry | State::DcsParam | State::DcsIntermediate if c < ' ' => {}
            _ if c < ' ' => perform.control(c),
            _ if c == '\x7f' => {}
            _ => match u8::try_from(c) {
                Ok(byte) if byte.is_ascii() => self.advance_sequence(byte, perform),
                // A character that is not valid in a sequence ends it.
                _ if self.state == State::CsiIgnore => {}
                _ => self.end(),
            },
        }
    }

    fn advance_string(&mut self, c: char, perform: &mut impl Perform) {
        self.length += c.len_utf8();
        match (self.state, c) {
            (State::Osc, '\x07') => {
                perform.string(self.length);
                self.end();
            }
            (State::Ignored, '\u{a0}'..) => self.end(),
            _ => self.keep(c),
        }
    }

    fn advance_sequence(&mut self, byte: u8, perform: &mut impl Perform) {
        self.keep(char::from(byte));
        match (self.state, byte) {
            (State::Escape, b'[') => self.state = State::CsiEntry,
            (State::Escape, b']') => self.state = State::Osc,
            (State::Escape, b'P') => self.state = State::DcsEntry,
            (State::Escape, b'X' | b'^' | b'_') => self.state = State::Ignored,
            (State::Escape | State::EscapeIntermediate, 0x20..=0x2f) => {
                self.collect(byte, State::EscapeIntermediate);
            }
            (State::Escape | State::EscapeIntermediate, _) => {
                self.end();
                perform.escape(self.intermediates, byte);
            }
            (State::CsiIgnore, 0x40..) => self.end(),
            (State::CsiIgnore, _) => {}
            (State::CsiEntry | State::CsiParam | State::CsiIntermediate, 0x40..) => {
                self.end();
                perform.sequence(&self.params, self.intermediates, byte);
            }
            (State::DcsEntry | State::DcsParam | State::DcsIntermediate, 0x40..) => {
                self.state = State::DcsString;
            }
            (State::CsiEntry | State::CsiParam, b'0'..=b';') => {
                self.params.push(byte);
                self.state = State::CsiParam;
            }
            (State::DcsEntry | State::DcsParam, b'0'..=b';') => self.state = State::DcsParam,
            (State::CsiEntry, b'<'..=b'?') => self.collect(byte, State::CsiParam),
            (State::DcsEntry, b'<'..=b'?') => self.state = State::DcsParam,
            (State::CsiEntry | State::CsiParam | State::CsiIntermediate, 0x20..=0x2f) => {
                self.collect(byte, State::CsiIntermediate);
            }
            (State::DcsEntry | State::DcsParam | State::DcsIntermediate, 0x20..=0x2f) => {
                self.state = State::DcsIntermediate;
            }
            (State::CsiParam | State::CsiIntermediate, _) => self.state = State::CsiIgnore,
            _ => self.state = State::DcsIgnore,
        }
    }

    fn begin(&mut self, state: State, c: char) {
        self.state = state;
        self.params.clear();
        self.intermediates = 0;
        self.length = 0;
        self.pending.clear();
        self.keep(c);
    }

    fn end(&mut self) {
        self.state = State::Ground;
        self.pending.clear();
    }

    fn collect(&mut self, byte: u8, state: State) {
        self.intermediates = self.intermediates << 8 | u32::from(byte);
        self.state = state;
    }

    fn keep(&mut self, c: char) {
        if self.pending.len() + c.len_utf8() <= PENDING {
            self.pending.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

/// The characters of some bytes, each with the offset after it. U+FFFD replaces each invalid
/// sequence of bytes, as in browsers; an incomplete character at the end is left out.
pub(crate) fn characters(bytes: &[u8]) -> impl Iterator<Item = (usize, char)> {
    let mut end = 0;
    bytes.utf8_chunks().flat_map(move |chunk| {
        let begin = end;
        let valid = begin + chunk.valid().len();
        end = valid + chunk.invalid().len();
        let replaced = (!chunk.invalid().is_empty()
            && !is_cut(chunk.invalid(), end == bytes.len()))
        .then_some((end, char::REPLACEMENT_CHARACTER));
        chunk
            .valid()
            .char_indices()
            .map(move |(at, c)| (begin + at + c.len_utf8(), c))
            .chain(replaced)
    })
}

/// The incomplete UTF-8 character at the end.
pub(crate) fn cut_character(bytes: &[u8]) -> &[u8] {
    match bytes.utf8_chunks().last() {
        Some(chunk) if is_cut(chunk.invalid(), true) => chunk.invalid(),
        _ => &[],
    }
}

fn is_cut(invalid: &[u8], at_end: bool) -> bool {
    at_end && std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none())
}
