//! Reads a password from the person at the terminal, without showing it.

use std::fs::File;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;

use rustix::termios::LocalModes;
use rustix::termios::OptionalActions;
use rustix::termios::Termios;
use rustix::termios::isatty;
use rustix::termios::tcgetattr;
use rustix::termios::tcsetattr;
use serialproxy_proto::identity::Password;

use crate::failure::Failure;

/// The longest password in UTF-8 and the end of its line, in bytes.
const MOST: u64 = 4098;

/// A new password: typed twice if stdin is a terminal, otherwise the first line of stdin.
pub(crate) fn new(user: &str) -> Result<Password, Failure> {
    let password = if isatty(rustix::stdio::stdin()) {
        let mut quiet = Quiet::enter()?;
        let password = quiet.ask(&format!("Password for {user}: "))?;
        if quiet.ask("Repeat the password: ")? != password {
            return Err(Failure::Password("the passwords differ"));
        }
        password
    } else {
        first_line()?
    };
    let password = Password::from_person(password);
    if password.will_do() {
        return Ok(password);
    }
    Err(Failure::Password("a password has 8 to 1024 characters"))
}

fn first_line() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().lock().take(MOST).read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// A terminal that neither shows keys nor turns them into signals: a signal that ended the program
/// would leave the terminal in this mode.
struct Quiet {
    terminal: BufReader<File>,
    before: Termios,
}

impl Quiet {
    fn enter() -> io::Result<Self> {
        let terminal = File::open("/dev/stdin")?;
        let before = tcgetattr(&terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        tcsetattr(&terminal, OptionalActions::Flush, &quiet)?;
        Ok(Self { terminal: BufReader::new(terminal), before })
    }

    fn ask(&mut self, prompt: &str) -> Result<String, Failure> {
        let mut stderr = io::stderr().lock();
        write!(stderr, "{prompt}")?;
        let typed = self.line();
        writeln!(stderr)?;
        typed
    }

    /// The input up to the line end, edited as a terminal would edit it.
    fn line(&mut self) -> Result<String, Failure> {
        let mut typed = Vec::new();
        for byte in self.terminal.by_ref().take(MOST).bytes() {
            match byte? {
                b'\r' | b'\n' => break,
                // Ctrl-C and Ctrl-D.
                0x03 | 0x04 => return Err(Failure::Password("canceled")),
                0x08 | 0x7f => remove_last(&mut typed),
                // Ctrl-U.
                0x15 => typed.clear(),
                byte => typed.push(byte),
            }
        }
        String::from_utf8(typed).map_err(|_| Failure::Password("it is not UTF-8"))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal.get_ref(), OptionalActions::Flush, &self.before);
    }
}

/// Removes the last character, which in UTF-8 may be several bytes.
fn remove_last(typed: &mut Vec<u8>) {
    while typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backspace_removes_a_character_and_not_a_byte_of_it() {
        let mut typed = "aä€".as_bytes().to_vec();
        for left in ["aä", "a", "", ""] {
            remove_last(&mut typed);
            assert_eq!(typed, left.as_bytes());
        }
    }
}
