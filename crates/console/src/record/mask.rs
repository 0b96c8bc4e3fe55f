//! Which part of a session's input is recorded: what the guest echoes, so no passwords. No I/O, no
//! clock.
//!
//! Input is divided into runs: the characters between two control characters, and each control
//! character by itself. A run is recorded if the next live output after its first byte begins with
//! the whole run, in one piece and in time. If the guest prints anything else there, only the
//! length of the run is recorded: letters that a guest happens to print must not reveal a password.

use std::collections::VecDeque;
use std::time::Duration;

/// How long to wait for an echo.
const ECHO: Duration = Duration::from_secs(2);

/// Most bytes that wait for their echo.
const WAITING: usize = 64 * 1024;

/// Most bytes of a run; longer ones are divided.
const RUN: usize = 4096;

/// The result for typed bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Typed {
    /// They were echoed.
    Echoed(Vec<u8>),
    /// This many bytes were not echoed, or it is in doubt.
    Hidden(u64),
}

impl Typed {
    /// The number of bytes.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Echoed(bytes) => bytes.len() as u64,
            Self::Hidden(bytes) => *bytes,
        }
    }
}

/// Typed bytes between the keyboard and their echo.
#[derive(Debug, Default)]
pub(super) struct Mask {
    /// Bytes that are not echoed yet, with the time when they were typed; no part is empty.
    waiting: VecDeque<(Duration, VecDeque<u8>)>,
    /// The number of these bytes.
    length: usize,
    /// The echoed part of the present run.
    run: Vec<u8>,
    /// Whether the present run is in doubt.
    in_doubt: bool,
    /// Bytes that may still follow as part of the last control character's echo.
    tail: &'static [u8],
    settled: Vec<Typed>,
}

impl Mask {
    /// Input of the session.
    pub(super) fn typed(&mut self, at: Duration, bytes: &[u8]) {
        self.expire(at);
        for part in bytes.chunks(WAITING) {
            self.length += part.len();
            self.waiting.push_back((at, part.iter().copied().collect()));
            while self.length > WAITING {
                self.give_up();
            }
        }
        self.skip_doubtful();
    }

    /// Output of the guest.
    pub(super) fn shown(&mut self, at: Duration, bytes: &[u8]) {
        self.expire(at);
        for byte in bytes {
            if self.is_idle() {
                return;
            }
            self.see(*byte);
        }
    }

    /// Output is missing, possibly with echoes.
    pub(super) fn missed(&mut self) {
        while self.next().is_some() {
            self.give_up();
        }
        self.doubt();
    }

    /// There is no more input or output.
    pub(super) fn finish(&mut self) {
        if self.next().is_some_and(|next| !next.is_ascii_control()) {
            self.doubt();
        }
        self.reveal();
        self.missed();
    }

    /// The results since the last call, in the order of the input.
    pub(super) fn settled(&mut self) -> Vec<Typed> {
        std::mem::take(&mut self.settled)
    }

