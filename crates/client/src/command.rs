//! The command line of the client's commands.

use std::fmt::Display;
use std::fmt::Formatter;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use clap::Subcommand;
use clap::ValueEnum;
use serialproxy_proto::api;
use serialproxy_proto::bounds::REASON;
use serialproxy_proto::id::SessionId;

use crate::access;
use crate::settings::Settings;

/// The client's commands, to be flattened into the program's own.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the URL of a serial console
    #[command(after_help = "Examples:
  serialproxy get-serial-console demo serial
  serialproxy get-serial-console demo serial --port 1 --watch -f json

The URL opens in a browser, and `serialproxy connect` does without it. It holds a secret: whoever
has the URL has the console.")]
    GetSerialConsole(Call<GetSerialConsole>),
    /// List the servers
    #[command(after_help = "Example:
  serialproxy servers -f json")]
    Servers(Call<NoArguments>),
    /// List who is attached to which console
    #[command(after_help = "Example:
  serialproxy sessions")]
    Sessions(Call<NoArguments>),
    /// End the session that writes to a console, or any session by its id
    #[command(after_help = "Examples:
  serialproxy disconnect demo --port 1 --reason 'maintenance'
  serialproxy disconnect --session 3f0c2a52-6d0a-4b9a-9d0e-0a54e1a7c0de")]
    Disconnect(Call<Disconnect>),
    /// Attach this terminal to a serial console
    #[command(after_help = CONNECT_HELP)]
    Connect(Call<Connect>),
    /// Print what a serial console printed, from the first byte that is kept on
    #[command(after_help = LOG_HELP)]
    Log(Call<Log>),
    /// Send a break to a serial console
    #[command(after_help = "Example:
  serialproxy break demo --port 1

A break is no byte: boot loaders and kernels take it as a call for attention. 409 where the port has
none, as virtio consoles and static lines.")]
    Break(Call<Port>),
    /// Send a magic SysRq to the kernel behind a serial console
    #[command(after_help = "Examples:
  serialproxy sysrq demo h        lists the keys on the console
  serialproxy sysrq demo s        writes all file systems back
  serialproxy sysrq demo b        reboots at once

The guest decides which keys it obeys (sysctl kernel.sysrq).")]
    Sysrq(Call<Sysrq>),
    /// Send a server a non-maskable interrupt, which makes many kernels write a crash dump
    #[command(after_help = "Example:
  serialproxy nmi demo")]
    Nmi(Call<Server>),
    /// Press a server's reset button: nothing is shut down first
    #[command(after_help = "Example:
  serialproxy reset demo")]
    Reset(Call<Server>),
    /// Give an existing libvirt domain serial ports that this proxy serves
    #[command(after_help = "Examples:
  serialproxy adopt db1 --serial-ports 2
  serialproxy adopt db1 --restart
  serialproxy adopt db1 --undo

The rest of the domain's definition stays as it is. A domain that runs has the ports from its next
start on; --restart stops and starts it now.")]
    Adopt(Call<Adopt>),
    /// Define and start a guest
    #[command(after_help = "Example:
  serialproxy boot demo --image demo --property serial_ports=2")]
    Boot(Call<Boot>),
    /// Start a server
    #[command(after_help = "Example:
  serialproxy start demo")]
    Start(Call<Server>),
    /// Shut a server down, and cut its power when that takes too long
    #[command(after_help = "Examples:
  serialproxy stop demo --timeout 120
  serialproxy stop demo --force")]
    Stop(Call<Stop>),
    /// Reboot a server
    #[command(after_help = "Example:
  serialproxy reboot demo")]
    Reboot(Call<Server>),
    /// Stop a server's CPUs: it stays as it is until `resume`
    #[command(after_help = "Example:
  serialproxy pause demo

The console stays connected. What is typed meanwhile waits for the guest.")]
    Pause(Call<Server>),
    /// Let a paused server go on, or wake one that sleeps
    #[command(after_help = "Example:
  serialproxy resume demo

A guest that an I/O error paused stops again unless its cause is gone: look for a full disk first.")]
    Resume(Call<Server>),
    /// Delete a server that `boot` made
    #[command(after_help = "Example:
  serialproxy delete demo")]
    Delete(Call<Server>),
    /// Make, list and revoke API tokens, each of a project and a role
    #[command(subcommand, after_help = access::TOKEN_HELP)]
    Token(access::TokenCommand),
    /// Add, list and remove local users, for sites without Keystone
    #[command(subcommand, after_help = access::USER_HELP)]
    User(access::UserCommand),
}

const CONNECT_HELP: &str = "Examples:
  serialproxy connect demo
  serialproxy connect demo --watch > boot.log
  serialproxy connect demo --from start
  serialproxy connect demo --ask --reason 'the disk is full, I look'
  echo uname | serialproxy connect demo

At the start of a line:
  ~.  leaves
  ~p  asks to write; whoever writes gives it back with it
  ~g  gives the console to who asks to write, ~d keeps it
  ~f  takes over from who writes, if you may; asks first
  ~w  lists who is attached
  ~B  sends a break
  ~s  and a letter or digit: sends that magic SysRq
  ~r  types stty, so that the guest knows the size of this terminal
  ~?  lists these
  ~~  sends ~
Within ssh, which has the same escape character, ~~. leaves the console and ~. ends ssh. Another
character is chosen with --escape ^], none with --escape none.
While watching, Ctrl-C leaves as well: nothing that is typed reaches the guest.

