//! What a shell is told, and how its answer is told from the echo of that.
//!
//! The shell prints a mark before the command's output, and another with its exit code after it. Each
//! mark is printed from two halves, so it is nowhere in what is typed: neither in the echo, however a
//! line editor wraps it, nor in the trace of `set -x`.

use std::fmt::Write;

use uuid::Uuid;

/// Most bytes of the command in a line that is typed. The terminal's own line editing takes 4095 bytes.
const PIECE: usize = 120;

/// Most bytes of an exit code with the colon after it.
const CODE: usize = 4;

/// Words that ask for a user's name or password at the end of a line.
const LOGIN: [&str; 5] = ["login:", "username:", "user name:", "password:", "passphrase:"];

/// A command, and the answer so far.
#[derive(Debug)]
pub(super) struct Script {
    command: String,
    begin: Mark,
    end: Mark,
    stage: Stage,
    /// Output that is not told yet.
    rest: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// The echo.
    Echo,
    /// The line of the first mark.
    Begun,
    Output,
}

/// The output of the command that is new.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Answer {
    Output(Vec<u8>),
    /// The last, and the exit code.
    Ended(Vec<u8>, u8),
}

impl Answer {
    pub(super) fn output(&self) -> &[u8] {
        match self {
            Self::Output(output) | Self::Ended(output, _) => output,
        }
    }
}

/// Two random halves.
#[derive(Debug)]
struct Mark(String, String);

impl Mark {
    fn new() -> Self {
        let half = || Uuid::new_v4().simple().to_string().chars().take(8).collect();
        Self(half(), half())
    }

    fn printed(&self) -> Vec<u8> {
        format!("{}{}", self.0, self.1).into_bytes()
    }
}

impl Script {
    pub(super) fn new(command: &str) -> Self {
        let (begin, end) = (Mark::new(), Mark::new());
        let command = command.to_owned();
        Self { command, begin, end, stage: Stage::Echo, rest: Vec::new() }
    }

    /// The lines to type. The space before them keeps bash from remembering them, if it is set so.
    pub(super) fn lines(&self) -> Vec<String> {
        let (begin, end) = (&self.begin, &self.end);
        let mut lines = vec![format!(" printf '%s%s\\n' {} {}; (eval \" $(", begin.0, begin.1)];
        for piece in quoted(&self.command) {
            if let Some(line) = lines.last_mut() {
                let _ = write!(line, "printf '{piece}'");
            }
            lines.push(String::new());
        }
        // The last piece is on the line of the end.
        lines.pop();
        if let Some(line) = lines.last_mut() {
            let (one, two) = (&end.0, &end.1);
            // Twice, since a message of the kernel may cut one.
            let marks = format!("{one} {two} $?");
            let _ = write!(line, ")\") </dev/null; printf '%s%s%d:\\n' {marks} {marks}");
        }
        lines
    }

    /// Whether the shell has begun the command.
    pub(super) fn has_begun(&self) -> bool {
        self.stage != Stage::Echo
    }

    /// Output for the next call of [`Self::take`].
    pub(super) fn unread(&mut self) -> &mut Vec<u8> {
        &mut self.rest
    }

