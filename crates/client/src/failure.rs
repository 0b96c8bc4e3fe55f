//! Failures of commands: the cause, what the user can do, and the exit code.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use serialproxy_proto::close::CloseCode;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::identity::Role;
use tokio_rustls::rustls;
use tokio_rustls::rustls::InvalidMessage;

use crate::text::in_words;

/// How a command ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Outcome {
    /// Exit code 0.
    Done,
    /// Exit code 1: it failed.
    Failed,
    /// Exit code 2: usage error.
    Usage,
    /// Exit code 3: no such server, port or session.
    NotFound,
    /// Exit code 4: someone else is typing.
    Busy,
    /// The exit code of a command at the guest.
    Exited(u8),
}

impl Outcome {
    /// The exit code as a number.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Busy => 4,
            Self::Exited(code) => code,
        }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(outcome.code())
    }
}

/// A failed command. Its text is everything that its user sees.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("Unavailable console type {0}.")]
    ConsoleType(String),
    #[error("the API URL {url} cannot be used: {reason}")]
    ApiUrl { url: String, reason: &'static str },
    #[error("no CA certificates: {0}; set --cacert or SERIALPROXY_CACERT to a CA bundle")]
    Trust(String),
    #[error(
        "the token in {origin} cannot be used: it contains characters that are not allowed \
             in a token"
    )]
    Token { origin: String },
    #[error("{} servers are named {name}; use the UUID of one: {}", ids.len(), list(ids))]
    Ambiguous { name: String, ids: Vec<ServerId> },
    #[error("no server is named {0}; `serialproxy servers` lists all servers")]
    NoSuchServer(String),
    #[error(
        "cannot reach the API at {api}: {cause}. Check that `serialproxy serve` or `serialproxy \
         api` runs there, or set another address with --api-url or SERIALPROXY_API_URL"
    )]
    Api { api: String, cause: String },
    #[error("{message} ({remedy})")]
    Unauthorized { message: String, remedy: String },
    #[error("{}", in_words(message))]
    Fault { status: u16, message: String },
    #[error("You are {} in project {project}; {}", named(*role), needed(path))]
    Role { role: Role, project: String, path: String },
    #[error("{api} does not respond like serialproxy's API ({what}): check the address")]
    Answer { api: String, what: String },
    #[error(
        "{server} is still running after {seconds} s; `serialproxy stop --force` cuts its power \
         at once"
    )]
    StillRuns { server: String, seconds: u64 },
    #[error("the console URL cannot be used: {0}")]
    ConsoleUrl(&'static str),
    #[error(
        "cannot reach the console at {address}: {cause}. Check that the proxy runs there, and \
         that no firewall blocks the port"
    )]
    Proxy { address: String, cause: String },
    #[error("{address} {}", refused(*status, reason.as_deref()))]
    Refused { address: String, status: u16, reason: Option<String> },
    #[error(
        "{0} is not a serialproxy console: it does not speak console.v1. If a reverse proxy is \
         in front of it, it must forward the header Sec-WebSocket-Protocol"
    )]
    Speech(String),
    #[error("{address}: this port does not speak TLS; {}", in_place(address, "http"))]
    NoTls { address: String },
    #[error("{address}: this port speaks only TLS; {}", in_place(address, "https"))]
    OnlyTls { address: String },
    #[error("connection lost: {0}")]
    Lost(String),
    #[error("{}", closed(*code, reason, *own))]
    Closed {
        code: u16,
        reason: String,
        /// Whether the session that writes is a lost one of the same user.
        own: bool,
    },
    #[error(
        "{busy}. {user} may not take over: only administrators and members of the server's \
         project may"
    )]
    MayNotForce { busy: String, user: String },
    #[error(
        "the connection was lost, and the proxy no longer knows this session: the last {0} bytes \
         of stdin may not have reached the guest, and the rest was not sent"
    )]
    InputLost(usize),
    #[error("{0}: not all of stdin was sent")]
    Held(String),
    #[error("someone else is typing now, and not all of stdin was sent")]
    PenLost,
    #[error("ended by {0}")]
    Signal(&'static str),
    #[error("cannot use this terminal: {0}")]
    Terminal(#[from] io::Error),
    #[error("{path}{what}")]
    Settings { path: String, what: String },
    #[error("no password: {0}")]
    Password(&'static str),
    #[error("cannot write to stdout")]
    Output,
    #[error("stdin must have 1 byte to 64 KiB; `serialproxy connect` types more")]
    Stdin,
    #[error("no match within {seconds} s; the last output is: {last}")]
    NoMatch { seconds: u64, last: String },
    #[error("the command exited with code {0}")]
    Exited(u8),
    #[error("{0} is at a login prompt: log in first, for example with `serialproxy connect {0}`")]
    LoginPrompt(String),
    #[error(
        "{0} does not answer like a shell, so the command did not run: `serialproxy connect {0}` \
         shows what runs there"
    )]
    NoShell(String),
    #[error("{0} booted: the command did not end")]
    Rebooted(String),
    #[error("the command did not end within {0} s: Ctrl-C was pressed at the guest")]
    Late(u64),
    #[error("{0} bytes of output are missing: they were not read in time")]
    Missing(String),
    #[error("{0}")]
    Busy(String),
    #[error("{0} is typing now: the command may still run")]
    TakenOver(String),
}

