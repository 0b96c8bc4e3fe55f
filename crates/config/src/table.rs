//! The table of all options: a row says everything that the program and its documents know of one.

use crate::ciphers::ciphers;
use crate::network::api_url;
use crate::network::base_url;
use crate::network::frame_ancestors;
use crate::network::host;
use crate::network::listen;
use crate::network::port_range;
use crate::network::service_url;
use crate::options::Fallback::Computed;
use crate::options::Fallback::Text;
use crate::options::Fallback::Unset;
use crate::options::Kind;
use crate::options::Kind::Bool;
use crate::options::Kind::Multi;
use crate::options::Kind::Single;
use crate::options::Opt;
use crate::options::works;
use crate::page_origin::AllowedOrigin;
use crate::projects;
use crate::readers::auth_strategy;
use crate::readers::connection_uri;
use crate::readers::default_base_url;
use crate::readers::default_enabled;
use crate::readers::default_images_path;
use crate::readers::default_web;
use crate::readers::raw_lag;
use crate::readers::set;
use crate::readers::set_drivers;
use crate::readers::set_some;
use crate::readers::tls_version;
use crate::readers::transport;
use crate::readers::virt_type;
use crate::readers::web;
use crate::record;
use crate::scalar::boolean;
use crate::scalar::file;
use crate::scalar::history_size;
use crate::scalar::list;
use crate::scalar::number;
use crate::scalar::path;
use crate::scalar::seconds;
use crate::statics;

const HOST: Kind = Single("an IP address or a host name");
const LISTEN: Kind = Single("HOST:PORT; an IPv6 address in brackets, port 0 is any free one");
const COUNT: Kind = Single("a number, 0 to 1000000; 0 turns the limit off");
const ABOUT_SECONDS: Kind = Single("seconds, 0 to 315360000");
const ABOUT_SECONDS_FROM_1: Kind = Single("seconds, 1 to 315360000");
const HISTORY: Kind = Single("bytes, 4 KiB to 1 GiB; units K, KiB, M, MiB, G, GiB");
const FILE: Kind = Single("a PEM file");
const PEM: Kind = Single("a PEM file that exists");

/// The highest value of a limit.
const MOST: u32 = 1_000_000;

