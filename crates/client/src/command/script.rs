//! The command line of `run`, `send` and `expect`.

use clap::Args;
use serialproxy_proto::script::PATTERN;
use serialproxy_proto::script::USUAL;

use super::Begin;

/// The longest time that scripts may give, in seconds: a day.
const DAY: u64 = 86_400;

pub(super) const RUN_HELP: &str = "Examples:
  serialproxy run demo 'uname -r'
  serialproxy run demo --timeout 3600 'cd /src && make' > make.log
  serialproxy run demo \"$(cat script.sh)\"

The port must be at the prompt of a shell: sh, bash, dash or busybox's ash. At a login prompt nothing is \
typed, and the command fails. Of what the guest prints, stdout gets what the command printed, colors \
included, and neither the echo nor the prompt. It also gets kernel messages that appear on the port meanwhile.

The command runs in a subshell without stdin, so it changes nothing of the shell: no directory, no \
variable, no terminal setting. bash keeps it in its history unless HISTCONTROL has ignorespace. \
While it runs, others can watch, and a request to type is refused. If you press Ctrl-C, or the timeout \
expires, the command presses Ctrl-C in the guest.

Exit code: the command's. Where serialproxy fails, it says so on stderr, and the code is
  1  failed: a login prompt, no shell, no end in time, lost connection or output, ended by a signal
  2  usage error    3  not found    4  someone else is typing, or took over";

pub(super) const SEND_HELP: &str = "Examples:
  serialproxy send demo root
  serialproxy send demo --no-enter 'boot'
  printf '\\003' | serialproxy send demo -

TEXT is typed, and then Enter. With -, stdin is typed as it is, up to 64 KiB; more goes with \
`serialproxy connect`. Prints the offset of the output from which on the echo and the answer come, for \
`serialproxy expect --from`.

Exit codes: 0 all was typed, 1 failed, 2 usage error, 3 not found, 4 someone else is typing. A failure \
says how many bytes were typed before it.";

pub(super) const EXPECT_HELP: &str = "Examples:
  serialproxy expect demo --regex 'login:' --timeout 60
  serialproxy expect demo --text 'Kernel panic' --from start --timeout 0
  at=$(serialproxy send demo root) && serialproxy expect demo --regex '^Password:' --from \"$at\"

Waits until the output matches, prints what matched, and ends. Colors and other control sequences are no \
part of the text, and a line that the terminal wraps at 80 columns is one line. ^ and $ match at the \
beginning and the end of a line. A match has at most 4096 characters. Nothing is typed, so it works while \
others type, and on a server that is off.

Exit codes: 0 it matched, 1 no match in time or failed, 2 usage error, 3 not found.";

/// `run`.
#[derive(Args, Debug)]
pub struct Run {
    /// Name or UUID of the server
    pub(crate) server: String,
    /// Command for the guest's shell; it may have several lines
    #[arg(value_parser = command)]
    pub(crate) command: String,
    /// Index of the serial port
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) port: u8,
    /// Time that the command has
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=DAY))]
    pub(crate) timeout: u64,
}

/// `send`.
#[derive(Args, Debug)]
pub struct Send {
    /// Name or UUID of the server
    pub(crate) server: String,
    /// Text to type, or - for stdin
    #[arg(allow_hyphen_values = true)]
    pub(crate) text: String,
    /// Index of the serial port
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) port: u8,
    /// Do not press Enter after TEXT
    #[arg(long)]
    pub(crate) no_enter: bool,
}

/// `expect`.
#[derive(Args, Debug)]
pub struct Expect {
    /// Name or UUID of the server
    pub(crate) server: String,
    /// Regular expression (the syntax of Rust's crate regex) to wait for
    #[arg(long, value_name = "REGEX", required_unless_present = "text", conflicts_with = "text")]
    #[arg(value_parser = pattern)]
    pub(crate) regex: Option<String>,
    /// Text to wait for
    #[arg(long, value_name = "TEXT", value_parser = pattern)]
    pub(crate) text: Option<String>,
    /// Index of the serial port
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) port: u8,
    /// How long to wait; 0 only looks at what is there
    #[arg(long, value_name = "SECONDS", default_value_t = USUAL)]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=DAY))]
    pub(crate) timeout: u64,
    /// Where the output begins: live (now), start (the oldest byte kept), or an offset
    #[arg(long, value_name = "live|start|N", default_value = "live")]
    pub(crate) from: Begin,
}

/// The longest command, in bytes. It is typed at the speed of a UART.
const COMMAND: usize = 16 * 1024;

fn command(text: &str) -> Result<String, String> {
    match text.len() > COMMAND || text.trim().is_empty() || text.contains('\0') {
        true => Err(format!("a command has 1 to {COMMAND} bytes")),
        false => Ok(text.to_owned()),
    }
}

fn pattern(text: &str) -> Result<String, String> {
    match text.is_empty() || text.len() > PATTERN {
        true => Err(format!("a pattern has 1 to {PATTERN} bytes")),
        false => Ok(text.to_owned()),
    }
}