    /// Whether output can be ignored.
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.run.is_empty() && self.tail.is_empty()
    }

    fn see(&mut self, printed: u8) {
        let tail = std::mem::take(&mut self.tail);
        if let Some(rest) = tail.strip_prefix(&[printed]) {
            self.tail = rest;
            return;
        }
        while let Some(next) = self.next() {
            if begins_echo(next, printed) {
                return self.echoed(next);
            }
            self.give_up();
        }
        self.doubt();
    }

    /// The first waiting byte was echoed.
    fn echoed(&mut self, byte: u8) {
        self.pop();
        if byte.is_ascii_control() {
            self.reveal();
            self.settle(Typed::Echoed(vec![byte]));
            self.tail = tail_of(byte);
        } else {
            self.run.push(byte);
            if self.run.len() >= RUN {
                self.reveal();
            }
        }
    }

    /// Hides the first waiting byte, and its run.
    fn give_up(&mut self) {
        let Some(byte) = self.pop() else { return };
        if byte.is_ascii_control() {
            match byte {
                // The echo of a line continues with its end, so what looked like the echo was other
                // output.
                b'\r' | b'\n' => self.doubt(),
                // A Tab or an arrow has no echo of its own; the run before it was echoed
                // completely.
                _ => self.reveal(),
            }
            self.in_doubt = false;
        } else {
            self.doubt();
            self.in_doubt = true;
        }
        self.settle(Typed::Hidden(1));
        self.skip_doubtful();
    }

    /// Hides the waiting bytes of a run in doubt.
    fn skip_doubtful(&mut self) {
        while self.in_doubt
            && let Some(next) = self.next()
        {
            if next.is_ascii_control() {
                self.in_doubt = false;
            } else {
                self.pop();
                self.settle(Typed::Hidden(1));
            }
        }
    }

    fn expire(&mut self, now: Duration) {
        while self.waiting.front().is_some_and(|(typed, _)| *typed + ECHO < now) {
            self.give_up();
        }
    }

    fn next(&self) -> Option<u8> {
        self.waiting.front()?.1.front().copied()
    }

    fn pop(&mut self) -> Option<u8> {
        let (_, part) = self.waiting.front_mut()?;
        let byte = part.pop_front();
        if part.is_empty() {
            self.waiting.pop_front();
        }
        self.length -= usize::from(byte.is_some());
        byte
    }

    fn reveal(&mut self) {
        let run = std::mem::take(&mut self.run);
        self.settle(Typed::Echoed(run));
    }

    /// Marks the present run, if any, as doubtful.
    fn doubt(&mut self) {
        let run = std::mem::take(&mut self.run);
        self.in_doubt |= !run.is_empty();
        self.settle(Typed::Hidden(run.len() as u64));
    }

    fn settle(&mut self, typed: Typed) {
        match (self.settled.last_mut(), typed) {
            (_, Typed::Hidden(0)) => {}
            (_, Typed::Echoed(bytes)) if bytes.is_empty() => {}
            (Some(Typed::Hidden(before)), Typed::Hidden(bytes)) => *before += bytes,
            (Some(Typed::Echoed(before)), Typed::Echoed(bytes)) => before.extend(bytes),
            (_, typed) => self.settled.push(typed),
        }
    }
}

/// Whether the echo of a typed byte begins with `printed`. A terminal driver, or a device that
/// sends everything back, echoes carriage returns and line feeds as a new line, and other control
/// characters as a caret and a letter.
fn begins_echo(typed: u8, printed: u8) -> bool {
    match typed {
        b'\r' | b'\n' => matches!(printed, b'\r' | b'\n'),
        0x08 | 0x7f => printed == 0x08 || printed == typed,
        _ if typed.is_ascii_control() => printed == b'^' || printed == typed,
        _ => printed == typed,
    }
}

