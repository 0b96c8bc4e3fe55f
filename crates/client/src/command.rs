//! The command line of the client's commands.

pub(crate) mod access;
pub(crate) mod script;

use std::fmt::Display;
use std::fmt::Formatter;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use clap::Subcommand;
use clap::ValueEnum;
use jiff::Timestamp;
use serialproxy_proto::api;
use serialproxy_proto::bounds::REASON;
use serialproxy_proto::id::SessionId;

use crate::settings::Settings;

/// Address of the API that commands call by default.
pub(crate) const API_URL: &str = "http://127.0.0.1:8774";

/// State directory whose admin token commands use by default.
pub(crate) const STATE_DIR: &str = "/var/lib/serialproxy";

/// The client's commands, to be flattened into the program's own.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the URL of a serial console
    #[command(after_help = "Examples:
  serialproxy get-serial-console demo serial
  serialproxy get-serial-console demo serial --port 1 --watch -f json

Open the URL in a browser. For a terminal, skip the URL and use `serialproxy connect`. The URL contains \
a secret: whoever has it can use the console.")]
    GetSerialConsole(Call<GetSerialConsole>),
    /// Print what is served, and a link that logs in to the servers page
    #[command(after_help = "Example:
  serialproxy status

The link is good once, for 10 minutes, and only the admin token gets one.")]
    Status(Call<NoArguments>),
    /// List the servers
    #[command(after_help = "Example:
  serialproxy servers -f json")]
    Servers(Call<NoArguments>),
    /// List who is attached to which console
    #[command(after_help = "Example:
  serialproxy sessions")]
    Sessions(Call<NoArguments>),
    /// End the session that is typing at a console, or any session by its id
    #[command(after_help = "Examples:
  serialproxy disconnect demo --port 1 --reason 'maintenance'
  serialproxy disconnect --session 3f0c2a52-6d0a-4b9a-9d0e-0a54e1a7c0de")]
    Disconnect(Call<Disconnect>),
    /// Attach this terminal to a serial console
    #[command(after_help = CONNECT_HELP)]
    Connect(Call<Connect>),
    /// Print the output of a serial console, from the oldest byte that is kept
    #[command(after_help = LOG_HELP)]
    Log(Call<Log>),
    /// Run a command in the shell at a serial console
    #[command(after_help = script::RUN_HELP)]
    Run(Call<script::Run>),
    /// Type at a serial console
    #[command(after_help = script::SEND_HELP)]
    Send(Call<script::Send>),
    /// Wait for output of a serial console
    #[command(after_help = script::EXPECT_HELP)]
    Expect(Call<script::Expect>),
    /// Send a break to a serial console
    #[command(after_help = "Example:
  serialproxy break demo --port 1

A break is a condition of a UART's line, not a byte; boot loaders and kernels use it to get attention. \
Virtio consoles and static lines have none: the command fails with 409.")]
    Break(Call<Port>),
    /// Send a magic SysRq to the kernel behind a serial console
    #[command(after_help = "Examples:
  serialproxy sysrq demo h        list the keys on the console
  serialproxy sysrq demo s        sync all file systems
  serialproxy sysrq demo b        reboot at once

The guest's kernel decides which keys it accepts (sysctl kernel.sysrq).")]
    Sysrq(Call<Sysrq>),
    /// Send a non-maskable interrupt to a server; many kernels write a crash dump
    #[command(after_help = "Example:
  serialproxy nmi demo")]
    Nmi(Call<Server>),
    /// Reset a server at once, without shutting it down
    #[command(after_help = "Example:
  serialproxy reset demo")]
    Reset(Call<Server>),
    /// Give serial ports on TCP to an existing libvirt domain
    #[command(after_help = "Examples:
  serialproxy adopt db1 --serial-ports 2
  serialproxy adopt db1 --restart
  serialproxy adopt db1 --undo

