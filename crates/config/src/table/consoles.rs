//! Options of consoles: the group `DEFAULT`, and those that Nova has for them.

use serialproxy_proto::address::host;

use super::ABOUT_SECONDS;
use super::HOST;
use super::PEM;
use crate::ciphers::ciphers;
use crate::console_url::DEFAULT_CERT;
use crate::network::base_url;
use crate::network::frame_ancestors;
use crate::network::port_range;
use crate::option::Fallback::Computed;
use crate::option::Fallback::Text;
use crate::option::Fallback::Unset;
use crate::option::Kind;
use crate::option::Kind::Bool;
use crate::option::Kind::Single;
use crate::option::Opt;
use crate::option::works;
use crate::page_origin::AllowedOrigin;
use crate::readers::certificate;
use crate::readers::default_enabled;
use crate::readers::default_web;
use crate::readers::log_format;
use crate::readers::log_level;
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
        "DEFAULT",
        "log_format",
        Text("text"),
        Single("text or json"),
        "Form of the log: text for people, or one JSON object a line with the keys `timestamp`, \
         `level`, `message`, and `request_id` if the line belongs to an API call.",
        |c, v| set(&mut c.log_format, log_format(v)),
    ),
    works(
        "DEFAULT",
        "log_level",
        Unset,
        Single("error, warn, info or debug"),
        "Least important messages that are logged: info if it is not set, or debug if `debug` is. \
         SIGHUP applies a change; SIGUSR1 turns debug on and off.",
        |c, v| set_some(&mut c.log_level, log_level(v)),
    ),
    works(
        "serial_console",
        "enabled",
        Computed(
            "false; true for `serve`, `api` and `compute` without a configuration file",
            default_enabled,
        ),
        Bool,
        "Enable serial consoles: create console URLs, and allocate TCP ports to guests.",
        |c, v| set(&mut c.serial_console.enabled, boolean(v)),
    ),
    works(
        "serial_console",
        "base_url",
        Computed(
            "http://HOST:PORT/serial.html of the proxy, https if it has a certificate",
            |_| None,
        ),
        Single("an http, https, ws or wss URL with a host, without query and fragment"),
        "URL that console URLs begin with. Pages of its origin may connect. Set it if users \
         reach the proxy at another address than the one it listens on, for example when that is \
         0.0.0.0.",
        |c, v| set_some(&mut c.serial_console.base_url, base_url(v)),
    ),
    works(
        "serial_console",
        "listen",
        Text("0.0.0.0"),
        HOST,
        "Address or host name that the proxy listens on. `::` means all IPv6 and IPv4 addresses.",
        |c, v| set(&mut c.serial_console.listen.host, host(v)),
    ),
    works(
        "serial_console",
        "serialproxy_host",
        Unset,
        HOST,
        "Nova's newer name of `listen`. It overrides `listen`.",
        |c, v| set(&mut c.serial_console.listen.host, host(v)),
    ),
    works(
        "serial_console",
        "serialproxy_port",
        Text("6083"),
        Single("a port, 0 to 65535; 0 means any free port"),
        "Port that the proxy listens on.",
        |c, v| set(&mut c.serial_console.listen.port, number(v, 0..=u16::MAX)),
    ),
    works(
        "serial_console",
        "proxyclient_address",
        Text("127.0.0.1"),
        HOST,
        "Address of the hypervisor that QEMU listens on for guests' serial ports, and that \
         serialproxy connects to.",
        |c, v| set(&mut c.serial_console.proxyclient_address, host(v)),
    ),
    works(
        "serial_console",
        "port_range",
        Text("10000:20000"),
        Single("START:END, both within 1 and 65536; END is the first port after the range"),
        "TCP ports that are allocated to guests' serial ports. The last one is END - 1.",
        |c, v| set(&mut c.serial_console.port_range, port_range(v)),
    ),
    works(
        "serial_console",
        "web",
        Computed("/usr/share/serialproxy-static if it exists", default_web),
        Single("a directory that exists, or empty for the built-in pages"),
        "Directory that replaces the built-in pages.",
        |c, v| set(&mut c.serial_console.web, web(v)),
    ),
    works(
        "serial_console",
        "record",
        Text("false"),
        Single("true (in STATE/records), false, or a path prefix that contains a /"),
        "Record the output and input of each session into an asciicast file.",
        |c, v| set(&mut c.serial_console.record.place, record::place(v, &c.state_dir)),
    ),
    works(
        "serial_console",
        "record_input",
        Text("masked"),
        Single("masked or full"),
        "Which input is recorded: only what the guest echoes (`masked`), or all of it, passwords \
         included (`full`).",
        |c, v| set(&mut c.serial_console.record.input, record::input(v)),
    ),
    works(
        "serial_console",
        "record_limit",
        Text("256MiB"),
        Single("bytes, 64 KiB to 1 TiB; units K, KiB, M, MiB, G, GiB"),
        "Maximum size of a recording, of which one eighth is reserved for input. The session \
         continues when it is reached.",
        |c, v| set(&mut c.serial_console.record.limit, record::limit(v)),
    ),
    works(
        "serial_console",
        "record_total",
        Text("10GiB"),
        Single("bytes, 64 KiB to 1 PiB; units K, KiB, M, MiB, G, GiB"),
        "Maximum size of all recordings together. The oldest finished recordings are deleted \
         first.",
        |c, v| set(&mut c.serial_console.record.total, record::total(v)),
    ),
    works(
        "serial_console",
        "record_days",
        Text("90"),
        Single("days, 0 to 36500"),
        "How long a recording is kept after its last event. 0 means forever.",
        |c, v| set(&mut c.serial_console.record.keep, record::keep(v)),
    ),
    works(
        "serial_console",
        "daemon",
        Text("false"),
        Bool,
        "Run in the background. The first process exits when the program is ready. The log goes \
         to `--log-file` (default STATE/serialproxy.log), the process id to `--pid-file` (default \
         STATE/serialproxy.pid).",
        |c, v| set(&mut c.serial_console.daemon, boolean(v)),
    ),
    works(
        "serial_console",
        "ssl_only",
        Text("false"),
        Bool,
        "Refuse users' connections without TLS. Requires `cert`.",
        |c, v| set(&mut c.serial_console.ssl_only, boolean(v)),
    ),
    works(
        "serial_console",
        "source_is_ipv6",
        Text("false"),
        Bool,
        "Prefer IPv6 when the proxy listens on a host name. 0.0.0.0 becomes `::`.",
        |c, v| set(&mut c.serial_console.source_is_ipv6, boolean(v)),
    ),
    works(
        "serial_console",
        "cert",
        Text(DEFAULT_CERT),
        FILE,
        "Certificate of the proxy, followed by intermediate certificates. If the value is empty, or \
         it is not set and there is no such file, users connect without TLS.",
        |c, v| set(&mut c.serial_console.cert, certificate(v)),
    ),
    works(
        "serial_console",
        "key",
        Unset,
        FILE,
        "Private key of `cert`, unless it is in the same file.",
        |c, v| set_some(&mut c.serial_console.key, path(v)),
    ),
    works(
        "serial_console",
        "tls_ca_certs",
        Unset,
        PEM,
        "CA bundle that verifies hypervisors, for TLS to guests' ports.",
        |c, v| set_some(&mut c.serial_console.tls_ca_certs, file(v)),
    ),
    works(
        "serial_console",
        "tls_client_cert",
        Unset,
        PEM,
        "Client certificate for TLS to guests' ports. Requires `tls_client_key`.",
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
        "Refuse guests' TCP ports that do not use TLS, and enable TLS on those of new guests. \
         Requires `tls_ca_certs`.",
        |c, v| set(&mut c.serial_console.tls_required, boolean(v)),
    ),
    works(
        "console",
        "allowed_origins",
        Text(""),
        Single("hosts, or origins (SCHEME://HOST:PORT), separated by commas"),
        "Origins of pages that may connect, besides the proxy's own. A host name allows every \
         scheme and port.",
        |c, v| {
            let origins = list(v)?.into_iter().map(AllowedOrigin::read).collect();
            set(&mut c.console.allowed_origins, origins)
        },
    ),
    works(
        "console",
        "frame_ancestors",
        Text("'none'"),
        Single("none; or self, schemes and hosts, separated by spaces"),
        "Origins that may embed the pages in a frame (`frame-ancestors` of the \
         Content-Security-Policy). The proxy's own page that shows several consoles always may.",
        |c, v| set(&mut c.console.frame_ancestors, frame_ancestors(v)),
    ),
    works(
        "console",
        "ssl_ciphers",
        Unset,
        Single("an OpenSSL cipher string"),
        "TLS 1.2 ciphers for users' connections, in order of preference. All TLS 1.3 ciphers are \
         always enabled.",
        |c, v| set(&mut c.console.ssl_ciphers, ciphers(v).map(Some)),
    ),
    works(
        "console",
        "ssl_minimum_version",
        Text("default"),
        Single("default (which means tlsv1_2), tlsv1_2 or tlsv1_3"),
        "Minimum TLS version for users' connections, also at the API.",
        |c, v| set(&mut c.console.ssl_minimum_version, tls_version(v)),
    ),
    works(
        "consoleauth",
        "token_ttl",
        Text("600"),
        ABOUT_SECONDS,
        "Lifetime of a console token. With 0, no token is ever valid.",
        |c, v| set(&mut c.consoleauth.token_ttl, seconds(v, 0)),
    ),
    works(
        "consoleauth",
        "link_ttl",
        Text("86400"),
        ABOUT_SECONDS,
        "Longest lifetime of a link that a user shares. With 0, nobody can share one.",
        |c, v| set(&mut c.consoleauth.link_ttl, seconds(v, 0)),
    ),
    works(
        "consoleauth",
        "enforce_session_timeout",
        Text("false"),
        Bool,
        "End a session when its token expires.",
        |c, v| set(&mut c.consoleauth.enforce_session_timeout, boolean(v)),
    ),
    works(
        "consoleauth",
        "single_use",
        Text("false"),
        Bool,
        "Accept each token only once.",
        |c, v| set(&mut c.consoleauth.single_use, boolean(v)),
    ),
];