/// The bytes that may follow the first byte of a control character's echo.
fn tail_of(typed: u8) -> &'static [u8] {
    /// The letters after the carets.
    const LETTERS: &[u8; 32] = b"@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_";
    match typed {
        b'\r' | b'\n' => b"\n",
        0x08 | 0x7f => b" \x08",
        _ => LETTERS.get(usize::from(typed)).map_or(&[], std::slice::from_ref),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SOON: Duration = Duration::from_millis(10);

    /// The recorded input of a dialogue in which `>` marks input and `<` output.
    fn recorded(talk: &[&str]) -> Vec<Typed> {
        let (mut mask, mut at) = (Mask::default(), Duration::ZERO);
        for part in talk {
            at += SOON;
            match part.split_at(1) {
                (">", typed) => mask.typed(at, typed.as_bytes()),
                (_, printed) => mask.shown(at, printed.as_bytes()),
            }
        }
        mask.finish();
        mask.settled()
    }

    fn echoed(text: &str) -> Typed {
        Typed::Echoed(text.into())
    }

    #[test]
    fn a_command_is_recorded_and_a_password_is_counted() {
        let talk = [
            "<login: ",
            ">root\r",
            "<root\r\n",
            "<Password: ",
            ">hunter2\r",
            "<\r\n",
            "<Welcome\r\n# ",
            ">ls\r",
            "<ls\r\nfile\r\n# ",
        ];
        let expected = [echoed("root\r"), Typed::Hidden(7), echoed("\rls\r")];
        assert_eq!(recorded(&talk), expected);
    }

    #[test]
    fn keys_are_recorded_as_they_are_echoed_one_by_one() {
        let talk =
            [">l", "<l", ">s", "<s", ">\r", "<\r\nfile\r\n# ", ">p", ">w", "<pw", ">d", "<d"];
        assert_eq!(recorded(&talk), [echoed("ls\rpwd")]);
    }

    #[test]
    fn control_characters_are_echoed_as_a_terminal_does_or_as_they_are() {
        let talk = [">lx\x7fs\x03", "<lx\x08 \x08s^C", ">a\r", "<a\r", ">b\t", "<b\t", "<^"];
        assert_eq!(recorded(&talk), [echoed("lx\x7fs\x03a\rb\t")]);
        assert_eq!(recorded(&[">\x1b[A", "<ls"]), [Typed::Hidden(3)]);
        assert_eq!(recorded(&[">\x1b[A", "<^[[A"]), [echoed("\x1b[A")]);
    }

    #[test]
    fn letters_of_a_password_that_the_guest_happens_to_print_tell_nothing_of_it() {
        let keys: Vec<String> = "hunter2".chars().map(|key| format!(">{key}")).collect();
        for noise in ["<h", "<hunger", "<hunter", "<h u n t e r 2", "<xhunter2", "<the unter 2"] {
            // Printed after each key.
            for after in 0..keys.len() {
                let mut talk: Vec<&str> = keys.iter().map(String::as_str).collect();
                talk.insert(after + 1, noise);
                talk.extend([">\r", "<\r\n"]);
                assert_eq!(recorded(&talk), [Typed::Hidden(7), echoed("\r")], "{noise} {after}");
            }
        }
    }

    #[test]
    fn a_password_with_which_the_next_output_begins_is_counted() {
        let talk = [">ssh admin@sw\radmin\r", "<ssh admin@sw\r\nadmin@sw's password: ", "<\r\n"];
        assert_eq!(recorded(&talk), [echoed("ssh admin@sw\r"), Typed::Hidden(6)]);
        assert_eq!(recorded(&[">Password\r", "<Password: "]), [Typed::Hidden(9)]);
    }

    #[test]
    fn an_echo_that_comes_late_or_may_be_missing_counts_as_none() {
        let mut mask = Mask::default();
        mask.typed(Duration::ZERO, b"su");
        mask.shown(ECHO + SOON, b"su");
        assert_eq!(mask.settled(), [Typed::Hidden(2)]);
        mask.typed(ECHO + SOON, b"\rls");
        mask.missed();
        mask.shown(ECHO + SOON, b"ls");
        mask.typed(ECHO + SOON, b"\r");
        mask.shown(ECHO + SOON, b"\r\n");
        assert_eq!(mask.settled(), [Typed::Hidden(3), echoed("\r")]);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut mask = Mask::default();
        mask.typed(SOON, &vec![b'\r'; 3 * WAITING]);
        assert_eq!(mask.length, WAITING);
        for _ in 0..10 * RUN {
            mask.typed(SOON, b"\rx");
            mask.shown(SOON, b"\rx");
        }
        assert!(mask.run.len() <= RUN && mask.length <= WAITING);
    }

    proptest! {
        #[test]
        fn each_byte_is_either_recorded_as_it_was_typed_or_counted(
            talk in proptest::collection::vec((any::<bool>(), "[ab\r\x03]{0,6}", 0..3_u64), 0..30),
        ) {
            let (mut mask, mut at, mut typed) = (Mask::default(), Duration::ZERO, Vec::new());
            for (types, text, seconds) in &talk {
                at += Duration::from_secs(*seconds);
                if *types {
                    typed.extend_from_slice(text.as_bytes());
                    mask.typed(at, text.as_bytes());
                } else {
                    mask.shown(at, text.as_bytes());
                }
            }
            mask.finish();
            let mut at = 0;
            for part in mask.settled() {
                match part {
                    Typed::Echoed(bytes) => {
                        prop_assert_eq!(&typed[at..at + bytes.len()], &bytes[..]);
                        at += bytes.len();
                    }
                    Typed::Hidden(bytes) => at += usize::try_from(bytes).unwrap(),
                }
            }
            prop_assert_eq!(at, typed.len());
            prop_assert_eq!(mask.length, 0);
        }
    }
}