The rest of the domain's definition does not change. A running domain gets the ports at its next start; \
--restart stops and starts it now.")]
    Adopt(Call<Adopt>),
    /// Define and start a guest
    #[command(after_help = "Example:
  serialproxy boot demo --image demo --property serial_ports=2")]
    Boot(Call<Boot>),
    /// Start a server
    #[command(after_help = "Example:
  serialproxy start demo")]
    Start(Call<Server>),
    /// Shut down a server, and cut its power after a timeout
    #[command(after_help = "Examples:
  serialproxy stop demo --timeout 120
  serialproxy stop demo --force")]
    Stop(Call<Stop>),
    /// Ask a server to reboot, and reset it if it has not after 60 s
    #[command(after_help = "Example:
  serialproxy reboot demo")]
    Reboot(Call<Server>),
    /// Pause a server: its CPUs stop until `resume`
    #[command(after_help = "Example:
  serialproxy pause demo

The console stays connected. Input is delivered when the guest resumes.")]
    Pause(Call<Server>),
    /// Resume a paused server, or wake a suspended one
    #[command(after_help = "Example:
  serialproxy resume demo

If an I/O error paused the guest, fix its cause first, for example a full disk.")]
    Resume(Call<Server>),
    /// Delete a server that was made by `boot`: cut its power, and remove its disk
    #[command(after_help = "Example:
  serialproxy delete demo

It does not ask first. Guests that `boot` did not make are refused.")]
    Delete(Call<Server>),
    /// Print the audit trail: who did what, to which console or server, and from where
    #[command(after_help = AUDIT_HELP)]
    Audit(Call<Audit>),
    /// Create, list and revoke API tokens
    #[command(subcommand, after_help = access::TOKEN_HELP)]
    Token(access::TokenCommand),
    /// Add, list, change and remove local users, for sites without Keystone
    #[command(subcommand, after_help = access::USER_HELP)]
    User(access::UserCommand),
}

const CONNECT_HELP: &str = "Examples:
  serialproxy connect demo
  serialproxy connect demo --watch > boot.log
  serialproxy connect demo --type
  serialproxy connect demo --from start
  serialproxy connect demo --ask --reason 'the disk is full'
  echo uname | serialproxy connect demo

At the start of a line:
  ~.  leaves
  ~p  ask to type, or type if nobody is typing; if you are typing: stop typing, and let others
  ~g  let the person who asks type
  ~d  refuse, and keep typing
  ~f  take over from the person who is typing, if permitted; asks first
  ~w  list who is attached
  ~B  send a break
  ~S  followed by a letter or digit: send that magic SysRq
  ~r  type a stty command that tells the guest the size of this terminal
  ~s  show who types, the latency, the boot, and the address of the console
  ~?  show a menu: one letter chooses
  ~~  send ~
Within ssh, which has the same escape character, ~~. leaves the console and ~. ends ssh. Another \
character is chosen with --escape ^], none with --escape none. \
While watching, Ctrl-C leaves as well: nothing that is typed reaches the guest.

Where somebody else is typing, you watch, and ~p asks them to let you type. If that is you in another \
window, ~p uses the console here. With --type, the command exits with code 4 instead.

If the server is off, the command waits for it, so its boot can be watched from the first byte. After a lost \
connection, it retries for at least a minute, and resumes the session where it stopped. What is typed \
meanwhile is dropped, and so is what is typed while no guest is connected.

What is pasted goes as fast as a UART takes it (11.5 kB a second) and is never far ahead of the \
guest; Ctrl-C stops it and overtakes the rest.

If stdin is not a terminal, --type is the default. The bytes of stdin are sent at the speed of a UART too, \
without escapes, once the guest runs. At the end of stdin, the command exits when the guest has taken them \
and printed nothing for a second. It fails if another program holds the guest's port for 10 s. For an answer \
that takes longer, keep stdin open: (echo 'make'; sleep 60) | serialproxy connect demo

~/.config/serialproxy/client.toml holds your defaults; options override it:
  escape = \"^]\"
  backspace = \"ctrl-h\"
  newline = \"crlf\"
If neither sets a value, the setting of `[static] line` applies.

Notices go to stderr. Exit codes: 0 left, 1 failed or disconnected, 2 usage error, 3 not found, 4 busy.";

const LOG_HELP: &str = "Examples:
  serialproxy log demo > demo.log
  serialproxy log demo --port 1 --follow
  serialproxy log demo --from 4096

The bytes go to stdout as the guest printed them. A notice on stderr says how many bytes are missing \
because they are no longer kept.";

