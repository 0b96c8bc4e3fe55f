//! The typed values of all options: what the rest of the program reads.

mod audit;
mod cluster;
mod static_line;

use std::path::PathBuf;
use std::time::Duration;

pub use self::audit::Audit;
pub use self::audit::SyslogServer;
pub use self::cluster::Cluster;
pub use self::static_line::StaticLine;
pub use crate::login::AuthType;
pub use crate::login::Domain;
pub use crate::login::KeystoneAuth;
pub use crate::login::Secret;
pub use crate::network::ApiAddress;
pub use crate::network::Listen;
pub use crate::network::PortRange;
use crate::page_origin::AllowedOrigin;
use crate::proxies::Networks;
use crate::proxies::ProxyProtocol;

/// All options, checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// `--state-dir`: where everything that outlives the process is kept.
    pub state_dir: PathBuf,
    /// `[DEFAULT] debug`: whether messages of the debug level are logged.
    pub debug: bool,
    /// `[DEFAULT] log_format`
    pub log_format: LogFormat,
    /// `[DEFAULT] log_level`, where that is set; see [`Self::log_level`].
    pub log_level: Option<LogLevel>,
    /// `[serial_console]`
    pub serial_console: SerialConsole,
    /// `[console]`
    pub console: Console,
    /// `[consoleauth]`
    pub consoleauth: ConsoleAuth,
    /// `[api]`
    pub api: Api,
    /// `[oslo_middleware]`
    pub oslo_middleware: OsloMiddleware,
    /// `[proxy]`
    pub proxy: Proxy,
    /// `[keystone_authtoken]`: how users' tokens are validated.
    pub keystone_authtoken: KeystoneAuth,
    /// `[service_user]`
    pub service_user: KeystoneAuth,
    /// `[nova]`: how the proxy asks Nova.
    pub nova: Nova,
    /// `[libvirt]`
    pub libvirt: Libvirt,
    /// `[compute]`
    pub compute: Compute,
    /// `[line]`
    pub line: Line,
    /// `[session]`
    pub session: Session,
    /// `[limits]`
    pub limits: Limits,
    /// `[cluster]`
    pub cluster: Cluster,
    /// `[audit]`
    pub audit: Audit,
    /// `[static] line`, repeatable.
    pub static_lines: Vec<StaticLine>,
}

impl Config {
    /// The least important messages that are logged.
    pub fn log_level(&self) -> LogLevel {
        let unset = if self.debug { LogLevel::Debug } else { LogLevel::Info };
        self.log_level.unwrap_or(unset)
    }
}

/// `[DEFAULT] log_format`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[DEFAULT] log_level`: each level has the messages of those before it too.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogLevel {
    /// Only failures that somebody must look at.
    Error,
    /// Also what may need attention.
    Warn,
    /// Also what happens in normal operation.
    Info,
    /// Also details for finding faults.
    Debug,
}

/// `[serial_console]`: the blueprint's options.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SerialConsole {
    /// Whether consoles are handed out and guests get TCP ports.
    pub enabled: bool,
    /// What a console URL starts with, where that is set; see [`Self::console_url`].
    pub base_url: Option<String>,
    /// Where the proxy listens: `serialproxy_host` (else `listen`) and `serialproxy_port`.
    pub listen: Listen,
    /// Whether of its addresses those of IPv6 come first.
    pub source_is_ipv6: bool,
    /// Address that QEMU binds and the line connects to.
    pub proxyclient_address: String,
    /// TCP ports for guests.
    pub port_range: PortRange,
    /// Directory that replaces the built-in pages.
    pub web: Option<PathBuf>,
    /// Certificate of the proxy's port (PEM); where the path is empty, there is no TLS.
    pub cert: PathBuf,
    /// Whether there is no TLS where the file does not exist: `cert` is not set, or this is Nova's place.
    pub cert_may_be_missing: bool,
    /// Its private key, if it is not in `cert` (PEM).
    pub key: Option<PathBuf>,
    /// Whether users' connections without TLS are refused.
    pub ssl_only: bool,
    /// Whether to run in the background.
    pub daemon: bool,
    /// `record` and what begins with it.
    pub record: Record,
    /// CA bundle that verifies hypervisors (PEM).
    pub tls_ca_certs: Option<PathBuf>,
    /// Certificate shown to hypervisors (PEM).
    pub tls_client_cert: Option<PathBuf>,
    /// Its private key (PEM).
    pub tls_client_key: Option<PathBuf>,
    /// Whether guests' TCP ports without TLS are refused.
    pub tls_required: bool,
}

