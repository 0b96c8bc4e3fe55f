//! Options of consoles: the group `DEFAULT`, and those that Nova has for them.

use super::ABOUT_SECONDS;
use super::HOST;
use super::PEM;
use crate::ciphers::ciphers;
use crate::network::base_url;
use crate::network::frame_ancestors;
use crate::network::host;
use crate::network::port_range;
use crate::options::Fallback::Computed;
use crate::options::Fallback::Text;
use crate::options::Fallback::Unset;
use crate::options::Kind;
use crate::options::Kind::Bool;
use crate::options::Kind::Single;
use crate::options::Opt;
use crate::options::works;
use crate::page_origin::AllowedOrigin;
use crate::readers::certificate;
use crate::readers::default_enabled;
use crate::readers::default_web;
use crate::readers::set;
use crate::readers::set_some;
use crate::readers::tls_version;
use crate::readers::web;
use crate::record;
use crate::scalar::boolean;
use crate::scalar::file;
use crate::scalar::list;
use crate::scalar::number;
use crate::scalar::path;
use crate::scalar::seconds;

const FILE: Kind = Single("a PEM file");

pub(super) static OPTIONS: &[Opt] = &[
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
            "http://HOST:PORT/serial.html of the proxy, https where it has a certificate",
            |_| None,
        ),
        Single("an http, https, ws or wss URL with a host, without query and fragment"),
        "What console URLs start with; pages of its scheme, host and port may connect. Set it where \
         users reach the proxy at another address than it listens on, 0.0.0.0 included.",
        |c, v| set_some(&mut c.serial_console.base_url, base_url(v)),
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
         exist, or none is named, users connect without TLS.",
        |c, v| set(&mut c.serial_console.cert, certificate(v)),
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
];