impl Failure {
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::ConsoleType(_)
            | Self::ApiUrl { .. }
            | Self::Token { .. }
            | Self::Settings { .. }
            | Self::Trust(_)
            | Self::Stdin
            | Self::Ambiguous { .. } => Outcome::Usage,
            Self::MayNotForce { .. } | Self::PenLost | Self::Busy(_) | Self::TakenOver(_) => {
                Outcome::Busy
            }
            Self::Exited(code) => Outcome::Exited(*code),
            Self::NoSuchServer(_) | Self::Fault { status: 404, .. } => Outcome::NotFound,
            Self::Fault { status: 409, message } if message.starts_with("busy") => Outcome::Busy,
            Self::Closed { code, .. } => match known(*code) {
                Some(CloseCode::NoSuchLine) => Outcome::NotFound,
                Some(CloseCode::Busy) => Outcome::Busy,
                _ => Outcome::Failed,
            },
            _ => Outcome::Failed,
        }
    }
}

/// The close code with this number, if it needs special handling.
pub(crate) fn known(number: u16) -> Option<CloseCode> {
    [
        CloseCode::Normal,
        CloseCode::ProtocolError,
        CloseCode::InternalError,
        CloseCode::Token,
        CloseCode::NoSuchLine,
        CloseCode::Busy,
        CloseCode::Disconnected,
        CloseCode::Idle,
        CloseCode::Draining,
        CloseCode::HostLost,
    ]
    .into_iter()
    .find(|code| code.number() == number)
}

/// A close code and its reason in words; `own` is whether a lost session of the same user writes.
fn closed(code: u16, reason: &str, own: bool) -> String {
    match known(code) {
        Some(CloseCode::Busy) if own => {
            format!("{reason}. That is your own session: --ask takes over from it at once")
        }
        Some(CloseCode::Busy) => {
            format!("{reason}. Use --watch to watch, --ask to ask to type, --force to take over")
        }
        // The reason names the person.
        Some(CloseCode::Disconnected) if !reason.is_empty() => reason.to_owned(),
        _ if reason.is_empty() => format!("the console was closed (code {code})"),
        _ => format!("the console was closed: {}", in_words(reason)),
    }
}

/// Who may do what a call does.
fn needed(path: &str) -> String {
    let (deed, role) = match path.rsplit('/').next() {
        Some("get-serial-console") => ("typing", Role::Member),
        Some("send") => ("typing at a console", Role::Member),
        Some("disconnect-serial-console") => ("disconnecting somebody", Role::Member),
        Some("break") => ("sending a break", Role::Member),
        Some("sysrq") => ("sending a SysRq", Role::Member),
        Some("adopt") => ("adopting a domain", Role::Admin),
        Some("audit") => ("reading the audit trail", Role::Admin),
        _ if path.starts_with("/v1/users") => ("managing users", Role::Admin),
        _ if path.starts_with("/v1/tokens") => ("managing API tokens", Role::Admin),
        _ if path.starts_with("/v1/sessions") => ("disconnecting somebody", Role::Member),
        _ => ("controlling servers", Role::Member),
    };
    let hint = if deed == "typing" { " --watch works." } else { "" };
    format!("{deed} needs {}.{hint}", named(role))
}

fn named(role: Role) -> &'static str {
    match role {
        Role::Reader => "a reader",
        Role::Member => "a member",
        Role::Admin => "an administrator",
    }
}