/// How sessions are recorded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// Where; none when they are not.
    pub place: Option<RecordPlace>,
    /// What of the input.
    pub input: RecordInput,
    /// Bytes of a recording at most.
    pub limit: u64,
    /// Bytes of all recordings together at most.
    pub total: u64,
    /// How long a recording is kept; none means forever.
    pub keep: Option<Duration>,
}

/// What of a session's input is recorded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RecordInput {
    /// What the guest echoes; of the rest only how much it is.
    Masked,
    /// All of it, passwords too.
    Full,
}

/// Where recordings are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RecordPlace {
    /// Their directory.
    pub directory: PathBuf,
    /// What their names start with.
    pub name: String,
}

/// `[console]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Console {
    /// Where a page may come from, beside the proxy itself.
    pub allowed_origins: Vec<AllowedOrigin>,
    /// Value of the pages' `frame-ancestors` (CSP): who may put them into a frame.
    pub frame_ancestors: String,
    /// IANA's numbers of the ciphers of TLS 1.2 that are spoken to users, the best first; none means
    /// all.
    pub ssl_ciphers: Option<Vec<u16>>,
    /// Oldest version of TLS that is spoken to users.
    pub ssl_minimum_version: TlsVersion,
}

/// `[console] ssl_minimum_version`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TlsVersion {
    /// TLS 1.2
    Tls12,
    /// TLS 1.3
    Tls13,
}

/// `[consoleauth]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConsoleAuth {
    /// How long a console token lives.
    pub token_ttl: Duration,
    /// The longest lifetime of a link that a user shares; zero where nobody can share one.
    pub link_ttl: Duration,
    /// Whether a live session ends when its token expires.
    pub enforce_session_timeout: bool,
    /// Whether a token is good for one attach only.
    pub single_use: bool,
}

/// `[api]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Api {
    /// Where the API listens.
    pub listen: Listen,
    /// Where every role tells of its health, and its metrics, to everyone.
    pub metrics_listen: Option<Listen>,
    /// Certificate of its port (PEM); without one, there is no TLS.
    pub cert: Option<PathBuf>,
    /// Its private key, if it is not in `cert` (PEM).
    pub key: Option<PathBuf>,
    /// Whether calls without TLS are refused.
    pub ssl_only: bool,
    /// The authentication backend.
    pub auth_strategy: AuthStrategy,
    /// Whether `noauth` may be used on an address that others can reach.
    pub noauth_anywhere: bool,
    /// Accepted values of `Host` under `noauth`, besides addresses and localhost.
    pub allowed_hosts: Vec<String>,
    /// How long a login of a local user lives.
    pub token_lifetime: Duration,
    /// How long a login at the servers page lives.
    pub page_lifetime: Duration,
    /// What links begin with, instead of where a request came to; without a slash at its end.
    pub compute_link_prefix: Option<String>,
}

/// `[oslo_middleware]`
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct OsloMiddleware {
    /// Whether a proxy before the API is believed where a request came to.
    pub enable_proxy_headers_parsing: bool,
}

/// `[api] auth_strategy`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AuthStrategy {
    /// Everyone is let in and treated as an administrator; `X-User` names them.
    Noauth,
    /// The admin token in the state directory, and tokens and users that are kept beside it.
    Token,
    /// As `Token`, and a name and password with each call will do.
    HttpBasic,
    /// Keystone, as `[keystone_authtoken]` names it.
    Keystone,
}

/// `[proxy]`
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Proxy {
    /// The API, from `api_url`.
    pub api: Option<ApiAddress>,
    /// Whether administrators' calls are relayed too.
    pub admin_calls: bool,
    /// CA bundle that verifies it (PEM).
    pub cafile: Option<PathBuf>,
    /// Reverse proxies that are believed where a user is, and how they came.
    pub trusted_proxies: Networks,
    /// Whether they say so by the PROXY protocol.
    pub proxy_protocol: ProxyProtocol,
}