A server that is off is waited for, so its boot can be watched from the first byte. A connection
that is lost comes back by itself for a minute at least, and goes on where it was; what is typed
meanwhile is dropped, and so is what is typed while no guest is connected.

What is pasted goes as fast as a UART takes it (11.5 kB a second) and is never far ahead of the
guest; Ctrl-C stops it and overtakes the rest.

Where stdin is not a terminal, its bytes are sent in the same way, without escapes, once the guest
runs; at its end the command leaves when the guest has taken them and printed nothing for a second.
It fails where another program holds the guest's port for 10 s.
For an answer that takes longer, keep stdin open: (echo 'make'; sleep 60) | serialproxy connect demo

~/.config/serialproxy/client.toml keeps what you always want, and options go before it:
  escape = \"^]\"
  backspace = \"ctrl-h\"
  newline = \"crlf\"
What a static line wants holds where neither says anything.

Notices go to stderr. Exit codes: 0 left, 1 failed or disconnected, 2 usage, 3 not found, 4 busy.";

const LOG_HELP: &str = "Examples:
  serialproxy log demo > demo.log
  serialproxy log demo --port 1 --follow
  serialproxy log demo --from 4096

The bytes go to stdout as the guest printed them. What is no longer kept is said on stderr, never
passed over in silence.";

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
    #[arg(default_value = "http://127.0.0.1:8774")]
    pub(crate) api_url: String,
    /// Certificates of those who may vouch for the API and the proxy, in place of the system's; a
    /// PEM file
    #[arg(long, value_name = "FILE", env = "SERIALPROXY_CACERT")]
    pub(crate) cacert: Option<PathBuf>,
    /// Directory whose admin-token is used where SERIALPROXY_TOKEN is not set
    #[arg(long, value_name = "DIR", default_value = "/var/lib/serialproxy")]
    pub(crate) state_dir: PathBuf,
    /// How to print the answer; json is the API's own object
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
    /// A URL that may only watch
    #[arg(long)]
    pub(crate) watch: bool,
    /// Also for a server that is off
    #[arg(long)]
    pub(crate) wait: bool,
}

/// `disconnect`.
#[derive(Args, Debug)]
pub struct Disconnect {
    /// Name or UUID of the server whose writer is disconnected
    #[arg(required_unless_present = "session")]
    pub(crate) server: Option<String>,
    /// Index of the serial port
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) port: u8,
    /// Session to end, as `sessions` lists it
    #[arg(long, value_name = "ID", conflicts_with_all = ["server", "port"])]
    pub(crate) session: Option<SessionId>,
    /// Why, for the person whose session ends
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub(crate) reason: Option<String>,
}

fn reason(text: &str) -> Result<String, String> {
    match text.chars().count() > REASON {
        true => Err(format!("a reason has {REASON} characters at most")),
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
    /// Only watch: send nothing, whatever is typed
    #[arg(long)]
    pub(crate) watch: bool,
    /// Take over from whoever writes now; they stay as a watcher
    #[arg(long, conflicts_with = "watch", group = "claim")]
    pub(crate) force: bool,
    /// Ask whoever writes now for the console, and watch until they give it
    #[arg(long, conflicts_with = "watch", group = "claim")]
    pub(crate) ask: bool,
    /// Why, for the one who writes now
    #[arg(long, value_name = "TEXT", requires = "claim", value_parser = reason)]
    pub(crate) reason: Option<String>,
    /// Where the output begins: start (the first byte kept), an offset, or live (now)
    /// [default: the current screen; live where stdin is not a terminal]
    #[arg(long, value_name = "start|N|live")]
    pub(crate) from: Option<Begin>,
    /// Send pastes and stdin as fast as the port takes them: for a port that is no UART
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
            _ => text.parse().map(Self::Offset).map_err(|_| "this takes start, live or an offset"),
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
    /// Go on with what is printed from now on, until Ctrl-C
    #[arg(long)]
    pub(crate) follow: bool,
    /// Offset of the first byte, or start for the first that is kept
    #[arg(long, value_name = "N|start", default_value = "start")]
    #[arg(value_parser = offset_or_start)]
    pub(crate) from: Begin,
}

fn offset_or_start(text: &str) -> Result<Begin, &'static str> {
    match text.parse() {
        Ok(Begin::Live) | Err(_) => Err("this takes an offset or start"),
        Ok(begin) => Ok(begin),
    }
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
        _ => Err("this takes one letter or digit, for example h"),
    }
}

/// `adopt`.
#[derive(Args, Debug)]
pub struct Adopt {
    /// Name or UUID of the domain
    pub(crate) domain: String,
    /// How many serial ports it gets [default: as many as it has, at least 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=4))]
    pub(crate) serial_ports: Option<u8>,
    /// Stop and start a domain that runs, so that it has the ports at once
    #[arg(long)]
    pub(crate) restart: bool,
    /// Give the domain back the serial ports that it had
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
    /// Image property that is added to the image's own, or replaces it
    #[arg(long = "property", value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) properties: Vec<(String, String)>,
    /// Extra spec of the flavor, for example hw:serial_port_count=2
    #[arg(long = "flavor-property", value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) flavor_properties: Vec<(String, String)>,
}

/// `stop`.
#[derive(Args, Debug)]
pub struct Stop {
    /// Name or UUID of the server
    pub(crate) server: String,
    /// Seconds that the server has to shut down by itself
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
        _ => Err("this takes KEY=VALUE, for example serial_ports=2".into()),
    }
}

#[cfg(test)]
mod tests;