/// The answer of a server that did not open a WebSocket.
fn refused(status: u16, reason: Option<&str>) -> String {
    match (status, reason) {
        (_, Some(reason)) => format!("refused the console: {reason} (HTTP status {status})"),
        // The answers to a request that has lost its Upgrade headers: the page, or an error.
        (200 | 400 | 426, None) => format!(
            "did not open a WebSocket (HTTP status {status}): if a reverse proxy is in front of \
             it, it must use HTTP/1.1 and forward the headers Upgrade and Connection"
        ),
        (_, None) => format!("refused the console with HTTP status {status}"),
    }
}

/// What to change for another scheme: the scheme of console URLs comes from the proxy's
/// configuration.
fn in_place(address: &str, scheme: &str) -> String {
    match address.split_once("://") {
        Some(("http" | "https", rest)) => format!("use {scheme}://{rest}"),
        _ => format!("its [serial_console] base_url must begin with {scheme}://"),
    }
}

/// The text of the innermost cause, which is from the operating system or from TLS.
pub(crate) fn root_cause(error: &(dyn Error + 'static)) -> String {
    match innermost(error).to_string() {
        text if text.starts_with("invalid peer certificate") => {
            format!("{text} (set --cacert or SERIALPROXY_CACERT to a CA bundle that verifies it)")
        }
        text => text,
    }
}

/// Whether TLS failed because the other side does not use it.
pub(crate) fn is_no_tls(error: &(dyn Error + 'static)) -> bool {
    matches!(
        innermost(error).downcast_ref(),
        Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType))
    )
}

/// Whether the answer to an HTTP request was a TLS alert.
pub(crate) fn is_only_tls(error: &(dyn Error + 'static)) -> bool {
    // hyper parses the version first. The error's type is private to it.
    innermost(error).to_string() == "invalid HTTP version parsed"
}

fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut cause = error;
    loop {
        // The source of an I/O error is the source of the wrapped error, not that error itself.
        let wrapped = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = match (wrapped, cause.source()) {
            (Some(inner), _) => inner,
            (None, Some(inner)) => inner,
            (None, None) => return cause,
        }
    }
}

fn list(ids: &[ServerId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_the_exit_code_of_its_kind() {
        let closed = |code: CloseCode| Failure::Closed {
            code: code.number(),
            reason: "x".into(),
            own: false,
        };
        let fault = |status, message: &str| Failure::Fault { status, message: message.into() };
        for (failure, code) in [
            (Failure::ConsoleType("vnc".into()), 2),
            (Failure::NoSuchServer("x".into()), 3),
            (fault(404, "no such port"), 3),
            (fault(409, "busy: alice since 2026-11-22T09:00:00Z"), 4),
            (fault(409, "server busybox is SHUTOFF"), 1),
            (fault(400, "serial_ports must be 1 to 4"), 1),
            (closed(CloseCode::NoSuchLine), 3),
            (closed(CloseCode::Busy), 4),
            (closed(CloseCode::Disconnected), 1),
        ] {
            assert_eq!(failure.outcome().code(), code, "{failure}");
        }
    }

    #[test]
    fn who_may_not_do_something_reads_their_role_and_what_is_needed() {
        let told = |role, path: &str| {
            let (project, path) = ("admin".into(), path.into());
            Failure::Role { role, project, path }.to_string()
        };
        assert_eq!(
            told(Role::Reader, "/v3/servers/x/get-serial-console"),
            "You are a reader in project admin; typing needs a member. --watch works."
        );
        assert_eq!(
            told(Role::Reader, "/v1/servers/x/stop"),
            "You are a reader in project admin; controlling servers needs a member."
        );
        assert_eq!(
            told(Role::Member, "/v1/tokens/ci"),
            "You are a member in project admin; managing API tokens needs an administrator."
        );
    }

    #[test]
    fn a_busy_console_names_the_holder_and_the_ways_out() {
        let reason = "busy: alice since 2026-11-22T09:00:00Z".to_owned();
        let busy = |own| {
            let reason = reason.clone();
            Failure::Closed { code: CloseCode::Busy.number(), reason, own }.to_string()
        };
        assert!(busy(false).starts_with("busy: alice since 2026-11-22T09:00:00Z. Use --watch"));
        assert!(busy(true).ends_with("That is your own session: --ask takes over from it at once"));
    }
}