    /// Takes output; returns what the command printed of it.
    pub(super) fn take(&mut self, output: &[u8]) -> Answer {
        self.rest.extend_from_slice(output);
        if self.stage == Stage::Echo {
            let mark = self.begin.printed();
            match find(&self.rest, &mark) {
                Some(at) => {
                    self.rest.drain(..at + mark.len());
                    self.stage = Stage::Begun;
                }
                None => {
                    let excess = self.rest.len().saturating_sub(mark.len());
                    self.rest.drain(..excess);
                    return Answer::Output(Vec::new());
                }
            }
        }
        if self.stage == Stage::Begun {
            let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') else {
                return Answer::Output(Vec::new());
            };
            self.rest.drain(..=end);
            self.stage = Stage::Output;
        }
        self.take_output()
    }

    fn take_output(&mut self) -> Answer {
        let mark = self.end.printed();
        let mut from = 0;
        while let Some(at) = self.rest.get(from..).and_then(|rest| find(rest, &mark)) {
            let at = from + at;
            let code = self.rest.get(at + mark.len()..).unwrap_or_default();
            match code.iter().position(|byte| *byte == b':') {
                Some(colon) => {
                    let code = code.get(..colon).and_then(|code| std::str::from_utf8(code).ok());
                    if let Some(code) = code.and_then(|code| code.parse().ok()) {
                        let output = self.rest.drain(..at).collect();
                        return Answer::Ended(in_lines(output), code);
                    }
                }
                None if code.len() < CODE => return Answer::Output(self.take_to(at)),
                None => {}
            }
            from = at + 1;
        }
        let told = self.rest.len() - begun(&self.rest, &mark);
        Answer::Output(self.take_to(told))
    }

    /// Takes the output before this place, but for a carriage return whose line feed is missing.
    fn take_to(&mut self, at: usize) -> Vec<u8> {
        let cut = at > 0 && at == self.rest.len() && self.rest.last() == Some(&b'\r');
        in_lines(self.rest.drain(..at - usize::from(cut)).collect())
    }
}