const AUDIT_HELP: &str = "Examples:
  serialproxy audit --server demo --since 2026-11-30T08:00:00Z
  serialproxy audit --user alice --follow
  serialproxy audit -f json > audit.jsonl

One line for each event, the oldest first. Administrators only. `serialproxy verify` checks that nobody \
changed the trail.";

/// A command's own arguments, and those that all commands have.
#[derive(Args, Debug)]
pub struct Call<T: Args> {
    /// The command's own.
    #[command(flatten)]
    pub(crate) command: T,
    /// Those of all commands.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Where the API is, who asks, and how answers are printed.
#[derive(Args, Debug)]
#[command(next_help_heading = "Options of all client commands")]
pub(crate) struct ClientArgs {
    /// Address of the API
    #[arg(long, value_name = "URL", env = "SERIALPROXY_API_URL")]
    #[arg(default_value = API_URL)]
    pub(crate) api_url: String,
    /// CA bundle (PEM) that verifies the API and the proxy, instead of the system's CA store
    #[arg(long, value_name = "FILE", env = "SERIALPROXY_CACERT")]
    pub(crate) cacert: Option<PathBuf>,
    /// Directory with the file admin-token, which is used if SERIALPROXY_TOKEN is not set
    #[arg(long, value_name = "DIR", default_value = STATE_DIR)]
    pub(crate) state_dir: PathBuf,
    /// Output format; json is the API's response
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Format {
    /// The API's object.
    Json,
    /// For people.
    Table,
}

/// A command that takes nothing of its own.
#[derive(Args, Debug)]
pub struct NoArguments {}

/// A command on one server.
#[derive(Args, Debug)]
pub struct Server {
    /// Name or UUID of the server
    pub(crate) server: String,
}

/// `get-serial-console`.
#[derive(Args, Debug)]
pub struct GetSerialConsole {
    /// Name or UUID of the server
    pub(crate) server: String,
    /// Type of the console: serial
    pub(crate) console_type: String,
    /// Index of the serial port
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) port: u8,
    /// Print a URL that only allows watching
    #[arg(long)]
    pub(crate) watch: bool,
    /// Print a URL even if the server is off
    #[arg(long)]
    pub(crate) wait: bool,
}

/// `disconnect`.
#[derive(Args, Debug)]
pub struct Disconnect {
    /// Name or UUID of the server whose typing session is disconnected
    #[arg(required_unless_present = "session")]
    pub(crate) server: Option<String>,
    /// Index of the serial port
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) port: u8,
    /// Session to end, as `sessions` lists it
    #[arg(long, value_name = "ID", conflicts_with_all = ["server", "port"])]
    pub(crate) session: Option<SessionId>,
    /// Reason, shown to the person whose session ends
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub(crate) reason: Option<String>,
}

fn reason(text: &str) -> Result<String, String> {
    match text.chars().count() > REASON {
        true => Err(format!("a reason has at most {REASON} characters")),
        false => Ok(text.to_owned()),
    }
}

/// `connect`.
#[derive(Args, Debug)]
pub struct Connect {
    /// Name or UUID of the server
    pub(crate) server: String,
    /// Index of the serial port
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) port: u8,
    /// Only watch: what you type is not sent
    #[arg(long)]
    pub(crate) watch: bool,
    /// Type, or exit with code 4 if somebody else is typing
    /// [default if stdin is not a terminal; otherwise a console that is in use is watched]
    #[arg(long = "type", conflicts_with_all = ["watch", "claim"])]
    pub(crate) types: bool,
    /// Take over from the person who is typing; they become a watcher
    #[arg(long, conflicts_with = "watch", group = "claim")]
    pub(crate) force: bool,
    /// Ask the person who is typing to let you type, and watch until then
    #[arg(long, conflicts_with = "watch", group = "claim")]
    pub(crate) ask: bool,
    /// Reason, shown to the person who is typing
    #[arg(long, value_name = "TEXT", requires = "claim", value_parser = reason)]
    pub(crate) reason: Option<String>,
    /// Where the output begins: start (the oldest byte kept), an offset, or live (now)
    /// [default: the current screen, or live if stdin is not a terminal]
    #[arg(long, value_name = "start|N|live")]
    pub(crate) from: Option<Begin>,
    /// Send pastes and stdin as fast as the port accepts them, for a port that is not a UART
    #[arg(long)]
    pub(crate) no_pace: bool,
    /// What keys send.
    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// Where a console's output begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Begin {
    /// At the first byte that is kept.
    Start,
    /// At this offset.
    Offset(u64),
    /// At what comes next.
    Live,
}