/// `[nova]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Nova {
    /// Who asks.
    pub auth: KeystoneAuth,
    /// Which of Nova's URLs in Keystone's catalog is taken: the first of these that there is.
    pub valid_interfaces: Vec<String>,
    /// Nova's URL, where it is not the catalog's.
    pub endpoint_override: Option<String>,
}

impl Config {
    /// The service user who asks Nova, and the group that names them: the first of `[nova]`,
    /// `[service_user]` and `[keystone_authtoken]` with complete credentials, else with incomplete ones.
    pub fn nova_user(&self) -> Option<(&'static str, &KeystoneAuth)> {
        let groups = [
            ("nova", &self.nova.auth),
            ("service_user", &self.service_user),
            ("keystone_authtoken", &self.keystone_authtoken),
        ];
        let named = || groups.into_iter().filter(|(_, auth)| auth.names_somebody());
        named().find(|(_, auth)| auth.lacks().is_none()).or_else(|| named().next())
    }
}

/// `[libvirt]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Libvirt {
    /// For example `qemu:///system`.
    pub connection_uri: String,
    /// Domain type of guests that `boot` makes.
    pub virt_type: VirtType,
}

/// `[libvirt] virt_type`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum VirtType {
    /// KVM where it works, else emulation.
    Auto,
    /// Hardware virtualization.
    Kvm,
    /// Emulation.
    Qemu,
}

/// `[compute]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Compute {
    /// Whether libvirt's guests are served.
    pub libvirt: bool,
    /// Whether `[static] line`s are served.
    pub statics: bool,
    /// Directory of images; default `STATE/images`.
    pub images_path: PathBuf,
    /// How long a freed port rests before it is used again.
    pub port_rest: Duration,
    /// How lines reach the guests that `boot` makes.
    pub transport: Transport,
    /// `project`, repeatable: whose servers are that do not say so themselves.
    pub projects: Vec<ServerProject>,
    /// Id of the project of all other servers.
    pub default_project: String,
    /// `exclude`, repeatable: domains and ports that are left alone.
    pub excluded: Vec<Excluded>,
}

/// `[compute] exclude = DOMAIN[:PORT]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Excluded {
    /// Name or UUID of the domain.
    pub server: String,
    /// Index of one serial port; none for all of them.
    pub port: Option<u8>,
}

/// `[compute] project = SERVER PROJECT`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerProject {
    /// Name or UUID of the server.
    pub server: String,
    /// Id of the project.
    pub project: String,
}

/// `[compute] transport`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transport {
    /// TCP ports of `[serial_console] port_range`.
    Tcp,
    /// Unix sockets in the state directory.
    Unix,
}

/// `[line]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Line {
    /// Bytes of each boot's beginning that are kept.
    pub history_head: usize,
    /// Bytes of the newest output that are kept.
    pub history_tail: usize,
    /// Most bytes written to a guest's port and not read by it.
    pub input_in_flight: usize,
    /// Where the processes of a host claim lines.
    pub claims: PathBuf,
}

/// `[session]`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Session {
    /// How often the server pings.
    pub ping_interval: Duration,
    /// How long after its last sign of life a session ends.
    pub grace: Duration,
    /// How long a request for the pen waits for its holder.
    pub pen_request_timeout: Duration,
    /// What becomes of a raw session that is too slow.
    pub raw_lag: RawLag,
}

/// `[limits]`: what one client may use in this process; 0 turns a limit off. An IPv6 address stands
/// for its /64 network.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Connections of an address at once, on each listener.
    pub connections_per_address: u32,
    /// Console sessions of a user at once.
    pub sessions_per_user: u32,
    /// Console sessions from an address at once.
    pub sessions_per_address: u32,
    /// Wrong tokens and passwords from an address in a minute, before its answers are delayed.
    pub failures_per_minute: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_per_address: 1000,
            sessions_per_user: 500,
            sessions_per_address: 1000,
            failures_per_minute: 20,
        }
    }
}

/// `[session] raw_lag`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RawLag {
    /// It is closed with 4011.
    Close,
    /// It goes on with the newest output, without what it missed.
    Skip,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            history_head: 256 * 1024,
            history_tail: 256 * 1024,
            input_in_flight: 512,
            claims: PathBuf::from("/run/serialproxy/lines"),
        }
    }
}