/// The command in pieces that stand in single quotes as a format of `printf`. A line editor may give a
/// meaning to any other character, and history expansion gives one to `!`.
fn quoted(command: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for byte in command.bytes() {
        if pieces.last().is_some_and(|piece| piece.len() > PIECE) {
            pieces.push(String::new());
        }
        let Some(piece) = pieces.last_mut() else { continue };
        match byte {
            b'\'' | b'\\' | b'%' | b'!' => {
                let _ = write!(piece, "\\{byte:03o}");
            }
            // It would be an option.
            b'-' if piece.is_empty() => piece.push_str("\\055"),
            b' '..=b'~' => piece.push(char::from(byte)),
            _ => {
                let _ = write!(piece, "\\{byte:03o}");
            }
        }
    }
    pieces
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// How many bytes at the end may be the beginning of the mark.
fn begun(bytes: &[u8], mark: &[u8]) -> usize {
    let most = bytes.len().min(mark.len() - 1);
    (1..=most)
        .rev()
        .find(|length| bytes.ends_with(mark.get(..*length).unwrap_or_default()))
        .unwrap_or(0)
}

/// Undoes what the guest's terminal makes of line feeds.
fn in_lines(output: Vec<u8>) -> Vec<u8> {
    let mut lines = Vec::with_capacity(output.len());
    for byte in output {
        if byte == b'\n' && lines.last() == Some(&b'\r') {
            lines.pop();
        }
        lines.push(byte);
    }
    lines
}

/// Whether a line asks for a user's name or password.
pub(super) fn asks_for_login(line: &str) -> bool {
    let line = line.trim().to_ascii_lowercase();
    LOGIN.iter().any(|asks| line.ends_with(asks))
}

/// The last line of some output, without control sequences.
pub(super) fn last_line(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let mut line = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' => match chars.next() {
                Some('[') => {
                    chars.by_ref().find(|c| ('@'..='~').contains(c));
                }
                Some(']') => {
                    chars.by_ref().find(|c| matches!(c, '\x07' | '\x1b'));
                }
                _ => {}
            },
            '\n' => line.clear(),
            c if c.is_control() => {}
            c => line.push(c),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::process::Stdio;

    use proptest::prelude::*;

    use super::*;

    fn shells() -> Vec<&'static [&'static str]> {
        let all: [&[&str]; 4] = [&["sh"], &["bash"], &["dash"], &["busybox", "ash"]];
        let is_there = |shell: &&&[&str]| {
            let mut command = Command::new(shell[0]);
            command.args(&shell[1..]).args(["-c", ":"]).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        all.iter().filter(is_there).copied().collect()
    }

    /// What a shell makes of a command.
    fn run_by(shell: &[&str], command: &str) -> (String, u8) {
        let mut script = Script::new(command);
        let text = script.lines().join("\n") + "\n";
        let output = Command::new(shell[0]).args(&shell[1..]).args(["-c", &text]).output().unwrap();
        match script.take(&output.stdout) {
            Answer::Ended(printed, code) => (String::from_utf8(printed).unwrap(), code),
            Answer::Output(_) => panic!("{shell:?} {command:?} {output:?}"),
        }
    }

    #[test]
    fn every_shell_runs_the_command_as_it_is_and_says_how_it_ended() {
        let long = format!("echo {}", "x -y'z' ".repeat(300).replace('\'', "\""));
        for shell in shells() {
            for (command, printed, code) in [
                ("echo hello", "hello\n", 0),
                ("exit 3", "", 3),
                ("printf 'no newline'; false", "no newline", 1),
                ("echo \"it's\" 100% '\\n' \"$((1 + 1))\" `echo é`", "it's 100% \\n 2 é\n", 0),
                ("for i in 1 2\ndo\n\techo $i!\ndone", "1!\n2!\n", 0),
                ("cat <<EOF\na b\nEOF", "a b\n", 0),
                ("read line; echo \"$?$line\"", "1\n", 0),
                ("-nothing 2>/dev/null", "", 127),
            ] {
                // dash's echo reads escapes.
                if command.contains("100%") && *shell != ["bash"] {
                    continue;
                }
                assert_eq!(run_by(shell, command), (printed.into(), code), "{shell:?} {command:?}");
            }
            let words = "x -y\"z\" ".repeat(300).replace('"', "");
            assert_eq!(run_by(shell, &long).0.trim_end(), words.trim_end(), "{shell:?}");
        }
    }

    #[test]
    fn what_is_typed_holds_no_mark_and_nothing_that_a_line_editor_reads_as_a_key() {
        let script = Script::new(&"tab\there!\n'é'\x1b ".repeat(100));
        let lines = script.lines();
        for line in &lines {
            assert!(line.len() < 300 && line.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            assert!(!line.contains('!'));
        }
        let typed = lines.concat();
        for mark in [&script.begin, &script.end] {
            assert!(find(typed.as_bytes(), &mark.printed()).is_none());
            assert!(typed.contains(&format!("{} {}", mark.0, mark.1)));
        }
    }

    #[test]
    fn the_echo_the_prompt_and_the_marks_are_no_output() {
        let mut script = Script::new("true");
        let echo = script.lines().concat();
        let (begin, end) = (script.begin.printed(), script.end.printed());
        let wrapped = echo.as_bytes().chunks(76).collect::<Vec<_>>().join(&b"\r\n"[..]);
        let all = [
            &wrapped[..],
            b"\r\n\x1b[?2004l\r",
            &begin,
            b"\r\n\x1b[31mone\x1b[0m\r\ntwo\r\r\nthree",
            &end,
            b"42:\r\n# ",
        ]
        .concat();
        let printed = b"\x1b[31mone\x1b[0m\ntwo\r\nthree".to_vec();
        assert_eq!(script.take(&all), Answer::Ended(printed, 42));
    }

    #[test]
    fn login_prompts_are_told_from_shells() {
        for line in ["demo login: ", "Password:", "login:", "Username: ", "Enter passphrase: "] {
            assert!(asks_for_login(line), "{line}");
        }
        for line in ["~ # ", "root@demo:~# ", "last login: yesterday", ""] {
            assert!(!asks_for_login(line), "{line}");
        }
        assert_eq!(last_line(b"\r\n\x1b]0;t\x07\x1b[1mdemo\x1b[0m login: "), "demo login: ");
    }

    proptest! {
        #[test]
        fn output_in_pieces_is_the_same(
            output in r"([a-f0-9\r\n]{0,40}|\r\n){0,4}", code in any::<u8>(), size in 1..40_usize,
        ) {
            let mut script = Script::new("true");
            let answer = [
                &script.begin.printed()[..], b"\r\n", output.replace('\n', "\r\n").as_bytes(),
                &script.end.printed(), format!("{code}:\r\n").as_bytes(),
            ].concat();
            let mut printed = Vec::new();
            let mut ended = None;
            for piece in answer.chunks(size) {
                let answer = script.take(piece);
                printed.extend_from_slice(answer.output());
                if let Answer::Ended(_, code) = answer {
                    ended = Some(code);
                    break;
                }
            }
            prop_assert_eq!(String::from_utf8(printed).unwrap(), output);
            prop_assert_eq!(ended, Some(code));
        }
    }
}