impl FromStr for Begin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "start" => Ok(Self::Start),
            "live" => Ok(Self::Live),
            _ => text.parse().map(Self::Offset).map_err(|_| "expected start, live or an offset"),
        }
    }
}

impl Display for Begin {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::Offset(offset) => offset.fmt(f),
            Self::Live => f.write_str("live"),
        }
    }
}

/// `log`.
#[derive(Args, Debug)]
pub struct Log {
    /// Name or UUID of the server
    pub(crate) server: String,
    /// Index of the serial port
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) port: u8,
    /// Keep printing new output until Ctrl-C
    #[arg(long)]
    pub(crate) follow: bool,
    /// Offset of the first byte, or start for the oldest byte that is kept
    #[arg(long, value_name = "N|start", default_value = "start")]
    #[arg(value_parser = offset_or_start)]
    pub(crate) from: Begin,
}

fn offset_or_start(text: &str) -> Result<Begin, &'static str> {
    match text.parse() {
        Ok(Begin::Live) | Err(_) => Err("expected an offset or start"),
        Ok(begin) => Ok(begin),
    }
}

/// `audit`.
#[derive(Args, Debug)]
pub struct Audit {
    /// Only events of this server, by name or UUID
    #[arg(long, value_name = "SERVER")]
    pub(crate) server: Option<String>,
    /// Only events of this user
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Only events from this time on (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Timestamp>,
    /// Keep printing new events until Ctrl-C
    #[arg(long)]
    pub(crate) follow: bool,
}

/// A command on one serial port.
#[derive(Args, Debug)]
pub struct Port {
    /// Name or UUID of the server
    pub(crate) server: String,
    /// Index of the serial port
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) port: u8,
}

/// `sysrq`.
#[derive(Args, Debug)]
pub struct Sysrq {
    /// Name or UUID of the server
    pub(crate) server: String,
    /// The command key: a letter or digit
    #[arg(value_parser = sysrq_key)]
    pub(crate) key: char,
    /// Index of the serial port
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) port: u8,
}

fn sysrq_key(text: &str) -> Result<char, &'static str> {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(key), None) if key.is_ascii_alphanumeric() => Ok(key),
        _ => Err("expected one letter or digit, for example h"),
    }
}

/// `adopt`.
#[derive(Args, Debug)]
pub struct Adopt {
    /// Name or UUID of the domain
    pub(crate) domain: String,
    /// Number of serial ports [default: as many as the domain has, at least 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=4))]
    pub(crate) serial_ports: Option<u8>,
    /// Stop and start a running domain, so that it gets the ports now
    #[arg(long)]
    pub(crate) restart: bool,
    /// Restore the serial ports that the domain had before
    #[arg(long, conflicts_with_all = ["serial_ports", "restart"])]
    pub(crate) undo: bool,
}

/// `boot`.
#[derive(Args, Debug)]
pub struct Boot {
    /// Name of the new server
    pub(crate) name: String,
    /// Image to boot
    #[arg(long)]
    pub(crate) image: String,
    /// Image property to add to the image's own, or to replace one of them
    #[arg(long = "property", value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) properties: Vec<(String, String)>,
    /// Extra spec of the flavor, for example hw:serial_port_count=2
    #[arg(long = "flavor-property", value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) flavor_properties: Vec<(String, String)>,
    /// Host to run it on; required where several hosts of a cluster have libvirt
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Option<String>,
}

/// `stop`.
#[derive(Args, Debug)]
pub struct Stop {
    /// Name or UUID of the server
    pub(crate) server: String,
    /// Time that the server has to shut down by itself
    #[arg(long, value_name = "SECONDS", default_value_t = 60, conflicts_with = "force")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=api::Stop::MOST_SECONDS))]
    pub(crate) timeout: u64,
    /// Cut the power at once
    #[arg(long)]
    pub(crate) force: bool,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.into(), value.into())),
        _ => Err("expected KEY=VALUE, for example serial_ports=2".into()),
    }
}

#[cfg(test)]
mod tests;