/// The rows, ordered by group. Where two fill one value, the later row wins.
pub(crate) static OPTIONS: &[Opt] = &[
    works("DEFAULT", "debug", Text("false"), Bool, "Log at debug level.", |c, v| {
        set(&mut c.debug, boolean(v))
    }),
    works(
        "serial_console",
        "enabled",
        Computed("false; true for `serve` without any configuration file", default_enabled),
        Bool,
        "Hand out serial consoles, and give guests TCP ports for them.",
        |c, v| set(&mut c.serial_console.enabled, boolean(v)),
    ),
    works(
        "serial_console",
        "base_url",
        Computed(
            "http://127.0.0.1:6083/serial.html; with a nova.conf ws://127.0.0.1:6083/",
            default_base_url,
        ),
        Single("an http, https, ws or wss URL with a host, without query and fragment"),
        "What console URLs start with; pages of its scheme, host and port may connect.",
        |c, v| set(&mut c.serial_console.base_url, base_url(v)),
    ),
    works(
        "serial_console",
        "listen",
        Text("0.0.0.0"),
        HOST,
        "Address or name that the proxy listens on; `::` is all of IPv6 and IPv4.",
        |c, v| set(&mut c.serial_console.listen.host, host(v)),
    ),
    works(
        "serial_console",
        "serialproxy_host",
        Unset,
        HOST,
        "Nova's later name of `listen`, which it overrides.",
        |c, v| set(&mut c.serial_console.listen.host, host(v)),
    ),
    works(
        "serial_console",
        "serialproxy_port",
        Text("6083"),
        Single("a port, 0 to 65535; 0 is any free one"),
        "Port that the proxy listens on.",
        |c, v| set(&mut c.serial_console.listen.port, number(v, 0..=u16::MAX)),
    ),
    works(
        "serial_console",
        "proxyclient_address",
        Text("127.0.0.1"),
        HOST,
        "Address of the hypervisor that QEMU binds the guests' ports on and the lines connect to.",
        |c, v| set(&mut c.serial_console.proxyclient_address, host(v)),
    ),
    works(
        "serial_console",
        "port_range",
        Text("10000:20000"),
        Single("START:END, both within 1 and 65536; END is the first port after the range"),
        "TCP ports for the guests' serial ports; the last is END - 1.",
        |c, v| set(&mut c.serial_console.port_range, port_range(v)),
    ),
    works(
        "serial_console",
        "web",
        Computed("/usr/share/serialproxy-static if it exists", default_web),
        Single("a directory that exists, or nothing for the built-in pages"),
        "Directory that replaces the built-in pages.",
        |c, v| set(&mut c.serial_console.web, web(v)),
    ),
    works(
        "serial_console",
        "record",
        Text("false"),
        Single("true (below STATE/records), false, or a path with a / that file names start with"),
        "Record sessions, what they are shown and what they type: an asciicast file each.",
        |c, v| set(&mut c.serial_console.record.place, record::place(v, &c.state_dir)),
    ),
    works(
        "serial_console",
        "record_input",
        Text("masked"),
        Single("masked or full"),
        "What of typing is recorded: what the guest echoes, or all of it, passwords too.",
        |c, v| set(&mut c.serial_console.record.input, record::input(v)),
    ),
    works(
        "serial_console",
        "record_limit",
        Text("256MiB"),
        Single("bytes, 64 KiB to 1 TiB; units K, KiB, M, MiB, G, GiB"),
        "Largest recording, of which an eighth is for typing; its session goes on after it.",
        |c, v| set(&mut c.serial_console.record.limit, record::limit(v)),
    ),
    works(
        "serial_console",
        "record_total",
        Text("10GiB"),
        Single("bytes, 64 KiB to 1 PiB; units K, KiB, M, MiB, G, GiB"),
        "Most that all recordings take; the oldest that have ended go first.",
        |c, v| set(&mut c.serial_console.record.total, record::total(v)),
    ),
    works(
        "serial_console",
        "record_days",
        Text("90"),
        Single("days, 0 to 36500"),
        "How long a recording is kept after its last event; 0 is for ever.",
        |c, v| set(&mut c.serial_console.record.keep, record::keep(v)),
    ),
    works(
        "serial_console",
        "daemon",
        Text("false"),
        Bool,
        "Run in the background; the first process ends when the program is ready. The log is in \
         `--log-file`, else STATE/serialproxy.log, the process id in `--pid-file`, else \
         STATE/serialproxy.pid.",
        |c, v| set(&mut c.serial_console.daemon, boolean(v)),
    ),
    works(
        "serial_console",
        "ssl_only",
        Text("false"),
        Bool,
        "Refuse users' connections without TLS; needs `cert`.",
        |c, v| set(&mut c.serial_console.ssl_only, boolean(v)),
    ),
    works(
        "serial_console",
        "source_is_ipv6",
        Text("false"),
        Bool,
        "Prefer IPv6 for the name that the proxy listens on; 0.0.0.0 becomes `::`.",
        |c, v| set(&mut c.serial_console.source_is_ipv6, boolean(v)),
    ),
    works(
        "serial_console",
        "cert",
        Text("self.pem"),
        FILE,
        "Certificate of the proxy's port, and those between it and its root. Where the file does not \
         exist, users connect without TLS.",
        |c, v| set(&mut c.serial_console.cert, path(v)),
    ),
    works(
        "serial_console",
        "key",
        Unset,
        FILE,
        "Its private key, if it is not in `cert`.",
        |c, v| set_some(&mut c.serial_console.key, path(v)),
    ),
    works(
        "serial_console",
        "tls_ca_certs",
        Unset,
        PEM,
        "Certificates of those who may vouch for hypervisors (TLS to guests' ports).",
        |c, v| set_some(&mut c.serial_console.tls_ca_certs, file(v)),
    ),
    works(
        "serial_console",
        "tls_client_cert",
        Unset,
        PEM,
        "Certificate that is shown to hypervisors; needs `tls_client_key`.",
        |c, v| set_some(&mut c.serial_console.tls_client_cert, file(v)),
    ),
    works(
        "serial_console",
        "tls_client_key",
        Unset,
        PEM,
        "Private key of `tls_client_cert`.",
        |c, v| set_some(&mut c.serial_console.tls_client_key, file(v)),
    ),
    works(
        "serial_console",
        "tls_required",
        Text("false"),
        Bool,
        "Refuse guests' TCP ports without TLS, and give TLS to those of new guests; needs \
         `tls_ca_certs`.",
        |c, v| set(&mut c.serial_console.tls_required, boolean(v)),
    ),
    works(
        "console",
        "allowed_origins",
        Text(""),
        Single("hosts, or origins (SCHEME://HOST:PORT), separated by commas"),
        "Where pages that connect may come from, beside the proxy; a host is every scheme and port.",
        |c, v| {
            let origins = list(v)?.into_iter().map(AllowedOrigin::read).collect();
            set(&mut c.console.allowed_origins, origins)
        },
    ),
    works(
        "console",
        "frame_ancestors",
        Text("'none'"),
        Single("none, or self, schemes and hosts, separated by spaces"),
        "Who may put the pages into a frame (`frame-ancestors` of the Content-Security-Policy).",
        |c, v| set(&mut c.console.frame_ancestors, frame_ancestors(v)),
    ),
    works(
        "console",
        "ssl_ciphers",
        Unset,
        Single("a cipher string of OpenSSL"),
        "Ciphers of TLS 1.2 towards users, in order of preference; those of TLS 1.3 are always spoken.",
        |c, v| set(&mut c.console.ssl_ciphers, ciphers(v).map(Some)),
    ),
    works(
        "console",
        "ssl_minimum_version",
        Text("default"),
        Single("default, which is tlsv1_2, or tlsv1_2 or tlsv1_3"),
        "Oldest version of TLS that is spoken to users, also by the API.",
        |c, v| set(&mut c.console.ssl_minimum_version, tls_version(v)),
    ),
    works(
        "consoleauth",
        "token_ttl",
        Text("600"),
        ABOUT_SECONDS,
        "Life of a console token; with 0 none is ever valid.",
        |c, v| set(&mut c.consoleauth.token_ttl, seconds(v, 0)),
    ),
    works(
        "consoleauth",
        "enforce_session_timeout",
        Text("false"),
        Bool,
        "End a live session when its token expires.",
        |c, v| set(&mut c.consoleauth.enforce_session_timeout, boolean(v)),
    ),
    works(
        "consoleauth",
        "single_use",
        Text("false"),
        Bool,
        "Let a token attach once only.",
        |c, v| set(&mut c.consoleauth.single_use, boolean(v)),
    ),
    works("api", "listen", Text("127.0.0.1:8774"), LISTEN, "Where the API listens.", |c, v| {
        set(&mut c.api.listen, listen(v))
    }),
    works(
        "api",
        "auth_strategy",
        Text("token"),
        Single("token, http_basic, keystone or noauth"),
        "Who says who someone is: tokens and users that are kept here (`token`), which may also \
         send name and password with each call (`http_basic`), Keystone (`keystone`, as \
         `[keystone_authtoken]` names it), or nobody (`noauth`: everyone is an administrator).",
        |c, v| set(&mut c.api.auth_strategy, auth_strategy(v)),
    ),
    works(
        "api",
        "noauth_anywhere",
        Text("false"),
        Bool,
        "Let `noauth` be where others than this machine reach the API: all of them are administrators.",
        |c, v| set(&mut c.api.noauth_anywhere, boolean(v)),
    ),
    works(
        "api",
        "allowed_hosts",
        Text(""),
        Single("host names or IP addresses, separated by commas"),
        "Names by which the API is reached under `noauth`, beside addresses and `localhost`: a foreign \
         page can give its own name the API's address.",
        |c, v| {
            let hosts = list(v)?.into_iter().map(host).collect();
            set(&mut c.api.allowed_hosts, hosts)
        },
    ),
    works(
        "api",
        "token_lifetime",
        Text("3600"),
        ABOUT_SECONDS_FROM_1,
        "Life of a token that a local user gets for their password at `/v3/auth/tokens`.",
        |c, v| set(&mut c.api.token_lifetime, seconds(v, 1)),
    ),
    works(
        "api",
        "cert",
        Unset,
        PEM,
        "Certificate of the API's port, and those between it and its root: with it the port takes TLS.",
        |c, v| set_some(&mut c.api.cert, file(v)),
    ),
    works("api", "key", Unset, PEM, "Its private key, if it is not in `cert`.", |c, v| {
        set_some(&mut c.api.key, file(v))
    }),
    works(
        "api",
        "ssl_only",
        Text("false"),
        Bool,
        "Refuse calls without TLS; needs `cert`.",
        |c, v| set(&mut c.api.ssl_only, boolean(v)),
    ),
    works(
        "api",
        "compute_link_prefix",
        Unset,
        Single("an http or https URL with a host, without query and fragment"),
        "What links in answers begin with, where users reach the API at another address than it \
         is asked at, such as `https://cloud.example.com/compute`.",
        |c, v| set_some(&mut c.api.compute_link_prefix, service_url(v)),
    ),
    works(
        "api",
        "metrics_listen",
        Unset,
        LISTEN,
        "Where `/healthz` is answered to everyone; the API itself answers it to this machine alone.",
        |c, v| set_some(&mut c.api.metrics_listen, listen(v)),
    ),
    works(
        "oslo_middleware",
        "enable_proxy_headers_parsing",
        Text("false"),
        Bool,
        "Whether links follow the headers `Forwarded` and `X-Forwarded-Proto`, `-Host` and \
         `-Prefix`. Only for an API that is reached through a proxy which sets them.",
        |c, v| set(&mut c.oslo_middleware.enable_proxy_headers_parsing, boolean(v)),
    ),
    works(
        "proxy",
        "api_url",
        Unset,
        Single("http://HOST:PORT or https://HOST:PORT; an IPv6 address in brackets"),
        "The API that the proxy relays the servers page's calls to; in `serve`, its own when not set.",
        |c, v| set(&mut c.proxy.api, api_url(v).map(Some)),
    ),
    works(
        "proxy",
        "admin_calls",
        Text("false"),
        Bool,
        "Relay all of the API's own calls, also those of administrators, and not only those that the \
         servers page makes.",
        |c, v| set(&mut c.proxy.admin_calls, boolean(v)),
    ),
    works(
        "proxy",
        "cafile",
        Unset,
        PEM,
        "Certificates of those who may vouch for an API at an https URL; when not set, those that the \
         system trusts.",
        |c, v| set_some(&mut c.proxy.cafile, file(v)),
    ),
    works(
        "libvirt",
        "connection_uri",
        Text("qemu:///system"),
        Single("a URI of libvirt, such as qemu:///system"),
        "Which libvirt to speak to.",
        |c, v| set(&mut c.libvirt.connection_uri, connection_uri(v)),
    ),
    works(
        "libvirt",
        "virt_type",
        Text("auto"),
        Single("auto, kvm or qemu"),
        "Domain type of guests that `boot` makes: `auto` is KVM where it works, else emulation.",
        |c, v| set(&mut c.libvirt.virt_type, virt_type(v)),
    ),
    works(
        "compute",
        "drivers",
        Text("libvirt,static"),
        Single("libvirt, static or both, separated by commas"),
        "Whose servers are served.",
        |c, v| set_drivers(&mut c.compute, v),
    ),
    works(
        "compute",
        "images_path",
        Computed("STATE/images, where STATE is the state directory", default_images_path),
        Single("a directory"),
        "Directory of images: one directory each, with `image.toml`.",
        |c, v| set(&mut c.compute.images_path, path(v)),
    ),
    works(
        "compute",
        "port_rest",
        Text("60"),
        ABOUT_SECONDS,
        "How long a freed port rests before a guest gets it again.",
        |c, v| set(&mut c.compute.port_rest, seconds(v, 0)),
    ),
    works(
        "compute",
        "transport",
        Text("tcp"),
        Single("tcp or unix"),
        "How lines reach the guests that `boot` makes: a TCP port each, or a unix socket in STATE.",
        |c, v| set(&mut c.compute.transport, transport(v)),
    ),
    works(
        "compute",
        "project",
        Unset,
        Multi("a server's name or UUID, and the id of a project"),
        "Project of a server; repeatable. A guest of Nova's, or of `boot`, says itself whose it is.",
        |c, v| projects::add(&mut c.compute.projects, v),
    ),
    works(
        "compute",
        "default_project",
        Text("admin"),
        Single("the id of a project"),
        "Project of all other servers.",
        |c, v| set(&mut c.compute.default_project, projects::project(v)),
    ),
    works(
        "line",
        "history_head",
        Text("256KiB"),
        HISTORY,
        "How much of the beginning of each boot's output is kept, for each line.",
        |c, v| set(&mut c.line.history_head, history_size(v)),
    ),
    works(
        "line",
        "history_tail",
        Text("256KiB"),
        HISTORY,
        "How much of the newest output is kept, for each line.",
        |c, v| set(&mut c.line.history_tail, history_size(v)),
    ),
    works(
        "line",
        "input_in_flight",
        Text("512"),
        Single("bytes, 1 to 65536"),
        "Most bytes written to a guest's port and not read by it; a port that reads at once gets more, up to 64 KiB.",
        |c, v| set(&mut c.line.input_in_flight, number(v, 1..=65536)),
    ),
    works(
        "line",
        "claims",
        Text("/run/serialproxy/lines"),
        Single("a directory"),
        "Directory in which the processes of a host claim their lines; one for all of them.",
        |c, v| set(&mut c.line.claims, path(v)),
    ),
    works(
        "session",
        "ping_interval",
        Text("20"),
        ABOUT_SECONDS_FROM_1,
        "How often the server pings a session.",
        |c, v| set(&mut c.session.ping_interval, seconds(v, 1)),
    ),
    works(
        "session",
        "grace",
        Text("60"),
        Single("seconds, more than ping_interval, up to 315360000"),
        "How long after its last sign of life a session ends.",
        |c, v| set(&mut c.session.grace, seconds(v, 1)),
    ),
    works(
        "session",
        "pen_request_timeout",
        Text("15"),
        ABOUT_SECONDS_FROM_1,
        "How long a request for the pen waits for its holder.",
        |c, v| set(&mut c.session.pen_request_timeout, seconds(v, 1)),
    ),
    works(
        "session",
        "raw_lag",
        Text("close"),
        Single("close or skip"),
        "What becomes of a raw session that is too slow: it is closed, or goes on with the newest \
         output.",
        |c, v| set(&mut c.session.raw_lag, raw_lag(v)),
    ),
    works(
        "limits",
        "connections_per_address",
        Text("1000"),
        COUNT,
        "Connections of one address at once, on each listener.",
        |c, v| set(&mut c.limits.connections_per_address, number(v, 0..=MOST)),
    ),
    works(
        "limits",
        "sessions_per_user",
        Text("500"),
        COUNT,
        "Console sessions of one user at once.",
        |c, v| set(&mut c.limits.sessions_per_user, number(v, 0..=MOST)),
    ),
    works(
        "limits",
        "sessions_per_address",
        Text("1000"),
        COUNT,
        "Console sessions from one address at once.",
        |c, v| set(&mut c.limits.sessions_per_address, number(v, 0..=MOST)),
    ),
    works(
        "limits",
        "failures_per_minute",
        Text("20"),
        COUNT,
        "Wrong tokens and passwords from one address in a minute. Each further one delays the \
         answers to that address, up to 30 s.",
        |c, v| set(&mut c.limits.failures_per_minute, number(v, 0..=MOST)),
    ),
    works(
        "static",
        "line",
        Unset,
        Multi("NAME[:PORT] and tcp://HOST:PORT, tls://HOST:PORT or unix:///PATH"),
        "A serial line that no hypervisor knows; repeatable. NAME is 1 to 255 of A-Z a-z 0-9 . _ \
         -, PORT the index 0 to 255 (default 0).",
        |c, v| statics::add(&mut c.static_lines, v),
    ),
];
